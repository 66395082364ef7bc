//! What the executable says where something is wrong, and that it says it instead of panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufReader, Read};
use std::net::{Ipv6Addr, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Serve, assert_exit, events, named, next_event, quicstream};
use rcgen::{CertificateParams, KeyPair};
use time::{Duration, OffsetDateTime};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_says(output: &Output, parts: &[&str]) {
    let said = said(output);
    parts.iter().for_each(|part| assert!(said.contains(part), "no {part:?} in: {said}"));
}

fn library(titles: &[&str]) -> tempfile::TempDir {
    let library = tempfile::tempdir().unwrap();
    for title in titles {
        let path = library.path().join(title);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, title).unwrap();
    }
    library
}

#[test]
fn a_title_that_is_not_there_is_told_from_those_that_are() {
    let library = library(&["film.mp4", "song.flac", "clips/intro.mp4", "notes.txt", "x/y/z.ts"]);
    let serve = Serve::start([library.path()]);
    for (title, nearest) in [
        ("flim.mp4", "\"film.mp4\""),
        ("Film.mp4", "\"film.mp4\""),
        ("intro.mp4", "\"clips/intro.mp4\""),
        ("clip/intro.mp4", "\"clips/intro.mp4\""),
    ] {
        let output = serve.play(["--title", title]).output().unwrap();
        assert_exit(&output, 3);
        assert_says(&output, &[&format!("{title:?}"), nearest, "--list", "OPEN_NACK 4"]);
    }
    let output = serve.play(["--title", "\x1b[2J", "--json"]).output().unwrap();
    assert_exit(&output, 3);
    assert!(!output.stderr.contains(&0x1b), "{}", said(&output));
    let events = events(&output);
    assert_eq!(named(&events, "error")[0]["exit"], 3);

    // A file that could not be had does not leave anything behind.
    let out = library.path().join("out.mp4");
    let output = serve.play(["--title", "flim.mp4", "-o", out.to_str().unwrap()]).output().unwrap();
    assert_exit(&output, 3);
    assert!(!out.exists());
}

#[test]
fn a_server_and_a_title_are_one_argument_with_or_without_a_scheme() {
    let library = library(&["film.mp4", "a b/c.ts"]);
    let serve = Serve::start([library.path()]);
    let port = serve.port;
    for (what, media) in [
        (format!("127.0.0.1:{port}/film.mp4"), "film.mp4"),
        (format!("127.0.0.1:{port}/a%20b/c.ts"), "a b/c.ts"),
        (format!("localhost:{port}/a b/c.ts"), "a b/c.ts"),
        (serve.url.trim_start_matches("quicstream://").replace("/?", "/film.mp4?"), "film.mp4"),
    ] {
        let state = serve.certificate();
        let mut play = quicstream(state.parent().unwrap());
        let output = play.args(["play", &what, "-o", "-"]).output().unwrap();
        assert_exit(&output, 0);
        assert_eq!(output.stdout, media.as_bytes(), "{what}");
    }
}

#[test]
fn trust_in_anybody_is_warned_of_by_a_list_too() {
    let library = library(&["film.mp4"]);
    let serve = Serve::start([library.path()]);
    let list = serve.play(["--list", "--insecure"]).output().unwrap();
    assert_exit(&list, 0);
    assert_says(&list, &["warning: --insecure: anybody on the way can read and change"]);
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count(), 2);
    let quiet = serve.play(["--list", "--insecure", "-q"]).output().unwrap();
    assert_eq!(said(&quiet), "");
    let safe = serve.play(["--list"]).output().unwrap();
    assert_eq!(said(&safe), "");
}

#[test]
fn a_state_directory_that_cannot_be_made_is_told_with_the_ways_out() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    for state in ["file", "file/state"] {
        for command in ["serve --listen 127.0.0.1:0", "gen-cert"] {
            let mut quicstream = quicstream(place.path());
            let quicstream = quicstream.args(command.split(' ')).env("QUICSTREAM_STATE_DIR", state);
            let output = quicstream.output().unwrap();
            assert_exit(&output, 1);
            assert_says(&output, &["QUICSTREAM_STATE_DIR", "--cert and --key", "file"]);
        }
    }
}

/// Writes a certificate that is valid from and to so many days from now, and its key.
fn certificate(directory: &Path, [from, to]: [i64; 2]) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now + Duration::days(from), now + Duration::days(to));
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
}

