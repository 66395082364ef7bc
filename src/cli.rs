//! What a user types: the commands, their examples and the exit codes.

use clap::{Parser, Subcommand};

use crate::config::flags::{GenCert, Global, Play, Serve};

/// Streams media over QUIC, with pause, resume and TLS 1.3.
#[derive(Debug, Parser)]
#[command(name = "quicstream", version = VERSION, arg_required_else_help = true)]
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

/// The version, the commit that it was built from, and the protocols that it speaks.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("QUICSTREAM_COMMIT"),
    ", protocol versions 1 and 2)"
);

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
  ffmpeg ... -f mpegts - | quicstream serve --live cam.ts
  quicstream serve --media dummy.bin --generate 512KiB
  quicstream serve --cert fullchain.pem --key privkey.pem --json";

const PLAY_EXAMPLES: &str = "\
Examples:
  quicstream play --embedded                 see it work, without a server
  quicstream play                            play from this machine
  quicstream play 192.0.2.7 --player mpv     watch what there is
  quicstream play 192.0.2.7 --http           watch in a browser
  quicstream play 192.0.2.7 --list           see what there is
  quicstream play 192.0.2.7/clips/intro.mp4 -O           into intro.mp4
  quicstream play 192.0.2.7 -o - | ffplay -
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
