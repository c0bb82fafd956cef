//! `tok login NAME --move-to STORE`: carries a session over to another store, without a new login.

use super::config::{check_config, hold_config, write_config};
use crate::base::error::{Error, Kind};
use crate::cmd::Context;
use crate::profile::config::Edit;
use crate::profile::{Profile, Wishes};
use crate::session::journal;
use crate::session::open_store::{OpenStore, store_error, store_error_of};
use crate::session::registration;
use crate::storage::choice::StoreChoice;
use crate::storage::index::Index;
use crate::storage::secrets::{StoreError, StoreErrorKind};
use crate::system::signals::{Stake, hold};
use crate::token::credentials::Credentials;
use anyhow::Result;

/// How often the session is carried over again where other machines renew it meanwhile.
const TRIES: usize = 20;

/// Moves the session of the profile `name` to the store `to`, and empties the old entry.
///
/// # Errors
/// [`Kind::Usage`] where it is there already; [`Kind::LoginNeeded`] where there is none, or another one there;
/// [`Kind::Store`].
pub(super) fn run(context: &mut Context, name: &str, to: &str) -> Result<()> {
    let usage = |why: String| Error::new(Kind::Usage, "--move-to", why);
    let to = StoreChoice::parse(to).map_err(usage)?;
    let mut profile = Profile::resolve(context.host, &context.setup, name, &Wishes::default())?;
    let noted = Index::of(context.host.folders().ok(), name).read();
    let noted = noted.filter(|noted| noted.refresh_token || !noted.secrets.is_empty());
    let from = noted.and_then(|noted| StoreChoice::parse(&noted.store).ok()).unwrap_or(profile.store.clone());
    if to == StoreChoice::None || to == from {
        return Err(usage(format!("expected another store than {from}, which keeps sessions")).into());
    }
    let edit = Edit { provider: profile.provider.name.clone(), store: Some(to.clone()), ..Edit::default() };
    check_config(context, name, &edit)?;
    let lock = context.lock(name)?;
    profile.store = from.clone();
    let mut old = OpenStore::open(context.host, &profile);
    old.follow(context.host, name)?;
    usable(&profile, &old)?;
    journal::recover(context.host, &profile, &mut old, None)?;
    if old.credentials.is_empty() {
        return Err(Error::new(Kind::LoginNeeded, "not logged in", format!("nothing is in the {from} store"))
            .hint(format!("log in: tok login {name} --store {to}"))
            .into());
    }
    profile.store = to.clone();
    let mut new = OpenStore::open(context.host, &profile);
    new.prepare();
    usable(&profile, &new)?;
    if !new.credentials.is_empty() {
        let why = format!("the {to} store has a session for {name} already");
        return Err(Error::new(Kind::LoginNeeded, "nothing was moved", why)
            .hint(format!("remove that one first: TOK_STORE={to} tok logout {name}"))
            .into());
    }
    let config = hold_config(context, name, &edit)?;
    let hold = hold(Stake::Session);
    let of = |store: &StoreChoice, trouble: StoreError| store_error_of(store, name, &trouble);
    let of_clients = context.lock(registration::LOCK)?;
    registration::copy(context.host, &profile, &from, &to).map_err(|(store, trouble)| of(&store, trouble))?;
    let mut tries = 0;
    loop {
        let kept = Credentials { folder: None, journal: None, ..old.credentials.clone() };
        new.write(name, kept).map_err(|trouble| of(&to, trouble))?;
        // Nobody uses the new one before the old one has ended: a machine that has renewed it meanwhile came first.
        if old.leave(name, &format!("moved to the {to} store")).map_err(|trouble| of(&from, trouble))? {
            break;
        }
        tries += 1;
        if tries == TRIES {
            let _ = new.write(name, Credentials::default());
            let why = "other machines keep changing the session".into();
            return Err(of(&from, StoreError { trouble: StoreErrorKind::Unreachable, why }).into());
        }
    }
    // The session is there: what is left of the client here does no harm.
    if let Err(trouble) = registration::leave(context.host, &context.setup.config, &profile, &from) {
        let why = of(&from, trouble);
        context.host.terminal.warn(&format!("{name}: its registered client stays in the {from} store: {why}"));
    }
    drop(of_clients);
    write_config(context, &config, name, &edit)?;
    for index in old.indexes(context.host, name) {
        index.update(|entry| entry.store = to.to_string());
    }
    drop(hold);
    drop(lock);
    context.host.terminal.tell(&format!("{name}: moved from the {from} store to the {to} store"));
    Ok(())
}

fn usable(profile: &Profile, opened: &OpenStore) -> Result<()> {
    match &opened.trouble {
        Some(trouble) => Err(store_error(profile, trouble).into()),
        None => Ok(()),
    }
}
