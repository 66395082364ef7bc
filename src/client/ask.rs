//! Questions that a server answers without a session.

use std::time::Duration;

use tokio::time::timeout;

use super::Error;
use super::progress::Title;
use crate::protocol::{CloseReason, Frame, OpenStream, Options, Pdu};
use crate::session::client::End;
use crate::transport::{Connection, Incoming, Outgoing, ReceiveError};

/// How many entries a catalogue may have: a server that never comes to an end must not make us
/// keep them.
pub(super) const MAX_TITLES: usize = 1_000_000;

/// The catalogue.
pub(super) async fn titles(
    connection: &mut Connection,
    patience: Duration,
) -> Result<Vec<Title>, Error> {
    let (mut outgoing, mut incoming) = connection.open_stream().await?;
    outgoing.queue(&Pdu::List(Options::default()));
    outgoing.finish();
    let mut titles = Vec::new();
    let mut seen = 0;
    while seen < MAX_TITLES {
        match answer(&mut outgoing, &mut incoming, patience, "LIST").await? {
            (_, Pdu::ListReply { entries, more }) => {
                // A reply without any must not be repeated for ever, either.
                seen += entries.len().max(1);
                titles.extend(entries.into_iter().filter_map(title));
                if !more {
                    return Ok(titles);
                }
            }
            (_, Pdu::OpenNack(code, options)) => return Err(refused(code, options)),
            _ => return Err(Error::NoAnswer("LIST")),
        }
    }
    Err(Error::EndlessCatalogue)
}

/// Bytes of the whole media: opens a session and closes it again.
pub(super) async fn size(
    connection: &mut Connection,
    open: OpenStream,
    options: Options,
    patience: Duration,
) -> Result<u64, Error> {
    let (mut outgoing, mut incoming) = connection.open_stream().await?;
    // As slow as it gets, and without a digest: nobody reads the media.
    let options = Options { start_offset: None, rate: Some(1), unverified: true, ..options };
    outgoing.queue(&Pdu::OpenStream(open, options));
    match answer(&mut outgoing, &mut incoming, patience, "OPEN_STREAM").await? {
        (session_id, Pdu::OpenAck(_, Options { total_size: Some(size), .. })) => {
            outgoing.set_session_id(session_id);
            outgoing.queue(&Pdu::Close(CloseReason::CLIENT, Options::default()));
            outgoing.finish();
            outgoing.drain().await?;
            Ok(size)
        }
        (_, Pdu::OpenNack(code, options)) => Err(refused(code, options)),
        _ => Err(Error::NoAnswer("how large the media is")),
    }
}

fn refused(code: u16, options: Options) -> Error {
    let (reason, retry_after) = (options.reason, None);
    Error::Session(End::Refused { code, reason, retry_after })
}

/// The next PDU with its session id, after what is queued has left.
async fn answer(
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    patience: Duration,
    question: &'static str,
) -> Result<(u32, Pdu), Error> {
    let frame = async {
        outgoing.drain().await?;
        loop {
            match incoming.frame().await {
                Ok(Some(Frame::Pdu { session_id, pdu })) => return Ok((session_id, pdu)),
                Ok(Some(Frame::Skipped { .. })) => {}
                Ok(Some(Frame::Malformed(error))) | Err(ReceiveError::Protocol(error)) => {
                    return Err(Error::Session(End::Violation(error)));
                }
                Ok(None) => return Err(Error::NoAnswer(question)),
                Err(ReceiveError::Transport(error)) => return Err(error.into()),
            }
        }
    };
    timeout(patience, frame).await.unwrap_or(Err(Error::NoAnswer(question)))
}

fn title(entry: Options) -> Option<Title> {
    Some(Title {
        title: entry.title?,
        size: entry.total_size,
        media_type: entry.media_type,
        bitrate: entry.bitrate,
        live: entry.live,
    })
}
