//! What helps whoever lacks a value: a variable that was probably meant for it, a store that holds it.

use crate::host::Host;
use crate::profile::{Profile, variable};
use crate::provider::Grant;
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
    profile.login_command(Some(grant))
}

/// A name like `name` of which nothing is kept.
pub fn free_name(host: &Host, name: &str) -> String {
    let is_free = |other: &String| Index::of(host.folders().ok(), other).read().is_none();
    let end = name.len().min(60);
    (2..100).map(|n| format!("{}-{n}", &name[..end])).find(is_free).unwrap_or_else(|| "other".into())
}

/// Why a grant that a person takes part in gives no token by itself.
pub fn needs_person(grant: &Grant) -> String {
    format!("the grant {} needs a person to log in", grant.name)
}

/// These values as a subject with its verb: `a is`, `a and b are`.
pub fn listed(values: &[String]) -> String {
    format!("{} {}", values.join(" and "), if values.len() > 1 { "are" } else { "is" })
}

/// "it is" for one value, "they are" for several.
pub fn they_are(values: &[String]) -> &'static str {
    if values.len() > 1 { "they are" } else { "it is" }
}
