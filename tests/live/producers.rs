//! Producers: they come and go, are refused, and are never made to wait.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat};
use rustix::net::sockopt::set_socket_linger;

use crate::common::{self, Serve, assert_exit, events, named};
use crate::{Place, bytes, end, read};

#[test]
fn a_writer_that_comes_back_in_time_goes_on_and_a_later_one_begins_anew() {
    let mut place = Place::new(&["--live-linger", "2"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    assert_eq!(read(&mut viewer, 1_000), bytes(0, 1_000));
    drop(producer);
    let mut producer = place.producer();
    producer.write_all(&bytes(1_000, 1_000)).unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(1_000, 1_000));
    drop(producer);
    assert_eq!(place.serve.wait_for("live_ended")["bytes"], 2_000);
    assert_eq!(viewer.wait().unwrap().code(), Some(0));
    let mut producer = place.producer();
    producer.write_all(b"another").unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    assert_eq!(read(&mut viewer, 7), b"another");
    viewer.kill().unwrap();
    viewer.wait().unwrap();
}

/// Pipes something into a server that a viewer watches, and ends it after `before_its_end`.
fn pipe_in(before_its_end: impl FnOnce(&Serve)) {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = Serve::start_as(
        |mut command| {
            command.stdin(Stdio::piped());
            command
        },
        ["--live", "pipe.bin"],
    );
    let mut stdin = serve.stdin();
    stdin.write_all(&bytes(0, 5_000)).unwrap();
    serve.wait_for("live_started");
    let out = dir.path().join("out");
    let mut viewer = serve.play(["--start", "0", "-o", out.to_str().unwrap()]).spawn().unwrap();
    serve.wait_for("session_opened");
    before_its_end(&serve);
    stdin.write_all(&bytes(5_000, 5_000)).unwrap();
    drop(stdin);
    assert_eq!(viewer.wait().unwrap().code(), Some(0));
    assert!(fs::read(&out).unwrap() == bytes(0, 10_000));
    assert_eq!(serve.wait(), Some(0));
}

#[test]
fn what_is_piped_in_ends_the_server_when_it_ends() {
    pipe_in(|_| ());
}

#[test]
fn the_ctrl_c_that_ends_who_pipes_something_in_ends_the_broadcast_and_not_its_viewers() {
    pipe_in(|serve| serve.signal("-INT"));
}

#[test]
fn a_broadcast_has_to_come_from_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let refused = |args: &[&str], code: i32, words: &str| {
        let mut serve = common::quicstream(dir.path());
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args(args).stdin(Stdio::piped());
        let output = serve.output().unwrap();
        assert_exit(&output, code);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(words), "{told}");
    };
    refused(&["--live", &format!("a={}", file.display())], 1, "not a FIFO");
    refused(&["--live", "a=/no/such/fifo"], 1, "/no/such/fifo");
    // A pipe, here.
    refused(&["--live", "a=/dev/stdin"], 1, "--live NAME");
    refused(&["--live", "a", "--live", "b"], 2, "stdin");
    refused(&["--live", "a", "--live", "a=/x"], 2, "same title");
    refused(&["--live", "../a"], 2, "a title");
    let fifo = dir.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let [one, other] = ["a", "b"].map(|title| format!("{title}={}", fifo.display()));
    refused(&["--live", &one, "--live", &other], 1, "a comes from there");
    let inner = format!("a/b={}", fifo.display());
    refused(&["--live", "a", "--live", &inner, "--record", "x"], 2, "a folder of the other's");
    let record = ["--record", file.to_str().unwrap()];
    refused(&[&["--live", &one], &record[..]].concat(), 1, "cannot record a");
    let (itself, here) = (format!("fifo={}", fifo.display()), dir.path().to_str().unwrap());
    refused(&["--live", &itself, "--record", here], 1, "not a regular file");
    assert!(!fifo.metadata().unwrap().is_file());
}

/// A film that is no broadcast: its moov comes first, and has no fragments behind it.
fn film() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sample.mp4")).unwrap()
}

const FLAGS: &str = "-movflags frag_keyframe+empty_moov+default_base_moof";

#[test]
fn a_plain_mp4_from_a_fifo_is_refused_and_the_next_writer_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, log) = (dir.path().join("fifo"), dir.path().join("log"));
    let recordings = dir.path().join("recordings");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let stderr = fs::File::create(&log).unwrap();
    let live = format!("film.mp4={}", fifo.display());
    let with_log = |mut command: Command| {
        command.stderr(stderr);
        command
    };
    let args = ["--live", &live, "--live-linger", "0", "--record", recordings.to_str().unwrap()];
    let serve = Serve::start_as(with_log, args);
    // All of it is taken, as if it were watched.
    fs::write(&fifo, film()).unwrap();
    while !fs::read_to_string(&log).unwrap().contains(FLAGS) {}
    let told = fs::read_to_string(&log).unwrap();
    assert!(told.contains("film.mp4 cannot be broadcast"), "{told}");
    assert!(!recordings.join("film.mp4").exists());
    // One that comes before the end of the film has been seen is taken for a part of it.
    let watched = || {
        fs::write(&fifo, "something else").unwrap();
        serve.play(["--start", "0", "-o", "-"]).output().unwrap()
    };
    while watched().stdout != b"something else" {}
}

