//! Client authentication: what it adds to a request (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2). Pure.

use crate::base::jose::{Algorithm, Key};
use crate::base::secret::Secret;
use crate::oauth::request::{self, Added, ClientCertificate, Pair, Unready, Values};
use crate::provider::template::Gap;
use crate::provider::{Assertion, Auth, Call, CertificateHeader, Provider, SecretEncoding};
use serde_json::{Map, Value};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// What a client's assertion is called (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long a client's assertion is good, in seconds: long enough for a request between machines whose clocks differ.
const LIFETIME: i64 = 120;
/// How far back it is dated, in seconds, for a server whose clock is behind: many reject an `iat` in the future.
pub const BACKDATE: i64 = 30;

/// What differs in each signature.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The clock, in seconds since 1970.
    pub now: i64,
    /// A unique identifier (`jti`).
    pub id: String,
}

/// The method that the available values allow and the server supports (`supported`, its
/// `token_endpoint_auth_methods_supported`; empty if it does not say).
pub fn choose(values: &Values, supported: &[String]) -> Auth {
    let has = |name: &str| values.contains_key(name);
    // One that was made elsewhere says itself what the server has to know.
    if has("client_assertion") {
        return Auth::Assertion;
    }
    let mut ways: Vec<(Auth, &str)> = Vec::new();
    // If an assertion is sent, the key is taken to be for that.
    if has("private_key") && !has("assertion") {
        if has("certificate") {
            ways.push((Auth::Tls, "tls_client_auth"));
            ways.push((Auth::TlsSelfSigned, "self_signed_tls_client_auth"));
        }
        ways.push((Auth::PrivateKeyJwt, "private_key_jwt"));
    }
    if has("client_secret") {
        ways.push((Auth::Basic, "client_secret_basic"));
        ways.push((Auth::Post, "client_secret_post"));
        ways.push((Auth::ClientSecretJwt, "client_secret_jwt"));
    }
    let known = ways.iter().find(|(_, name)| supported.iter().any(|s| s == name));
    match known.or(ways.first()) {
        Some((way, _)) => *way,
        None if has("client_id") => Auth::Public,
        None => Auth::None,
    }
}

/// The audiences of a client's assertion for the endpoint `url`, in the order in which they are tried: what a person
/// sets (`assertion_audience`); else the endpoint's own URL (RFC 7523 §3, RFC 9126 §2), and, if that is refused, the
/// issuer, the only one accepted under FAPI 2.0 and draft-ietf-oauth-rfc7523bis. An assertion for one endpoint is never
/// sent to another, so no server can use it elsewhere.
pub fn audiences(values: &Values, url: &str, issuer: Option<&str>) -> Vec<String> {
    match (values.get("assertion_audience"), issuer) {
        (Some(said), _) => vec![said.to_string()],
        (None, Some(issuer)) if issuer != url => vec![url.into(), issuer.into()],
        (None, _) => vec![url.into()],
    }
}

/// The values that client authentication for `call` takes: what its file sends in the place of ID and secret is put under
/// those names.
///
/// # Errors
/// A value is missing.
pub fn client_values<'v>(call: &Call, values: &'v Values) -> Result<Cow<'v, Values>, Unready> {
    let Some(client) = &call.client else { return Ok(Cow::Borrowed(values)) };
    let mut all = values.clone();
    for (name, template) in [("client_id", &client.id), ("client_secret", &client.secret)] {
        match template.fill(|name| values.get(name).map(|v| v.as_str())) {
            Ok(text) => drop(all.insert(name.into(), Zeroizing::new(text))),
            Err(Gap::Dropped) => drop(all.insert(name.into(), Zeroizing::default())),
            // One that the method does not need may be missing.
            Err(Gap::Missing(missing)) => {
                all.remove(name);
                if missing != name && call.auth_names().iter().any(|(n, optional)| *n == missing && !optional) {
                    return Err(Unready::Missing(missing));
                }
            }
        }
    }
    Ok(Cow::Owned(all))
}

/// [`add`] for `call`, whose file may have other names for ID and secret.
///
/// # Errors
/// As [`add`].
pub fn add_to(call: &Call, auth: Auth, values: &Values, audience: &str, moment: &Moment) -> Result<Added, Unready> {
    let mut added = add(auth, client_values(call, values)?.as_ref(), audience, moment)?;
    rename(call, &mut added);
    Ok(added)
}

