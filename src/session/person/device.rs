//! A login on another device: the page and the code that are shown for it (RFC 8628 §3.2).

use super::{LONGEST, Run};
use crate::base::error::{Error, Kind};
use crate::base::text::{escape, escape_to};
use crate::base::url::Url;
use crate::host::Host;
use crate::oauth::poll::Poll;
use crate::oauth::reply::value::{first, whole_at};
use crate::oauth::request;
use crate::oauth::{pkce, reply};
use crate::provider::Device;
use crate::session::exchange::{self, Told};
use crate::session::found;
use crate::session::inputs::Inputs;
use crate::system::qr;
use crate::token::Expires;
use anyhow::Result;
use serde_json::Value;
use std::time::Instant;

/// Asks for a code and shows it; what the later requests need of the reply goes to `inputs`.
///
/// # Errors
/// Each kind of the contract.
pub(super) fn begin(host: &mut Host, run: &Run, inputs: &mut Inputs) -> Result<Poll> {
    let Run { profile, begin, grant, .. } = *run;
    let device = &grant.device;
    // Some servers want PKCE here too; RFC 8628 does not know it.
    let verifier = pkce::verifier();
    inputs.set("code_verifier", verifier.expose());
    if let Some(challenge) = pkce::challenge(&verifier, grant.pkce) {
        inputs.set("code_challenge", &challenge);
    }
    let told = Told { name: &format!("the grant {}", grant.name), rules: &grant.response };
    let answer = exchange::ask_for_reply(host, profile, &told, begin, inputs)?;
    let reply = &answer.value;
    let text = |places: &[String]| first(reply, places).and_then(Value::as_str).map(str::to_string);
    let need = |places: &[String]| {
        text(places).ok_or_else(|| {
            found::lacks(profile, &answer, places.first().map_or("page", |place| place.trim_start_matches('/')))
        })
    };
    let user_code = match device.user_code.is_empty() {
        true => None,
        false => Some(need(&device.user_code)?),
    };
    if !device.device_code.is_empty() {
        inputs.set("device_code", &need(&device.device_code)?);
    }
    if let Some(code) = &user_code {
        inputs.set("user_code", code);
    }
    found::keep(profile, grant, &device.keep, &answer, inputs)?;
    let page = match (text(&device.verification_uri), &device.page) {
        (Some(page), _) => page,
        (None, Some(page)) => {
            request::page(&profile.provider, page, inputs.values()).map_err(|unready| profile.unready(unready))?
        }
        (None, None) => need(&device.verification_uri)?,
    };
    let complete = text(&device.verification_uri_complete);
    for address in [Some(&page), complete.as_ref()].into_iter().flatten() {
        Url::parse(address).map_err(|why| {
            Error::new(Kind::Reply, "the login page cannot be used", format!("{} {why}", escape(address)))
                .hint("check that this is the right server")
        })?;
    }
    if host.terminal.stderr_terminal
        && let Some(lines) =
            qr::lines(complete.as_ref().unwrap_or(&page), crate::system::terminal::columns(), &host.env)
    {
        lines.iter().for_each(|line| host.terminal.show(line));
    }
    let enter = user_code.map(|code| format!(" and enter the code {}", escape(&code))).unwrap_or_default();
    host.terminal.show(&format!("To log in, open {}{enter}", escape_to(&page, LONGEST)));
    if let Some(complete) = complete {
        host.terminal.show(&format!("or open {}", escape_to(&complete, LONGEST)));
    }
    Ok(pace(device, reply, answer.response.received.secs(), host.clock.instant()))
}

/// The pace that the reply asks for.
fn pace(device: &Device, reply: &Value, received: i64, now: Instant) -> Poll {
    let life = match reply::expires(&device.expires, reply, received) {
        Expires::At(at) => Some(at.saturating_sub(received)),
        Expires::Never | Expires::Unknown => None,
    };
    Poll::new(now, whole_at(reply, &device.interval), life)
}
