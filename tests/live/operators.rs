//! What a broadcast tells the people who run it, and those who choose what to watch.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use crate::{Place, bytes, read};

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
