//! What a request is answered with.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::client::Bridge;
use crate::common::{Serve, media};

#[test]
fn ranges_and_conditions_are_as_rfc_9110_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 300_000);
    let serve = Serve::start([dir.path()]);
    let bridge = Bridge::to(&serve, &[]);
    let title = format!("t/{}", path.file_name().unwrap().to_str().unwrap());
    let get = |headers: &[(&str, &str)]| bridge.get(&title, headers);

    let whole = get(&[]);
    assert_eq!((whole.status, whole.length()), (200, bytes.len()));
    assert_eq!(whole.body, bytes);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let etag = whole.header("etag").to_owned();
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let modified = whole.header("last-modified").to_owned();
    assert!(modified.ends_with(" GMT"), "{modified}");

    let head = bridge.begin("HEAD", &title, &[("Range", "bytes=0-1")]).whole();
    assert_eq!((head.status, head.length(), head.body.len()), (200, bytes.len(), 0));
    assert_eq!(head.header("etag"), etag);

    for (range, part) in [
        ("bytes=0-0", 0..1),
        ("bytes=65535-65536", 65_535..65_537),
        ("bytes=299999-", 299_999..300_000),
        ("bytes=100000-", 100_000..300_000),
        ("bytes=-7", 299_993..300_000),
        ("bytes=299990-400000", 299_990..300_000),
    ] {
        let answer = get(&[("Range", range)]);
        assert_eq!((answer.status, answer.length()), (206, part.len()), "{range}");
        let told = format!("bytes {}-{}/300000", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), told);
        assert!(answer.body == bytes[part], "{range}");
    }
    for range in ["bytes=300000-", "bytes=-0"] {
        let answer = get(&[("Range", range)]);
        assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */300000"));
    }
    let several = get(&[("Range", "bytes=0-1,5-6")]);
    assert!((several.status, several.body == bytes) == (200, true));

    let range = ("Range", "bytes=0-9");
    for (name, value, status) in [
        ("If-Range", &*etag, 206),
        ("If-Range", &modified, 206),
        ("If-Range", "\"other\"", 200),
        ("If-Match", &etag, 206),
        ("If-Match", "\"other\"", 412),
        ("If-None-Match", &etag, 304),
        ("If-None-Match", "\"other\"", 206),
        ("If-Modified-Since", &modified, 304),
    ] {
        let answer = get(&[range, (name, value)]);
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.header("etag"), etag);
        if matches!(status, 304 | 412) {
            assert!(answer.body.is_empty());
        }
    }
}

#[test]
fn media_that_changed_is_never_joined_to_what_was_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bin");
    fs::write(&path, vec![1; 200_000]).unwrap();
    let serve = Serve::start([dir.path()]);
    let bridge = Bridge::to(&serve, &[]);
    let first = bridge.get("t/a.bin", &[]);
    let etag = first.header("etag").to_owned();
    fs::write(&path, vec![2; 300_000]).unwrap();
    let range = ("Range", "bytes=150000-");
    assert_eq!(bridge.get("t/a.bin", &[range, ("If-Match", &etag)]).status, 412);
    let whole = bridge.get("t/a.bin", &[range, ("If-Range", &etag)]);
    assert_eq!((whole.status, whole.body), (200, vec![2; 300_000]));
    let part = bridge.get("t/a.bin", &[range]);
    assert_eq!((part.status, &part.body), (206, &vec![2; 150_000]));
    assert_ne!(part.header("etag"), etag);
    // Shorter: a range that was good a moment ago is past the end.
    fs::write(&path, vec![3; 100]).unwrap();
    assert_eq!(bridge.get("t/a.bin", &[range]).status, 416);
    fs::remove_file(&path).unwrap();
    assert_eq!(bridge.get("t/a.bin", &[range]).status, 404);
    assert_eq!(bridge.begin("HEAD", "t/a.bin", &[]).whole().status, 404);
    // Media of no byte.
    fs::write(&path, "").unwrap();
    let empty = bridge.get("t/a.bin", &[]);
    assert_eq!((empty.status, empty.length(), empty.body.len()), (200, 0, 0));
}

#[test]
fn a_change_that_a_reader_meets_cuts_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = media(dir.path(), 20_000_000);
    let serve = Serve::start([path.as_os_str()]);
    let mut bridge = Bridge::to(&serve, &[]);
    let title = path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut answer = bridge.begin("GET", &format!("t/{title}"), &[]);
    answer.read_to(100_000);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 100], 19_000_000).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    let answer = answer.whole();
    assert_eq!(answer.length(), bytes.len());
    assert!(answer.body.len() < bytes.len(), "it is not shown as whole");
    assert!(bytes.starts_with(&answer.body));
    let closed = bridge.wait_for("request_closed");
    assert_eq!(closed["complete"], false, "{closed}");
    assert!(closed["cause"].as_str().is_some(), "{closed}");
}

