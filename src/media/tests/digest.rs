use std::any::Any;
use std::fs::File as StdFile;
use std::sync::Weak;
use std::task::Poll;

use super::*;
use crate::media::file::File;
use crate::media::file_source::FileSource;
use crate::protocol::Digest;

/// A file that keeps the thread busy for as long as a test lasts, without taking space.
fn endless(path: &Path) -> StdFile {
    let file = StdFile::create(path).unwrap();
    file.set_len(1 << 40).unwrap();
    file
}

fn file_of(media: &Media) -> &Arc<File> {
    let source: &dyn Any = &*media.found.source;
    &source.downcast_ref::<FileSource>().unwrap().file
}

fn digest_of(bytes: &[u8]) -> Option<Digest> {
    Some(blake3::hash(bytes).into())
}

#[tokio::test]
async fn it_is_that_of_all_bytes_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path());
    let media = [0, 1, 1 << 20, (1 << 20) + 1, 3_500_000, 10_000_000].map(|size| {
        let bytes: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
        let title = format!("{size}.mp4");
        write(dir.path().join(&title), &bytes);
        (title, bytes)
    });
    settle(&dir.path().join("10000000.mp4")).await;
    for (title, bytes) in media {
        let media = open(&library, &title).await.unwrap();
        assert_eq!(soon(media.digested()).await, digest_of(&bytes), "{title}");
        assert_eq!(media.digest(), digest_of(&bytes));

        drop(media);
        let again = open(&library, &title).await.unwrap();
        assert_eq!(again.digest(), digest_of(&bytes), "known at once");
    }
    write(dir.path().join("1.mp4"), "other");
    let media = open(&library, "1.mp4").await.unwrap();
    assert_eq!(soon(media.digested()).await, digest_of(b"other"));
}

#[tokio::test]
async fn all_sessions_share_one_file_and_one_digest() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a.mp4"), "a");
    fs::hard_link(dir.path().join("a.mp4"), dir.path().join("b.mp4")).unwrap();
    let library = library(dir.path());
    let first = open(&library, "a.mp4").await.unwrap();
    for title in ["a.mp4", "b.mp4"] {
        let other = open(&library, title).await.unwrap();
        assert!(Arc::ptr_eq(file_of(&first), file_of(&other)));
        assert_eq!(other.title(), title);
        assert_eq!(soon(other.digested()).await, digest_of(b"a"));
    }
}

#[tokio::test]
async fn a_file_that_changes_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = endless(&dir.path().join("endless.mp4"));
    let library = library(dir.path());
    let media = open(&library, "endless.mp4").await.unwrap();
    assert_eq!(media.digest(), None, "not known yet");
    file.set_len(5).unwrap();
    assert_eq!(soon(media.digested()).await, None);
    let media = open(&library, "endless.mp4").await.unwrap();
    assert_eq!(soon(media.digested()).await, digest_of(&[0; 5]), "of what it is now");
}

#[tokio::test]
async fn it_ends_with_the_library() {
    let dir = tempfile::tempdir().unwrap();
    endless(&dir.path().join("endless.mp4"));
    write(dir.path().join("waiting.mp4"), "waiting");
    let library = library(dir.path());
    let busy = open(&library, "endless.mp4").await.unwrap();
    let waiting = open(&library, "waiting.mp4").await.unwrap();
    drop(library);
    assert_eq!(soon(busy.digested()).await, None);
    // Behind it in the line: skipped or done, but not forgotten.
    soon(waiting.digested()).await;
}

#[tokio::test]
async fn a_short_file_has_its_own_before_a_long_one_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path());
    let mut long = Vec::new();
    for i in 0..10 {
        let title = format!("{i}.mp4");
        endless(&dir.path().join(&title));
        long.push(open(&library, &title).await.unwrap());
    }
    let bytes = vec![7; 2_000_000];
    write(dir.path().join("short.mp4"), &bytes);
    let short = open(&library, "short.mp4").await.unwrap();
    assert_eq!(soon(short.digested()).await, digest_of(&bytes));
    assert!(long.iter().all(|media| media.digest().is_none()));
}

