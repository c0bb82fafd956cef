//! The files with settings that a run has read, as they were when it read them.

use super::files::{self, Numbers};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files by path, with their numbers before they were read; `None`: there was none.
#[derive(Default)]
pub struct FilesRead(RefCell<BTreeMap<PathBuf, Option<Numbers>>>);

impl FilesRead {
    /// Records a file. The first time counts: a change that a later reading of this run finds is ignored.
    pub fn note(&self, path: &Path, of: Option<Numbers>) {
        self.0.borrow_mut().entry(path.to_path_buf()).or_insert(of);
    }

    /// The file as this run read it; `None`: it did not.
    pub fn of(&self, path: &Path) -> Option<Option<Numbers>> {
        self.0.borrow().get(path).copied()
    }

    /// Whether all of them are still as this run read them.
    pub fn are_unchanged(&self) -> bool {
        self.0.borrow().iter().all(|(path, of)| files::numbers(path).is_ok_and(|now| now == *of))
    }
}
