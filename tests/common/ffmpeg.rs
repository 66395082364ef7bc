//! ffmpeg, from a Python package that carries it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::python::{environment, is_skipped};

const PACKAGE: &str = "imageio-ffmpeg==0.8.1";

/// An ffmpeg that says nothing but errors. `None` if the environment says to skip.
pub(crate) fn ffmpeg() -> Option<Command> {
    static FFMPEG: OnceLock<PathBuf> = OnceLock::new();
    if is_skipped() {
        return None;
    }
    let ffmpeg = FFMPEG.get_or_init(|| {
        let python = environment(&[PACKAGE]);
        let script = "import imageio_ffmpeg as package; print(package.get_ffmpeg_exe())";
        let output = Command::new(python).args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Path::new(String::from_utf8(output.stdout).unwrap().trim()).to_owned()
    });
    let mut command = Command::new(ffmpeg);
    command.args(["-v", "error"]).stdin(Stdio::null());
    Some(command)
}
