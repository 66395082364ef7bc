//! Where settings come from, and which of them wins.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use quicstream::cli::{Cli, Command};
use quicstream::client::{Start, Target};
use quicstream::config::{
    self, Color, Credentials, Environment, Error, PlayConfig, Progress, ServeConfig, Verbosity,
};
use quicstream::protocol::Version;
use quicstream::transport::Trust;
use tempfile::TempDir;

const DEFAULTS: &str = include_str!("../config/default.toml");
const PIN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A home directory, a working directory and an environment that no other test shares.
struct Place {
    directory: TempDir,
    environment: Environment,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment {
            current_dir: directory.path().join("here"),
            home: Some(directory.path().join("home")),
            ..Environment::default()
        };
        Self { directory, environment }
    }

    fn set(&mut self, variable: &str, value: impl Into<OsString>) -> &mut Self {
        self.environment.variables.insert(variable.to_owned(), value.into());
        self
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn serve(&self, flags: &[&str]) -> Result<ServeConfig, Error> {
        match parse("serve", flags) {
            (global, Command::Serve(flags)) => config::serve(&global, &flags, &self.environment),
            other => panic!("{other:?}"),
        }
    }

    fn play(&self, flags: &[&str]) -> Result<PlayConfig, Error> {
        match parse("play", flags) {
            (global, Command::Play(flags)) => config::play(&global, &flags, &self.environment),
            other => panic!("{other:?}"),
        }
    }
}

fn parse(command: &str, flags: &[&str]) -> (quicstream::config::flags::Global, Command) {
    let arguments = ["quicstream", command].into_iter().chain(flags.iter().copied());
    let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}"));
    (cli.global, cli.command)
}

/// What shows that a setting has arrived.
enum Seen {
    Serve(fn(&ServeConfig) -> String),
    Play(fn(&PlayConfig) -> String),
}
use Seen::{Play, Serve};

/// One key, and a different value of it for every layer: as it is written, and as it is seen.
struct Row {
    key: &'static str,
    seen: Seen,
    default: &'static str,
    file: (&'static str, &'static str),
    variable: (&'static str, &'static str),
    flag: Option<(&'static [&'static str], &'static str)>,
}

const fn row(
    key: &'static str,
    seen: Seen,
    default: &'static str,
    file: (&'static str, &'static str),
    variable: (&'static str, &'static str),
    flag: Option<(&'static [&'static str], &'static str)>,
) -> Row {
    Row { key, seen, default, file, variable, flag }
}

fn cert(config: &ServeConfig) -> String {
    match &config.credentials {
        Credentials::Named { cert, .. } | Credentials::Own { cert, .. } => name(cert),
        Credentials::Ephemeral => "none".into(),
    }
}

