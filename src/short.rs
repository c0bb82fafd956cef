//! The short path: `tok get NAME` and `tok header NAME` with a good cached token. It stands before the command line
//! is built and reads two small files; any doubt, and the full path answers instead. What it prints is what the full
//! path prints: a test compares.

use crate::files;
use crate::store::cache::{HEAD, Head, Stamp, is_header};
use crate::token::{Expires, freshness, is_token};
use serde::Deserialize;
use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The id of this build: what another build has written down is not trusted.
pub const BUILD: &str = env!("TOK_BUILD_ID");

/// What the answer needs of a cached token.
#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    received: i64,
    expires_at: Option<i64>,
    #[serde(default)]
    never_expires: bool,
    #[serde(borrow)]
    header_name: Cow<'a, str>,
    #[serde(borrow)]
    header_value: Cow<'a, str>,
}

/// The line to print, if the command line is one of the two and nothing speaks against it. `now`: nanoseconds since
/// 1970.
pub fn answer(args: &[OsString], now: i64) -> Option<Vec<u8>> {
    let [_, verb, name] = args else { return None };
    let header = match verb.to_str()? {
        "get" => false,
        "header" => true,
        _ => return None,
    };
    let name = name.to_str().filter(|name| crate::provider::is_name(name))?;
    if has_own_variable() {
        return None;
    }
    let (config, state) = folders()?;
    let folder = state.join("cache").join(name);
    // In a folder that others can change somebody may have put a token for us.
    if !folder.ancestors().take(3).all(files::is_own_dir) {
        return None;
    }
    let head = files::read_private(&folder.join(HEAD), 1 << 20).ok()??;
    let head: Head = serde_json::from_slice(&head).ok()?;
    if head.build != BUILD || head.token.contains(['/', '\\']) || head.stamps.len() != 2 {
        return None;
    }
    // The head was written for the folders of then; those of now may be others.
    if head.stamps[0].path != config.join("config.toml") || !head.stamps[1].path.starts_with(config.join("providers")) {
        return None;
    }
    for stamp in &head.stamps {
        if stamp.is_too_young(head.written) || Stamp::of(&stamp.path).as_ref() != Some(stamp) {
            return None;
        }
    }
    let bytes = zeroize::Zeroizing::new(files::read_private(&folder.join(&head.token), 4 << 20).ok()??);
    line(&head, &bytes, header, now)
}

/// The line for the token whose file holds `bytes`, as long as it is good at `now`.
pub fn line(head: &Head, bytes: &[u8], header: bool, now: i64) -> Option<Vec<u8>> {
    let token: Token = serde_json::from_slice(bytes).ok()?;
    let expires = match (token.expires_at, token.never_expires) {
        (Some(at), _) => Expires::At(at),
        (None, true) => Expires::Never,
        (None, false) => Expires::Unknown,
    };
    let seconds = |nanos: i64| nanos.div_euclid(1_000_000_000);
    freshness(seconds(token.received), expires, seconds(now), head.min_ttl, head.asked).ok()?;
    if !is_token(&token.access_token) || !is_header(&token.header_name, &token.header_value) {
        return None;
    }
    let line = match header {
        false => format!("{}\n", token.access_token),
        true => format!("{}: {}\n", token.header_name, token.header_value),
    };
    Some(line.into_bytes())
}

fn has_own_variable() -> bool {
    std::env::vars_os().any(|(name, _)| crate::host::is_own(&name))
}

/// `<config>/tok` and `<state>/tok`, as `directories` finds them on Linux; elsewhere that crate is asked.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
pub fn folders() -> Option<(PathBuf, PathBuf)> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Without HOME the user database is asked: not here.
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)?;
    let of = |name: &str, below: &str| absolute(name).unwrap_or_else(|| home.join(below)).join(Path::new("tok"));
    Some((of("XDG_CONFIG_HOME", ".config"), of("XDG_STATE_HOME", ".local/state")))
}

/// `<config>/tok` and `<state>/tok`.
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd")))]
pub fn folders() -> Option<(PathBuf, PathBuf)> {
    let base = directories::BaseDirs::new()?;
    let tok = |path: &Path| path.join("tok");
    Some((tok(base.config_dir()), tok(base.state_dir().unwrap_or(base.data_local_dir()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_are_those_of_the_platform() {
        let base = directories::BaseDirs::new().expect("a home");
        let state = base.state_dir().unwrap_or(base.data_local_dir()).join("tok");
        assert_eq!(folders(), Some((base.config_dir().join("tok"), state)));
    }
}
