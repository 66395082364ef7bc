//! What is played is what is stored, and costs the store no more than it has to.

use std::fs;

use crate::common::{assert_exit, events, named};
use crate::harness::{Play, Played};
use crate::{Bucket, MIB, bytes};

#[test]
fn an_object_is_a_title_that_is_fetched_in_parts_of_its_state() {
    let bucket = Bucket::new("whole");
    let media = bytes(1, 13 * MIB + 12_345);
    bucket.put("films/a%20b/%C3%BC.mp4", &media);
    let serve = bucket.serve("films/", &[]);
    let played = bucket.play(&serve, "a b/ü.mp4", &[]).finish();
    played.assert_exit(0);
    assert!(fs::read(bucket.out()).unwrap() == media);
    let accepted = played.named("accepted")[0];
    assert_eq!(accepted["size"], media.len());
    let closed = played.named("closed")[0];
    assert_eq!((&closed["complete"], &closed["verified"]), (&true.into(), &false.into()));

    let gets = bucket.proxy.requests(|request| request.is_media());
    let mut next = 0;
    let mut ranges: Vec<_> = gets.iter().map(|get| get.range.unwrap()).collect();
    ranges.sort_unstable();
    for (start, end) in ranges {
        assert_eq!(start, next, "nothing is fetched twice, and nothing left out");
        let is_last = end == media.len() as u64;
        let parts = if is_last { 1..=8 * MIB as u64 } else { MIB as u64..=8 * MIB as u64 };
        assert!(parts.contains(&(end - start)), "{start} to {end}");
        next = end;
    }
    assert_eq!(next, media.len() as u64);
    assert!(gets.iter().all(|get| get.if_match.is_some()));
    assert!(gets.len() < 8, "parts grow: {gets:?}");
}

#[test]
fn a_seek_fetches_from_there_and_only_what_is_beneath_the_prefix_is_found() {
    let bucket = Bucket::new("seek");
    let media = bytes(2, 12 * MIB);
    bucket.put("films/a.mp4", &media);
    bucket.put("films.mp4", b"outside");
    bucket.put("filmsx/b.mp4", b"outside");
    let serve = bucket.serve("films", &[]);
    let start = 9 * MIB + 1_000;
    let played = bucket.play(&serve, "a.mp4", &["--start", &start.to_string()]).finish();
    played.assert_exit(0);
    assert!(fs::read(bucket.out()).unwrap() == media[start..]);
    let gets = bucket.proxy.requests(|request| request.is_media());
    assert!(gets.iter().all(|get| get.range.unwrap().0 >= 9 * MIB as u64), "{gets:?}");

    for title in ["../films.mp4", "/films/a.mp4", "../filmsx/b.mp4", "x.mp4", "a.mp4/", "b.mp4"] {
        let played = serve.play(["--json", "--title", title]).output().unwrap();
        assert_ne!(played.status.code(), Some(0), "{title}");
    }
    let only = serve.play(["--json", "--rate", "max", "--pause-at", "0"]).output().unwrap();
    assert_exit(&only, 0);
    assert_eq!(named(&events(&only), "accepted")[0]["title"], "a.mp4");
}

#[test]
fn many_viewers_cost_the_store_its_bytes_once() {
    let bucket = Bucket::new("many");
    let media = bytes(3, 5 * MIB);
    bucket.put("a.mp4", &media);
    let serve = bucket.serve("", &[]);
    let out = |viewer: usize| bucket.home.path().join(viewer.to_string());
    let viewers: Vec<_> = (0..8)
        .map(|viewer| {
            let mut command = serve.play(["--json", "--title", "a.mp4"]);
            command.args(["--rate", if viewer % 2 == 0 { "max" } else { "100M" }]);
            command.arg("-o").arg(out(viewer));
            Play::start(command)
        })
        .collect();
    for (viewer, play) in viewers.into_iter().enumerate() {
        play.finish().assert_exit(0);
        assert!(fs::read(out(viewer)).unwrap() == media, "{viewer}");
    }
    let sent = bucket.proxy.requests(|request| request.is_media());
    let sent: usize = sent.iter().map(|request| request.sent).sum();
    assert_eq!(sent, media.len());
}

#[test]
fn viewers_in_more_places_than_there_is_memory_for_cost_it_nothing_twice() {
    let bucket = Bucket::new("places");
    let media: Vec<_> = (0..12).map(|title| bytes(title, MIB)).collect();
    for (title, bytes) in media.iter().enumerate() {
        bucket.put(&format!("{title}.mp4"), bytes);
    }
    // 16 blocks for 12 viewers, each of which would have 16 ahead.
    let serve = bucket.serve("", &["--cache", "1MiB"]);
    let out = |title: usize| bucket.home.path().join(title.to_string());
    let viewers: Vec<_> = (0..12)
        .map(|title| {
            let mut command = serve.play(["--json", "--title", &format!("{title}.mp4")]);
            command.args(["--rate", "4M", "-o"]).arg(out(title));
            Play::start(command)
        })
        .collect();
    for (title, play) in viewers.into_iter().enumerate() {
        play.finish().assert_exit(0);
        assert!(fs::read(out(title)).unwrap() == media[title], "{title}");
    }
    let sent = bucket.proxy.requests(|request| request.is_media());
    let sent: usize = sent.iter().map(|request| request.sent).sum();
    assert_eq!(sent, 12 * MIB);
}

#[test]
fn a_play_goes_on_where_it_was_with_another_server() {
    let bucket = Bucket::new("again");
    let media = bytes(5, 6 * MIB);
    bucket.put("a.mp4", &media);
    let serve = bucket.serve("", &[]);
    let mut play = bucket.play(&serve, "a.mp4", &["--rate", "16M", "--retry-for", "0"]);
    play.wait_for_bytes(2 * MIB as u64);
    drop(serve);
    assert_ne!(play.finish().code, Some(0));

    let serve = bucket.serve("", &[]);
    let played: Played = bucket.play(&serve, "a.mp4", &[]).finish();
    played.assert_exit(0);
    assert!(played.named("continuing")[0]["offset"].as_u64().unwrap() > 0);
    assert!(fs::read(bucket.out()).unwrap() == media);
}

#[test]
fn a_folder_of_bitrates_is_one_title() {
    let bucket = Bucket::new("bitrates");
    for bitrate in [240_000_u64, 500_000, 4_000_000] {
        bucket.put(&format!("a.renditions/{bitrate}.mp4"), &bytes(bitrate, 70_000));
    }
    bucket.put("a.renditions/500000.mp4.part", b"on its way");
    let serve = bucket.serve("", &["--bitrate", "1M"]);
    let args = ["--bitrates", "240000,500000", "--rate", "max"];
    bucket.play(&serve, "a.renditions", &args).finish().assert_exit(0);
    assert!(fs::read(bucket.out()).unwrap() == bytes(500_000, 70_000));

    let single = serve.play(["--json", "--title", "a.renditions/240000.mp4"]).output().unwrap();
    assert_exit(&single, 3);
    let v1 = serve.play(["--json", "--protocol", "1", "--pause-at", "0"]).output().unwrap();
    assert_exit(&v1, 0);
    assert_eq!(named(&events(&v1), "closed")[0]["bytes"], 70_000);
}
