//! The certificates that a client trusts as roots.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use super::TrustError;

/// What a server shows, and what for.
pub(super) struct Presented<'a> {
    pub(super) end_entity: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) name: &'a ServerName<'a>,
    pub(super) now: UnixTime,
}

impl Presented<'_> {
    fn verify(&self, verifier: &WebPkiServerVerifier) -> Result<(), Error> {
        let Self { end_entity, intermediates, name, now } = self;
        verifier.verify_server_cert(end_entity, intermediates, name, &[], *now).map(drop)
    }
}

/// Certificates of a PEM file.
#[derive(Debug)]
pub(super) struct NamedRoots {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl NamedRoots {
    /// Reads every certificate of a PEM file.
    pub(super) fn read(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, TrustError> {
        let fault = |reason: String| TrustError::File { path: path.to_owned(), reason };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| fault(error.to_string()))?;
        if certificates.is_empty() {
            return Err(fault("there is no PEM certificate in it".into()));
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|error| fault(error.to_string()))?;
        }
        let verifier = verifier(store, provider).ok_or_else(|| fault("it is not usable".into()))?;
        Ok(Self { certificates, verifier })
    }

    pub(super) fn verify(&self, shown: &Presented<'_>) -> Result<(), Error> {
        match shown.verify(&self.verifier) {
            // A self-signed certificate that calls itself an authority, as openssl makes them, is
            // good for itself if the user named this very one. Its dates have been looked at.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.contains(shown.end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(shown.end_entity)?, shown.name)
            }
            judged => judged,
        }
    }
}

/// The system's roots, and beside them the certificate that a server on this machine made for
/// itself. The system has hundreds, which take longer to read than a handshake does, so they are
/// read when the other does not help.
#[derive(Debug)]
pub(super) struct SystemRoots {
    provider: Arc<CryptoProvider>,
    own: Option<PathBuf>,
    system: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl SystemRoots {
    pub(super) fn new(own: Option<PathBuf>, provider: &Arc<CryptoProvider>) -> Self {
        Self { provider: provider.clone(), own, system: OnceLock::new() }
    }

    /// The own certificate is read anew each time: a server that was started at the same moment
    /// may have made it only just before it showed it.
    pub(super) fn verify(&self, shown: &Presented<'_>) -> Result<(), Error> {
        let own = self.own.as_deref().and_then(|own| NamedRoots::read(own, &self.provider).ok());
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        match own.map_or(Err(unknown), |own| own.verify(shown)) {
            Err(error) if is_unknown_issuer(&error) => {
                self.system().map_or(Err(error), |system| shown.verify(system))
            }
            judged => judged,
        }
    }

    fn system(&self) -> Option<&WebPkiServerVerifier> {
        let load = || {
            let mut store = RootCertStore::empty();
            // A root that cannot be parsed must not hide the others.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            verifier(store, &self.provider)
        };
        self.system.get_or_init(load).as_deref()
    }
}

/// A verifier for these roots, if there are any.
pub(super) fn verifier(
    store: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Option<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build().ok()
}

/// Whether no root vouches for a certificate. A bad signature is an issuer of the same name that
/// is not the trusted one: every certificate that quicstream makes for itself has the same name.
pub(super) fn is_unknown_issuer(error: &Error) -> bool {
    use CertificateError::{BadSignature, UnknownIssuer};
    matches!(error, Error::InvalidCertificate(UnknownIssuer | BadSignature))
}
