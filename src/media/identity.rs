//! What tells one state of a file from another.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cache::SourceId;

/// The age, in file time, from which on a change of the bytes is sure to change the identity:
/// file systems count time in ticks, of up to 2 s on FAT.
const SETTLED: Duration = Duration::from_secs(2);

/// One state of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    /// mtime, seconds and nanoseconds since the Unix epoch. Everybody can set it.
    modified: (i64, i64),
    /// ctime, which only the system sets.
    changed: (i64, i64),
}

impl From<&Metadata> for FileIdentity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What became of an open file since it was in another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It is longer. Whether what it had before is still there shows only in its digest.
    Grown,
    /// Its ctime is another and nothing else: it has other attributes or names, or other bytes
    /// and its old mtime.
    Status,
    /// It has other bytes.
    Bytes,
}

impl FileIdentity {
    pub(super) fn size(self) -> u64 {
        self.size
    }

    /// When its bytes were last changed, milliseconds since the Unix epoch; `None` before that.
    pub(super) fn modified(self) -> Option<u64> {
        let (seconds, nanos) = self.modified;
        let millis = seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000)?;
        u64::try_from(millis).ok()
    }

    pub(super) fn changed(self) -> (i64, i64) {
        self.changed
    }

    /// Whether this is a state of the same file as `other`.
    pub(super) fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// What became of this file if its state is `now`.
    pub(super) fn change(self, now: Self) -> Change {
        match now {
            now if now == self => Change::None,
            now if now.size > self.size => Change::Grown,
            now if (Self { changed: self.changed, ..now }) == self => Change::Status,
            _ => Change::Bytes,
        }
    }

    /// Whether the last change is so long ago that the next one will show in the times.
    pub(super) fn is_settled(self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = |(seconds, nanoseconds): (i64, i64)| {
            let seconds = u64::try_from(seconds).unwrap_or_default();
            let time = Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or_default());
            now.checked_sub(time)
        };
        // An mtime in the future says nothing: it was set, and ctime says when.
        age(self.changed).is_some_and(|age| age >= SETTLED)
            && age(self.modified).is_none_or(|age| age >= SETTLED)
    }

    /// Stands for this state among all blocks of a cache.
    pub(super) fn source_id(self) -> SourceId {
        let mut id = [0; 16];
        let hash = hash([self.device].into_iter().chain(self.numbers()));
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        SourceId(id)
    }

    /// What a client may know of it, hashed: the same for a copy that kept the time, on any server.
    pub(super) fn validator(self) -> Bytes {
        let (seconds, nanoseconds) = self.modified;
        hash([self.size, seconds.cast_unsigned(), nanoseconds.cast_unsigned()])
    }

    /// The same for this state alone. The device is left out: its number may be another after a
    /// restart of the machine.
    pub(super) fn salted_validator(self) -> Bytes {
        hash(self.numbers())
    }

    /// All numbers but that of the device.
    fn numbers(self) -> impl Iterator<Item = u64> {
        let Self { device: _, inode, size, modified, changed } = self;
        let [modified, changed] = [modified, changed]
            .map(|(seconds, nanoseconds)| [seconds.cast_unsigned(), nanoseconds.cast_unsigned()]);
        [inode, size].into_iter().chain(modified).chain(changed)
    }
}

fn hash(numbers: impl IntoIterator<Item = u64>) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    for number in numbers {
        hasher.update(&number.to_be_bytes());
    }
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: FileIdentity =
        FileIdentity { device: 1, inode: 2, size: 100, modified: (10, 5), changed: (20, 5) };

    #[test]
    fn every_field_tells_states_apart() {
        let later = (30, 5);
        for (now, change) in [
            (STATE, Change::None),
            (FileIdentity { size: 101, modified: later, changed: later, ..STATE }, Change::Grown),
            (FileIdentity { size: 101, changed: later, ..STATE }, Change::Grown),
            (FileIdentity { changed: later, ..STATE }, Change::Status),
            (FileIdentity { changed: (20, 6), ..STATE }, Change::Status),
            (FileIdentity { modified: (10, 6), ..STATE }, Change::Bytes),
            (FileIdentity { modified: later, changed: later, ..STATE }, Change::Bytes),
            (FileIdentity { size: 99, modified: later, changed: later, ..STATE }, Change::Bytes),
            (FileIdentity { size: 99, ..STATE }, Change::Bytes),
        ] {
            assert_eq!(STATE.change(now), change, "{now:?}");
            assert_eq!(STATE == now, change == Change::None);
        }
    }

    #[test]
    fn a_validator_is_the_same_wherever_a_copy_is_and_a_salted_one_only_here() {
        let elsewhere = FileIdentity { device: 7, inode: 8, changed: (90, 0), ..STATE };
        assert_eq!(elsewhere.validator(), STATE.validator());
        assert_ne!(elsewhere.salted_validator(), STATE.salted_validator());
        assert_ne!(STATE.salted_validator(), STATE.validator());
        let remounted = FileIdentity { device: 7, ..STATE };
        assert_eq!(remounted.salted_validator(), STATE.salted_validator());
        for other in
            [FileIdentity { size: 101, ..STATE }, FileIdentity { modified: (10, 6), ..STATE }]
        {
            assert_ne!(other.validator(), STATE.validator());
            assert_ne!(other.salted_validator(), STATE.salted_validator());
        }
    }

    #[test]
    fn a_state_is_settled_two_seconds_after_the_last_change() {
        let settled = |modified, changed, now| {
            FileIdentity { modified, changed, ..STATE }.is_settled(UNIX_EPOCH + now)
        };
        let at = Duration::from_millis;
        assert!(settled((10, 0), (20, 0), at(22_000)));
        assert!(!settled((10, 0), (20, 0), at(21_999)));
        assert!(!settled((10, 0), (20, 1), at(22_000)), "to the nanosecond");
        assert!(!settled((10, 0), (20, 0), at(19_000)), "the clock was put back");
        assert!(!settled((21, 0), (10, 0), at(22_000)), "where ctime is not kept");
        assert!(settled((4_000_000_000, 0), (20, 0), at(22_000)), "a time that somebody chose");
        assert!(settled((-10, 0), (-10, 0), at(22_000)), "before 1970");
    }
}
