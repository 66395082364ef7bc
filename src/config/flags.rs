//! What can be said with flags, and the layer of settings that it comes to.

use std::path::PathBuf;

use clap::Args;

use super::settings::{Client, Identity, Layer, Server, Transport, Trust};
use super::value::{
    CertificateName, Days, GenerateSize, HttpListen, List, Live, Locator, PlayerCommand, Protocol,
    Start, Title,
};
use super::{Color, Progress};

/// The flags of every command; they may stand before it or after it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Read settings from FILE [default: $QUICSTREAM_CONFIG, else config/default.toml here, else
    /// quicstream/config.toml in ~/.config]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say more: a line for every PDU sent or received
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colour: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    #[arg(hide_possible_values = true)]
    pub color: Color,
}

/// How a running command tells what happens.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Reporting")]
pub struct Reporting {
    /// Print events to stdout, one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// How to show progress: auto (bars on a terminal, plain lines otherwise), bar, plain or none;
    /// of packets, "lost" counts those that play itself has sent
    #[arg(long, value_name = "HOW", value_enum, default_value_t, hide_possible_values = true)]
    pub progress: Progress,
}

/// The flags of `serve`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// The settings of the server.
    #[command(flatten)]
    pub server: Server,
    /// Port to listen on, whatever the address [default: 9000]
    #[arg(short, long, value_name = "PORT", help_heading = "Network")]
    pub port: Option<u16>,
    /// The same as --media
    #[arg(value_name = "MEDIA", conflicts_with = "media")]
    pub media_argument: Option<PathBuf>,
    /// Broadcast what comes from stdin, or from the FIFO at PATH, under this title; may be given
    /// again
    #[arg(long = "live", value_name = "NAME[=PATH]", help_heading = "Media")]
    pub live: Vec<Live>,
    /// If the media file is missing, make it of SIZE random bytes, such as 512KiB [default: off]
    #[arg(long, value_name = "SIZE", help_heading = "Media")]
    pub generate: Option<GenerateSize>,
    /// What to show to clients.
    #[command(flatten)]
    pub identity: Identity,
    /// How packets leave and arrive.
    #[command(flatten)]
    pub transport: Transport,
    /// How to tell what happens.
    #[command(flatten)]
    pub reporting: Reporting,
}