/// Gives the fields of ID and secret the names that the file of `call` has for them.
pub fn rename(call: &Call, added: &mut Added) {
    let Some(client) = &call.client else { return };
    for (name, _) in &mut added.fields {
        match name.as_str() {
            "client_id" => name.clone_from(&client.id_name),
            "client_secret" => name.clone_from(&client.secret_name),
            _ => {}
        }
    }
}

/// What `auth` adds to a client's request. `audience`: one of [`audiences`].
///
/// # Errors
/// A value is missing or cannot be used.
pub fn add(auth: Auth, values: &Values, audience: &str, moment: &Moment) -> Result<Added, Unready> {
    let value = |name: &str| values.get(name).ok_or_else(|| Unready::Missing(name.into()));
    let field = |name: &str, text: &str| (name.to_string(), Zeroizing::new(text.to_string()));
    let mut added = Added::default();
    match auth {
        Auth::None | Auth::Auto => {}
        Auth::Public => added.fields.push(field("client_id", value("client_id")?)),
        Auth::Basic | Auth::BasicRaw => added.headers.push(("Authorization".into(), basic(auth, values)?)),
        Auth::Post => {
            added.fields.push(field("client_id", value("client_id")?));
            added.fields.push(field("client_secret", value("client_secret")?));
        }
        Auth::ClientSecretJwt => {
            let key = Key::shared(&Secret::new(value("client_secret")?.as_str()));
            added.fields = asserted(values, &key, "client_secret", audience, moment)?;
        }
        Auth::PrivateKeyJwt => {
            let key = key(values)?;
            added.fields = asserted(values, &key, "private_key", audience, moment)?;
        }
        Auth::Assertion => {
            let client = values.get("client_id").map(|client| field("client_id", client));
            let assertion = value("client_assertion")?;
            added.fields.extend(client);
            added.fields.push(field("client_assertion_type", ASSERTION_TYPE));
            added.fields.push(field("client_assertion", assertion));
        }
        Auth::Tls | Auth::TlsSelfSigned => {
            added.fields.push(field("client_id", value("client_id")?));
            let key = Secret::new(value("private_key")?.as_str());
            added.client_certificate = Some(ClientCertificate { certificate: value("certificate")?.to_string(), key });
        }
    }
    Ok(added)
}

/// The private key.
fn key(values: &Values) -> Result<Key, Unready> {
    let text = values.get("private_key").ok_or_else(|| Unready::Missing("private_key".into()))?;
    Key::parse(&Secret::new(text.as_str())).map_err(|why| Unready::Wrong("private_key".into(), why))
}

/// `client_assertion` and what goes with it. `client_id` may be left out, as the assertion contains it (RFC 7521 §4.2),
/// but many servers look for it all the same, and all allow it.
fn asserted(values: &Values, key: &Key, of: &str, audience: &str, moment: &Moment) -> Result<Vec<Pair>, Unready> {
    let client = values.get("client_id").ok_or_else(|| Unready::Missing("client_id".into()))?;
    let mut claims = Map::new();
    for (name, text) in [("iss", client.as_str()), ("sub", client), ("aud", audience), ("jti", &moment.id)] {
        claims.insert(name.into(), text.into());
    }
    claims.insert("iat".into(), (moment.now - BACKDATE).into());
    claims.insert("exp".into(), (moment.now + LIFETIME).into());
    let signed = signed(values, (key, of), &claims, None, (CertificateHeader::Thumbprint, &Map::new()))?;
    let field = |name: &str, text: &str| (name.to_string(), Zeroizing::new(text.to_string()));
    Ok(vec![
        field("client_id", client),
        field("client_assertion_type", ASSERTION_TYPE),
        field("client_assertion", signed.expose()),
    ])
}

/// The assertion of a grant (RFC 7523 §2.1): its claims with `iat` and `exp`, and `jti` if the provider file says so.
///
/// # Errors
/// As [`add`].
pub fn assertion(provider: &Provider, how: &Assertion, values: &Values, moment: &Moment) -> Result<Secret, Unready> {
    let (key, of) = match &how.secret {
        Some(name) => (shared(name, how.encoding, values)?, name.as_str()),
        None => (key(values)?, "private_key"),
    };
    let mut all = values.clone();
    all.extend(key.fingerprint().map(|text| ("key_fingerprint".to_string(), text.into())));
    let mut claims = request::object(provider, &how.claims, &all)?;
    let issued = moment.now - how.backdate;
    claims.insert("iat".into(), issued.into());
    // Servers that limit the lifetime of an assertion count from `iat`.
    claims.insert("exp".into(), (issued + how.lifetime).into());
    if how.jti {
        claims.insert("jti".into(), moment.id.as_str().into());
    }
    let headers = request::object(provider, &how.headers, &all)?;
    signed(values, (&key, of), &claims, how.algorithm, (how.certificate, &headers))
}

