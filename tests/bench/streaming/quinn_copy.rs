//! The bare copy once more, by quinn, with its own defaults.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, MtuDiscoveryConfig, TokioRuntime, TransportConfig};
use serde_json::json;

use crate::bare::{client_tls, read_block, server_tls};
use crate::say;
use crate::site::Site;

/// IPv4 and UDP headers, which quinn does not count as part of an MTU.
const HEADERS: u16 = 28;

/// Sends a file to each who asks, as fast as it goes.
pub(crate) async fn serve(site: &Site, mtu: u16, media: &Path) {
    let file = Arc::new(File::open(media).unwrap());
    let crypto = QuicServerConfig::try_from(server_tls(site)).unwrap();
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(mtu));
    let endpoint = endpoint(mtu, Some(config));
    say(&json!({"event": "listening", "addr": endpoint.local_addr().unwrap()}));
    while let Some(incoming) = endpoint.accept().await {
        let file = file.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let Ok((mut send, _receive)) = connection.accept_bi().await else { return };
            let mut offset = 0;
            while let Some(block) = read_block(&file, offset) {
                offset += block.len() as u64;
                // The other end, which counts what comes, says so if this fails.
                if send.write_chunk(block).await.is_err() {
                    return;
                }
            }
            let _ = send.finish();
            connection.closed().await;
        });
    }
}

/// Fetches what there is and throws it away.
pub(crate) async fn fetch(ca: &Path, mtu: u16, server: SocketAddr) {
    let crypto = QuicClientConfig::try_from(client_tls(ca)).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(mtu));
    let endpoint = endpoint(mtu, None);
    let connection = endpoint.connect_with(config, server, "localhost").unwrap().await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(b"GET").await.unwrap();
    let mut total = 0;
    while let Some(chunk) = receive.read_chunk(usize::MAX, true).await.unwrap() {
        if total == 0 {
            say(&json!({"event": "first"}));
        }
        total += chunk.bytes.len();
    }
    say(&json!({"event": "closed", "bytes": total, "chunks": 0}));
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
}

fn endpoint(mtu: u16, server: Option<quinn::ServerConfig>) -> Endpoint {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(mtu - HEADERS).unwrap();
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).unwrap()
}

fn transport(mtu: u16) -> Arc<TransportConfig> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(mtu - HEADERS);
    let mut transport = TransportConfig::default();
    transport.mtu_discovery_config(Some(discovery));
    Arc::new(transport)
}
