//! Broadcasts: media that grows while it is watched.
//!
//! One producer appends, and is never made to wait by a viewer. The newest bytes are kept in blocks
//! that all viewers share, all of them in a file where there is a recording; a viewer is an offset.

mod adts;
mod annexb;
mod audience;
mod broadcast;
mod frames;
mod joins;
mod mp3;
mod mp4;
mod mpegts;
mod ogg;
mod recording;
mod scan;
mod scanner;
mod viewer;
mod webm;
mod window;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::source::Source;
use super::{Cache, Entry, Error, Found, title};
pub use audience::PIECE_TIME;
use broadcast::Broadcast;
pub use broadcast::LiveStatus;
use recording::Recorder;
pub use scanner::Scanner;
use viewer::Viewer;

/// What happens to a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// Its first byte came.
    Started,
    /// It has this many bytes, and gets no more.
    Ended(u64),
}

/// Where a producer's bytes go in, and a title of a library. It may carry one broadcast after the
/// other.
#[derive(Debug)]
pub struct Broadcaster {
    title: String,
    window: u64,
    recorder: Option<Recorder>,
    current: Mutex<Option<Arc<Broadcast>>>,
    /// No other broadcast can begin.
    is_closed: AtomicBool,
}

impl Broadcaster {
    /// A title that keeps so many bytes of its broadcast in memory.
    pub fn new(title: String, window: u64) -> Self {
        Self {
            title,
            window,
            recorder: None,
            current: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// The same, which records each broadcast to a file of its title below a directory. One that is
    /// there gets another name.
    ///
    /// # Errors
    /// The directory cannot be made, or no thread can be started.
    pub fn recorded_in(self, directory: &Path) -> io::Result<Self> {
        let recorder = Recorder::start(directory, &self.title, self.window)?;
        Ok(Self { recorder: Some(recorder), ..self })
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Broadcast>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends bytes to all viewers. The first ones after an end begin a new broadcast. This and
    /// [`Broadcaster::end`] are for one thread, its producer's.
    ///
    /// # Errors
    /// [`Error::NotFragmented`]: they are not sent, and nothing that its producer adds is any better.
    pub fn send(&self, bytes: Bytes) -> Result<Option<LiveEvent>, Error> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let going_on = self.current().clone().filter(|broadcast| !broadcast.has_ended());
        let started = going_on.is_none().then_some(LiveEvent::Started);
        let broadcast = going_on.unwrap_or_else(|| self.begin());
        broadcast.append(bytes.clone())?;
        if let (Some(recorder), Some(recording)) = (&self.recorder, &broadcast.recording) {
            recorder.record(recording, &bytes);
        }
        if started.is_some() {
            *self.current() = Some(broadcast);
        }
        Ok(started)
    }

    fn begin(&self) -> Arc<Broadcast> {
        let recording = self.recorder.as_ref().map(Recorder::begin);
        Arc::new(Broadcast::new(self.window, recording))
    }

    /// Ends the broadcast, if there is one. Its viewers get what is left of it; where its producer
    /// could not be read any further, they hear that the rest is missing.
    pub fn end(&self, broken: Option<Arc<io::Error>>) -> Option<LiveEvent> {
        let broadcast = self.current().clone().filter(|broadcast| !broadcast.has_ended())?;
        Some(LiveEvent::Ended(broadcast.end(broken)))
    }

    /// Says that no other broadcast will begin.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Bytes of recordings that wait for the disk.
    pub fn unwritten(&self) -> u64 {
        self.recorder.as_ref().map_or(0, Recorder::waiting)
    }

    /// Waits until all that came so far is recorded.
    pub fn flush(&self) {
        self.recorder.iter().for_each(Recorder::flush);
    }

    /// How the broadcast does that is on the air.
    pub fn status(&self) -> Option<LiveStatus> {
        let broadcast = self.current().clone().filter(|broadcast| !broadcast.has_ended())?;
        Some(broadcast.status(&self.title))
    }

    /// What there is to be watched.
    fn watchable(&self) -> Option<Arc<Broadcast>> {
        self.current().clone().filter(|broadcast| !broadcast.is_broken())
    }

    /// Whether there is nothing to be watched yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.watchable().is_none()
    }

    /// Whether there is something to be watched, or will be.
    pub(super) fn is_there(&self) -> bool {
        self.goes_on() || self.watchable().is_some()
    }

    /// Opens what is on the air, or what was last.
    pub(super) fn open(&self, cache: &Arc<Cache>) -> Result<Found<Arc<dyn Source>>, Error> {
        if !self.is_there() {
            return Err(Error::NoSuchTitle);
        }
        let broadcast = match (self.watchable(), self.current().is_some()) {
            (Some(broadcast), _) => broadcast,
            (None, true) => return Err(Error::BrokeOff),
            (None, false) => return Err(Error::NothingYet),
        };
        let source: Arc<dyn Source> = Arc::new(Viewer::new(&self.title, broadcast, cache.clone()));
        Ok(Found::new(&self.title, &self.title, None, source))
    }

    /// Whether another broadcast may begin.
    pub(super) fn goes_on(&self) -> bool {
        !self.is_closed.load(Ordering::Relaxed)
    }

    /// Its entry in a list. What has ended is in none where its beginning is not kept, as who asks for
    /// it would not get it: the title waits for its next broadcast, if it can have one.
    pub(super) fn entry(&self) -> Option<Entry> {
        let is_to_be_had = |live: &Arc<Broadcast>| !live.has_ended() || live.kept().is_none();
        let broadcast = self.watchable().filter(is_to_be_had);
        if broadcast.is_none() && !self.goes_on() {
            return None;
        }
        let of = broadcast.as_ref();
        Some(Entry {
            title: self.title.clone(),
            size: of.and_then(|broadcast| broadcast.len()),
            media_type: title::media_type(&self.title),
            bitrate: of.filter(|live| live.len().is_none()).and_then(|live| live.bitrate()),
            modified: of.and_then(|broadcast| broadcast.began()),
        })
    }
}
