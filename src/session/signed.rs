//! A token that is signed here and asked of nobody.

use crate::base::secret::Secret;
use crate::base::time::Time;
use crate::oauth::reply::Issued;
use crate::oauth::request::Unready;
use crate::profile::Profile;
use crate::session::exchange::Outcome;
use crate::session::inputs::Inputs;
use crate::token::{Expires, is_token};

/// The assertion as the token: what it says is known here.
pub fn signed(profile: &Profile, inputs: &Inputs, now: Time) -> Outcome {
    let text = inputs.get("assertion").unwrap_or_default();
    let wrong = |why: &str| {
        let unready = Unready::Wrong("assertion".into(), why.into());
        Outcome::Failed(profile.unready(unready), None)
    };
    let Some(claims) = crate::base::jose::jwt::claims(text).filter(|_| is_token(text)) else {
        return wrong("is not a JWT");
    };
    let expires = match crate::oauth::reply::claims::seconds(&claims, "exp").unwrap_or_default() {
        Some(at) if at <= now.secs() => return wrong("has expired"),
        Some(at) => Expires::At(at),
        None => Expires::Unknown,
    };
    let issued = Issued {
        access_token: Secret::new(text),
        refresh_token: None,
        token_type: None,
        scope: None,
        expires,
        refresh_expires: Expires::Unknown,
        id_token: None,
        extra: Default::default(),
        notes: Vec::new(),
        received: now,
    };
    Outcome::Issued(issued)
}
