//! `tok schema`: the JSON Schema of each command's JSON output. `tests/cli/schema.rs` holds each against what the
//! command prints.

use crate::cli::{Schema, SchemaOf};
use crate::host::Host;
use anyhow::Result;

/// Prints the schema.
///
/// # Errors
/// Where it cannot be written.
pub fn run(host: &mut Host, args: &Schema) -> Result<()> {
    Ok(host.terminal.print(text(args.of))?)
}

/// The schema, by the draft of 2020-12.
pub fn text(of: SchemaOf) -> &'static str {
    match of {
        SchemaOf::Get => include_str!("get.json"),
        // `tok list --json` and `tok status --json` are one form.
        SchemaOf::List | SchemaOf::Status => include_str!("status.json"),
        SchemaOf::Show => include_str!("show.json"),
        SchemaOf::Providers => include_str!("providers.json"),
        SchemaOf::Doctor => include_str!("doctor.json"),
    }
}
