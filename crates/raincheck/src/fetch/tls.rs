//! Whom to trust, and who we are.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{FetchError, connect::Stream};

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What is agreed on before a secure connection is used.
#[derive(Clone)]
pub(super) struct TlsSettings {
    pub(super) trust: Trust,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) http2: Http2,
}

/// When HTTP/2 is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// With servers that choose it when a secure connection is agreed on.
    #[default]
    Offer,
    /// With none.
    Never,
    /// With all, also without TLS: it is known that they speak nothing else, or can do without HTTP/1.1.
    Always,
}

/// Whose certificates are believed.
#[derive(Clone)]
pub(super) enum Trust {
    /// Those that the system trusts.
    System,
    /// Those signed by these, and no others.
    Roots(Arc<RootCertStore>),
    /// Any.
    Anyone,
}

/// A certificate that says who we are, and the key to it.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Makes secure connections.
pub(super) struct Tls {
    settings: TlsSettings,
    // Reading the system's certificates takes milliseconds, which is for those who need them.
    connector: OnceLock<Result<TlsConnector, String>>,
}

impl Tls {
    pub(super) fn new(settings: TlsSettings) -> Self {
        Self { settings, connector: OnceLock::new() }
    }

    /// When connections are shared by many requests.
    pub(super) fn http2(&self) -> Http2 {
        self.settings.http2
    }

    /// Makes `stream` a secure connection to `host`.
    pub(super) async fn secure(&self, host: &str, stream: Stream) -> Result<TlsStream<Stream>, FetchError> {
        let failed = |reason: String| FetchError::Tls { host: host.to_owned(), reason };
        let connector = self.connector.get_or_init(|| connector(&self.settings)).clone().map_err(failed)?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| failed("the name cannot be in a certificate".into()))?;
        connector.connect(name, stream).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => failed("closed in the middle of the handshake".into()),
            _ if is_no_tls(&error) => failed("what answers there does not speak TLS; is it `http://`?".into()),
            _ => failed(error.to_string()),
        })
    }
}

/// Whether what came was no message of TLS, as when a server answers in the clear.
fn is_no_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

/// Whether both sides agreed on HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<Stream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// Certificates from a file of PEM.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, FetchError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| FetchError::invalid(format_args!("not a root certificate: {error}")))?;
    }
    Ok(roots)
}

impl Identity {
    /// A certificate with what leads to its root, and its key, both as PEM; they may be in one file.
    pub(super) fn new(chain: &[u8], key: &[u8]) -> Result<Self, FetchError> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| FetchError::invalid(format_args!("no private key in the PEM: {error}")))?;
        Ok(Self { chain: certificates(chain)?, key })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FetchError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| FetchError::invalid(format_args!("the certificate does not parse: {error}")))?;
    if certificates.is_empty() {
        return Err(FetchError::invalid("no certificate in the PEM"));
    }
    Ok(certificates)
}

fn connector(settings: &TlsSettings) -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &settings.trust {
        Trust::System => {
            let verifier = Verifier::new(provider).map_err(|error| error.to_string())?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Trust::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
    };
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|error| error.to_string())?,
    };
    config.alpn_protocols = match settings.http2 {
        Http2::Offer => vec![HTTP2.to_vec(), HTTP1.to_vec()],
        Http2::Never => vec![HTTP1.to_vec()],
        Http2::Always => vec![HTTP2.to_vec()],
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Believes any certificate, and still asks for a proper signature.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
