//! stdout and stderr, written to the last byte.

use std::io::{self, Stderr, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// stdout or stderr, without a buffer. A pipe that is full is waited for, even where a parent made
/// it non-blocking: std would fail there, with half a line written.
#[derive(Debug)]
pub struct Output<F>(F);

/// The stdout of this process.
pub fn stdout() -> Output<Stdout> {
    Output(io::stdout())
}

/// The stderr of this process.
pub fn stderr() -> Output<Stderr> {
    Output(io::stderr())
}

impl<F: AsFd> Output<F> {
    /// Writes a whole line.
    pub(super) fn line(mut self, line: &str) -> io::Result<()> {
        self.write_all(format!("{line}\n").as_bytes())
    }
}

impl<F: AsFd> Write for Output<F> {
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

fn wait_for_room(output: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(output, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a failed write says only that nobody reads any more: a pipe was closed, or a terminal
/// went away.
pub(super) fn nobody_reads(error: &io::Error) -> bool {
    let gone = [Errno::PIPE, Errno::IO].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

/// Writes a line to stderr; one that is gone is no reason to fail.
pub(super) fn eprintln_quietly(line: &str) {
    let _ = stderr().line(line);
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
        let writer = thread::spawn(move || Output(write).write_all(&sent));
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
