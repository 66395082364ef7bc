//! Every setting: its key, its type with its range, its flag and its help text.
//!
//! The environment variable of `server.listen` is `QUICSTREAM_SERVER_LISTEN`, and so on; defaults
//! are in `config/default.toml`, which the help texts repeat. All is optional here, so that a flag
//! which was not given overrides nothing.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::value::{
    BitRate, CertificateName, Congestion, Invalid, LbKey, List, Listen, Live, Name, Pacing, Peer,
    Pins, Port, Rate, Seconds, Servers, Size, Whole, Workers, invalid,
};
use crate::protocol::MAX_CHUNK_SIZE;
use crate::transport::{MAX_MTU, MIN_MTU, ServerId};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const PIB: u64 = 1 << 50;

/// A day, in milliseconds.
const DAY_MS: u64 = 86_400_000;

/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

/// Declares the sections of the file with the groups of flags in each.
macro_rules! settings {
    ($($section:ident: $Section:ident { $(
        $(#[$group_attr:meta])*
        $group:ident: $Group:ident { $($(#[$attr:meta])* $key:ident: $type:ty,)* }
    )* })*) => {
        $($(
            $(#[$group_attr])*
            #[derive(Debug, Clone, Default, Args)]
            pub struct $Group { $($(#[$attr])* pub $key: Option<$type>,)* }
        )*)*

        $(
            #[derive(Debug, Default, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            struct $Section { $($($key: Option<$type>,)*)* }
        )*

        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Sections { $($section: $Section,)* }

        /// What one layer sets; the rest is left to the layers below.
        #[derive(Debug, Clone, Default)]
        pub(super) struct Layer { $($(pub(super) $group: $Group,)*)* }

        impl Layer {
            pub(super) const SECTIONS: &[&str] = &[$(stringify!($section)),*];
            pub(super) const KEYS: &[(&str, &str)] =
                &[$($($((stringify!($section), stringify!($key)),)*)*)*];

            /// Reads the text of a configuration file.
            pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
                let sections: Sections = toml::from_str(text)?;
                Ok(Self { $($($group: $Group { $($key: sections.$section.$key,)* },)*)* })
            }

            /// The keys that this layer leaves open.
            #[cfg(test)]
            pub(super) fn open_keys(&self) -> Vec<&'static str> {
                let keys = [$($($((
                    concat!(stringify!($section), ".", stringify!($key)),
                    self.$group.$key.is_none(),
                ),)*)*)*];
                keys.into_iter().filter_map(|(key, open)| open.then_some(key)).collect()
            }

            /// Takes from `lower` what `self` leaves open.
            pub(super) fn fill_from(self, lower: Self) -> Self {
                Self { $($($group: $Group {
                    $($key: self.$group.$key.or(lower.$group.$key),)*
                },)*)* }
            }

            /// Sets one key from text.
            pub(super) fn set(
                &mut self,
                section: &str,
                key: &str,
                text: &str,
            ) -> Result<(), Invalid> {
                match (section, key) {
                    $($($((stringify!($section), stringify!($key)) => {
                        self.$group.$key = Some(text.parse().map_err(invalid)?);
                    })*)*)*
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

settings! {
    server: ServerSection {
        /// The settings of a server.
        server: Server {
            /// Address and port to listen on, or a port alone; port 0 picks a free one
            /// [default: 0.0.0.0:9000]
            #[arg(long, value_name = "ADDR:PORT", help_heading = "Network")]
            listen: Listen,
            /// Endpoints on that port, each with a core of its own: up to 64, or auto for as many
            /// as there are cores [default: 1]
            #[arg(long, value_name = "N", help_heading = "Network")]
            workers: Workers,
            /// A file to serve, or a directory of titles: every file under it, by its relative
            /// path; or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX: every object
            /// under that, or the one at it [default: the sample clip inside the program]
            #[arg(short, long, value_name = "PATH", help_heading = "Media")]
            media: PathBuf,
            /// Compute the digest of each object that is played and has none, and store it beside
            /// it, as NAME.quicstream-blake3
            #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Media")]
            store_digests: bool,
            /// The broadcasts.
            #[arg(skip)]
            live: List<Live>,
            /// What each broadcast keeps in memory, for who is late or goes back [default: 64MiB]
            #[arg(long, value_name = "BYTES", help_heading = "Media")]
            live_window: Size<u64, MIB, PIB>,
            /// Keep all of each broadcast as DIR/NAME, as it grows [default: off]
            #[arg(long, value_name = "DIR", help_heading = "Media")]
            record: PathBuf,
            /// Seconds that a broadcast goes on without the writer of its FIFO [default: 5]
            #[arg(long, value_name = "SECS", help_heading = "Advanced", hide_short_help = true)]
            live_linger: Seconds<0, DAY_MS>,
            /// The highest bitrate to grant, in bit/s, such as 4M [default: 500000]
            #[arg(long, value_name = "BPS", help_heading = "Session")]
            bitrate: BitRate<u32, 1, { u32::MAX as u64 }>,
            /// The most that a connection is sent, in bit/s, whatever its client asks for; 0 is no
            /// limit [default: 0]
            #[arg(long, value_name = "BPS", help_heading = "Session")]
            max_rate: BitRate<u64, 0, { u64::MAX }>,
            /// Who decides how fast a session of version 2 is sent: client, or bitrate (always the
            /// agreed one) [default: client]
            #[arg(long, value_name = "WHO", help_heading = "Session")]
            pacing: Pacing,
            /// The most media in one chunk, up to 1MiB, such as 32KiB [default: 65536]
            #[arg(long, value_name = "BYTES", help_heading = "Session")]
            chunk_size: Size<u32, 1, { MAX_CHUNK_SIZE as u64 }>,
            /// Seconds between heartbeats [default: 5]
            #[arg(long, value_name = "SECS", help_heading = "Session")]
            keepalive: Whole<u64, 1, 3600>,
            /// Seconds of silence from a client that end its session [default: 30]
            #[arg(long, value_name = "SECS", help_heading = "Session")]
            session_timeout: Whole<u64, 1, 86_400>,
            /// Only who has a token in FILE may watch [default: everybody]
            #[arg(long, value_name = "FILE", help_heading = "Operations")]
            tokens: PathBuf,
            /// Show metrics, health and readiness over HTTP [default: off]
            #[arg(long, value_name = "ADDR:PORT", help_heading = "Operations")]
            admin: Listen,
            /// Codecs that a client may ask for, separated by commas
            /// [default: h264,h265,av1,vp9,aac,opus,raw]
            #[arg(long, value_name = "NAME,...", help_heading = "Advanced", hide_short_help = true)]
            codecs: List<Name>,
            /// Connections that may be open at once [default: 10000]
            #[arg(long, value_name = "N", help_heading = "Advanced", hide_short_help = true)]
            max_connections: Whole<usize, 1, { u32::MAX as u64 }>,
            /// Connections that may be open at once from one IPv4 address or one IPv6 /64
            /// [default: 256]
            #[arg(long, value_name = "N", help_heading = "Advanced", hide_short_help = true)]
            max_per_address: Whole<usize, 1, { u32::MAX as u64 }>,
            /// Seconds in which a connection has to open its first session [default: 10]
            #[arg(long, value_name = "SECS", help_heading = "Advanced", hide_short_help = true)]
            open_timeout: Seconds<100, HOUR_MS>,
            /// Seconds in which a client has to acknowledge something of what it is sent
            /// [default: 30]
            #[arg(long, value_name = "SECS", help_heading = "Advanced", hide_short_help = true)]
            stall_timeout: Seconds<100, DAY_MS>,
            /// Seconds that a pause may last [default: 900]
            #[arg(long, value_name = "SECS", help_heading = "Advanced", hide_short_help = true)]
            max_pause: Seconds<100, { 365 * DAY_MS }>,
            /// What may wait in the send buffers of all sessions [default: 256MiB]
            #[arg(long, value_name = "BYTES", help_heading = "Advanced", hide_short_help = true)]
            send_memory: Size<u64, MIB, PIB>,
            /// Other servers that have the same titles, HOST:PORT, separated by commas: clients go
            /// there when this one is full, or ends
            #[arg(long, value_name = "LIST", help_heading = "Limits", hide_short_help = true)]
            peers: List<Peer>,
            /// The most media to keep in memory of objects, and of files that are open more than
            /// once [default: 32MiB]
            #[arg(long, value_name = "BYTES", help_heading = "Advanced", hide_short_help = true)]
            cache: Size<u64, MIB, PIB>,
            /// What a QUIC-LB balancer knows this server by: 1 or 2 bytes, as hexadecimal digits
            /// [default: there is none]
            #[arg(long, value_name = "HEX", help_heading = "Advanced", hide_short_help = true)]
            lb_id: ServerId,
            /// What hides that from others; no flag, which every user of the machine could see.
            #[arg(skip)]
            lb_key: LbKey,
        }
    }
    client: ClientSection {
        /// The settings of a client.
        client: Client {
            /// The server's name or address; several that have the same titles, A,B:9001, are tried in
            /// turn [default: 127.0.0.1]
            #[arg(short = 'H', long, value_name = "HOST", help_heading = "Network")]
            host: Servers,
            /// The port of a server that is named without one [default: 9000]
            #[arg(short, long, value_name = "PORT", help_heading = "Network")]
            port: Port,
            /// Seconds to find and reach the server, and then for each of its answers [default: 10]
            #[arg(long, value_name = "SECS", help_heading = "Network")]
            connect_timeout: Seconds<1, HOUR_MS>,
            /// Seconds to wait for a server that cannot be reached yet, or is busy [default: 0]
            #[arg(long, value_name = "SECS", help_heading = "Network")]
            wait: Seconds<0, DAY_MS>,
            /// Seconds without progress to try to get a lost connection back; 0 gives up at once
            /// [default: 120]
            #[arg(long, value_name = "SECS", help_heading = "Network")]
            retry_for: Seconds<0, DAY_MS>,
            /// The file with the token to show to the server; or set QUICSTREAM_TOKEN to the token
            /// [default: none]
            #[arg(long, value_name = "FILE", help_heading = "Network")]
            token_file: PathBuf,
            /// How fast: auto (as the output takes it, or bitrate where there is none), bitrate (the
            /// agreed one), max, or in bit/s, such as 4M [default: auto]
            #[arg(long, value_name = "RATE", help_heading = "Media")]
            rate: Rate,
            /// Fail, with exit code 6, where the media cannot be checked; a file does not get its
            /// name then
            #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Media")]
            require_digest: bool,
            /// Codec to ask for [default: h264]
            #[arg(long, value_name = "NAME", help_heading = "Media")]
            codec: Name,
            /// Codec profile to ask for [default: baseline]
            #[arg(long, value_name = "NAME", help_heading = "Media")]
            profile: Name,
            /// Bitrates to offer, in bit/s, separated by commas, such as 500k,4M
            /// [default: 240000,500000]
            #[arg(long, value_name = "BPS,...", help_heading = "Media")]
            bitrates: List<BitRate<u32, 1, { u32::MAX as u64 }>>,
            /// Pause after chunk SEQ; 0 never does [default: 3 without an output, 0 with one]
            #[arg(long, value_name = "SEQ", help_heading = "Media")]
            pause_at: Whole<u32, 0, { u32::MAX as u64 }>,
            /// Seconds that this pause takes [default: 2]
            #[arg(long, value_name = "SECS", help_heading = "Media")]
            pause_for: Seconds<0, DAY_MS>,
        }
    }
    tls: TlsSection {
        /// Whom a server says it is.
        identity: Identity {
            /// Certificate to show to clients, PEM; it has to exist, and so has its key [default:
            /// cert.pem in ~/.local/share/quicstream, where both are made on first use]
            #[arg(long, value_name = "FILE", requires = "key", help_heading = "TLS")]
            cert: PathBuf,
            /// The certificate's private key, PEM [default: key.pem in ~/.local/share/quicstream]
            #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS")]
            key: PathBuf,
        }
        /// Whom a client trusts.
        trust: Trust {
            /// Trust only the certificates in FILE, PEM [default: the system's, and the one that
            /// "serve" made on this machine]
            #[arg(long, value_name = "FILE", group = "trusted", help_heading = "TLS")]
            ca: PathBuf,
            /// Trust only the certificate with this SHA-256 fingerprint, or with one of several, A,B;
            /// colons are allowed
            #[arg(long, value_name = "SHA256HEX", group = "trusted", help_heading = "TLS")]
            pin: Pins,
            /// Trust any certificate: anybody on the way can read and change what you play
            #[arg(long, group = "trusted", num_args = 0, default_missing_value = "true")]
            #[arg(help_heading = "TLS")]
            insecure: bool,
            /// The name to expect in the certificate [default: the server's name or address]
            #[arg(long, value_name = "NAME", help_heading = "TLS")]
            server_name: CertificateName,
        }
    }
    transport: TransportSection {
        /// How packets leave and arrive.
        transport: Transport {
            /// The largest IP packet to try, in bytes [default: 1500]
            #[arg(long, value_name = "BYTES", help_heading = "Advanced", hide_short_help = true)]
            mtu: Whole<u16, { MIN_MTU as u64 }, { MAX_MTU as u64 }>,
            /// How fast to send where packets are lost: bbr (follows the bandwidth) or cubic (backs
            /// off at every loss) [default: bbr]
            #[arg(long, value_name = "NAME", help_heading = "Advanced", hide_short_help = true)]
            congestion: Congestion,
            /// Seconds without a packet after which a connection counts as lost [default: 30]
            #[arg(long, value_name = "SECS", help_heading = "Advanced", hide_short_help = true)]
            idle_timeout: Whole<u64, 1, 3600>,
            /// Socket buffers to ask the kernel for [default: 4MiB]
            #[arg(long, value_name = "BYTES", help_heading = "Advanced", hide_short_help = true)]
            socket_buffer: Size<u32, { 64 * KIB }, { 64 * MIB }>,
        }
    }
}
