//! Every refusal of the golden files (tests/providers), from the request to the message: its status, the vendor's
//! words, and nothing of what was sent, even where the server repeats all of it.

use super::*;
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::host::testing::World;
use crate::oauth::reply::saved::saved;
use crate::oauth::request::Request;
use crate::profile::golden::{self, Golden};
use crate::profile::{Library, Setup, Wishes};
use crate::provider::{Grant, Provider};
use crate::session::inputs::{For, fill};
use std::collections::BTreeMap;

/// A refusal: whose, its reply, and what tok makes of it.
struct Refusal {
    golden: Golden,
    response: Response,
}

/// Of all grants.
fn refusals() -> Vec<Refusal> {
    let all = golden::all().into_iter().filter(|golden| !golden.is_token);
    let read = |golden: Golden| {
        let bytes = std::fs::read(&golden.file).expect("a reply");
        let (response, has_status) = saved(&bytes, Time(0));
        assert!(has_status, "{}", golden.file.display());
        Refusal { golden, response }
    };
    all.map(read).collect()
}

/// What a flow has found before its last request.
const FOUND: &[&str] = &[
    "code",
    "redirect_uri",
    "state",
    "code_verifier",
    "code_challenge",
    "device_code",
    "user_code",
    "auth_req_id",
    "refresh_token",
    "access_token",
];

/// What the golden files of a grant give, and what its flow finds.
fn given(provider: &str, grant: &Grant) -> BTreeMap<String, String> {
    let found = FOUND.iter().map(|name| (name.to_string(), format!("found-{name}-GmRhmhcxhwAzkoEqiMEg")));
    found.chain(golden::values(provider, &grant.name)).collect()
}

