//! The client certificate for mutual TLS (RFC 8705 §2).

use crate::base::error::{Error, Kind, Result};
use crate::base::jose::unfold;
use crate::oauth::request::ClientCertificate;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::Arc;
use zeroize::Zeroize;

/// Reads certificate and key, and checks that they match.
///
/// # Errors
/// As [`super::check_client_certificate`].
pub(super) fn load(client_certificate: &ClientCertificate) -> Result<Arc<CertifiedKey>> {
    let wrong = |what: &str, why: &str| Error::new(Kind::Config, what, why);
    let of_certificate = |why: &str| {
        wrong("the client certificate cannot be used", why)
            .hint("give a PEM file (-----BEGIN CERTIFICATE-----) with the client's own certificate first")
    };
    let of_key = |why: &str| wrong("the key of the client certificate cannot be used", why);
    // Some editors put a byte order mark first; with it, the first certificate would be skipped.
    let certificate = unfold(&client_certificate.certificate.replace('\u{feff}', ""));
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|_| of_certificate("it is not valid PEM"))?;
    if chain.is_empty() {
        return Err(of_certificate("its file contains no certificate"));
    }
    let pem = unfold(client_certificate.key.expose());
    if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            of_key("it is encrypted with a passphrase").hint("remove the passphrase: openssl pkey -in KEY -out PLAIN")
        );
    }
    let Ok(mut der) = PrivateKeyDer::from_pem_slice(pem.as_bytes()) else {
        return Err(of_key("its file contains no readable private key")
            .hint("give a key in PEM form: PKCS#8 (-----BEGIN PRIVATE KEY-----), PKCS#1 or SEC1"));
    };
    let signer = any_supported_type(&der);
    der.zeroize();
    let Ok(signer) = signer else {
        return Err(
            of_key("it is unsupported or damaged").hint("use RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519")
        );
    };
    let fits = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], signer.clone()).keys_match()
    };
    match fits(&chain[0]) {
        // Nothing to compare with.
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(TlsError::InconsistentKeys(_)) => {
            let hint = match chain.iter().position(|certificate| fits(certificate).is_ok()) {
                Some(at) => format!("put the client's own certificate first in its file; it is number {}", at + 1),
                None => "give the private key of the certificate".into(),
            };
            let what = "the client certificate cannot be used";
            return Err(wrong(what, "the certificate and the key do not match").hint(hint));
        }
        Err(_) => return Err(of_certificate("the first certificate in it cannot be read")),
    }
    Ok(Arc::new(CertifiedKey::new(chain, signer)))
}
