//! Digests on the disk, so that they survive a restart.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use tempfile::NamedTempFile;
use tracing::debug;

use crate::media::identity::FileIdentity;
use crate::protocol::Digest;

/// The most digests in a file.
pub(super) const MOST: usize = 4096;

/// The longest file that is read, bytes. A full one has about 1 MiB.
const LONGEST: u64 = 4 * 1024 * 1024;

/// A file of digests: a line with the BLAKE3 of all that follows, which is JSON. It is worth
/// nothing beyond the time that it takes to compute them anew, so that one with anything wrong
/// is as good as none.
#[derive(Debug)]
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What was saved.
    pub(super) fn load(&self) -> Vec<(FileIdentity, Digest)> {
        let read =
            self.read().and_then(|bytes| decode(&bytes).ok_or(io::ErrorKind::InvalidData.into()));
        read.unwrap_or_else(|error| {
            debug!(path = ?self.0, %error, "no digests are known from before");
            Vec::new()
        })
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file =
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&self.0)?;
        let metadata = file.metadata()?;
        // A digest that somebody else put there would make a title useless.
        let ours = metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0;
        if !metadata.is_file() || !ours {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Replaces what was saved. The file is whole at every moment; two servers that share it may
    /// each take out what the other put in.
    pub(super) fn save(&self, digests: &[(FileIdentity, Digest)]) -> io::Result<()> {
        let directory = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut draft = NamedTempFile::new_in(directory)?;
        draft.write_all(&encode(digests)?)?;
        draft.persist(&self.0)?;
        Ok(())
    }
}

fn encode(digests: &[(FileIdentity, Digest)]) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(digests)?;
    let mut bytes = format!("{}\n", blake3::hash(&json)).into_bytes();
    bytes.extend(json);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<Vec<(FileIdentity, Digest)>> {
    let line = bytes.iter().position(|byte| *byte == b'\n')?;
    let (sum, json) = bytes.split_at_checked(line)?;
    let json = json.get(1..)?;
    let intact = sum == blake3::hash(json).to_hex().as_bytes();
    let mut digests: Vec<_> = serde_json::from_slice(json).ok().filter(|_| intact)?;
    digests.truncate(MOST);
    Some(digests)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn digests() -> Vec<(FileIdentity, Digest)> {
        let state = FileIdentity::from(&fs::metadata("/").unwrap());
        vec![(state, [7; 32])]
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_elses_business() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state/quicstream/digests"));
        assert_eq!(store.load(), []);
        for _ in 0..2 {
            store.save(&digests()).unwrap();
            assert_eq!(store.load(), digests());
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(store.path()), 0o600);
            assert_eq!(mode(store.path().parent().unwrap()), 0o700);
            let beside = fs::read_dir(store.path().parent().unwrap()).unwrap().count();
            assert_eq!(beside, 1, "no draft stays behind");
        }
        let many: Vec<_> = digests().into_iter().cycle().take(MOST + 1).collect();
        store.save(&many).unwrap();
        assert_eq!(store.load().len(), MOST);
        assert!(fs::metadata(store.path()).unwrap().len() < LONGEST);
    }

    #[test]
    fn whatever_is_wrong_with_it_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("digests"));
        store.save(&digests()).unwrap();
        let good = fs::read(store.path()).unwrap();
        for cut in 0..good.len() {
            assert_eq!(decode(&good[..cut]), None, "{cut} bytes");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), None, "byte {at}");
        }
        for garbage in [&b""[..], b"\n", b"[]", b"\xff\xfe\n[]", &vec![b'['; 1 << 20]] {
            fs::write(store.path(), garbage).unwrap();
            assert_eq!(store.load(), []);
            store.save(&digests()).unwrap();
            assert_eq!(store.load(), digests());
        }
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(store.load(), [], "others may have written it");
    }

    #[test]
    fn what_is_no_file_of_ours_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let others = dir.path().join("others");
        let store = Store::at(&dir.path().join("digests"));
        fs::write(&others, encode(&digests()).unwrap()).unwrap();
        let text = fs::read(&others).unwrap();
        symlink(&others, store.path()).unwrap();
        assert_eq!(store.load(), []);
        store.save(&digests()).unwrap();
        assert!(fs::symlink_metadata(store.path()).unwrap().is_file());
        assert_eq!(fs::read(&others).unwrap(), text);

        fs::remove_file(store.path()).unwrap();
        mkfifoat(CWD, store.path(), Mode::RWXU).unwrap();
        assert_eq!(store.load(), []);
        fs::remove_file(store.path()).unwrap();
        fs::create_dir(store.path()).unwrap();
        assert_eq!(store.load(), []);
        store.save(&digests()).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no draft stays behind");
        Store::at(&others.join("digests")).save(&digests()).unwrap_err();
    }
}
