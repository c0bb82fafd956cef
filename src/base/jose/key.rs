//! A private key or a shared secret.

use super::public::{Curve, Public};
use super::{Algorithm, base64url, from, jwk, pem};
use crate::base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use serde_json::{Map, Value};
use std::fmt;
use zeroize::Zeroizing;

/// A signing key: private key or shared secret. `Debug` shows nothing of it.
pub struct Key {
    pub(super) private: Private,
    pub(super) id: Option<String>,
    /// The `alg` of its JWK.
    pub(super) algorithm: Option<Algorithm>,
}

pub(super) enum Private {
    Rsa(Box<ring::rsa::KeyPair>),
    /// P-256 or P-384.
    Ec(Curve, Box<EcdsaKeyPair>),
    P521(Box<p521::ecdsa::SigningKey>),
    Ed25519(Box<Ed25519KeyPair>),
    Shared(Zeroizing<Vec<u8>>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Key {
    /// Reads PEM (PKCS#8, PKCS#1, SEC 1), a JWK, or a JWK set with exactly one private key: RSA of 2048 to 4096 bits,
    /// EC on P-256, P-384 or P-521, Ed25519, or a shared secret (`oct`).
    ///
    /// # Errors
    /// What is wrong, in words that follow the name of the value and show nothing of it.
    pub fn parse(text: &Secret) -> Result<Key, String> {
        let text = text.expose().trim_start_matches('\u{feff}').trim();
        if text.starts_with('{') {
            jwk::private(text)
        } else if text.contains("-----BEGIN ") {
            Ok(Key { private: pem::private(text)?, id: None, algorithm: None })
        } else if ["ssh-", "ecdsa-sha2-", "---- BEGIN SSH2"].iter().any(|start| text.starts_with(start)) {
            Err("is a public key; the private key is needed".into())
        } else {
            Err("is not a key: neither PEM (-----BEGIN …) nor a JWK".into())
        }
    }

    /// A shared secret for HS256, HS384 and HS512: the bytes of its UTF-8 (OpenID Connect Core §10.1).
    pub fn shared(secret: &Secret) -> Key {
        let private = Private::Shared(Zeroizing::new(secret.expose().as_bytes().to_vec()));
        Key { private, id: None, algorithm: None }
    }

    /// The same of a secret that is written in another way: of its bytes.
    pub fn shared_bytes(secret: Zeroizing<Vec<u8>>) -> Key {
        Key { private: Private::Shared(secret), id: None, algorithm: None }
    }

    /// A new P-256 key, and its text as a private JWK, as [`Key::parse`] reads it.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub fn generate() -> Result<(Key, Secret), String> {
        // Zero, and one in 2^32 of the largest numbers, is not a private key.
        for _ in 0..8 {
            let mut d = Zeroizing::new([0; 32]);
            crate::base::digest::fill(d.as_mut_slice());
            let Some(point) = Curve::P256.point(d.as_slice()) else { continue };
            let private = Private::ec(Curve::P256, d.as_slice(), Some(&point))?;
            let (x, y) = point[1..].split_at(Curve::P256.size());
            let d = Zeroizing::new(base64url(d.as_slice()));
            let (x, y) = (base64url(x), base64url(y));
            let text = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","d":"{}"}}"#, d.as_str());
            return Ok((Key { private, id: None, algorithm: None }, Secret::new(text)));
        }
        Err("cannot generate a key: the system's random number generator failed".into())
    }

    /// What a key of its type can sign with; the first is its JWK's `alg`, or the default.
    /// A shared secret may still be too short for some.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        self.private.algorithms(self.algorithm)
    }

    /// `kid` of the JWK.
    pub fn key_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The public key with only its required members, in the order of RFC 7638 §3.2; a shared secret has none.
    pub fn public_jwk(&self) -> Option<Map<String, Value>> {
        Some(self.private.public()?.jwk())
    }

    /// The thumbprint of RFC 7638: SHA-256 of [`Key::public_jwk`], base64url; a shared secret has none.
    pub fn thumbprint(&self) -> Option<String> {
        Some(self.private.public()?.thumbprint())
    }

