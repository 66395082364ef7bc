//! A file that is not complete: whose it is, who may write it, and what a later play finds.

use std::fs::{File, TryLockError};
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstat};

use super::durable::Durable;
use super::filesystem::{allow_unsynced, is_unsupported};
use super::place::{NEW_FILE, Place};
use super::record::{Found, Origin, Record};
use super::{Error, Unfinished};

/// The least that the owner of a part may do.
const READ_AND_WRITE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A partial file.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) place: Arc<Place>,
    /// Whether files that are there may be replaced.
    pub(super) overwrite: bool,
    state: State,
    /// Whether this play made it, or began to write it.
    ours: bool,
    /// Whether it could be locked.
    locked: bool,
    origin: Option<Origin>,
    durable: Option<Durable>,
}

/// What is to become of what was there.
#[derive(Debug)]
enum State {
    /// Nothing was there.
    Fresh,
    /// These bytes of it are gone on with.
    Continued(Origin, u64),
    /// A new file takes its place.
    Replaced,
    /// It became that: media is being written.
    Begun,
}

impl Part {
    /// Opens what is there, or makes it. Nothing that was there is changed before
    /// [`Part::prepare`].
    pub(super) fn open(place: Place, overwrite: bool, resume: bool) -> Result<(File, Self), Error> {
        place.check_directory()?;
        let found = Record::find(&place)?;
        if matches!(found, Found::Foreign) && !overwrite {
            return Err(Error::ForeignFile(place.path(&place.record)));
        }
        place.check_replaceable(&place.record)?;
        let (file, created, locked) = open_locked(&place)?;
        let state = if created {
            State::Fresh
        } else {
            place.check_replaceable(&place.part)?;
            appraise(&place, &file, found, overwrite, resume)?
        };
        let (place, ours) = (Arc::new(place), created);
        let part = Self { place, overwrite, state, ours, locked, origin: None, durable: None };
        Ok((file, part))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.place.path(&self.place.part)
    }

    /// What an earlier play left.
    pub(super) fn continued(&self) -> Option<(Origin, u64)> {
        match &self.state {
            State::Continued(origin, bytes) => Some((origin.clone(), *bytes)),
            _ => None,
        }
    }

    /// Has that replaced once media comes; says whether there was any.
    pub(super) fn start_over(&mut self) -> bool {
        let continued = matches!(self.state, State::Continued(..));
        if continued {
            self.state = State::Replaced;
        }
        continued
    }

    /// Makes the file ready for media, now that some comes: from here on it is this play's.
    pub(super) fn prepare(&mut self, file: &mut File) -> Result<(), Error> {
        if matches!(self.state, State::Begun) {
            return Ok(());
        }
        let place = &self.place;
        let error = place.error(&place.part);
        let state = mem::replace(&mut self.state, State::Begun);
        let length = file.metadata().map_err(&error)?.len();
        let is_as_found = match &state {
            State::Fresh => length == 0,
            State::Continued(_, bytes) => length >= *bytes,
            State::Replaced | State::Begun => true,
        };
        if !is_as_found || !place.leads_to(&place.part, file)? {
            self.state = state;
            return Err(Error::Disturbed(self.path()));
        }
        match state {
            // What lies behind was never known to be on the disk.
            State::Continued(_, bytes) if length > bytes => file.set_len(bytes).map_err(&error)?,
            State::Replaced => {
                // The old file stays what it is under any other name that it may have.
                let (draft, new) = place.create_draft(part_mode(place)?).map_err(&error)?;
                let placed = lock(place, &new)
                    .and_then(|_| place.rename(&draft, &place.part).map_err(&error));
                if let Err(error) = placed {
                    let _ = place.remove(&draft);
                    self.state = State::Replaced;
                    return Err(error);
                }
                *file = new;
            }
            _ => {}
        }
        self.ours = true;
        if !self.locked {
            tracing::warn!(
                "the file system has no locks: nothing keeps another play out of {}",
                self.path().display()
            );
        }
        Ok(())
    }

    /// Takes note of where the bytes come from, so that a later play can go on.
    pub(super) fn remember(
        &mut self,
        origin: Option<Origin>,
        file: &File,
        bytes: u64,
        ask: impl Fn() + Send + 'static,
    ) -> Result<(), Error> {
        self.origin = origin;
        let Some(origin) = &self.origin else {
            // An earlier record is not of this media.
            self.settle()?;
            let place = &self.place;
            return place.remove(&place.record).map_err(place.error(&place.record));
        };
        if self.durable.is_none() {
            let started = Durable::start(self.place.clone(), file, ask);
            self.durable = Some(started.map_err(self.place.error(&self.place.part))?);
        }
        if let Some(durable) = &self.durable {
            durable.checkpoint(origin.clone(), bytes);
        }
        Ok(())
    }

    /// Has what is written made durable, if it is worth it and the file is still what it was.
    pub(super) fn checkpoint(
        &mut self,
        file: &File,
        bytes: u64,
        is_new: bool,
    ) -> Result<(), Error> {
        if self.durable.as_ref().is_some_and(Durable::has_failed) {
            return self.settle();
        }
        if is_new && self.durable.is_some() {
            self.check_length(file, bytes)?;
        }
        if is_new && let (Some(durable), Some(origin)) = (&self.durable, &self.origin) {
            durable.checkpoint(origin.clone(), bytes);
        }
        Ok(())
    }

