//! The whole program: what the contract promises, driven through the built `tok` alone. Each test is named
//! as the claim that it proves. Servers, keyring and terminal are real; nothing of `tok` is linked in.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod support;

mod get;
mod login;
mod support_itself;