fn key(config: &ServeConfig) -> String {
    match &config.credentials {
        Credentials::Named { key, .. } | Credentials::Own { key, .. } => name(key),
        Credentials::Ephemeral => "none".into(),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn trust(config: &PlayConfig) -> String {
    match &config.trust {
        Trust::System { own } => format!("system and {}", name(own.as_deref().unwrap())),
        Trust::Ca(file) => name(file),
        Trust::Pins(pins) => pins[0].to_string().replace(':', "")[..4].to_owned(),
        Trust::Insecure => "anybody".into(),
    }
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    const PIN_B: &[&str] = &["--pin", "BB:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"];
    const LB_KEY: &str = "8f95f09245765f80256934e50c66207f";
    const PIN_C: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
    vec![
        row("server.listen", Serve(|c| c.listen.to_string()), "0.0.0.0:9000",
            ("1", "0.0.0.0:1"), ("[::]:2", "[::]:2"), Some((&["--listen", "[::1]:3"], "[::1]:3"))),
        row("server.workers", Serve(|c| format!("{:?}", c.workers)), "Exactly(1)",
            ("64", "Exactly(64)"), ("auto", "Auto"), Some((&["--workers", "2"], "Exactly(2)"))),
        row("server.media", Serve(|c| c.media.as_deref().map_or("none".into(), name)), "none",
            ("'a.mp4'", "a.mp4"), ("b.mp4", "b.mp4"), Some((&["-m", "c.mp4"], "c.mp4"))),
        row("server.store_digests", Serve(|c| c.store_digests.to_string()), "false",
            ("true", "true"), ("false", "false"), Some((&["--store-digests"], "true"))),
        row("server.live", Serve(|c| format!("{:?}", c.live.broadcasts)), "[]",
            ("['a.ts']", r#"[("a.ts", None)]"#), ("b.ts=/b", r#"[("b.ts", Some("/b"))]"#),
            Some((&["--live", "c.ts", "--live", "d=/d"], r#"[("c.ts", None), ("d", Some("/d"))]"#))),
        row("server.live_window", Serve(|c| c.live.window.to_string()), "67108864",
            ("1048576", "1048576"), ("1GB", "1000000000"), Some((&["--live-window", "2MiB"], "2097152"))),
        row("server.record", Serve(|c| c.live.record.as_deref().map_or("none".into(), name)), "none",
            ("'a'", "a"), ("b", "b"), Some((&["--record", "c"], "c"))),
        row("server.live_linger", Serve(|c| format!("{:?}", c.live.linger)), "5s",
            ("0.1", "100ms"), ("0", "0ns"), Some((&["--live-linger", "86400"], "86400s"))),
        row("server.bitrate", Serve(|c| c.server.offer.bitrate.to_string()), "500000",
            ("'4M'", "4000000"), ("500k", "500000"), Some((&["--bitrate", "4294967295"], "4294967295"))),
        row("server.max_rate", Serve(|c| c.server.max_rate.to_string()), "0",
            ("1", "1"), ("20G", "20000000000"), Some((&["--max-rate", "2.5M"], "2500000"))),
        row("server.pacing", Serve(|c| format!("{:?}", c.server.pacing)), "Client",
            ("'bitrate'", "Bitrate"), ("client", "Client"), Some((&["--pacing", "bitrate"], "Bitrate"))),
        row("server.chunk_size", Serve(|c| c.server.offer.chunk_size.to_string()), "65536",
            ("1", "1"), ("32KiB", "32768"), Some((&["--chunk-size", "1MiB"], "1048576"))),
        row("server.keepalive", Serve(|c| format!("{:?}", c.server.offer.keepalive)), "5s",
            ("1", "1s"), ("2", "2s"), Some((&["--keepalive", "3"], "3s"))),
        row("server.session_timeout", Serve(|c| format!("{:?}", c.server.offer.session_timeout)), "30s",
            ("6", "6s"), ("7", "7s"), Some((&["--session-timeout", "86400"], "86400s"))),
        row("server.codecs", Serve(|c| c.server.offer.codecs.join(" ")), "h264 h265 av1 vp9 aac opus raw",
            ("['h264', 'x']", "h264 x"), ("opus, raw", "opus raw"), Some((&["--codecs", "av1"], "av1"))),
        row("server.tokens", Serve(|c| c.tokens.as_deref().map_or("none".into(), name)), "none",
            ("'a.toml'", "a.toml"), ("b.toml", "b.toml"), Some((&["--tokens", "c.toml"], "c.toml"))),
        row("server.admin", Serve(|c| format!("{:?}", c.admin)), "None",
            ("'localhost:1'", "Some(127.0.0.1:1)"), ("[::1]:2", "Some([::1]:2)"), Some((&["--admin", "127.0.0.1:3"], "Some(127.0.0.1:3)"))),
        row("server.max_connections", Serve(|c| c.connections.max_connections.to_string()), "10000",
            ("1", "1"), ("2", "2"), Some((&["--max-connections", "3"], "3"))),
        row("server.max_per_address", Serve(|c| c.connections.max_per_address.to_string()), "256",
            ("1", "1"), ("2", "2"), Some((&["--max-per-address", "4294967295"], "10000"))),
        row("server.open_timeout", Serve(|c| format!("{:?}", c.server.open_timeout)), "10s",
            ("0.1", "100ms"), ("2", "2s"), Some((&["--open-timeout", "3600"], "3600s"))),
        row("server.stall_timeout", Serve(|c| format!("{:?}", c.server.stall_timeout)), "30s",
            ("0.1", "100ms"), ("2", "2s"), Some((&["--stall-timeout", "86400"], "86400s"))),
        row("server.max_pause", Serve(|c| format!("{:?}", c.server.max_pause)), "900s",
            ("0.1", "100ms"), ("2", "2s"), Some((&["--max-pause", "31536000"], "31536000s"))),
        row("server.send_memory", Serve(|c| c.server.send_memory.to_string()), "268435456",
            ("1048576", "1048576"), ("1GB", "1000000000"), Some((&["--send-memory", "2MiB"], "2097152"))),
        row("server.peers", Serve(|c| format!("{:?}", c.server.peers)), "None",
            ("['a:1', '[::1]:2']", "Some(\"a:1,[::1]:2\")"), ("a:1", "Some(\"a:1\")"),
            Some((&["--peers", "b:3,c:4"], "Some(\"b:3,c:4\")"))),
        row("server.cache", Serve(|c| c.cache.to_string()), "33554432",
            ("1048576", "1048576"), ("1GB", "1000000000"), Some((&["--cache", "2MiB"], "2097152"))),
        row("server.lb_id", Serve(|c| c.load_balancing.as_ref().map_or("none".into(), |lb| lb.server_id.to_string())), "none",
            ("'2a'", "2a"), ("01FE", "01fe"), Some((&["--lb-id", "ff"], "ff"))),
        row("server.lb_key", Serve(|c| format!("{:?}", c.load_balancing.as_ref().map(|lb| lb.key == Some(LB_KEY.parse().unwrap())))), "None",
            ("'00112233445566778899aabbccddeeff'\nlb_id = '2a'", "Some(false)"), (LB_KEY, "Some(true)"), None),
        row("client.host", Play(|c| c.servers[0].host.clone()), "127.0.0.1",
            ("'a.example'", "a.example"), ("::1", "::1"), Some((&["-H", "c.example"], "c.example"))),
        row("client.port", Play(|c| c.servers[0].port.to_string()), "9000",
            ("1", "1"), ("2", "2"), Some((&["-p", "65535"], "65535"))),
        row("client.codec", Play(|c| c.client.open.codec.clone()), "h264",
            ("'vp9'", "vp9"), ("264", "264"), Some((&["--codec", "av1"], "av1"))),
        row("client.profile", Play(|c| c.client.open.profile.clone()), "baseline",
            ("'main'", "main"), ("10", "10"), Some((&["--profile", "high"], "high"))),
        row("client.bitrates", Play(|c| format!("{:?}", c.client.open.bitrates)), "[240000, 500000]",
            ("[1, '2k']", "[1, 2000]"), ("2,3K", "[2, 3000]"), Some((&["--bitrates", "4,5M,6"], "[4, 5000000, 6]"))),
        row("client.pause_at", Play(|c| c.client.script.map_or(0, |pause| pause.at).to_string()), "3",
            ("0", "0"), ("7", "7"), Some((&["--pause-at", "0"], "0"))),
        row("client.pause_for", Play(|c| format!("{:?}", c.client.script.unwrap().length)), "2s",
            ("0.5", "500ms"), ("0", "0ns"), Some((&["--pause-for", "86400"], "86400s"))),
        row("client.token_file", Play(|c| c.client.token.is_some().to_string()), "false",
            ("'/proc/sys/kernel/ostype'", "true"), ("/proc/sys/kernel/ostype", "true"),
            Some((&["--token-file", "/proc/sys/kernel/ostype"], "true"))),
        row("client.rate", Play(|c| format!("{:?}", c.client.rate)), "Auto",
            ("1", "BitsPerSecond(1)"), ("bitrate", "Bitrate"), Some((&["--rate", "max"], "Max"))),
        row("client.connect_timeout", Play(|c| format!("{:?}", c.link.connect_timeout)), "10s",
            ("1", "1s"), ("0.001", "1ms"), Some((&["--connect-timeout", "3600"], "3600s"))),
        row("client.wait", Play(|c| format!("{:?}", c.client.wait)), "0ns",
            ("0", "0ns"), ("0.5", "500ms"), Some((&["--wait", "86400"], "86400s"))),
        row("client.retry_for", Play(|c| format!("{:?}", c.client.retry_for)), "120s",
            ("0", "0ns"), ("0.5", "500ms"), Some((&["--retry-for", "86400"], "86400s"))),
        row("client.require_digest", Play(|c| c.client.require_digest.to_string()), "false",
            ("true", "true"), ("false", "false"), Some((&["--require-digest"], "true"))),
        row("tls.cert", Serve(cert), "cert.pem",
            ("'a.pem'\nkey = 'any.pem'", "a.pem"), ("b.pem", "b.pem"), Some((&["--cert", "c.pem", "--key", "any.pem"], "c.pem"))),
        row("tls.key", Serve(key), "key.pem",
            ("'a.pem'\ncert = 'any.pem'", "a.pem"), ("b.pem", "b.pem"), Some((&["--key", "c.pem", "--cert", "any.pem"], "c.pem"))),
        row("tls.ca", Play(trust), "system and cert.pem",
            ("'a.pem'", "a.pem"), ("b.pem", "b.pem"), Some((&["--ca", "c.pem"], "c.pem"))),
        row("tls.pin", Play(trust), "system and cert.pem",
            ("'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'", "AAAA"), (PIN_C, "CCCC"), Some((PIN_B, "BBBB"))),
        row("tls.insecure", Play(trust), "system and cert.pem",
            ("true", "anybody"), ("false", "system and cert.pem"), Some((&["--insecure"], "anybody"))),
        row("tls.server_name", Play(|c| format!("{:?}", c.server_name)), "None",
            ("'a'", r#"Some("a")"#), ("::1", r#"Some("::1")"#), Some((&["--server-name", "c"], r#"Some("c")"#))),
        row("transport.mtu", Play(|c| c.transport.mtu.to_string()), "1500",
            ("1228", "1228"), ("9001", "9001"), Some((&["--mtu", "1400"], "1400"))),
        row("transport.congestion", Serve(|c| format!("{:?}", c.transport.congestion)), "Bbr",
            ("'cubic'", "Cubic"), ("bbr", "Bbr"), Some((&["--congestion", "cubic"], "Cubic"))),
        row("transport.idle_timeout", Play(|c| format!("{:?}", c.transport.idle_timeout)), "30s",
            ("1", "1s"), ("3600", "3600s"), Some((&["--idle-timeout", "2"], "2s"))),
        row("transport.socket_buffer", Serve(|c| c.transport.socket_buffer.to_string()), "4194304",
            ("'64KiB'", "65536"), ("67108864", "67108864"), Some((&["--socket-buffer", "1MiB"], "1048576"))),
    ]
}

impl Row {
    fn seen(&self, place: &Place, flags: &[&str]) -> String {
        let config = match self.seen {
            Serve(seen) => place.serve(flags).map(|config| seen(&config)),
            Play(seen) => place.play(flags).map(|config| seen(&config)),
        };
        config.unwrap_or_else(|error| panic!("{}: {error}", self.key))
    }
}

#[test]
fn every_key_is_taken_from_the_highest_layer_that_sets_it() {
    for row in rows() {
        let (section, key) = row.key.split_once('.').unwrap();
        let mut place = Place::new();
        assert_eq!(row.seen(&place, &[]), row.default, "{} by default", row.key);

        let file = place.write("own.toml", &format!("[{section}]\n{key} = {}", row.file.0));
        let with_file = ["--config", file.to_str().unwrap()];
        assert_eq!(row.seen(&place, &with_file), row.file.1, "{} from a file", row.key);

        let variable = format!("QUICSTREAM_{section}_{key}").to_uppercase();
        place.set(&variable, row.variable.0);
        match row.key {
            // A certificate and its key come from one layer.
            "tls.cert" => drop(place.set("QUICSTREAM_TLS_KEY", "any.pem")),
            "tls.key" => drop(place.set("QUICSTREAM_TLS_CERT", "any.pem")),
            _ => {}
        }
        assert_eq!(row.seen(&place, &with_file), row.variable.1, "{variable}");

        if let Some((flags, seen)) = row.flag {
            let flags = [&with_file, flags].concat();
            assert_eq!(row.seen(&place, &flags), seen, "{} from a flag", row.key);
        }
    }
}

#[test]
fn the_table_above_has_a_row_for_every_key() {
    let mut section = "";
    let mut keys = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ")
            && !key.contains(' ')
        {
            keys.push(format!("{section}.{key}"));
        }
    }
    let rows: Vec<_> = rows().iter().map(|row| row.key).collect();
    assert_eq!(keys, rows);
}

#[test]
fn the_first_file_that_is_named_or_found_is_read() {
    let mut place = Place::new();
    let write = |place: &Place, path: &str, port: u16| {
        let path = place.write(path, &format!("client.port = {port}"));
        path.to_str().unwrap().to_owned()
    };
    let port = |place: &Place, flags: &[&str]| place.play(flags).unwrap().servers[0].port;
    assert_eq!(port(&place, &[]), 9000);
    write(&place, "home/.config/quicstream/config.toml", 1);
    assert_eq!(port(&place, &[]), 1);
    place.set("XDG_CONFIG_HOME", place.directory.path().join("xdg"));
    assert_eq!(port(&place, &[]), 9000, "XDG_CONFIG_HOME stands in for ~/.config");
    write(&place, "xdg/quicstream/config.toml", 2);
    assert_eq!(port(&place, &[]), 2);
    write(&place, "here/config/default.toml", 3);
    assert_eq!(port(&place, &[]), 3);
    write(&place, "here/variable.toml", 4);
    place.set("QUICSTREAM_CONFIG", "variable.toml");
    assert_eq!(port(&place, &[]), 4);
    let named = write(&place, "flag.toml", 5);
    assert_eq!(port(&place, &["--config", &named]), 5);
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let mut place = Place::new();
    let error = place.serve(&["--config", "gone.toml"]).unwrap_err().to_string();
    assert!(error.contains("here/gone.toml") && error.contains("No such file"), "{error}");
    place.set("QUICSTREAM_CONFIG", "/gone/too.toml");
    let error = place.serve(&[]).unwrap_err().to_string();
    assert!(error.contains("/gone/too.toml"), "{error}");
}

#[test]
fn a_refusal_names_file_line_and_key() {
    let place = Place::new();
    for (line, text, why) in [
        (3, "[server]\n\nbitrat = 1", "unknown field `bitrat`, expected"),
        (1, "[sever]\nbitrate = 1", "unknown field `sever`, expected"),
        (2, "[server]\nbitrate = \"fast\"", "fast is not a number of bit/s from 1 to 4294967295"),
        (2, "[server]\nbitrate = 0", "0 is not a number of bit/s from 1 to 4294967295"),
        (2, "[server]\nlisten = 'localhost'", "\"localhost\" is not an IP address and a port"),
        (2, "[server]\ncodecs = [\n  'h264',\n  7,\n]", "7 is not a text in quotes"),
        (2, "[client]\nbitrates = []", "0 values given where 1 to 255 are taken"),
        (2, "[client]\nbitrates = 1", "1 is not a list in square brackets"),
        (1, "client.host = 'a b'", "\"a b\" is not a DNS name or an IP address"),
        (1, "client.pause_for = -1", "-1 is not a number of seconds from 0 to 86400"),
        (1, "client.rate = '2MiB'", "2MiB is not auto, bitrate, max or a number of bit/s"),
        (2, "[server]\nworkers = 0", "0 is not auto or a whole number from 1 to 64"),
        (2, "[server]\nworkers = 65", "65 is not auto or a whole number from 1 to 64"),
        (2, "[server]\nworkers = 'all'", "all is not auto or a whole number from 1 to 64"),
        (2, "[server]\nlb_id = '2'", "the ID of a server is 2 or 4 hexadecimal digits"),
        (1, "client.retry_for = 86401", "86401 is not a number of seconds from 0 to 86400"),
        (2, "[server]\npacing = 'max'", "\"max\" is not \"client\" or \"bitrate\""),
        (1, "tls.pin = 'abc'", "64 hexadecimal digits"),
        (1, "tls.insecure = 1", "expected a boolean"),
        (1, "transport.mtu = 65000", "65000 is not a whole number from 1228 to 9001"),
        (1, "transport.congestion = 'reno'", "\"reno\" is not \"bbr\" or \"cubic\""),
        (1, "transport.socket_buffer = '1GiB'", "1GiB is not a size from 64.0 KiB to 64.0 MiB"),
    ] {
        let file = place.write("own.toml", text);
        let error = place.play(&["--config", file.to_str().unwrap()]).unwrap_err().to_string();
        let snippet = format!("{line} | {}", text.lines().nth(line - 1).unwrap());
        for part in [file.to_str().unwrap(), &format!("line {line},"), &snippet, why] {
            assert!(error.contains(part), "no {part:?} in {error}");
        }
    }
}

#[test]
fn a_variable_that_holds_what_its_setting_does_not_take_is_named() {
    for (variable, value, why) in [
        ("QUICSTREAM_SERVER_BITRATE", "fast", "fast is not a number of bit/s"),
        ("QUICSTREAM_SERVER_BITRATE", "", "is not a number of bit/s"),
        ("QUICSTREAM_CLIENT_PORT", "tcp://10.0.0.1:9000", "is not a whole number"),
        ("QUICSTREAM_TLS_INSECURE", "yes", "`true` or `false`"),
    ] {
        let error = Place::new().set(variable, value).serve(&[]).unwrap_err().to_string();
        assert!(error.contains(&format!("{variable}:")) && error.contains(why), "{error}");
    }
    let mut others = Place::new();
    others.set("QUICSTREAM_SKIP_INTEROP", "1").set("QUICSTREAM_STATE_DIR", "state");
    others.set("QUICSTREAMER_SERVER_X", "1").set("SERVER_BITRATE", "x");
    others.serve(&[]).unwrap();
}

#[test]
fn the_highest_layer_that_decides_whom_to_trust_decides_alone() {
    let mut place = Place::new();
    let file = place.write("own.toml", "tls.ca = 'ca.pem'");
    let file = file.to_str().unwrap();
    let seen = |place: &Place, flags: &[&str]| {
        trust(&place.play(&[&["--config", file], flags].concat()).unwrap())
    };
    assert_eq!(seen(&place, &[]), "ca.pem");
    place.set("QUICSTREAM_TLS_INSECURE", "false");
    assert_eq!(seen(&place, &[]), "ca.pem", "not to trust anybody is not a choice");
    place.set("QUICSTREAM_TLS_PIN", PIN);
    assert_eq!(seen(&place, &[]), "AAAA");
    assert_eq!(seen(&place, &["--insecure"]), "anybody");
    assert_eq!(seen(&place, &["--ca", "flag.pem"]), "flag.pem");
    place.set("QUICSTREAM_TLS_CA", "b.pem");
    assert!(matches!(place.play(&["--config", file]), Err(Error::TrustTwice)));
    assert_eq!(seen(&place, &["--ca", "flag.pem"]), "flag.pem");
}

#[test]
fn a_client_trusts_what_a_server_on_this_machine_made() {
    let mut place = Place::new();
    let own = |path: &str| Trust::System { own: Some(place.directory.path().join(path)) };
    let [home, elsewhere] = ["home/.local/share/quicstream", "here/elsewhere"]
        .map(|directory| own(&format!("{directory}/cert.pem")));
    assert_eq!(place.play(&[]).unwrap().trust, home, "whether or not it is there yet");
    place.set("QUICSTREAM_STATE_DIR", "elsewhere");
    assert_eq!(place.play(&[]).unwrap().trust, elsewhere);
}

#[test]
fn a_port_changes_the_port_alone_wherever_the_address_comes_from() {
    let mut place = Place::new();
    let listen = |place: &Place, flags: &[&str]| place.serve(flags).unwrap().listen.to_string();
    assert_eq!(listen(&place, &["-p", "0"]), "0.0.0.0:0");
    place.set("QUICSTREAM_SERVER_LISTEN", "[::1]:7000");
    assert_eq!(listen(&place, &["-p", "7001"]), "[::1]:7001");
    assert_eq!(listen(&place, &["--listen", "[::]:1", "--port", "2"]), "[::]:2");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let mut place = Place::new();
    let refusal = |place: &Place, flags: &[&str]| place.serve(flags).unwrap_err().to_string();
    let one = refusal(&place, &["--cert", "a.pem", "--key", "a.pem"]);
    assert!(one.contains("name two files"), "{one}");
    place.set("QUICSTREAM_TLS_KEY", "key.pem");
    let half = refusal(&place, &[]);
    assert!(half.starts_with("tls.key is set without tls.cert: set both in one place"), "{half}");
    assert!(matches!(place.play(&["host:1", "-p", "2"]), Err(Error::PortTwice)));
}

#[test]
fn the_key_of_a_balancer_goes_with_an_id_and_is_not_shown() {
    let mut place = Place::new();
    place.set("QUICSTREAM_SERVER_LB_KEY", "8f95f09245765f80256934e50c66207f");
    assert!(matches!(place.serve(&[]), Err(Error::KeyWithoutServerId)));
    let config = place.serve(&["--lb-id", "2a"]).unwrap();
    assert!(!format!("{config:?}").contains("8f95"), "{config:?}");
    let file = place.write("own.toml", "[server]\nlb_id = '2a'\nlb_key = 'nearly-the-key'");
    let in_file = Place::new().serve(&["--config", file.to_str().unwrap()]);
    place.set("QUICSTREAM_SERVER_LB_KEY", "nearly-the-key");
    for refusal in [in_file, place.serve(&["--lb-id", "2a"])] {
        let refusal = refusal.unwrap_err().to_string();
        assert!(refusal.contains("server.lb_key: the key of a balancer is 32 hex"), "{refusal}");
        assert!(!refusal.contains("nearly"), "{refusal}");
    }
}

#[test]
fn heartbeats_come_more_often_than_a_short_session_timeout() {
    let place = Place::new();
    let keepalive = |flags: &[&str]| place.serve(flags).unwrap().server.offer.keepalive.as_secs();
    assert_eq!(keepalive(&["--keepalive", "30"]), 10);
    assert_eq!(keepalive(&["--session-timeout", "6"]), 2);
    assert_eq!(keepalive(&["--session-timeout", "1"]), 1);
}

#[test]
fn generated_media_has_a_place_of_its_own_where_none_is_named() {
    let mut place = Place::new();
    let media = place.serve(&["--generate", "1KiB"]).unwrap().media.unwrap();
    assert!(media.ends_with("generated.bin"), "{}", media.display());
    let named = place.serve(&["film.bin", "--generate", "1KiB"]).unwrap().media.unwrap();
    assert_eq!(named, Path::new("film.bin"));
    place.set("QUICSTREAM_SERVER_MEDIA", "dummy.bin");
    assert_eq!(place.serve(&["--generate", "512KiB"]).unwrap().generate, Some(524_288));
    assert_eq!(place.serve(&[]).unwrap().generate, None);
}

#[test]
fn the_scripted_pause_is_for_media_that_is_only_counted() {
    let mut place = Place::new();
    let pause = |place: &Place, flags: &[&str]| {
        place.play(flags).unwrap().client.script.map(|pause| (pause.at, pause.length.as_secs()))
    };
    assert_eq!(pause(&place, &[]), Some((3, 2)));
    assert_eq!(pause(&place, &["-o", "out.mp4"]), None);
    assert_eq!(pause(&place, &["-o", "-"]), None);
    assert_eq!(pause(&place, &["-o", "-", "--pause-at", "4"]), Some((4, 2)));
    place.set("QUICSTREAM_CLIENT_PAUSE_AT", "5");
    assert_eq!(pause(&place, &["-o", "-"]), Some((5, 2)));
}

#[test]
fn the_output_is_a_file_stdout_or_nothing() {
    let output = |flags: &[&str]| Place::new().play(flags).unwrap().output;
    assert_eq!(output(&[]), Target::Discard);
    assert_eq!(output(&["-o", "-"]), Target::Stdout);
    let file = |overwrite, resume| Target::File { path: "out.mp4".into(), overwrite, resume };
    assert_eq!(output(&["-o", "out.mp4"]), file(false, true));
    assert_eq!(output(&["-f", "-o", "out.mp4"]), file(true, true));
    assert_eq!(output(&["--no-continue", "-o", "out.mp4"]), file(false, false));
}

#[test]
fn the_server_may_be_an_argument_or_flags() {
    let server = |flags: &[&str]| {
        let config = Place::new().play(flags).unwrap();
        format!("{} {}", config.servers[0].host, config.servers[0].port)
    };
    assert_eq!(server(&["media.example"]), "media.example 9000");
    assert_eq!(server(&["media.example:1"]), "media.example 1");
    assert_eq!(server(&["[2001:db8::7]:1"]), "2001:db8::7 1");
    assert_eq!(server(&["2001:db8::7", "-p", "2"]), "2001:db8::7 2");
    assert_eq!(server(&["--host", "media.example", "--port", "2"]), "media.example 2");
}

#[test]
fn a_url_stands_for_the_flags_that_say_the_same() {
    let url = format!("quicstream://[::1]:1/clips/a%20b.mp4?pin={PIN}");
    let mut place = Place::new();
    place.set("QUICSTREAM_TLS_CA", "ca.pem").set("QUICSTREAM_CLIENT_PORT", "7");
    let from_url = place.play(&[&url]).unwrap();
    let flags = ["-H", "::1", "-p", "1", "--title", "clips/a b.mp4", "--pin", PIN];
    assert_eq!(from_url, place.play(&flags).unwrap());
    assert_eq!(from_url.client.title.as_deref(), Some("clips/a b.mp4"));
    assert_eq!(trust(&from_url), "AAAA");

    let bare = place.play(&["quicstream://host"]).unwrap();
    assert_eq!((bare.servers[0].port, bare.client.title.as_deref()), (7, None));
    assert_eq!(trust(&bare), "ca.pem");
    let titled = place.play(&["quicstream://host", "-p", "2", "--title", "x"]).unwrap();
    assert_eq!((titled.servers[0].port, titled.client.title.as_deref()), (2, Some("x")));
    assert!(place.play(&["quicstream://host", "--list"]).unwrap().list);
}

#[test]
fn a_url_and_a_flag_do_not_say_the_same_twice() {
    let place = Place::new();
    let refusal = |flags: &[&str]| place.play(flags).unwrap_err().to_string();
    let pinned = format!("quicstream://host:1/film.mp4?pin={PIN}");
    for flags in [["--pin", PIN].as_slice(), &["--ca", "ca.pem"], &["--insecure"]] {
        let refused = refusal(&[&[&*pinned], flags].concat());
        assert!(refused.contains("the URL's pin says whom to trust"), "{refused}");
    }
    for flags in [["--title", "x"].as_slice(), &["--all", "-o", "d/"]] {
        let refused = refusal(&[&[&*pinned], flags].concat());
        assert!(refused.contains("the URL names one title"), "{refused}");
    }
    // A server of one title prints a URL that has it.
    let title = place.play(&[&pinned, "--title", "film.mp4"]).unwrap().client.title;
    assert_eq!(title.as_deref(), Some("film.mp4"));
    assert!(place.play(&[&pinned, "--list"]).unwrap().list);
    assert!(refusal(&[&pinned, "-p", "1"]).contains("port is given twice"));
}

#[test]
fn where_and_how_to_play_is_for_this_run_alone() {
    let client = |flags: &[&str]| Place::new().play(flags).unwrap().client;
    let usual = client(&[]);
    assert_eq!((usual.title, usual.start, usual.verify), (None, Start::Usual, true));
    let versions = |flags: &[&str]| Place::new().play(flags).unwrap().link.versions;
    assert_eq!(versions(&[]), Version::ALL);
    assert_eq!(client(&["--start", "25%"]).start, Start::Fraction(0.25));
    assert_eq!(client(&["--start", "10MiB", "-o", "out.mp4"]).start, Start::Byte(10 << 20));
    assert!(!client(&["--no-verify"]).verify);
    for version in Version::ALL {
        let number = version.number().to_string();
        assert_eq!(versions(&["--protocol", &number]), [version]);
    }
}

#[test]
fn version_1_has_no_titles_no_start_and_no_rate() {
    let mut place = Place::new();
    let refusal = |flags: &[&str]| {
        let flags = [flags, &["--protocol", "1"]].concat();
        place.play(&flags).unwrap_err().to_string()
    };
    for flags in [["--title", "x"].as_slice(), &["--list"], &["--start", "0"], &["--rate", "max"]] {
        let refused = refusal(flags);
        assert!(refused.starts_with(&format!("{} needs version 2", flags[0])), "{refused}");
    }
    let refused = refusal(&["quicstream://host/film.mp4"]);
    assert!(refused.starts_with("a title in the URL needs version 2"), "{refused}");
    // A setting is for whatever version it may be.
    place.set("QUICSTREAM_CLIENT_RATE", "max");
    place.play(&["quicstream://host", "--protocol", "1", "-o", "out.mp4"]).unwrap();
}

#[test]
fn an_embedded_server_needs_no_port_no_home_and_no_certificate() {
    let mut place = Place::new();
    place.environment.home = None;
    place.set("QUICSTREAM_SERVER_MEDIA", "film.mp4");
    let config = place.play(&["--embedded", "--json"]).unwrap();
    let embedded = config.embedded.unwrap();
    assert_eq!(embedded.listen.to_string(), "127.0.0.1:0");
    assert_eq!(embedded.credentials, Credentials::Ephemeral);
    assert_eq!(embedded.media.as_deref(), Some(Path::new("film.mp4")));
    assert!(embedded.report.json);
    assert_eq!(place.play(&[]).unwrap().embedded, None);

    let homeless = place.serve(&[]).unwrap_err().to_string();
    assert!(homeless.contains("QUICSTREAM_STATE_DIR"), "{homeless}");
    place.serve(&["--cert", "cert.pem", "--key", "key.pem"]).unwrap();
}

#[test]
fn gen_cert_writes_what_serve_reads() {
    let place = Place::new();
    let gen_cert = |flags: &[&str]| match parse("gen-cert", flags) {
        (global, Command::GenCert(flags)) => {
            config::gen_cert(&global, &flags, &place.environment).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let config = gen_cert(&[]);
    assert_eq!(config.names, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!((config.days, config.force), (365, false));
    let (cert, key) = (config.cert, config.key);
    assert_eq!(place.serve(&[]).unwrap().credentials, Credentials::Own { cert, key });

    let config = gen_cert(&["--name", "a.example", "--name", "::1", "--days", "3", "--force"]);
    assert_eq!(config.names, ["a.example", "::1"]);
    assert_eq!((config.days, config.force), (3, true));
}

#[test]
fn global_flags_work_on_both_sides_of_the_command() {
    for arguments in [["-v", "--color=never", "serve"], ["serve", "-v", "--color=never"]] {
        let cli = Cli::try_parse_from(["quicstream"].iter().chain(&arguments)).unwrap();
        let Command::Serve(flags) = &cli.command else { panic!("{cli:?}") };
        let config = config::serve(&cli.global, flags, &Place::new().environment).unwrap();
        assert_eq!(config.report.verbosity, Verbosity::Verbose);
        assert_eq!(config.report.color, Color::Never);
        assert_eq!(config.report.progress, Progress::Auto);
    }
    let refused = ["quicstream -v serve -q", "quicstream serve -v -q"].map(|line| {
        let Ok(cli) = Cli::try_parse_from(line.split(' ')) else { return true };
        let Command::Serve(flags) = &cli.command else { panic!("{cli:?}") };
        config::serve(&cli.global, flags, &Place::new().environment).is_err()
    });
    assert_eq!(refused, [true, true]);
}

#[test]
fn flags_that_exclude_or_need_each_other_are_refused() {
    let pin = format!("play --pin {PIN}");
    for line in [
        "play host --host other",
        "play host --embedded",
        "play --embedded -p 1",
        "play --embedded --insecure",
        "play --force",
        &format!("{pin} --insecure"),
        &format!("{pin} --ca ca.pem"),
        "play --ca ca.pem --insecure",
        "play --pin abc",
        "play host:port",
        "play --title film.mp4 --list",
        "play --list -o out.mp4",
        "play --list --start 1",
        "play --start 101%",
        "play --rate fast",
        "play --retry-for -1",
        "play --no-continue",
        "play --protocol 0",
        "play --protocol 3",
        "play --protocol one",
        "play http://host/film.mp4",
        "play quicstream://host/film.mp4#1",
        "play quicstream://host --host other",
        "play quicstream://host --embedded",
        "serve --max-rate fast",
        "serve --pacing max",
        "serve --cert cert.pem",
        "serve --key key.pem",
        "serve --chunk-size 2MiB",
        "serve --generate 0",
        "serve --listen media.example:9000",
        "serve film.mp4 --media other.mp4",
        "gen-cert --name a_b!",
        "gen-cert --name fe80::1%eth0",
        "gen-cert --days 0",
    ] {
        let error = Cli::try_parse_from(["quicstream"].into_iter().chain(line.split(' ')));
        assert_eq!(error.err().map(|error| error.exit_code()), Some(2), "{line}");
    }
    Cli::try_parse_from(["quicstream"].into_iter().chain(pin.split(' '))).unwrap();
}
