//! Whether a profile can supply a token now, and for whom: from its settings, the index and the cache. Nothing is asked
//! and no store is opened here.

use crate::base::secret::Secret;
use crate::base::text::escape_to;
use crate::host::Host;
use crate::oauth::reply::value;
use crate::profile::{Profile, Source};
use crate::provider::Grant;
use crate::session::hints;
use crate::session::open_store::{OpenStore, origin, store_error};
use crate::session::plan;
use crate::session::shared;
use crate::storage::cache::Cache;
use crate::storage::index::{Index, IndexEntry, Refusal, StoreTrouble};
use crate::token::credentials::Credentials;
use crate::token::freshness::{MinTtl, freshness};
use crate::token::identity::CurrentIdentity;
use crate::token::{Expires, Token};

/// What a server says of a refresh token that it would not take, as the index notes it.
pub const INACTIVE: &str = "the server says that the refresh token is not active";

/// What a profile can do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A token is cached and still good.
    Ready,
    /// A token can be had unattended.
    Renews,
    /// A person is needed.
    LoginNeeded,
    /// Its store could not be read.
    StoreLocked,
    /// Nothing is known of it: it was never used here.
    Unknown,
}

impl Readiness {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Readiness::Ready => "ready",
            Readiness::Renews => "renews",
            Readiness::LoginNeeded => "login needed",
            Readiness::StoreLocked => "store locked",
            Readiness::Unknown => "unknown",
        }
    }

    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Readiness::LoginNeeded => "login_needed",
            Readiness::StoreLocked => "store_locked",
            other => other.words(),
        }
    }
}

/// The state of one profile.
#[derive(Clone, Debug)]
pub struct Status {
    /// What it can do now.
    pub readiness: Readiness,
    /// Whether it is more than the cached token: another can be had unattended.
    pub renewable: bool,
    /// Why not more.
    pub reason: Option<String>,
    /// When that was last seen, in seconds since 1970.
    pub as_of: Option<i64>,
    /// Whose account it is.
    pub account: Option<String>,
    /// The grant of its session, or the one that would run.
    pub grant: Option<String>,
    /// When the cached access token ends, if there is one.
    pub access: Option<Expires>,
    /// Whether a refresh token is kept.
    pub refresh_token: bool,
    /// When that expires, in seconds since 1970, if known.
    pub refresh_expires_at: Option<i64>,
    /// The store of its session.
    pub store: String,
    /// The command that logs in again.
    pub login: String,
}

