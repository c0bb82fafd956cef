//! TLS to a server or a proxy: rustls at ureq's transport seam, with a verifier that also takes a server's own
//! certificate where the user names it.

use super::transport::{UreqResult, buffers};
use crate::base::error::{Error, Kind, Result};
use p521::pkcs8::SubjectPublicKeyInfoRef;
use p521::pkcs8::der::Decode;
use p521::pkcs8::der::asn1::{SequenceOf, UintRef};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ALL_VERSIONS, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError,
    OtherError, RootCertStore, SignatureScheme, StreamOwned,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use ureq::unversioned::transport::time::Instant;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport, TransportAdapter};

/// The shortest accepted RSA key, in bits (ring's limit, and that of every browser).
pub(super) const SHORTEST_RSA: usize = 2048;

/// The verifier of a server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    /// rustls' own, or the platform's.
    inner: Arc<dyn ServerCertVerifier>,
    /// The certificates that the user named.
    named: Vec<CertificateDer<'static>>,
}

/// Why a certificate is rejected, if rustls' own error is not specific enough.
#[derive(Debug)]
pub(super) struct ShortKey(pub(super) usize);

impl fmt::Display for ShortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an RSA key of {} bits", self.0)
    }
}

impl std::error::Error for ShortKey {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Verifier {
    /// One that trusts `roots`, of which the user named `named`.
    pub(super) fn new(roots: &[CertificateDer<'static>], named: Vec<CertificateDer<'static>>) -> Result<Verifier> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let inner = WebPkiServerVerifier::builder_with_provider(store.into(), provider()).build();
        match inner {
            Ok(inner) => Ok(Verifier { inner, named }),
            Err(_) => Err(no_roots()),
        }
    }

    /// Apple's or Windows' own.
    #[cfg(any(target_os = "macos", windows))]
    pub(super) fn of_platform() -> Result<Verifier> {
        match rustls_platform_verifier::Verifier::new(provider()) {
            Ok(inner) => Ok(Verifier { inner: Arc::new(inner), named: Vec::new() }),
            Err(_) => Err(no_roots()),
        }
    }

    /// Where the signature of a key does not hold because the key is too short, says so.
    fn plainly(error: TlsError, certificates: &[&CertificateDer]) -> TlsError {
        if error != TlsError::InvalidCertificate(CertificateError::BadSignature) {
            return error;
        }
        match certificates.iter().find_map(|certificate| short_key(certificate)) {
            Some(bits) => {
                let why: Arc<dyn std::error::Error + Send + Sync> = Arc::new(ShortKey(bits));
                TlsError::InvalidCertificate(CertificateError::Other(OtherError(why)))
            }
            None => error,
        }
    }
}

fn no_roots() -> Error {
    Error::new(Kind::Config, "no server certificate can be verified", "no CA certificates found on this system")
        .hint("install the system's ca-certificates, or set SSL_CERT_FILE, or ca_file in the config")
}

/// The length of the certificate's RSA key in bits, if that is less than [`SHORTEST_RSA`].
fn short_key(certificate: &CertificateDer) -> Option<usize> {
    let info = ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info();
    let info = SubjectPublicKeyInfoRef::try_from(info.as_ref()).ok()?;
    // RFC 8017 appendix A.1.1
    let numbers = SequenceOf::<UintRef, 2>::from_der(info.subject_public_key.as_bytes()?).ok()?;
    let modulus = numbers.get(0)?.as_bytes();
    let unused = modulus.first()?.leading_zeros() as usize;
    Some((modulus.len() * 8).saturating_sub(unused)).filter(|bits| *bits < SHORTEST_RSA)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The server's own certificate, which the user named: one of `openssl req -x509`, which calls itself a CA,
            // or one of an unknown issuer. OpenSSL, and so curl, accepts these as well. Dates and purpose are checked,
            // as webpki looks at them before it looks for an issuer, and at the dates before anything else.
            Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)))
                if self.named.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => {
                let all: Vec<&CertificateDer> = std::iter::once(end_entity).chain(intermediates).collect();
                Err(Verifier::plainly(error, &all))
            }
            good => good,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, cert, dss).map_err(|error| Verifier::plainly(error, &[cert]))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls13_signature(message, cert, dss).map_err(|error| Verifier::plainly(error, &[cert]))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The rustls configuration of a connection: whom to trust, and the client certificate.
pub(super) fn client_config(
    verifier: Arc<Verifier>,
    client_certificate: Option<Arc<CertifiedKey>>,
) -> std::result::Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(ALL_VERSIONS)?
        .dangerous() // because the verifier is ours; it asks webpki or the platform
        .with_custom_certificate_verifier(verifier);
    Ok(Arc::new(match client_certificate {
        Some(client_certificate) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client_certificate)))
        }
        None => builder.with_no_client_auth(),
    }))
}

/// A connection in TLS.
pub(super) struct Tls {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Tls {
    /// Performs the handshake with `host` over `transport`.
    ///
    /// # Errors
    /// The io error may hold one of rustls or of ureq.
    pub(super) fn connect(
        config: Arc<ClientConfig>,
        host: &str,
        transport: impl Transport,
        timeout: NextTimeout,
    ) -> std::io::Result<Tls> {
        let name = ServerName::try_from(host.to_string()).map_err(std::io::Error::other)?;
        let mut conn = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
        let mut sock = TransportAdapter::new(transport.boxed(), Arc::new(Instant::now));
        sock.set_timeout(timeout);
        conn.complete_io(&mut sock)?;
        Ok(Tls { buffers: buffers(), stream: StreamOwned { conn, sock } })
    }
}

impl Transport for Tls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> UreqResult<()> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> UreqResult<bool> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
