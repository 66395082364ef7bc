//! Flags as a layer of settings.

use super::layer::{Client, Layer, Server, Tls};
use crate::cli;

impl From<&cli::Serve> for Layer {
    fn from(flags: &cli::Serve) -> Self {
        Self {
            server: Server {
                listen: flags.listen,
                media: flags.media.as_ref().or(flags.media_argument.as_ref()).cloned(),
                bitrate: flags.bitrate,
                max_rate: flags.max_rate,
                pacing: flags.pacing,
                chunk_size: flags.chunk_size,
                keepalive: flags.keepalive,
                session_timeout: flags.session_timeout,
                ..Server::default()
            },
            tls: Tls { cert: flags.cert.clone(), key: flags.key.clone(), ..Tls::default() },
            ..Self::default()
        }
    }
}

impl From<&cli::Play> for Layer {
    fn from(flags: &cli::Play) -> Self {
        let server = flags.server.as_ref();
        Self {
            client: Client {
                host: server.map(|server| &server.address.host).or(flags.host.as_ref()).cloned(),
                port: server.and_then(|server| server.address.port).or(flags.port),
                codec: flags.codec.clone(),
                profile: flags.profile.clone(),
                bitrates: flags.bitrates.clone(),
                pause_at: flags.pause_at,
                pause_for: flags.pause_for,
                rate: flags.rate,
                connect_timeout: flags.connect_timeout,
                wait: flags.wait,
                retry_for: flags.retry_for,
                require_digest: flags.require_digest.then_some(true),
            },
            tls: Tls {
                ca: flags.ca.clone(),
                pin: server.and_then(|server| server.pin).or(flags.pin),
                insecure: flags.insecure.then_some(true),
                server_name: flags.server_name.clone(),
                ..Tls::default()
            },
            ..Self::default()
        }
    }
}

impl From<&cli::GenCert> for Layer {
    fn from(flags: &cli::GenCert) -> Self {
        Self {
            tls: Tls { cert: flags.cert.clone(), key: flags.key.clone(), ..Tls::default() },
            ..Self::default()
        }
    }
}