/// The state of `profile`. `noted`: its index entry, or what the store holds where that was looked at.
pub fn of(host: &Host, profile: &Profile, noted: Option<&IndexEntry>) -> Status {
    let known = profile.known().unwrap_or_default();
    let cache = host.folders().ok().filter(|_| profile.cache).map(|f| Cache::new(f.cache(&profile.name)));
    let token = cache.and_then(|cache| cache.find(&known)).map(|(_, token)| token);
    let now = host.clock.now().secs();
    let is_good =
        |token: &&Token| freshness(token.received.secs(), token.expires, now, MinTtl::from(profile.min_ttl)).is_ok();
    let is_elsewhere = noted.is_some_and(|n| holds(n) && !n.store.is_empty() && n.store != profile.store.to_string());
    let usable = noted.filter(|_| !is_elsewhere);
    let renewal = match noted.filter(|_| is_elsewhere) {
        Some(noted) if !is_self_sufficient(profile) => Renewal::not(format!(
            "its session is in the {} store, and this call would look in the {} store ({})",
            noted.store,
            profile.store,
            hints::chosen_by(host, profile)
        )),
        _ => match renewal(profile, &known, usable) {
            needed if needed.readiness == Readiness::LoginNeeded && noted.is_none() && token.is_none() => {
                Renewal { readiness: Readiness::Unknown, reason: Some("never used here".into()), at: None }
            }
            renewal => renewal,
        },
    };
    let issued = noted.and_then(|n| n.issued_at).max(token.as_ref().map(|token| token.received.secs()));
    let looked = noted.and_then(|n| n.looked_at);
    let good = token.as_ref().filter(is_good);
    let renewable = renewal.readiness == Readiness::Renews;
    let (readiness, reason, at) = match (good, renewal) {
        (Some(_), Renewal { readiness: Readiness::Renews, .. }) => {
            (Readiness::Ready, noted.and_then(|n| n.renewing.clone()), None)
        }
        (None, Renewal { readiness: Readiness::Renews, reason: None, at }) => {
            (Readiness::Renews, noted.and_then(|n| n.renewing.clone()), at)
        }
        (Some(_), other) => (Readiness::Ready, other.reason, other.at),
        (None, other) => (other.readiness, other.reason, other.at),
    };
    Status {
        readiness,
        renewable,
        reason,
        as_of: at.or(issued).max(looked),
        account: account(
            profile,
            token.as_ref().and_then(|token| Some(&token.id_token.as_ref()?.text)),
            noted.and_then(|noted| noted.account.clone()),
        ),
        grant: profile
            .config
            .grant
            .clone()
            .or_else(|| noted.and_then(|n| n.grant.clone()))
            .or_else(|| Some(profile.default_grant().name.clone())),
        access: token.map(|token| token.expires),
        refresh_token: noted.is_some_and(|n| n.refresh_token),
        refresh_expires_at: noted.and_then(|n| n.refresh_expires_at.filter(|_| n.refresh_token)),
        // What is kept is where it was put, whatever this call would choose.
        login: match profile.provider.refresh_grant().filter(|_| noted.is_some_and(|n| n.brought)) {
            Some(grant) => format!("tok login {} {} --refresh-token-file PATH", profile.name, grant.name),
            None => format!("tok login {}", profile.name),
        },
        store: noted.filter(|n| holds(n)).map_or_else(|| profile.store.to_string(), |n| n.store.clone()),
    }
}

fn holds(noted: &IndexEntry) -> bool {
    noted.refresh_token || !noted.secrets.is_empty()
}

/// Whether and why not a token can be had unattended.
struct Renewal {
    readiness: Readiness,
    reason: Option<String>,
    at: Option<i64>,
}

impl Renewal {
    fn not(reason: impl Into<String>) -> Renewal {
        Renewal { readiness: Readiness::LoginNeeded, reason: Some(reason.into()), at: None }
    }

    fn refused(entry: &IndexEntry, refusal: &Refusal) -> Renewal {
        if refusal.why == INACTIVE {
            let (readiness, reason) = match entry.known_active.is_some() && entry.known_active == refusal.identity {
                true => (Readiness::LoginNeeded, INACTIVE.to_string()),
                false => (Readiness::Renews, format!("{INACTIVE}, or does not tell of refresh tokens")),
            };
            return Renewal { readiness, reason: Some(reason), at: Some(refusal.at) };
        }
        let what = match refusal.ended {
            true => "the session has ended".to_string(),
            false => format!("the grant {} was refused", refusal.grant),
        };
        let why = if refusal.why.is_empty() { String::new() } else { format!(": {}", refusal.why) };
        Renewal { at: Some(refusal.at), ..Renewal::not(format!("{what}{why}")) }
    }
}

/// Whether its values alone bring a token, with nothing from a store.
fn is_self_sufficient(profile: &Profile) -> bool {
    let grant = profile.default_grant();
    !grant.flow.needs_person()
        && plan::missing(&profile.provider, grant, &|name| is_given(profile, name) || is_told(profile, name)).is_empty()
}

fn is_given(profile: &Profile, name: &str) -> bool {
    name != "refresh_token" && profile.given.contains_key(name)
}

/// Whether the issuer would tell it.
fn is_told(profile: &Profile, name: &str) -> bool {
    profile.param(name).is_some_and(|p| p.metadata.is_some()) && profile.value("issuer").is_some()
}

