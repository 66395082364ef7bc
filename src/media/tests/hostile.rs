use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::media::root::Root;

const CANARY: &str = "canary.mp4";

/// A directory of titles beside a file that nobody may read.
struct Place {
    dir: tempfile::TempDir,
    _socket: UnixListener,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        write(dir.path().join(CANARY), "canary");
        write(root.join("sub/deep/ok.mp4"), "ok");
        write(root.join(".hidden.mp4"), "hidden");
        write(root.join(".git/config"), "hidden");
        write(root.join("sub/.hidden/x.mp4"), "hidden");
        mkfifoat(CWD, root.join("fifo.mp4"), Mode::RWXU).unwrap();
        let socket = UnixListener::bind(root.join("socket.mp4")).unwrap();
        let up = format!("../{CANARY}");
        for (target, link) in [
            (up.as_str(), "out.mp4"),
            ("../../../canary.mp4", "sub/deep/out.mp4"),
            ("..", "parent"),
            ("../root", "around"),
            ("out.mp4", "twice.mp4"),
            ("/", "slash"),
            ("/dev/zero", "zero.mp4"),
            ("/proc/self/root", "magic"),
            ("/proc/self/fd/0", "stdin.mp4"),
            (dir.path().join(CANARY).to_str().unwrap(), "absolute.mp4"),
            ("fifo.mp4", "pipe.mp4"),
            ("missing.mp4", "dangling.mp4"),
            ("loop.mp4", "loop.mp4"),
            ("sub/deep/ok.mp4", "in.mp4"),
            ("sub", "inside"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        Self { dir, _socket: socket }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    /// Ways to ask for what is not there to be had.
    fn hostile_titles(&self) -> BTreeSet<String> {
        let mut titles = BTreeSet::new();
        let places = ["", "sub/", "sub/deep/", "inside/deep/", "missing/", "in.mp4/", "/", "./"];
        let ups = ["..", "%2e%2e", ".%2e", "%252e%252e", "%c0%ae%c0%ae", "．．", "‥", "...", ". ."];
        let separators = ["/", "//", "\\", "%2f", "%5c", "/./", "∕", "／", "\0/"];
        for (place, up) in places.iter().flat_map(|place| ups.map(|up| (place, up))) {
            for (separator, depth) in separators.iter().flat_map(|s| [1, 2, 3, 8].map(|d| (s, d))) {
                let climb = [up, separator].concat().repeat(depth);
                titles.insert(format!("{place}{climb}{CANARY}"));
                titles.insert(format!("{place}{climb}root/in.mp4"));
                titles.insert(format!("{place}{climb}etc/passwd"));
            }
        }
        let absolute = self.dir.path().join(CANARY);
        let absolute = absolute.to_str().unwrap();
        for prefix in ["", "/", "./", "file://", "file:", "\\\\?\\", "C:", "~", "~root", "slash"] {
            titles.insert(format!("{prefix}{absolute}"));
        }
        for link in ["parent", "around/..", "slash/tmp", "magic/tmp", "out.mp4/.."] {
            titles.insert(format!("{link}/{CANARY}"));
        }
        for title in [
            "",
            ".",
            "..",
            "/",
            "//",
            "./",
            "../",
            "~",
            "*",
            "?",
            "sub",
            "sub/deep",
            "parent",
            "around",
            "slash",
            "magic",
            "inside",
            "circle",
            "out.mp4",
            "sub/deep/out.mp4",
            "twice.mp4",
            "absolute.mp4",
            "zero.mp4",
            "stdin.mp4",
            "pipe.mp4",
            "dangling.mp4",
            "loop.mp4",
            "fifo.mp4",
            "socket.mp4",
            "/dev/zero",
            "/dev/stdin",
            "/etc/passwd",
            "/proc/self/environ",
            "slash/etc/passwd",
            "slash/proc/self/environ",
            "magic/etc/passwd",
            "around/in.mp4",
            ".hidden.mp4",
            ".git/config",
            "sub/.hidden/x.mp4",
            ".git",
            "sub/.hidden",
            "./in.mp4",
            "/in.mp4",
            "in.mp4/",
            "in.mp4/.",
            "sub//deep/ok.mp4",
            "sub/./deep/ok.mp4",
            "sub/../in.mp4",
            "sub/deep/../../in.mp4",
            "in.mp4\0",
            "in.mp4\0.txt",
            "\0",
            "\0in.mp4",
            "IN.MP4",
            "In.mp4",
            "in.mp4 ",
            " in.mp4",
            "in.mp4\n",
            "in.mp4.",
            "in.mp4::$DATA",
            "in%2emp4",
            "sub\\deep\\ok.mp4",
            "sub%2fdeep%2fok.mp4",
            "$HOME",
            "`id`",
            "|id",
            "-",
            "--help",
            "CON",
            "NUL",
            "\u{202e}4pm.ni",
            "\u{feff}in.mp4",
            "in\u{200b}.mp4",
            "\u{1b}[2J",
        ] {
            titles.insert(title.to_owned());
        }
        for (part, count) in [("a", 256), ("a", 100_000), ("a/", 1000), ("../", 100), ("é", 200)] {
            titles.insert(part.repeat(count));
            titles.insert(format!("{}{CANARY}", part.repeat(count)));
        }
        titles.insert(format!("{}in.mp4", "sub/../".repeat(40)));
        titles
    }
}

#[tokio::test]
async fn nothing_outside_is_opened_and_nothing_tells_why() {
    let place = Place::new();
    let opens = Watch::on(&place.dir.path().join(CANARY), WatchFlags::OPEN | WatchFlags::ACCESS);
    let library = library(&place.root());
    let hostile = place.hostile_titles();
    assert!(hostile.len() > 200);
    for title in &hostile {
        let refused = soon(open(&library, title)).await;
        assert!(matches!(refused, Err(Error::NoSuchTitle)), "{title:?} gives {refused:?}");
    }
    let listed = soon(library.catalogue()).await.unwrap();
    assert_eq!(titles(&listed), ["in.mp4", "sub/deep/ok.mp4"]);
    assert_eq!(library.open_first(1).await.unwrap().title(), "in.mp4");
    assert_eq!(opens.seen(), 0);

    fs::read(place.dir.path().join(CANARY)).unwrap();
    assert!(opens.seen() > 0, "the watch works");
}

#[tokio::test]
async fn links_that_stay_inside_are_titles() {
    let place = Place::new();
    let library = library(&place.root());
    for title in ["sub/deep/ok.mp4", "in.mp4", "inside/deep/ok.mp4"] {
        assert_eq!(bytes_of(&mut open(&library, title).await.unwrap()).await, b"ok", "{title}");
    }
}

#[test]
fn what_may_not_be_read_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["locked.mp4", "closed/a.mp4", "open.mp4"] {
        write(dir.path().join(path), path);
    }
    for path in ["locked.mp4", "closed"] {
        fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // The superuser may read everything: this thread gives that up.
    let mut sets = capabilities(None).unwrap();
    sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    set_capabilities(None, sets).unwrap();

    let root = Root::at(dir.path()).unwrap();
    for title in ["locked.mp4", "closed/a.mp4", "closed", "missing.mp4"] {
        assert!(matches!(root.open(title, 1), Err(Error::NoSuchTitle)), "{title}");
    }
    assert_eq!(titles(&root.catalogue().unwrap()), ["open.mp4"]);
    assert!(Root::at(&dir.path().join("locked.mp4")).is_err(), "told to the operator");
}