#[test]
fn what_is_refused_in_its_middle_is_not_called_whole() {
    let Some(mut ffmpeg) = common::ffmpeg::ffmpeg() else { return };
    ffmpeg.args(["-f", "lavfi", "-i", "testsrc2=size=192x108:rate=25", "-t", "1"]);
    // Its fragments say where in the file they are.
    ffmpeg.args(["-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "pipe:"]);
    let media = ffmpeg.output().unwrap().stdout;
    let fragment = media.windows(4).position(|kind| kind == b"moof").unwrap() - 4;
    let mut place = Place::new(&["--live-linger", "0"]);
    let mut producer = place.producer();
    producer.write_all(&media[..fragment]).unwrap();
    place.serve.wait_for("live_started");
    let out = place.out();
    let mut viewer = place.serve.play(["--start", "0", "--json", "-o", out.to_str().unwrap()]);
    let viewer = viewer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    place.serve.wait_for("session_opened");
    producer.write_all(&media[fragment..]).unwrap();
    assert_eq!(place.serve.wait_for("live_ended")["bytes"], fragment);
    let viewer = viewer.wait_with_output().unwrap();
    assert_ne!(viewer.status.code(), Some(0));
    let events = events(&viewer);
    let closed = named(&events, "closed")[0];
    assert_eq!((&closed["complete"], &closed["bytes"]), (&false.into(), &fragment.into()));
    assert!(!out.exists());
    let list = place.serve.play(["--list", "--json"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains(r#""size":null"#), "{list}");
}

#[test]
fn what_came_before_a_broadcast_broke_off_is_not_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut producer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stdin, _) = listener.accept().unwrap();
    let with_socket = |mut command: Command| {
        command.stdin(OwnedFd::from(stdin));
        command
    };
    let mut serve = Serve::start_as(with_socket, ["--live", "socket.bin"]);
    producer.write_all(&bytes(0, 1_000)).unwrap();
    serve.wait_for("live_started");
    let mut play = serve.play(["--start", "0", "--retry-for", "0", "-o", "-"]);
    let mut viewer = play.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(0, 1_000));
    producer.write_all(&bytes(1_000, 500)).unwrap();
    // The reset comes with the last bytes.
    set_socket_linger(&producer, Some(Duration::ZERO)).unwrap();
    drop(producer);
    assert_eq!(read(&mut viewer, 500), bytes(1_000, 500));
    assert_ne!(viewer.wait().unwrap().code(), Some(0));
    assert_eq!(serve.wait(), Some(1));
}

#[test]
fn a_server_of_nothing_but_a_plain_mp4_on_its_stdin_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = common::quicstream(dir.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--live", "film.mp4"]).stdin(Stdio::piped());
    let mut serve = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = serve.stdin.take().unwrap();
    // It may end in the middle.
    let _ = stdin.write_all(&film());
    drop(stdin);
    let output = serve.wait_with_output().unwrap();
    assert_exit(&output, 1);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("film.mp4 cannot be broadcast") && told.contains(FLAGS), "{told}");
}

#[test]
fn a_producer_does_not_wait_for_a_server_that_does_not_run_for_a_moment() {
    let mut place = Place::new(&["--live-linger", "0"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    assert_eq!(read(&mut viewer, 1_000), bytes(0, 1_000));
    place.serve.signal("-STOP");
    // A write that had to wait would fail.
    let flags = fcntl_getfl(&producer).unwrap();
    fcntl_setfl(&producer, flags | OFlags::NONBLOCK).unwrap();
    producer.write_all(&bytes(1_000, 900_000)).unwrap();
    drop(producer);
    place.serve.signal("-CONT");
    assert!(read(&mut viewer, 900_000) == bytes(1_000, 900_000));
    assert_eq!(viewer.wait().unwrap().code(), Some(0));
}

#[test]
fn a_fifo_that_is_made_anew_is_read_and_what_takes_its_place_is_not() {
    let mut place = Place::new(&["--live-linger", "60"]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    assert_eq!(read(&mut viewer, 1_000), bytes(0, 1_000));
    let fifo = place.fifo();
    let make = || mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();

    fs::remove_file(&fifo).unwrap();
    producer.write_all(&bytes(1_000, 1_000)).unwrap();
    drop(producer);
    assert_eq!(read(&mut viewer, 1_000), bytes(1_000, 1_000));
    make();
    place.producer().write_all(&bytes(2_000, 1_000)).unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(2_000, 1_000));

    // While nobody writes.
    fs::remove_file(&fifo).unwrap();
    make();
    place.producer().write_all(&bytes(3_000, 500)).unwrap();
    assert_eq!(read(&mut viewer, 500), bytes(3_000, 500));

    // While a writer is there that says nothing any more.
    let mut silent = place.producer();
    silent.write_all(&bytes(3_500, 100)).unwrap();
    assert_eq!(read(&mut viewer, 100), bytes(3_500, 100));
    fs::remove_file(&fifo).unwrap();
    make();
    place.producer().write_all(&bytes(3_600, 400)).unwrap();
    assert_eq!(read(&mut viewer, 400), bytes(3_600, 400));
    drop(silent);

    // A file would be read again and again.
    let mut producer = place.producer();
    fs::remove_file(&fifo).unwrap();
    fs::write(&fifo, "no broadcast").unwrap();
    producer.write_all(&bytes(4_000, 1_000)).unwrap();
    drop(producer);
    assert_eq!(read(&mut viewer, 1_000), bytes(4_000, 1_000));
    fs::remove_file(&fifo).unwrap();
    make();
    place.producer().write_all(&bytes(5_000, 1_000)).unwrap();
    assert_eq!(read(&mut viewer, 1_000), bytes(5_000, 1_000));
    viewer.kill().unwrap();
    viewer.wait().unwrap();
}

#[test]
fn stdin_that_is_over_leaves_no_title_and_one_that_cannot_be_read_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("film.mp4"), "a film").unwrap();
    let media = dir.path().to_str().unwrap();
    let serve = Serve::start_as(
        |mut command| {
            command.stdin(Stdio::null());
            command
        },
        ["--live", "cam.ts", "--media", media],
    );
    let list = || serve.play(["--list", "--json"]).output().unwrap().stdout;
    let is_listed = || String::from_utf8(list()).unwrap().contains("cam.ts");
    assert!((0..500).any(|_| !is_listed()));
    let refused = serve.play(["--title", "cam.ts", "-o", "-"]).output().unwrap();
    assert_exit(&refused, 3);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no such title"), "{refused:?}");
    let played = serve.play(["-o", "-"]).output().unwrap();
    assert_eq!(played.stdout, b"a film");

    let mut serve = common::quicstream(dir.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--live", "cam.ts"]);
    let output = serve.stdin(fs::File::open(dir.path()).unwrap()).output().unwrap();
    assert_exit(&output, 1);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cam.ts: cannot read stdin"), "{told}");
}

#[test]
fn what_has_ended_and_is_not_kept_from_its_beginning_is_refused() {
    let mut place = Place::new(&["--live-linger", "0", "--live-window", "1MiB"]);
    place.producer().write_all(&bytes(0, 3_000_000)).unwrap();
    place.serve.wait_for("live_ended");
    // Who names no byte waits for the next broadcast, as the list says.
    let asked = [
        (&[][..], "OPEN_NACK 7"),
        (&["--start", "-60s"], "OPEN_NACK 7"),
        (&["--start", "0"], "kept from byte"),
    ];
    for (args, words) in asked {
        let output = place.serve.play(["-o", "-"]).args(args).output().unwrap();
        assert_exit(&output, 3);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(words), "{args:?}: {told}");
        assert!(output.stdout.is_empty());
    }
    let output = place.serve.play(["--protocol", "1", "-o", "-"]).output().unwrap();
    assert_exit(&output, 3);
    let output = place.serve.play(["--start", "2500000", "-o", "-"]).output().unwrap();
    assert_exit(&output, 0);
    assert!(output.stdout == bytes(2_500_000, 500_000));
    // Nobody is promised what is not there.
    let list = place.serve.play(["--list", "--json"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("cam.bin") && list.contains(r#""size":null"#), "{list}");
    let mut waiting = place.viewer(&["--wait", "60"]);
    let mut producer = place.producer();
    let writer = std::thread::spawn(move || {
        while producer.write_all(b"the next").is_ok() {
            std::thread::yield_now();
        }
    });
    read(&mut waiting, 1);
    end(waiting);
    drop(place);
    writer.join().unwrap();
}

/// A server of what is piped into it, which records to a disk that takes so many microseconds for
/// each write.
fn recorder(dir: &Path, slow: &str) -> Serve {
    let library = dir.join("slow_disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/slow_disk.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(cc.status().unwrap().success());
    let command = |mut command: Command| {
        command.env("LD_PRELOAD", &library).env("SLOW_DISK", slow);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let record = dir.join("recordings");
    Serve::start_as(command, ["--live", "pipe.bin", "--record", record.to_str().unwrap()])
}

#[test]
fn what_came_is_on_the_disk_before_the_server_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = recorder(dir.path(), "5000");
    let mut stdin = serve.stdin();
    stdin.write_all(&bytes(0, 20_000_000)).unwrap();
    drop(stdin);
    assert_eq!(serve.wait(), Some(0));
    let recorded = fs::read(dir.path().join("recordings/pipe.bin")).unwrap();
    assert!(recorded == bytes(0, 20_000_000), "{}", recorded.len());
}

#[test]
fn a_server_that_has_to_end_without_its_disk_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = recorder(dir.path(), "60000000");
    let mut stdin = serve.stdin();
    stdin.write_all(&bytes(0, 1_000_000)).unwrap();
    serve.wait_for("live_started");
    serve.signal("-TERM");
    assert_eq!(serve.wait(), Some(1));
    let mut told = String::new();
    serve.stderr().read_to_string(&mut told).unwrap();
    assert!(told.contains("did not get to the disk"), "{told}");
}
