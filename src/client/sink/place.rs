//! Where a file goes: the directory, and the names that the file has there in its life.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fstatvfs, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::Error;
use super::filesystem::{FileSystem, allow_unsynced};

/// What follows a file's name while it is not complete.
const PART: &str = ".part";
/// What follows it for the record of where the bytes come from: the longest of all.
const RECORD: &str = ".part.json";

/// Bytes that most file systems allow in a name.
const LONGEST_NAME: usize = 255;

/// Who may read and write a new file, less what the umask takes away.
pub(super) const NEW_FILE: Mode = Mode::RUSR
    .union(Mode::WUSR)
    .union(Mode::RGRP)
    .union(Mode::WGRP)
    .union(Mode::ROTH)
    .union(Mode::WOTH);

/// A directory is only needed to name files in it; that takes no right to read it.
#[cfg(target_os = "linux")]
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Destination {
    /// A device or pipe, which takes the bytes and has nothing to rename.
    Device(File),
    /// A place for a file.
    Place(Place),
}

/// A directory, and the names of one file in it.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
    directory_path: PathBuf,
    /// The name of the complete file.
    pub(super) name: OsString,
    /// Its name until then.
    pub(super) part: OsString,
    /// The name of the record beside it.
    pub(super) record: OsString,
    pub(super) file_system: &'static dyn FileSystem,
}

impl Destination {
    /// Finds out where a path leads. Links are followed.
    pub(super) fn of(path: &Path, file_system: &'static dyn FileSystem) -> Result<Self, Error> {
        let there = match fs::metadata(path) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(path)(error)),
        };
        let is_link = fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink());
        match there {
            Some(there) if there.is_dir() => Err(Error::Directory(path.to_owned())),
            Some(there) if !there.is_file() => {
                let opened = OpenOptions::new().write(true).open(path);
                opened.map(Self::Device).map_err(Error::io(path))
            }
            Some(_) if is_link => {
                let target = fs::canonicalize(path).map_err(Error::io(path))?;
                Place::open(&target, file_system).map(Self::Place)
            }
            None if is_link => Err(Error::DanglingLink(path.to_owned())),
            None if names_a_directory(path) => Err(Error::NoDirectory(path.to_owned())),
            _ => Place::open(path, file_system).map(Self::Place),
        }
    }
}

/// Whether only a directory can have this name.
fn names_a_directory(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

impl Place {
    fn open(path: &Path, file_system: &'static dyn FileSystem) -> Result<Self, Error> {
        let name = path.file_name().ok_or_else(|| Error::io(path)(Errno::NOENT.into()))?;
        let directory_path = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let directory = openat(CWD, &directory_path, DIRECTORY, Mode::empty())
            .map_err(|errno| Error::io(path)(errno.into()))?;
        let longest = fstatvfs(&directory).map_or(LONGEST_NAME, |stat| {
            usize::try_from(stat.f_namemax).unwrap_or(LONGEST_NAME).min(LONGEST_NAME)
        });
        let stem = shortened(name, longest.saturating_sub(RECORD.len()));
        let with = |suffix: &str| {
            let mut name = stem.clone();
            name.push(suffix);
            name
        };
        let (part, record) = (with(PART), with(RECORD));
        Ok(Self { directory, directory_path, name: name.to_owned(), part, record, file_system })
    }

    /// A name of this directory as a path, for people.
    pub(super) fn path(&self, name: &OsStr) -> PathBuf {
        match self.directory_path == Path::new(".") {
            true => PathBuf::from(name),
            false => self.directory_path.join(name),
        }
    }

    /// The error of a call that concerns a name.
    pub(super) fn error(&self, name: &OsStr) -> impl Fn(io::Error) -> Error {
        Error::io(self.path(name))
    }

    /// What has a name, without following links.
    pub(super) fn stat(&self, name: &OsStr) -> Result<Option<Stat>, Error> {
        match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error(name)(errno.into())),
        }
    }

    /// Whether a name is that of this file.
    pub(super) fn leads_to(&self, name: &OsStr, file: &File) -> Result<bool, Error> {
        let own = fstat(file).map_err(|errno| self.error(name)(errno.into()))?;
        let there = self.stat(name)?;
        Ok(there.is_some_and(|there| (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)))
    }

    /// Opens a regular file, of which `None` is there. It is never waited for a FIFO's other end,
    /// and no link is followed.
    pub(super) fn open_file(&self, name: &OsStr, access: OFlags) -> Result<Option<File>, Error> {
        let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode).is_file();
        let not_a_file = || Error::NotAFile(self.path(name));
        match self.stat(name)? {
            None => return Ok(None),
            Some(stat) if !is_file(&stat) => return Err(not_a_file()),
            Some(_) => {}
        }
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(not_a_file()),
            Err(errno) => return Err(self.error(name)(errno.into())),
        };
        let opened = fstat(&file).map_err(|errno| self.error(name)(errno.into()))?;
        if is_file(&opened) { Ok(Some(file)) } else { Err(not_a_file()) }
    }

    /// Makes a file that is not there. What is written goes to its end, so that somebody else's
    /// truncation stays visible in the length.
    pub(super) fn create(&self, name: &OsStr, mode: Mode) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(openat(&self.directory, name, flags, mode)?.into())
    }

    /// Makes a file under a name that nothing else has.
    pub(super) fn create_draft(&self, mode: Mode) -> io::Result<(OsString, File)> {
        let name = OsString::from(format!(".quicstream-{:016x}", rand::random::<u64>()));
        self.create(&name, mode).map(|file| (name, file))
    }

    /// Renames a file, over what has the new name.
    pub(super) fn rename(&self, old: &OsStr, new: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.directory, old, &self.directory, new)?)
    }

    /// Renames the part to the file's name unless that is taken.
    pub(super) fn rename_exclusively(&self) -> io::Result<()> {
        self.file_system.rename_exclusively(self.directory.as_fd(), &self.part, &self.name)
    }

    /// Gives the part the file's name, too, unless that is taken.
    pub(super) fn link(&self) -> io::Result<()> {
        self.file_system.link(self.directory.as_fd(), &self.part, &self.name)
    }

    /// Removes a name; that it is not there is no error.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Has the names written to the disk, where the directory may be read for that.
    pub(super) fn sync(&self) -> io::Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(&self.directory, ".", flags, Mode::empty()) {
            Ok(directory) => allow_unsynced(self.file_system.sync_all(&directory.into())),
            Err(_) => Ok(()),
        }
    }

    /// The permissions of the file that has the name, if it has any.
    pub(super) fn mode(&self) -> Result<Option<Mode>, Error> {
        let stat = self.stat(&self.name)?;
        let stat = stat.filter(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        let permissions = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        Ok(stat.map(|stat| Mode::from_raw_mode(stat.st_mode) & permissions))
    }

    /// Whether this process owns a file.
    pub(super) fn is_own(stat: &Stat) -> bool {
        stat.st_uid == geteuid().as_raw()
    }

    /// Says why a name could not be taken from what has it, if it could not.
    pub(super) fn check_replaceable(&self, name: &OsStr) -> Result<(), Error> {
        let Some(stat) = self.stat(name)? else { return Ok(()) };
        let directory = fstat(&self.directory).map_err(|errno| self.error(name)(errno.into()))?;
        let why = if is_protected(&directory, &stat, geteuid().as_raw()) {
            Some("it belongs to somebody else, in a directory where that counts")
        } else {
            self.pinned(name)
        };
        match why {
            Some(why) => Err(Error::Unreplaceable { path: self.path(name), why }),
            None => Ok(()),
        }
    }

    /// Says why no file can be renamed in the directory, if that is so.
    pub(super) fn check_directory(&self) -> Result<(), Error> {
        match self.pinned(OsStr::new("")) {
            // A directory may well be where something is mounted.
            Some(why) if why != MOUNTED => {
                Err(Error::Unreplaceable { path: self.directory_path.clone(), why })
            }
            _ => Ok(()),
        }
    }

    /// What keeps a name where it is, as far as the system tells.
    #[cfg(target_os = "linux")]
    fn pinned(&self, name: &OsStr) -> Option<&'static str> {
        use rustix::fs::{StatxAttributes, StatxFlags, statx};
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let attributes = statx(&self.directory, name, flags, StatxFlags::TYPE).ok()?.stx_attributes;
        let reasons = [
            (StatxAttributes::MOUNT_ROOT, MOUNTED),
            (StatxAttributes::IMMUTABLE, "it is immutable (chattr +i)"),
            (StatxAttributes::APPEND, "it is append-only (chattr +a)"),
        ];
        reasons
            .into_iter()
            .find(|(attribute, _)| attributes.contains(*attribute))
            .map(|(_, why)| why)
    }

    #[cfg(not(target_os = "linux"))]
    fn pinned(&self, _name: &OsStr) -> Option<&'static str> {
        None
    }
}

