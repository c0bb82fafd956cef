//! The scope of a reply (RFC 6749 §3.3 and §5.1).

use super::value::names;
use serde_json::Value;

/// A list or a string of scopes, as one string.
pub(super) fn joined(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) => names(value).map(|names| names.join(" ")).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// What `asked` requested and `granted`, the reply's scope, lacks. A reply without a scope grants all (RFC 6749 §5.1),
/// and `openid` and `offline_access` are often left out of one that grants them. Some servers return a scope under
/// another of its names: Google `email` as `https://www.googleapis.com/auth/userinfo.email`, Microsoft a scope of an
/// API without or with the API before it, and for `…/.default` all that the client was given.
pub fn narrowed(asked: &[&str], granted: Option<&str>) -> Vec<String> {
    let Some(granted) = granted.and_then(|granted| names(&granted.into())).filter(|granted| !granted.is_empty()) else {
        return Vec::new();
    };
    let ends = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|before| before.ends_with(['/', '.']) || before.is_empty())
    };
    let is_granted = |scope: &str| granted.iter().any(|given| ends(given, scope) || ends(scope, given));
    let harmless = |scope: &str| matches!(scope, "" | "openid" | "offline_access") || scope.ends_with("/.default");
    asked.iter().filter(|scope| !harmless(scope) && !is_granted(scope)).map(|scope| scope.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_granted_is_named() {
        for (asked, granted, missing) in [
            (&["a", "b"][..], None, &[][..]),
            (&["a", "b"], Some(""), &[]),
            (&["a", "b"], Some("b a c"), &[]),
            (&["a", "b"], Some("a"), &["b"]),
            (&["repo", "gist"], Some("gist,repo"), &[]),
            (&["openid", "offline_access", "read"], Some("read"), &[]),
            (&["email"], Some("https://www.googleapis.com/auth/userinfo.email openid"), &[]),
            (&["https://graph.microsoft.com/User.Read"], Some("User.Read"), &[]),
            (&["api://x/.default"], Some("Read.All"), &[]),
            (&["write"], Some("rewrite"), &["write"]),
        ] {
            assert_eq!(narrowed(asked, granted), missing, "{asked:?} {granted:?}");
        }
    }
}
