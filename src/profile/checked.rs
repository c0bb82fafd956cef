//! That a config was read whole, is right and can be read in parts: a note with its stamp, for the next call.

use crate::BUILD;
use crate::base::time::Time;
use crate::host::Host;
use crate::storage::cache::Stamp;
use crate::system::files::{self, Durable};
use std::path::PathBuf;

/// What the note says: the build that read the config, as another may know other mistakes; the config as it was; and
/// when this was written, in nanoseconds since 1970.
type Note<'t> = (&'t str, Stamp<'t>, i64);

/// The note on the config that was read last.
pub struct Checked(Option<PathBuf>);

impl Checked {
    /// The one of this user.
    pub fn of(host: &Host) -> Checked {
        Checked(host.folders().ok().map(|folders| folders.checked()))
    }

    /// Whether it is of the config with this stamp.
    pub fn has(&self, stamp: &Stamp) -> bool {
        let Some(bytes) = self.0.as_ref().and_then(|path| files::read_private(path, 1 << 16).ok()?) else {
            return false;
        };
        serde_json::from_slice::<Note>(&bytes)
            .is_ok_and(|(build, of, written)| build == BUILD && of == *stamp && !stamp.is_too_young(written))
    }

    /// Writes it. A failure costs time alone.
    pub fn put(&self, stamp: &Stamp, now: Time) {
        let Some(path) = self.0.as_ref() else { return };
        // It would not be believed.
        if stamp.is_too_young(now.0) {
            return;
        }
        if let Ok(text) = serde_json::to_vec::<Note>(&(BUILD, *stamp, now.0)) {
            let _ = files::write_private(path, &text, Durable::No);
        }
    }
}
