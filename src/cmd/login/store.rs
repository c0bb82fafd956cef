//! The store of a login, opened before anything is sent.

use crate::host::Host;
use crate::profile::Profile;
use crate::session::journal;
use crate::session::open_store::{self, OpenStore};
use crate::storage::choice::StoreChoice;
use crate::storage::lock::Lock;
use crate::storage::secrets::StoreErrorKind;
use crate::system::terminal::Echo;
use anyhow::Result;

/// Opens the store: a login that cannot keep anything is refused before anything is sent. Where the `lock` of this
/// call's own state folder is held, that of another is taken too if it guards what is kept.
pub(super) fn open(host: &mut Host, profile: &Profile, lock: Option<&Lock>, again: &str) -> Result<OpenStore> {
    usable(look(host, profile, lock)?, profile, again)
}

/// [`open`] before the lock is held. Where there is no keyring a person is asked whether the file store will do: then it is
/// the profile's `store`, and of the command to run `again`.
pub(super) fn open_or_offer_a_file(
    host: &mut Host,
    profile: &mut Profile,
    store: &mut Option<StoreChoice>,
    again: &mut String,
) -> Result<OpenStore> {
    let opened = look(host, profile, None)?;
    let missing = opened.trouble.as_ref().filter(|error| error.trouble == StoreErrorKind::Missing);
    let is_chosen = store.is_some() || host.env.has("TOK_STORE") || profile.store != StoreChoice::Keyring;
    if let (Some(missing), false, true) = (missing, is_chosen, host.terminal.interactive) {
        let path = host.folders()?.data.join("secrets.json");
        host.terminal.tell(&format!("no keyring is available here: {}", missing.why));
        let label = format!("Keep secrets in the file {} instead, not encrypted [y/N]", path.display());
        let answer = host.ask(&label, Echo::On)?;
        if answer.is_some_and(|answer| matches!(answer.expose().trim(), "y" | "Y" | "yes")) {
            (profile.store, *store) = (StoreChoice::File, Some(StoreChoice::File));
            again.push_str(" --store file");
            return open(host, profile, None, again);
        }
    }
    usable(opened, profile, again)
}

/// Opens the store and clears what a login replaces.
fn look(host: &mut Host, profile: &Profile, lock: Option<&Lock>) -> Result<OpenStore> {
    let mut opened = OpenStore::open(host, profile);
    // An entry that is none of ours is replaced by the login; a file that is none of ours is not.
    let clear = |opened: &mut OpenStore| {
        let trouble = opened.trouble.as_ref().map(|error| error.trouble);
        if trouble == Some(StoreErrorKind::Entry)
            || (trouble == Some(StoreErrorKind::Corrupt) && profile.store != StoreChoice::File)
        {
            opened.trouble = None;
        }
    };
    clear(&mut opened);
    if lock.is_some() {
        opened.follow(host, &profile.name)?;
        journal::recover(host, profile, &mut opened, None)?;
        clear(&mut opened);
        opened.prepare();
    } else {
        opened.check_ready();
    }
    Ok(opened)
}

/// `opened`, or why it cannot be used.
fn usable(opened: OpenStore, profile: &Profile, again: &str) -> Result<OpenStore> {
    match &opened.trouble {
        Some(trouble) => {
            let error = open_store::store_error(profile, trouble);
            Err(match trouble.trouble {
                StoreErrorKind::Missing | StoreErrorKind::TimedOut if !profile.store.is_shared() => {
                    error.hint(format!("keep secrets in a file: {again} --store file"))
                }
                _ => error,
            }
            .into())
        }
        None => Ok(opened),
    }
}
