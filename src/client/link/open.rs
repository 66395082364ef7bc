//! From OPEN_STREAM to what the server grants.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::client::Error;
use crate::protocol::{CloseReason, Frame, OpenAck, OpenStream, Options, Pdu, Version};
use crate::session::Time;
use crate::session::client::{Action, ClientSession, Earlier, End, Input, ScriptedPause};
use crate::transport::{self, Connection, Incoming, Outgoing, ReceiveError};

/// How long a last CLOSE_STREAM may take to be acknowledged.
pub(in crate::client) const FAREWELL: Duration = Duration::from_millis(500);

/// What a session is asked for with.
#[derive(Debug, Clone)]
pub(in crate::client) struct Request {
    pub(in crate::client) open: OpenStream,
    pub(in crate::client) options: Options,
    /// What the session has to go on with.
    pub(in crate::client) earlier: Earlier,
    /// The pause that is to be made on the way.
    pub(in crate::client) script: Option<ScriptedPause>,
    /// Whether to pause at once.
    pub(in crate::client) paused: bool,
}

/// What OPEN_ACK granted, and the stream that it came on.
#[derive(Debug)]
pub(in crate::client) struct Granted {
    pub(in crate::client) outgoing: Outgoing,
    pub(in crate::client) incoming: Incoming,
    pub(in crate::client) machine: ClientSession,
    /// The session's clock reads zero here.
    pub(in crate::client) began: Instant,
    pub(in crate::client) ack: OpenAck,
    pub(in crate::client) options: Options,
    pub(in crate::client) session_id: u32,
}

/// Asks for a session on a new stream and waits for the answer, `answer_within` at most for each.
///
/// # Errors
/// The server refused or did not answer, or the connection is gone.
pub(in crate::client) async fn open(
    connection: &Connection,
    request: Request,
    answer_within: Duration,
) -> Result<Granted, Error> {
    let version = connection.handle().version();
    let (mut outgoing, mut incoming) = open_stream(connection, answer_within).await?;
    let Request { open, options, earlier, script, paused } = request;
    let began = Instant::now();
    let machine = ClientSession::new(version, script, answer_within, Time::ZERO).resuming(earlier);
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
        let left = answer_within.saturating_sub(began.elapsed());
        input = match timeout(left, frame).await {
            Ok(Ok(Some(frame))) => {
                // Whatever is wrong with an OPEN_ACK is said of its session.
                if let Frame::Pdu { session_id, pdu: Pdu::OpenAck(..) } = &frame {
                    outgoing.set_session_id(*session_id);
                }
                Input::Frame(frame)
            }
            Ok(Ok(None)) => Input::StreamEnded,
            Ok(Err(ReceiveError::Protocol(error))) => Input::Violation(error),
            Ok(Err(ReceiveError::Transport(error))) => return Err(cut(error)),
            Err(_) => Input::Tick,
        };
    }
}

/// Opens a stream, for which a server may make its clients wait.
pub(in crate::client) async fn open_stream(
    connection: &Connection,
    answer_within: Duration,
) -> Result<(Outgoing, Incoming), Error> {
    let opened = timeout(answer_within, connection.open_stream()).await;
    Ok(opened.map_err(|_| Error::no_answer("the opening of a stream", answer_within))??)
}

/// Tells a server of version 2 that it broke the protocol.
pub(in crate::client) async fn say_violation(outgoing: &mut Outgoing, version: Version) {
    if version != Version::V1 {
        outgoing.queue(&Pdu::Close(CloseReason::VIOLATION, Options::default()));
        outgoing.finish();
        let _ = outgoing.delivered().await;
    }
}

/// A reset takes away what was under way: the same as an end without CLOSE_STREAM.
pub(in crate::client) fn cut(error: transport::Error) -> Error {
    match error {
        transport::Error::Reset(_) => Error::Session(End::Cut),
        error => error.into(),
    }
}
