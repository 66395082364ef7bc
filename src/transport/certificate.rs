//! Self-signed certificates, and how they get to disk.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::ServerName;
use tempfile::NamedTempFile;
use time::{Duration, OffsetDateTime};

use super::Fingerprint;

/// Clocks differ: a certificate made now must be valid on a machine that is a little behind.
const BACKDATED: Duration = Duration::minutes(5);

/// Whether a text is a DNS name or an IP address, as a client expects it in a certificate.
pub fn is_server_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

/// What can go wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate could not be made.
    #[error("cannot make a certificate")]
    Generate(#[from] rcgen::Error),
    /// The certificate would be valid beyond the calendar.
    #[error("a certificate cannot be valid for {0} days: ask for less")]
    TooLong(u32),
    /// A file is in the way.
    #[error("{} is there already: pass --force to replace it, or name another file", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or its directory cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither of two files that were named is there.
    #[error(
        "neither {} nor {} is there: name files that are, or make them with: quicstream gen-cert \
         --cert {} --key {}",
        .cert.display(), .key.display(), .cert.display(), .key.display()
    )]
    Missing {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file holds no certificate.
    #[error("no certificate in {}: it has to be PEM, -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// A file holds no private key.
    #[error(
        "no private key in {}: it has to be PEM without a password, -----BEGIN PRIVATE KEY-----",
        .0.display()
    )]
    NoKey(PathBuf),
    /// A file is not PEM.
    #[error("{} is not a PEM file: {problem}", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate and its key belong together, and only one of them is there.
    #[error(
        "{} is missing while {} is there: bring it back, or remove the other to have both made new",
        .missing.display(), .present.display()
    )]
    Incomplete {
        /// The file that is not there.
        missing: PathBuf,
        /// The file that is.
        present: PathBuf,
    },
}

/// A new self-signed certificate and its key, in memory.
#[derive(Debug)]
pub struct Certificate {
    pub(super) certificate: rcgen::Certificate,
    pub(super) key: KeyPair,
}

impl Certificate {
    /// The names under which a machine reaches itself.
    pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
    /// How long a certificate is valid where nothing else is said, days.
    pub const DAYS: u32 = 365;

    /// A certificate for these DNS names and IP addresses, valid for `days` from now, with a new
    /// ECDSA P-256 key.
    ///
    /// # Errors
    /// [`CertificateError::Generate`] and [`CertificateError::TooLong`].
    pub fn self_signed(names: &[String], days: u32) -> Result<Self, CertificateError> {
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::new(names)?;
        params.not_before = now - BACKDATED;
        params.not_after =
            now.checked_add(Duration::days(days.into())).ok_or(CertificateError::TooLong(days))?;
        params.serial_number = Some(random_serial().to_vec().into());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "quicstream");
        // Saying that it is no CA, rather than nothing, is what lets verifiers that trust it as a
        // root take it for a server's certificate as well.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { certificate: params.self_signed(&key)?, key })
    }

    /// The name to pin it by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.certificate.der())
    }

    /// Writes both as PEM, the key readable by its owner only. Without `force` nothing is
    /// overwritten; with it files and symbolic links are replaced, never followed. Missing
    /// directories are made, for the owner only.
    ///
    /// # Errors
    /// [`CertificateError::Exists`] and [`CertificateError::Write`]; no new file is left then.
    pub fn write(&self, cert: &Path, key: &Path, force: bool) -> Result<(), CertificateError> {
        let _turn = lock_directory(cert, key)?;
        if force { self.replace(cert, key) } else { self.create(cert, key) }
    }

    /// [`write`](Self::write) without `force`, for one who has [taken its turn](lock_directory).
    pub(super) fn create(&self, cert: &Path, key: &Path) -> Result<(), CertificateError> {
        // Not exists(), which follows a link that leads nowhere.
        for path in [cert, key] {
            if path.symlink_metadata().is_ok() {
                return Err(CertificateError::Exists(path.to_owned()));
            }
        }
        let [new_cert, new_key] = self.drafts(cert, key)?;
        persist_noclobber(new_key, key)?;
        // A key alone would be in the way of the next pair.
        persist_noclobber(new_cert, cert).inspect_err(|_| _ = fs::remove_file(key))
    }

    fn replace(&self, cert: &Path, key: &Path) -> Result<(), CertificateError> {
        for path in [cert, key] {
            // Found out later, this would leave a new key beside an old certificate.
            if path.is_dir() {
                return Err(write_error(path)(io::ErrorKind::IsADirectory.into()));
            }
        }
        let [new_cert, new_key] = self.drafts(cert, key)?;
        new_key.persist(key).map_err(|error| write_error(key)(error.error))?;
        new_cert.persist(cert).map_err(|error| write_error(cert)(error.error))?;
        Ok(())
    }

    /// Both files, whole, each beside the name that it is to get.
    fn drafts(&self, cert: &Path, key: &Path) -> Result<[NamedTempFile; 2], CertificateError> {
        Ok([
            draft(cert, &self.certificate.pem(), 0o644)?,
            draft(key, &self.key.serialize_pem(), 0o600)?,
        ])
    }
}

fn draft(path: &Path, text: &str, mode: u32) -> Result<NamedTempFile, CertificateError> {
    let permissions = Permissions::from_mode(mode);
    let draft = tempfile::Builder::new()
        .prefix(".quicstream-")
        .permissions(permissions)
        .tempfile_in(directory(path));
    let written = draft.and_then(|mut draft| {
        draft.write_all(text.as_bytes())?;
        Ok(draft)
    });
    written.map_err(write_error(path))
}

fn persist_noclobber(draft: NamedTempFile, path: &Path) -> Result<(), CertificateError> {
    match draft.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertificateError::Exists(path.to_owned()))
        }
        Err(error) => Err(write_error(path)(error.error)),
    }
}

/// 126 random bits under a leading one, so that the DER integer is positive and of one length.
fn random_serial() -> [u8; 16] {
    (rand::random::<u128>() >> 2 | 1 << 126).to_be_bytes()
}

/// Makes the directories of both files and waits until no other process is making the same pair.
/// Where a directory cannot be locked this is no more than a courtesy: nothing gets overwritten
/// either way.
pub(super) fn lock_directory(cert: &Path, key: &Path) -> Result<Option<File>, CertificateError> {
    for path in [cert, key] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory(path))
            .map_err(write_error(path))?;
    }
    Ok(File::open(directory(cert)).ok().filter(|directory| directory.lock().is_ok()))
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> CertificateError {
    move |source| CertificateError::Write { path: path.to_owned(), source }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
