//! `tok get --watch --write FILE`: keeps a file fresh until a signal ends the process.

use super::{absolute, cannot_write, text, write};
use crate::base::duration::show;
use crate::base::error::{Error, Kind, kind};
use crate::base::secret::Secret;
use crate::cli::{Format, Get, TokenArgs};
use crate::cmd::token::Got;
use crate::cmd::{Context, hooks};
use crate::oauth::reply::claims;
use crate::session::acquire::TokenSource;
use crate::system::files::{self, Written};
use crate::token::Expires;
use crate::token::freshness::MinTtl;
use anyhow::Result;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the file and the clock are looked at, in seconds: the clock may be set, or the machine have slept.
const LOOK: i64 = 5;
/// How long a token is kept whose expiry is unknown, or that never expires, until another is looked for.
const UNKNOWN: i64 = 300;
/// The longest pause after a failure, in seconds.
const LONGEST_PAUSE: i64 = 60;

/// What the file holds.
struct Held {
    path: PathBuf,
    text: Secret,
    /// When it ends, in seconds since 1970, if that is known.
    end: Option<i64>,
    /// When another is to be there.
    due: i64,
    /// How long before its end another is to be there.
    lead: i64,
}

/// Runs until a signal ends it, or an error that trying again does not mend.
///
/// # Errors
/// As [`super::run`]. The file is then gone: nobody keeps what is in it fresh any more.
pub fn run(context: &mut Context, args: &Get) -> Result<()> {
    let (format, to) = (args.format(), args.write.as_deref().unwrap_or(Path::new("-")));
    let path = absolute(to)?;
    if matches!(format, Format::Aws | Format::GcpExecutable | Format::Github) {
        let why = "this format is for a program that asks each time";
        return Err(Error::new(Kind::Usage, "--watch", why).into());
    }
    let is_file = to != Path::new("-") && files::is_for_a_file(&path).map_err(|error| cannot_write(&path, &error))?;
    if !is_file {
        return Err(Error::new(Kind::Usage, "--watch", "it keeps a file fresh, not a pipe or a device").into());
    }
    let uses_id = args.how.id_token || format == Format::IdToken;
    // What cannot be had at all is told at once.
    let mut held = renew(context, args, &path, &args.token)?;
    loop {
        wait(context, &mut held)?;
        let min_ttl = Some(held.lead.saturating_add(1));
        // An ID token is not renewed before its end unless that is asked for.
        let wanted = TokenArgs { min_ttl, fresh: uses_id && held.end.is_some(), ..args.token.clone() };
        let mut pause = 1;
        held = loop {
            match renew(context, args, &path, &wanted) {
                Ok(held) => break held,
                Err(error) if is_temporary(&error) => {
                    context.host.terminal.release_messages();
                    context.host.terminal.warn(&format!("{error:#}; trying again in {}", show(pause)));
                    hooks::run(context.host);
                    rest(context, &held, pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    let _ = files::remove_user_file(&path);
                    return Err(error);
                }
            }
        };
    }
}

/// Gets a token and writes it.
fn renew(context: &mut Context, args: &Get, path: &Path, wanted: &TokenArgs) -> Result<Held> {
    context.host.clock.restart();
    let (got, text) = text(context, wanted, args.format(), &args.how)?;
    let now = context.host.clock.now().secs();
    let (end, due, lead) = times(&got, args, now);
    let held = Held { path: path.to_path_buf(), text, end, due, lead };
    put(context, &held)?;
    let until = end.map_or("expiry unknown".to_string(), |end| format!("valid for {}", show(end - now)));
    context.host.terminal.detail(&format!("{}: {} is fresh, {until}", got.answer.profile, path.display()));
    hooks::run(context.host);
    Ok(held)
}

/// When the token ends, when another is to be there, and how long that is before.
fn times(got: &Got, args: &Get, now: i64) -> (Option<i64>, i64, i64) {
    let token = &got.answer.token;
    let id = token.id_token.as_ref().filter(|_| args.format() == Format::IdToken);
    let end = match (id, token.expires) {
        (Some(id), _) => claims::expiry(id.text.expose()),
        (None, Expires::At(at)) => Some(at),
        (None, Expires::Never | Expires::Unknown) => None,
    };
    let Some(end) = end else { return (None, now + UNKNOWN, 0) };
    let life = end.saturating_sub(token.received.secs()).max(0);
    let asked = args.token.min_ttl.or(got.profile.min_ttl).unwrap_or(MinTtl::DEFAULT.min(life / 10));
    // So that it is still good for as long as asked when the next one is there.
    let lead = asked.saturating_add((life / 10).clamp(1, 60));
    let due = end.saturating_sub(lead);
    // One just issued is as good as it gets.
    let soonest = if got.answer.source == TokenSource::Cache { now } else { now + ((end - now) / 2).max(1) };
    (Some(end), due.max(soonest), lead)
}

/// Waits until the token is due, and sees to it that the file holds it.
fn wait(context: &mut Context, held: &mut Held) -> Result<()> {
    loop {
        let left = held.due.saturating_sub(context.host.clock.now().secs());
        if left <= 0 {
            return Ok(());
        }
        context.host.clock.sleep(Duration::from_secs(left.min(LOOK).unsigned_abs()));
        put(context, held)?;
    }
}

/// Waits for another try. A token that ends meanwhile does not stay in the file.
fn rest(context: &mut Context, held: &Held, pause: i64) {
    let until = context.host.clock.now().secs() + pause;
    loop {
        let now = context.host.clock.now().secs();
        if held.end.is_some_and(|end| end <= now) && held.path.exists() {
            match files::remove_user_file(&held.path) {
                Ok(()) => {
                    context.host.terminal.warn(&format!("{}: removed, its token has expired", held.path.display()))
                }
                Err(error) => context.host.terminal.warn(&cannot_write(&held.path, &error).to_string()),
            }
        }
        if now >= until {
            return;
        }
        context.host.clock.sleep(Duration::from_secs(1));
    }
}

/// Writes what is to be in the file. A full disk may have room again.
fn put(context: &mut Context, held: &Held) -> Result<()> {
    match write(context, &held.path, &held.text) {
        Ok(Written::Replaced | Written::Unchanged | Written::Streamed) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            context.host.terminal.warn(&cannot_write(&held.path, &error).to_string());
            Ok(())
        }
        Err(error) => Err(cannot_write(&held.path, &error).into()),
    }
}

/// Whether trying again may help: the network, a store that is locked, a reply that is not the provider's.
fn is_temporary(error: &anyhow::Error) -> bool {
    matches!(kind(error), Kind::Unavailable | Kind::Store | Kind::Reply)
}
