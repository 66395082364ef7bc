//! How a complete file gets its name.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use rustix::fs::{Mode, fchmod};

use super::Error;
use super::filesystem::allow_unsynced;
use super::part::Part;
use super::place::Place;

impl Part {
    /// Gives the file its name, which is returned, once its bytes are on the disk and are those that this play wrote.
    pub(super) fn publish(&mut self, file: &File, bytes: u64) -> Result<PathBuf, Error> {
        self.settle()?;
        let place = self.place.clone();
        let error = place.error(&place.part);
        if self.overwrite
            && let Some(mode) = place.mode()?
        {
            fchmod(file, mode).map_err(|errno| error(errno.into()))?;
        }
        allow_unsynced(place.file_system.sync_all(file)).map_err(&error)?;
        self.check(file, bytes)?;
        let named = match self.overwrite {
            true => place.rename(&place.part, &place.name),
            false => rename_to_nobodys(&place),
        };
        if let Err(cause) = named {
            // The same command finishes it, too.
            self.record(file, bytes)?;
            let path = place.path(&place.name);
            return Err(Error::Unpublished { part: self.path(), path, cause });
        }
        if !place.leads_to(&place.name, file)? {
            return Err(Error::Disturbed(self.path()));
        }
        if let Err(error) = place.remove(&place.record) {
            let record = place.path(&place.record);
            tracing::warn!("cannot remove {}: {error}", record.display());
        }
        place.sync().map_err(place.error(&place.name))?;
        Ok(place.path(&place.name))
    }
}

/// Gives a part its name unless somebody else made a file of that name meanwhile.
fn rename_to_nobodys(place: &Place) -> io::Result<()> {
    let taken = |error: &io::Error| error.kind() == io::ErrorKind::AlreadyExists;
    // Not every file system has the first way, nor the second; the third has a moment in which
    // somebody else's file could be lost.
    match place.rename_exclusively() {
        Err(error) if !taken(&error) => {}
        renamed => return renamed,
    }
    match place.link() {
        Ok(()) => {
            if let Err(error) = place.remove(&place.part) {
                let part = place.path(&place.part);
                tracing::warn!("cannot remove {}, a second name: {error}", part.display());
            }
            Ok(())
        }
        Err(error) if taken(&error) => Err(error),
        Err(_) => rename_over_claim(place),
    }
}

/// Takes a name that nobody has with an empty file, and renames the part over it.
fn rename_over_claim(place: &Place) -> io::Result<()> {
    let claim = place.create(&place.name, Mode::RUSR | Mode::WUSR)?;
    let is_ours = || {
        let empty = claim.metadata().is_ok_and(|metadata| metadata.len() == 0);
        empty && place.leads_to(&place.name, &claim).unwrap_or(false)
    };
    if !is_ours() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let renamed = place.rename(&place.part, &place.name);
    if renamed.is_err() && is_ours() {
        // The first error is the one to report.
        let _ = place.remove(&place.name);
    }
    renamed
}
