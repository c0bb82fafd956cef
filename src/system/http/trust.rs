//! Which certificates are trusted: the system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and `ca_file`'s
//! besides.

use super::NetworkSettings;
use super::tls::Verifier;
use crate::base::error::{Error, Kind, Result};
use crate::base::text::escape;
use crate::system::files;
use rustls_native_certs::CertificateResult;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::path::Path;

type Certificates = Vec<CertificateDer<'static>>;

/// The verifier of server certificates, with the config's `ca_file` and the certificates of `ca_pem` in addition to
/// `settings`.
///
/// # Errors
/// [`Kind::Config`] if `ca_file` or `SSL_CERT_FILE` cannot be read or holds no certificate, and if there is
/// none at all.
pub(super) fn load(settings: &NetworkSettings, ca_file: Option<&Path>, ca_pem: Option<&str>) -> Result<Verifier> {
    let of_file = ca_file.map(|path| read_ca_file(path, settings)).transpose()?;
    let of_pem = ca_pem.map(|pem| parse("the CA", Path::new("certificate"), pem.as_bytes())).transpose()?;
    let of_config = match (of_file, of_pem) {
        (None, None) => None,
        (file, pem) => Some(file.into_iter().chain(pem).flatten().collect::<Certificates>()),
    };
    let of_env = from_env(settings)?;
    // Apple's and Windows' own verifiers know more than a list (revocation, an administrator's distrust), but a
    // certificate cannot be added to them.
    #[cfg(any(target_os = "macos", windows))]
    if of_config.is_none() && of_env.is_none() {
        return Verifier::of_platform();
    }
    let of_config = of_config.unwrap_or_default();
    let mut named = of_env.clone().unwrap_or_default();
    named.extend(of_config.iter().cloned());
    let mut roots = of_env.unwrap_or_else(of_system);
    roots.extend(of_config);
    Verifier::new(&roots, named)
}

/// The certificates that the two variables name, which replace the system's (OpenSSL's convention).
fn from_env(settings: &NetworkSettings) -> Result<Option<Certificates>> {
    if settings.ssl_cert_file.is_none() && settings.ssl_cert_dir.is_empty() {
        return Ok(None);
    }
    let mut certificates = match &settings.ssl_cert_file {
        Some(file) => {
            let text = std::fs::read(file).map_err(|error| unusable("SSL_CERT_FILE", file, files::why(&error)))?;
            parse("SSL_CERT_FILE", file, &text)?
        }
        None => Vec::new(),
    };
    let mut why = String::from("no certificate in it");
    for dir in &settings.ssl_cert_dir {
        let mut found = rustls_native_certs::load_certs_from_paths(None, Some(dir));
        if let Some(error) = found.errors.pop() {
            why = escape(&error.to_string());
        }
        certificates.append(&mut found.certs);
    }
    if certificates.is_empty() {
        let hint = "set SSL_CERT_DIR to folders of certificates in PEM form, or unset it";
        return Err(Error::new(Kind::Config, "SSL_CERT_DIR cannot be used", why).hint(hint));
    }
    Ok(Some(certificates))
}

/// The most that a `ca_file` may hold, in bytes: some thousand certificates.
const LIMIT: u64 = 16 << 20;

/// The certificates of the config's `ca_file`. Whoever can write to it can play every server.
fn read_ca_file(path: &Path, settings: &NetworkSettings) -> Result<Certificates> {
    let fail = |why: String| unusable("ca_file", path, why);
    match files::read_trusted(path, LIMIT) {
        Ok(Some((text, _))) => parse("ca_file", path, &text),
        Ok(None) => Err(fail("no such file".into())),
        Err(error) => {
            let hint = match &error {
                files::TrustError::Untrusted(untrusted) => untrusted.hint(settings.sudo),
                _ => None,
            };
            let error = fail(error.to_string());
            Err(hint.map_or(error.clone(), |hint| error.hint(hint)))
        }
    }
}

fn unusable(setting: &str, path: &Path, why: String) -> Error {
    Error::new(Kind::Config, format!("{setting} {} cannot be used", escape(&path.display().to_string())), why)
        .hint(format!("set {setting} to a file of certificates in PEM form, or unset it"))
}

/// The certificates in `text`, the content of the file that `setting` names.
fn parse(setting: &str, path: &Path, text: &[u8]) -> Result<Certificates> {
    let fail = |why: &str| unusable(setting, path, why.into());
    let certificates = CertificateDer::pem_slice_iter(&without_marks(text))
        .collect::<std::result::Result<Certificates, _>>()
        .map_err(|_| fail("it is not valid PEM"))?;
    // rustls silently skips what it cannot read; a file of nothing else would make every server untrusted.
    let (readable, _) =
        rustls::RootCertStore::empty().add_parsable_certificates(certificates.iter().map(|c| c.as_ref().into()));
    match readable {
        0 => Err(fail("no certificate in it")),
        _ => Ok(certificates),
    }
}

/// `text` without the byte order marks that some editors put first, and that stand in the middle once such files are
/// joined: the certificate after one would be skipped.
fn without_marks(text: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let mut rest = text;
    let mut plain = Vec::with_capacity(text.len());
    while let Some(at) = memchr::memmem::find(rest, MARK) {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    plain.extend_from_slice(rest);
    plain
}

/// The system's certificates. Of the many places only the first bundle is read: a folder beside it holds the same
/// certificates again in 140 files, which takes longer than the request.
#[cfg(all(unix, not(target_os = "macos")))]
fn of_system() -> Certificates {
    let places = openssl_probe::probe();
    let CertificateResult { mut certs, .. } =
        rustls_native_certs::load_certs_from_paths(places.cert_file.as_deref(), None);
    for dir in places.cert_dir {
        if !certs.is_empty() {
            break;
        }
        certs = rustls_native_certs::load_certs_from_paths(None, Some(&dir)).certs;
    }
    certs
}

/// The system's certificates.
#[cfg(not(all(unix, not(target_os = "macos"))))]
fn of_system() -> Certificates {
    let CertificateResult { certs, .. } = rustls_native_certs::load_native_certs();
    certs
}
