//! Hooks: the commands that the config names for what happens to a session. They are told once the answer is out.

use crate::base::error::{Error, InProfile, Kind, hint};
use crate::host::{EVENT, Event, Host};
use crate::profile::config::{Config, Hooks};
use crate::session::acquire::TokenSource;
use std::time::Duration;

/// How long a hook is waited for. Then it is ended.
const LIMIT: Duration = Duration::from_secs(5);

/// The events, as the config names them.
const RENEWED: &str = "renewed";
const LOGIN_NEEDED: &str = "login_needed";

/// Notes for the hooks of `profile` that a new token came by `source`; nothing for one that was cached.
pub fn renewed(host: &mut Host, config: &Config, profile: &str, source: TokenSource) {
    let reason = match source {
        TokenSource::Cache => return,
        TokenSource::Refresh => "the access token was refreshed",
        TokenSource::Grant => "a new access token was issued",
    };
    let event = Event { name: RENEWED, profile: profile.into(), reason: reason.into(), ..Event::default() };
    note(host, config, event);
}

/// Notes for the hooks of `profile` that a person is needed, where that is what `error` says.
pub fn failed(host: &mut Host, config: &Config, profile: &str, error: &anyhow::Error) {
    if crate::base::error::kind(error) == Kind::LoginNeeded {
        let (reason, hint) = (format!("{error:#}"), hint(error).map(str::to_string));
        let event = Event { name: LOGIN_NEEDED, profile: profile.into(), reason, hint, ..Event::default() };
        note(host, config, event);
    }
}

/// Notes `event` for the command that the config has for it, if any.
fn note(host: &mut Host, config: &Config, event: Event) {
    // A hook that runs `tok` would run itself again.
    if host.env.has(EVENT) {
        return;
    }
    let of = |hooks: &Hooks| match event.name {
        RENEWED => hooks.renewed.clone(),
        _ => hooks.login_needed.clone(),
    };
    let own = config.profiles.get(&event.profile).and_then(|profile| of(&profile.settings.hooks));
    let Some(command) = own.or_else(|| of(&config.settings.hooks)).filter(|command| !command.is_empty()) else {
        return;
    };
    let reason = crate::base::text::line(&event.reason);
    host.events.push(Event { reason, command, ..event });
}

/// Runs the hooks that were noted. One that fails is a warning: the answer is out.
pub fn run(host: &mut Host) {
    for event in std::mem::take(&mut host.events) {
        host.terminal.detail(&format!("{}: running the hook {}", event.profile, event.name));
        let ran = host.run_hook(&event, LIMIT).map_err(|failed| {
            let why = if failed.timed_out { "it took longer than 5s and was ended".into() } else { failed.why };
            anyhow::Error::from(Error::new(Kind::Other, format!("the hook {}", event.name), why))
        });
        if let Err(error) = ran.in_profile(&event.profile) {
            host.terminal.warn(&format!("{error:#}"));
        }
    }
}
