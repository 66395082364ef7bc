//! From a server's name to a session that it granted, as often as it takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::connect;
use super::{Error, PlaySettings, Remote};
use crate::protocol::{CloseReason, OpenAck, OpenStream, Options, Pdu, Version};
use crate::session::Time;
use crate::session::client::{Action, ClientSession, Earlier, End, Input, ScriptedPause};
use crate::transport::{
    self, Address, Connection, Connector, Fingerprint, Incoming, Outgoing, ReceiveError,
};

/// How long a last CLOSE_STREAM may take to be acknowledged.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);

/// The least and the most time between two tries that are made beside each other.
const BETWEEN_TRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The time between two tries, as a part of the time that all of them took so far: the clients of
/// a server that is away for long must not all come in the second that it comes back.
const TRIES_SLOW_DOWN: u32 = 20;

/// How many tries are made beside each other: enough for a path whose round trip is longer than
/// the time between them.
const MAX_TRIES: usize = 3;

/// What a connection to a server takes.
#[derive(Debug)]
pub(super) struct Dialer {
    connector: Arc<Connector>,
    server: Address,
    /// The name to expect in the certificate.
    name: String,
    /// How long to try to connect, and to wait for an answer.
    pub(super) patience: Duration,
}

impl Dialer {
    pub(super) fn new(server: &Remote, settings: &PlaySettings) -> Result<Self, Error> {
        let Remote { address, trust, name, transport } = server;
        let patience = settings.connect_timeout;
        let connector = Connector::new(transport, trust, &settings.versions, patience)?;
        Ok(Self {
            connector: Arc::new(connector),
            server: address.clone(),
            name: name.as_deref().unwrap_or(address.certificate_name()).to_owned(),
            patience,
        })
    }

    pub(super) async fn connect(
        &self,
        patience: Duration,
    ) -> Result<(Connection, Fingerprint), transport::Error> {
        connect(&self.connector, &self.server, &self.name, patience).await
    }

    /// Opens a session that goes on with an earlier one, over a connection of its own.
    async fn resume(self: Arc<Self>, request: Request) -> Result<Opened, Error> {
        let (mut connection, fingerprint) = self.connect(self.patience).await?;
        if connection.handle().version() == Version::V1 {
            return Err(Error::CannotContinue);
        }
        let granted = open(&mut connection, request, self.patience).await?;
        Ok(Opened { connection, fingerprint, granted })
    }
}

/// What a session is asked for with.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) open: OpenStream,
    pub(super) options: Options,
    /// What the session has to go on with.
    pub(super) earlier: Earlier,
    /// The pause that is to be made on the way.
    pub(super) script: Option<ScriptedPause>,
    /// Whether to pause at once.
    pub(super) paused: bool,
}

/// What OPEN_ACK granted, and the stream that it came on.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    pub(super) machine: ClientSession,
    /// The session's clock reads zero here.
    pub(super) began: Instant,
    pub(super) ack: OpenAck,
    pub(super) options: Options,
    pub(super) session_id: u32,
}

/// A session on a connection of its own.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) fingerprint: Fingerprint,
    pub(super) granted: Granted,
}