#[tokio::test]
async fn a_long_file_has_its_own_although_shorter_ones_come_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = StdFile::create(dir.path().join("long.mp4")).unwrap();
    file.set_len(20 << 20).unwrap();
    let library = library(dir.path());
    let long = open(&library, "long.mp4").await.unwrap();
    soon(async {
        for i in 0.. {
            if long.digest().is_some() {
                break;
            }
            let title = format!("{i}.mp4");
            write(dir.path().join(&title), "short");
            assert!(open(&library, &title).await.unwrap().digested().await.is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_computed_only_while_somebody_has_the_file_open() {
    let dir = tempfile::tempdir().unwrap();
    endless(&dir.path().join("endless.mp4"));
    write(dir.path().join("waiting.mp4"), "waiting");
    let library = library(dir.path());
    let busy = open(&library, "endless.mp4").await.unwrap();
    let file: Weak<File> = Arc::downgrade(file_of(&busy));
    soon(async {
        while file.strong_count() == 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(busy);
    soon(async {
        while file.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let busy = open(&library, "endless.mp4").await.unwrap();
    assert_eq!(busy.digest(), None, "begun anew");
}

#[tokio::test]
async fn blocks_that_are_in_memory_are_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    let bytes: Vec<u8> = (0..1_000_000).map(|byte| (byte % 251) as u8).collect();
    write(&path, &bytes);
    settle(&path).await;
    let library = Arc::new(Library::new(Some(dir.path()), 1 << 26).unwrap());
    let mut media = library.open(Some("a.mp4"), 1).await.unwrap();
    let _other = library.open(Some("a.mp4"), 1).await.unwrap();
    assert_eq!(bytes_of(&mut media).await, bytes);
    let reads = Watch::on(&path, WatchFlags::ACCESS);
    media.request_digest();
    assert_eq!(soon(media.digested()).await, digest_of(&bytes));
    assert_eq!(reads.seen(), 0);
}

#[tokio::test]
async fn that_of_a_file_that_was_just_written_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    write(&path, "a");
    let library = library(dir.path());
    let first = open(&library, "a.mp4").await.unwrap();
    assert_eq!(soon(first.digested()).await, digest_of(b"a"));
    assert_eq!(first.digest(), digest_of(b"a"), "for those who have it open");
    settle(&path).await;
    let second = open(&library, "a.mp4").await.unwrap();
    assert!(!Arc::ptr_eq(file_of(&first), file_of(&second)));
    assert_eq!(soon(second.digested()).await, digest_of(b"a"));
    drop((first, second));
    assert_eq!(open(&library, "a.mp4").await.unwrap().digest(), digest_of(b"a"), "now it is");
}

#[tokio::test]
async fn it_survives_a_restart_if_it_has_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    write(root.join("a.mp4"), "a");
    write(root.join("b.mp4"), "b");
    settle(&root.join("b.mp4")).await;
    let store = dir.path().join("state/digests");
    let start = || {
        let library = Library::new(Some(&root), 0).unwrap();
        Arc::new(library.keeping_digests(&store))
    };
    let known = async |library: &Arc<Library>, title| open(library, title).await.unwrap().digest();
    let library = start();
    assert_eq!(known(&library, "a.mp4").await, None);
    assert!(soon(open(&library, "a.mp4").await.unwrap().digested()).await.is_some());
    assert!(soon(open(&library, "b.mp4").await.unwrap().digested()).await.is_some());
    drop(library);

    let library = start();
    assert_eq!(known(&library, "a.mp4").await, digest_of(b"a"));
    assert_eq!(known(&library, "b.mp4").await, digest_of(b"b"), "written at the end");
    drop(library);

    write(root.join("a.mp4"), "c");
    assert_eq!(soon(open(&start(), "a.mp4").await.unwrap().digested()).await, digest_of(b"c"));
    fs::write(&store, "garbage").unwrap();
    let library = start();
    assert_eq!(soon(open(&library, "b.mp4").await.unwrap().digested()).await, digest_of(b"b"));
    drop(library);

    fs::remove_dir_all(store.parent().unwrap()).unwrap();
    write(store.parent().unwrap(), "in the way");
    let library = start();
    assert_eq!(soon(open(&library, "b.mp4").await.unwrap().digested()).await, digest_of(b"b"));
}

#[tokio::test]
async fn a_client_that_is_told_to_come_back_finds_it_computed() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = vec![7; 20_000_000];
    write(dir.path().join("a.mp4"), &bytes);
    let library = library(dir.path());
    soon(async {
        // Nobody has it open while the client is away.
        while library.open(None, 1).await.unwrap().resolve_digest()
            != Poll::Ready(digest_of(&bytes))
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_computed_that_nobody_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a.mp4"), "a");
    write(dir.path().join("b.mp4"), "b");
    let library = library(dir.path());
    let unasked = library.open(Some("a.mp4"), 1).await.unwrap();
    let asked = open(&library, "b.mp4").await.unwrap();
    assert_eq!(soon(asked.digested()).await, digest_of(b"b"));
    assert_eq!(unasked.digest(), None, "it was opened before, and there is one thread");
    unasked.request_digest();
    assert_eq!(soon(unasked.digested()).await, digest_of(b"a"));
}
