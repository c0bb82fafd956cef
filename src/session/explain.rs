//! Why a token cannot be had without a person, and what to run.

use super::exchange::elsewhere;
use super::open_store::{OpenStore, origin, store_error};
use crate::base::error::{Error, Kind};
use crate::profile::Profile;
use crate::provider::Grant;

/// A grant that a person must help with: [`Kind::LoginNeeded`], or [`Kind::Store`] where the store may hold what is
/// missing and cannot be read.
pub fn login_needed(
    profile: &Profile,
    grant: &Grant,
    missing: &[String],
    opened: &OpenStore,
    contradiction: Option<&str>,
    url: Option<&str>,
) -> Error {
    let variables: Vec<String> = missing.iter().filter(|m| *m != "refresh_token").map(|m| profile.ways(m)).collect();
    let variables = variables.join(" and ");
    if let Some(trouble) = &opened.trouble {
        let error = store_error(profile, trouble);
        // Whoever has never logged in need not care for the store at all.
        return match error.hint.clone() {
            Some(hint) if !variables.is_empty() => error.hint(format!("{hint}; or need no store: set {variables}")),
            _ => error,
        };
    }
    let login = format!("tok login {} {}", profile.name, grant.name);
    if let Some(differs) = contradiction {
        return Error::new(
            Kind::LoginNeeded,
            "the kept session is not for what this call asks",
            format!("it differs in {differs}"),
        )
        .hint(format!("log in for it, with the values given here: {login}; with --as NAME to keep both"));
    }
    let kept_elsewhere = missing.iter().any(|name| opened.credentials.secrets.contains_key(name));
    if let (true, Some(home), Some(to)) = (kept_elsewhere, &opened.credentials.secrets_for, url.and_then(origin))
        && *home != to
    {
        let name = missing.iter().find(|name| opened.credentials.secrets.contains_key(*name));
        return elsewhere(profile, name.map_or("secret", String::as_str), home, &to);
    }
    let what = match missing {
        [one] if one == "refresh_token" => "no refresh token is kept".to_string(),
        _ => "a login is needed".to_string(),
    };
    let values: Vec<&str> = missing.iter().map(String::as_str).collect();
    let mut why = match values.is_empty() {
        true => format!("the grant {} needs a person, and no session is kept", grant.name),
        false => format!("the grant {} lacks {}", grant.name, values.join(" and ")),
    };
    if let (true, Some(client)) = (kept_elsewhere, &opened.credentials.secrets_client) {
        why.push_str(&format!("; what is kept is of the client {}", crate::base::text::escape_to(client, 80)));
    }
    for variable in &profile.empty {
        why.push_str(&format!("; {variable} is set but empty"));
    }
    let hint = match variables.is_empty() {
        false if grant.flow.needs_person() => format!("run: {login} — and give it there, or set {variables}"),
        true if grant.flow.needs_person() => format!("run: {login}"),
        true => format!("run: {login} --refresh-token-file PATH, or another grant: tok login {}", profile.name),
        false => format!("run: {login} — or set {variables}"),
    };
    Error::new(Kind::LoginNeeded, what, why).hint(hint)
}
