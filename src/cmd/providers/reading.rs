//! `tok providers --read`: how a reply is read, pointer by pointer, for the author of a provider file.

use super::author::{content, requested};
use crate::base::error::{Error, Kind};
use crate::base::text::{escape, lines};
use crate::cmd::Context;
use crate::cmd::table::table;
use crate::oauth::found;
use crate::oauth::poll::PollReply;
use crate::oauth::reply::steps::{self, Step, Wanted};
use crate::oauth::reply::{self, Class, Failure, Issued, Note, saved::saved, value};
use crate::oauth::request::{self, Response, Values};
use crate::profile::Profile;
use crate::provider::{BodyFormat, Call, Device, Find, Flow, Grant, Kept, Named, Rules, Shape, Template, Test};
use crate::session::open_store::origin;
use crate::session::question::{self, Question};
use crate::token::Expires;
use anyhow::Result;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// `tok providers --read NAME [GRANT] REPLY`: how a reply is read.
///
/// # Errors
/// Where there is no such provider, request or file. What the reply says is shown, whatever it is.
pub fn read(context: &mut Context, words: &[String]) -> Result<()> {
    let text = reading(context, words)?;
    context.print(&lines(&text))
}

/// What [`read`] prints.
fn reading(context: &Context, words: &[String]) -> Result<String> {
    // Two or three, as clap has seen to.
    let [name, file] = [words.first(), words.last()].map(|word| word.map(String::as_str).unwrap_or_default());
    let word = words.get(1).filter(|_| words.len() > 2);
    let (profile, request) = requested(context, name, word)?;
    let bytes = content(context.host, Path::new(file))?;
    let now = context.host.clock.now();
    let (response, has_status) = saved(&bytes, now);
    let Some((_, named)) = profile.provider.request(&request) else { return Ok(String::new()) };
    let reader = Reader { profile: &profile, response: &response, file };
    let (steps, result) = match named {
        Named::Token(grant) => reader.token(grant),
        Named::Begin(grant, _) if grant.flow == Flow::AuthorizationCode => {
            let what = format!("{request} has no reply");
            return Err(Error::new(Kind::Usage, what, "it is the address that the browser opens").into());
        }
        Named::Begin(grant, call) => reader.begin(grant, call),
        Named::Step(grant, step) => reader.step(grant, step),
        Named::Revoke(_) => reader.revoked(),
        Named::Introspect(_) => reader.answer(Question::Introspection),
        Named::Userinfo(_) => reader.answer(Question::Userinfo),
    };
    let assumed = if has_status { "" } else { " (the file has no status line)" };
    let mut rows = vec![["status".to_string(), String::new(), format!("{}{assumed}", response.status)]];
    rows.extend(steps.into_iter().map(|step| [step.key, escape(&step.place), escape(&step.found)]));
    Ok(format!("{}\n{result}", table(rows, context.host.columns())))
}

/// Reads one reply.
struct Reader<'r> {
    profile: &'r Profile,
    response: &'r Response,
    /// Where it is, as it was typed.
    file: &'r str,
}