    /// Waits for the thread that syncs, and says if it has failed.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.durable.take().map_or(Ok(()), Durable::end)
    }

    /// Whether the file is as long as this play made it.
    fn check_length(&mut self, file: &File, bytes: u64) -> Result<(), Error> {
        let length = file.metadata().map_err(self.place.error(&self.place.part))?.len();
        if length == bytes {
            return Ok(());
        }
        if length < bytes {
            // What the newest record says is there may be gone.
            self.spoil(file)?;
        }
        Err(Error::Disturbed(self.path()))
    }

    /// Fails if the file is not what this play wrote, by name or by length.
    pub(super) fn check(&mut self, file: &File, bytes: u64) -> Result<(), Error> {
        if !self.place.leads_to(&self.place.part, file)? {
            return Err(Error::Disturbed(self.path()));
        }
        self.check_length(file, bytes)
    }

    /// Has the next play start over: what came is not what it should be.
    pub(super) fn spoil(&mut self, file: &File) -> Result<(), Error> {
        // What it fails with does not make the bytes any better.
        let _ = self.settle();
        self.record(file, 0)
    }

    /// Records so many bytes, which are on the disk.
    pub(super) fn record(&self, file: &File, bytes: u64) -> Result<(), Error> {
        let (place, Some(origin)) = (&self.place, &self.origin) else { return Ok(()) };
        if !place.leads_to(&place.part, file)? {
            return Ok(());
        }
        Record::of(file, origin.clone(), bytes)
            .and_then(|record| record.write(place))
            .map_err(place.error(&place.record))
    }

    /// Keeps what there is for another try, and nothing that is not worth one.
    pub(super) fn leave(&mut self, file: &File, bytes: u64) -> Result<Option<Unfinished>, Error> {
        match &self.state {
            State::Begun => {}
            State::Continued(..) => {
                return Ok(Some(Unfinished { part: self.path(), resumable: true }));
            }
            State::Fresh | State::Replaced => {
                self.discard_empty(file)?;
                return Ok(None);
            }
        }
        self.settle()?;
        if bytes == 0 {
            self.discard_empty(file)?;
            return Ok(None);
        }
        let place = &self.place;
        let synced = allow_unsynced(place.file_system.sync_data(file));
        synced.map_err(place.error(&place.part))?;
        self.check(file, bytes)?;
        self.record(file, bytes)?;
        Ok(Some(Unfinished { part: self.path(), resumable: self.origin.is_some() }))
    }

    /// Removes what this play made if it is empty, and its record; the record, too, where somebody
    /// else has removed the file.
    pub(super) fn discard_empty(&self, file: &File) -> Result<(), Error> {
        let place = &self.place;
        let empty = file.metadata().map_err(place.error(&place.part))?.len() == 0;
        let is_there = place.stat(&place.part)?.is_some();
        if !self.ours || (is_there && !(empty && place.leads_to(&place.part, file)?)) {
            return Ok(());
        }
        place.remove(&place.part).map_err(place.error(&place.part))?;
        match self.state {
            State::Begun => place.remove(&place.record).map_err(place.error(&place.record)),
            _ => Ok(()),
        }
    }
}

/// What a file that was there is to this play.
fn appraise(
    place: &Place,
    file: &File,
    found: Found,
    overwrite: bool,
    resume: bool,
) -> Result<State, Error> {
    let error = place.error(&place.part);
    let stat = fstat(file).map_err(|errno| error(errno.into()))?;
    let has_one_name = stat.st_nlink == 1;
    if stat.st_size == 0 && has_one_name && Place::is_own(&stat) {
        return Ok(State::Fresh);
    }
    match found {
        Found::Record(record) if has_one_name && record.describes(file).map_err(error)? => {
            let Record { origin, bytes, .. } = record;
            // Without any media behind it, a header is of no use.
            let bytes = if bytes > origin.header { bytes } else { 0 };
            Ok(if resume { State::Continued(origin, bytes) } else { State::Replaced })
        }
        _ if overwrite => Ok(State::Replaced),
        _ => Err(Error::ForeignFile(place.path(&place.part))),
    }
}

/// Opens the part, or makes it, and keeps other plays out of it; says whether it was made, and
/// whether it is locked.
fn open_locked(place: &Place) -> Result<(File, bool, bool), Error> {
    loop {
        let opened = place.open_file(&place.part, OFlags::RDWR | OFlags::APPEND)?;
        let created = opened.is_none();
        let file = match opened {
            Some(file) => file,
            None => match place.create(&place.part, part_mode(place)?) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(place.error(&place.part)(error)),
            },
        };
        let locked = lock(place, &file)?;
        // Whoever had the lock before may have given the file its name, or removed it.
        if place.leads_to(&place.part, &file)? {
            return Ok((file, created, locked));
        }
    }
}

/// Locks a part; says whether the file system can.
fn lock(place: &Place, file: &File) -> Result<bool, Error> {
    match place.file_system.lock(file) {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(place.path(&place.part))),
        Err(TryLockError::Error(error)) if is_unsupported(&error) => Ok(false),
        Err(TryLockError::Error(error)) => Err(place.error(&place.part)(error)),
    }
}

/// The mode of a new part: nobody is to read more of it than of the file that it will replace.
fn part_mode(place: &Place) -> Result<Mode, Error> {
    Ok(place.mode()?.map_or(NEW_FILE, |mode| mode | READ_AND_WRITE))
}
