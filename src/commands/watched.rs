//! Files that are looked at again while the program runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the system knows of a file's state; it differs when the file was changed or replaced.
/// `None` where there is no file.
type State = Option<(u64, u64, i64, i64, i64, i64, u64)>;

/// Some files, and the state in which they were last seen.
#[derive(Debug)]
pub(super) struct Watched {
    files: Vec<(PathBuf, State)>,
}

impl Watched {
    /// Watches from now on.
    pub(super) fn new(paths: &[&Path]) -> Self {
        Self { files: paths.iter().map(|path| (path.to_path_buf(), state(path))).collect() }
    }

    /// Returns true if one of them is not what it was when this was last asked. Links are
    /// followed: who turns one to another file changes what is seen.
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.files {
            let now = state(path);
            changed |= now != *seen;
            *seen = now;
        }
        changed
    }
}

fn state(path: &Path) -> State {
    let metadata = fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.len(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_through_links_too() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, link] = ["first", "second", "link"].map(|name| dir.path().join(name));
        fs::write(&first, "a").unwrap();
        fs::write(&second, "b").unwrap();
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let mut watched = Watched::new(&[&link, &dir.path().join("missing")]);
        assert!(!watched.changed());
        fs::write(&first, "aa").unwrap();
        assert_eq!((watched.changed(), watched.changed()), (true, false));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&second, &link).unwrap();
        assert_eq!((watched.changed(), watched.changed()), (true, false));
        fs::write(dir.path().join("missing"), "").unwrap();
        assert_eq!((watched.changed(), watched.changed()), (true, false));
    }
}
