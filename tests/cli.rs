//! The executable as its users meet it: flags, exit codes, what is on stdout, and the files it
//! leaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Serve, assert_exit, events, media, named, next_event, quicstream};

/// Flags that make a paced session fast.
const SERVE_FAST: [&str; 2] = ["--bitrate", "1000000000"];
const PLAY_FAST: [&str; 2] = ["--bitrates", "1000000000"];

fn sample() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sample.mp4")).unwrap()
}

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[cfg(not(feature = "object-store"))]
#[test]
fn a_bucket_is_refused_with_how_to_build_it_in() {
    for url in ["s3://bucket/films", "gs://bucket", "az://container/films"] {
        let state = tempfile::tempdir().unwrap();
        let args = ["serve", "--listen", "127.0.0.1:0", url];
        let output = quicstream(state.path()).args(args).output().unwrap();
        assert_exit(&output, 1);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(url) && said.contains("--features object-store"), "{said}");
    }
}

#[test]
fn one_command_shows_the_whole_protocol() {
    let state = state();
    let output = quicstream(state.path()).args(["play", "--embedded", "--json"]).output().unwrap();
    assert_exit(&output, 0);
    let events = events(&output);
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "connected",
            "accepted",
            "chunk",
            "chunk",
            "chunk",
            "paused",
            "resumed",
            "chunk",
            "chunk",
            "chunk",
            "chunk",
            "chunk",
            "closed"
        ]
    );
    let seqs: Vec<_> = named(&events, "chunk").iter().map(|chunk| chunk["seq"].clone()).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(named(&events, "paused")[0]["seq"], 3);
    assert!(named(&events, "resumed")[0]["seconds"].as_f64().unwrap() >= 2.0);
    let closed = named(&events, "closed")[0];
    assert_eq!((&closed["complete"], &closed["bytes"]), (&true.into(), &524_288.into()));
    // Seven chunks of 65,536 bytes at 500,000 bit/s, and the pause: 9.34 s. The first goes at once,
    // and OPEN_ACK may be noticed late.
    assert!(closed["seconds"].as_f64().unwrap() >= 8.0, "{closed}");
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_file_arrives_byte_for_byte() {
    let serve = Serve::start(SERVE_FAST);
    let out = state();
    let path = out.path().join("out.mp4");
    let output = serve.play(PLAY_FAST).arg("-o").arg(&path).output().unwrap();
    assert_exit(&output, 0);
    assert!(fs::read(&path).unwrap() == sample());
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1, "no .part is left");
    assert!(output.stdout.is_empty());
}

