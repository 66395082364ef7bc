//! What the system lets the process have: descriptors, threads, and files that may grow.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Descriptors that have to be free at the start. A server has 13 open before the first title: for
/// its runtime, its signals, its endpoint and its directory; and it keeps a few for its catalogue.
const DESCRIPTORS: usize = 20;

/// Threads that a command needs: one that may block, one that draws, and one for signals or files.
const THREADS: usize = 3;

/// The runtime of one endpoint: a thread of its own serves it faster than many share it.
///
/// Tokio panics where it gets no descriptor for signals, or no thread for work that blocks. So it
/// is found out before whether there are enough; and the first such thread stays for good, which
/// lets work wait for it when the system has no further one.
///
/// # Errors
/// The system does not let the process have what every command needs.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    raise_descriptor_limit();
    need_descriptors().with_context(|| {
        format!(
            "cannot start: {DESCRIPTORS} more open files are needed than the system allows; raise \
             the limit (ulimit -n, or LimitNOFILE)"
        )
    })?;
    need_threads().with_context(|| {
        format!(
            "cannot start: {THREADS} more threads are needed than the system allows; raise the \
             limit (ulimit -u, or TasksMax)"
        )
    })?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::MAX)
        .build()
        .context("cannot start")?;
    runtime.spawn_blocking(|| ());
    outlive_full_files(&runtime).context("cannot start")?;
    Ok(runtime)
}

/// Takes what the system grants without being asked twice: the usual limit of 1024 is there for
/// programs that use select(2).
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be had, the old limit stands.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn need_descriptors() -> io::Result<()> {
    let pairs = (0..DESCRIPTORS.div_ceil(2)).map(|_| UnixStream::pair());
    pairs.collect::<io::Result<Vec<_>>>().map(drop)
}

fn need_threads() -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    // All have to be there at once, so none gets past before the last has started.
    let closed = gate.lock();
    let start = |_| {
        let gate = gate.clone();
        thread::Builder::new().spawn(move || drop(gate.lock()))
    };
    let threads: io::Result<Vec<_>> = (0..THREADS).map(start).collect();
    drop(closed);
    for thread in threads? {
        // It cannot panic.
        let _ = thread.join();
    }
    Ok(())
}

/// Makes a file that has reached the limit of its size (RLIMIT_FSIZE) an error where it is written.
/// Unless somebody listens, the signal ends the process, even if it is only the log that is full.
fn outlive_full_files(runtime: &Runtime) -> io::Result<()> {
    let _guard = runtime.enter();
    // Tokio does not give a signal back that nobody listens to any more.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}
