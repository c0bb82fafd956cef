//! Thin wrappers of the outside world: files, processes, signals, the browser, the loopback listener, HTTP.

pub mod browser;
#[cfg(all(unix, not(target_os = "macos")))]
pub mod bus;
pub mod choose;
pub mod clock;
pub mod files;
pub mod files_read;
pub mod http;
pub mod listener;
pub mod machine;
pub mod memory;
pub mod paste;
pub mod process;
pub mod program;
pub mod progress;
pub mod qr;
pub mod relay;
pub mod signals;
pub mod start;
pub mod terminal;
