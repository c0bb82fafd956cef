//! What the fast path reads beside the token: what `tok get PROFILE` resolved to last, and what it did with some
//! options, with the stamps of the files that decide it.

use crate::system::files::{self, Numbers};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The names of the heads: of the plain call, and of those with options or variables.
pub const HEADS: (&str, [&str; 8]) = (
    "head.json",
    [
        "head-0.json",
        "head-1.json",
        "head-2.json",
        "head-3.json",
        "head-4.json",
        "head-5.json",
        "head-6.json",
        "head-7.json",
    ],
);

/// Whether a file of the cache is a head.
pub fn is_head(name: &str) -> bool {
    name == HEADS.0 || HEADS.1.contains(&name)
}

/// What distinguishes calls of one profile: nothing for the plain `tok get PROFILE`.
#[derive(Debug, Default)]
pub struct Invocation<'a> {
    /// `get` or `header`.
    pub verb: &'a [u8],
    /// The words behind the profile.
    pub words: Vec<&'a [u8]>,
    /// `tok`'s own variables, `NAME=value`.
    pub env: Vec<&'a [u8]>,
}

impl Invocation<'_> {
    /// The name of the head for this call; calls may share one, and the last of them has it.
    pub fn head(&self) -> &'static str {
        let (first, others) = HEADS;
        if self.words.is_empty() && self.env.is_empty() {
            return first;
        }
        let sum: usize = self.words.iter().chain(&self.env).flat_map(|part| part.iter()).map(|b| usize::from(*b)).sum();
        others[sum % others.len()]
    }

    /// What the head knows this call by: empty for the plain one, else a digest. A variable may be a secret, so it is
    /// one with `salt`: the token file's random name.
    pub fn digest(&mut self, salt: &str) -> String {
        if self.words.is_empty() && self.env.is_empty() {
            return String::new();
        }
        self.env.sort_unstable();
        let count = self.words.len().to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![salt.as_bytes(), &count];
        // Each verb has its own options: what one accepts may be wrong for the other.
        if !self.words.is_empty() {
            parts.push(self.verb);
        }
        parts.extend(self.words.iter().chain(&self.env));
        crate::base::digest::hex(&parts)
    }
}

/// What a call resolves to, beside the token.
#[derive(Clone, Copy, Debug)]
pub struct HeadOf<'p> {
    /// The requested minimum remaining lifetime, in seconds; `None`: the default.
    pub min_ttl: Option<i64>,
    /// When the call began, in nanoseconds since 1970: before it read the files that decide it.
    pub started: i64,
    /// The files that decide it, as they were read: the config and the user's file of the provider.
    pub stamps: [Stamp<'p>; 2],
}

/// What a call resolves to. All borrowed: the short path reads it without allocating.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachedHead<'t> {
    /// The build that resolved it.
    pub build: &'t str,
    /// The options and variables that it was resolved with, see [`Invocation::digest`].
    pub call: &'t str,
    /// The name of the token's file.
    pub token: &'t str,
    /// That file as it was: whole, and what the full path found good.
    pub of: Numbers,
    /// The requested minimum remaining lifetime, in seconds; `None`: the default.
    pub min_ttl: Option<i64>,
    /// When the call that resolved it began, in nanoseconds since 1970.
    pub started: i64,
    /// The files that decide it.
    #[serde(borrow)]
    pub stamps: [Stamp<'t>; 2],
}

impl CachedHead<'_> {
    /// The file's text: the fields in their order, without their names, which the short path would have to compare.
    pub fn text(&self) -> serde_json::Result<Vec<u8>> {
        let CachedHead { build, call, token, of, min_ttl, started, stamps } = self;
        let stamps = stamps.map(|stamp| (stamp.path, stamp.of));
        serde_json::to_vec(&(build, call, token, of, min_ttl, started, stamps))
    }
}

/// A file as it was, or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp<'t> {
    /// Its path.
    #[serde(borrow)]
    pub path: &'t Path,
    /// `None`: there was no such file.
    pub of: Option<Numbers>,
}

impl Stamp<'_> {
    /// The stamp of `path` now; `None` where it cannot be told. For a comparison: what is written down is what was
    /// read.
    pub fn of(path: &Path) -> Option<Stamp<'_>> {
        Some(Stamp { path, of: files::numbers(path).ok()? })
    }

    /// Whether the file changed less than two seconds before `started` (or after it), when the call began that read
    /// it: the clock of a file system may be that coarse, and a second change within the same tick would not show.
    pub fn is_too_young(&self, started: i64) -> bool {
        self.of.is_some_and(|(_, _, content, state)| content.max(state) > started.saturating_sub(2_000_000_000))
    }
}
