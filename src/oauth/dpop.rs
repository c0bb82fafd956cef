//! DPoP proofs (RFC 9449 §4.2).

use crate::base::jose::{Key, base64url};
use crate::base::secret::Secret;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

/// The request that a proof is for (RFC 9449 §4.2).
pub struct Proof<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its URL; query and fragment do not count.
    pub url: &'a str,
    /// The token that goes with a request to a resource.
    pub access_token: Option<&'a str>,
    /// The server's newest `DPoP-Nonce`.
    pub nonce: Option<&'a str>,
    /// When it is sent, in seconds since 1970.
    pub now: i64,
    /// At least 96 random bits.
    pub id: &'a str,
}

/// Signs `proof` with `key`, for the header `DPoP`.
///
/// # Errors
/// Why this key cannot sign, as a sentence.
pub fn sign(key: &Key, proof: &Proof) -> Result<Secret, String> {
    let Proof { method, url, access_token, nonce, now, id } = *proof;
    let jwk = key.public_jwk().ok_or("a DPoP proof needs a private key, not a shared secret (RFC 9449 §4.2)")?;
    let alg = key.algorithms().first().copied().ok_or("the key has no algorithm")?;
    let header = Map::from_iter([("typ".into(), "dpop+jwt".into()), ("jwk".into(), Value::Object(jwk))]);
    let target = url.split(['?', '#']).next().unwrap_or(url);
    let mut claims: Map<String, Value> = Map::from_iter([
        ("jti".into(), id.into()),
        ("htm".into(), method.into()),
        ("htu".into(), target.into()),
        ("iat".into(), now.into()),
    ]);
    if let Some(token) = access_token {
        claims.insert("ath".into(), base64url(digest(&SHA256, token.as_bytes()).as_ref()).into());
    }
    if let Some(nonce) = nonce {
        claims.insert("nonce".into(), nonce.into());
    }
    key.sign(alg, &header, &claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::jose::{Algorithm, Jwks, verify};

    fn set(jwk: Map<String, Value>) -> Jwks {
        Jwks::parse(serde_json::json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a set")
    }

    /// RFC 9449 §4.1 and §7.1.
    #[test]
    fn the_examples_of_the_rfc_are_right() {
        const HEAD: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0V\
                            jNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10N\
                            nY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";
        const TOKEN: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wb\
                             GUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4\
                             PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
        const RESOURCE: &str = "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leG\
                                FtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0Ra\
                                NTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1pl\
                                emAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
        let jwk = serde_json::json!({
            "kty": "EC",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
            "crv": "P-256",
        });
        let keys = set(jwk.as_object().cloned().expect("an object"));
        let first = verify(&format!("{HEAD}.{TOKEN}"), &keys).expect("a proof");
        assert_eq!((&first.header["typ"], &first.claims["iat"]), (&"dpop+jwt".into(), &1562262616.into()));
        let second = verify(&format!("{HEAD}.{RESOURCE}"), &keys).expect("a proof");
        let (key, _) = Key::generate().expect("a key");
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let url = "https://resource.example.org/protectedresource";
        let own = sign(
            &key,
            &Proof {
                method: "GET",
                url,
                access_token: Some(token),
                nonce: None,
                now: 1562262618,
                id: "e1j3V_bKic8-LAEB",
            },
        )
        .expect("a proof");
        let own = verify(own.expose(), &set(key.public_jwk().expect("public"))).expect("right");
        assert_eq!(own.claims, second.claims);
        assert_eq!(own.header["typ"], second.header["typ"]);
    }

    #[test]
    fn a_proof_names_the_request_without_query_and_fragment() {
        let (key, _) = Key::generate().expect("a key");
        let made = |url: &str| {
            let made =
                sign(&key, &Proof { method: "POST", url, access_token: None, nonce: Some("n-1"), now: 7, id: "id" })
                    .expect("a proof");
            verify(made.expose(), &set(key.public_jwk().expect("public"))).expect("right")
        };
        let proof = made("https://a.example/t?x=1#y");
        assert_eq!(
            Value::Object(proof.claims).to_string(),
            r#"{"jti":"id","htm":"POST","htu":"https://a.example/t","iat":7,"nonce":"n-1"}"#
        );
        assert_eq!(Some(&proof.header["jwk"]), key.public_jwk().map(Value::Object).as_ref());
        assert_eq!(made("https://a.example/t#y?x").claims["htu"], "https://a.example/t");
    }

    #[test]
    fn a_shared_secret_proves_nothing() {
        let key = Key::shared(&Secret::new("x".repeat(64)));
        assert_eq!(key.algorithms()[0], Algorithm::Hs256);
        assert!(
            sign(
                &key,
                &Proof { method: "POST", url: "https://a.example", access_token: None, nonce: None, now: 0, id: "i" }
            )
            .is_err_and(|why| why.contains("shared"))
        );
    }
}
