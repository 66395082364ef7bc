//! s2n-quic without quicstream: the same settings as `quicstream::transport` has, and loops that do
//! nothing but send and receive. What quicstream costs on top is measured against these.
//!
//! Only the endpoint's rings are as s2n-quic has them, unless [`OUR_RINGS`] is set: with those of
//! quicstream this copy is slower at an MTU of 1500.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quicstream::protocol::{Chunk, CloseReason, OpenAck, Options, Pdu, Version};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s2n_quic::client::Connect;
use s2n_quic::provider::congestion_controller::Bbr;
use s2n_quic::provider::io::tokio as io_provider;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::rustls as tls_provider;
use s2n_quic::stream::{ReceiveStream, SendStream};
use s2n_quic::{Client, Server};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::say;
use crate::site::{OUR_RINGS, Site};

/// The media of one chunk, and of one send.
pub(crate) const CHUNK: usize = 64 * 1024;

const RECEIVE_WINDOW: u64 = 2 * 1024 * 1024;
const CONTROL_WINDOW: u64 = 64 * 1024;
const SEND_BUFFER: u32 = 1024 * 1024;
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
const SEND_RING: usize = 256 * 1024;
const RECEIVE_RING: usize = 1024 * 1024;
const IDLE: Duration = Duration::from_secs(30);

/// A server on a free port of loopback.
pub(crate) fn server(site: &Site, mtu: u16) -> Server {
    let limits = limits()
        .with_data_window(CONTROL_WINDOW)
        .and_then(|limits| limits.with_bidirectional_remote_data_window(CONTROL_WINDOW))
        .and_then(|limits| limits.with_max_send_buffer_size(SEND_BUFFER))
        .unwrap();
    Server::builder()
        .with_tls(tls_provider::Server::from(server_tls(site)))
        .unwrap()
        .with_limits(limits)
        .unwrap()
        .with_io(io("127.0.0.1:0".parse().unwrap(), mtu, true))
        .unwrap()
        .with_congestion_controller(Bbr::default())
        .unwrap()
        .start()
        .unwrap()
}

/// TLS of a server with the certificate of the site.
pub(crate) fn server_tls(site: &Site) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_file_iter(site.cert()).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(site.key()).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = alpn();
    tls
}

/// An endpoint for any number of connections. With `gso` the kernel takes packets of several of
/// them as one, which over loopback comes to one worker of the server.
pub(crate) fn client(ca: &Path, mtu: u16, gso: bool) -> Client {
    let limits = limits()
        .with_data_window(RECEIVE_WINDOW)
        .and_then(|limits| limits.with_bidirectional_local_data_window(RECEIVE_WINDOW))
        .unwrap();
    Client::builder()
        .with_tls(tls_provider::Client::from(client_tls(ca)))
        .unwrap()
        .with_limits(limits)
        .unwrap()
        .with_io(io("0.0.0.0:0".parse().unwrap(), mtu, gso))
        .unwrap()
        .with_congestion_controller(Bbr::default())
        .unwrap()
        .start()
        .unwrap()
}

/// TLS of a client that trusts `ca`.
pub(crate) fn client_tls(ca: &Path) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = alpn();
    tls
}

/// Sends a file to each who asks, as fast as it goes.
pub(crate) async fn serve_bulk(site: &Site, mtu: u16, media: &Path) {
    let file = Arc::new(File::open(media).unwrap());
    serve(server(site, mtu), move |_, mut send| {
        let file = file.clone();
        async move {
            let mut offset = 0;
            while let Some(block) = read_block(&file, offset) {
                offset += block.len() as u64;
                send.send(block).await?;
            }
            send.close().await
        }
    })
    .await;
}

/// The next bytes of a file, until there are none.
pub(crate) fn read_block(file: &File, offset: u64) -> Option<Bytes> {
    let mut block = vec![0; CHUNK];
    let read = file.read_at(&mut block, offset).unwrap();
    block.truncate(read);
    (read > 0).then(|| block.into())
}

/// Sends as many bytes to each who asks, always the same from memory.
pub(crate) async fn serve_memory(site: &Site, mtu: u16, size: u64) {
    serve(server(site, mtu), move |_, mut send| async move {
        let block = Bytes::from(vec![0; CHUNK]);
        let mut left = size;
        while left > 0 {
            let chunk = block.slice(..left.min(CHUNK as u64) as usize);
            left -= chunk.len() as u64;
            send.send(chunk).await?;
        }
        send.close().await
    })
    .await;
}

