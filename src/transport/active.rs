//! The identity that a server shows at the moment.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::tls::{self, TrustError};
use super::{Error, Identity};

/// The certificate and key for the next handshake. They can be exchanged while a server runs;
/// connections that are open, or being opened, keep what they began with.
#[derive(Debug, Clone)]
pub struct ActiveIdentity(Arc<RwLock<Arc<CertifiedKey>>>);

impl ActiveIdentity {
    /// Shows this identity.
    ///
    /// # Errors
    /// [`Error::Tls`] if the certificate and the key do not fit.
    pub fn new(identity: &Identity) -> Result<Self, Error> {
        Ok(Self(Arc::new(RwLock::new(certified(identity)?))))
    }

    /// Shows another from now on.
    ///
    /// # Errors
    /// [`Error::Tls`] if the certificate and the key do not fit; the one before stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), Error> {
        let certified = certified(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }
}

impl ResolvesServerCert for ActiveIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, TrustError> {
    let key = identity.key.clone_key();
    let certified = CertifiedKey::from_der(identity.chain.clone(), key, &tls::provider());
    certified.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TrustError::KeyMismatch,
        error => error.into(),
    })
}
