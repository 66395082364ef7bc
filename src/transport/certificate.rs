//! stub
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
/// stub
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}
impl Identity {
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}