impl Reader<'_> {
    /// The reply to the request for a token.
    fn token(&self, grant: &Grant) -> (Vec<Step>, String) {
        let (profile, response) = (self.profile, self.response);
        let refresh = profile.provider.refresh.as_ref().filter(|refresh| refresh.grant == grant.name);
        let dead: &[Test] = refresh.map_or(&[], |refresh| &refresh.dead);
        let mut steps = steps::steps(&grant.response, dead, response);
        let read = reply::read(&grant.response, dead, response);
        // Where there is a token, there is no error to look for.
        if read.is_ok() {
            without_errors(&mut steps);
        }
        let is_polled = matches!(grant.flow, Flow::DeviceCode | Flow::Ciba) && grant.steps_after().next().is_none();
        if is_polled {
            steps.extend(steps::polls(&grant.response, response, &tests_of(&grant.device)));
        }
        let result = match read {
            Ok(issued) => told(profile, &issued, response.received.secs()),
            Err(failure) => {
                let code = failure.code.as_deref().filter(|_| is_polled);
                let waits = is_polled.then(|| undecided(&grant.device, response, code)).flatten();
                waits.unwrap_or_else(|| refused("token", &failure) + &self.of_another(grant))
            }
        };
        (steps, result)
    }

    /// The reply that a login on another device begins with.
    fn begin(&self, grant: &Grant, call: &Call) -> (Vec<Step>, String) {
        let device = &grant.device;
        let places = |key: &str, places: &[String], is_secret: bool| Wanted {
            key: key.into(),
            at: Find::At(places.to_vec()),
            is_secret,
        };
        let mut wanted = match grant.flow {
            Flow::Ciba => vec![
                places("auth_req_id", &["/auth_req_id".into()], true),
                places("interval", &["/interval".into()], false),
                places("expires_in", &["/expires_in".into()], false),
            ],
            _ => vec![
                places("device_code", &device.device_code, true),
                places("user_code", &device.user_code, false),
                places("verification_uri", &device.verification_uri, false),
                places("verification_uri_complete", &device.verification_uri_complete, false),
                places("interval", &device.interval, false),
            ],
        };
        wanted.extend(self.wanted(&device.keep));
        let expires = if grant.flow == Flow::Ciba { &[][..] } else { &device.expires };
        let mut steps = steps::others(&grant.response, BodyFormat::Auto, self.response, &wanted, expires);
        let object = match reply::object(&grant.response, self.response) {
            Ok(object) => object,
            Err(failure) => return (steps, refused("login", &failure)),
        };
        without_errors(&mut steps);
        let there = reply::instead(&object);
        let value = Value::Object(object);
        let needed: Vec<&[String]> = match grant.flow {
            Flow::Ciba => Vec::new(),
            _ => {
                let page = if device.page.is_some() { &[][..] } else { &device.verification_uri };
                vec![&device.device_code, &device.user_code, page]
            }
        };
        let lacks = needed.into_iter().filter(|places| !places.is_empty());
        let lacks = lacks.filter(|places| !value::first(&value, places).is_some_and(Value::is_string));
        let mut lacks: Vec<String> = lacks.map(|places| format!("no {}", places.join(" or "))).collect();
        if grant.flow == Flow::Ciba
            && !value::first(&value, &["/auth_req_id".to_string()]).is_some_and(Value::is_string)
        {
            lacks.push("no /auth_req_id".into());
        }
        let (kept, mut wrong) = self.kept(grant, call, &device.keep, &value);
        lacks.append(&mut wrong);
        let result = match lacks.is_empty() {
            true => format!("login started{kept}\n"),
            false => not_understood("login", &format!("{}{}", escape(&lacks.join(", ")), there)),
        };
        (steps, result)
    }

    /// The reply to a step on the way to the token.
    fn step(&self, grant: &Grant, step: &crate::provider::Step) -> (Vec<Step>, String) {
        let rules: &Rules = &step.response;
        let is_first = grant.steps_after().next().is_some_and(|first| std::ptr::eq(first, step));
        let device = (grant.flow == Flow::DeviceCode && is_first).then_some(&grant.device);
        let wanted: Vec<Wanted> = self.wanted(&step.keep).collect();
        let mut steps = steps::others(rules, rules.format, self.response, &wanted, &[]);
        if let Some(device) = device {
            steps.extend(steps::polls(rules, self.response, &tests_of(device)));
        }
        let read = reply::step(rules, &step.keep, self.response);
        let code = read.as_ref().err().and_then(|failure| failure.code.as_deref());
        if let Some(waits) = device.and_then(|device| undecided(device, self.response, code)) {
            without_errors(&mut steps);
            return (steps, waits);
        }
        let value = match read {
            Ok(value) => value,
            Err(failure) => return (steps, refused("step", &failure)),
        };
        without_errors(&mut steps);
        let (kept, wrong) = self.kept(grant, &step.call, &step.keep, &value);
        let empty = Map::new();
        let there = || reply::instead(value.as_object().unwrap_or(&empty));
        let result = match wrong.is_empty() {
            true => format!("step succeeded{kept}\n"),
            false => not_understood("step", &format!("{}{}", wrong.join(", "), there())),
        };
        (steps, result)
    }

    /// The reply to `[revoke]`: its status counts alone (RFC 7009 §2.2).
    fn revoked(&self) -> (Vec<Step>, String) {
        let result = match Class::of(self.response.status) {
            Class::Success => "revoked: the status alone counts\n".to_string(),
            class => {
                let what = if class == Class::Refused { "refused" } else { "unavailable for now" };
                format!("not revoked: {what} (tok logout exits with status {})\n", Kind::Unavailable as u8)
            }
        };
        (Vec::new(), result)
    }

    /// The reply to a question about a token.
    fn answer(&self, question: Question) -> (Vec<Step>, String) {
        let rules: &Rules = &self.profile.default_grant().response;
        let key = match question {
            Question::Introspection => "active",
            Question::Userinfo => "sub",
        };
        let wanted = [Wanted { key: key.into(), at: Find::At(vec![format!("/{key}")]), is_secret: false }];
        let mut steps = steps::others(rules, BodyFormat::Auto, self.response, &wanted, &[]);
        let object = match reply::object(rules, self.response) {
            Ok(object) => object,
            Err(failure) => return (steps, refused("answer", &failure)),
        };
        without_errors(&mut steps);
        let result = match question::wrong(question, &self.profile.provider, &object, None) {
            Some(why) => not_understood("answer", &format!("{why}{}", reply::instead(&object))),
            None if question == Question::Userinfo && object.contains_key(key) => {
                "userinfo: the user is named (`sub`)\n".into()
            }
            None if question == Question::Userinfo => {
                "userinfo: without `sub`, so in the provider's own words\n".into()
            }
            None => match value::member(&object, key).and_then(value::flag) {
                Some(true) => "introspection: the token is active\n".into(),
                _ => "introspection: the token is not active\n".into(),
            },
        };
        (steps, result)
    }

    /// What `keep` looks for.
    fn wanted<'k>(&'k self, keep: &'k [Kept]) -> impl Iterator<Item = Wanted> + 'k {
        keep.iter().map(|kept| Wanted {
            key: format!("keep.{}", kept.name),
            at: kept.at.clone(),
            // What a login finds is as good as a secret, unless the file says what it is.
            is_secret: match self.profile.param(&kept.name) {
                Some(param) => param.secret,
                None => kept.shape == Shape::Text,
            },
        })
    }

    /// What the reply to `call`, with the body `value`, gives of `keep`, in words; and what of it is missing or cannot be
    /// used.
    fn kept(&self, grant: &Grant, call: &Call, keep: &[Kept], value: &Value) -> (String, Vec<String>) {
        let mut values: Values = self.profile.known_values().unwrap_or_default();
        let _ = request::defaults(&self.profile.provider, &mut values, &|name| self.profile.is_off(name));
        let from = request::url(&self.profile.provider, call, &values).ok().as_deref().and_then(origin);
        let (mut names, mut wrong) = (Vec::new(), Vec::new());
        for kept in keep {
            match found::in_reply(kept, value, self.response) {
                Some(text) => match found::checked(&self.profile.provider, kept, &text, from.as_deref(), &values) {
                    Ok(_) => names.push(format!("{{{}}}", kept.name)),
                    Err(why) => wrong.push(format!("its {} {why}", kept.name)),
                },
                None if grant.names().get(&kept.name) == Some(&false) => {
                    wrong.push(format!("no {} {}", kept.name, found::place(kept)));
                }
                None => {}
            }
        }
        let kept = if names.is_empty() { String::new() } else { format!(": found {}", names.join(", ")) };
        (kept, wrong)
    }

    /// Which other request of `grant` a reply without a token may be the answer to.
    fn of_another(&self, grant: &Grant) -> String {
        if Class::of(self.response.status) != Class::Success {
            return String::new();
        }
        let has = |rules: &Rules, keep: &[Kept]| {
            let value = reply::step(rules, keep, self.response).unwrap_or_default();
            !keep.is_empty() && keep.iter().all(|kept| found::in_reply(kept, &value, self.response).is_some())
        };
        let is_answer = |named: &Named| match named {
            Named::Begin(grant, _) if grant.flow == Flow::DeviceCode => {
                let value = reply::step(&grant.response, &[], self.response).unwrap_or_default();
                let device = &grant.device;
                let finds = |places: &[String]| value::first(&value, places).is_some();
                finds(&device.device_code) || finds(&device.verification_uri) || has(&grant.response, &device.keep)
            }
            Named::Step(_, step) => has(&step.response, &step.keep),
            _ => false,
        };
        let other = grant.requests().into_iter().find(|(_, named)| is_answer(named));
        let quoted = shlex::try_quote(self.file).unwrap_or(self.file.into());
        other.map_or(String::new(), |(name, _)| {
            format!("this looks like the reply to {name}: tok providers --read {} {name} {quoted}\n", self.profile.name)
        })
    }
}

