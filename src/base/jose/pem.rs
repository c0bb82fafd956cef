//! Keys and certificates as PEM (RFC 7468): PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 appendix A.1.2), SEC 1 (RFC 5915).

use super::base64url;
use super::key::Private;
use super::public::{Curve, EC_OID, ED25519_OID, RSA_OID};
use p521::pkcs8::der::Decode;
use p521::pkcs8::der::asn1::OctetStringRef;
use p521::pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

/// A key on a curve that is not supported.
pub(super) const CURVE: &str = "is a key on an unsupported curve; P-256, P-384, P-521 and Ed25519 are supported";
const DAMAGED: &str = "is a damaged key: its PEM content cannot be read";
const ENCRYPTED: &str =
    "is an encrypted key; `openssl pkey -in key.pem -out plain.pem` removes the passphrase: use plain.pem";
const OPENSSH: &str = "is a key in OpenSSH's own format; `ssh-keygen -p -m PEM -f copy` rewrites a copy of an RSA or \
                       ECDSA key, `openssl genpkey -algorithm ed25519` makes an Ed25519 key";

/// PEM with its lines: in a variable they are often joined, by `\n` as two characters or by spaces.
pub fn unfold(text: &str) -> Zeroizing<String> {
    let text = text.trim_start_matches('\u{feff}');
    let bare = Zeroizing::new(text.replace("\\r", ""));
    let text = Zeroizing::new(bare.replace("\\n", "\n"));
    if text.trim().contains('\n') || !text.contains("-----BEGIN ") {
        return text;
    }
    let mut lines = Zeroizing::new(String::with_capacity(text.len() * 2));
    for part in text.split("-----") {
        let is_mark = part.starts_with("BEGIN ") || part.starts_with("END ");
        let hyphens = if is_mark { "-----" } else { "" };
        for line in if is_mark { vec![part] } else { part.split_whitespace().collect() } {
            lines.extend([hyphens, line, hyphens, "\n"]);
        }
    }
    lines
}

/// The one private key in `text`, which may also contain certificates and other text.
///
/// # Errors
/// What is wrong, in words that follow the name of the value.
pub(super) fn private(text: &str) -> Result<Private, String> {
    let text = &unfold(text);
    let begins = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    // What the PEM reader skips or calls damaged.
    if begins("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ENCRYPTED.into());
    }
    if begins("OPENSSH PRIVATE KEY") {
        return Err(OPENSSH.into());
    }
    if begins("DSA PRIVATE KEY") {
        return Err("is a DSA key; RSA, EC and Ed25519 keys are supported".into());
    }
    let (mut found, mut other) = (None, None);
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(|_| DAMAGED)?;
        let der = Zeroizing::new(der);
        match kind {
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                if found.replace((kind, der)).is_some() {
                    return Err("contains several private keys; keep only the one to use".into());
                }
            }
            kind => other = other.or(Some(kind)),
        }
    }
    match (found, other) {
        (Some((SectionKind::PrivateKey, der)), _) => pkcs8(&der),
        (Some((SectionKind::RsaPrivateKey, der)), _) => Private::rsa(ring::rsa::KeyPair::from_der(&der)),
        (Some((_, der)), _) => sec1(&der, None),
        (None, Some(SectionKind::Certificate)) => Err("is a certificate; its private key is needed".into()),
        (None, Some(SectionKind::Csr)) => Err("is a certificate request; its private key is needed".into()),
        (None, Some(SectionKind::PublicKey)) => Err("is a public key; the private key is needed".into()),
        (None, _) if begins("RSA PUBLIC KEY") => Err("is a public key; the private key is needed".into()),
        (None, _) => Err("is PEM, but contains no private key".into()),
    }
}

fn pkcs8(der: &[u8]) -> Result<Private, String> {
    let info = PrivateKeyInfo::try_from(der).map_err(|_| DAMAGED)?;
    match info.algorithm.oid {
        RSA_OID => Private::rsa(ring::rsa::KeyPair::from_der(info.private_key)),
        EC_OID => sec1(info.private_key, Some(info.algorithm.parameters_oid().map_err(|_| CURVE)?)),
        ED25519_OID => {
            let seed = OctetStringRef::from_der(info.private_key).map_err(|_| DAMAGED)?;
            Private::ed25519(seed.as_bytes(), None)
        }
        _ => Err("is a key of an unsupported kind; RSA, EC and Ed25519 keys are supported".into()),
    }
}

/// `curve` is that of the PKCS#8 around it; alone, the key names it itself.
fn sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Private, String> {
    let key = EcPrivateKey::from_der(der).map_err(|_| DAMAGED)?;
    let own = key.parameters.map(|EcParameters::NamedCurve(oid)| oid);
    let oid = curve.or(own).ok_or("is an EC key that does not name its curve")?;
    let curve = Curve::of(oid).ok_or(CURVE)?;
    Private::ec(curve, key.private_key, key.public_key)
}

/// `x5t#S256` of the first certificate in `pem`: SHA-256 of its DER, base64url (RFC 7515 §4.1.8, RFC 8705 §3.1).
///
/// # Errors
/// What is wrong, in words that follow the name of the value.
pub fn certificate_thumbprint(pem: &str) -> Result<String, String> {
    match CertificateDer::pem_slice_iter(unfold(pem).as_bytes()).next() {
        Some(Ok(der)) => Ok(base64url(ring::digest::digest(&ring::digest::SHA256, &der).as_ref())),
        Some(Err(_)) => Err("is a damaged certificate".into()),
        None => Err("contains no certificate".into()),
    }
}

/// The certificates in `pem` in their order, each as the Base64 of its DER: `x5c` (RFC 7515 §4.1.6).
///
/// # Errors
/// What is wrong, in words that follow the name of the value.
pub fn certificate_chain(pem: &str) -> Result<Vec<String>, String> {
    use base64::Engine;
    let text = unfold(pem);
    let encoded = CertificateDer::pem_slice_iter(text.as_bytes()).map(|der| {
        der.map(|der| base64::engine::general_purpose::STANDARD.encode(der.as_ref()))
            .map_err(|_| "is a damaged certificate".to_string())
    });
    match encoded.collect::<Result<Vec<_>, _>>()? {
        all if all.is_empty() => Err("contains no certificate".into()),
        all => Ok(all),
    }
}
