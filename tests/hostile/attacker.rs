//! A client that does what it likes: quinn below, and the protocol's bytes above.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quicstream::protocol::{Decoder, Frame, OpenStream, Options, Pdu, Role, Version};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use quinn::{TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::common::Serve;

/// Long, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection of a client that means ill.
pub(crate) struct Attacker {
    pub(crate) connection: Connection,
    version: Version,
    _endpoint: Endpoint,
}

impl Attacker {
    pub(crate) async fn connect(serve: &Serve) -> Self {
        Self::with(serve, Version::V2, |_| ()).await.unwrap()
    }

    /// Connects with other settings of the transport.
    pub(crate) async fn with(
        serve: &Serve,
        version: Version,
        change: impl FnOnce(&mut TransportConfig),
    ) -> Result<Self, ConnectionError> {
        let certificate = CertificateDer::from_pem_file(serve.certificate()).unwrap();
        let (endpoint, config) = client(Some(certificate), version, change);
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, serve.port));
        let connection = endpoint.connect_with(config, server, "localhost").unwrap().await?;
        Ok(Self { connection, version, _endpoint: endpoint })
    }

    pub(crate) async fn stream(&self) -> Stream {
        let (send, receive) = soon(self.connection.open_bi()).await.unwrap();
        let decoder = Decoder::new(self.version, Role::Client);
        Stream { send, receive, decoder, bytes: BytesMut::new(), version: self.version, id: 0 }
    }

    /// Waits until the server closes the connection, and returns the error code.
    pub(crate) async fn closed(&self) -> u64 {
        match soon(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("{other}"),
        }
    }
}

/// An endpoint, and how it connects.
fn client(
    trusted: Option<CertificateDer<'static>>,
    version: Version,
    change: impl FnOnce(&mut TransportConfig),
) -> (Endpoint, ClientConfig) {
    let mut roots = rustls::RootCertStore::empty();
    trusted.into_iter().for_each(|certificate| roots.add(certificate).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![version.alpn().as_bytes().to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(1)));
    change(&mut transport);
    config.transport_config(Arc::new(transport));
    (Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap(), config)
}

/// Sends the first packet of a handshake, and waits in vain for an answer.
pub(crate) async fn first_packet(server: SocketAddr) {
    let (endpoint, config) = client(None, Version::V2, |_| ());
    let _ = endpoint.connect_with(config, server, "localhost").unwrap().await;
}

/// A stream of an attacker.
pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
    decoder: Decoder,
    bytes: BytesMut,
    version: Version,
    /// What the server assigned.
    pub(crate) id: u32,
}

impl Stream {
    /// Sends what it can; a server that refuses the rest has its reasons.
    pub(crate) async fn send(&mut self, pdu: &Pdu) {
        let _ = self.send.write_all(&pdu.encode(self.version, self.id)).await;
    }

    /// Opens a session of the only title.
    pub(crate) async fn open(&mut self, options: Options) -> Pdu {
        self.send(&open_stream(options)).await;
        let answer = self.next().await.expect("an answer to OPEN_STREAM");
        if let Frame::Pdu { session_id, pdu: pdu @ Pdu::OpenAck(..) } = answer {
            self.id = session_id;
            return pdu;
        }
        let Frame::Pdu { pdu, .. } = answer else { panic!("{answer}") };
        pdu
    }

    /// The next thing that the server says; `None` if it says no more.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut bytes = self.bytes.split().freeze();
            let frame = self.decoder.decode(&mut bytes).unwrap();
            self.bytes = BytesMut::from(bytes);
            if frame.is_some() {
                return frame;
            }
            let chunk = soon(self.receive.read_chunk(65_536, true)).await.ok().flatten()?;
            self.bytes.extend_from_slice(&chunk.bytes);
        }
    }
}

pub(crate) fn open_stream(options: Options) -> Pdu {
    Pdu::OpenStream(OpenStream { codec: "h264".into(), ..OpenStream::default() }, options)
}

/// As fast as it goes.
pub(crate) fn unpaced() -> Options {
    Options { rate: Some(0), unverified: true, ..Options::default() }
}

pub(crate) fn heartbeat() -> Pdu {
    Pdu::Heartbeat { timestamp: 7, echo: false }
}

/// Shuts the flow control of each stream after so many bytes.
pub(crate) fn window(bytes: u32) -> impl FnOnce(&mut TransportConfig) {
    move |transport| {
        transport.stream_receive_window(VarInt::from_u32(bytes));
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Runs a command to its end while the attackers go on.
pub(crate) async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}