fn renewal(profile: &Profile, known: &CurrentIdentity, noted: Option<&IndexEntry>) -> Renewal {
    let nothing = IndexEntry::default();
    let entry = noted.unwrap_or(&nothing);
    if let Some(StoreTrouble { store, why, at }) = &entry.store_trouble
        && *store == profile.store.to_string()
        && !is_self_sufficient(profile)
    {
        return Renewal { readiness: Readiness::StoreLocked, reason: Some(why.clone()), at: Some(*at) };
    }
    let contradiction = entry.identity.as_ref().filter(|_| entry.refresh_token).and_then(|i| i.contradiction(known));
    let home = known.url.as_deref().and_then(origin);
    let is_home = entry.origin.is_none() || home.is_none() || entry.origin == home;
    let is_known = |name: &str| {
        is_given(profile, name) || (is_home && entry.secrets.iter().any(|kept| kept == name)) || is_told(profile, name)
    };
    let situation = plan::Situation {
        provider: &profile.provider,
        asked: profile.asked.as_deref(),
        configured: profile.config.grant.as_deref(),
        refresh_token: entry.refresh_token,
        contradiction: contradiction.as_deref(),
        known: &is_known,
    };
    let refusal = entry.refusal.as_ref();
    // Refused were the settings of then.
    let refusal = refusal.filter(|r| r.identity.as_ref().is_none_or(|then| then.contradiction(known).is_none()));
    let renews = |grant: &Grant| match refusal.filter(|refusal| refusal.grant == grant.name && !refusal.ended) {
        Some(refusal) => Renewal::refused(entry, refusal),
        None => Renewal { readiness: Readiness::Renews, reason: None, at: None },
    };
    match plan::next(&situation) {
        plan::Step::Refresh => match profile.provider.refresh_grant() {
            Some(grant) => renews(grant),
            None => Renewal::not("there is no way to renew it"),
        },
        plan::Step::Run(grant) if entry.refused.as_ref() == Some(&grant.name) => {
            Renewal::not(format!("the grant {} was refused with the stored values", grant.name))
        }
        plan::Step::Run(grant) => renews(grant),
        plan::Step::LoginNeeded(..) if let Some(refusal) = refusal => Renewal::refused(entry, refusal),
        plan::Step::LoginNeeded(..) if let Some(differs) = &contradiction => {
            Renewal::not(format!("the session differs in {differs}"))
        }
        plan::Step::LoginNeeded(grant, missing) => {
            let stored = missing.iter().any(|name| entry.secrets.iter().any(|kept| kept == name));
            let reason = match (missing.as_slice(), &entry.origin, &home) {
                (_, Some(was), Some(now)) if stored && !is_home => {
                    format!("its stored secrets go to {was} only, not to {now}")
                }
                ([], ..) => hints::needs_person(grant),
                (missing, ..) => format!("no session, and {} neither given nor stored", hints::listed(missing)),
            };
            Renewal::not(reason)
        }
    }
}

impl Status {
    /// Its state, as people read it in a table: a token whose end is that of the session too is not as good as another.
    pub fn words(&self) -> &'static str {
        match self.readiness {
            Readiness::Ready if !self.renewable => "ready, cannot renew",
            readiness => readiness.words(),
        }
    }
}

/// Whose account it is: the user that is given, else the person of the ID token, else who it was `before`, else the
/// client.
pub fn account(profile: &Profile, id_token: Option<&Secret>, before: Option<String>) -> Option<String> {
    let given = |name: &str| profile.value(name).filter(|_| profile.given.contains_key(name));
    let claims = id_token.and_then(|token| crate::base::jose::jwt::claims(token.expose()));
    let person = claims.as_ref().and_then(|claims| value::text(claims, &["email", "sub"]).map(str::to_string));
    given("username").or(person).or(before).or_else(|| given("client_id")).map(|account| escape_to(&account, 80))
}

