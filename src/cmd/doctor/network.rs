//! The network: proxy and certificates; with `--online` each profile's endpoint and its clock.

use super::{Finding, Level, Visit};
use crate::base::duration;
use crate::base::url::Url;
use crate::oauth::reply;
use crate::oauth::request;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How far clocks may differ, in seconds: a `Date` has no fraction, and the reply took its time.
const DIFFERS: i64 = 30;
/// From when on signed assertions are refused by most servers, in seconds.
const WRONG: i64 = 300;
/// How long one server is waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// An endpoint, and who uses it.
struct Endpoint {
    url: String,
    ca_file: Option<PathBuf>,
    users: Vec<String>,
}

/// Where the tokens of the profiles come from, each server once.
fn all(visit: &Visit) -> Vec<Endpoint> {
    let mut found: BTreeMap<(String, Option<PathBuf>), Endpoint> = BTreeMap::new();
    for (subject, profile) in visit.profiles() {
        let Ok(values) = profile.known_values() else { continue };
        let url = profile.session_url(&values).or_else(|| values.get("issuer").map(|issuer| issuer.to_string()));
        let Some(url) = url.filter(|url| Url::parse(url).is_ok()) else { continue };
        let origin = Url::parse(&url).map(|url| url.origin()).unwrap_or_default();
        let new = Endpoint { url, ca_file: profile.ca_file.clone(), users: Vec::new() };
        found.entry((origin, profile.ca_file.clone())).or_insert(new).users.push(subject.name.clone());
    }
    found.into_values().collect()
}

/// Whether a request could begin: its proxy and the certificates to trust can be read.
pub(super) fn settings(visit: &mut Visit) -> Vec<Finding> {
    let mut places: Vec<(String, Option<PathBuf>)> = all(visit).into_iter().map(|one| (one.url, one.ca_file)).collect();
    places.push(("https://example.com".into(), visit.setup.config.settings.ca_file.clone()));
    let check = |(url, ca_file): &(String, Option<PathBuf>)| visit.host.check_network(url, ca_file.as_deref()).err();
    let errors = places.iter().filter_map(check);
    errors.map(|error| Finding::of(Level::Error, &error.into(), "see: man tok-config, ca_file")).collect()
}

/// Whether each endpoint answers, and what its clock says.
pub(super) fn endpoints(visit: &mut Visit) -> Vec<Finding> {
    if !visit.online {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for endpoint in all(visit) {
        let origin = Url::parse(&endpoint.url).map(|url| url.origin()).unwrap_or_default();
        let what = format!("{} ({origin})", endpoint.users.join(", "));
        if visit.host.check_network(&endpoint.url, endpoint.ca_file.as_deref()).is_err() {
            continue;
        }
        // Without any value: nothing is logged in to, and whatever it answers, it is there.
        let request = request::get(&endpoint.url, request::JSON, endpoint.ca_file.as_deref());
        let start = Instant::now();
        let deadline = visit.host.clock.deadline.min(start + LIMIT);
        match visit.host.send_until(&request, deadline, &mut ()) {
            Ok(response) => {
                let took = start.elapsed().as_millis();
                findings.push(Finding::fine(&what, format!("answers (status {}, {took} ms)", response.status)));
                findings.extend(reply::clock(&response).and_then(|ahead| clock(&what, ahead)));
            }
            Err(error) => {
                let why = if error.why.is_empty() { error.what } else { format!("{}: {}", error.what, error.why) };
                findings.push(Finding::error(what, why, error.hint.unwrap_or("try again later".into())));
            }
        }
    }
    findings
}

/// What a server's clock says that is `ahead` of ours, in seconds.
fn clock(what: &str, ahead: i64) -> Option<Finding> {
    let by = duration::show(ahead.saturating_abs());
    let way = if ahead > 0 { "behind" } else { "ahead of" };
    let why = format!("it is {by} {way} the clock of {what}");
    let hint = "set the clock: sudo timedatectl set-ntp true";
    match ahead.saturating_abs() {
        WRONG.. => Some(Finding::error("this machine's clock", why, hint)),
        DIFFERS.. => Some(Finding::warning("this machine's clock", why, hint)),
        _ => None,
    }
}
