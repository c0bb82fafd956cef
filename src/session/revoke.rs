//! The end of a session at the provider: its refresh token and the access tokens that are still good are revoked
//! (RFC 7009).

use crate::base::error::{Kind, kind};
use crate::base::secret::Secret;
use crate::host::Host;
use crate::profile::discovery::Copies;
use crate::profile::{Profile, Value};
use crate::provider::Call;
use crate::session::exchange;
use crate::session::inputs::{self, For};
use crate::session::kept;
use crate::session::open_store;
use crate::token::credentials::Credentials;
use crate::token::{Expires, Token};

/// What came of it.
pub enum Revoked {
    /// The provider has revoked all of it.
    Yes,
    /// The provider has no way to revoke.
    Cannot,
    /// There was nothing to revoke.
    Nothing,
    /// Something may still be good there: why.
    Failed(anyhow::Error),
}

/// Revokes the session in `held` and those of the tokens `cached` that have not expired. A refused access token is no
/// failure where the refresh token was revoked: that may have ended it already (RFC 7009 §2.1).
pub fn revoke(host: &mut Host, profile: &mut Profile, held: &Credentials, cached: &[Token]) -> Revoked {
    let Some(names) = profile.provider.revoke.as_ref().map(Call::names) else { return Revoked::Cannot };
    let session = held.session.as_ref();
    let now = host.clock.now().secs();
    let mut good: Vec<&Token> = Vec::new();
    for token in cached.iter().filter(|_| names.contains_key("access_token")) {
        let is_good = !matches!(token.expires, Expires::At(at) if at <= now);
        if is_good && !good.iter().any(|other| other.access_token == token.access_token) {
            good.push(token);
        }
    }
    let takes_session = names.contains_key("refresh_token");
    if good.is_empty() && !(session.is_some() && takes_session) {
        return if session.is_some() { Revoked::Cannot } else { Revoked::Nothing };
    }
    if let Err(error) = profile.discover(host, names.into_keys().map(|name| (name, false)).collect(), Copies::Allowed) {
        return Revoked::Failed(error);
    }
    discover_client(host, profile, held);
    let Some(call) = &profile.provider.revoke else { return Revoked::Cannot };
    // A server without an address for it.
    if call.url.names().any(|(name, optional)| optional && profile.value(name).is_none()) {
        return Revoked::Cannot;
    }
    let secrets = open_store::kept_values(held, profile.value("client_id").as_deref());
    let access = |token: &Token| Value::kept(token.access_token.clone(), Some(profile.token_home(token)));
    let session =
        session.filter(|_| takes_session).map(|session| ("refresh_token", open_store::refresh_token(session), None));
    let tokens: Vec<(&str, Value, Option<&Token>)> =
        session.into_iter().chain(good.into_iter().map(|token| ("access_token", access(token), Some(token)))).collect();
    let (mut has_ended, mut failed) = (false, None);
    for (name, value, of) in tokens {
        let hint = Value::found(Secret::new(name));
        let sent = inputs::fill(host, profile, For::Call(call), &secrets, &[(name, value), ("token_type_hint", hint)])
            .and_then(|mut inputs| {
                held.session.iter().for_each(|session| kept::insert(&mut inputs, session));
                of.iter().for_each(|token| kept::insert_told(&mut inputs, profile, token));
                exchange::revoke(host, profile, call, &inputs)
            });
        match sent {
            Ok(()) => has_ended |= name == "refresh_token",
            Err(error) if has_ended && kind(&error) == Kind::Refused => {
                host.terminal.detail(&format!("{}: {error:#}, after its refresh token was revoked", profile.name));
            }
            Err(error) => {
                // One that cannot be reached is not waited for again and again.
                let is_away = kind(&error) == Kind::Unavailable;
                failed = failed.or(Some(error));
                if is_away {
                    break;
                }
            }
        }
    }
    failed.map_or(Revoked::Yes, Revoked::Failed)
}

/// Learns how the client proves itself, where a kept secret may be sent and the issuer has not been asked: the address
/// of the call itself may be configured. What cannot be learnt is said with `-v`.
pub fn discover_client(host: &mut Host, profile: &mut Profile, kept: &Credentials) {
    if kept.secrets.is_empty() || profile.metadata.is_some() {
        return;
    }
    let grant = profile.provider.refresh_grant().unwrap_or(profile.default_grant());
    let names = grant.call.url.names().map(|(name, _)| (name.to_string(), false)).collect();
    if let Err(error) = profile.discover(host, names, Copies::Allowed) {
        host.terminal.detail(&format!("{}: its metadata is not known: {error:#}", profile.name));
    }
}
