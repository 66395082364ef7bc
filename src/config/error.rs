//! What can be wrong with flags, environment and file.

use std::io;
use std::path::PathBuf;

/// The configuration cannot be used: exit 2. Each text is whole, without a source to print.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration file cannot be read.
    #[error("cannot read the configuration file {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A configuration file has an unknown key, a wrong type or a value out of range.
    #[error("{origin}: {problem}")]
    Parse {
        /// The file's path.
        origin: String,
        /// Where and why: line, key and what is expected.
        problem: String,
    },
    /// An environment variable names no setting, or holds what the setting does not take.
    #[error("environment variable {name}: {problem}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A setting without a default in config/default.toml. A test makes sure that none exists.
    #[error("no value for {0}: please report this as a bug in config/default.toml")]
    Missing(&'static str),
    /// There is no place for the program's own files.
    #[error(
        "no home directory to keep the certificate and key in: set QUICSTREAM_STATE_DIR to a \
         directory, or name both files with --cert and --key"
    )]
    NoHome,
    /// One of certificate and key is set without the other.
    #[error("{given} is set without {missing}: set both, or neither")]
    HalfAnIdentity {
        /// The key that is set.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// Certificate and key are the same file.
    #[error("certificate and key are both {0}: name two files")]
    OneFile(PathBuf),
    /// Two ways to trust a server are set at once.
    #[error("more than one of tls.ca, tls.pin and tls.insecure is set: keep one")]
    TrustTwice,
    /// Two ports.
    #[error("the port is given twice, after the server's name and with --port: keep one")]
    PortTwice,
    /// Two titles.
    #[error("the title is given twice, in the URL and with --title: keep one")]
    TitleTwice,
    /// A title to play, and all of them to list.
    #[error("--list shows every title: leave out the one in the URL")]
    TitleAndList,
    /// A URL with a fingerprint, and a flag that says whom to trust.
    #[error("the URL's pin says whom to trust: leave it out, or --pin, --ca and --insecure")]
    PinTwice,
    /// Something that version 1 of the protocol does not have.
    #[error("{0} needs version 2 of the protocol: leave it out, or --protocol 1")]
    NotInVersion1(&'static str),
    /// `-v` on one side of the command and `-q` on the other.
    #[error("--verbose and --quiet exclude each other: keep one")]
    VerboseAndQuiet,
}
