//! The record beside a partial file, by which a later play knows it again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::Error;
use super::filesystem::allow_unsynced;
use super::place::{NEW_FILE, Place};
use crate::protocol::Digest;

/// The largest record that is read, bytes. One of ours has a title and a few numbers.
const LARGEST: u64 = 64 * 1024;

/// Bytes at the beginning of a partial file by whose digest it is known again.
const HEAD: u64 = 64 * 1024;

/// Where unfinished media comes from. It is kept beside the file, so that a later play can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The server, as the user named it; for people, because a server may move.
    pub server: String,
    /// The title.
    pub title: Option<String>,
    /// What tells the media from any other.
    pub validator: Vec<u8>,
    /// The byte of the media at which the file begins.
    pub start: u64,
    /// The digest of the whole media, where the server said it.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Bytes of the file that are a header, which is no part of the media.
    #[serde(default)]
    pub header: u64,
    /// Whether the server chose where in a broadcast the file begins.
    #[serde(default)]
    pub joined: bool,
}

/// What stands in `NAME.part.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) origin: Origin,
    /// Bytes of the file that are known to be on the disk. There may be more, which are not to be
    /// trusted.
    pub(super) bytes: u64,
    /// The digest of the first of them, up to [`HEAD`].
    #[serde(default)]
    head: Option<Digest>,
    /// Device and inode of the file, which tell a file of which no byte is known yet.
    #[serde(default)]
    file: Option<(u64, u64)>,
}

/// What has the name of a record.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing, or not a byte.
    Nothing,
    Record(Record),
    /// A file of somebody else.
    Foreign,
}

impl Record {
    /// Describes a file of which so many bytes are on the disk.
    pub(super) fn of(file: &File, origin: Origin, bytes: u64) -> io::Result<Self> {
        let head = if bytes > 0 { Some(head(file, bytes)?) } else { None };
        Ok(Self { origin, bytes, head, file: Some(identity(file)?) })
    }

    /// Reads what stands beside a partial file.
    pub(super) fn find(place: &Place) -> Result<Found, Error> {
        let name = &place.record;
        let file = match place.open_file(name, OFlags::RDONLY) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Found::Nothing),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Found::Foreign);
            }
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut text).map_err(place.error(name))?;
        if text.is_empty() {
            return Ok(Found::Nothing);
        }
        if text.len() as u64 > LARGEST {
            return Ok(Found::Foreign);
        }
        Ok(serde_json::from_slice(&text).map_or(Found::Foreign, Found::Record))
    }

    /// Whether this is the file that it describes.
    pub(super) fn describes(&self, file: &File) -> io::Result<bool> {
        if self.bytes > file.metadata()?.len() {
            return Ok(false);
        }
        match (self.head, self.file) {
            (Some(known), _) => Ok(head(file, self.bytes)? == known),
            (None, Some(known)) => Ok(identity(file)? == known),
            // Earlier releases wrote neither.
            (None, None) => Ok(self.bytes > 0),
        }
    }

    /// Writes it beside the file. It appears whole or not at all.
    pub(super) fn write(&self, place: &Place) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let (draft, mut file) = place.create_draft(NEW_FILE)?;
        let written = file
            .write_all(&text)
            .and_then(|()| allow_unsynced(place.file_system.sync_data(&file)))
            .and_then(|()| place.rename(&draft, &place.record));
        if written.is_err() {
            // The first error is the one to report.
            let _ = place.remove(&draft);
        }
        written
    }
}

/// The digest of the beginning of a file of which so many bytes count.
fn head(file: &File, bytes: u64) -> io::Result<Digest> {
    let mut head = vec![0; bytes.min(HEAD) as usize];
    file.read_exact_at(&mut head, 0)?;
    Ok(blake3::hash(&head).into())
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}
