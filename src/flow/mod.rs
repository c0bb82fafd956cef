//! What data cannot say: a login in a browser, on another device, or by a push to a phone.

pub mod browser;
pub mod callback;
pub mod listener;
pub mod poll;
pub mod qr;
