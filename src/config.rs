//! From the built-in defaults, a file, the environment and flags to what a command needs.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::transport::Trust;
use crate::{client, server, transport};

/// What `serve` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// A file or a directory; `None` is the compiled-in sample.
    pub media: Option<PathBuf>,
    /// If the media file is missing, make it of that many random bytes.
    pub generate: Option<u64>,
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// How to serve.
    pub server: server::Settings,
    /// The most media to keep in memory for all sessions together, bytes.
    pub cache: u64,
    /// How packets leave and arrive.
    pub transport: transport::Settings,
    /// How to tell people and programs about it.
    pub report: Report,
}

/// What `play` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayConfig {
    /// The server's name or address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// Start this server in the process and play from it, instead of from `host`.
    pub embedded: Option<ServeConfig>,
    /// Where the media goes.
    pub output: Output,
    /// Whose certificate to accept.
    pub trust: Trust,
    /// The name to expect in the certificate, where it is not `host`.
    pub server_name: Option<String>,
    /// How to play.
    pub client: client::Settings,
    /// How packets leave and arrive.
    pub transport: transport::Settings,
    /// How to tell people and programs about it.
    pub report: Report,
}

/// What `gen-cert` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertConfig {
    /// Where the certificate goes, PEM.
    pub cert: PathBuf,
    /// Where the private key goes, PEM.
    pub key: PathBuf,
    /// Subject alternative names: DNS names and IP addresses.
    pub names: Vec<String>,
    /// How long it is valid.
    pub days: u32,
    /// Overwrite what is there.
    pub force: bool,
}

/// Where the media goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Nowhere: it is counted.
    Discard,
    /// Standard output.
    Stdout,
    /// A file.
    File {
        /// Its final name.
        path: PathBuf,
        /// Whether it may be there already.
        force: bool,
    },
}

/// How to tell people and programs what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Events as JSON lines.
    pub json: bool,
    /// Bars or lines.
    pub progress: Progress,
    /// How much to say.
    pub verbosity: Verbosity,
    /// Whether to use colour.
    pub color: Color,
}

/// The `--progress` flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, plain lines otherwise.
    #[default]
    Auto,
    /// Bars.
    Bar,
    /// One line a second.
    Plain,
    /// Nothing.
    None,
}

/// The `-v` and `-q` flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// What happens.
    #[default]
    Normal,
    /// Every PDU.
    Verbose,
}

/// The `--color` flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
