//! Why a token cannot be had without a person, and what to run.

use super::exchange::elsewhere;
use super::hints;
use super::open_store::{OpenStore, origin, store_error};
use crate::base::error::{Error, Kind};
use crate::host::Host;
use crate::profile::Profile;
use crate::provider::Grant;
use crate::storage::choice::StoreChoice;
use crate::storage::secrets::StoreErrorKind;

/// What a call for a token lacks.
pub struct Lack<'a> {
    /// The grant that would run.
    pub grant: &'a Grant,
    /// The values that are not known.
    pub missing: &'a [String],
    /// What the stored session differs in from the settings in force.
    pub contradiction: Option<&'a str>,
    /// The URL that the grant would send to, where that is known.
    pub url: Option<&'a str>,
}

/// A grant that a person must help with: [`Kind::LoginNeeded`], or [`Kind::Store`] where the store may hold what is
/// missing and cannot be read.
pub fn login_needed(host: &mut Host, profile: &Profile, opened: &OpenStore, lack: &Lack) -> Error {
    let Lack { grant, missing, contradiction, url } = *lack;
    let name = &profile.name;
    let variables: Vec<String> = missing.iter().filter(|m| *m != "refresh_token").map(|m| profile.ways(m)).collect();
    let variables = variables.join(" and ");
    let login = match missing {
        [one] if one == "refresh_token" => format!("{} --refresh-token-file PATH", hints::login(profile, grant)),
        _ => hints::login(profile, grant),
    };
    let what = match missing.is_empty() || contradiction.is_some() {
        true => format!("not logged in to {name}"),
        false => format!("{} needs {}", profile.provider.name, missing.join(" and ")),
    };
    let mut also = String::new();
    for variable in &profile.empty {
        also.push_str(&format!("; {variable} is set but empty"));
    }
    if let Some(near) = hints::near_miss(host, profile, missing) {
        also.push_str(&format!("; {near} is set, and is not read for it"));
    }
    if let Some(store) = hints::kept_elsewhere(host, profile, missing) {
        let kind = if opened.trouble.is_some() { Kind::Store } else { Kind::LoginNeeded };
        let (looked, by) = (&profile.store, hints::chosen_by(host, profile));
        let why = format!("it is in the {store} store, and this call looked in the {looked} store ({by}){also}");
        return Error::new(kind, what, why).hint(format!("run: TOK_STORE={store} tok get {name}"));
    }
    if let Some(trouble) = &opened.trouble {
        let error = store_error(profile, trouble);
        // One on the network was set up on purpose.
        if variables.is_empty() || profile.store.is_shared() {
            return error;
        }
        // A store error does not matter to a user who has never logged in.
        host.terminal.detail(&format!("{name}: {error}"));
        let hint = match error.hint {
            // A value alone brings no token.
            Some(hint) if grant.flow.needs_person() => hint,
            hint => format!("set {variables}{}", hint.map(|hint| format!("; or {hint}")).unwrap_or_default()),
        };
        // What a bus says is for `-v`; what is wrong with an entry is said, and another program's reason too, which may
        // name the program.
        let mut why = format!("{} not given, and {}{also}", hints::they_are(missing), error.what);
        let is_of_entry = matches!(trouble.trouble, StoreErrorKind::Entry | StoreErrorKind::Corrupt);
        if is_of_entry || profile.store != StoreChoice::Keyring {
            why.push_str(&format!(": {}", error.why));
        }
        return Error::new(Kind::Store, what, why).hint(hint);
    }
    if let Some(differs) = contradiction {
        return Error::new(Kind::LoginNeeded, what, format!("the session differs in {differs}"))
            .hint(format!("log in to both: {}", profile.login_command_as(grant, &hints::free_name(host, name))));
    }
    let kept = missing.iter().find(|name| opened.credentials.secrets.contains_key(*name));
    if let (Some(kept), Some(home), Some(to)) = (kept, &opened.credentials.secrets_for, url.and_then(origin))
        && *home != to
    {
        return elsewhere(profile, kept, home, &to);
    }
    let mut why = match missing {
        [] => hints::needs_person(grant),
        [one] if one == "refresh_token" => "none is stored".to_string(),
        _ => format!("{} neither given nor stored", hints::they_are(missing)),
    };
    if let (Some(_), Some(client)) = (kept, &opened.credentials.secrets_client) {
        why.push_str(&format!("; the stored one is for the client {}", crate::base::text::escape_to(client, 80)));
    }
    let hint = match variables.is_empty() {
        true => format!("run: {login}"),
        false => format!("set {variables}, or run: {login}"),
    };
    Error::new(Kind::LoginNeeded, what, why + &also).hint(hint)
}
