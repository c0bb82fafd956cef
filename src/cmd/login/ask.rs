//! The request for the token of a login.

use super::command::try_again;
use super::{keep, open, usable_secrets};
use crate::base::error::Kind;
use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::cmd::Context;
use crate::host::Host;
use crate::oauth::reply::Issued;
use crate::profile::{Profile, Value};
use crate::provider::{Flow, Grant};
use crate::session::acquire;
use crate::session::exchange::{self, Asking, Outcome};
use crate::session::inputs::{self, For, Inputs};
use crate::session::journal::Record;
use crate::session::open_store::{self, OpenStore};
use crate::session::person;
use crate::storage::lock::Lock;
use crate::system::signals::{Hold, Stake};
use anyhow::Result;

/// A grant that was answered with a token.
pub(super) struct Asked {
    pub lock: Lock,
    pub opened: OpenStore,
    pub inputs: Inputs,
    pub issued: Issued,
    pub received: Time,
    /// The refresh token that it was got with.
    pub used: Option<Secret>,
    /// Its journal, as long as the store has not taken what it brought.
    pub record: Option<Record>,
    pub hold: Hold,
}

/// Runs a grant that needs no flow.
pub(super) fn ask(
    context: &mut Context,
    profile: &Profile,
    grant: &Grant,
    is_refresh: bool,
    replaces: bool,
    again: &str,
) -> Result<Asked> {
    let lock = context.lock(&profile.name)?;
    // Another process may have changed the entry while a person was typing.
    let mut opened = open(context.host, profile, true, again)?;
    let kept = usable_secrets(profile, &opened.credentials, replaces)?;
    let given = profile.fetch(context.host, "refresh_token")?.map(|t| Secret::new(t.as_str()));
    let session = opened.credentials.session.as_ref();
    let refresh_token = match given {
        Some(given) => Some(Value::found(given)),
        None => session.map(open_store::refresh_token),
    };
    let extra: Vec<(&str, Value)> = refresh_token.iter().map(|t| ("refresh_token", t.clone())).collect();
    let mut inputs = inputs::fill(context.host, profile, For::Grant(grant), &kept, &extra)?;
    inputs.bind(grant, &opened.credentials)?;
    let hold = crate::system::signals::hold(if is_refresh { Stake::Session } else { Stake::Time });
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let used = refresh_token.filter(|_| is_refresh).map(|token| token.text);
    let mut record = None;
    let outcome = match grant.flow {
        Flow::Signed => granted(profile, grant, acquire::signed(profile, &inputs, context.host.clock.now()), again),
        _ => match &used {
            Some(used) => {
                let events = record.insert(keep::begin(context.host, profile, grant, &inputs, &mut opened, used)?);
                let asked = exchange::ask_and_tell(context.host, profile, &asking, &inputs, events);
                match (asked, &record) {
                    (Ok(Outcome::Failed(error, code)), Some(record)) => {
                        Ok(Outcome::Failed(record.explain(profile, error), code))
                    }
                    (asked, _) => asked,
                }
            }
            None => exchange::ask(context.host, profile, &asking, &inputs),
        }
        .and_then(|outcome| granted(profile, grant, outcome, again)),
    };
    let (issued, received) = outcome.inspect_err(|_| opened.drop_key(&profile.name))?;
    Ok(Asked { lock, opened, inputs, issued, received, used, record, hold })
}

/// Exchanges the code that a flow has brought.
pub(super) fn ask_with(
    host: &mut Host,
    profile: &Profile,
    grant: &Grant,
    mut inputs: Inputs,
    opened: OpenStore,
    lock: Lock,
    again: &str,
) -> Result<Asked> {
    inputs.bind(grant, &opened.credentials)?;
    let hold = crate::system::signals::hold(Stake::Time);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[] };
    let granted =
        exchange::ask(host, profile, &asking, &inputs).and_then(|outcome| granted(profile, grant, outcome, again));
    let (issued, received) = granted.map_err(|error| person::name_redirect(error, &inputs))?;
    Ok(Asked { lock, opened, inputs, issued, received, used: None, record: None, hold })
}

/// The token, or the refusal in the words of a login.
fn granted(profile: &Profile, grant: &Grant, outcome: Outcome, again: &str) -> Result<(Issued, Time)> {
    match outcome {
        Outcome::Issued(issued, received) => Ok((issued, received)),
        Outcome::Dead(mut error) => {
            error.hint = Some(try_again(profile, grant, again));
            Err(error.into())
        }
        Outcome::Failed(mut error, code) => {
            if error.kind == Kind::Refused && !exchange::knows_more(&grant.call, code.as_deref()) {
                error.hint = Some(try_again(profile, grant, again));
            }
            Err(error.into())
        }
    }
}