/// Notes a refusal of `grant`, so that `status` can tell of it: of a profile that is used by name, and where the settings
/// of this call alone were not what was refused.
pub fn note_refusal(host: &Host, profile: &Profile, opened: &OpenStore, refusal: Refusal) {
    let of_this_call = |source: &Source| matches!(source, Source::Flag | Source::Asked);
    if profile.asked.is_some() || profile.given.values().any(|given| of_this_call(&given.source)) {
        return;
    }
    for index in opened.indexes(host, &profile.name) {
        if index.read().is_some() || profile.config.provider.is_some() {
            index.update(|entry| {
                fill(entry, profile);
                entry.refusal = Some(refusal.clone());
            });
        }
    }
}

/// Notes that the store of `profile` can be read, or why not.
pub fn note_store(host: &Host, profile: &Profile, opened: &OpenStore) {
    let index = Index::of(host.folders().ok(), &profile.name);
    let noted = index.read();
    let trouble = trouble(host, profile, opened);
    let was = noted.as_ref().and_then(|noted| noted.store_trouble.as_ref());
    if (was.is_none() && trouble.is_none()) || (noted.is_none() && profile.config.provider.is_none()) {
        return;
    }
    index.update(|entry| {
        fill(entry, profile);
        entry.store_trouble = trouble;
    });
}

fn trouble(host: &Host, profile: &Profile, opened: &OpenStore) -> Option<StoreTrouble> {
    opened.trouble.as_ref().map(|trouble| StoreTrouble {
        store: profile.store.to_string(),
        why: store_error(profile, trouble).what,
        at: host.clock.now().secs(),
    })
}

/// Notes that a token was issued: what kept one from being so is over.
pub fn note_issued(host: &Host, profile: &Profile, opened: &OpenStore, at: i64) {
    for index in opened.indexes(host, &profile.name) {
        if index.read().is_some() {
            index.update(|entry| {
                (entry.refusal, entry.store_trouble) = (None, None);
                // A refresh has noted it already.
                entry.issued_at = entry.issued_at.max(Some(at));
            });
        }
    }
}

/// What a new entry says at least.
fn fill(entry: &mut IndexEntry, profile: &Profile) {
    if entry.provider.is_empty() {
        entry.provider = profile.provider.name.clone();
    }
}

/// Notes what the store holds, which was just opened, and returns what the index says with that.
pub fn note_looked(host: &Host, profile: &Profile, opened: &OpenStore) -> Option<IndexEntry> {
    note_store(host, profile, opened);
    let index = Index::of(host.folders().ok(), &profile.name);
    if let Some(trouble) = trouble(host, profile, opened) {
        return Some(IndexEntry { store_trouble: Some(trouble), ..index.read().unwrap_or_default() });
    }
    if opened.trouble.is_none() {
        let Credentials { session, secrets, .. } = &opened.credentials;
        if index.read().is_some() || session.is_some() || !secrets.is_empty() || opened.ended.is_some() {
            let at = host.clock.now().secs();
            index.update(|entry| {
                fill(entry, profile);
                entry.looked_at = Some(at);
                entry.refresh_token = session.is_some();
                if let Some(ended) = &opened.ended {
                    let why = shared::told(ended);
                    entry.refusal = Some(Refusal { ended: true, why, at: ended.at, ..Refusal::default() });
                }
                entry.identity = session.as_ref().map(|session| session.identity.clone());
                entry.secrets = secrets.keys().cloned().collect();
                if session.is_some() || !secrets.is_empty() {
                    entry.store = profile.store.to_string();
                    let of_session = session.as_ref().and_then(|s| origin(&s.identity.url));
                    entry.origin = of_session.or_else(|| opened.credentials.secrets_for.clone());
                    entry.grant = session.as_ref().and_then(|s| s.identity.grant.clone());
                }
            });
        }
    }
    let lease = opened.lease.as_ref();
    let renewing = lease.map(|lease| format!("{} is renewing it", escape_to(&lease.host, 80)));
    index.read().map(|entry| IndexEntry { renewing, ..entry })
}
