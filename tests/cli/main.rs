//! The whole program: what the contract promises, driven through the built `tok` alone. Each test is named
//! as the claim that it proves. Servers, keyring and terminal are real; nothing of `tok` is linked in.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a test is a program of its own")]
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

#[path = "support/child.rs"]
mod child;
#[path = "support/refusing.rs"]
mod refusing;
#[path = "support/skip.rs"]
mod skip;
mod support;

mod another_account;
mod author_requests;
mod author_warnings;
mod authors;
mod bad_input;
mod by_address;
mod cached;
mod canary;
mod ci;
mod ci_docs;
mod client_steps;
mod close_calls;
mod command_sources;
mod commands;
mod completion;
mod config;
mod consumers;
mod crash;
mod credential;
mod curl;
mod doctor;
mod etcd_store;
mod exec;
mod exit_status;
mod faults;
mod files_of_others;
mod first_hour;
mod fleet;
mod flows;
mod flows_clients;
mod flows_device;
mod flows_discovery;
mod flows_odd;
mod flows_sessions;
mod get;
mod goes_home;
mod guided;
mod helper_programs;
mod hints;
mod hooks;
mod hostile_files;
mod hostile_text;
mod identity;
mod interrupted;
mod journal;
mod json;
mod keyring;
mod kube_apiserver;
mod kubernetes_store;
mod limits;
mod load;
mod login;
mod mail;
mod memory;
mod moved;
mod network;
mod one_session;
mod online;
mod outputs;
mod person;
mod pictures;
mod provider_list;
mod provider_rules;
mod provider_use;
mod races;
mod readme;
mod recipes;
mod redirects;
mod refresh;
mod registries;
mod renews_itself;
mod replies;
mod schema;
mod scope_lists;
mod settings_in_force;
mod setup;
mod shared_faults;
mod shared_stores;
mod shared_tokens;
mod shell;
mod signals;
mod signing;
mod status;
mod store_faults;
mod stores;
mod stranger;
mod support_itself;
mod terminal;
mod texts;
mod values;
mod watch;
mod words;
