//! The names that standard output has as a file.

use std::fs;
use std::path::{Path, PathBuf};

/// How many links are followed: as many as Linux does.
const MAX_LINKS: usize = 40;

/// Whether a path leads to this process's standard output: `-`, `/dev/stdout`, `/dev/fd/1`, or a
/// link to one of these. A file that standard output happens to be redirected to does not count.
pub(super) fn is_stdout(path: &Path) -> bool {
    if path == Path::new("-") {
        return true;
    }
    let Ok(descriptors) = fs::canonicalize("/dev/fd") else { return false };
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let parent = directory(&path);
        if path.file_name().is_some_and(|name| name == "1")
            && fs::canonicalize(&parent).is_ok_and(|parent| parent == descriptors)
        {
            return true;
        }
        match fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => return false,
        }
    }
    false
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_and_links_of_standard_output_are_told_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &Path| {
            let path = dir.path().join(name);
            symlink(target, &path).unwrap();
            path
        };
        let first = link("first", Path::new("/dev/stdout"));
        let second = link("second", Path::new("first"));
        for path in ["-", "/dev/stdout", "/dev/fd/1", "/dev/../dev/stdout"] {
            assert!(is_stdout(Path::new(path)), "{path}");
        }
        assert!(is_stdout(&first) && is_stdout(&second));

        let circle = link("circle", Path::new("circle"));
        let one = dir.path().join("1");
        fs::write(&one, "").unwrap();
        for path in [&circle, &one, Path::new("/dev/stderr"), Path::new("/dev/null")] {
            assert!(!is_stdout(path), "{path:?}");
        }
        assert!(!is_stdout(Path::new("nowhere")) && !is_stdout(Path::new("")));
    }
}
