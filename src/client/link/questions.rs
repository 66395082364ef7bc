//! Questions that a server answers without a session.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::open::{cut, open_stream};
use crate::client::{Error, Secret, Title};
use crate::protocol::{CloseReason, Frame, OpenStream, Options, Pdu};
use crate::session::client::End;
use crate::transport::{Connection, Incoming, Outgoing, ReceiveError};

/// How large a catalogue may be, bytes on the wire: a server that never comes to an end must not
/// make us keep what it sends.
pub(in crate::client) const MAX_CATALOGUE: usize = 32 * 1024 * 1024;

/// What is asked for where the media is not played: every server has it.
const ANY_CODEC: &str = "h264";

/// Bytes on the wire of an entry with a title, a size and a media type, beside these texts.
const ENTRY: usize = 22;

/// How many times as long as one answer a whole catalogue may take.
const CATALOGUE_PATIENCE: u32 = 10;

/// The catalogue, of which each part is to come within `answer_within`.
pub(in crate::client) async fn titles(
    connection: &Connection,
    token: Option<&Secret>,
    answer_within: Duration,
) -> Result<Vec<Title>, Error> {
    let whole = answer_within.saturating_mul(CATALOGUE_PATIENCE);
    let titles = timeout(whole, all_titles(connection, token, answer_within)).await;
    titles.unwrap_or_else(|_| Err(Error::no_answer("LIST to the end", whole)))
}

async fn all_titles(
    connection: &Connection,
    token: Option<&Secret>,
    answer_within: Duration,
) -> Result<Vec<Title>, Error> {
    let (mut outgoing, mut incoming) = open_stream(connection, answer_within).await?;
    let token = token.map(Secret::to_wire);
    outgoing.queue(&Pdu::List(Options { token, ..Options::default() }));
    outgoing.finish();
    let mut titles = Vec::new();
    let mut size = 0;
    while size <= MAX_CATALOGUE {
        match answer(&mut outgoing, &mut incoming, answer_within, "LIST").await? {
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
pub(in crate::client) async fn size(
    connection: &Connection,
    open: OpenStream,
    options: Options,
    answer_within: Duration,
) -> Result<u64, Error> {
    let (mut outgoing, mut incoming) = open_stream(connection, answer_within).await?;
    // As slow as it gets, and without a digest: nobody reads the media.
    let options = Options { start_offset: None, rate: Some(1), unverified: true, ..options };
    outgoing.queue(&Pdu::OpenStream(open, options));
    match answer(&mut outgoing, &mut incoming, answer_within, "OPEN_STREAM").await? {
        (session_id, Pdu::OpenAck(_, Options { total_size: Some(size), .. })) => {
            outgoing.set_session_id(session_id);
            outgoing.queue(&Pdu::Close(CloseReason::CLIENT, Options::default()));
            outgoing.finish();
            outgoing.drain().await?;
            Ok(size)
        }
        (_, Pdu::OpenNack(code, options)) => Err(refused(code, options)),
        (_, Pdu::OpenAck(_, Options { live: true, .. })) => Err(Error::NoSize),
        _ => Err(Error::BrokenOff("how large the media is")),
    }
}

/// What a server says of a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Bytes in all; `None` while it is live.
    pub size: Option<u64>,
    /// What tells it from other media.
    pub validator: Bytes,
    /// An IANA media type; empty if it is not known.
    pub media_type: String,
    /// When it was last changed, milliseconds since the Unix epoch.
    pub modified: Option<u64>,
}

/// What there is to know of a title: opens a session of no byte, which is over at once.
pub(super) async fn describe(
    connection: &Connection,
    title: &str,
    token: Option<&Secret>,
    answer_within: Duration,
) -> Result<Description, Error> {
    let (mut outgoing, mut incoming) = open_stream(connection, answer_within).await?;
    let options = Options {
        title: Some(title.to_owned()),
        token: token.map(Secret::to_wire),
        end_offset: Some(0),
        start_ago: Some(0),
        rate: Some(1),
        unverified: true,
        ..Options::default()
    };
    let open = OpenStream { codec: ANY_CODEC.to_owned(), ..OpenStream::default() };
    outgoing.queue(&Pdu::OpenStream(open, options));
    match answer(&mut outgoing, &mut incoming, answer_within, "OPEN_STREAM").await? {
        (session_id, Pdu::OpenAck(_, options)) => {
            outgoing.set_session_id(session_id);
            outgoing.queue(&Pdu::Close(CloseReason::CLIENT, Options::default()));
            outgoing.finish();
            outgoing.drain().await?;
            Ok(Description {
                size: options.total_size,
                validator: options.validator.unwrap_or_default(),
                media_type: options.media_type.unwrap_or_default(),
                modified: options.modified,
            })
        }
        (_, Pdu::OpenNack(code, options)) => Err(refused(code, options)),
        _ => Err(Error::BrokenOff("what the media is")),
    }
}

fn refused(code: u16, options: Options) -> Error {
    Error::Session(End::refused(code, options))
}

/// The next PDU with its session id, after what is queued has left.
async fn answer(
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    answer_within: Duration,
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
    timeout(answer_within, frame)
        .await
        .unwrap_or_else(|_| Err(Error::no_answer(question, answer_within)))
}

fn title(entry: Options) -> Option<Title> {
    Some(Title {
        title: entry.title?,
        size: entry.total_size,
        media_type: entry.media_type,
        bitrate: entry.bitrate,
        live: entry.live,
        since: entry.modified.filter(|_| entry.live),
    })
}
