//! Public keys: as JWK, as SubjectPublicKeyInfo, and to verify signatures.

use super::{Algorithm, base64url, from};
use p521::ecdsa::signature::Verifier;
use p521::elliptic_curve::sec1::ToEncodedPoint;
use p521::pkcs8::der::asn1::{BitStringRef, SequenceOf, UintRef};
use p521::pkcs8::der::{AnyRef, Encode};
use p521::pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};
use ring::digest::{SHA256, digest};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

/// rsaEncryption (RFC 8017 appendix A.1)
pub(super) const RSA_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// id-ecPublicKey (RFC 5480 §2.1.1)
pub(super) const EC_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// id-Ed25519 (RFC 8410 §3)
pub(super) const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A curve of RFC 7518 §6.2.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

    /// Its name in `crv`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        }
    }

    pub(super) fn named(name: &str) -> Option<Curve> {
        Curve::ALL.into_iter().find(|curve| curve.name() == name)
    }

    /// RFC 5480 §2.1.1.1.
    fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Curve::P256 => "1.2.840.10045.3.1.7",
            Curve::P384 => "1.3.132.0.34",
            Curve::P521 => "1.3.132.0.35",
        })
    }

    pub(super) fn of(oid: ObjectIdentifier) -> Option<Curve> {
        Curve::ALL.into_iter().find(|curve| curve.oid() == oid)
    }

    /// The bytes of a coordinate, and of the private number.
    pub(super) fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    pub(super) fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Curve::P256 => &[Algorithm::Es256],
            Curve::P384 => &[Algorithm::Es384],
            Curve::P521 => &[Algorithm::Es512],
        }
    }

    /// The public point, uncompressed (SEC 1 §2.3.3), of the private number `d`; `None` if `d` is out of range.
    pub(super) fn point(self, d: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Curve::P256 => {
                p256::SecretKey::from_slice(d).ok()?.public_key().to_encoded_point(false).as_bytes().to_vec()
            }
            Curve::P384 => {
                p384::SecretKey::from_slice(d).ok()?.public_key().to_encoded_point(false).as_bytes().to_vec()
            }
            Curve::P521 => {
                p521::SecretKey::from_slice(d).ok()?.public_key().to_encoded_point(false).as_bytes().to_vec()
            }
        })
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Public {
    /// Modulus and exponent, and both as RSAPublicKey (RFC 8017 appendix A.1.1).
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A curve and a point on it, uncompressed.
    Ec(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Public {
    /// The algorithms of the key, `first` before the others.
    pub(super) fn algorithms(&self, first: Option<Algorithm>) -> &'static [Algorithm] {
        match self {
            Public::Rsa { .. } => from(&super::RSA, first),
            Public::Ec(curve, _) => curve.algorithms(),
            Public::Ed25519(_) => &[Algorithm::EdDsa, Algorithm::Ed25519],
        }
    }

    /// The required members, ordered by name (RFC 7638 §3.2, RFC 8037 appendix A.3).
    pub(super) fn jwk(&self) -> Map<String, Value> {
        let members = match self {
            Public::Rsa { n, e } => vec![("e", base64url(e)), ("kty", "RSA".into()), ("n", base64url(n))],
            Public::Ec(curve, point) => {
                let (x, y) = point[1..].split_at(curve.size());
                vec![("crv", curve.name().into()), ("kty", "EC".into()), ("x", base64url(x)), ("y", base64url(y))]
            }
            Public::Ed25519(x) => vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", base64url(x))],
        };
        members.into_iter().map(|(name, value)| (name.to_string(), Value::String(value))).collect()
    }

    /// RFC 7638 §3: SHA-256 of [`Public::jwk`], base64url.
    pub(super) fn thumbprint(&self) -> String {
        let jwk = Value::Object(self.jwk()).to_string();
        base64url(digest(&SHA256, jwk.as_bytes()).as_ref())
    }

    /// The DER of its SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), `None` if a number is too long for DER.
    pub(super) fn spki(&self) -> Option<Vec<u8>> {
        let curve;
        let rsa;
        let (oid, parameters, key) = match self {
            Public::Rsa { n, e } => {
                rsa = rsa_public_key(n, e)?;
                (RSA_OID, Some(AnyRef::NULL), rsa.as_slice())
            }
            Public::Ec(of, point) => {
                curve = of.oid();
                (EC_OID, Some(AnyRef::from(&curve)), point.as_slice())
            }
            Public::Ed25519(x) => (ED25519_OID, None, x.as_slice()),
        };
        let algorithm = AlgorithmIdentifierRef { oid, parameters };
        let subject_public_key = BitStringRef::from_bytes(key).ok()?;
        SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().ok()
    }

    /// Whether `signature` is this key's signature of `message`; false for an algorithm that is not the key's.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.algorithms(None).contains(&algorithm) {
            return false;
        }
        match self {
            Public::Rsa { n, e } => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            Public::Ec(Curve::P256, point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Public::Ec(Curve::P384, point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            Public::Ec(Curve::P521, point) => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
                let signature = p521::ecdsa::Signature::from_slice(signature);
                key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
            }
            Public::Ed25519(x) => UnparsedPublicKey::new(&signature::ED25519, x).verify(message, signature).is_ok(),
        }
    }
}

/// RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_public_key(n: &[u8], e: &[u8]) -> Option<Vec<u8>> {
    let mut numbers = SequenceOf::<UintRef<'_>, 2>::new();
    for number in [n, e] {
        numbers.add(UintRef::new(number).ok()?).ok()?;
    }
    numbers.to_der().ok()
}
