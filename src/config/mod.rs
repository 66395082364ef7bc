//! From the built-in defaults, a file, the environment and flags to what a command needs.
//!
//! Each of the four is one layer, checked as it is read; the layers are merged key by
//! key, and [`serve`], [`play`] and [`gen_cert`] make of the result what their command takes.

mod environment;
mod error;
mod file;
pub mod flags;
mod layer;
mod notice;
mod resolve;
mod settings;
mod stdout;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
pub mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use environment::Environment;
pub use error::Error;
pub use notice::{Notice, UnknownVariable};
pub use resolve::{gen_cert, play, serve};
pub use tokens::read_tokens;
pub use value::url;

use crate::client::Target;
use crate::transport::{Address, Trust};
use crate::{client, server, transport};

/// What `serve` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// How many endpoints listen there.
    pub workers: transport::Workers,
    /// How a balancer knows the server, if there is one.
    pub load_balancing: Option<transport::LoadBalancing>,
    /// A file, a directory of titles, or the URL of a bucket; `None` is the compiled-in sample.
    pub media: Option<PathBuf>,
    /// Compute the digests of objects and store them beside these.
    pub store_digests: bool,
    /// What to broadcast.
    pub live: LiveConfig,
    /// If the media file is missing, make it of that many random bytes.
    pub generate: Option<u64>,
    /// The file that keeps digests from run to run; `None` to keep none.
    pub digests: Option<PathBuf>,
    /// The file that says who may watch; `None` is everybody.
    pub tokens: Option<PathBuf>,
    /// Where to show metrics, health and readiness, if anywhere.
    pub admin: Option<SocketAddr>,
    /// The file with the key of stateless resets; `None` makes one for this run.
    pub reset_key: Option<PathBuf>,
    /// How many connections there may be.
    pub connections: server::ConnectionLimits,
    /// What to show to clients.
    pub credentials: Credentials,
    /// How to serve.
    pub server: server::ServeSettings,
    /// The most media to keep in memory of objects, and of files that are open more than once, bytes.
    pub cache: u64,
    /// How packets leave and arrive.
    pub transport: transport::TransportSettings,
    /// How to tell people and programs about it.
    pub report: Report,
    /// What the user should know about these settings.
    pub notices: Vec<Notice>,
}

/// What to broadcast, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveConfig {
    /// The titles, each with the FIFO that it comes from; `None` is stdin.
    pub broadcasts: Vec<(String, Option<PathBuf>)>,
    /// What each keeps in memory, bytes.
    pub window: u64,
    /// How long to wait for the next writer of a FIFO.
    pub linger: Duration,
    /// The directory that keeps all of each.
    pub record: Option<PathBuf>,
}

/// Where a server's certificate and key come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// From PEM files that the user named.
    Named {
        /// Certificate chain.
        cert: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// From PEM files in the state directory, which are made if both are missing.
    Own {
        /// Certificate.
        cert: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// Made for this run, and kept in memory: the embedded server's.
    Ephemeral,
}

/// What `play` needs.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayConfig {
    /// Whom to connect to.
    pub servers: Vec<Address>,
    /// Show the server's titles instead of playing one.
    pub list: bool,
    /// Start this server in the process and play from it instead.
    pub embedded: Option<ServeConfig>,
    /// Where the media goes.
    pub output: Target,
    /// Whose certificate to accept.
    pub trust: Trust,
    /// The name to expect in the certificate, where it is not the host's.
    pub server_name: Option<String>,
    /// Fetch several titles instead.
    pub many: Option<ManyConfig>,
    /// Serve the titles over HTTP instead.
    pub bridge: Option<BridgeConfig>,
    /// How to get to the server.
    pub link: client::LinkSettings,
    /// How to play.
    pub client: client::PlaySettings,
    /// How packets leave and arrive.
    pub transport: transport::TransportSettings,
    /// How to tell people and programs about it.
    pub report: Report,
    /// What the user should know about these settings.
    pub notices: Vec<Notice>,
}

/// What `play` needs for several titles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManyConfig {
    /// Titles, and patterns that they match; none of them is all titles.
    pub patterns: Vec<String>,
    /// Where they go.
    pub directory: PathBuf,
    /// Whether files that are there may be replaced.
    pub overwrite: bool,
    /// Whether to go on where an earlier play of the same media stopped.
    pub resume: bool,
}

/// What `play --http` and `play --player` need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// The command line of a player to start, where its URL is to be put in.
    pub player: Option<Vec<String>>,
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
    /// What the user should know about these settings.
    pub notices: Vec<Notice>,
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
