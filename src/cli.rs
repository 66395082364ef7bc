//! What a user types: clap types, no logic.
//!
//! Whatever a configuration file can set is an `Option` here, so that a flag which was not given
//! overrides nothing; the defaults named in the help texts are those of `config/default.toml`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::value::{
    Bitrate, CertificateName, ChunkSize, ConnectTimeout, Days, GenerateSize, Host, Keepalive, List,
    Listen, Locator, MaxRate, Name, Pacing, PauseAt, PauseFor, Port, Protocol, Rate, RetryFor,
    SessionTimeout, Start, Title,
};
use crate::config::{Color, Progress};
use crate::transport::Fingerprint;

/// Streams media over QUIC, with pause, resume and TLS 1.3.
#[derive(Debug, Parser)]
#[command(name = "quicstream", version, arg_required_else_help = true)]
#[command(after_help = EXAMPLES, after_long_help = with_exit_codes(EXAMPLES))]
pub struct Cli {
    /// The flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum Command {
    /// Serve media to players
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Play media from a server
    #[command(after_help = PLAY_EXAMPLES, after_long_help = with_exit_codes(PLAY_EXAMPLES))]
    Play(Play),
    /// Make a self-signed certificate and its key
    #[command(after_help = GEN_CERT_EXAMPLES)]
    GenCert(GenCert),
}

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
    /// Address and port to listen on, or a port alone; port 0 picks a free one
    /// [default: 0.0.0.0:9000]
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Network")]
    pub listen: Option<Listen>,
    /// Port to listen on, whatever the address [default: 9000]
    #[arg(short, long, value_name = "PORT", help_heading = "Network")]
    pub port: Option<u16>,
    /// The same as --media
    #[arg(value_name = "MEDIA", conflicts_with = "media")]
    pub media_argument: Option<PathBuf>,
    /// A file to serve, or a directory of titles: every file under it, by its relative path
    /// [default: the sample clip inside the program]
    #[arg(short, long, value_name = "PATH", help_heading = "Media")]
    pub media: Option<PathBuf>,
    /// If the media file is missing, make it of SIZE random bytes, such as 512KiB [default: off]
    #[arg(long, value_name = "SIZE", help_heading = "Media")]
    pub generate: Option<GenerateSize>,
    /// The highest bitrate to offer, in bit/s, such as 4M [default: 500000]
    #[arg(long, value_name = "BPS", help_heading = "Session")]
    pub bitrate: Option<Bitrate>,
    /// The most that a session of version 2 is sent, in bit/s, whatever its client asks for; 0 is
    /// no limit [default: 0]
    #[arg(long, value_name = "BPS", help_heading = "Session")]
    pub max_rate: Option<MaxRate>,
    /// Who decides how fast a session of version 2 is sent: client, or bitrate (always the agreed
    /// one) [default: client]
    #[arg(long, value_name = "WHO", help_heading = "Session")]
    pub pacing: Option<Pacing>,
    /// The most media in one chunk, up to 1MiB, such as 32KiB [default: 65536]
    #[arg(long, value_name = "BYTES", help_heading = "Session")]
    pub chunk_size: Option<ChunkSize>,
    /// Seconds between heartbeats [default: 5]
    #[arg(long, value_name = "SECS", help_heading = "Session")]
    pub keepalive: Option<Keepalive>,
    /// Seconds of silence from a client that end its session [default: 30]
    #[arg(long, value_name = "SECS", help_heading = "Session")]
    pub session_timeout: Option<SessionTimeout>,
    /// Certificate to show to clients, PEM; it has to exist, and so has its key [default: cert.pem
    /// in ~/.local/share/quicstream, where both are made on first use]
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "TLS")]
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM [default: key.pem in ~/.local/share/quicstream]
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS")]
    pub key: Option<PathBuf>,
    /// How to tell what happens.
    #[command(flatten)]
    pub reporting: Reporting,
}