#[test]
fn stdout_carries_the_media_and_nothing_else() {
    let serve = Serve::start(SERVE_FAST);
    let output = serve.play(PLAY_FAST).args(["-o", "-", "--json"]).output().unwrap();
    assert_exit(&output, 0);
    assert!(output.stdout == sample());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().any(|line| line.contains(r#""event":"closed""#)), "{stderr}");
}

#[test]
fn every_size_arrives_whole() {
    for size in [0, 1, 65_535, 65_536, 65_537, 3 << 20] {
        let dir = state();
        let (path, bytes) = media(dir.path(), size);
        let serve = Serve::start(SERVE_FAST.iter().chain(&["--media", path.to_str().unwrap()]));
        let output = serve.play(PLAY_FAST).args(["-o", "-"]).output().unwrap();
        assert_exit(&output, 0);
        assert!(output.stdout == bytes, "{size}");
    }
}

#[test]
fn a_file_that_is_there_is_kept_and_the_server_is_not_asked() {
    let dir = state();
    let path = dir.path().join("out.mp4");
    fs::write(&path, "precious").unwrap();
    // Nobody listens there.
    let refused =
        quicstream(dir.path()).args(["play", "-p", "1", "-o", "out.mp4"]).output().unwrap();
    assert_exit(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    let serve = Serve::start(SERVE_FAST);
    let forced = serve.play(PLAY_FAST).arg("--force").arg("-o").arg(&path).output().unwrap();
    assert_exit(&forced, 0);
    assert!(fs::read(&path).unwrap() == sample());
}

#[test]
fn a_full_disk_is_told_with_its_reason() {
    let serve = Serve::start(SERVE_FAST);
    let output = serve.play(PLAY_FAST).args(["-o", "/dev/full"]).output().unwrap();
    assert_exit(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left on device"));
}

#[test]
fn a_player_that_is_quit_ends_the_session_quietly() {
    let mut serve = Serve::start(SERVE_FAST.iter().chain(&["--generate", "64MiB"]));
    let mut play = serve.play(PLAY_FAST).args(["-o", "-"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut player = play.stdout.take().unwrap();
    player.read_exact(&mut [0; 100_000]).unwrap();
    drop(player);
    assert_eq!(play.wait().unwrap().code(), Some(0));
    assert_ne!(serve.wait_for("session_closed")["reason"], "complete");
}

#[test]
fn a_player_that_stops_reading_becomes_a_pause_and_loses_nothing() {
    let keepalive = ["--keepalive", "1", "--session-timeout", "3", "--generate", "16MiB"];
    let mut serve = Serve::start(SERVE_FAST.iter().chain(&keepalive));
    let mut play = serve
        .play(PLAY_FAST)
        .args(["-o", "-", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(play.stderr.take().unwrap());
    let mut event = |name: &str| loop {
        let event = next_event(&mut events).expect("the session goes on");
        assert_ne!(event["event"], "error", "{event}");
        if event["event"] == name {
            return event;
        }
    };
    event("paused");
    serve.wait_for("session_paused");
    let mut received = Vec::new();
    play.stdout.take().unwrap().read_to_end(&mut received).unwrap();
    event("resumed");
    serve.wait_for("session_resumed");
    assert_eq!(event("closed")["complete"], true);
    assert_eq!(play.wait().unwrap().code(), Some(0));
    assert_eq!(received.len(), 16 << 20);
    assert_eq!(serve.wait_for("session_closed")["reason"], "complete");
}

#[test]
fn media_that_changes_on_the_way_is_never_shown_as_whole() {
    let dir = state();
    let (path, bytes) = media(dir.path(), 8 << 20);
    // Slow enough to be in the middle of it: two seconds a block of the cache.
    let serve = Serve::start(["--bitrate", "4000000", "--media", path.to_str().unwrap()]);
    let out = dir.path().join("out.mp4");
    let mut play = serve
        .play(["--bitrates", "4000000", "--json", "-o"])
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(play.stdout.take().unwrap());
    while next_event(&mut events).unwrap()["event"] != "chunk" {}
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let output = play.wait_with_output().unwrap();
    assert_exit(&output, 6);
    assert!(!out.exists());
    let part = fs::read(dir.path().join("out.mp4.part")).unwrap();
    assert!(bytes.starts_with(&part), "what came is what was there");
    assert!(String::from_utf8_lossy(&output.stderr).contains("out.mp4.part"));
}

#[test]
fn version_1_gets_the_first_media_file_of_a_directory() {
    let dir = state();
    for name in ["b.mp4", "a.mp4", "README"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let args = SERVE_FAST.iter().chain(&["--media"]).map(|arg| arg.to_string());
    let serve = Serve::start(args.chain([dir.path().display().to_string()]));
    let output = serve.play(PLAY_FAST).args(["-o", "-", "--protocol", "1"]).output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(output.stdout, b"a.mp4");
}

#[test]
fn the_codes_of_failures() {
    let state = state();
    let code = |args: &[&str]| {
        quicstream(state.path()).args(args).stderr(Stdio::null()).output().unwrap().status.code()
    };
    assert_eq!(code(&["play", "--nonsense"]), Some(2));
    assert_eq!(code(&["play", "--config", "missing.toml"]), Some(2));
    assert_eq!(code(&["serve", "--bitrate", "0"]), Some(2));
    assert_eq!(code(&["play", "--ca", "missing.pem"]), Some(2));
    assert_eq!(code(&["serve", "--media", "missing.mp4"]), Some(1));
    assert_eq!(code(&["play", "-p", "1", "--insecure", "--connect-timeout", "0.2"]), Some(4));
    assert_eq!(code(&["play", "no-such-host.invalid", "--insecure"]), Some(4));

    let serve = Serve::start([""; 0]);
    let refused = serve.play(["--codec", "mpeg1"]).output().unwrap();
    assert_exit(&refused, 3);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("OPEN_NACK 1") && stderr.contains("unsupported codec"), "{stderr}");
}

#[test]
fn an_interrupt_ends_a_play_in_good_order() {
    let mut serve = Serve::start([""; 0]);
    let mut play = serve.play(["--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(play.stdout.take().unwrap());
    while next_event(&mut events).unwrap()["event"] != "accepted" {}
    let pid = play.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(play.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(serve.wait_for("session_closed")["reason"], "closed by the client");
}

#[test]
fn a_server_that_is_told_to_stop_closes_its_sessions() {
    for signal in ["-INT", "-TERM"] {
        let mut serve = Serve::start([""; 0]);
        let args = ["--json", "--retry-for", "0"];
        let play = serve.play(args).stdout(Stdio::piped()).spawn().unwrap();
        serve.wait_for("session_opened");
        serve.signal(signal);
        assert_eq!(serve.wait(), Some(0));
        let output = play.wait_with_output().unwrap();
        assert_exit(&output, 4);
        let events = events(&output);
        let message = events.last().unwrap()["message"].to_string();
        assert!(message.contains("the server is shutting down"), "{message}");
    }
}

#[test]
fn a_second_server_on_the_same_port_is_an_error_that_names_it() {
    let serve = Serve::start([""; 0]);
    let address = format!("127.0.0.1:{}", serve.port);
    let state = state();
    let second = quicstream(state.path()).args(["serve", "--listen", &address]).output().unwrap();
    assert_exit(&second, 1);
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
}

/// Whom a client trusts: the right certificate gets through, any other is exit 5 with the way out.
mod trust {
    use super::*;

    /// A play against `serve` by somebody who has no certificate of his own.
    fn stranger(serve: &Serve, args: &[&str]) -> Command {
        let home = state().keep();
        let mut command = quicstream(&home);
        command.args(["play", "--port", &serve.port.to_string(), "-o", "-"]).args(args);
        command.args(PLAY_FAST).env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        command
    }

    #[track_caller]
    fn assert_trusted(mut play: Command) {
        let output = play.output().unwrap();
        assert_exit(&output, 0);
        assert!(output.stdout == sample());
    }

    #[track_caller]
    fn assert_untrusted(mut play: Command, serve: &Serve, says: &str) {
        let output = play.output().unwrap();
        assert_exit(&output, 5);
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(says), "{stderr}");
        assert!(stderr.contains(&serve.fingerprint), "{stderr}");
    }

    fn serve() -> Serve {
        Serve::start(SERVE_FAST)
    }

    #[test]
    fn the_same_user_needs_to_say_nothing_and_a_stranger_does() {
        let serve = serve();
        assert_exit(&serve.play(PLAY_FAST).output().unwrap(), 0);
        assert_untrusted(stranger(&serve, &[]), &serve, "--pin");
    }

    #[test]
    fn ca() {
        let (serve, other) = (serve(), serve());
        let right = serve.certificate();
        let wrong = other.certificate();
        assert_trusted(stranger(&serve, &["--ca", right.to_str().unwrap()]));
        let refused = stranger(&serve, &["--ca", wrong.to_str().unwrap()]);
        assert_untrusted(refused, &serve, "no trusted root");
    }

    /// As `openssl req -x509` makes them.
    #[test]
    fn ca_that_is_the_self_signed_certificate_of_an_authority() {
        let dir = state();
        let certificate = |name: &str, file: &str| {
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let path = dir.path().join(file);
            fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(path.with_extension("key"), key.serialize_pem()).unwrap();
            path
        };
        let serve_with = |cert: &Path| {
            let key = cert.with_extension("key");
            let args = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
            Serve::start(SERVE_FAST.iter().chain(&args))
        };
        let right = certificate("localhost", "right.pem");
        let other = certificate("localhost", "other.pem");
        let serve = serve_with(&right);
        let play = |ca: &Path, name: &str| {
            stranger(&serve, &["--ca", ca.to_str().unwrap(), "--server-name", name])
        };
        assert_trusted(play(&right, "localhost"));
        assert_untrusted(play(&right, "elsewhere.example"), &serve, "elsewhere.example");
        assert_untrusted(play(&other, "localhost"), &serve, "not trusted");
    }

    #[test]
    fn ca_with_a_name_that_the_certificate_does_not_carry() {
        let serve = serve();
        let ca = serve.certificate();
        let args = ["--ca", ca.to_str().unwrap(), "--server-name", "elsewhere.example"];
        assert_untrusted(stranger(&serve, &args), &serve, "elsewhere.example");
    }

    #[test]
    fn pin() {
        let (serve, other) = (serve(), serve());
        assert_trusted(stranger(&serve, &["--pin", &serve.fingerprint]));
        let plain = serve.fingerprint.replace(':', "").to_lowercase();
        assert_trusted(stranger(&serve, &["--pin", &plain]));
        let refused = stranger(&serve, &["--pin", &other.fingerprint]);
        assert_untrusted(refused, &serve, "not the one that was pinned");
    }

    #[test]
    fn insecure_says_so() {
        let serve = serve();
        let output = stranger(&serve, &["--insecure"]).output().unwrap();
        assert_exit(&output, 0);
        assert!(String::from_utf8_lossy(&output.stderr).contains("--insecure"));
    }

    #[test]
    fn the_system_roots() {
        let (serve, other) = (serve(), serve());
        let with_roots = |serve: &Serve, roots: &Serve| {
            let mut play = stranger(serve, &[]);
            play.env("SSL_CERT_FILE", roots.certificate());
            play
        };
        assert_trusted(with_roots(&serve, &serve));
        assert_untrusted(with_roots(&serve, &other), &serve, "no trusted root");
    }
}

/// What only version 2 can: titles, places in them, and rates.
mod library {
    use super::*;

    /// A library with a title in a directory, one beside it, and one in two bitrates.
    fn library() -> (tempfile::TempDir, Serve) {
        let dir = state();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write("a film.mp4", &sample());
        write("sub/b.webm", b"b");
        write("c.renditions/240000.mp4", b"low");
        write("c.renditions/9000000.mp4", b"high");
        write(".hidden.mp4", b"hidden");
        let serve = Serve::start(["--media", dir.path().to_str().unwrap()]);
        (dir, serve)
    }

    fn stdout(mut play: Command) -> Vec<u8> {
        let output = play.output().unwrap();
        assert_exit(&output, 0);
        output.stdout
    }

    #[test]
    fn is_listed_as_a_table_and_as_json() {
        let (_dir, serve) = library();
        let table = String::from_utf8(stdout(serve.play(["--list"]))).unwrap();
        let lines: Vec<_> = table.lines().map(|line| line.split("  ").next().unwrap()).collect();
        assert_eq!(lines, ["TITLE", "a film.mp4", "c.renditions", "sub/b.webm"], "{table}");
        let json = String::from_utf8(stdout(serve.play(["--list", "--json"]))).unwrap();
        assert_eq!(
            json.lines().nth(2),
            Some(r#"{"title":"sub/b.webm","size":1,"type":"video/webm"}"#),
            "{json}"
        );
    }

    #[test]
    fn gives_the_title_that_is_named() {
        let (dir, serve) = library();
        assert!(stdout(serve.play(["--title", "a film.mp4", "-o", "-"])) == sample());
        assert_eq!(stdout(serve.play(["--title", "sub/b.webm", "-o", "-"])), b"b");
        fs::write(dir.path().join("later.mp4"), "later").unwrap();
        assert_eq!(stdout(serve.play(["--title", "later.mp4", "-o", "-"])), b"later");
        assert_exit(&serve.play(["--title", ".hidden.mp4"]).output().unwrap(), 3);
    }

    #[test]
    fn asks_for_a_title_where_there_are_many() {
        let (_dir, serve) = library();
        let output = serve.play([""; 0]).output().unwrap();
        assert_exit(&output, 2);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("--title") && stderr.contains("sub/b.webm"), "{stderr}");
    }

    #[test]
    fn is_reached_by_the_url_that_serve_prints() {
        let dir = state();
        let path = dir.path().join("ä film?.mp4");
        fs::write(&path, "film").unwrap();
        let serve = Serve::start(["--media", path.to_str().unwrap()]);
        let mut play = quicstream(dir.path());
        play.args(["play", &serve.url, "-o", "-"]);
        assert_eq!(stdout(play), b"film");
    }

    #[test]
    fn gives_the_rendition_for_the_bitrate() {
        let (_dir, serve) = library();
        let rendition = |bitrates: &str| {
            stdout(serve.play(["--title", "c.renditions", "-o", "-", "--bitrates", bitrates]))
        };
        assert_eq!(rendition("500000"), b"low", "the server's limit is 500,000");
        assert_eq!(rendition("9000000"), b"high", "it offers nothing lower");
    }

    #[test]
    fn starts_anywhere() {
        let (_dir, serve) = library();
        let from = |start: &str| {
            stdout(serve.play(["--title", "a film.mp4", "-o", "-", "--start", start]))
        };
        let sample = sample();
        assert!(from("131073") == sample[131_073..]);
        assert!(from("256KiB") == sample[262_144..]);
        assert!(from("75%") == sample[393_216..]);
        assert!(from("524288").is_empty());
        let past = serve.play(["--title", "a film.mp4", "--start", "524289"]).output().unwrap();
        assert_exit(&past, 3);
        assert!(String::from_utf8_lossy(&past.stderr).contains("OPEN_NACK 8"));
    }

    #[test]
    fn is_paced_as_the_client_asks_within_the_servers_limit() {
        let limited = ["--max-rate", "8000000"];
        let forced = ["--pacing", "bitrate"];
        for (serve_args, rate, granted) in [
            (&[][..], "max", 0),
            (&[], "bitrate", 500_000),
            (&[], "auto", 500_000),
            (&[], "2M", 2_000_000),
            (&limited, "max", 8_000_000),
            (&limited, "2M", 2_000_000),
            (&forced, "max", 500_000),
        ] {
            let serve = Serve::start(serve_args);
            let args = ["--json", "--rate", rate];
            let mut play = serve.play(args).stdout(Stdio::piped()).spawn().unwrap();
            let mut events = BufReader::new(play.stdout.take().unwrap());
            let accepted = loop {
                let event = next_event(&mut events).unwrap();
                if event["event"] == "accepted" {
                    break event;
                }
            };
            assert_eq!(accepted["rate"], granted, "{rate} of {serve_args:?}");
            play.kill().unwrap();
            play.wait().unwrap();
        }
    }

    #[test]
    fn version_1_knows_none_of_it() {
        let (_dir, serve) = library();
        for flags in [&["--title", "a"][..], &["--start", "1"], &["--list"], &["--rate", "max"]] {
            let output = serve.play(["--protocol", "1"]).args(flags).output().unwrap();
            assert_exit(&output, 2);
        }
    }
}