/// The shared secret `name`, as the provider writes it.
fn shared(name: &str, encoding: SecretEncoding, values: &Values) -> Result<Key, Unready> {
    use base64::Engine;
    let text = values.get(name).ok_or_else(|| Unready::Missing(name.into()))?.trim();
    let wrong = |why: &str| Unready::Wrong(name.into(), why.into());
    let bytes = match encoding {
        SecretEncoding::Text => text.as_bytes().to_vec(),
        SecretEncoding::Hex => {
            let digits = text.as_bytes().chunks(2);
            let byte = |pair: &[u8]| match pair {
                [_, _] if pair.iter().all(u8::is_ascii_hexdigit) => {
                    std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
                }
                _ => None,
            };
            digits.map(byte).collect::<Option<Vec<u8>>>().ok_or_else(|| wrong("is not hexadecimal"))?
        }
        SecretEncoding::Base64 => {
            base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| wrong("is not Base64"))?
        }
    };
    if bytes.is_empty() {
        return Err(wrong("is empty"));
    }
    Ok(Key::shared_bytes(Zeroizing::new(bytes)))
}

/// `claims` as a JWT, signed with `key`, which is the value `of`. `wanted`: the only algorithm that the server accepts.
fn signed(
    values: &Values,
    (key, of): (&Key, &str),
    claims: &Map<String, Value>,
    wanted: Option<Algorithm>,
    (certificate, headers): (CertificateHeader, &Map<String, Value>),
) -> Result<Secret, Unready> {
    let wrong = |name: &str, why: String| Unready::Wrong(name.into(), why);
    let can = || key.algorithms().iter().map(|a| a.name()).collect::<Vec<_>>().join(", ");
    let algorithm = match (wanted, values.get("algorithm")) {
        (Some(wanted), _) if !key.algorithms().contains(&wanted) => {
            let why = format!("is a key for {}, but the server only accepts {}", can(), wanted.name());
            return Err(wrong(of, why));
        }
        (Some(wanted), _) => wanted,
        (None, Some(name)) => {
            let known =
                Algorithm::parse(name).ok_or_else(|| wrong("algorithm", "is not a signing algorithm".into()))?;
            if !key.algorithms().contains(&known) {
                return Err(wrong("algorithm", format!("does not match the key, which can sign with {}", can())));
            }
            known
        }
        (None, None) => *key.algorithms().first().ok_or_else(|| wrong(of, "is a key that cannot sign".into()))?,
    };
    let mut header = Map::new();
    header.insert("typ".into(), "JWT".into());
    if let Some(id) = values.get("key_id").map(|id| id.as_str()).or(key.key_id()) {
        header.insert("kid".into(), id.into());
    }
    let wrong_certificate = |why| wrong("certificate", why);
    match (values.get("certificate").filter(|_| of == "private_key"), certificate) {
        (Some(text), CertificateHeader::Thumbprint) => {
            let thumbprint = crate::base::jose::certificate_thumbprint(text).map_err(wrong_certificate)?;
            header.insert("x5t#S256".into(), thumbprint.into());
        }
        (Some(text), CertificateHeader::Chain) => {
            let chain = crate::base::jose::certificate_chain(text).map_err(wrong_certificate)?;
            header.insert("x5c".into(), chain.into());
        }
        (None, _) | (_, CertificateHeader::None) => {}
    }
    header.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    key.sign(algorithm, &header, claims).map_err(|why| wrong(of, why))
}