    /// `SHA256:` and the SHA-256 of the DER SubjectPublicKeyInfo in base64 with padding; a shared secret has none.
    /// `openssl pkey -pubout -outform DER | openssl dgst -sha256 -binary | openssl enc -base64` shows the same.
    pub fn fingerprint(&self) -> Option<String> {
        let spki = self.private.public()?.spki()?;
        Some(format!("SHA256:{}", STANDARD.encode(digest(&SHA256, &spki))))
    }
}

impl Private {
    /// # Errors
    /// Why it was rejected, in words that follow the name of the value.
    pub(super) fn rsa(pair: Result<ring::rsa::KeyPair, KeyRejected>) -> Result<Private, String> {
        pair.map(|pair| Private::Rsa(Box::new(pair))).map_err(|why| match why.to_string().as_str() {
            "TooSmall" => "is an RSA key of less than 2048 bits, which is not secure".into(),
            "TooLarge" => "is an RSA key of more than 4096 bits, which is not supported".into(),
            _ => "is a damaged RSA key, or one of an unusual size or exponent".into(),
        })
    }

    /// From the private number and the public point; the point is computed if it is missing.
    ///
    /// # Errors
    /// What is wrong, in words that follow the name of the value.
    pub(super) fn ec(curve: Curve, d: &[u8], point: Option<&[u8]>) -> Result<Private, String> {
        const DAMAGED: &str = "is a damaged EC key: its private and public parts do not match";
        // Some write the number without leading zeros, some with one too many.
        let digits = &d[d.iter().take_while(|b| **b == 0).count()..];
        let zeros = curve.size().checked_sub(digits.len()).ok_or(DAMAGED)?;
        let mut d = Zeroizing::new(vec![0; curve.size()]);
        d[zeros..].copy_from_slice(digits);
        let computed;
        let point = match point {
            Some(point) if curve != Curve::P521 => point,
            given => {
                computed = curve.point(&d).ok_or(DAMAGED)?;
                if given.is_some_and(|given| given != computed.as_slice()) {
                    return Err(DAMAGED.into());
                }
                computed.as_slice()
            }
        };
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Curve::P521 => {
                let key = p521::ecdsa::SigningKey::from_slice(&d).map_err(|_| DAMAGED)?;
                return Ok(Private::P521(Box::new(key)));
            }
        };
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, &d, point, &SystemRandom::new())
            .map(|pair| Private::Ec(curve, Box::new(pair)))
            .map_err(|_| DAMAGED.into())
    }

    /// From the 32 bytes of RFC 8032 §5.1.5, and the public key if it is present.
    ///
    /// # Errors
    /// What is wrong, in words that follow the name of the value.
    pub(super) fn ed25519(seed: &[u8], public: Option<&[u8]>) -> Result<Private, String> {
        let pair = match public {
            Some(public) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => Ed25519KeyPair::from_seed_unchecked(seed),
        };
        pair.map(|pair| Private::Ed25519(Box::new(pair))).map_err(|_| "is a damaged Ed25519 key".into())
    }

    /// The algorithms it supports, `first` before the others.
    pub(super) fn algorithms(&self, first: Option<Algorithm>) -> &'static [Algorithm] {
        match self {
            Private::Rsa(_) => from(&super::RSA, first),
            Private::Ec(curve, _) => curve.algorithms(),
            Private::P521(_) => Curve::P521.algorithms(),
            Private::Ed25519(_) => &[Algorithm::EdDsa, Algorithm::Ed25519],
            Private::Shared(_) => from(&super::HS, first),
        }
    }

    pub(super) fn public(&self) -> Option<Public> {
        Some(match self {
            Private::Rsa(pair) => {
                let parts = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                Public::Rsa { n: parts.n, e: parts.e }
            }
            Private::Ec(curve, pair) => Public::Ec(*curve, pair.public_key().as_ref().to_vec()),
            Private::P521(key) => {
                let point = p521::ecdsa::VerifyingKey::from(key.as_ref()).to_encoded_point(false);
                Public::Ec(Curve::P521, point.as_bytes().to_vec())
            }
            Private::Ed25519(pair) => Public::Ed25519(pair.public_key().as_ref().to_vec()),
            Private::Shared(_) => return None,
        })
    }
}