/// Runs the last request of `refusal`'s grant against a server that answers by `answer`: the error, and the values.
fn run(refusal: &Refusal, answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> (Outcome, Profile, Inputs) {
    let mut world = World::new().answering(move |request| Ok(answer(request)));
    let setup = Setup { library: Library::default(), ..Setup::default() };
    let wishes = Wishes { grant: Some(refusal.golden.grant.clone()), ..Wishes::default() };
    let profile = Profile::resolve(&world.host, &setup, refusal.golden.provider, &wishes).expect("a profile");
    let grant = profile.default_grant().clone();
    let values = given(refusal.golden.provider, &grant);
    let value = |text: &String| crate::profile::Value { text: Secret::new(text.as_str()), home: None };
    let kept: BTreeMap<_, _> = values.iter().map(|(name, text)| (name.clone(), value(text))).collect();
    let mut inputs = fill(&mut world.host, &profile, For::Grant(&grant), &kept, &[]).expect("its values");
    for (name, text) in &values {
        if inputs.get(name).is_none() && grant.names().contains_key(name) {
            inputs.set(name, text);
        }
    }
    inputs.bind(&grant, &Default::default()).expect("a key");
    let mut call = grant.call.clone();
    call.settle(|name| inputs.get(name));
    let refresh = profile.provider.refresh.as_ref().filter(|refresh| refresh.grant == grant.name);
    let dead = refresh.map(|refresh| refresh.dead.as_slice()).unwrap_or_default();
    let asking = Asking { name: &grant.name, call: &call, rules: &grant.response, dead, device: None };
    let outcome = ask(&mut world.host, &profile, &asking, &inputs)
        .unwrap_or_else(|error| panic!("{}: {error:#}", refusal.golden.file.display()));
    (outcome, profile, inputs)
}

fn copy(response: &Response) -> Response {
    Response { headers: response.headers.clone(), body: response.body.clone(), ..*response }
}

#[test]
fn each_has_its_status_and_the_vendors_words() {
    let mut wrong = Vec::new();
    let all = refusals();
    assert!(all.len() > 300, "{}", all.len());
    for refusal in &all {
        let answered = copy(&refusal.response);
        let (outcome, ..) = run(refusal, move |_| copy(&answered));
        let (error, is_dead) = match outcome {
            Outcome::Dead(error) => (error, true),
            Outcome::Failed(error, _) => (error, false),
            Outcome::Issued(_) => {
                wrong.push(format!("{}: it is a token", refusal.golden.file.display()));
                continue;
            }
        };
        let text = error.to_string();
        let status = refusal.response.status;
        let mut complain = |why: String| wrong.push(format!("{}: {why}: {text}", refusal.golden.file.display()));
        if (error.kind as u8, is_dead)
            != (refusal.golden.read["exit_status"].as_u64().unwrap_or(0) as u8, refusal.golden.read["dead"] == true)
        {
            complain(format!("{:?}, dead: {is_dead}", error.kind));
        }
        // What the contract says of a status, but where the file says otherwise.
        let rules = &built_in_grant(refusal).response;
        let is_told = !(rules.refused.is_empty() && rules.unavailable.is_empty());
        let usual: &[Kind] = match status {
            408 | 429 | 500.. => &[Kind::Unavailable],
            300..=399 => &[Kind::Reply],
            400..=499 => &[Kind::Refused],
            _ => &[Kind::Refused, Kind::Reply],
        };
        if !usual.contains(&error.kind) && !is_told {
            complain(format!("{:?} by the status {status}", error.kind));
        }
        if error.kind == Kind::Refused && !says_so(&refusal.response, &text) {
            complain("it has no word of the reply".into());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn built_in_grant(refusal: &Refusal) -> Grant {
    let provider = Provider::built_in(refusal.golden.provider).expect("it is one").expect("its file");
    provider.grant(&refusal.golden.grant).expect("its grant").clone()
}

/// Whether `text` has a word of the reply: of its JSON a text or a number, else how it begins, or a header.
fn says_so(response: &Response, text: &str) -> bool {
    fn leaves(value: &Value) -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Number(number) => vec![number.to_string()],
            Value::Array(items) => items.iter().flat_map(leaves).collect(),
            Value::Object(entries) => entries.values().flat_map(leaves).collect(),
            _ => Vec::new(),
        }
    }
    let body = String::from_utf8_lossy(&response.body).trim().to_string();
    let words = match serde_json::from_str::<Value>(&body) {
        Ok(value) => leaves(&value),
        Err(_) => body.split(['<', '>', '=', '&', '"', '(', ')']).map(str::to_string).collect(),
    };
    let begins = |word: &String| {
        let start: String = word.trim().chars().take(20).collect();
        !start.is_empty() && text.contains(&escape(&start))
    };
    words.is_empty() || body.is_empty() || body.to_lowercase().contains("<html") || words.iter().any(begins)
}

/// The body with all of the request in each of its sentences; without one, in one of its own.
fn repeating(body: &[u8], request: &str) -> Vec<u8> {
    fn into(value: &mut Value, request: &str) -> bool {
        match value {
            Value::String(text) if text.contains(' ') => {
                *text = format!("{request} {text}");
                true
            }
            Value::Array(items) => items.iter_mut().filter_map(|item| into(item, request).then_some(())).count() > 0,
            Value::Object(entries) => {
                entries.values_mut().filter_map(|item| into(item, request).then_some(())).count() > 0
            }
            _ => false,
        }
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            if !into(&mut value, request)
                && let Value::Object(entries) = &mut value
            {
                let texts: Vec<_> = entries.values_mut().filter(|entry| entry.is_string()).collect();
                texts
                    .into_iter()
                    .for_each(|text| *text = format!("{} {request}", text.as_str().unwrap_or_default()).into());
            }
            value.to_string().into_bytes()
        }
        Err(_) => [request.as_bytes(), b" ", body].concat(),
    }
}

#[test]
fn none_repeats_what_was_sent() {
    let (mut wrong, mut hidden) = (Vec::new(), 0);
    let all = refusals();
    for refusal in &all {
        let answered = copy(&refusal.response);
        let (outcome, profile, inputs) = run(refusal, move |request| {
            let headers = request.headers.iter().map(|(name, value)| format!("{name}: {}", value.as_str()));
            let sent =
                String::from_utf8_lossy(request.body.as_ref().map_or(&[][..], |body| body.as_slice())).to_string();
            let all = headers.chain([request.url.to_string(), sent]).collect::<Vec<_>>().join(" ");
            Response { body: repeating(&answered.body, &all).into(), ..copy(&answered) }
        });
        let (Outcome::Dead(error) | Outcome::Failed(error, _)) = outcome else { continue };
        let text = format!("{error} {}", error.hint.as_deref().unwrap_or_default());
        hidden += usize::from(text.contains("***"));
        let is_secret = |name: &&String| {
            let found = ["refresh_token", "access_token", "code", "device_code", "auth_req_id", "code_verifier"];
            profile.param(name).is_some_and(|param| param.secret) || found.contains(&name.as_str())
        };
        for name in inputs.values().keys().filter(is_secret) {
            let secret = inputs.get(name).unwrap_or_default();
            let forms = [secret.to_string(), crate::base::url::encode(secret)];
            if secret.len() >= 8 && forms.iter().any(|form| text.contains(form.as_str())) {
                wrong.push(format!("{}: {name} is shown: {text}", refusal.golden.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(hidden * 2 > all.len(), "only {hidden} of {} repeat anything", all.len());
}