/// Asks for a session on a new stream and waits for the answer, `patience` at most for each.
///
/// # Errors
/// The server refused or did not answer, or the connection is gone.
pub(super) async fn open(
    connection: &mut Connection,
    request: Request,
    patience: Duration,
) -> Result<Granted, Error> {
    let version = connection.handle().version();
    let (mut outgoing, mut incoming) = open_stream(connection, patience).await?;
    let Request { open, options, earlier, script, paused } = request;
    let began = Instant::now();
    let machine = ClientSession::new(version, script, patience, Time::ZERO).resuming(earlier);
    let mut machine = if paused { machine.paused() } else { machine };
    let mut input = Input::Connected(open, options);
    loop {
        let (next, actions) = machine.step(input, began.elapsed());
        machine = next;
        let mut accepted = None;
        for action in actions.into_iter().flatten() {
            match action {
                Action::Send(pdu) => outgoing.queue(&pdu),
                Action::Accepted { ack, options, session_id } => {
                    outgoing.set_session_id(session_id);
                    accepted = Some((ack, options, session_id));
                }
                Action::End(end) => {
                    if end.is_violation() {
                        let _ = timeout(FAREWELL, say_violation(&mut outgoing, version)).await;
                    }
                    return Err(Error::Session(end));
                }
                _ => {}
            }
        }
        if let Some((ack, options, session_id)) = accepted {
            return Ok(Granted { outgoing, incoming, machine, began, ack, options, session_id });
        }
        let frame = async {
            outgoing.drain().await?;
            incoming.frame().await
        };
        let left = patience.saturating_sub(began.elapsed());
        input = match timeout(left, frame).await {
            Ok(Ok(Some(frame))) => Input::Frame(frame),
            Ok(Ok(None)) => Input::StreamEnded,
            Ok(Err(ReceiveError::Protocol(error))) => Input::Violation(error),
            Ok(Err(ReceiveError::Transport(error))) => return Err(cut(error)),
            Err(_) => Input::Tick,
        };
    }
}

/// Opens a stream, for which a server may make its clients wait.
pub(super) async fn open_stream(
    connection: &mut Connection,
    patience: Duration,
) -> Result<(Outgoing, Incoming), Error> {
    let opened = timeout(patience, connection.open_stream()).await;
    Ok(opened.map_err(|_| Error::no_answer("the opening of a stream", patience))??)
}

/// Tells a server of version 2 that it broke the protocol.
pub(super) async fn say_violation(outgoing: &mut Outgoing, version: Version) {
    if version != Version::V1 {
        outgoing.queue(&Pdu::Close(CloseReason::VIOLATION, Options::default()));
        outgoing.finish();
        let _ = outgoing.delivered().await;
    }
}

/// A reset takes away what was under way: the same as an end without CLOSE_STREAM.
pub(super) fn cut(error: transport::Error) -> Error {
    match error {
        transport::Error::Reset(_) => Error::Session(End::Cut),
        error => error.into(),
    }
}

/// Tries to go on with a session over a new connection, several of them beside each other where
/// the server is silent: a try whose first packets fall into an outage waits for seconds after its
/// end.
#[derive(Debug)]
pub(super) struct Tries {
    dialer: Arc<Dialer>,
    running: JoinSet<Result<Opened, Error>>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Tries {
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, running: JoinSet::new(), oldest_first: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts one more; the oldest gives way where there are too many.
    pub(super) fn start(&mut self, request: Request) {
        if self.oldest_first.len() == MAX_TRIES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        let started = self.running.spawn(self.dialer.clone().resume(request));
        self.oldest_first.push_back(started);
    }

    /// Gives all of them up.
    pub(super) fn give_up(&mut self) {
        if !self.is_empty() {
            self.running = JoinSet::new();
            self.oldest_first.clear();
        }
    }

    /// The first to succeed or to fail; the others are given up. Waits for ever where there are
    /// none.
    pub(super) async fn first(&mut self) -> Result<Opened, Error> {
        while let Some(tried) = self.running.join_next().await {
            // One that gave way has nothing to say.
            if let Ok(tried) = tried {
                self.give_up();
                return tried;
            }
        }
        std::future::pending().await
    }

    /// Starts one, and one more each second, later less often, until one succeeds or fails;
    /// `patience` for all of them.
    pub(super) async fn run(
        &mut self,
        request: &Request,
        patience: Duration,
    ) -> Result<Opened, Error> {
        let began = Instant::now();
        let [least, most] = BETWEEN_TRIES;
        loop {
            self.start(request.clone());
            let next = Instant::now() + (began.elapsed() / TRIES_SLOW_DOWN).clamp(least, most);
            match timeout_at(next.min(began + patience), self.first()).await {
                Ok(tried) => return tried,
                Err(_) if began.elapsed() < patience => {}
                Err(_) => {
                    let server = self.dialer.server.to_string();
                    return Err(transport::Error::NoAnswer { server, after: patience }.into());
                }
            }
        }
    }
}
