//! Which file and which variables the executable hears, and what it says of the others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{assert_exit, next_event, quicstream};
use serde_json::Value;
use tempfile::TempDir;

/// A directory that is working, configuration and state directory of what runs there.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The file that is found in the working directory.
    fn found(&self, text: &str) -> PathBuf {
        self.write("config/default.toml", text)
    }

    /// The user's own file.
    fn own(&self, text: &str) -> PathBuf {
        self.write("quicstream/config.toml", text)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = quicstream(self.path());
        command.args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Makes a certificate, which reads all the settings and needs no network.
    fn gen_cert(&self) -> Output {
        self.run("gen-cert --cert new.pem --key new-key.pem --force")
    }

    /// What `serve` is when it is ready, and what it had said to people by then.
    fn serve(&self, mut command: Command) -> (Value, String) {
        command.args(["--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let listening = next_event(&mut stdout);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (listening.unwrap_or_else(|| panic!("{said}")), said)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_says(output: &Output, parts: &[&str]) {
    let said = said(output);
    parts.iter().for_each(|part| assert!(said.contains(part), "no {part:?} in: {said}"));
}

#[test]
fn the_file_that_is_read_is_named_in_one_line_on_stderr() {
    let place = Place::new();
    assert_eq!(said(&place.gen_cert()), "", "there is none");
    for (file, variable, flag) in [
        ("quicstream/config.toml", None, ""),
        ("config/default.toml", None, ""),
        ("a.toml", Some("a.toml"), ""),
        ("b.toml", Some("a.toml"), "--config b.toml"),
    ] {
        let file = place.write(file, "server.bitrate = 1");
        let line = format!("quicstream: settings from {}\n", file.display());
        let gen_cert = format!("gen-cert --cert new.pem --key new-key.pem --force {flag}");
        let play = format!("play --list --port 1 --connect-timeout 0.001 {flag}");
        for arguments in [&gen_cert, &play] {
            let run = |arguments: &str| {
                let mut command = place.command(arguments);
                command.envs(variable.map(|path| ("QUICSTREAM_CONFIG", path))).output().unwrap()
            };
            let output = run(arguments);
            assert_eq!(said(&output).matches(&line).count(), 1, "{}", said(&output));
            assert!(!String::from_utf8_lossy(&output.stdout).contains("settings"));
            let quiet = run(&format!("{arguments} -q"));
            assert!(!said(&quiet).contains("settings"), "{}", said(&quiet));
        }
    }
    let (_, said) = place.serve(place.command("serve --listen 127.0.0.1:0 --config b.toml"));
    assert!(said.starts_with("quicstream: settings from ") && said.contains("b.toml\n"), "{said}");
}

#[test]
fn what_goes_to_programs_on_stderr_is_nothing_but_json() {
    let place = Place::new();
    place.found("server.bitrate = 1");
    let output = place.run("play --json -o - --port 1 --connect-timeout 0.001 --retry-for 0");
    assert_exit(&output, 4);
    for line in said(&output).lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn a_file_with_other_tables_belongs_to_another_program() {
    for (text, table) in [
        ("[server]\nport = 80\n[database]\nurl = 'x'", "database"),
        ("tls.insecure = true\n[[worker]]\nname = 'x'", "worker"),
        ("app.name = 'x'", "app"),
        ("logging = { level = 'info' }\nserver = 7", "logging"),
    ] {
        let place = Place::new();
        let file = place.found(text);
        let output = place.gen_cert();
        assert_exit(&output, 0);
        let alone = format!("{} belongs to another program and is left alone", file.display());
        assert_says(&output, &[&alone, &format!("[{table}]")]);
        assert!(!said(&output).contains("settings from"));

        // The next place in line is looked at, and whoever names the file means it.
        let own = place.own("server.bitrate = 1");
        assert_says(&place.gen_cert(), &[&alone, &format!("settings from {}", own.display())]);
        let named = place.run("gen-cert --config config/default.toml");
        assert_exit(&named, 2);
        assert_says(&named, &["unknown field", table]);
    }
}

#[test]
fn a_file_that_was_only_found_cannot_say_whom_to_trust() {
    let pin = format!("tls.pin = '{}'", "ab".repeat(32));
    for (text, key) in [
        ("tls.insecure = true", "tls.insecure"),
        ("[tls]\nca = 'ca.pem'", "tls.ca"),
        (pin.as_str(), "tls.pin"),
    ] {
        let place = Place::new();
        let file = place.found(text);
        for arguments in ["play", "play --ca other.pem", "serve", "gen-cert"] {
            let output = place.run(arguments);
            assert_exit(&output, 2);
            assert_says(&output, &[key, &format!("--config {}", file.display())]);
        }
        let named = "gen-cert --config config/default.toml --force";
        assert_exit(&place.run(named), 0);
        let by_variable =
            place.command("gen-cert --force").env("QUICSTREAM_CONFIG", &file).output().unwrap();
        assert_exit(&by_variable, 0);
        fs::remove_file(&file).unwrap();
        place.own(text);
        assert_exit(&place.run("gen-cert --force"), 0);
    }
}

#[test]
fn the_defaults_as_they_are_shipped_may_lie_in_the_working_directory() {
    let place = Place::new();
    let file = place.found(include_str!("../config/default.toml"));
    let output = place.gen_cert();
    assert_exit(&output, 0);
    assert_eq!(said(&output), format!("quicstream: settings from {}\n", file.display()));
}

#[test]
fn what_is_wrong_with_a_found_file_is_said_with_what_to_do_about_it() {
    for (text, why) in [
        ("[server]\nport = 80", "line 2, column 1"),
        ("debug = true", "unknown field `debug`"),
        ("[server\n", "line 1"),
    ] {
        let place = Place::new();
        place.found(text);
        let output = place.gen_cert();
        assert_exit(&output, 2);
        assert_says(&output, &[why, "found in the working directory", "--config FILE"]);
    }
}

#[test]
fn what_is_no_regular_file_is_not_taken_for_a_configuration() {
    let place = Place::new();
    fs::create_dir_all(place.path().join("config/default.toml")).unwrap();
    let fifo = place.path().join("quicstream/config.toml");
    fs::create_dir_all(fifo.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let output = place.gen_cert();
    assert_exit(&output, 0);
    assert_eq!(said(&output), "");
}

#[test]
fn an_empty_path_is_not_the_working_directory() {
    for (section, key) in [("server", "media"), ("server", "record"), ("server", "tokens")] {
        let place = Place::new();
        let file = place.path().join("own.toml");
        fs::write(&file, format!("[{section}]\n{key} = \"\"\n")).unwrap();
        let mut by_file = place.command("serve");
        by_file.arg("--config").arg(&file);
        let mut by_variable = place.command("serve");
        by_variable.env(format!("QUICSTREAM_{section}_{key}").to_uppercase(), "");
        let variable = format!("QUICSTREAM_{section}_{key}").to_uppercase();
        let words =
            [format!("{section}.{key} is an empty path"), format!("{variable}: it is an empty")];
        for (mut command, words) in [by_file, by_variable].into_iter().zip(words) {
            let output = command.output().unwrap();
            assert_exit(&output, 2);
            assert!(said(&output).contains(&words), "{}", said(&output));
        }
    }
}

#[test]
fn variables_that_name_no_setting_are_warned_of() {
    let place = Place::new();
    let injected = [
        ("QUICSTREAM_SERVER_PORT", "tcp://10.0.0.1:9000"),
        ("QUICSTREAM_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("QUICSTREAM_CLIENT_PORT_9000_UDP_ADDR", "10.0.0.1"),
        ("QUICSTREAM_TLS_", ""),
        ("QUICSTREAM_TRANSPORT_X", "1"),
    ];
    let mut command = place.command("gen-cert");
    command.envs(injected).env("QUICSTREAM_SERVER_BITRAT", OsStr::from_bytes(b"\xff"));
    let output = command.output().unwrap();
    assert_exit(&output, 0);
    let said = said(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    let typo = "QUICSTREAM_SERVER_BITRAT (did you mean QUICSTREAM_SERVER_BITRATE?)";
    for name in injected.iter().map(|(name, _)| *name).chain(["quicstream: warning: ", typo]) {
        assert!(said.contains(name), "no {name} in: {said}");
    }
    let quiet = command.args(["-q", "--force"]).output().unwrap();
    assert_eq!((quiet.status.code(), quiet.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn a_certificate_and_its_key_come_from_one_layer() {
    let place = Place::new();
    let made = place.run("gen-cert --cert good.pem --key good-key.pem");
    assert_exit(&made, 0);
    place.own("[tls]\ncert = 'good.pem'\nkey = 'good-key.pem'");
    let serve = "serve --listen 127.0.0.1:0";
    place.serve(place.command(serve));
    for name in ["CERT", "KEY"] {
        let mut command = place.command(serve);
        command.env(format!("QUICSTREAM_TLS_{name}"), "good.pem");
        let output = command.output().unwrap();
        assert_exit(&output, 2);
        assert_says(&output, &[&format!("tls.{} is set without tls.", name.to_lowercase())]);
    }
    for name in ["cert", "key"] {
        assert_exit(&place.run(&format!("{serve} --{name} good.pem")), 2);
    }
    let flags = place.run(&format!("{serve} --cert a.pem --key b.pem"));
    assert_says(&flags, &["neither a.pem nor b.pem is there"]);
}

#[test]
fn files_that_are_named_have_to_be_there() {
    let missing = |output: &Output, place: &Place| {
        assert_exit(output, 2);
        assert_says(
            output,
            &["neither c.pem nor k.pem is there", "quicstream gen-cert --cert c.pem --key k.pem"],
        );
        assert!(!place.path().join("c.pem").exists() && !place.path().join("k.pem").exists());
    };
    let place = Place::new();
    let serve = "serve --listen 127.0.0.1:0";
    missing(&place.run(&format!("{serve} --cert c.pem --key k.pem")), &place);
    let mut command = place.command(serve);
    command.env("QUICSTREAM_TLS_CERT", "c.pem").env("QUICSTREAM_TLS_KEY", "k.pem");
    missing(&command.output().unwrap(), &place);
    place.own("tls = { cert = 'c.pem', key = 'k.pem' }");
    missing(&place.run(serve), &place);

    // One that is there is not to be made anew.
    fs::write(place.path().join("c.pem"), "").unwrap();
    let half = place.run(serve);
    assert!(!half.status.success() && !said(&half).contains("gen-cert"), "{}", said(&half));
}

#[test]
fn heartbeats_have_room_before_a_connection_is_idle() {
    let place = Place::new();
    let serve = |variables: &[(&str, &str)]| {
        let mut command = place.command("serve --listen 127.0.0.1:0");
        command.envs(variables.iter().copied());
        command
    };
    let (idle, keepalive) = ("QUICSTREAM_TRANSPORT_IDLE_TIMEOUT", "QUICSTREAM_SERVER_KEEPALIVE");
    let refused = serve(&[(idle, "1")]).output().unwrap();
    assert_exit(&refused, 2);
    assert_says(&refused, &["transport.idle_timeout", "server.keepalive"]);

    let (_, said) = place.serve(serve(&[(idle, "12"), (keepalive, "12")]));
    let lowered = "server.keepalive is 4 s instead of 10 s: it may be at most a third of \
                   transport.idle_timeout, which is 12 s";
    assert!(said.contains(lowered), "{said}");
    let (_, said) = place.serve(serve(&[(idle, "15"), (keepalive, "5")]));
    assert!(!said.contains("keepalive"), "{said}");
}

#[test]
fn recordings_without_a_broadcast_are_warned_of() {
    let place = Place::new();
    let (_, said) = place.serve(place.command("serve --listen 127.0.0.1:0 --record recordings"));
    assert!(said.contains("nothing is recorded"), "{said}");
}

#[test]
fn media_is_an_argument_and_units_are_taken_everywhere() {
    let place = Place::new();
    fs::write(place.path().join("film.mp4"), "x").unwrap();
    place.own("server.bitrate = '4M'\nserver.chunk_size = '32KiB'\nclient.bitrates = ['1k', 2]");
    let mut command = place.command("serve film.mp4 --listen localhost:0 --max-rate 2.5M");
    command.args(["--chunk-size", "64KiB", "--bitrate", "500k"]);
    command
        .env("QUICSTREAM_SERVER_MAX_RATE", "20G")
        .env("QUICSTREAM_TRANSPORT_SOCKET_BUFFER", "1M");
    let (listening, _) = place.serve(command);
    let address = listening["addr"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(listening["url"].as_str().unwrap().contains("/film.mp4?pin="), "{listening}");
}