/// The tests by which answers to polls are read.
fn tests_of(device: &Device) -> [(&'static str, &[Test]); 4] {
    [
        ("pending", &device.pending),
        ("slow_down", &device.slow_down),
        ("denied", &device.denied),
        ("expired", &device.expired),
    ]
}

/// Leaves out where errors were looked for: there is none.
fn without_errors(steps: &mut Vec<Step>) {
    steps.retain(|step| !step.key.starts_with("error.") || step.found != "-");
}

/// That the answer to a poll is no decision, by the provider's tests, else by the error's code (RFC 8628 §3.5).
fn undecided(device: &Device, response: &Response, code: Option<&str>) -> Option<String> {
    let slower = match reply::polled(device, response).or_else(|| PollReply::of(code?))? {
        PollReply::Pending => "",
        PollReply::SlowDown => ", less often",
        _ => return None,
    };
    Some(format!("no token yet: authorization pending; tok polls again{slower}\n"))
}

/// What a token's reply gives, in words.
fn told(profile: &Profile, issued: &Issued, now: i64) -> String {
    let usage = &profile.provider.usage;
    let expiry = match issued.expires {
        Expires::At(at) if at <= now => "has expired: used for one call, never cached".to_string(),
        Expires::At(at) => {
            format!("expires in {}, {}", crate::base::duration::show(at - now), crate::base::date::show(at))
        }
        Expires::Never => "never expires".into(),
        Expires::Unknown => "expiry unknown: printed, not cached; see `expires` and `lifetime`".into(),
    };
    let short = steps::shortened(issued.access_token.expose());
    let known = profile.known_values().unwrap_or_default();
    let told = |name: &str| match issued.extra.get(name) {
        Some(serde_json::Value::String(text)) => Some(escape(text)),
        other => other.map(|other| escape(&other.to_string())),
    };
    let plain = |name: &str| {
        let is_secret = profile.param(name).is_some_and(|param| param.secret);
        known.get(name).filter(|_| !is_secret).map(|value| escape(value))
    };
    // What is neither in the reply nor known stands by its name.
    let mut shown: BTreeMap<String, String> = usage
        .names()
        .into_keys()
        .map(|name| {
            let text = told(&name).or_else(|| plain(&name)).unwrap_or_else(|| format!("{{{name}}}"));
            (name, text)
        })
        .collect();
    shown.insert("access_token".into(), short);
    let shown = |template: &Template| template.fill(|name| shown.get(name).map(String::as_str)).unwrap_or_default();
    let mut text = format!("a token: {expiry}\n");
    let header = (!usage.header.is_empty()).then_some((&usage.header, &usage.value));
    for (name, template) in header.into_iter().chain(usage.headers.iter().map(|(name, text)| (name, text))) {
        text.push_str(&format!("header: {name}: {}\n", shown(template)));
    }
    for (name, template) in &usage.query {
        text.push_str(&format!("query: {name}={}\n", shown(template)));
    }
    for host in usage.hosts.iter().flatten() {
        text.push_str(&format!("API: {}\n", shown(host)));
    }
    if issued.refresh_token.is_some() && profile.provider.refresh.is_none() {
        text.push_str("its refresh token is not used: the file has no [refresh]\n");
    }
    for note in &issued.notes {
        let (Note::Warning(note) | Note::Detail(note)) = note;
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// What a reply lacks that is needed.
fn not_understood(what: &str, why: &str) -> String {
    format!("no {what}: not understood: {why} (tok exits with status {})\n", Kind::Reply as u8)
}

/// Why a reply gives no `what`, in words.
fn refused(what_not: &str, failure: &Failure) -> String {
    let what = match failure.kind {
        Kind::Refused => "refused",
        Kind::Unavailable => "unavailable for now",
        _ => "not understood",
    };
    let dead = if failure.dead { "; the refresh token counts as dead" } else { "" };
    format!("no {what_not}: {what}{dead}: {} (tok exits with status {})\n", failure.why, failure.kind as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::escape_to;
    use crate::cmd::Missing;
    use crate::host::testing::World;
    use crate::profile::golden;

    /// What stands in `--read` of an expiry that a golden file has as `now+3600`, `never` or `unknown`.
    fn expiry(text: &str) -> String {
        match text.strip_prefix("now").and_then(|rest| rest.parse::<i64>().ok()) {
            Some(seconds) if seconds > 0 => format!("a token: expires in {},", crate::base::duration::show(seconds)),
            Some(_) => "a token: has expired".into(),
            None if text == "never" => "a token: never expires".into(),
            None => "a token: expiry unknown".into(),
        }
    }

    #[test]
    fn every_golden_reply_is_read_as_it_is_taken() {
        let mut world = World::new();
        let global = crate::cli::Global::default();
        let context = Context::new(&mut world.host, &global, None, Missing::Refused).expect("a context");
        let mut wrong = Vec::new();
        let all = golden::all();
        assert!(all.len() > 600, "{}", all.len());
        for one in &all {
            let words = [one.provider.to_string(), one.grant.clone(), one.file.display().to_string()];
            let text = reading(&context, &words).unwrap_or_else(|error| panic!("{}: {error:#}", one.file.display()));
            let reply = std::fs::read_to_string(&one.file).expect("text");
            let status = reply.split(' ').nth(1).unwrap_or_default();
            let said = |key: &str| one.read[key].as_str().unwrap_or_default().to_string();
            let mut parts = vec![status.to_string()];
            if one.is_token {
                // It arrives now, not at its own date.
                let arrives_now =
                    !reply.lines().take_while(|line| !line.is_empty()).any(|line| line.starts_with("Date: "));
                parts.extend(arrives_now.then(|| expiry(&said("expires_at"))));
                let name = said("header").split(": ").next().unwrap_or_default().to_string();
                parts.extend((!name.is_empty()).then(|| format!("header: {name}: ")));
                let token = said("access_token");
                if token.len() > 12 && text.contains(&token) {
                    wrong.push(format!("{}: the whole token is shown", one.file.display()));
                }
            } else if text.contains("\nno token yet: ") {
                // A status of 5 would be the end of the login.
                let name = one.file.to_string_lossy();
                let is_poll = ["pending", "slow"].iter().any(|word| name.contains(word));
                wrong.extend((!is_poll).then(|| format!("{}: {text}", one.file.display())));
            } else {
                parts.push(format!(
                    "no token: {}",
                    if one.read["dead"] == true { "refused; the refresh token counts as dead" } else { "" }
                ));
                parts.push(format!("(tok exits with status {})", one.read["exit_status"]));
                parts.push(escape_to(&said("why"), 60).trim_end_matches('…').to_string());
            }
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let shown = words(&text);
            for part in parts.iter().filter(|part| !shown.contains(&words(part))) {
                wrong.push(format!("{}: `{part}` is missing: {text}", one.file.display()));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
