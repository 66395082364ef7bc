//! The media is replaced, cut or deleted while it is played.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::common::media;
use crate::harness::*;

/// Much more than the server reads ahead of a play.
const SIZE: usize = 8 << 20;
/// Time to change it while it is streamed: two seconds.
const RATE: &str = "24000000";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    /// By another file.
    Replaced {
        size: usize,
    },
    /// The same file, other bytes.
    Overwritten {
        size: usize,
    },
    Truncated,
    Deleted,
}

const CHANGES: [Change; 6] = [
    Change::Replaced { size: SIZE },
    Change::Replaced { size: SIZE + 1 },
    Change::Overwritten { size: SIZE },
    Change::Overwritten { size: SIZE + 1 },
    Change::Truncated,
    Change::Deleted,
];

impl Change {
    /// What is there after the change of a file of these bytes.
    fn outcome(self, old: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Replaced { size } | Self::Overwritten { size } => {
                Some(old.iter().map(|byte| !byte).cycle().take(size).collect())
            }
            Self::Truncated => Some(old[..SIZE * 7 / 8].to_vec()),
            Self::Deleted => None,
        }
    }

    /// Changes a file to its outcome.
    fn make(self, path: &Path, outcome: &[u8]) {
        let open = || OpenOptions::new().write(true).open(path).unwrap();
        match self {
            Self::Replaced { .. } => {
                let draft = path.with_extension("new");
                fs::write(&draft, outcome).unwrap();
                fs::rename(draft, path).unwrap();
            }
            Self::Overwritten { .. } => open().write_all(outcome).unwrap(),
            Self::Truncated => open().set_len(outcome.len() as u64).unwrap(),
            Self::Deleted => fs::remove_file(path).unwrap(),
        }
    }
}

/// A play in the middle of which the media changes, while its server is there or while it is
/// not.
fn change(change: Change, away: bool) {
    let home = tempfile::tempdir().unwrap();
    let library = home.path().join("media");
    fs::create_dir(&library).unwrap();
    let (path, old) = media(&library, SIZE);
    let new = change.outcome(&old);
    let mut server = Server::start(&library);
    let out = home.path().join("out.mp4");
    let mut args = vec!["--rate", RATE, "--title", "media.mp4"];
    let grows = !away && change == (Change::Overwritten { size: SIZE + 1 });
    if grows {
        // A server that has much to do may not have the digest in time.
        args.push("--require-digest");
    }
    let mut play = Play::start(server.play_to(&out, &args));
    play.wait_for_bytes(SIZE as u64 / 8);
    if away {
        server.kill();
    }
    change.make(&path, new.as_deref().unwrap_or_default());
    if away {
        server.restart();
    }
    let played = play.finish();

    // An open file stays what it was, whatever becomes of its name.
    if !away && matches!(change, Change::Replaced { .. } | Change::Deleted) {
        played.assert_exit(0);
        assert!(fs::read(&out).unwrap() == old, "{change:?}");
        assert_nothing_beside(&out);
        return;
    }
    let again = |flags: &[&str]| {
        let args = [&["--rate", "max", "--title", "media.mp4"], flags].concat();
        Played::of(server.play_to(&out, &args))
    };
    // A file that grows is streamed to its old end, where its digest shows that it is another.
    if grows {
        played.assert_exit(6);
        assert!(!out.exists(), "{change:?}");
        again(&["--no-continue"]).assert_exit(0);
        assert!(fs::read(&out).unwrap() == new.unwrap(), "{change:?}");
        return;
    }
    let code = if new.is_some() { 6 } else { 3 };
    let assert_kept = |played: &Played, code: i32| {
        played.assert_exit(code);
        assert!(!out.exists(), "{change:?}");
        let part = fs::read(beside(&out, "part")).unwrap();
        assert!(part.len() >= SIZE / 8 && old.starts_with(&part), "{change:?}");
        assert!(played.stderr.contains("out.mp4.part"), "{}", played.stderr);
    };
    assert_kept(&played, code);
    let second = again(&[]);
    // What an earlier play left of other media is in the way.
    assert_kept(&second, if new.is_some() { 1 } else { 3 });
    if let Some(new) = new {
        assert!(second.stderr.contains("the media has changed"), "{}", second.stderr);
        assert!(second.stderr.contains("--no-continue"), "{}", second.stderr);
        again(&["--no-continue"]).assert_exit(0);
        assert!(fs::read(&out).unwrap() == new, "{change:?}");
        assert_nothing_beside(&out);
    }
}

#[test]
fn while_it_is_streamed() {
    side_by_side(3, CHANGES.into(), |kind| change(kind, false));
}

#[test]
fn while_the_server_is_away() {
    side_by_side(3, CHANGES.into(), |kind| change(kind, true));
}
