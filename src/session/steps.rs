//! The steps of a grant on the way to its request for the token: each reply has what the next request needs.

use crate::base::error::Error;
use crate::host::Host;
use crate::profile::Profile;
use crate::provider::{Device, Grant, Kept, Step};
use crate::session::exchange::{self, Asking, Outcome};
use crate::session::found;
use crate::session::inputs::{Inputs, is_of_this_call};
use anyhow::Result;

/// Why a step did not succeed: the error, and the provider's code for it.
type Failed = (Error, Option<String>);

/// Runs the steps of `grant` before its login begins, but for those whose values are known already, such as a client
/// that an earlier login registered.
///
/// # Errors
/// Each kind of the contract.
pub fn before(host: &mut Host, profile: &Profile, grant: &Grant, inputs: &mut Inputs) -> Result<()> {
    for step in grant.steps_before() {
        let lacks = |kept: &Kept| inputs.get(&kept.name).is_none() && step.until.as_ref() != Some(&kept.name);
        if step.keep.is_empty() || step.keep.iter().any(lacks) || has_ended(host, profile, step) {
            run(host, profile, grant, (step, None), inputs)?.map_err(|(error, _)| error)?;
        }
    }
    Ok(())
}

/// Whether what `step` found in an earlier login is good no longer. What this call gives is nothing of that.
fn has_ended(host: &Host, profile: &Profile, step: &Step) -> bool {
    let until = step.until.as_ref().and_then(|name| profile.value(name)?.parse::<i64>().ok());
    let is_given = |kept: &Kept| profile.given.get(&kept.name).is_some_and(|given| is_of_this_call(&given.source));
    until.is_some_and(|until| until != 0 && until <= host.clock.now().secs()) && !step.keep.iter().any(is_given)
}

/// Runs the steps behind it.
///
/// # Errors
/// What keeps a request from being sent; what comes after it is the outcome.
pub fn after(host: &mut Host, profile: &Profile, grant: &Grant, inputs: &mut Inputs) -> Result<Option<Outcome>> {
    for step in grant.steps_after() {
        if let Err((error, code)) = run(host, profile, grant, (step, None), inputs)? {
            return Ok(Some(Outcome::Failed(error, code)));
        }
    }
    Ok(None)
}

/// The first of the steps behind a login on another device is the request that is polled: asks once. The rest are run
/// once it has been answered.
///
/// # Errors
/// As [`after`]; a failure of a later step.
pub fn polled(
    host: &mut Host,
    profile: &Profile,
    grant: &Grant,
    device: Option<&Device>,
    inputs: &mut Inputs,
) -> Result<Option<Outcome>> {
    let mut steps = grant.steps_after();
    let Some(first) = steps.next() else { return Ok(None) };
    if let Err((error, code)) = run(host, profile, grant, (first, device), inputs)? {
        return Ok(Some(Outcome::Failed(error, code)));
    }
    for step in steps {
        run(host, profile, grant, (step, None), inputs)?.map_err(|(error, _)| error)?;
    }
    Ok(None)
}

fn run(
    host: &mut Host,
    profile: &Profile,
    grant: &Grant,
    (step, device): (&Step, Option<&Device>),
    inputs: &mut Inputs,
) -> Result<std::result::Result<(), Failed>> {
    let asking = Asking { name: &grant.name, call: &step.call, rules: &step.response, dead: &[], device };
    host.terminal.detail(&format!("{}: a step of the grant {}", profile.name, grant.name));
    Ok(match exchange::ask_step(host, profile, &asking, &step.keep, inputs)? {
        Ok(answer) => {
            found::keep(profile, grant, &step.keep, &answer, inputs)?;
            Ok(())
        }
        Err(failed) => Err(failed),
    })
}
