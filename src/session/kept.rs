//! What a login leaves for later requests besides its tokens: fields of the reply, and what its flow has found. They
//! stay with the session, as a refresh may not bring them again.

use crate::base::secret::Secret;
use crate::oauth::reply::Issued;
use crate::profile::{Profile, Value};
use crate::provider::Provider;
use crate::session::inputs::Inputs;
use crate::session::open_store;
use crate::token::Token;
use crate::token::credentials::Session;
use std::collections::BTreeMap;

/// The values that `provider` names in later requests, of a login or refresh that sent `inputs` and got `issued`: the
/// reply's come first.
pub fn values(provider: &Provider, issued: &Issued, inputs: &Inputs) -> BTreeMap<String, Secret> {
    let found = |name: String| {
        let told = issued.extra.get(&name).and_then(text);
        let value = told.or_else(|| inputs.get(&name).map(Secret::new))?;
        Some((name, value))
    };
    provider.kept_names().into_iter().filter_map(found).collect()
}

/// Puts the values of `session` among `inputs`. They go where its refresh token goes.
pub fn insert(inputs: &mut Inputs, session: &Session) {
    for (name, text) in &session.values {
        let home = open_store::refresh_token(session).home;
        inputs.insert(name, Value { text: text.clone(), home });
    }
}

/// Puts what the reply of `token` told among `inputs`, where a later request names it: a login without a session keeps
/// it with the token alone. It goes where the token may go.
pub fn insert_told(inputs: &mut Inputs, profile: &Profile, token: &Token) {
    for name in profile.provider.kept_names() {
        if let Some(text) = token.extra.get(&name).and_then(text) {
            inputs.insert(&name, Value { text, home: Some(profile.token_home(token)) });
        }
    }
}

/// A field of a reply as text; a list or an object is none.
fn text(value: &serde_json::Value) -> Option<Secret> {
    match value {
        serde_json::Value::String(text) if !text.is_empty() => Some(Secret::new(text.as_str())),
        serde_json::Value::Number(number) => Some(Secret::new(number.to_string())),
        serde_json::Value::Bool(flag) => Some(Secret::new(flag.to_string())),
        _ => None,
    }
}
