//! Entries that are too long for a platform, in parts.
//!
//! Windows takes 2,560 bytes (`CRED_MAX_CREDENTIAL_BLOB_SIZE`). The parts of an entry lie in one of two rows,
//! `PROFILE#a.0`, `PROFILE#a.1`, … and `PROFILE#b.0`, …; the head under `PROFILE` names the row that counts. A
//! new entry goes to the other row, then the head is replaced, then the old row is cleared: whatever stops that
//! between two steps, the head names a row that is whole. Only two rows, so that what a killed process left is
//! overwritten or cleared by the next one and never has to be searched for.

use super::{Store, StoreError, StoreErrorKind};
use crate::base::secret::Secret;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What fits into one entry of the Windows Credential Manager, with some room, in bytes.
pub const WINDOWS: usize = 2400;

/// The rows. `#` is in no profile's name.
const ROWS: [&str; 2] = ["a", "b"];
/// An entry with more parts than this was not written by tok (an entry of a megabyte has some four hundred).
const MOST: usize = 1000;

/// A store that passes on entries of at most `limit` bytes and splits longer ones.
#[derive(Debug)]
pub struct Split<S> {
    inner: S,
    limit: Option<usize>,
}

/// What stands under the profile's name in the place of a long entry.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SplitHead {
    tok_split: Manifest,
}

#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    generation: String,
    parts: usize,
    sha256: String,
}

impl<S: Store> Split<S> {
    /// Splits what is longer than `limit` bytes; with `None` every call goes through as it is.
    pub fn new(inner: S, limit: Option<usize>) -> Split<S> {
        // A part holds at least one character, of up to four bytes.
        let limit = limit.map(|limit| limit.max(4));
        Split { inner, limit }
    }

    /// The store inside.
    pub fn inner(&mut self) -> &mut S {
        &mut self.inner
    }

    fn join(&mut self, profile: &str, head: &Manifest) -> Result<Secret, StoreError> {
        let mut parts = Vec::new();
        for i in 0..head.parts {
            let part = self.inner.get(&name(profile, &head.generation, i))?;
            parts.push(part.ok_or_else(|| corrupt(format!("part {i} of {} is missing", head.parts)))?);
        }
        let length = parts.iter().map(|part| part.expose().len()).sum();
        let mut text = Zeroizing::new(String::with_capacity(length));
        for part in &parts {
            text.push_str(part.expose());
        }
        if hex(&text) != head.sha256 {
            return Err(corrupt("its parts do not match".to_owned()));
        }
        Ok(Secret::new(text.as_str()))
    }

    /// Removes the parts of a row from `first` on, the last one first: no gap can be left that would hide the rest
    /// from the next one who clears it.
    fn clear(&mut self, profile: &str, row: &str, first: usize) -> Result<bool, StoreError> {
        let mut end = first;
        while end < MOST && self.is_there(&name(profile, row, end))? {
            end += 1;
        }
        for i in (first..end).rev() {
            self.inner.forget(&name(profile, row, i))?;
        }
        Ok(end > first)
    }

