//! Media out of nothing, for trying things out.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rand::RngReader;
use tempfile::Builder;

/// Makes `path` of `size` random bytes unless it is there. It appears whole or not at all, and
/// takes the place of nothing.
///
/// # Errors
/// The file cannot be written.
pub fn generate(path: &Path, size: u64) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    // As any new file has them, within the umask.
    let permissions = Permissions::from_mode(0o666);
    let mut file =
        Builder::new().prefix(".quicstream-").permissions(permissions).tempfile_in(parent)?;
    io::copy(&mut RngReader(rand::rng()).take(size), &mut file)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        // Another process was faster.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists && path.exists() => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/clip.bin");
        generate(&path, 100_000).unwrap();
        let first = fs::read(&path).unwrap();
        assert_eq!(first.len(), 100_000);
        generate(&path, 5).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (path, part) = (dir.path().join("clip.bin"), dir.path().join("clip.bin.part"));
        let (other, link) = (dir.path().join("other"), dir.path().join("link.bin"));
        fs::write(&part, "somebody's").unwrap();
        generate(&path, 10).unwrap();
        assert_eq!(fs::read(&part).unwrap(), b"somebody's");

        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert_eq!(generate(&link, 10).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(link.is_symlink() && !other.exists());
    }
}
