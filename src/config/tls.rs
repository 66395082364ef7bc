//! Whose certificate a server shows, and whose a client trusts.

use std::path::PathBuf;

use super::flags::GenCert;
use super::settings::{self, Identity};
use super::{Credentials, Environment, Error};
use crate::transport::Trust;

/// The server's certificate and key: those that are named, else its own.
pub(super) fn credentials(
    identity: &Identity,
    environment: &Environment,
) -> Result<Credentials, Error> {
    if let Some((cert, key)) = named_files(identity)? {
        return Ok(Credentials::Named { cert, key });
    }
    let (cert, key) = own_files(environment)?;
    Ok(Credentials::Own { cert, key })
}

/// Where `gen-cert` writes a certificate and its key. Unlike a server's, one may be named alone.
pub(super) fn new_files(
    flags: &GenCert,
    identity: &Identity,
    environment: &Environment,
) -> Result<(PathBuf, PathBuf), Error> {
    if flags.cert.is_none() == flags.key.is_none()
        && let Some(files) = named_files(identity)?
    {
        return Ok(files);
    }
    let (cert, key) = own_files(environment)?;
    Ok((flags.cert.clone().unwrap_or(cert), flags.key.clone().unwrap_or(key)))
}

/// The certificate and the key that are set.
fn named_files(identity: &Identity) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    match (&identity.cert, &identity.key) {
        (Some(cert), Some(key)) if cert == key => Err(Error::OneFile(cert.clone())),
        (Some(cert), Some(key)) => Ok(Some((cert.clone(), key.clone()))),
        (Some(_), None) => Err(Error::HalfAnIdentity { given: "tls.cert", missing: "tls.key" }),
        (None, Some(_)) => Err(Error::HalfAnIdentity { given: "tls.key", missing: "tls.cert" }),
        (None, None) => Ok(None),
    }
}

/// Where a server keeps the certificate and key that it makes for itself.
fn own_files(environment: &Environment) -> Result<(PathBuf, PathBuf), Error> {
    let state = environment.state_dir().ok_or(Error::NoHome)?;
    Ok((state.join("cert.pem"), state.join("key.pem")))
}

/// Whom a client trusts.
pub(super) fn trust(trust: &settings::Trust, environment: &Environment) -> Result<Trust, Error> {
    match (&trust.ca, &trust.pin, trust.insecure == Some(true)) {
        (None, None, false) => {
            let own = environment.state_dir().map(|state| state.join("cert.pem"));
            Ok(Trust::System { own })
        }
        (Some(ca), None, false) => Ok(Trust::Ca(ca.clone())),
        (None, Some(pins), false) => Ok(Trust::Pins(pins.clone().into_vec())),
        (None, None, true) => Ok(Trust::Insecure),
        _ => Err(Error::TrustTwice),
    }
}
