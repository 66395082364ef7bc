//! Whom to trust, and TLS as QUIC wants it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, KeyLogFile, ServerConfig,
    SignatureScheme, version,
};

use super::roots::{NamedRoots, Presented, SystemRoots, is_unknown_issuer};
use super::{ActiveIdentity, Fingerprint};
use crate::protocol::Version;

/// Whose certificate a client accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// One that carries the server's name and chains up to a root of the system.
    System {
        /// A PEM file whose certificates are trusted beside them, if it is there when a server
        /// shows its own.
        own: Option<PathBuf>,
    },
    /// One that carries the server's name and chains up to a certificate in this PEM file.
    Ca(PathBuf),
    /// One with such a fingerprint, whatever its name, dates and issuer.
    Pins(Vec<Fingerprint>),
    /// Any: the connection is encrypted, to nobody knows whom.
    Insecure,
}

/// Trust or identity that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of trusted certificates cannot be read.
    #[error("cannot read the trusted certificate {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A name is neither a DNS name nor an IP address.
    #[error("{0:?} is not a name that a certificate can carry; give one with --server-name")]
    Name(String),
    /// A server's certificate and key were not made together.
    #[error("the private key does not belong to the certificate: name two files that do")]
    KeyMismatch,
    /// rustls refuses the material.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The server's certificate was seen and not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}\n  its SHA-256 fingerprint is {fingerprint}\n  {advice}")]
pub struct Untrusted {
    /// What is wrong with it.
    reason: String,
    /// Which one it is.
    pub fingerprint: Fingerprint,
    /// What to do about it.
    advice: String,
}

/// What the verifier saw during a handshake; QUIC itself reports no more than an alert number.
#[derive(Debug, Clone, Default)]
pub(super) struct VerdictCell(Arc<Mutex<Option<Result<Fingerprint, Untrusted>>>>);

impl VerdictCell {
    pub(super) fn verdict(&self) -> Option<Result<Fingerprint, Untrusted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, verdict: Result<Fingerprint, Untrusted>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }
}

/// TLS for a client that offers `versions`, and where to look after a handshake.
pub(super) fn client_config(
    trust: &Trust,
    versions: &[Version],
) -> Result<(ClientConfig, VerdictCell), TrustError> {
    let provider = provider();
    let seen = VerdictCell::default();
    let verifier = Verifier {
        policy: Policy::new(trust, &provider)?,
        provider: provider.clone(),
        seen: seen.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = alpn(versions);
    config.key_log = Arc::new(KeyLogFile::new());
    Ok((config, seen))
}

/// TLS for a server that shows this identity, speaking every version.
pub(super) fn server_config(identity: &ActiveIdentity) -> Result<ServerConfig, TrustError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = alpn(&Version::ALL);
    config.key_log = Arc::new(KeyLogFile::new());
    Ok(config)
}

/// aws-lc-rs with AES-128 first: the strength is ample and it is the fastest per byte.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() })
}

/// What was pinned, in words.
fn which_was_pinned(pinned: &[Fingerprint]) -> String {
    let listed: Vec<_> = pinned.iter().map(ToString::to_string).collect();
    let which = if listed.len() == 1 { "the one that was" } else { "one of those that were" };
    format!("{which} pinned ({})", listed.join(", "))
}

fn alpn(versions: &[Version]) -> Vec<Vec<u8>> {
    versions.iter().map(|version| version.alpn().as_bytes().to_vec()).collect()
}

/// The ways to judge a certificate.
#[derive(Debug)]
enum Policy {
    System(SystemRoots),
    Ca(NamedRoots),
    Pins(Vec<Fingerprint>),
    Insecure,
}

impl Policy {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, TrustError> {
        match trust {
            Trust::System { own } => Ok(Self::System(SystemRoots::new(own.clone(), provider))),
            Trust::Ca(path) => NamedRoots::read(path, provider).map(Self::Ca),
            Trust::Pins(fingerprints) => Ok(Self::Pins(fingerprints.clone())),
            Trust::Insecure => Ok(Self::Insecure),
        }
    }
}

/// Judges the certificate by the policy and remembers what it saw. The handshake's signature is
/// verified whatever the policy: only the holder of the key gets through.
#[derive(Debug)]
struct Verifier {
    policy: Policy,
    provider: Arc<CryptoProvider>,
    seen: VerdictCell,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(end_entity);
        let shown = Presented { end_entity, intermediates, name: server_name, now };
        let with_advice = |error: rustls::Error| {
            let (reason, advice) = explain(&error, server_name);
            let pin = format!("if this is the server you mean, add: --pin {fingerprint}");
            (error, reason, advice.unwrap_or_default() + &pin)
        };
        let judged = match &self.policy {
            Policy::Insecure => Ok(()),
            Policy::Pins(pinned) if pinned.contains(&fingerprint) => Ok(()),
            Policy::Pins(pinned) => Err((
                rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure),
                format!("the server's certificate is not {}", which_was_pinned(pinned)),
                "the server has a new certificate, or somebody else answers in its name: ask its \
                 owner which fingerprint is right"
                    .to_owned(),
            )),
            Policy::System(roots) => roots.verify(&shown).map_err(with_advice),
            Policy::Ca(roots) => roots.verify(&shown).map_err(with_advice),
        };
        match judged {
            Ok(()) => {
                self.seen.note(Ok(fingerprint));
                Ok(ServerCertVerified::assertion())
            }
            Err((error, reason, advice)) => {
                self.seen.note(Err(Untrusted { reason, fingerprint, advice }));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has no TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A refusal of webpki in words, with what helps against it beside a pin.
fn explain(error: &rustls::Error, name: &ServerName<'_>) -> (String, Option<String>) {
    let name = match name {
        ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
        name => name.to_str().into_owned(),
    };
    match error {
        error if is_unknown_issuer(error) => (
            "the server's certificate is not trusted: no trusted root vouches for it".into(),
            Some("copy the server's certificate here and name it with --ca FILE, or\n  ".into()),
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => (
            format!("the server's certificate is trusted, but is not for {name:?}"),
            Some("name one that it carries with --server-name NAME, or\n  ".into()),
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => (
            "the server's certificate has expired".into(),
            Some("make a new one there with: quicstream gen-cert --force, or\n  ".into()),
        ),
        error => (format!("the server's certificate is not trusted: {error}"), None),
    }
}
