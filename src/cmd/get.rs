//! `tok get` and `tok header`: a valid access token, cached if still good, else by the refresh token, else by a grant
//! (non-interactive).

mod id_token;
mod watch;

use super::Context;
use super::mask::Masking;
use super::token::{Got, token};
use crate::base::error::{Error, InProfile, Kind};
use crate::base::secret::Secret;
use crate::cli::{Format, FormatArgs, Get, Header, TokenArgs};
use crate::cmd::output::{self, Wish};
use crate::system::files::{self, Written};
use anyhow::Result;
use std::io;
use std::path::{Path, PathBuf};

/// `tok get`: gets the token and writes it to stdout, or to a file.
///
/// # Errors
/// Each kind of the contract, and stdout is then empty; none in a format whose protocol has an answer for failures.
pub fn run(context: &mut Context, args: &Get) -> Result<()> {
    if args.watch {
        return watch::run(context, args);
    }
    let (format, to) = (args.format(), args.write.as_deref());
    if let (Format::Github, Some(_)) = (format, to) {
        let why = "this format writes to the file of GITHUB_OUTPUT";
        return Err(Error::new(Kind::Usage, "--write", why).into());
    }
    // Before anything is sent: a token that cannot be masked is not to be had.
    let file = to.filter(|path| *path != Path::new("-"));
    let masking = args.mask.then(|| Masking::of(context.host, &args.token, file)).transpose()?;
    if let (Some(_), Format::Aws) = (masking, format) {
        return Err(Error::new(Kind::Usage, "--mask", "this format prints other secrets than the token").into());
    }
    // Google's client for Python takes stderr for a part of the answer.
    context.host.terminal.quiet |= format == Format::GcpExecutable;
    let made = text(context, &args.token, format, &args.how);
    if let (Some(masking), Ok((got, text))) = (masking, &made) {
        mask(context, masking, got, format, text).in_profile(&args.token.profile)?;
    }
    match (made, file) {
        (Ok((_, text)), Some(path)) => {
            let path = absolute(path)?;
            Ok(write(context, &path, &text).map(drop).map_err(|error| cannot_write(&path, &error))?)
        }
        (Ok((_, text)), _) => context.answer(text.expose()),
        // The caller reads why at status 0 alone; at another one it says no more than that.
        (Err(error), None) if format == Format::GcpExecutable => context.answer(&output::failure(&error)),
        (Err(error), _) => Err(error),
    }
}

/// `tok header`.
///
/// # Errors
/// As [`run`].
pub fn header(context: &mut Context, args: &Header) -> Result<()> {
    let masking = args.mask.then(|| Masking::of(context.host, &args.token, None)).transpose()?;
    let got = token(context, &args.token)?;
    let text = output::write_header(&got.answer, Some(&args.api)).in_profile(&args.token.profile)?;
    if let Some(masking) = masking {
        mask(context, masking, &got, Format::Header, &text).in_profile(&args.token.profile)?;
    }
    context.answer(text.expose())
}

/// Tells the CI service to hide what is about to be printed as `text`.
fn mask(context: &mut Context, masking: Masking, got: &Got, format: Format, text: &Secret) -> Result<()> {
    let token = &got.answer.token;
    let id_token = token.id_token.as_ref().filter(|_| matches!(format, Format::IdToken | Format::GcpExecutable));
    // In base64 it is another text.
    let encoded =
        matches!(format, Format::Xoauth2 | Format::Oauthbearer).then(|| Secret::new(text.expose().trim_end()));
    let secrets = [Some(&token.access_token), id_token.map(|id| &id.text), encoded.as_ref()];
    secrets.into_iter().flatten().try_for_each(|secret| masking.hide(context, secret))
}

/// A token in the form that is asked for.
fn text(context: &mut Context, args: &TokenArgs, format: Format, how: &FormatArgs) -> Result<(Got, Secret)> {
    if let (Format::Env, Some(name)) = (format, &how.name) {
        output::env::check_name(name)?;
    }
    let mut got = token(context, args)?;
    if how.id_token || format == Format::IdToken {
        got = id_token::with_id_token(context, args, got).in_profile(&args.profile)?;
    }
    if how.id_token {
        got = id_token::in_place(got);
    }
    let username = got.profile.value("username");
    let wish = Wish { format, how, username, ca_file: got.profile.ca_file.clone() };
    let text = output::write(context.host, &got.answer, &wish).in_profile(&args.profile)?;
    Ok((got, text))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path).map_err(|e| Error::new(Kind::Usage, "--write", e.to_string()))?)
}

/// Writes the answer to a file, unless it holds just that.
fn write(context: &Context, path: &Path, text: &Secret) -> io::Result<Written> {
    files::write_user_file(path, text.expose().as_bytes(), context.host.clock.deadline)
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let late = error.kind() == io::ErrorKind::TimedOut;
    let kind = if late { Kind::Unavailable } else { Kind::Other };
    Error::new(kind, format!("{} cannot be written", path.display()), files::why(error))
}
