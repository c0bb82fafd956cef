//! The credentials helper protocol of Terraform and OpenTofu: "Credentials Helpers" in their internals documentation.

use super::{Asking, credential, erase, malformed, not_stored, origin, owner};
use crate::base::error::{Error, Kind};
use crate::cmd::Context;
use anyhow::Result;
use serde_json::json;
use zeroize::Zeroizing;

/// Runs one verb for a host.
///
/// # Errors
/// For another verb, a host that is none, and where there is no token.
pub fn run(context: &mut Context, asking: &Asking, verb: &str, host: &str) -> Result<()> {
    if host.contains(['/', '?', '#']) {
        return Err(malformed("the host is not one").into());
    }
    let origin = origin(&format!("https://{host}")).map_err(malformed)?;
    match (verb, origin) {
        ("get", Some(origin)) => {
            let Some(name) = owner(context, asking, &origin)? else { return context.answer("{}\n") };
            let credential = credential(context, asking, &name)?;
            let object = json!({ "token": credential.token.expose() });
            context.answer(&Zeroizing::new(format!("{object}\n")))
        }
        ("forget", Some(origin)) => erase(context, asking, &origin, None),
        // What `terraform login` got would be lost.
        ("store", _) => Err(not_stored("terraform").into()),
        _ => Err(Error::new(Kind::Usage, "unknown verb", "terraform's are get, store and forget").into()),
    }
}
