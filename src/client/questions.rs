//! Questions that a server answers without a session.

use std::time::Duration;

use tokio::time::timeout;

use super::link::{cut, open_stream};
use super::progress::Title;
use super::{Error, Secret};
use crate::protocol::{CloseReason, Frame, OpenStream, Options, Pdu};
use crate::session::client::End;
use crate::transport::{Connection, Incoming, Outgoing, ReceiveError};

/// How large a catalogue may be, bytes on the wire: a server that never comes to an end must not
/// make us keep what it sends.
pub(super) const MAX_CATALOGUE: usize = 32 * 1024 * 1024;

/// Bytes on the wire of an entry with a title, a size and a media type, beside these texts.
const ENTRY: usize = 22;

/// How many times as long as one answer a whole catalogue may take.
const CATALOGUE_PATIENCE: u32 = 10;

/// The catalogue, of which each part is to come within `patience`.
pub(super) async fn titles(
    connection: &mut Connection,
    token: Option<&Secret>,
    patience: Duration,
) -> Result<Vec<Title>, Error> {
    let whole = patience.saturating_mul(CATALOGUE_PATIENCE);
    let titles = timeout(whole, all_titles(connection, token, patience)).await;
    titles.unwrap_or_else(|_| Err(Error::no_answer("LIST to the end", whole)))
}

async fn all_titles(
    connection: &mut Connection,
    token: Option<&Secret>,
    patience: Duration,
) -> Result<Vec<Title>, Error> {
    let (mut outgoing, mut incoming) = open_stream(connection, patience).await?;
    let token = token.map(Secret::to_wire);
    outgoing.queue(&Pdu::List(Options { token, ..Options::default() }));
    outgoing.finish();
    let mut titles = Vec::new();
    let mut size = 0;
    while size <= MAX_CATALOGUE {
        match answer(&mut outgoing, &mut incoming, patience, "LIST").await? {
            (_, Pdu::ListReply { entries, more }) => {
                // A reply without any must not be repeated for ever, either.
                size += ENTRY + entries.iter().map(size_of_entry).sum::<usize>();
                titles.extend(entries.into_iter().filter_map(title));
                if !more {
                    return Ok(titles);
                }
            }
            (_, Pdu::OpenNack(code, options)) => return Err(refused(code, options)),
            _ => return Err(Error::BrokenOff("LIST")),
        }
    }
    Err(Error::EndlessCatalogue)
}

fn size_of_entry(entry: &Options) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    ENTRY + text(&entry.title) + text(&entry.media_type)
}

/// Bytes of the whole media: opens a session and closes it again.
pub(super) async fn size(
    connection: &mut Connection,
    open: OpenStream,
    options: Options,
    patience: Duration,
) -> Result<u64, Error> {
    let (mut outgoing, mut incoming) = open_stream(connection, patience).await?;
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
        _ => Err(Error::BrokenOff("how large the media is")),
    }
}

fn refused(code: u16, options: Options) -> Error {
    Error::Session(End::refused(code, options))
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
                Ok(None) => return Err(Error::BrokenOff(question)),
                Err(ReceiveError::Transport(error)) => return Err(cut(error)),
            }
        }
    };
    timeout(patience, frame).await.unwrap_or_else(|_| Err(Error::no_answer(question, patience)))
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
