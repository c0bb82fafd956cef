//! A login that a person decides on another device: the token is asked for until they have.

use super::ask::{Asked, Attempt};
use crate::base::error::{Error, Kind};
use crate::cmd::Context;
use crate::oauth::poll::{self, Poll, PollReply};
use crate::provider::Flow;
use crate::session::exchange::{self, Asking, Outcome};
use crate::session::inputs::Inputs;
use crate::session::open_store::{self, OpenStore};
use crate::session::steps;
use crate::system::progress::{Progress, Style};
use crate::system::signals::Stake;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Asks for the token until the person has decided. The lock is held for each request, and not between them.
pub(super) fn wait(
    context: &mut Context,
    attempt: &Attempt,
    mut inputs: Inputs,
    mut opened: OpenStore,
    (mut poll, limit): (Poll, Option<Duration>),
) -> Result<Asked> {
    let Attempt { profile, grant, again, .. } = *attempt;
    inputs.bind(grant, &opened.credentials)?;
    let device = (grant.flow == Flow::DeviceCode).then_some(&grant.device);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[], device };
    let ended = |why: &str, kind: Kind| {
        Error::new(kind, "login did not complete", why).hint(format!("run the same command again: {again}"))
    };
    let deadline = limit.map(|_| context.host.clock.deadline);
    let mut pause = poll.first();
    // Why the last answer was none: the person may have done their part.
    let mut unreached = None;
    let mut style = Some(context.host.terminal.progress());
    loop {
        if let Some(deadline) = deadline.filter(|deadline| context.host.clock.instant() + pause >= *deadline) {
            context.host.clock.sleep(deadline.saturating_duration_since(context.host.clock.instant()));
            let why = unreached.map_or("nobody logged in within --timeout".to_string(), |why| {
                format!("--timeout is over; the last request failed: {why}")
            });
            return Err(ended(&why, Kind::Unavailable).into());
        }
        if let Some(style) = style.filter(|_| pause > Duration::ZERO) {
            let end = deadline.map_or(poll.expires_at(), |deadline| deadline.min(poll.expires_at()));
            let _progress = Progress::at_once(style, move || format!("waiting for approval, {} left…", time_left(end)));
            context.host.clock.sleep(pause);
        } else {
            context.host.clock.sleep(pause);
        }
        // It is said once where it cannot be taken back.
        style = style.filter(|style| *style == Style::Live);
        if deadline.is_none() {
            context.host.clock.renew();
        }
        let lock = context.lock(&profile.name)?;
        opened.follow(context.host, &profile.name)?;
        let outcome = match steps::polled(context.host, profile, grant, device, &mut inputs)? {
            Some(failed) => failed,
            // With steps the poll is over: an answer that is no token ends it.
            None => match exchange::ask(context.host, profile, &asking, &inputs)? {
                Outcome::Dead(error) | Outcome::Failed(error, _) if grant.steps_after().next().is_some() => {
                    return Err(error.into());
                }
                outcome => outcome,
            },
        };
        let (error, code) = match outcome {
            Outcome::Issued(issued) => {
                let hold = crate::system::signals::hold(Stake::Time);
                opened.read(&profile.name);
                opened.follow(context.host, &profile.name)?;
                if let Some(trouble) = &opened.trouble {
                    return Err(open_store::store_error(profile, trouble).into());
                }
                return Ok(Asked { lock, opened, inputs, issued, used: None, record: None, hold });
            }
            Outcome::Dead(error) => (error, None),
            Outcome::Failed(error, code) => (error, code),
        };
        opened.release();
        drop(lock);
        context.host.terminal.release_messages();
        let answer = match code.as_deref().and_then(PollReply::of) {
            Some(answer) => answer,
            None if error.kind == Kind::Unavailable => PollReply::Unreachable,
            None => return Err(error.into()),
        };
        unreached = (answer == PollReply::Unreachable).then(|| error.to_string());
        pause = match poll.next(answer, context.host.clock.instant()) {
            poll::NextPoll::Wait(pause) => pause,
            poll::NextPoll::GiveUp(why) => {
                return Err(match why {
                    poll::Why::Denied => ended("the person refused (access_denied)", Kind::Refused),
                    poll::Why::Expired => {
                        ended("nobody logged in while the code was good (expired_token)", Kind::Refused)
                    }
                    poll::Why::Failed => ended("the provider ended it (transaction_failed)", Kind::Refused),
                    poll::Why::Unreachable => match error.hint {
                        Some(_) => error,
                        None => error.hint(format!("run the same command again: {again}")),
                    },
                }
                .into());
            }
        };
    }
}

fn time_left(end: Instant) -> String {
    let left = end.saturating_duration_since(Instant::now());
    crate::base::duration::show(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))
}
