//! Producers of broadcasts: stdin, and FIFOs. Each has a thread of its own, which nothing else makes
//! wait.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};

use super::fifo::{Fifo, is_readable};
use crate::config::LiveConfig;
use crate::media::{self, Broadcaster, LiveEvent, PIECE_TIME};
use crate::server::ServeEvent;

/// What is taken from a producer into one allocation, bytes: in pieces, as it comes, which share it.
const BLOCK: usize = 64 * 1024;

/// How far a producer may be ahead of its thread, bytes, which a core full of viewers may not let run
/// at once: as much as Linux lets anybody have (pipe(7)).
const AHEAD: usize = 1024 * 1024;

/// A broadcast that is to begin.
pub(super) struct Producer {
    broadcaster: Arc<Broadcaster>,
    input: Input,
    linger: Duration,
}

enum Input {
    Stdin(File),
    Fifo(Fifo),
}

/// Why what a producer writes is not broadcast any more.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] media::Error),
}

/// Makes the broadcasts that are asked for, before anything comes.
///
/// # Errors
/// One cannot come from where it should, or be recorded where it should.
pub(super) fn producers(config: &LiveConfig) -> anyhow::Result<Vec<Producer>> {
    let mut fifos = HashMap::new();
    let mut producers = Vec::new();
    for (title, path) in &config.broadcasts {
        let input = match path {
            None if io::stdin().is_terminal() => bail!(
                "nothing is piped into --live {title}: such as ffmpeg ... -f mpegts - | quicstream \
                 serve --live {title}"
            ),
            None => Input::Stdin(
                io::stdin().as_fd().try_clone_to_owned().context("cannot read stdin")?.into(),
            ),
            Some(path) => {
                let what = || format!("cannot broadcast {title} from {}", path.display());
                let fifo = Fifo::open(path).with_context(what)?;
                if let Some(other) = fifos.insert(fifo.identity().with_context(what)?, title) {
                    bail!("{}: {other} comes from there", what());
                }
                Input::Fifo(fifo)
            }
        };
        let mut broadcaster = Broadcaster::new(title.clone(), config.window);
        if let Some(directory) = &config.record {
            let what = || format!("cannot record {title} in {}", directory.display());
            broadcaster = broadcaster.recorded_in(directory).with_context(what)?;
        }
        let broadcaster = Arc::new(broadcaster);
        producers.push(Producer { broadcaster, input, linger: config.linger });
    }
    Ok(producers)
}

impl Producer {
    pub(super) fn broadcaster(&self) -> Arc<Broadcaster> {
        self.broadcaster.clone()
    }

    /// Whether it ends for good when its writer does.
    pub(super) fn is_stdin(&self) -> bool {
        matches!(self.input, Input::Stdin(_))
    }

    /// Broadcasts what comes, on a thread of its own. `ended` is called when no more can come, with
    /// the reason if that is refused.
    pub(super) fn start(
        self,
        report: impl Fn(ServeEvent) + Send + 'static,
        ended: impl FnOnce(Option<anyhow::Error>) + Send + 'static,
    ) -> io::Result<()> {
        let run = move || {
            let Self { broadcaster, input, linger } = self;
            let title = broadcaster.title().to_owned();
            let send = |bytes: Bytes| {
                if broadcaster.send(bytes)? == Some(LiveEvent::Started) {
                    report(ServeEvent::LiveStarted { title: title.clone() });
                }
                Ok(())
            };
            // What is refused of it is missing, too.
            let broken = |error: &media::Error| Arc::new(io::Error::other(error.to_string()));
            let end = |cause: String, broken: Option<Arc<io::Error>>| {
                if let Some(LiveEvent::Ended(bytes)) = broadcaster.end(broken) {
                    report(ServeEvent::LiveEnded { title: title.clone(), bytes, cause });
                }
            };
            let refusal =
                |error| anyhow::Error::new(error).context(format!("{title} cannot be broadcast"));
            match input {
                Input::Stdin(mut stdin) => {
                    let has_more = |stdin: &File| is_readable(stdin, None);
                    let failure = match pass(&mut stdin, &has_more, &send) {
                        Ok(()) => {
                            end("it is over".to_owned(), None);
                            None
                        }
                        Err(Interrupted::Refused(error)) => {
                            end(error.to_string(), Some(broken(&error)));
                            Some(refusal(error))
                        }
                        Err(Interrupted::Io(error)) => {
                            let error = Arc::new(error);
                            end(error.to_string(), Some(error.clone()));
                            let what = format!("{title}: cannot read stdin");
                            Some(anyhow::Error::new(error).context(what))
                        }
                    };
                    broadcaster.close();
                    ended(failure);
                    // Whoever goes on writing is not made to wait.
                    let _ = discard(&mut stdin, &has_more);
                }
                Input::Fifo(fifo) => {
                    let refuse = |error: media::Error| {
                        end(error.to_string(), Some(broken(&error)));
                        tracing::warn!("{:#}", refusal(error));
                    };
                    let Err(error) =
                        follow(fifo, linger, &send, &|cause| end(cause, None), &refuse);
                    tracing::error!("{title} is not broadcast any more: {error}");
                    end(error.to_string(), Some(Arc::new(error)));
                    broadcaster.close();
                }
            }
        };
        thread::Builder::new().name("producer".into()).spawn(run).map(drop)
    }
}

