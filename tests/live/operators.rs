//! What a broadcast tells the people who run it, and those who choose what to watch.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use crate::common;
use crate::{Place, bytes, end, read};

#[test]
fn a_list_says_what_waits_and_what_is_on_the_air() {
    let mut place = Place::new(&[]);
    let list = || {
        let list = place.serve.play(["--list", "--json"]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&list.stdout).unwrap()
    };
    let waiting = list();
    assert_eq!((&waiting["live"], waiting.get("since")), (&true.into(), None), "{waiting}");
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    assert!(place.serve.wait_for("live_started")["title"] == "cam.bin");
    let mut at = 1_000;
    // A bitrate is measured once a second is over.
    let live = loop {
        producer.write_all(&bytes(at, 1_000)).unwrap();
        at += 1_000;
        let list = place.serve.play(["--list", "--json"]).output().unwrap();
        let live: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
        if live.get("bitrate").is_some() {
            break live;
        }
    };
    assert!(live["since"].as_u64().unwrap() > 1_600_000_000_000, "{live}");
    let table = place.serve.play(["--list"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("LIVE") && table.contains("for 0:"), "{table}");
}

#[test]
fn a_bridge_lets_nobody_wait_for_a_server_that_fell_silent() {
    let mut places = [Place::new(&[]), Place::new(&[])];
    let mut producers = places.each_ref().map(Place::producer);
    for (place, producer) in places.iter_mut().zip(&mut producers) {
        producer.write_all(&bytes(0, 1_000)).unwrap();
        place.serve.wait_for("live_started");
    }
    let [first, other] = &mut places;
    let config = first.dir.path().join("patient.toml");
    fs::write(&config, "[transport]\nidle_timeout = 3600\n").unwrap();
    let servers = format!("127.0.0.1:{},127.0.0.1:{}", first.serve.port, other.serve.port);
    let mut play = common::quicstream(first.dir.path());
    play.args(["--config", config.to_str().unwrap(), "play", &servers, "--insecure"]);
    play.args(["--http", "--json", "--connect-timeout", "3600"]);
    let mut bridge = play.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bridge.stdout.take().unwrap());
    let url = common::next_event(&mut lines).unwrap()["url"].as_str().unwrap().to_owned();
    let get = |path: &str| {
        let (host, secret) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut http = TcpStream::connect(host).unwrap();
        let head = format!("GET /{secret}{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
        http.write_all(head.as_bytes()).unwrap();
        http
    };
    let _watching = get("t/cam.bin");
    assert_eq!(common::next_event(&mut lines).unwrap()["event"], "request");
    let mut state = String::new();
    get("link.json").read_to_string(&mut state).unwrap();
    let [in_use, other] = match state.contains(&format!(":{}\"", first.serve.port)) {
        true => [first, other],
        false => [other, first],
    };
    in_use.serve.kill();
    // It is asked for what the first one had, and has another.
    other.serve.wait_for("session_refused");
    let mut answer = String::new();
    get("titles.json").read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 OK"), "{answer}");
    end(bridge);
}

#[test]
fn each_session_has_its_end_even_where_its_viewer_hears_nothing() {
    let mut place = Place::new(&[]);
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 1_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    assert_eq!(read(&mut viewer, 1_000), bytes(0, 1_000));
    let pid = rustix::process::Pid::from_child(&viewer);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    producer.write_all(&bytes(1_000, 100_000)).unwrap();
    place.serve.signal("-TERM");
    let closed = place.serve.wait_for("session_closed");
    assert_eq!(closed["reason"], "cut off at the end of the server");
    assert_eq!(place.serve.wait(), Some(0));
    end(viewer);
}

#[test]
fn metrics_show_each_broadcast() {
    let mut place = Place::new(&["--admin", "127.0.0.1:0"]);
    let admin = place.serve.listening["admin"].as_str().unwrap().to_owned();
    let metrics = || {
        let mut http = TcpStream::connect(&admin).unwrap();
        write!(http, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        http.read_to_string(&mut text).unwrap();
        text
    };
    assert!(!metrics().contains("quicstream_live_edge_bytes{"));
    let mut producer = place.producer();
    producer.write_all(&bytes(0, 5_000)).unwrap();
    place.serve.wait_for("live_started");
    let mut viewer = place.viewer(&["--start", "0"]);
    assert_eq!(read(&mut viewer, 5_000), bytes(0, 5_000));
    let text = metrics();
    for line in [
        "live_viewers{title=\"cam.bin\"} 1",
        "live_edge_bytes{title=\"cam.bin\"} 5000",
        "live_oldest_byte{title=\"cam.bin\"} 0",
        "live_window_bytes{title=\"cam.bin\"} 5000",
        "live_join_points{title=\"cam.bin\"} 0",
        "live_behind_bytes{title=\"cam.bin\"} 0",
    ] {
        assert!(text.contains(&format!("quicstream_{line}\n")), "{line} in {text}");
    }
    viewer.kill().unwrap();
    viewer.wait().unwrap();
    place.serve.signal("-TERM");
    let ended = place.serve.wait_for("live_ended");
    assert_eq!((&ended["bytes"], &ended["cause"]), (&5_000.into(), &"the server has ended".into()));
}

#[test]
fn a_broadcast_that_is_faster_than_it_may_be_sent_is_warned_of() {
    let mut place = Place::with(&["--max-rate", "100k"], |command| {
        command.stderr(Stdio::piped());
    });
    let log = place.serve.stderr();
    let mut producer = place.producer();
    let writer = std::thread::spawn(move || {
        while producer.write_all(&[7; 100_000]).is_ok() {
            std::thread::yield_now();
        }
    });
    let warning = BufReader::new(log)
        .lines()
        .map(Result::unwrap)
        .find(|line| line.contains("cam.bin") && line.contains("max_rate"));
    assert!(warning.unwrap().contains("100000 bit/s"));
    drop(place);
    writer.join().unwrap();
}

#[test]
fn a_header_that_fills_several_chunks_comes_as_a_whole() {
    let mut place = Place::new(&["--chunk-size", "1000"]);
    let mp4_box = |kind: &[u8], body: &[u8]| {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    };
    let header =
        [mp4_box(b"ftyp", b"isomisom"), mp4_box(b"moov", &mp4_box(b"mvex", &[1; 9_500]))].concat();
    let word = |word: u32| word.to_be_bytes();
    // One sample of a video track, which is a key frame.
    let tfhd = mp4_box(b"tfhd", &[word(0x2_0000), word(1)].concat());
    let trun = mp4_box(b"trun", &[word(5), word(1), word(8), word(0x0200_0000)].concat());
    let traf = mp4_box(b"traf", &[tfhd, trun].concat());
    let moof = mp4_box(b"moof", &[mp4_box(b"mfhd", &[0; 8]), traf].concat());
    let fragment = |content: u8| [moof.clone(), mp4_box(b"mdat", &[content; 3_000])].concat();
    let mut producer = place.producer();
    for part in [&header, &fragment(1), &fragment(2)] {
        producer.write_all(part).unwrap();
    }
    place.serve.wait_for("live_started");
    let newest = [header, fragment(2)].concat();
    // The server has read all of it by the time that a second viewer joins at the newest.
    loop {
        let mut viewer = place.viewer(&[]);
        let joined = read(&mut viewer, newest.len());
        viewer.kill().unwrap();
        viewer.wait().unwrap();
        if joined == newest {
            break;
        }
    }
}