    fn is_there(&mut self, name: &str) -> Result<bool, StoreError> {
        match self.inner.get(name) {
            Ok(part) => Ok(part.is_some()),
            Err(error) if error.trouble == StoreErrorKind::Corrupt => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The head under `profile`, if a long entry is kept there.
    fn head(&mut self, profile: &str) -> Result<Option<Manifest>, StoreError> {
        match self.inner.get(profile) {
            Ok(entry) => Ok(entry.as_ref().and_then(read_head)),
            // It is about to be replaced.
            Err(error) if error.trouble == StoreErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<S: Store> Store for Split<S> {
    fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
        let mut before: Option<Secret> = None;
        loop {
            let Some(entry) = self.inner.get(profile)? else {
                return Ok(None);
            };
            let head = match self.limit {
                Some(_) => read_head(&entry),
                None => None,
            };
            let Some(head) = head else {
                return Ok(Some(entry));
            };
            match self.join(profile, &head) {
                // Another process may have replaced the entry between two reads: then the head is another now.
                Err(error) if error.trouble == StoreErrorKind::Corrupt && before.as_ref() != Some(&entry) => {
                    before = Some(entry);
                }
                result => return result.map(Some),
            }
        }
    }

    fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
        let Some(limit) = self.limit else {
            return self.inner.set(profile, entry);
        };
        let old = self.head(profile)?;
        // What looks like a head must not be read as one.
        let kept = if entry.expose().len() <= limit && read_head(entry).is_none() {
            self.inner.set(profile, entry)?;
            None
        } else {
            let row = match &old {
                Some(head) if head.generation == ROWS[0] => ROWS[1],
                _ => ROWS[0],
            };
            let parts = cut(entry.expose(), limit);
            if parts.len() > MOST {
                return Err(StoreError { trouble: StoreErrorKind::Refused, why: "the entry is too long".to_owned() });
            }
            for (i, part) in parts.iter().enumerate() {
                self.inner.set(&name(profile, row, i), &Secret::new(*part))?;
            }
            let head = SplitHead {
                tok_split: Manifest { generation: row.to_owned(), parts: parts.len(), sha256: hex(entry.expose()) },
            };
            let head =
                serde_json::to_string(&head).map_err(|_| corrupt("the entry cannot be written as JSON".to_owned()))?;
            self.inner.set(profile, &Secret::new(head))?;
            Some((row, parts.len()))
        };
        // The new entry is in its place: what cannot be cleared now is cleared by the next `set` or `forget`.
        for row in ROWS {
            let first = kept.filter(|(of, _)| *of == row).map_or(0, |(_, parts)| parts);
            let _ = self.clear(profile, row, first);
        }
        Ok(())
    }

    fn ready(&mut self) -> Result<(), StoreError> {
        self.inner.ready()
    }

    fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
        let mut was = self.inner.forget(profile)?;
        if self.limit.is_some() {
            // Also without a head: parts may be left from a process that was killed here.
            for row in ROWS {
                was |= self.clear(profile, row, 0)?;
            }
        }
        Ok(was)
    }
}

fn name(profile: &str, row: &str, i: usize) -> String {
    format!("{profile}#{row}.{i}")
}

fn corrupt(why: String) -> StoreError {
    StoreError { trouble: StoreErrorKind::Corrupt, why }
}

fn read_head(entry: &Secret) -> Option<Manifest> {
    let head: SplitHead = serde_json::from_str(entry.expose()).ok()?;
    let head = head.tok_split;
    (ROWS.contains(&head.generation.as_str()) && head.parts <= MOST).then_some(head)
}

fn hex(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Pieces of at most `limit` (4 or more) bytes, cut between characters.
fn cut(mut text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    while text.len() > limit {
        let mut at = limit;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (part, rest) = text.split_at(at);
        parts.push(part);
        text = rest;
    }
    parts.push(text);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// A store that fails from its `fail`th change on, as after a kill, and takes only short entries.
    #[derive(Default)]
    struct Map {
        entries: HashMap<String, String>,
        changes: usize,
        fail: Option<usize>,
        limit: usize,
    }

    impl Map {
        fn change(&mut self) -> Result<(), StoreError> {
            self.changes += 1;
            match self.fail {
                Some(fail) if self.changes > fail => {
                    Err(StoreError { trouble: StoreErrorKind::Refused, why: String::new() })
                }
                _ => Ok(()),
            }
        }
    }

    impl Store for Map {
        fn get(&mut self, profile: &str) -> Result<Option<Secret>, StoreError> {
            Ok(self.entries.get(profile).map(Secret::new))
        }
        fn set(&mut self, profile: &str, entry: &Secret) -> Result<(), StoreError> {
            self.change()?;
            let room = if profile.contains('#') { self.limit } else { self.limit.max(150) };
            assert!(entry.expose().len() <= room, "{profile} is too long");
            self.entries.insert(profile.to_owned(), entry.expose().to_owned());
            Ok(())
        }
        fn forget(&mut self, profile: &str) -> Result<bool, StoreError> {
            self.change()?;
            Ok(self.entries.remove(profile).is_some())
        }
    }

    fn split(limit: usize) -> Split<Map> {
        let map = Map { limit, ..Map::default() };
        Split::new(map, Some(limit))
    }

    fn samples() -> Vec<String> {
        let mut samples: Vec<String> =
            [0, 1, 4, 9, 10, 11, 20, 21, 57, 200].iter().map(|length| "x".repeat(*length)).collect();
        samples.extend(["é".repeat(33), "a€𝄞".repeat(20), "𝄞".repeat(7)]);
        samples.push(r#"{"tok_split":{"generation":"a","parts":1,"sha256":"00"}}"#.to_owned());
        samples
    }

    #[test]
    fn every_entry_comes_back_and_leaves_nothing_else() {
        for limit in [4, 5, 10, 2400] {
            let mut store = split(limit);
            for text in samples() {
                store.set("p", &Secret::new(&text)).unwrap();
                assert_eq!(store.get("p").unwrap().unwrap().expose(), text);
                let parts = if text.len() > limit || text.contains("tok_split") { cut(&text, limit).len() } else { 0 };
                assert_eq!(store.inner.entries.len(), 1 + parts, "limit {limit}: {text}");
            }
            assert!(store.forget("p").unwrap());
            assert!(!store.forget("p").unwrap());
            assert!(store.inner.entries.is_empty());
        }
    }

    #[test]
    fn whatever_step_fails_the_entry_is_the_old_or_the_new_one() {
        for old in samples() {
            for new in samples() {
                for step in 0..200 {
                    let mut store = split(10);
                    store.set("p", &Secret::new(&old)).unwrap();
                    store.inner.changes = 0;
                    store.inner.fail = Some(step);
                    let result = store.set("p", &Secret::new(&new));
                    let ended = store.inner.changes <= step;
                    store.inner.fail = None;
                    let now = store.get("p").unwrap().unwrap();
                    match result {
                        Ok(()) => assert_eq!(now.expose(), new),
                        Err(_) => assert_eq!(now.expose(), old),
                    }
                    // The next one clears what is left.
                    store.set("p", &Secret::new("")).unwrap();
                    assert_eq!(store.inner.entries.len(), 1, "{old} → {new} at {step}");
                    if ended {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn a_forget_that_fails_can_be_repeated() {
        for step in 0..30 {
            let mut store = split(10);
            store.set("p", &Secret::new("x".repeat(100))).unwrap();
            store.inner.changes = 0;
            store.inner.fail = Some(step);
            let result = store.forget("p");
            store.inner.fail = None;
            if step > 0 {
                assert_eq!(store.get("p").unwrap(), None);
            }
            store.forget("p").unwrap();
            assert!(store.inner.entries.is_empty());
            if result.is_ok() {
                return;
            }
        }
        panic!("never done");
    }

    #[test]
    fn a_part_that_was_changed_or_lost_is_told() {
        let mut store = split(10);
        store.set("p", &Secret::new("x".repeat(100))).unwrap();
        let part = name("p", "a", 3);
        store.inner.entries.insert(part.clone(), "y".repeat(10));
        assert_eq!(store.get("p").unwrap_err().trouble, StoreErrorKind::Corrupt);
        store.inner.entries.remove(&part);
        assert_eq!(store.get("p").unwrap_err().trouble, StoreErrorKind::Corrupt);
        store.set("p", &Secret::new("z".repeat(100))).unwrap();
        assert_eq!(store.get("p").unwrap().unwrap().expose(), "z".repeat(100));
    }

    #[test]
    fn profiles_do_not_meet() {
        let mut store = split(10);
        store.set("p", &Secret::new("x".repeat(50))).unwrap();
        store.set("p-a", &Secret::new("y".repeat(50))).unwrap();
        store.forget("p").unwrap();
        assert_eq!(store.get("p-a").unwrap().unwrap().expose(), "y".repeat(50));
    }

    #[test]
    fn without_a_limit_nothing_is_split() {
        let map = Map { limit: 10_000, ..Map::default() };
        let mut store = Split::new(map, None);
        store.set("p", &Secret::new("x".repeat(9_000))).unwrap();
        assert_eq!(store.inner.entries.len(), 1);
        assert_eq!(store.get("p").unwrap().unwrap().expose().len(), 9_000);
        assert!(store.forget("p").unwrap());
    }
}