/// Basic client authentication (RFC 7617). By RFC 6749 §2.3.1 both parts are encoded first; a space goes as `%20`,
/// which every server that decodes accepts; some refuse `+`.
fn basic(auth: Auth, values: &Values) -> Result<Zeroizing<String>, Unready> {
    use base64::Engine;
    let part = |name: &str| {
        let value = values.get(name).ok_or_else(|| Unready::Missing(name.into()))?;
        Ok(Zeroizing::new(if auth == Auth::Basic { crate::base::url::encode(value) } else { value.to_string() }))
    };
    let (id, secret) = (part("client_id")?, part("client_secret")?);
    if auth == Auth::BasicRaw && id.contains(':') {
        return Err(Unready::Wrong(
            "client_id".into(),
            "contains a colon, which raw Basic authentication does not allow".into(),
        ));
    }
    let joined = Zeroizing::new(format!("{}:{}", *id, *secret));
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(joined.as_bytes()));
    Ok(Zeroizing::new(format!("Basic {}", *encoded)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Field, Template};

    fn values(given: &[(&str, &str)]) -> Values {
        given.iter().map(|(n, v)| (n.to_string(), Zeroizing::new(v.to_string()))).collect()
    }

    const MOMENT: fn() -> Moment = || Moment { now: 1_000, id: "x".into() };

    #[test]
    fn basic_is_encoded_unless_raw() {
        let values = values(&[("client_id", "a b:c"), ("client_secret", "p%@+/ w")]);
        let header = |auth| add(auth, &values, "", &MOMENT()).map(|a| a.headers[0].1.to_string());
        // a%20b%3Ac:p%25%40%2B%2F%20w
        assert_eq!(header(Auth::Basic).as_deref(), Ok("Basic YSUyMGIlM0FjOnAlMjUlNDAlMkIlMkYlMjB3"));
        assert!(matches!(header(Auth::BasicRaw), Err(Unready::Wrong(..))));
    }

    #[test]
    fn an_assertion_says_what_its_file_says_and_no_more() {
        let (_, text) = Key::generate().expect("a key");
        let values = values(&[("private_key", text.expose()), ("client_id", "c")]);
        let provider = Provider::built_in("oauth2").expect("built in").expect("a provider");
        let claims = |text: &str| Field::Text(Template::parse(text).expect("a template"));
        let mut how = Assertion {
            claims: vec![("iss".into(), claims("{client_id}")), ("sub".into(), claims("{username?}"))],
            jti: false,
            headers: Vec::new(),
            certificate: CertificateHeader::Thumbprint,
            secret: None,
            encoding: SecretEncoding::Text,
            algorithm: Some(Algorithm::Es256),
            lifetime: 60,
            backdate: 5,
        };
        let said = |how: &Assertion| {
            let made = assertion(&provider, how, &values, &MOMENT())?;
            Ok(Value::from(crate::base::jose::jwt::claims(made.expose()).expect("a JWT")))
        };
        assert_eq!(said(&how), Ok(serde_json::json!({"iss": "c", "iat": 995, "exp": 1_055})));
        how.jti = true;
        assert_eq!(said(&how), Ok(serde_json::json!({"iss": "c", "iat": 995, "exp": 1_055, "jti": "x"})));
        how.algorithm = Some(Algorithm::Rs256);
        let why = "is a key for ES256, but the server only accepts RS256".to_string();
        assert_eq!(said(&how), Err(Unready::Wrong("private_key".into(), why)));
        how.claims = vec![("iss".into(), claims("{username}"))];
        assert_eq!(said(&how), Err(Unready::Missing("username".into())));
    }

    fn made(file: &str, given: &[(&str, &str)]) -> Result<(Value, Value, String), Unready> {
        let file = format!("[params.assertion]\nsecret = true\n{file}");
        let provider = Provider::parse("t", "t.toml", &file).unwrap_or_else(|e| panic!("{e}"));
        let how = provider.grants[0].assertion.as_ref().expect("an assertion");
        let made = assertion(&provider, how, &values(given), &MOMENT())?.expose().to_string();
        let (header, _) = made.split_once('.').expect("a JWT");
        let part = |text: &str| Value::from(crate::base::jose::jwt::claims(text).expect("a JWT"));
        Ok((part(&format!("{header}.{header}.")), part(&made), made))
    }

    /// Ghost's admin key is an ID and a secret in hexadecimal; Metabase and others have the secret as text.
    #[test]
    fn a_shared_secret_signs_and_the_key_is_named() {
        use base64::Engine;
        let key = "0123456789abcdef".repeat(4);
        let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        let packed = base64::engine::general_purpose::STANDARD.encode(&key);
        let key = key.as_str();
        let file = |more: &str| {
            format!(
                "[params.key]\nsecret = true\n[params.id]\n[grants.g]\nflow = \"signed\"\nurl = \"https://a.example\"\n\
                 [grants.g.assertion]\nclaims = {{ aud = \"/admin/\" }}\nheaders = {{ kid = \"{{id}}\" }}\nsecret = \"key\"\n\
                 jti = false\nbackdate = \"0s\"\n{more}"
            )
        };
        let (header, claims, text) = made(&file("encoding = \"hex\""), &[("key", &hex), ("id", "k1")]).expect("a JWT");
        assert_eq!(header, serde_json::json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}));
        assert_eq!(claims, serde_json::json!({"aud": "/admin/", "iat": 1_000, "exp": 1_300}));
        let same = made(&file(""), &[("key", key), ("id", "k1")]).expect("a JWT").2;
        assert_eq!(text, same);
        assert_eq!(made(&file("encoding = \"base64\""), &[("key", &packed), ("id", "k1")]).expect("a JWT").2, same);
        assert_eq!(
            made(&file("algorithm = \"HS512\""), &[("key", key), ("id", "k1")]).expect("a JWT").0["alg"],
            "HS512"
        );
        for wrong in ["6b657", "zz", "+1", ""] {
            let why = made(&file("encoding = \"hex\""), &[("key", wrong), ("id", "k1")]).expect_err("no JWT");
            assert!(matches!(why, Unready::Wrong(name, _) if name == "key"), "{wrong}");
        }
        assert_eq!(made(&file(""), &[("id", "k1")]).map(|_| ()), Err(Unready::Missing("key".into())));
    }

    /// RFC 7519 §2: a claim is any JSON value. RFC 9396 §2 has the list of tables.
    #[test]
    fn a_claim_is_a_text_a_number_a_list_or_a_table() {
        let (_, key) = Key::generate().expect("a key");
        let file = "[params.private_key]\nsecret = true\nlines = true\n[params.org]\n[params.more]\n[params.scope]\nlist = true\n\
                    repeat = true\n[grants.g]\nurl = \"https://a.example\"\nbody = { a = \"{assertion}\" }\n\
                    [grants.g.assertion]\njti = false\nheaders = { level = 2 }\nclaims = { aud = [\"https://a.example\", \
                    \"{more?}\"], scope = \"{scope?}\", token_exp = 2592000, flag = true, authorization_details = [{ type = \
                    \"org\", org = { id = \"0192:{org}\", more = \"{more?}\" } }] }\n";
        let claims = |given: &[(&str, &str)]| {
            let key = ("private_key", key.expose());
            made(file, &[given, &[key]].concat()).map(|(header, claims, _)| {
                assert_eq!(header["level"], 2);
                claims
            })
        };
        let expected = serde_json::json!({
            "aud": ["https://a.example"], "token_exp": 2_592_000, "flag": true, "iat": 970, "exp": 1_270,
            "authorization_details": [{"type": "org", "org": {"id": "0192:1"}}],
        });
        assert_eq!(claims(&[("org", "1")]), Ok(expected));
        let all = claims(&[("org", "1"), ("more", "m"), ("scope", "a b")]).expect("claims");
        assert_eq!(all["aud"], serde_json::json!(["https://a.example", "m"]));
        assert_eq!(all["scope"], serde_json::json!(["a", "b"]));
        assert_eq!(all["authorization_details"][0]["org"]["more"], "m");
        assert_eq!(claims(&[]), Err(Unready::Missing("org".into())));
    }

    /// Maskinporten wants the chain, Entra the thumbprint.
    #[test]
    fn a_certificate_stands_in_the_header_as_the_file_says() {
        let (_, key) = Key::generate().expect("a key");
        let one = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        let both = format!("{one}-----BEGIN CERTIFICATE-----\nBAUG\n-----END CERTIFICATE-----\n");
        let header = |more: &str, chain: &str| {
            let file = format!(
                "[params.private_key]\nsecret = true\nlines = true\n[params.certificate]\nfile = true\n[grants.g]\n\
                 url = \"https://a.example\"\nbody = {{ a = \"{{assertion}}\" }}\n[grants.g.assertion]\nclaims = {{}}\n{more}"
            );
            made(&file, &[("private_key", key.expose()), ("certificate", chain)]).map(|(header, ..)| header)
        };
        assert_eq!(
            header("certificate = \"x5c\"", &both).expect("a header")["x5c"],
            serde_json::json!(["AQID", "BAUG"])
        );
        let thumbprint = header("", &both).expect("a header");
        assert_eq!(thumbprint["x5t#S256"], "A5BYxvLAy0ksUzsKTRTvd8wPeKvMztUofYShogEc-4E".to_string().as_str());
        assert!(thumbprint.get("x5c").is_none());
        let none = header("certificate = \"none\"", &both).expect("a header");
        assert!(none.get("x5c").is_none() && none.get("x5t#S256").is_none());
        assert!(matches!(header("certificate = \"x5c\"", "x"), Err(Unready::Wrong(name, _)) if name == "certificate"));
    }

    #[test]
    fn an_assertion_of_the_client_is_for_the_endpoint_it_goes_to_and_dated_back() {
        let mut all = values(&[("client_id", "c"), ("client_secret", &"s".repeat(32)), ("token_url", "https://a/t")]);
        let of = |values: &Values, issuer| audiences(values, "https://a/device", issuer);
        assert_eq!(of(&all, None), ["https://a/device"]);
        assert_eq!(of(&all, Some("https://a")), ["https://a/device", "https://a"]);
        assert_eq!(audiences(&all, "https://a", Some("https://a")), ["https://a"]);
        let added = add(Auth::ClientSecretJwt, &all, "https://a/device", &MOMENT()).expect("an assertion");
        let (_, assertion) = added.fields.iter().find(|(n, _)| n == "client_assertion").expect("an assertion");
        let claims = crate::base::jose::jwt::claims(assertion).expect("a JWT");
        assert_eq!(
            (&claims["aud"], &claims["iat"], &claims["exp"]),
            (&"https://a/device".into(), &970.into(), &1_120.into())
        );
        all.insert("assertion_audience".into(), "https://b".to_string().into());
        assert_eq!(of(&all, Some("https://a")), ["https://b"]);
    }

    /// RFC 7521 §4.2: the client's name may be left out.
    #[test]
    fn an_assertion_made_elsewhere_is_sent_as_it_is() {
        let fields = |given: &[(&str, &str)]| {
            let added = add(Auth::Assertion, &values(given), "https://a/t", &MOMENT())?;
            Ok(added.fields.into_iter().map(|(name, text)| format!("{name}={}", *text)).collect::<Vec<_>>().join("&"))
        };
        let kind = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(
            fields(&[("client_id", "c"), ("client_assertion", "a.b.c")]),
            Ok(format!("client_id=c&{kind}&client_assertion=a.b.c"))
        );
        assert_eq!(fields(&[("client_assertion", "a.b.c")]), Ok(format!("{kind}&client_assertion=a.b.c")));
        assert_eq!(fields(&[("client_id", "c")]), Err(Unready::Missing("client_assertion".into())));
    }

    /// RFC 6749 §2.3.1.
    #[test]
    fn the_example_of_the_rfc_is_right() {
        let values = values(&[("client_id", "s6BhdRkqt3"), ("client_secret", "7Fjfp0ZBr1KtDRbnfVdmIw")]);
        let added = add(Auth::Basic, &values, "", &MOMENT()).expect("a header");
        assert_eq!(added.headers[0].1.as_str(), "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3");
    }

    #[test]
    fn the_way_is_what_is_at_hand_and_what_the_server_knows() {
        let secret = values(&[("client_id", "c"), ("client_secret", "s")]);
        let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(choose(&secret, &[]), Auth::Basic);
        assert_eq!(choose(&secret, &list(&["client_secret_post", "none"])), Auth::Post);
        assert_eq!(choose(&secret, &list(&["private_key_jwt", "client_secret_jwt"])), Auth::ClientSecretJwt);
        assert_eq!(choose(&secret, &list(&["none"])), Auth::Basic);
        assert_eq!(choose(&values(&[("client_id", "c")]), &[]), Auth::Public);
        assert_eq!(choose(&values(&[]), &[]), Auth::None);
        let key = values(&[("client_id", "c"), ("private_key", "k"), ("certificate", "c")]);
        assert_eq!(choose(&key, &[]), Auth::Tls);
        assert_eq!(choose(&key, &list(&["private_key_jwt"])), Auth::PrivateKeyJwt);
        assert_eq!(choose(&key, &list(&["tls_client_auth"])), Auth::Tls);
        let made = values(&[("client_id", "c"), ("client_secret", "s"), ("client_assertion", "a.b.c")]);
        assert_eq!(choose(&made, &list(&["client_secret_basic"])), Auth::Assertion);
        let bearer = values(&[("client_id", "c"), ("private_key", "k"), ("assertion", "a")]);
        assert_eq!(choose(&bearer, &[]), Auth::Public);
    }
}
