//! stdout and stderr, written to the last byte.

use std::io::{self, Stderr, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::text::escape;

/// stdout or stderr, without a buffer. Waits for a full pipe even where a parent made it
/// non-blocking: std would fail there, with half a line written.
#[derive(Debug)]
pub(crate) struct StandardStream<F>(F);

/// The stdout of this process.
pub(crate) fn stdout() -> StandardStream<Stdout> {
    StandardStream(io::stdout())
}

/// The stderr of this process.
pub(crate) fn stderr() -> StandardStream<Stderr> {
    StandardStream(io::stderr())
}

impl<F: AsFd> StandardStream<F> {
    /// Writes a whole line.
    pub(super) fn line(mut self, line: &str) -> io::Result<()> {
        self.write_all(format!("{line}\n").as_bytes())
    }
}

impl<F: AsFd> Write for StandardStream<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(Errno::AGAIN) => wait_for_room(self.0.as_fd())?,
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wait_for_room(stream: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether a write failed only because nobody reads any more: a pipe was closed, or a
/// terminal went away.
pub(super) fn nobody_reads(error: &io::Error) -> bool {
    let gone = [Errno::PIPE, Errno::IO].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

/// Writes a line to stderr. Where stderr is gone, nobody asks for it.
pub(super) fn print_line(line: &str) {
    let _ = stderr().line(line);
}

/// Tells people what a command failed with, on one or several lines.
pub(crate) fn print_error(message: &str) {
    let lines: Vec<_> = message.lines().map(escape).collect();
    print_line(&format!("quicstream: error: {}", lines.join("\n")));
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::thread;

    use rustix::io::ioctl_fionbio;

    use super::*;

    #[test]
    fn a_full_pipe_that_does_not_block_is_waited_for() {
        let (mut read, write) = io::pipe().unwrap();
        ioctl_fionbio(&write, true).unwrap();
        let bytes: Vec<u8> = (0..1_000_000).map(|byte| byte as u8).collect();
        let sent = bytes.clone();
        let writer = thread::spawn(move || StandardStream(write).write_all(&sent));
        let mut received = Vec::new();
        read.read_to_end(&mut received).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(received, bytes);
    }

    #[test]
    fn a_full_disk_is_no_reader_who_left() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(nobody_reads(&error(Errno::PIPE)) && nobody_reads(&error(Errno::IO)));
        assert!(!nobody_reads(&error(Errno::NOSPC)) && !nobody_reads(&error(Errno::BADF)));
    }
}
