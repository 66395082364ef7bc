//! What a server proves who it is with.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate::lock_directory;
use super::{Certificate, CertificateError, Fingerprint, ValidityProblem, validity};

/// A certificate chain, the server's own certificate first, and the private key that belongs to it.
#[derive(Debug)]
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both from PEM files. Whether they belong together shows when an endpoint uses them.
    ///
    /// # Errors
    /// [`CertificateError::Missing`], [`Read`](CertificateError::Read),
    /// [`NotPem`](CertificateError::NotPem), [`NoCertificate`](CertificateError::NoCertificate)
    /// and [`NoKey`](CertificateError::NoKey).
    pub fn load(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        if !exists(cert)? && !exists(key)? {
            let (cert, key) = (cert.to_owned(), key.to_owned());
            return Err(CertificateError::Missing { cert, key });
        }
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(cert)?)
            .collect::<Result<_, _>>()
            .map_err(|error| not_pem(cert, error))?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate(cert.to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificateError::NoKey(key.to_owned()),
            error => not_pem(key, error),
        })?;
        Ok(Self { chain, key })
    }

    /// Reads both, or makes them for [`Certificate::LOCAL_NAMES`] if both are missing. Processes
    /// that do this at the same time end with the same pair.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`Certificate::write`], and
    /// [`CertificateError::Incomplete`] if one of them is missing.
    pub fn load_or_create(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        if let Ok(identity) = Self::load(cert, key) {
            return Ok(identity);
        }
        // Another process may just be writing them, so what is missing is judged in turn.
        let _turn = lock_directory(cert, key)?;
        let incomplete = |missing: &Path, present: &Path| {
            let (missing, present) = (missing.to_owned(), present.to_owned());
            Err(CertificateError::Incomplete { missing, present })
        };
        match (exists(cert)?, exists(key)?) {
            (true, true) => Self::load(cert, key),
            (true, false) => incomplete(key, cert),
            (false, true) => incomplete(cert, key),
            (false, false) => {
                let names = Certificate::LOCAL_NAMES.map(String::from);
                let certificate = Certificate::self_signed(&names, Certificate::DAYS)?;
                certificate.create(cert, key)?;
                Ok(certificate.into())
            }
        }
    }

    /// What is wrong with the dates of the server's own certificate, or will be within `margin`.
    pub fn doubt(&self, margin: Duration) -> Option<ValidityProblem> {
        validity::doubt(self.chain.first()?, SystemTime::now(), margin)
    }

    /// The name that clients pin it by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.chain.first().map_or(&[], |leaf| leaf))
    }
}

impl From<Certificate> for Identity {
    fn from(Certificate { certificate, key }: Certificate) -> Self {
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Self { chain: vec![certificate.into()], key: key.into() }
    }
}

/// Unlike [`Path::exists`], this tells a file that is missing from one that may not be looked for.
fn exists(path: &Path) -> Result<bool, CertificateError> {
    path.try_exists().map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn not_pem(path: &Path, error: pem::Error) -> CertificateError {
    CertificateError::NotPem { path: path.to_owned(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn files(directory: &Path) -> (PathBuf, PathBuf) {
        (directory.join("cert.pem"), directory.join("key.pem"))
    }

    fn is_private_key_of(identity: &Identity) -> bool {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key).unwrap();
        let chain = identity.chain.clone();
        rustls::sign::CertifiedKey::new(chain, key).keys_match().is_ok()
    }

    #[test]
    fn a_pair_is_made_once_and_then_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = files(&directory.path().join("state/quicstream"));
        let made = Identity::load_or_create(&cert, &key).unwrap();
        let loaded = Identity::load_or_create(&cert, &key).unwrap();
        assert_eq!(made.fingerprint(), loaded.fingerprint());
        assert!(is_private_key_of(&made) && is_private_key_of(&loaded));
    }

    #[test]
    fn all_who_race_for_the_first_pair_end_with_the_same_one() {
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let (cert, key) = files(&directory.path().join("state"));
            let start = std::sync::Barrier::new(8);
            let race = || {
                start.wait();
                Identity::load_or_create(&cert, &key).unwrap()
            };
            let identities: Vec<_> = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            let on_disk = Identity::load(&cert, &key).unwrap().fingerprint();
            for identity in &identities {
                assert_eq!(identity.fingerprint(), on_disk);
                assert!(is_private_key_of(identity));
            }
        }
    }

    #[test]
    fn half_a_pair_is_an_error_that_names_the_missing_file_and_makes_nothing() {
        for missing in ["cert.pem", "key.pem"] {
            let directory = tempfile::tempdir().unwrap();
            let (cert, key) = files(directory.path());
            Identity::load_or_create(&cert, &key).unwrap();
            let missing = directory.path().join(missing);
            fs::remove_file(&missing).unwrap();
            let error = Identity::load_or_create(&cert, &key).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} is missing", missing.display())), "{error}");
            assert!(!missing.exists());
        }
    }

    #[test]
    fn a_file_without_what_it_should_hold_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = files(directory.path());
        Identity::load_or_create(&cert, &key).unwrap();
        let nowhere = directory.path().join("nowhere.pem");
        let cut = directory.path().join("cut.pem");
        fs::write(&cut, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();

        let problem = |cert: &Path, key: &Path| Identity::load(cert, key).unwrap_err();
        use CertificateError::*;
        assert!(matches!(problem(&key, &key), NoCertificate(path) if path == key));
        assert!(matches!(problem(&cert, &cert), NoKey(path) if path == cert));
        assert!(matches!(problem(&nowhere, &key), Read { path, .. } if path == nowhere));
        assert!(matches!(problem(&cert, &nowhere), Read { path, .. } if path == nowhere));
        assert!(matches!(problem(&cut, &key), NotPem { path, .. } if path == cut));
        assert!(matches!(Identity::load_or_create(&cut, &key), Err(NotPem { .. })));
    }

    #[test]
    fn a_certificate_in_memory_is_an_identity_too() {
        let certificate = Certificate::self_signed(&["localhost".into()], 1).unwrap();
        let fingerprint = certificate.fingerprint();
        let identity = Identity::from(certificate);
        assert_eq!(identity.fingerprint(), fingerprint);
        assert!(is_private_key_of(&identity));
    }
}
