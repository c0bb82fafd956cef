//! The command line as types: its definition, its parser and its error messages. What profiles and
//! providers bring comes in as plain rows ([`Catalog`]); nothing else of the program is known here, so that man pages
//! and completions can be made from it alone.

#![allow(
    clippy::missing_docs_in_private_items,
    reason = "a doc comment on arguments would replace the command's help, which stands at its verb"
)]

mod build;
mod client;
mod credential;
mod curl;
mod doctor;
mod exec;
mod output;
mod parse;
mod providers;
mod schema;
mod setup;
mod status;
mod types;
mod usage;

pub use build::{Catalog, GrantRow, TargetRow, ValueKind, ValueRow, command};
pub use client::Registers;
pub use credential::{Credential, Protocol};
pub use curl::Curl;
pub use doctor::Doctor;
pub use exec::Exec;
pub use output::{Format, FormatArgs, Syntax};
pub use parse::{FirstLook, first_look, parse};
pub use providers::{Kind as ProviderKind, NewProvider, Providers, ProvidersCommand};
pub use schema::{Schema, SchemaOf};
pub use setup::{Setup, SetupProgram};
pub use status::Status;
pub use types::{
    ApiCall, Cli, Color, Flag, Get, Global, Header, List, LoginArgs, Logout, Shell, Show, TokenArgs, Verb,
};
pub use usage::{Stop, stop, typed};
