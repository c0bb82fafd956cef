//! What helps whoever lacks a value: a variable that was probably meant for it, a store that holds it.

use crate::base::error::{Error, Kind};
use crate::host::Host;
use crate::profile::{Profile, Source, variable};
use crate::provider::Grant;
use crate::session::exchange::elsewhere;
use crate::session::open_store::{OpenStore, origin, store_error};
use crate::storage::index::Index;

/// Variables that are no value of any profile.
const SETTINGS: [&str; 3] = ["TOK_STORE", "TOK_CACHE", "TOK_CONFIG"];

/// A variable that is set, is no value of this profile, and looks like the one of a value among `missing`.
pub fn near_miss(host: &Host, profile: &Profile, missing: &[String]) -> Option<String> {
    let is_known = |name: &str| {
        let name = name.strip_suffix("_FILE").unwrap_or(name);
        profile.provider.params.iter().any(|param| variable(&profile.name, &param.name) == name)
    };
    let set: Vec<&str> = host.env.names().filter(|name| !SETTINGS.contains(name) && !is_known(name)).collect();
    missing.iter().find_map(|value| {
        let wanted = profile.ways(value);
        // `TOK_XCOVER_SECRET` for `TOK_XCOVER_CLIENT_SECRET`: what is left out are whole words.
        let own = variable(&profile.name, "");
        let is_part = |name: &&&str| {
            let rest = name.strip_prefix(own.as_str()).unwrap_or_default();
            !rest.is_empty() && rest.split('_').all(|word| value.to_ascii_uppercase().split('_').any(|w| w == word))
        };
        let part = set.iter().find(is_part).map(|name| name.to_string());
        part.or_else(|| crate::base::text::nearest(&wanted, set.iter().copied()).map(str::to_string))
    })
}

/// The store that holds what this call lacks, by the index, where this call looked in another.
pub fn kept_elsewhere(host: &Host, profile: &Profile, missing: &[String]) -> Option<String> {
    let noted = Index::of(host.folders().ok(), &profile.name).read()?;
    let holds = noted.refresh_token || noted.secrets.iter().any(|name| missing.contains(name));
    (holds && !noted.store.is_empty() && noted.store != profile.store.to_string()).then_some(noted.store)
}

/// Where the choice of the store comes from that this call looked in.
pub fn chosen_by(host: &Host, profile: &Profile) -> &'static str {
    match () {
        () if host.env.has("TOK_STORE") => "TOK_STORE",
        () if profile.config.settings.store.is_some() => "the config",
        () => "the config or the default",
    }
}

/// The command that logs in with `grant`, with the plain values that flags gave to this call.
pub fn login(profile: &Profile, grant: &Grant) -> String {
    let mut command = format!("tok login {} {}", profile.name, grant.name);
    for param in profile.provider.params.iter().filter(|param| !param.secret) {
        let given = profile.given.get(&param.name).filter(|given| given.source == Source::Flag);
        for text in given.and_then(|given| given.text.as_ref()).into_iter().flatten() {
            let Ok(quoted) = shlex::try_quote(text.expose()) else { continue };
            command.push_str(&format!(" --{} {quoted}", param.name.replace('_', "-")));
        }
    }
    command
}

/// A name like `name` of which nothing is kept.
pub fn free_name(host: &Host, name: &str) -> String {
    let is_free = |other: &String| Index::of(host.folders().ok(), other).read().is_none();
    let end = name.len().min(60);
    (2..100).map(|n| format!("{}-{n}", &name[..end])).find(is_free).unwrap_or_else(|| "other".into())
}

/// A grant that a person must help with: [`Kind::LoginNeeded`], or [`Kind::Store`] where the store may hold what is
/// missing and cannot be read.
pub fn login_needed(
    host: &mut Host,
    profile: &Profile,
    grant: &Grant,
    missing: &[String],
    opened: &OpenStore,
    contradiction: Option<&str>,
    url: Option<&str>,
) -> Error {
    let name = &profile.name;
    let variables: Vec<String> = missing.iter().filter(|m| *m != "refresh_token").map(|m| profile.ways(m)).collect();
    let variables = variables.join(" and ");
    let login = match missing {
        [one] if one == "refresh_token" => format!("{} --refresh-token-file PATH", login(profile, grant)),
        _ => login(profile, grant),
    };
    let what = match missing.is_empty() || contradiction.is_some() {
        true => format!("not logged in to {name}"),
        false => format!("{} needs {}", profile.provider.name, missing.join(" and ")),
    };
    let mut also = String::new();
    for variable in &profile.empty {
        also.push_str(&format!("; {variable} is set but empty"));
    }
    if let Some(near) = near_miss(host, profile, missing) {
        also.push_str(&format!("; {near} is set, and is not read for it"));
    }
    if let Some(store) = kept_elsewhere(host, profile, missing) {
        let kind = if opened.trouble.is_some() { Kind::Store } else { Kind::LoginNeeded };
        let (looked, by) = (&profile.store, chosen_by(host, profile));
        let why = format!("it is kept in the {store} store, and this call looked in the {looked} store ({by}){also}");
        return Error::new(kind, what, why).hint(format!("run: TOK_STORE={store} tok get {name}"));
    }
    if let Some(trouble) = &opened.trouble {
        let error = store_error(profile, trouble);
        if variables.is_empty() {
            return error;
        }
        // Whoever has never logged in need not care for the store at all.
        host.terminal.detail(&format!("{name}: {error}"));
        let hint = error.hint.map(|hint| format!("; or {hint}")).unwrap_or_default();
        // What a bus says is for `-v`; what another program says may name the program.
        let mut why = format!("it is not given, and {}{also}", error.what);
        if profile.store != crate::storage::choice::StoreChoice::Keyring {
            why.push_str(&format!(": {}", error.why));
        }
        return Error::new(Kind::Store, what, why).hint(format!("set {variables}{hint}"));
    }
    if let Some(differs) = contradiction {
        return Error::new(Kind::LoginNeeded, what, format!("the kept session differs in {differs}"))
            .hint(format!("log in to both: {login} --as {}", free_name(host, name)));
    }
    let kept = missing.iter().find(|name| opened.credentials.secrets.contains_key(*name));
    if let (Some(kept), Some(home), Some(to)) = (kept, &opened.credentials.secrets_for, url.and_then(origin))
        && *home != to
    {
        return elsewhere(profile, kept, home, &to);
    }
    let mut why = match missing {
        [] => format!("the grant {} needs a person, and no session is kept", grant.name),
        [one] if one == "refresh_token" => "none is kept".to_string(),
        _ => "it is neither given nor kept".to_string(),
    };
    if let (Some(_), Some(client)) = (kept, &opened.credentials.secrets_client) {
        why.push_str(&format!("; what is kept is for the client {}", crate::base::text::escape_to(client, 80)));
    }
    let hint = match variables.is_empty() {
        true => format!("run: {login}"),
        false => format!("set {variables}, or run: {login}"),
    };
    Error::new(Kind::LoginNeeded, what, why + &also).hint(hint)
}