/// Sends what the writers of a FIFO write. A broadcast ends when none has come for `linger`, or when
/// what one writes is refused.
fn follow(
    mut fifo: Fifo,
    linger: Duration,
    send: &impl Fn(Bytes) -> Result<(), media::Error>,
    end: &impl Fn(String),
    refuse: &impl Fn(media::Error),
) -> io::Result<Infallible> {
    let mut waits_until: Option<Instant> = None;
    loop {
        // For ever at first, then for as long as viewers are kept.
        let Some(mut writers) = fifo.next_writer(waits_until)? else {
            end("its writer is gone".to_owned());
            waits_until = None;
            continue;
        };
        let has_more = |writers: &File| fifo.has_more(writers);
        match pass(&mut writers, &has_more, send) {
            Ok(()) => {}
            Err(Interrupted::Io(error)) => return Err(error),
            Err(Interrupted::Refused(error)) => {
                refuse(error);
                discard(&mut writers, &has_more)?;
            }
        }
        fifo.let_go(writers);
        waits_until = Some(Instant::now() + linger);
    }
}

/// Sends what comes, to the end. `has_more` waits for it, and says whether any is to be expected.
fn pass(
    input: &mut File,
    has_more: &impl Fn(&File) -> io::Result<bool>,
    send: &impl Fn(Bytes) -> Result<(), media::Error>,
) -> Result<(), Interrupted> {
    make_room(input);
    let mut block = BytesMut::new();
    while has_more(input)? {
        if block.is_empty() {
            block = BytesMut::zeroed(BLOCK);
        }
        let mut filled = 0;
        let read = fill(input, &mut block, &mut filled, PIECE_TIME);
        send(block.split_to(filled).freeze())?;
        if read? == Filled::ToTheEnd {
            break;
        }
    }
    Ok(())
}

/// Lets a pipe take more before its writer has to wait. What cannot be made larger does as it is.
fn make_room(input: &File) {
    #[cfg(target_os = "linux")]
    if rustix::pipe::fcntl_getpipe_size(input).is_ok_and(|size| size < AHEAD) {
        let _ = rustix::pipe::fcntl_setpipe_size(input, AHEAD);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (input, AHEAD);
}

/// What a read of a producer came to.
#[derive(Debug, PartialEq, Eq)]
enum Filled {
    Partly,
    ToTheEnd,
}

/// Reads what there is into a block until it is full, or `time` is over since the first byte.
/// `filled` counts the bytes, whatever goes wrong.
fn fill(
    input: &mut File,
    block: &mut [u8],
    filled: &mut usize,
    time: Duration,
) -> io::Result<Filled> {
    let until = Instant::now() + time;
    loop {
        match input.read(block.get_mut(*filled..).unwrap_or_default()) {
            Ok(0) => return Ok(Filled::ToTheEnd),
            Ok(read) => *filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let left = until.saturating_duration_since(Instant::now());
        if *filled == block.len() || !is_readable(input, Some(left))? {
            return Ok(Filled::Partly);
        }
    }
}

/// Reads to the end, and keeps nothing.
fn discard(input: &mut File, has_more: &impl Fn(&File) -> io::Result<bool>) -> io::Result<()> {
    let mut block = BytesMut::zeroed(BLOCK);
    while has_more(input)? && fill(input, &mut block, &mut 0, PIECE_TIME)? == Filled::Partly {}
    Ok(())
}
