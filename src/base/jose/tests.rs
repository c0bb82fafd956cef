//! The known answers of the RFCs, keys as openssl writes them (`test_keys/`, public and of no use), and what must be
//! refused.

use super::*;
use crate::base::secret::Secret;
use serde_json::{Map, Value, json};

fn text(file: &str) -> String {
    let files = [
        ("rsa-pkcs8", include_str!("test_keys/rsa-pkcs8.pem")),
        ("rsa-pkcs1", include_str!("test_keys/rsa-pkcs1.pem")),
        ("rsa-1024", include_str!("test_keys/rsa-1024.pem")),
        ("p256-pkcs8", include_str!("test_keys/p256-pkcs8.pem")),
        ("p256-sec1", include_str!("test_keys/p256-sec1.pem")),
        ("p256-without-public", include_str!("test_keys/p256-without-public.pem")),
        ("p384-pkcs8", include_str!("test_keys/p384-pkcs8.pem")),
        ("p384-sec1", include_str!("test_keys/p384-sec1.pem")),
        ("p384-without-public", include_str!("test_keys/p384-without-public.pem")),
        ("p521-pkcs8", include_str!("test_keys/p521-pkcs8.pem")),
        ("p521-sec1", include_str!("test_keys/p521-sec1.pem")),
        ("p521-without-public", include_str!("test_keys/p521-without-public.pem")),
        ("secp256k1-pkcs8", include_str!("test_keys/secp256k1-pkcs8.pem")),
        ("ed25519-pkcs8", include_str!("test_keys/ed25519-pkcs8.pem")),
        ("ed448-pkcs8", include_str!("test_keys/ed448-pkcs8.pem")),
        ("encrypted-pkcs8", include_str!("test_keys/encrypted-pkcs8.pem")),
        ("encrypted-pkcs1", include_str!("test_keys/encrypted-pkcs1.pem")),
        ("public", include_str!("test_keys/public.pem")),
    ];
    files.iter().find(|(name, _)| *name == file).unwrap().1.to_string()
}

fn parse(text: impl Into<String>) -> Result<Key, String> {
    Key::parse(&Secret::new(text))
}

fn key(file: &str) -> Key {
    parse(text(file)).unwrap_or_else(|why| panic!("{file} {why}"))
}