/// What `serve` says to people before it is stopped.
fn serve_says(state: &Path, arguments: &[&str]) -> String {
    let mut command = quicstream(state);
    command.args(["serve", "--json", "--listen", "127.0.0.1:0"]).args(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let listening = next_event(&mut stdout);
    signal(child.id(), "-INT");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success() && listening.is_some(), "{said}");
    said
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_certificate_is_warned_of_where_its_dates_are_doubtful() {
    for (days, doubt) in [
        ([-400, -35], Some("expired at")),
        ([2, 365], Some("is not valid before")),
        ([-1, 13], Some("expires at")),
        ([-1, 16], None),
    ] {
        let place = tempfile::tempdir().unwrap();
        certificate(place.path(), days);
        let own = serve_says(place.path(), &[]);
        let named = serve_says(place.path(), &["--cert", "cert.pem", "--key", "key.pem"]);
        let Some(doubt) = doubt else {
            assert!(!own.contains("gen-cert") && !named.contains("gen-cert"), "{own} {named}");
            continue;
        };
        assert!(own.contains("cert.pem") && own.contains(doubt), "{own}");
        assert!(own.contains("make a new one with: quicstream gen-cert --force ("), "{own}");
        let command = "quicstream gen-cert --force --cert cert.pem --key key.pem";
        assert!(named.contains(doubt) && named.contains(command), "{named}");
        assert_eq!(serve_says(place.path(), &["-q"]), "");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_as_a_slip_of_the_user() {
    let place = tempfile::tempdir().unwrap();
    certificate(place.path(), [-1, 100]);
    fs::rename(place.path().join("key.pem"), place.path().join("other.pem")).unwrap();
    certificate(place.path(), [-1, 100]);
    let mut serve = quicstream(place.path());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--cert", "cert.pem", "--key", "other.pem"]);
    let output = serve.output().unwrap();
    assert_exit(&output, 2);
    assert_says(&output, &["the private key does not belong to the certificate"]);
}

#[test]
fn seconds_are_said_as_people_say_them() {
    let place = tempfile::tempdir().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    for (timeout, words) in [("0.1234567", "within 0.123 s"), ("1.06789", "within 1.1 s")] {
        let mut play = quicstream(place.path());
        play.args(["play", "--port", &port, "--connect-timeout", timeout]);
        let output = play.output().unwrap();
        assert_exit(&output, 4);
        assert_says(&output, &[words]);
    }
}

/// Interrupts a play into a file of this name when some media has come.
fn interrupted(name: &OsStr) -> Output {
    let library = library(&[]);
    fs::write(library.path().join("film.mp4"), vec![7; 1 << 20]).unwrap();
    let serve = Serve::start([library.path()]);
    let mut play = serve.play(["--rate", "bitrate", "--json", "-o"]);
    let play = play.arg(name).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = play.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while next_event(&mut stdout).unwrap()["event"] != "chunk" {}
    signal(child.id(), "-INT");
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn arguments_that_are_no_text_are_no_reason_to_panic() {
    let output = interrupted(OsStr::from_bytes(b"f\xff lm.mp4"));
    assert_exit(&output, 130);
    assert_says(&output, &["to continue: ", r" -o $'f\377 lm.mp4'"]);

    let place = tempfile::tempdir().unwrap();
    let strange = OsStr::from_bytes(b"\xff\x1b");
    let flags = [
        "serve",
        "serve --media",
        "serve --listen",
        "serve --cert",
        "serve --generate",
        "serve --x",
        "play",
        "play --title",
        "play -o",
        "play --ca",
        "play --pin",
        "play --rate",
        "play --list",
        "gen-cert --name",
        "gen-cert --cert",
        "--config",
        "--color",
        "",
    ];
    for flag in flags {
        let mut command = quicstream(place.path());
        command.args(flag.split_whitespace()).arg(strange);
        if flag.starts_with("play") {
            command.args(["--port", "1", "--connect-timeout", "0.001", "--retry-for", "0"]);
        }
        let output = command.output().unwrap();
        let code = output.status.code().unwrap();
        // A certificate can be written into a file of any name.
        let expected = if flag == "gen-cert --cert" { [0, 0, 0] } else { [1, 2, 4] };
        assert!(expected.contains(&code), "{flag}: {code}: {}", said(&output));
    }
}

#[test]
fn variables_that_are_no_text_are_no_reason_to_panic() {
    let place = tempfile::tempdir().unwrap();
    let strange = OsStr::from_bytes(b"\xff/x");
    for name in [
        "HOME",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "QUICSTREAM_CONFIG",
        "QUICSTREAM_STATE_DIR",
        "QUICSTREAM_SERVER_MEDIA",
        "QUICSTREAM_CLIENT_HOST",
        "QUICSTREAM_TLS_CA",
        "TERM",
        "COLUMNS",
        "NO_COLOR",
        "SSL_CERT_FILE",
        "SSLKEYLOGFILE",
        "RUST_LOG",
        "PWD",
        "LANG",
    ] {
        for arguments in [
            "play --port 1 --connect-timeout 0.001 --retry-for 0",
            "serve --listen 192.0.2.1:0",
            "gen-cert --force",
        ] {
            let mut command = quicstream(place.path());
            let output = command.args(arguments.split(' ')).env(name, strange).output().unwrap();
            let code = output.status.code();
            assert!(code.is_some_and(|code| code != 101), "{name} {arguments}: {}", said(&output));
        }
    }
}

#[test]
fn a_player_that_starts_before_its_server_trusts_what_that_makes() {
    let place = tempfile::tempdir().unwrap();
    let reserved = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    let mut play = quicstream(place.path());
    play.args(["play", &address.to_string(), "--rate", "max", "--pause-at", "0"]);
    let play = play.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has begun when it knocks, and knocks again later.
    reserved.recv(&mut [0; 2048]).unwrap();
    drop(reserved);
    let mut serve = quicstream(place.path());
    serve.args(["serve", "--listen", &address.to_string(), "-q"]);
    let mut serve = serve.spawn().unwrap();
    let output = play.wait_with_output().unwrap();
    serve.kill().unwrap();
    serve.wait().unwrap();
    assert_exit(&output, 0);
}

/// A link-local address of this machine, and the name of its interface.
fn link_local() -> Option<(Ipv6Addr, String)> {
    const LINK_SCOPE: &str = "20";
    let addresses = fs::read_to_string("/proc/net/if_inet6").ok()?;
    addresses.lines().find_map(|line| {
        let [address, _, _, scope, _, interface] =
            line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        let address = u128::from_str_radix(address, 16).ok()?;
        (scope == LINK_SCOPE).then(|| (address.into(), interface.to_owned()))
    })
}

#[test]
fn a_link_local_address_works_with_its_interface_and_is_refused_without() {
    let place = tempfile::tempdir().unwrap();
    let play = |arguments: &[&str]| {
        let mut play = quicstream(place.path());
        play.args(["play", "--connect-timeout", "5"]).args(arguments).output().unwrap()
    };
    let bare = play(&["[fe80::1]:9000"]);
    assert_exit(&bare, 2);
    assert_says(&bare, &["name the interface that leads to it, such as fe80::1%eth0"]);
    let nowhere = play(&["fe80::1%nosuchinterface"]);
    assert_exit(&nowhere, 4);
    assert_says(&nowhere, &["fe80::1%nosuchinterface"]);

    let Some((ip, interface)) = link_local() else { return };
    let mut gen_cert = quicstream(place.path());
    assert_exit(&gen_cert.args(["gen-cert", "--name", &ip.to_string()]).output().unwrap(), 0);
    let mut serve = quicstream(place.path());
    serve.args(["serve", "--json", "--listen", &format!("[{ip}%{interface}]:0")]);
    let mut serve = serve.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(serve.stdout.take().unwrap());
    let listening = next_event(&mut stdout).unwrap();
    let port = listening["addr"].as_str().unwrap().rsplit_once(':').unwrap().1;
    // The certificate has the address without the interface.
    let whole = play(&[&format!("[{ip}%{interface}]:{port}/sample.mp4"), "-o", "-"]);
    let parts = play(&["-H", &format!("{ip}%{interface}"), "-p", port, "--list"]);
    serve.kill().unwrap();
    serve.wait().unwrap();
    assert_exit(&whole, 0);
    assert_eq!(whole.stdout, include_bytes!("../assets/sample.mp4"));
    assert_exit(&parts, 0);
}
