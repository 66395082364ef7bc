//! Producers of broadcasts: stdin, and FIFOs. Each has a thread of its own, which nothing else makes
//! wait.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::config::LiveConfig;
use crate::media::{self, Broadcaster, LiveEvent, PIECE_TIME};
use crate::server::ServeEvent;

/// What is taken from a producer into one allocation, bytes: in pieces, as it comes, which share it.
const BLOCK: usize = 64 * 1024;

/// A broadcast that is to begin.
pub(super) struct Producer {
    broadcaster: Arc<Broadcaster>,
    input: Input,
    linger: Duration,
}

enum Input {
    Stdin(File),
    Fifo(PathBuf),
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
/// One cannot come from where it should.
pub(super) fn producers(config: &LiveConfig) -> anyhow::Result<Vec<Producer>> {
    let producer = |(title, path): &(String, Option<PathBuf>)| {
        let input = match path {
            None if io::stdin().is_terminal() => bail!(
                "nothing is piped into --live {title}: such as ffmpeg ... -f mpegts - | quicstream \
                 serve --live {title}"
            ),
            None => Input::Stdin(io::stdin().as_fd().try_clone_to_owned()?.into()),
            Some(path) => {
                let what = || format!("cannot broadcast {title} from {}", path.display());
                let is_fifo = path.metadata().with_context(what)?.file_type().is_fifo();
                if !is_fifo {
                    bail!("{}: it is not a FIFO; make one with mkfifo", what());
                }
                Input::Fifo(path.clone())
            }
        };
        let mut broadcaster = Broadcaster::new(title.clone(), config.window);
        if let Some(directory) = &config.record {
            let what = || format!("cannot record {title} in {}", directory.display());
            broadcaster = broadcaster.recorded_in(directory).with_context(what)?;
        }
        Ok(Producer { broadcaster: Arc::new(broadcaster), input, linger: config.linger })
    };
    config.broadcasts.iter().map(producer).collect()
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
            let end = |cause: String| {
                if let Some(LiveEvent::Ended(bytes)) = broadcaster.end() {
                    report(ServeEvent::LiveEnded { title: title.clone(), bytes, cause });
                }
            };
            let refusal =
                |error| anyhow::Error::new(error).context(format!("{title} cannot be broadcast"));
            match input {
                Input::Stdin(mut stdin) => {
                    let passed = pass(&mut stdin, &send);
                    end(passed.as_ref().map_or_else(ToString::to_string, |()| "it is over".into()));
                    ended(match passed {
                        Err(Interrupted::Refused(error)) => Some(refusal(error)),
                        Ok(()) | Err(Interrupted::Io(_)) => None,
                    });
                    // Whoever goes on writing is not made to wait.
                    let _ = discard(&mut stdin);
                }
                Input::Fifo(path) => {
                    let refuse = |error: media::Error| {
                        end(error.to_string());
                        tracing::warn!("{:#}", refusal(error));
                    };
                    let Err(error) = follow(&path, linger, &send, &end, &refuse);
                    end(error.to_string());
                    tracing::error!("cannot read {}: {error}", path.display());
                }
            }
        };
        thread::Builder::new().name("producer".into()).spawn(run).map(drop)
    }
}

/// Sends what the writers of a FIFO write. A broadcast ends when none has come for `linger`, or when
/// what one writes is refused.
fn follow(
    path: &Path,
    linger: Duration,
    send: &impl Fn(Bytes) -> Result<(), media::Error>,
    end: &impl Fn(String),
    refuse: &impl Fn(media::Error),
) -> io::Result<Infallible> {
    let open = || {
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
    };
    let mut fifo = open()?;
    let mut waits_until: Option<Instant> = None;
    loop {
        // Until a writer comes: for ever at first, then for as long as viewers are kept.
        let left = waits_until.map(|until| until.saturating_duration_since(Instant::now()));
        if !is_readable(&fifo, left)? {
            end("its writer is gone".to_owned());
            waits_until = None;
            continue;
        }
        match pass(&mut fifo, send) {
            Ok(()) => {}
            Err(Interrupted::Io(error)) => return Err(error),
            Err(Interrupted::Refused(error)) => {
                refuse(error);
                discard(&mut fifo)?;
            }
        }
        // A new one hears of no writer that has left. There is always one: a writer without a reader
        // is killed.
        fifo = open()?;
        waits_until = Some(Instant::now() + linger);
    }
}

/// Sends what comes, to the end.
fn pass(
    input: &mut File,
    send: &impl Fn(Bytes) -> Result<(), media::Error>,
) -> Result<(), Interrupted> {
    let mut block = BytesMut::new();
    loop {
        if block.is_empty() {
            block = BytesMut::zeroed(BLOCK);
        }
        let mut filled = 0;
        let read = fill(input, &mut block, &mut filled, PIECE_TIME);
        send(block.split_to(filled).freeze())?;
        if read? == Filled::ToTheEnd {
            return Ok(());
        }
    }
}

/// What a read of a producer came to.
#[derive(Debug, PartialEq, Eq)]
enum Filled {
    Partly,
    ToTheEnd,
}

/// Reads into a block until it is full, or `time` is over since the first byte. `filled` counts the
/// bytes, whatever goes wrong.
fn fill(
    input: &mut File,
    block: &mut [u8],
    filled: &mut usize,
    time: Duration,
) -> io::Result<Filled> {
    let mut until: Option<Instant> = None;
    while *filled < block.len() {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if !is_readable(input, left)? {
            break;
        }
        match input.read(block.get_mut(*filled..).unwrap_or_default()) {
            Ok(0) => return Ok(Filled::ToTheEnd),
            Ok(read) => {
                *filled += read;
                until = until.or_else(|| Instant::now().checked_add(time));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Filled::Partly)
}

/// Reads to the end, and keeps nothing.
fn discard(input: &mut File) -> io::Result<()> {
    let mut block = BytesMut::zeroed(BLOCK);
    while fill(input, &mut block, &mut 0, Duration::MAX)? == Filled::Partly {}
    Ok(())
}

/// Waits until there is something to be read, or the end; returns false if there is not in time.
fn is_readable(file: &File, time: Option<Duration>) -> io::Result<bool> {
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::IN)], time.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(ready) => return Ok(ready > 0),
        }
    }
}
