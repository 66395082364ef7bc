//! Media out of nothing, for trying things out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rand::RngReader;

/// Makes `path` of `size` random bytes unless it is there. It appears whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn generate(path: &Path, size: u64) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = File::create(&part)
        .and_then(|mut file| io::copy(&mut RngReader(rand::rng()).take(size), &mut file))
        .and_then(|_| fs::rename(&part, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&part);
    }
    written
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
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1, "no .part is left");
    }
}
