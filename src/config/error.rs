//! What can be wrong with flags, environment and file.

use std::io;
use std::path::PathBuf;

use crate::transport::BalancerKeyError;

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
    /// A file with a token, or with several, cannot be read.
    #[error("cannot read the token file {}: {cause}", path.display())]
    ReadTokens {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What should be a token is none.
    #[error("{place} does not hold a token: that is one line of at most 4096 bytes")]
    Token {
        /// Where it is.
        place: String,
    },
    /// A configuration file has an unknown key, a wrong type or a value out of range.
    #[error("{}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why: line, key and what is expected.
        problem: String,
    },
    /// The working directory's file says whom to trust, and nobody named it.
    #[error(
        "{}: {key} says whom to trust, which a file that was only found in the working directory \
         may not: if you trust it, name it with --config {}, else remove {key}",
        path.display(), path.display()
    )]
    TrustInFoundFile {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// An environment variable holds what its setting does not take.
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
    /// No heartbeat is due before a connection counts as lost.
    #[error(
        "transport.idle_timeout is {idle_timeout} s, which leaves no room for server.keepalive, \
         {keepalive} s at least: a paused session would be lost; set transport.idle_timeout to 2 \
         or more"
    )]
    NoRoomForKeepalive {
        /// Seconds between heartbeats.
        keepalive: u64,
        /// Seconds without a packet after which a connection counts as lost.
        idle_timeout: u64,
    },
    /// There is no place for the program's own files.
    #[error(
        "no home directory to keep the certificate and key in: set QUICSTREAM_STATE_DIR to a \
         directory, or name both files with --cert and --key"
    )]
    NoHome,
    /// One of certificate and key is set without the other.
    #[error(
        "{given} is set without {missing}: set both in one place (flags, variables or the \
         configuration file), or neither"
    )]
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
    /// More than RETRY_WITH holds.
    #[error("server.peers names more than 1024 bytes of servers: leave some out")]
    TooManyPeers,
    /// Two ports.
    #[error("the port is given twice, after the server's name and with --port: keep one")]
    PortTwice,
    /// Two titles.
    #[error("the URL names one title, and --title or --all something else: keep one of them")]
    TitleTwice,
    /// What should be the key of a balancer is none.
    #[error("server.lb_key: {0}")]
    BalancerKey(BalancerKeyError),
    /// A key for the server's ID, and no ID.
    #[error("server.lb_key is set without server.lb_id: set the server's ID, too, or neither")]
    KeyWithoutServerId,
    /// Two broadcasts that exclude each other.
    #[error("two of server.live (--live) {0}")]
    LiveTwice(&'static str),
    /// Several titles, and no place for them.
    #[error("several titles go below a directory: name one with -o DIR/")]
    DirectoryNeeded,
    /// Several titles from somewhere in the middle.
    #[error("--start is for one title: leave it out, or name only one")]
    ManyFromTheMiddle,
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
