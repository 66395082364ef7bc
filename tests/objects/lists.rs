//! Lists: in pages, while they change, and with keys that are no titles.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use serde_json::Value;

use crate::common::{Serve, assert_exit};
use crate::proxy::{Fate, Gate};
use crate::{Bucket, MIB, bytes};

/// The titles that a server lists, each once and sorted.
fn titles(serve: &Serve) -> Vec<String> {
    entries(serve).iter().map(|entry| entry["title"].as_str().unwrap().to_owned()).collect()
}

fn entries(serve: &Serve) -> Vec<Value> {
    let list = serve.play(["--list", "--json", "--connect-timeout", "60"]).output().unwrap();
    assert_exit(&list, 0);
    let lines = String::from_utf8(list.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ten_thousand_objects_come_in_pages() {
    let keys: Vec<_> =
        (0..10_000).map(|index| format!("films/{:03}/{index}.mp4", index % 100)).collect();
    let bucket = Bucket::with("pages", &keys);
    let serve = bucket.serve("films", &[]);
    let mut expected: Vec<_> = keys.iter().map(|key| key["films/".len()..].to_owned()).collect();
    expected.sort_unstable();
    assert!(titles(&serve) == expected);
    let pages =
        bucket.proxy.requests(|request| request.is_list() && !request.path.contains("max-keys=1&"));
    assert!((10..=12).contains(&pages.len()), "{}", pages.len());
    assert!(titles(&serve) == expected);
    let again = bucket.proxy.requests(|request| request.is_list()).len();
    assert!(again <= pages.len() + 1, "the list is kept");
}

#[test]
fn an_object_that_is_named_is_the_only_title() {
    let bucket = Bucket::new("single");
    let media = bytes(1, 3 * MIB);
    bucket.put("films/a.mp4", &media);
    bucket.put("films/b.mp4", b"another");
    let serve = bucket.serve("films/a.mp4", &[]);
    let url = serve.listening["url"].as_str().unwrap();
    assert!(url.contains("/a.mp4"), "{url}");
    let entries = entries(&serve);
    assert_eq!((entries.len(), &entries[0]["size"]), (1, &media.len().into()));
    let played = serve.play(["-o", "-"]).output().unwrap();
    assert_exit(&played, 0);
    assert!(played.stdout == media);
    for other in ["b.mp4", "films/a.mp4", "a.mp4/a.mp4"] {
        assert_exit(&serve.play(["--title", other]).output().unwrap(), 3);
    }
    assert_eq!(titles(&bucket.serve("films", &[])), ["a.mp4", "b.mp4"]);
    assert!(titles(&bucket.serve("films/a.mp4/", &[])).is_empty(), "with a / it is a folder");
}

#[test]
fn who_may_not_look_at_the_prefix_has_what_is_beneath_it() {
    let bucket = Bucket::with("beneath", &["films/a.mp4".to_owned()]);
    bucket.proxy.rule(|request| {
        match request.method == "HEAD" && request.path.ends_with("/films") {
            true => Fate::Refused(403),
            false => Fate::Answered,
        }
    });
    assert_eq!(titles(&bucket.serve("films", &[])), ["a.mp4"]);
}

#[test]
fn what_is_there_all_the_while_is_in_a_list_once() {
    let keys: Vec<_> = (0..2_500).map(|index| format!("{index:04}.mp4")).collect();
    let bucket = Bucket::with("changing", &keys);
    let serve = bucket.serve("", &[]);
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    bucket.proxy.rule(move |request| match request.path.contains("continuation-token") {
        true => Fate::Held(held.clone()),
        false => Fate::Answered,
    });
    let titles = thread::scope(|scope| {
        let listing = scope.spawn(|| titles(&serve));
        gate.wait_for_one();
        for key in ["0000.mp4", "0500.mp4", "1000.mp4", "2499.mp4"] {
            bucket.ask("DELETE", key, &[], &[]);
        }
        for key in ["0000a.mp4", "0999a.mp4", "1001a.mp4", "2499a.mp4"] {
            bucket.put(key, b"new");
        }
        gate.open();
        listing.join().unwrap()
    });
    let set: BTreeSet<_> = titles.iter().cloned().collect();
    assert_eq!(set.len(), titles.len(), "each once");
    let gone = ["0000.mp4", "0500.mp4", "1000.mp4", "2499.mp4"];
    let missing: Vec<_> = keys.iter().filter(|key| !set.contains(*key)).collect();
    assert!(missing.iter().all(|key| gone.contains(&key.as_str())), "{missing:?}");
    assert!(set.contains("1001a.mp4") && set.contains("2499a.mp4"), "what came later");
}

#[test]
fn keys_that_can_be_no_titles_hide_no_others() {
    let keys: Vec<_> = (0..1_500).map(|index| format!("p/{index:04}.mp4")).collect();
    let bucket = Bucket::with("odd", &keys);
    let long = format!("p/{}/x.mp4", "d".repeat(260));
    let odd = ["p//0.mp4", "p/0100//a.mp4", "p/0100//b.mp4", "p/0200/./a", "p/0300/../a"];
    let unlisted =
        ["p/.hidden.mp4", "p/x/.h/a.mp4", "p/a.mp4.part", "p/b.mp4.quicstream-blake3", &long];
    for key in odd.iter().chain(&unlisted) {
        bucket.put(key, b"x");
    }
    bucket.put("p/folder/", b"");
    bucket.put("p/r.renditions/500000.mp4", b"xx");
    bucket.put("p/r.renditions/700000.mp4", b"xxx");
    let serve = bucket.serve("p", &[]);
    let mut expected: Vec<_> = keys.iter().map(|key| key["p/".len()..].to_owned()).collect();
    expected.push("r.renditions".to_owned());
    assert!(titles(&serve) == expected, "{:?}", titles(&serve));
    let last = entries(&serve).pop().unwrap();
    assert_eq!((&last["size"], &last["bitrate"]), (&3.into(), &700_000.into()));
    let first = serve.play(["--json", "--protocol", "1", "--pause-at", "0"]).output().unwrap();
    assert_exit(&first, 0);
    for title in ["b.mp4.quicstream-blake3", ".hidden.mp4", "a.mp4.part"] {
        assert_exit(&serve.play(["--json", "--title", title]).output().unwrap(), 3);
    }
}
