//! JSON Web Keys (RFC 7517, 7518 §6, 8037 §2), private and public.

use super::key::{Key, Private};
use super::public::{Curve, Public};
use super::{Algorithm, from_base64url};
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The members used here. Private ones are wiped from memory.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    pub(super) alg: Option<String>,
    pub(super) kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<Zeroizing<String>>,
    p: Option<Zeroizing<String>>,
    q: Option<Zeroizing<String>>,
    dp: Option<Zeroizing<String>>,
    dq: Option<Zeroizing<String>>,
    qi: Option<Zeroizing<String>>,
    k: Option<Zeroizing<String>>,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The keys of a JWK Set (RFC 7517 §5); `None` if it is not one. A key that cannot be read at all is reported by its
/// `kid`, if it has one.
pub(super) fn set(text: &[u8]) -> Option<Vec<Result<Jwk, Option<String>>>> {
    #[derive(Deserialize)]
    struct KeyId {
        kid: Option<String>,
    }
    let set: Set<'_> = serde_json::from_slice(text).ok()?;
    let key = |key: &RawValue| {
        let id = || serde_json::from_str::<KeyId>(key.get()).ok().and_then(|named| named.kid);
        serde_json::from_str::<Jwk>(key.get()).map(Jwk::without_empty).map_err(|_| id())
    };
    Some(set.keys.into_iter().map(key).collect())
}

/// A private key or a shared secret from a JWK, or from a set that contains exactly one.
///
/// # Errors
/// What is wrong, in words that follow the name of the value.
pub(super) fn private(text: &str) -> Result<Key, String> {
    if let Some(keys) = set(text.as_bytes()) {
        let count = keys.len();
        let mut private = keys.into_iter().flatten().filter(|key| key.is_private() && key.is_for("sign"));
        return match (private.next(), private.next()) {
            (Some(key), None) => key.private(),
            (Some(_), Some(_)) => Err("is a JWK set with several private keys; keep only the one to use".into()),
            (None, _) if count == 0 => Err("is a JWK set without a key".into()),
            (None, _) => Err("is a JWK set without a private key to sign with".into()),
        };
    }
    match serde_json::from_str::<Jwk>(text).map(Jwk::without_empty) {
        Ok(key) if !key.is_private() => Err("is a public key; the private key is needed".into()),
        Ok(key) if !key.is_for("sign") => Err("is a JWK that is not meant for signatures".into()),
        Ok(key) => key.private(),
        Err(error) if error.is_data() => Err("is JSON, but not a JWK".into()),
        Err(_) => Err("is not a key: it starts like a JWK, but is not valid JSON".into()),
    }
}

impl Jwk {
    /// An empty member counts as absent.
    fn without_empty(mut self) -> Jwk {
        for member in [&mut self.usage, &mut self.alg, &mut self.kid, &mut self.crv] {
            if member.as_deref() == Some("") {
                *member = None;
            }
        }
        self
    }

    /// Whether it could have made a supported signature: RSA, EC or Ed25519, not for encryption.
    pub(super) fn is_expected(&self) -> bool {
        let known = match self.kty.as_str() {
            "RSA" => true,
            "EC" => self.crv.as_deref().is_none_or(|crv| Curve::named(crv).is_some()),
            "OKP" => self.crv.as_deref().is_none_or(|crv| crv == "Ed25519"),
            _ => false,
        };
        known && self.is_for("verify")
    }

    fn is_private(&self) -> bool {
        self.d.is_some() || self.k.is_some()
    }

    /// Whether `use` and `key_ops` (RFC 7517 §4.2, §4.3) allow `operation`.
    pub(super) fn is_for(&self, operation: &str) -> bool {
        self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == operation))
    }

    /// The public key; `None` if it is of an unknown kind or incomplete.
    pub(super) fn public(&self) -> Option<Public> {
        // RFC 7515 §2 has no padding; some write it.
        let bytes = |member: &Option<String>| from_base64url(member.as_deref()?.trim_end_matches('='));
        match self.kty.as_str() {
            "RSA" => Some(Public::Rsa { n: number(bytes(&self.n)?), e: number(bytes(&self.e)?) }),
            "EC" => {
                let curve = Curve::named(self.crv.as_deref()?)?;
                let coordinate = |member| sized(number(bytes(member)?), curve.size());
                let (x, y) = (coordinate(&self.x)?, coordinate(&self.y)?);
                Some(Public::Ec(curve, [&[4], x.as_slice(), y.as_slice()].concat()))
            }
            "OKP" if self.crv.as_deref() == Some("Ed25519") => {
                bytes(&self.x).filter(|x| x.len() == 32).map(Public::Ed25519)
            }
            _ => None,
        }
    }

    fn private(self) -> Result<Key, String> {
        let secret = |member: &Option<Zeroizing<String>>, name: &str| {
            let text = member.as_ref().ok_or_else(|| format!("is a JWK without `{name}`"))?;
            from_base64url(text).map(Zeroizing::new).ok_or_else(|| format!("is a JWK whose `{name}` is not base64url"))
        };
        let public = || self.public().ok_or("is a JWK whose public members are missing or damaged");
        let private = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => Private::Shared(secret(&self.k, "k")?),
            ("RSA", _) => {
                let Public::Rsa { n, e } = public()? else { return Err("is not an RSA key".into()) };
                let part = |member, name| secret(member, name).map(|bytes| Zeroizing::new(number(bytes.to_vec())));
                let (d, p, q) = (part(&self.d, "d")?, part(&self.p, "p")?, part(&self.q, "q")?);
                let (dp, dq, qi) = (part(&self.dp, "dp")?, part(&self.dq, "dq")?, part(&self.qi, "qi")?);
                Private::rsa(ring::rsa::KeyPair::from_components(&KeyPairComponents {
                    public_key: PublicKeyComponents { n, e },
                    d: d.as_slice(),
                    p: p.as_slice(),
                    q: q.as_slice(),
                    dP: dp.as_slice(),
                    dQ: dq.as_slice(),
                    qInv: qi.as_slice(),
                }))?
            }
            ("EC", Some(crv)) if Curve::named(crv).is_none() => return Err(super::pem::CURVE.into()),
            ("EC", _) => {
                let Public::Ec(curve, point) = public()? else { return Err("is not an EC key".into()) };
                Private::ec(curve, &secret(&self.d, "d")?, Some(&point))?
            }
            ("OKP", Some("Ed25519")) => {
                let Public::Ed25519(x) = public()? else { return Err("is not an Ed25519 key".into()) };
                Private::ed25519(&secret(&self.d, "d")?, Some(&x))?
            }
            ("OKP", _) => return Err(super::pem::CURVE.into()),
            _ => return Err("is a JWK of an unknown type (`kty`)".into()),
        };
        let algorithm = match &self.alg {
            None => None,
            Some(name) => match Algorithm::parse(name) {
                Some(algorithm) if private.algorithms(None).contains(&algorithm) => Some(algorithm),
                _ => return Err("is a JWK whose `alg` does not match its key type".into()),
            },
        };
        Ok(Key { private, id: self.kid, algorithm })
    }
}

/// A coordinate with the leading zeros that RFC 7518 §6.2.1.2 requires and some leave out; `None` if it has another
/// length.
fn sized(bytes: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    // More are missing only if it is the coordinate of another curve.
    let lacking = size.checked_sub(bytes.len()).filter(|lacking| *lacking <= 4)?;
    Some([vec![0; lacking], bytes].concat())
}

/// Without leading zeros, which RFC 7518 §2 forbids but some write.
fn number(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.drain(..zeros);
    bytes
}
