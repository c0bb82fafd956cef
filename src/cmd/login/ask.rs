//! The request for the token of a login.

use super::command::try_again;
use super::{keep, open, usable_secrets};
use crate::base::error::{Kind, kind};
use crate::base::secret::Secret;
use crate::cmd::Context;
use crate::oauth::reply::Issued;
use crate::profile::{Profile, Value};
use crate::provider::{Flow, Grant};
use crate::session::exchange::{self, Asking, Outcome};
use crate::session::inputs::{self, For, Inputs};
use crate::session::journal::Record;
use crate::session::limits;
use crate::session::open_store::{self, OpenStore};
use crate::session::person;
use crate::session::signed;
use crate::session::steps;
use crate::storage::lock::Lock;
use crate::system::signals::{Hold, Stake};
use anyhow::Result;

/// A login whose request is to be sent.
pub(super) struct Attempt<'a> {
    pub profile: &'a Profile,
    pub grant: &'a Grant,
    /// It is made by a refresh token.
    pub is_refresh: bool,
    /// It takes the place of another account.
    pub replaces: bool,
    /// The command to run if it fails.
    pub again: &'a str,
}

/// A grant that was answered with a token.
pub(super) struct Asked {
    pub lock: Lock,
    pub opened: OpenStore,
    pub inputs: Inputs,
    pub issued: Issued,
    /// The refresh token that it was got with.
    pub used: Option<Secret>,
    /// Its journal, as long as the store has not taken what it brought.
    pub record: Option<Record>,
    pub hold: Hold,
}

/// Runs a grant that needs no flow.
pub(super) fn ask(context: &mut Context, attempt: &Attempt) -> Result<Asked> {
    let Attempt { profile, grant, is_refresh, replaces, again } = *attempt;
    let lock = context.lock(&profile.name)?;
    // Another process may have changed the entry while a person was typing.
    let mut opened = open(context.host, profile, Some(&lock), again)?;
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
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[], device: None };
    let indexes = opened.indexes(context.host, &profile.name);
    if grant.flow != Flow::Signed {
        limits::count(context.host, profile, &indexes);
    }
    let used = refresh_token.filter(|_| is_refresh).map(|token| token.text);
    let mut record = None;
    let outcome = match grant.flow {
        Flow::Signed => attempt.granted(signed::signed(profile, &inputs, context.host.clock.now())),
        _ => match &used {
            Some(used) => {
                let events = record.insert(keep::begin(context.host, attempt, &inputs, &mut opened, used)?);
                let asked = exchange::ask_and_tell(context.host, profile, &asking, &inputs, events);
                match (asked, &record) {
                    (Ok(Outcome::Failed(error, code)), Some(record)) => {
                        Ok(Outcome::Failed(record.explain(profile, error), code))
                    }
                    (asked, _) => asked,
                }
            }
            None => match steps::after(context.host, profile, grant, &mut inputs)? {
                Some(failed) => Ok(failed),
                None => exchange::ask(context.host, profile, &asking, &inputs),
            },
        }
        .and_then(|outcome| attempt.granted(outcome)),
    };
    let issued = outcome.inspect_err(|error| {
        if kind(error) == Kind::Refused {
            limits::count_refusal(context.host, profile, &indexes);
        }
        opened.drop_key(&profile.name);
    })?;
    Ok(Asked { lock, opened, inputs, issued, used, record, hold })
}

/// Exchanges the code that a flow has brought.
pub(super) fn ask_with(context: &mut Context, attempt: &Attempt, mut inputs: Inputs) -> Result<Asked> {
    let Attempt { profile, grant, again, .. } = *attempt;
    let lock = context.lock(&profile.name)?;
    let opened = open(context.host, profile, Some(&lock), again)?;
    inputs.bind(grant, &opened.credentials)?;
    let hold = crate::system::signals::hold(Stake::Time);
    let asking = Asking { name: &grant.name, call: &grant.call, rules: &grant.response, dead: &[], device: None };
    let outcome = match steps::after(context.host, profile, grant, &mut inputs)? {
        Some(failed) => Ok(failed),
        None => exchange::ask(context.host, profile, &asking, &inputs),
    };
    let granted = outcome.and_then(|outcome| attempt.granted(outcome));
    let issued = granted.map_err(|error| person::name_redirect(error, &inputs))?;
    Ok(Asked { lock, opened, inputs, issued, used: None, record: None, hold })
}

impl Attempt<'_> {
    /// The token, or the refusal in the words of a login.
    pub fn granted(&self, outcome: Outcome) -> Result<Issued> {
        let try_again = || Some(try_again(self.profile, self.grant, self.again));
        match outcome {
            Outcome::Issued(issued) => Ok(issued),
            Outcome::Dead(mut error) => {
                error.hint = try_again();
                Err(error.into())
            }
            Outcome::Failed(mut error, code) => {
                if error.kind == Kind::Refused && !exchange::knows_more(&self.grant.call, code.as_deref()) {
                    error.hint = try_again();
                }
                Err(error.into())
            }
        }
    }
}