const MOUNTED: &str = "something is mounted there";

/// Whether the sticky bit of a directory protects a file from this user.
fn is_protected(directory: &Stat, file: &Stat, user: u32) -> bool {
    let sticky = Mode::from_raw_mode(directory.st_mode).contains(Mode::SVTX);
    sticky && user != 0 && file.st_uid != user && directory.st_uid != user
}

/// A name of at most `longest` bytes: what does not fit is told apart by a digest.
fn shortened(name: &OsStr, longest: usize) -> OsString {
    let bytes = name.as_bytes();
    if bytes.len() <= longest {
        return name.to_owned();
    }
    let digest = format!("~{}", blake3::hash(bytes).to_hex().split_at(16).0);
    let mut kept = longest.saturating_sub(digest.len());
    // A character of UTF-8 is not cut: its other bytes begin with the bits 10.
    while kept > 0 && bytes.get(kept).is_some_and(|byte| byte & 0xc0 == 0x80) {
        kept -= 1;
    }
    let mut short = bytes.get(..kept).unwrap_or_default().to_vec();
    short.extend_from_slice(digest.as_bytes());
    OsString::from_vec(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shortened_between_characters_and_stays_its_own() {
        let long = |last: char| OsString::from(format!("{}{last}", "ä".repeat(120)));
        for longest in [17, 18, 40, 41, 245] {
            let short = shortened(&long('a'), longest.min(240));
            assert!(short.len() <= longest && short.to_str().is_some(), "{short:?}");
            assert_ne!(short, shortened(&long('b'), longest.min(240)));
        }
        assert_eq!(shortened(OsStr::new("film.mp4"), 245), "film.mp4");
    }

    #[test]
    fn another_users_file_is_protected_in_a_sticky_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut directory = fstat(File::open(dir.path()).unwrap()).unwrap();
        let mut file = directory;
        let (me, you, root) = (1000, 1001, 0);
        (directory.st_mode, directory.st_uid, file.st_uid) = (0o41777, root, you);
        assert!(is_protected(&directory, &file, me));
        assert!(!is_protected(&directory, &file, you) && !is_protected(&directory, &file, root));
        directory.st_uid = me;
        assert!(!is_protected(&directory, &file, me));
        (directory.st_mode, directory.st_uid) = (0o40777, root);
        assert!(!is_protected(&directory, &file, me));
    }
}