fn set(keys: &[Value]) -> Jwks {
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn public_set(key: &Key) -> Jwks {
    set(&[Value::Object(key.public_jwk().unwrap())])
}

fn example(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Header and payload, as they are signed, and the signature.
fn taken_apart(jws: &str) -> (&str, Vec<u8>) {
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    (signed, from_base64url(signature).unwrap())
}

#[test]
fn a_key_whose_lines_were_joined_is_the_same_key() {
    for file in ["rsa-pkcs8", "rsa-pkcs1", "p256-sec1", "ed25519-pkcs8"] {
        let whole = text(file);
        let public = key(file).public_jwk();
        let joined = [
            whole.replace('\n', "\\n"),
            whole.replace('\n', "\\r\\n"),
            whole.trim_end().replace('\n', " "),
            whole.replace('\n', ""),
            whole.replace('\n', "\r\n"),
            format!("\u{feff}{whole}"),
            format!("  {}\n", whole.trim_end().replace('\n', "\\n")),
        ];
        for text in joined {
            let key = parse(text.clone()).unwrap_or_else(|why| panic!("{file} {why}: {text}"));
            assert_eq!(key.public_jwk(), public, "{text}");
        }
    }
    let why = parse(text("encrypted-pkcs8").replace('\n', "\\n")).unwrap_err();
    assert!(why.contains("encrypted"), "{why}");
}

const A3: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const A4: &str = r#"{"kty":"EC","crv":"P-521",
    "x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
    "y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    "d":"AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C"}"#;
/// RFC 8037 appendix A.1.
const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const OCT: &str = r#"{"kty":"oct","kid":"HMAC key used in JWS A.1 example",
    "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;

/// RFC 7515 appendices A.1 and A.2, RFC 8037 appendix A.4: signatures that are the same each time.
#[test]
fn signatures_without_chance_are_those_of_the_rfcs() {
    let a1 = example(include_str!("test_keys/rfc7515-a1.jws"));
    let a2 = example(include_str!("test_keys/rfc7515-a2.jws"));
    let ed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
              hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    for (key, alg, jws) in [
        (OCT, Algorithm::Hs256, a1.as_str()),
        (include_str!("test_keys/rfc7515-a2.jwk"), Algorithm::Rs256, a2.as_str()),
        (ED, Algorithm::EdDsa, ed),
    ] {
        let (signed, signature) = taken_apart(jws);
        assert_eq!(parse(key).unwrap().sign_bytes(alg, signed.as_bytes()), Ok(signature), "{alg:?}");
    }
}

/// RFC 7515 appendices A.2 to A.4, RFC 8037 appendix A.5.
#[test]
fn the_examples_of_the_rfcs_are_right() {
    let claims: Value = json!({ "iss": "joe", "exp": 1300819380, "http://example.com/is_root": true });
    for (jwk, jws) in [
        (include_str!("test_keys/rfc7515-a2.jwk"), include_str!("test_keys/rfc7515-a2.jws")),
        (A3, include_str!("test_keys/rfc7515-a3.jws")),
    ] {
        let verified = verify(&example(jws), &public_set(&parse(jwk).unwrap())).unwrap();
        assert_eq!(Value::Object(verified.claims), claims);
    }
    // Its payload is no JSON.
    let (jws, key) = (example(include_str!("test_keys/rfc7515-a4.jws")), parse(A4).unwrap());
    let (signed, signature) = taken_apart(&jws);
    let public = key.private.public().unwrap();
    assert!(public.verify(Algorithm::Es512, signed.as_bytes(), &signature));
    assert!(!public.verify(Algorithm::Es512, &signed.as_bytes()[1..], &signature));
    assert!(matches!(verify(&jws, &public_set(&key)), Err(VerifyError::NotJwt)));
}

/// RFC 7638 §3.1, RFC 8037 appendix A.3, RFC 9449 §6.1.
#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let rsa = json!({ "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZC\
              iFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZg\
              nYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIq\
              bw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw" });
    let ec = json!({ "kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA" });
    for (jwk, thumbprint) in
        [(rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"), (ec, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]
    {
        let jwk: jwk::Jwk = serde_json::from_value(jwk).unwrap();
        assert_eq!(jwk.public().unwrap().thumbprint(), thumbprint);
    }
    let ed = parse(ED).unwrap();
    assert_eq!(ed.thumbprint().as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
    let public = Value::Object(ed.public_jwk().unwrap()).to_string();
    assert_eq!(public, r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    let shared = parse(OCT).unwrap();
    assert_eq!((shared.public_jwk(), shared.thumbprint(), shared.fingerprint()), (None, None, None));
    assert_eq!(shared.key_id(), Some("HMAC key used in JWS A.1 example"));
}

/// RFC 8705 appendix A.
#[test]
fn the_thumbprint_of_a_certificate_is_that_of_the_rfc() {
    let certificate = "Bag Attributes\r\n-----BEGIN CERTIFICATE-----\r\n\
        MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx\r\n\
        ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG\r\n\
        SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ\r\n\
        /Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID\r\n\
        SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV\r\n\
        bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=\r\n-----END CERTIFICATE-----\r\n";
    let print = certificate_thumbprint(certificate);
    assert_eq!(print.as_deref(), Ok("A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"));
    assert_eq!(certificate_thumbprint(&text("public")), Err("contains no certificate".into()));
    assert_eq!(certificate_thumbprint(&certificate.replace("MIIB", "M!!B")), Err("is a damaged certificate".into()));
    assert_eq!(parse(certificate).err().as_deref(), Some("is a certificate; its private key is needed"));
    let chain = text("p256-pkcs8") + certificate;
    assert_eq!(parse(chain).unwrap().thumbprint(), key("p256-pkcs8").thumbprint());
}

/// The fingerprints are those that openssl shows.
#[test]
fn keys_are_read_as_openssl_writes_them() {
    const RSA: &str = "UswHJ6UVigOQYpoPVYZSrG1xeKUitlrC8Ao+yn1G7nQ=";
    const P256: &str = "P1v+j0VSfY86EO042N8+90lLdxDS3cXQgl5vN95+ekw=";
    const P384: &str = "N3ZhQyciZMkSxV/R0/G5L9W0NAFuz4gJBwxjeIvFlGk=";
    const P521: &str = "32g5Smwno/JVpZb7Asb5JbxJGZot6/aY1jEE+yewKgU=";
    for (file, fingerprint) in [
        ("rsa-pkcs8", RSA),
        ("rsa-pkcs1", RSA),
        ("p256-pkcs8", P256),
        ("p256-sec1", P256),
        ("p256-without-public", P256),
        ("p384-pkcs8", P384),
        ("p384-sec1", P384),
        ("p384-without-public", P384),
        ("p521-pkcs8", P521),
        ("p521-sec1", P521),
        ("p521-without-public", P521),
        ("ed25519-pkcs8", "uNBWGOY1Qf3bgT0El7rivI2wYsufmKrNvIG9Fwmp8DE="),
    ] {
        let key = key(file);
        assert_eq!(key.fingerprint(), Some(format!("SHA256:{fingerprint}")), "{file}");
        let windows = parse(text(file).replace('\n', "\r\n")).unwrap();
        assert_eq!(windows.thumbprint(), key.thumbprint(), "{file}");
        for alg in key.algorithms() {
            let claims = Map::from_iter([("sub".to_string(), "x".into())]);
            let jwt = key.sign(*alg, &Map::new(), &claims).unwrap();
            let verified = verify(jwt.expose(), &public_set(&key)).unwrap();
            assert_eq!((verified.algorithm, verified.claims), (*alg, claims), "{file}");
        }
    }
}

#[test]
fn what_is_no_fitting_key_is_told_and_not_shown() {
    let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let two = text("p256-pkcs8") + &text("p384-pkcs8");
    let set = |keys: &[&str]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let public = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    for (text, part) in [
        (String::new(), "is not a key"),
        ("hunter2hunter2".into(), "is not a key"),
        ("{hunter2".into(), "is not valid JSON"),
        (r#"{"private_key":"hunter2"}"#.into(), "not a JWK"),
        (text("public"), "is a public key"),
        ("ssh-ed25519 AAAAhunter2 me".into(), "is a public key"),
        (pem("RSA PUBLIC KEY", "aHVudGVyMg=="), "is a public key"),
        (pem("CERTIFICATE", "aHVudGVyMg=="), "is a certificate;"),
        (pem("CERTIFICATE REQUEST", "aHVudGVyMg=="), "certificate request"),
        (pem("DSA PRIVATE KEY", "aHVudGVyMg=="), "DSA"),
        (pem("EC PARAMETERS", "aHVudGVyMg=="), "contains no private key"),
        (pem("PRIVATE KEY", "aHVudGVyMg=="), "damaged"),
        (pem("RSA PRIVATE KEY", "aHVudGVyMg=="), "damaged"),
        (pem("EC PRIVATE KEY", "aHVudGVyMg=="), "damaged"),
        (pem("PRIVATE KEY", "hunter2 hunter2 !"), "damaged"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2".into(), "damaged"),
        (text("encrypted-pkcs8"), "openssl pkey -in key.pem -out plain.pem"),
        (text("encrypted-pkcs1"), "openssl pkey -in key.pem -out plain.pem"),
        (pem("OPENSSH PRIVATE KEY", "aHVudGVyMg=="), "ssh-keygen -p -m PEM"),
        (text("rsa-1024"), "less than 2048 bits"),
        (text("secp256k1-pkcs8"), "unsupported curve"),
        (text("ed448-pkcs8"), "unsupported kind"),
        (two, "several private keys"),
        (public.into(), "is a public key"),
        (set(&[public]), "without a private key"),
        (set(&[]), "without a key"),
        (set(&[A3, ED]), "several private keys"),
        (ED.replace("Ed25519", "X25519"), "unsupported curve"),
        (A3.replace("P-256", "secp256k1"), "unsupported curve"),
        (A3.replace("P-256", "P-384"), "missing or damaged"),
        (A3.replace("jpsQ", "jpsR"), "do not match"),
        (A4.replace("AY5p", "AY5q"), "do not match"),
        (ED.replace("nWGx", "nWGy"), "damaged Ed25519"),
        (A3.replace(r#""kty""#, r#""alg":"RS256","kty""#), "`alg`"),
        (A3.replace(r#""kty""#, r#""use":"enc","kty""#), "not meant for signatures"),
        (r#"{"kty":"hunter2","d":"x"}"#.into(), "unknown type"),
        (r#"{"kty":"oct","k":"hunter 2"}"#.into(), "`k` is not base64url"),
        (r#"{"kty":"RSA","n":"x_FEzRu9","e":"AQAB","d":"x_FEzRu9"}"#.into(), "without `p`"),
    ] {
        let why = parse(text.clone()).err().unwrap_or_else(|| panic!("{part}: {text}"));
        assert!(why.contains(part) && !why.contains("hunter"), "{part}: {why}");
    }
}

#[test]
fn a_jwk_says_what_it_is_meant_for() {
    let rsa = include_str!("test_keys/rfc7515-a2.jwk").replacen('{', r#"{"alg":"PS384","kid":"k 1","#, 1);
    let key = parse(rsa.clone()).unwrap();
    let names: Vec<&str> = key.algorithms().iter().map(|a| a.name()).collect();
    assert_eq!(names, ["PS384", "PS512", "RS256", "RS384", "RS512", "PS256"]);
    assert_eq!(key.key_id(), Some("k 1"));
    let public = r#"{"kty":"oct"}"#;
    let one = parse(format!("\u{feff} {{\"keys\": [{public}, {rsa}, 5]}}")).unwrap();
    assert_eq!(one.key_id(), Some("k 1"));
    assert_eq!(parse(OCT.replace("{", r#"{"alg":"HS512","#)).unwrap().algorithms()[0], Algorithm::Hs512);
    assert_eq!(format!("{key:?}"), "Key { .. }");
}

#[test]
fn a_header_begins_with_its_algorithm() {
    let header =
        Map::from_iter([("typ".into(), "JWT".into()), ("alg".into(), "none".into()), ("kid".into(), 1.into())]);
    let key = Key::shared(&Secret::new("s".repeat(32)));
    let jwt = key.sign(Algorithm::Hs256, &header, &Map::new()).unwrap();
    let first = from_base64url(jwt.expose().split('.').next().unwrap()).unwrap();
    assert_eq!(first, br#"{"alg":"HS256","typ":"JWT","kid":1}"#);
}

#[test]
fn a_key_signs_only_with_what_is_its_own() {
    let none = Map::new();
    let why = key("rsa-pkcs8").sign(Algorithm::Es256, &none, &none).err();
    let words = "an RSA key cannot sign with ES256; it supports RS256, RS384, RS512, PS256, PS384, PS512";
    assert_eq!(why.as_deref(), Some(words));
    for file in ["p256-pkcs8", "p384-pkcs8", "p521-pkcs8", "ed25519-pkcs8"] {
        let key = key(file);
        for alg in ALL.iter().filter(|alg| !key.algorithms().contains(alg)) {
            assert!(key.sign(*alg, &none, &none).is_err_and(|why| why.contains(" cannot sign with ")));
        }
    }
    for (length, alg) in [(32, Algorithm::Hs256), (48, Algorithm::Hs384), (64, Algorithm::Hs512)] {
        let shared = |length: usize| Key::shared(&Secret::new("s".repeat(length)));
        assert!(shared(length).sign(alg, &none, &none).is_ok());
        let why = shared(length - 1).sign(alg, &none, &none).err().unwrap();
        assert!(why.contains(&format!("too short for {}, which needs at least {length} bytes", alg.name())), "{why}");
        assert!(shared(64).sign(Algorithm::Rs256, &none, &none).is_err());
    }
}

#[test]
fn a_new_key_can_be_stored() {
    let (key, text) = Key::generate().unwrap();
    let again = Key::parse(&text).unwrap();
    assert_eq!((again.thumbprint(), again.algorithms()), (key.thumbprint(), &[Algorithm::Es256][..]));
    assert_ne!(Key::generate().unwrap().0.thumbprint(), key.thumbprint());
    let jwt = again.sign(Algorithm::Es256, &Map::new(), &Map::new()).unwrap();
    assert!(verify(jwt.expose(), &public_set(&key)).is_ok());
}

#[test]
fn names_are_those_of_the_registry() {
    for algorithm in ALL {
        assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
    }
    assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::Ed25519));
    for name in ["none", "None", "hs256", "", "ES256K", "RS1", "Ed448"] {
        assert_eq!(Algorithm::parse(name), None, "{name}");
    }
}

#[test]
fn a_changed_bit_is_refused() {
    for file in ["rsa-pkcs8", "p256-pkcs8", "p384-pkcs8", "p521-pkcs8", "ed25519-pkcs8"] {
        let key = key(file);
        let jwt = key.sign(key.algorithms()[0], &Map::new(), &Map::from_iter([("a".into(), 1.into())])).unwrap();
        let (signed, signature) = taken_apart(jwt.expose());
        let keys = public_set(&key);
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            let jwt = format!("{signed}.{}", base64url(&changed));
            assert_eq!(verify(&jwt, &keys).err(), Some(VerifyError::Signature), "{file}");
        }
        for changed in [&signature[1..], &[], &[signature.as_slice(), &[0]].concat(), &vec![0; signature.len()]] {
            let jwt = format!("{signed}.{}", base64url(changed));
            assert_eq!(verify(&jwt, &keys).err(), Some(VerifyError::Signature), "{file}");
        }
        let (header, _) = signed.split_once('.').unwrap();
        let other = format!("{header}.{}.{}", base64url(br#"{"a":2}"#), base64url(&signature));
        assert_eq!(verify(&other, &keys).err(), Some(VerifyError::Signature), "{file}");
    }
}

#[test]
fn a_token_is_not_believed_about_its_algorithm() {
    let key = key("rsa-pkcs8");
    let keys = public_set(&key);
    let unsigned = |header: Value, signature: &str| {
        format!("{}.{}.{signature}", base64url(header.to_string().as_bytes()), base64url(b"{}"))
    };
    for alg in ["none", "None", "ES256K", "HS256", "HS512"] {
        let jwt = unsigned(json!({ "alg": alg }), "");
        assert_eq!(verify(&jwt, &keys).err(), Some(VerifyError::Algorithm), "{alg}");
    }
    // The public key, which everybody has, as the secret.
    for public in [text("public"), Value::Object(key.public_jwk().unwrap()).to_string()] {
        let jwt = Key::shared(&Secret::new(public)).sign(Algorithm::Hs256, &Map::new(), &Map::new()).unwrap();
        assert_eq!(verify(jwt.expose(), &keys).err(), Some(VerifyError::Algorithm));
        assert_eq!(
            verify(jwt.expose(), &set(&[serde_json::from_str(OCT).unwrap()])).err(),
            Some(VerifyError::Algorithm)
        );
    }
    let crit = Map::from_iter([("crit".to_string(), json!(["b64"])), ("b64".into(), false.into())]);
    let jwt = key.sign(Algorithm::Rs256, &crit, &Map::new()).unwrap();
    assert_eq!(verify(jwt.expose(), &keys).err(), Some(VerifyError::Algorithm));
    assert_eq!(verify(&unsigned(json!({ "alg": "ES256" }), ""), &keys).err(), Some(VerifyError::NoKey));
}

#[test]
fn the_key_is_the_one_that_the_token_names() {
    let (one, two) = (key("p256-pkcs8"), key("ed25519-pkcs8"));
    let listed = |key: &Key, more: Value| {
        let mut jwk = key.public_jwk().unwrap();
        jwk.extend(more.as_object().unwrap().clone());
        Value::Object(jwk)
    };
    let jwt = |header: Value| one.sign(Algorithm::Es256, header.as_object().unwrap(), &Map::new()).unwrap();
    let verdict = |header: Value, keys: &[Value]| verify(jwt(header).expose(), &set(keys)).err();
    let (named, unnamed) = (json!({ "kid": "1" }), json!({}));
    let keys = [listed(&two, json!({ "kid": "2" })), listed(&one, json!({ "kid": "1", "alg": "ES256" }))];
    assert_eq!(verdict(named.clone(), &keys), None);
    assert_eq!(verdict(unnamed.clone(), &keys), None);
    assert_eq!(verdict(json!({ "kid": "3" }), &keys), Some(VerifyError::NoKey));
    assert_eq!(verdict(json!({ "kid": "2" }), &keys), Some(VerifyError::Algorithm));
    assert_eq!(verdict(json!({ "kid": 1 }), &keys), Some(VerifyError::NotJwt));
    for unfit in [json!({ "use": "enc" }), json!({ "alg": "ES384" }), json!({ "key_ops": ["sign"] })] {
        assert_eq!(verdict(unnamed.clone(), &[listed(&one, unfit)]), Some(VerifyError::NoKey));
    }
    let empty = json!({ "kid": "", "alg": "", "use": "" });
    assert_eq!(verdict(json!({ "kid": null, "crit": null }), &[listed(&one, empty)]), None);
    // A key that cannot be read is reported as such, and not as one that is not there.
    for damaged in [json!({ "x": "a" }), json!({ "x": "!" }), json!({ "y": 5, "kid": "1" }), json!({ "x": null })] {
        let of = |header: &Value| {
            verdict(header.clone(), &[listed(&two, json!({ "kid": "2" })), listed(&one, damaged.clone())])
        };
        assert_eq!(of(&unnamed), Some(VerifyError::UnreadableKey), "{damaged}");
        let of_its_own = if damaged["kid"].is_null() { VerifyError::NoKey } else { VerifyError::UnreadableKey };
        assert_eq!(of(&named), Some(of_its_own), "{damaged}");
        assert_eq!(of(&json!({ "kid": "3" })), Some(VerifyError::NoKey), "{damaged}");
    }
    assert_eq!(verdict(named, &[json!({ "kty": "new", "kid": "1" }), json!(5)]), Some(VerifyError::NoKey));
    // An RSA key for PS256 alone.
    let rsa = key("rsa-pkcs8");
    let keys = set(&[listed(&rsa, json!({ "alg": "PS256" }))]);
    for (alg, right) in [(Algorithm::Ps256, true), (Algorithm::Rs256, false)] {
        assert_eq!(verify(rsa.sign(alg, &Map::new(), &Map::new()).unwrap().expose(), &keys).is_ok(), right);
    }
}

#[test]
fn what_is_no_jwt_and_no_set_is_told() {
    let keys = set(&[]);
    for jwt in ["", ".", "..", "a.b", "a.b.c", "e30.e30.", "e30.e30.AA.AA", "bnVsbA.e30.AA", "e30=.e30=.AA"] {
        assert_eq!(verify(jwt, &keys).err(), Some(VerifyError::NotJwt), "{jwt}");
    }
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":5}"#] {
        assert!(Jwks::parse(text.as_bytes()).is_err(), "{text}");
    }
    use VerifyError::{NoKey, NotJwt, Signature, UnreadableKey};
    let words = [NotJwt, VerifyError::Algorithm, NoKey, UnreadableKey, Signature];
    let words: std::collections::BTreeSet<String> = words.iter().map(|why| why.to_string()).collect();
    assert_eq!(words.len(), 5);
}

/// RFC 7518 §6.2.1.2 wants every coordinate at its full length; some libraries leave out the zeros before it.
#[test]
fn a_coordinate_without_its_leading_zero_is_read() {
    let mut found = [false; 2];
    for _ in 0..100_000 {
        let (key, _) = Key::generate().unwrap();
        let mut jwk = key.public_jwk().unwrap();
        for (at, member) in ["x", "y"].into_iter().enumerate() {
            let bytes = from_base64url(jwk[member].as_str().unwrap()).unwrap();
            if bytes[0] == 0 {
                found[at] = true;
                jwk.insert(member.into(), base64url(&bytes[1..]).into());
            }
        }
        let token = key.sign(Algorithm::Es256, &Map::new(), &Map::new()).unwrap();
        // One in 256 lacks a zero; the others are read as ever.
        if found.contains(&true) {
            assert_eq!(verify(token.expose(), &set(&[Value::Object(jwk)])).err(), None);
        }
        if found == [true; 2] {
            return;
        }
    }
    panic!("no key has a coordinate that begins with a zero");
}
