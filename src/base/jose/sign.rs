//! Signatures: JWS in its compact form (RFC 7515 §3.1, §5.1).

use super::key::{Key, Private};
use super::public::Curve;
use super::{Algorithm, base64url};
use crate::base::secret::Secret;
use p521::ecdsa::signature::Signer;
use ring::rand::SystemRandom;
use ring::{hmac, signature};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

impl Key {
    /// The JWT of `claims`: `alg` comes first in its header, then `header` in its order (an `alg` in there is passed
    /// over).
    ///
    /// # Errors
    /// Why this key cannot sign, as a sentence.
    pub fn sign(
        &self,
        alg: Algorithm,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<Secret, String> {
        let mut whole = Map::from_iter([("alg".to_string(), Value::from(alg.name()))]);
        whole.extend(header.iter().filter(|(name, _)| *name != "alg").map(|(n, v)| (n.clone(), v.clone())));
        let part = |map: &Map<String, Value>| {
            let text =
                serde_json::to_string(map).map(Zeroizing::new).map_err(|_| "the claims cannot be written as JSON")?;
            Ok::<_, String>(Zeroizing::new(base64url(text.as_bytes())))
        };
        let input = Zeroizing::new([part(&whole)?.as_str(), part(claims)?.as_str()].join("."));
        let signature = self.sign_bytes(alg, input.as_bytes())?;
        Ok(Secret::new([input.as_str(), &base64url(&signature)].join(".")))
    }

    pub(super) fn sign_bytes(&self, alg: Algorithm, message: &[u8]) -> Result<Vec<u8>, String> {
        if !self.algorithms().contains(&alg) {
            return Err(self.cannot(alg));
        }
        let failed = || "signing failed".to_string();
        let random = SystemRandom::new();
        Ok(match (&self.private, alg) {
            (Private::Rsa(pair), _) => {
                let padding: &dyn signature::RsaEncoding = match alg {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut made = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut made).map_err(|_| failed())?;
                made
            }
            (Private::Ec(_, pair), _) => pair.sign(&random, message).map_err(|_| failed())?.as_ref().to_vec(),
            (Private::P521(key), _) => {
                let made: p521::ecdsa::Signature = key.try_sign(message).map_err(|_| failed())?;
                made.to_bytes().to_vec()
            }
            (Private::Ed25519(pair), _) => pair.sign(message).as_ref().to_vec(),
            (Private::Shared(secret), _) => {
                let (hash, least) = match alg {
                    Algorithm::Hs256 => (hmac::HMAC_SHA256, 32),
                    Algorithm::Hs384 => (hmac::HMAC_SHA384, 48),
                    _ => (hmac::HMAC_SHA512, 64),
                };
                if secret.len() < least {
                    return Err(format!(
                        "is a shared secret too short for {}, which needs at least {least} bytes (RFC 7518 §3.2)",
                        alg.name()
                    ));
                }
                hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
            }
        })
    }

    fn cannot(&self, alg: Algorithm) -> String {
        let kind = match &self.private {
            Private::Rsa(_) => "an RSA key",
            Private::Ec(Curve::P384, _) => "an EC key on P-384",
            Private::Ec(..) => "an EC key on P-256",
            Private::P521(_) => "an EC key on P-521",
            Private::Ed25519(_) => "an Ed25519 key",
            Private::Shared(_) => "a shared secret",
        };
        let can: Vec<&str> = self.algorithms().iter().map(|a| a.name()).collect();
        format!("{kind} cannot sign with {}; it supports {}", alg.name(), can.join(", "))
    }
}
