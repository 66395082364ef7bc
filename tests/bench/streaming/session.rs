//! A viewer that speaks version 2 and does nothing on its own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use quicstream::protocol::{Decoder, Frame, OpenStream, Options, Pdu, Role, Version};
use s2n_quic::client::Connect;
use s2n_quic::stream::{ReceiveStream, SendStream};
use s2n_quic::{Client, Connection};

/// Why a session is of no use any more.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// How often a viewer says that it is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// One session on a connection of its own.
pub(crate) struct Session {
    _connection: Connection,
    receive: ReceiveStream,
    send: SendStream,
    decoder: Decoder,
    /// Pieces taken from the transport, last first.
    pieces: Vec<Bytes>,
    current: Bytes,
    session_id: u32,
}

impl Session {
    /// Connects; the server hears nothing of a session yet.
    pub(crate) async fn connect(
        client: &Client,
        server: SocketAddr,
    ) -> Result<Connection, Trouble> {
        Ok(client.connect(Connect::new(server).with_server_name("localhost")).await?)
    }

    /// Asks for a title at a rate and waits for OPEN_ACK.
    pub(crate) async fn open(
        connection: Connection,
        title: Option<String>,
        rate: u64,
    ) -> Result<Self, Trouble> {
        let options = Options { title, rate: Some(rate), ..Options::default() };
        Ok(Self::ask(connection, options).await?.0)
    }

    /// Joins the only broadcast at its newest place, and returns that, too.
    pub(crate) async fn join(connection: Connection) -> Result<(Self, u64), Trouble> {
        let options = Options { start_ago: Some(0), ..Options::default() };
        let (session, granted) = Self::ask(connection, options).await?;
        Ok((session, granted.start_offset.ok_or("there is no START_OFFSET")?))
    }

    async fn ask(mut connection: Connection, options: Options) -> Result<(Self, Options), Trouble> {
        let (receive, send) = connection.open_bidirectional_stream().await?.split();
        let mut session = Self {
            _connection: connection,
            receive,
            send,
            decoder: Decoder::new(Version::V2, Role::Client),
            pieces: Vec::new(),
            current: Bytes::new(),
            session_id: 0,
        };
        let terms = OpenStream { codec: "h264".into(), ..OpenStream::default() };
        // What comes is checked byte by byte, and a bare server computes no digests either.
        let options = Options { unverified: true, ..options };
        session.send(&Pdu::OpenStream(terms, options)).await?;
        match session.frame().await? {
            Some(Frame::Pdu { session_id, pdu: Pdu::OpenAck(_, granted) }) => {
                session.session_id = session_id;
                Ok((session, granted))
            }
            other => Err(format!("instead of OPEN_ACK: {other:?}").into()),
        }
    }

    pub(crate) async fn send(&mut self, pdu: &Pdu) -> Result<(), Trouble> {
        Ok(self.send.send(pdu.encode(Version::V2, self.session_id)).await?)
    }

    pub(crate) async fn heartbeat(&mut self) -> Result<(), Trouble> {
        self.send(&Pdu::Heartbeat { timestamp: 0, echo: false }).await
    }

    /// The next frame; nothing is lost when the future is dropped.
    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, Trouble> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.current)? {
                return Ok(Some(frame));
            }
            match self.pieces.pop() {
                Some(piece) => self.current = piece,
                None if !self.receive().await? => return Ok(None),
                None => {}
            }
        }
    }

    async fn receive(&mut self) -> Result<bool, Trouble> {
        let mut batch = [const { Bytes::new() }; 32];
        let (count, open) = self.receive.receive_vectored(&mut batch).await?;
        self.pieces.extend(batch.into_iter().take(count).rev());
        Ok(count > 0 || open)
    }
}