/// The flags of `play`.
#[derive(Debug, Default, Args)]
pub struct Play {
    /// The server: HOST, HOST:PORT, an IPv6 address V6, or `[V6]:PORT`; or a URL, such as "serve"
    /// prints: quicstream://HOST:PORT/TITLE?pin=SHA256HEX, with or without quicstream://
    /// [default: 127.0.0.1:9000]
    #[arg(value_name = "SERVER", conflicts_with = "host")]
    pub server: Option<Locator>,
    /// The server's name or address, without a port [default: 127.0.0.1]
    #[arg(short = 'H', long, value_name = "HOST", help_heading = "Network")]
    pub host: Option<Host>,
    /// The server's port [default: 9000]
    #[arg(short, long, value_name = "PORT", help_heading = "Network")]
    pub port: Option<Port>,
    /// Seconds to find and reach the server, and then for each of its answers [default: 10]
    #[arg(long, value_name = "SECS", help_heading = "Network")]
    pub connect_timeout: Option<ConnectTimeout>,
    /// Seconds to wait for a server that cannot be reached yet, or is busy [default: 0]
    #[arg(long, value_name = "SECS", help_heading = "Network")]
    pub wait: Option<RetryFor>,
    /// Seconds without progress to try to get a lost connection back; 0 gives up at once
    /// [default: 120]
    #[arg(long, value_name = "SECS", help_heading = "Network")]
    pub retry_for: Option<RetryFor>,
    /// Speak only this version of the protocol, 1 or 2 [default: the newest that both sides know]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub protocol: Option<Protocol>,
    /// Start a server in this process, on a free loopback port, and play from it
    #[arg(long, help_heading = "Network", conflicts_with_all = ["server", "host", "port"])]
    #[arg(conflicts_with_all = ["ca", "pin", "insecure", "server_name"])]
    pub embedded: bool,
    /// What to play [default: the only title that the server has]
    #[arg(long, value_name = "NAME", help_heading = "Media")]
    pub title: Option<Title>,
    /// Show the server's titles instead of playing one
    #[arg(long, help_heading = "Media")]
    #[arg(conflicts_with_all = ["title", "destination", "start"])]
    pub list: bool,
    /// Where to start: a byte, such as 1048576 or 10MiB, or a part, such as 25%. A player can join
    /// MPEG-TS, MP3 and the like anywhere, MP4 and Matroska only at 0 [default: 0]
    #[arg(long, value_name = "BYTES", help_heading = "Media")]
    pub start: Option<Start>,
    /// How fast: auto (as the output takes it, or bitrate where there is none), bitrate (the
    /// agreed one), max, or in bit/s, such as 4M [default: auto]
    #[arg(long, value_name = "RATE", help_heading = "Media")]
    pub rate: Option<Rate>,
    /// Write the media to FILE, or to stdout with "-"; into a directory under its title's name
    /// [default: count it and throw it away]
    #[arg(short, long, value_name = "FILE", group = "destination", help_heading = "Media")]
    pub output: Option<PathBuf>,
    /// Write the media here, to a file named as the last part of its title
    #[arg(short = 'O', group = "destination", help_heading = "Media")]
    pub named_by_title: bool,
    /// Overwrite the output file
    #[arg(short, long, requires = "destination", help_heading = "Media")]
    pub force: bool,
    /// Start over where an earlier play of the same media left a FILE.part [default: continue it]
    #[arg(long, requires = "destination", help_heading = "Media")]
    pub no_continue: bool,
    /// Do not check the media against the server's digest
    #[arg(long, help_heading = "Media")]
    pub no_verify: bool,
    /// Fail, with exit code 6, where the media cannot be checked; a file does not get its name then
    #[arg(long, help_heading = "Media")]
    pub require_digest: bool,
    /// Codec to ask for [default: h264]
    #[arg(long, value_name = "NAME", help_heading = "Media")]
    pub codec: Option<Name>,
    /// Codec profile to ask for [default: baseline]
    #[arg(long, value_name = "NAME", help_heading = "Media")]
    pub profile: Option<Name>,
    /// Bitrates to offer, in bit/s, separated by commas, such as 500k,4M [default: 240000,500000]
    #[arg(long, value_name = "BPS,...", help_heading = "Media")]
    pub bitrates: Option<List<Bitrate>>,
    /// Pause after chunk SEQ; 0 never does [default: 3 without an output, 0 with one]
    #[arg(long, value_name = "SEQ", help_heading = "Media")]
    pub pause_at: Option<PauseAt>,
    /// Seconds that this pause takes [default: 2]
    #[arg(long, value_name = "SECS", help_heading = "Media")]
    pub pause_for: Option<PauseFor>,
    /// Trust only the certificates in FILE, PEM [default: the system's, and the one that "serve"
    /// made on this machine]
    #[arg(long, value_name = "FILE", group = "trust", help_heading = "TLS")]
    pub ca: Option<PathBuf>,
    /// Trust only the certificate with this SHA-256 fingerprint; colons are allowed
    #[arg(long, value_name = "SHA256HEX", group = "trust", help_heading = "TLS")]
    pub pin: Option<Fingerprint>,
    /// Trust any certificate: anybody on the way can read and change what you play
    #[arg(long, group = "trust", help_heading = "TLS")]
    pub insecure: bool,
    /// The name to expect in the certificate [default: the server's name or address]
    #[arg(long, value_name = "NAME", help_heading = "TLS")]
    pub server_name: Option<CertificateName>,
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

const EXAMPLES: &str = "\
Examples:
  quicstream play --embedded             see it work, in a single process
  quicstream serve ~/films               serve every file in a directory
  quicstream play 192.0.2.7 --list       see what another machine serves
  quicstream play 192.0.2.7 --title film.mp4 -o film.mp4
  quicstream help play                   everything that play takes";

const SERVE_EXAMPLES: &str = "\
Examples:
  quicstream serve                       serve the sample clip on port 9000
  quicstream serve film.mp4 --bitrate 4M
  quicstream serve ~/films               a directory of titles: film.mp4, clips/intro.mp4
  quicstream serve --listen '[::]:4433' --max-rate 20M
  quicstream serve --media dummy.bin --generate 512KiB
  quicstream serve --cert fullchain.pem --key privkey.pem --json";

const PLAY_EXAMPLES: &str = "\
Examples:
  quicstream play --embedded                 see it work, without a server
  quicstream play                            play from this machine
  quicstream play 192.0.2.7 -o - | ffplay -  watch
  quicstream play 192.0.2.7 --list           see what there is
  quicstream play 192.0.2.7/clips/intro.mp4 -O           into intro.mp4
  quicstream play 192.0.2.7/film.ts --start 25% -o - | mpv -
  quicstream play 'quicstream://192.0.2.7:9000/film.mp4?pin=abcd...' -o film.mp4
  quicstream play '[2001:db8::7]:9000' --pin AB:CD:... -o film.mp4
  quicstream play media.example --ca ca.pem --json";

const GEN_CERT_EXAMPLES: &str = "\
Examples:
  quicstream gen-cert              for this machine, where serve finds it
  quicstream gen-cert --name media.example --name 192.0.2.7
  quicstream gen-cert --cert cert.pem --key key.pem --days 30
  quicstream gen-cert --force      replace the one that is there";

const EXIT_CODES: &str = "\
Exit codes:
  0    done: the media is complete, or the user or the player's pipe ended it
  1    any other failure
  2    usage or configuration
  3    the server refused
  4    unreachable, timed out, or the connection was lost
  5    TLS: certificate not trusted, pin mismatch, no common protocol
  6    what arrived is incomplete or wrong, or not verified where --require-digest asks for it
  130  interrupted before the media was complete";

fn with_exit_codes(examples: &str) -> String {
    format!("{examples}\n\n{EXIT_CODES}")
}