/// Fetches what there is and throws it away, or writes it to a file.
pub(crate) async fn fetch(ca: &Path, mtu: u16, server: SocketAddr, output: Option<&str>) {
    let mut output = output.map(|path| File::create(path).unwrap());
    let client = client(ca, mtu, true);
    let connect = Connect::new(server).with_server_name("localhost");
    let mut connection = client.connect(connect).await.unwrap();
    let (mut receive, mut send) = connection.open_bidirectional_stream().await.unwrap().split();
    send.send(Bytes::from_static(b"GET")).await.unwrap();
    let mut pieces = [const { Bytes::new() }; 32];
    let mut total = 0;
    let mut open = true;
    while open {
        let count;
        (count, open) = receive.receive_vectored(&mut pieces).await.unwrap();
        if total == 0 && count > 0 {
            say(&json!({"event": "first"}));
        }
        for piece in pieces.iter_mut().take(count).map(std::mem::take) {
            total += piece.len();
            if let Some(output) = &mut output {
                output.write_all(&piece).unwrap();
            }
        }
    }
    say(&json!({"event": "closed", "bytes": total, "chunks": 0}));
}

/// Sends a media to each who asks, in the chunks and on the schedule that quicstream sends it, and
/// without anything else that it does.
pub(crate) async fn serve_paced(site: &Site, mtu: u16, media: &Path, rate: u64) {
    let media = Bytes::from(std::fs::read(media).unwrap());
    serve(server(site, mtu), move |mut receive, mut send| {
        let media = media.clone();
        async move {
            receive.receive().await?;
            let began = Instant::now();
            let terms = OpenAck {
                bitrate: rate as u32,
                max_chunk_size: CHUNK as u32,
                keepalive: 5,
                session_timeout: 30,
            };
            let ack = Pdu::OpenAck(terms, Options::default()).encode(Version::V2, 1);
            send.send(ack).await?;
            for (index, start) in (0..media.len()).step_by(CHUNK).enumerate() {
                let bits = start as u64 * 8;
                sleep_until(began + Duration::from_nanos(bits * 1_000_000_000 / rate)).await;
                let payload = media.slice(start..media.len().min(start + CHUNK));
                let seq = index as u32 + 1;
                let prefix = Chunk::prefix(Version::V2, 1, seq, payload.len() as u32);
                let mut pieces = [Bytes::copy_from_slice(&prefix), payload];
                send.send_vectored(&mut pieces).await?;
            }
            let close = Pdu::Close(CloseReason::COMPLETE, Options::default());
            send.send(close.encode(Version::V2, 1)).await?;
            send.close().await
        }
    })
    .await;
}

/// Says where it listens and runs `attend` for every stream.
async fn serve<F>(
    mut server: Server,
    attend: impl Fn(ReceiveStream, SendStream) -> F + Clone + Send + 'static,
) where
    F: Future<Output = s2n_quic::stream::Result<()>> + Send + 'static,
{
    say(&json!({"event": "listening", "addr": server.local_addr().unwrap()}));
    while let Some(mut connection) = server.accept().await {
        let attend = attend.clone();
        tokio::spawn(async move {
            while let Ok(Some(stream)) = connection.accept_bidirectional_stream().await {
                let (receive, send) = stream.split();
                // The other end, which checks what comes, says so if this fails.
                let _ = attend(receive, send).await;
            }
        });
    }
}

fn limits() -> Limits {
    Limits::new()
        .with_max_idle_timeout(IDLE)
        .and_then(|limits| limits.with_max_keep_alive_period(IDLE / 3))
        .unwrap()
}

fn io(address: SocketAddr, mtu: u16, gso: bool) -> io_provider::Provider {
    let mut io = io_provider::Builder::default()
        .with_receive_address(address)
        .and_then(|io| io.with_gso(gso))
        .and_then(|io| io.with_max_mtu(mtu))
        .and_then(|io| io.with_send_buffer_size(SOCKET_BUFFER))
        .and_then(|io| io.with_recv_buffer_size(SOCKET_BUFFER))
        .unwrap();
    if std::env::var_os(OUR_RINGS).is_some() {
        io = io
            .with_internal_send_buffer_size(SEND_RING)
            .and_then(|io| io.with_internal_recv_buffer_size(RECEIVE_RING))
            .unwrap();
    }
    io.build().unwrap()
}

/// AES-128, which quicstream prefers.
fn provider() -> Arc<CryptoProvider> {
    let suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() })
}

fn alpn() -> Vec<Vec<u8>> {
    vec![Version::V2.alpn().as_bytes().to_vec()]
}
