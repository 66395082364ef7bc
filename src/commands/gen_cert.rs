//! `quicstream gen-cert`.

use std::io::Write as _;

use anyhow::Context;

use crate::config::CertConfig;
use crate::transport::Certificate;
use crate::{exit, ui};

/// Makes a certificate and says what to type on the other machine.
///
/// # Errors
/// If the files cannot be written, or stdout cannot.
pub(super) fn run(config: CertConfig) -> anyhow::Result<u8> {
    let CertConfig { cert, key, names, days, force, .. } = config;
    let certificate = Certificate::self_signed(&names, days)?;
    certificate.write(&cert, &key, force).map_err(super::in_state_directory)?;
    let fingerprint = certificate.fingerprint();
    writeln!(
        ui::stdout(),
        "certificate: {} (for {}, {days} days)\n\
         private key: {}\n\
         sha256 Fingerprint={fingerprint}\n\
         to play from another machine: quicstream play HOST --pin {fingerprint}",
        cert.display(),
        names.join(", "),
        key.display(),
    )
    .context("cannot write to stdout")?;
    Ok(exit::DONE)
}