/// The flags of `play`.
#[derive(Debug, Default, Args)]
pub struct Play {
    /// The server: HOST, HOST:PORT, an IPv6 address V6, or `[V6]:PORT`; or a URL, such as "serve"
    /// prints: quicstream://HOST:PORT/TITLE?pin=SHA256HEX, with or without quicstream://. Several
    /// that have the same titles, A,B:9001, are tried in turn, also after a loss
    /// [default: 127.0.0.1:9000]
    #[arg(value_name = "SERVER", conflicts_with = "host")]
    pub server: Option<Locator>,
    /// The settings of the client.
    #[command(flatten)]
    pub client: Client,
    /// Speak only this version of the protocol, 1 or 2 [default: the newest that both sides know]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub protocol: Option<Protocol>,
    /// Start a server in this process, on a free loopback port, and play from it
    #[arg(long, help_heading = "Network", conflicts_with_all = ["server", "host", "port"])]
    #[arg(conflicts_with_all = ["ca", "pin", "insecure", "server_name"])]
    pub embedded: bool,
    /// What to play [default: the only title that the server has]; given again, or a pattern such
    /// as 'films/*', it is several titles, which go below a directory that -o names
    #[arg(long = "title", value_name = "NAME", help_heading = "Media")]
    pub titles: Vec<Title>,
    /// Fetch all titles that the server has, below a directory that -o names; a broadcast that has
    /// not begun is left out
    #[arg(long, help_heading = "Media", requires = "output")]
    #[arg(conflicts_with_all = ["titles", "list", "start", "http", "player"])]
    pub all: bool,
    /// Show the server's titles instead of playing one
    #[arg(long, help_heading = "Media")]
    #[arg(conflicts_with_all = ["titles", "destination", "start"])]
    pub list: bool,
    /// Where to start: a byte, such as 1048576 or 10MiB, a part, such as 25%, or of a broadcast a
    /// time before now, such as -60s. A player can join MPEG-TS, MP3 and the like anywhere, MP4 and
    /// Matroska only at 0 [default: 0; of a broadcast its newest key frame]
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, help_heading = "Media")]
    pub start: Option<Start>,
    /// Write the media to FILE, or to stdout with "-"; into a directory under its title's name
    /// [default: count it and throw it away]
    #[arg(short, long, value_name = "FILE", group = "destination", help_heading = "Media")]
    pub output: Option<PathBuf>,
    /// Write the media here, to a file named as the last part of its title
    #[arg(short = 'O', group = "destination", help_heading = "Media")]
    pub named_by_title: bool,
    /// Serve the titles to players and browsers over HTTP, at a URL that is printed; a port alone is
    /// one of 127.0.0.1 [default: 127.0.0.1:0, a port that is free]
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "0", help_heading = "Media")]
    #[arg(conflicts_with_all = ["destination", "list", "start", "no_verify", "pause_at"])]
    pub http: Option<HttpListen>,
    /// Start CMD with the URL of the title, or of the list of all, and end when it ends; {} is
    /// replaced by the URL, which else is the last argument
    #[arg(long, value_name = "CMD", help_heading = "Media")]
    #[arg(conflicts_with_all = ["destination", "list", "start", "no_verify", "pause_at"])]
    pub player: Option<PlayerCommand>,
    /// Overwrite the output file
    #[arg(short, long, requires = "destination", help_heading = "Media")]
    pub force: bool,
    /// Start over where an earlier play of the same media left a FILE.part [default: continue it]
    #[arg(long, requires = "destination", help_heading = "Media")]
    pub no_continue: bool,
    /// Do not check the media against the server's digest
    #[arg(long, help_heading = "Media")]
    pub no_verify: bool,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: Trust,
    /// How packets leave and arrive.
    #[command(flatten)]
    pub transport: Transport,
    /// How to tell what happens.
    #[command(flatten)]
    pub reporting: Reporting,
}

/// The flags of `gen-cert`.
#[derive(Debug, Default, Args)]
pub struct GenCert {
    /// Where the certificate goes, PEM [default: cert.pem in ~/.local/share/quicstream, where
    /// "serve" finds it]
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Where the private key goes, PEM, mode 0600 [default: key.pem in ~/.local/share/quicstream]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A DNS name or IP address of the server; may be given again [default: localhost, 127.0.0.1
    /// and ::1]
    #[arg(long = "name", value_name = "DNS-OR-IP")]
    pub names: Vec<CertificateName>,
    /// Days that it is valid from now, up to 36500 [default: 365]
    #[arg(long, value_name = "N")]
    pub days: Option<Days>,
    /// Overwrite files that are there
    #[arg(short, long)]
    pub force: bool,
}

impl From<&Serve> for Layer {
    fn from(flags: &Serve) -> Self {
        let media = flags.server.media.as_ref().or(flags.media_argument.as_ref()).cloned();
        Self {
            server: Server { media, live: List::of(flags.live.clone()), ..flags.server.clone() },
            identity: flags.identity.clone(),
            transport: flags.transport.clone(),
            ..Self::default()
        }
    }
}

impl From<&Play> for Layer {
    fn from(flags: &Play) -> Self {
        let Play { server, client, trust, transport, .. } = flags;
        let server = server.as_ref();
        Self {
            client: Client {
                host: server.map(|server| &server.servers).or(client.host.as_ref()).cloned(),
                ..client.clone()
            },
            trust: Trust {
                pin: server.and_then(|server| server.pins.clone()).or_else(|| trust.pin.clone()),
                ..trust.clone()
            },
            transport: transport.clone(),
            ..Self::default()
        }
    }
}

impl From<&GenCert> for Layer {
    fn from(flags: &GenCert) -> Self {
        Self {
            identity: Identity { cert: flags.cert.clone(), key: flags.key.clone() },
            ..Self::default()
        }
    }
}
