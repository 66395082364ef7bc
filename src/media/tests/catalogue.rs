use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;
use crate::media::directory::Directory;

#[tokio::test]
async fn it_is_sorted_and_has_all_that_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    write(dir.path().join("outside.mp4"), "outside");
    let longest = format!("{}/{}", "d".repeat(127), "f".repeat(127));
    let listed = ["Z.mp4", "a b.txt", "a.mp4", "b/c/d.mp4", "b/c/e.flac", "b-.mp4", &longest, "é"];
    let unlisted = [".hidden.mp4", "b/.hidden/x.mp4", "b/.x", &format!("{longest}f")];
    for title in listed.iter().chain(&unlisted) {
        write(root.join(title), title);
    }
    write(root.join(OsStr::from_bytes(b"not-\xff-text.mp4")), "");
    mkfifoat(CWD, root.join("fifo.mp4"), Mode::RWXU).unwrap();
    symlink("b/c/d.mp4", root.join("inside.mp4")).unwrap();
    symlink("../outside.mp4", root.join("outside.mp4")).unwrap();
    symlink("nowhere", root.join("dangling.mp4")).unwrap();
    symlink("self.mp4", root.join("self.mp4")).unwrap();
    symlink(".", root.join("circle")).unwrap();
    symlink("..", root.join("b/c/up")).unwrap();

    let library = library(&root);
    let entries = soon(library.catalogue()).await.unwrap();
    let mut expected: Vec<&str> = listed.into_iter().chain(["inside.mp4"]).collect();
    expected.sort_unstable();
    assert_eq!(titles(&entries), expected);
    for entry in entries.iter() {
        let media = open(&library, &entry.title).await.unwrap();
        assert_eq!((media.size(), media.media_type()), (entry.size, entry.media_type));
        assert_eq!(media.bitrate(), None);
    }
    assert_eq!(
        entries[2],
        Entry {
            title: "a.mp4".into(),
            size: Some(5),
            media_type: "video/mp4",
            bitrate: None,
            modified: open(&library, "a.mp4").await.unwrap().modified(),
        }
    );
}

#[tokio::test]
async fn one_catalogue_serves_all_for_five_seconds() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a.mp4"), "a");
    let library = library(dir.path());
    let (first, second, third) =
        tokio::join!(library.catalogue(), library.catalogue(), library.catalogue());
    let (first, second, third) = (first.unwrap(), second.unwrap(), third.unwrap());
    assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&second, &third));
    drop((first, second, third));

    write(dir.path().join("b.mp4"), "b");
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(4900)).await;
    assert_eq!(titles(&library.catalogue().await.unwrap()), ["a.mp4"]);
    assert_eq!(open(&library, "b.mp4").await.unwrap().size(), Some(1), "it is there at once");
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(titles(&library.catalogue().await.unwrap()), ["a.mp4", "b.mp4"]);
}

#[tokio::test]
async fn twenty_thousand_files() {
    let dir = tempfile::tempdir().unwrap();
    for folder in 0..20 {
        let folder = dir.path().join(format!("{folder:02}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..1000 {
            fs::File::create(folder.join(format!("{file:03}.mp4"))).unwrap();
        }
    }
    let library = library(dir.path());
    let entries = library.catalogue().await.unwrap();
    assert_eq!(entries.len(), 20_000);
    assert!(entries.is_sorted_by(|a, b| a.title < b.title));
    assert_eq!((&*entries[0].title, &*entries[19_999].title), ("00/000.mp4", "19/999.mp4"));
    assert!(matches!(library.open(None, 1).await, Err(Error::TitleNeeded)));
}

#[test]
fn a_walk_stops_when_it_has_enough() {
    let dir = tempfile::tempdir().unwrap();
    for name in 0..10 {
        write(dir.path().join(format!("{name}/{name}.mp4")), "");
    }
    let mut visits = 0;
    let visit = |_| {
        visits += 1;
        Ok(if visits < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    };
    Directory::at(dir.path()).unwrap().each_title(1, visit).unwrap();
    assert_eq!(visits, 2);
}