#[test]
fn nobody_else_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = media(dir.path(), 1000);
    let serve = Serve::start([path.as_os_str()]);
    let bridge = Bridge::to(&serve, &[]);
    let (host, secret) = bridge.place();
    let port = host.rsplit(':').next().unwrap();
    let status = |line: &str, headers: &[(&str, &str)]| {
        let answer = bridge.begin_raw(line, headers).whole();
        assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        answer.status
    };
    let root = format!("GET {secret}");
    for good in ["localhost", &format!("localhost:{port}"), "a.localhost", host] {
        assert_eq!(status(&root, &[("Host", good)]), 200, "{good}");
    }
    for bad in
        ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example", "10.0.0.1"]
    {
        assert_eq!(status(&root, &[("Host", bad)]), 403, "{bad}");
    }
    assert_eq!(status(&root, &[]), 400);
    for path in ["/", "/titles.json", "/x/", &secret[..secret.len() - 2], "/t/a"] {
        assert_eq!(status(&format!("GET {path}"), &[("Host", host)]), 404, "{path}");
    }
    assert_eq!(secret.len(), 34, "128 bits in hex, and two slashes");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let answer = bridge.begin(method, "", &[]).whole();
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    let page = bridge.get("", &[]);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for file in ["page.js", "page.css", "icon.svg"] {
        assert_eq!(bridge.get(file, &[]).status, 200, "{file}");
    }
}

#[test]
fn a_title_is_never_a_header_a_path_or_markup() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        "a b#?.mp4",
        "100%.mp4",
        "<img src=x onerror=alert(1)>.html",
        "it's \"quoted\".ts",
        "new\nline\r\nSet-Cookie: a=b.mp4",
        "春.webm",
        "evil.svg",
    ];
    for name in names {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let serve = Serve::start([dir.path()]);
    let bridge = Bridge::to(&serve, &[]);
    let titles = bridge.get("titles.json", &[]);
    assert_eq!(titles.header("content-type"), "application/json");
    let titles = titles.json()["titles"].as_array().unwrap().clone();
    assert_eq!(titles.len(), names.len());
    for title in &titles {
        let name = title["title"].as_str().unwrap();
        let answer = bridge.get(title["url"].as_str().unwrap(), &[]);
        assert_eq!((answer.status, &*answer.body), (200, name.as_bytes()), "{name:?}");
        assert_eq!(answer.header("set-cookie"), "");
        let kind = answer.header("content-type");
        assert!(!kind.contains("html") && !kind.contains("svg"), "{name:?}: {kind}");
        assert!(answer.header("content-security-policy").contains("sandbox"));
    }
    let playlist = bridge.get("playlist.m3u8", &[]);
    let playlist = String::from_utf8(playlist.body).unwrap();
    assert_eq!(playlist.lines().count(), 1 + 2 * names.len(), "{playlist}");
    assert!(playlist.starts_with("#EXTM3U\n#EXTINF:-1,"));
    for path in ["t/", "t/../titles.json", "t/%00", "t/%ff", "t//a", "t/nothing", "nothing"] {
        assert_eq!(bridge.get(path, &[]).status, 404, "{path}");
    }
}

#[test]
fn with_a_title_only_that_one_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "b.mp4"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let serve = Serve::start([dir.path()]);
    let bridge = Bridge::to(&serve, &["--title", "a.mp4"]);
    assert_eq!(bridge.get("titles.json", &[]).json()["titles"].as_array().unwrap().len(), 1);
    assert_eq!(bridge.get("t/a.mp4", &[]).body, b"a.mp4");
    assert_eq!(bridge.get("t/b.mp4", &[]).status, 404);
}

#[test]
fn what_is_live_is_never_the_same_and_has_a_size_once_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let live = format!("cam.bin={}", fifo.display());
    let mut serve = Serve::start(["--live", &live, "--live-linger", "0"]);
    // It is waited for.
    let waiting = serve.play(["--title", "cam.bin", "--wait", "60"]);
    let bridge = std::thread::spawn(move || Bridge::of(waiting));
    let mut producer = fs::File::options().write(true).open(&fifo).unwrap();
    producer.write_all(b"on the air").unwrap();
    let bridge = bridge.join().unwrap();
    serve.wait_for("live_started");
    for condition in [
        &[][..],
        &[("If-Modified-Since", "Fri, 31 Dec 9999 23:59:59 GMT")],
        &[("If-None-Match", "*")],
        &[("Range", "bytes=0-3")],
    ] {
        let answer = bridge.begin("GET", "t/cam.bin", condition);
        assert_eq!(answer.status, 200, "{condition:?}");
        for header in ["etag", "last-modified", "content-length"] {
            assert_eq!(answer.header(header), "", "{condition:?}");
        }
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    drop(producer);
    serve.wait_for("live_ended");
    let answer = bridge.get("t/cam.bin", &[("Range", "bytes=3-")]);
    assert_eq!((answer.status, &answer.body[..]), (206, &b"the air"[..]));
}
