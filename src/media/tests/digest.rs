use std::fs::File as StdFile;
use std::sync::Weak;

use super::*;
use crate::media::file::File;
use crate::media::{Digest, Source};

/// A file that keeps the thread busy for as long as a test lasts, without taking space.
fn endless(path: &Path) -> StdFile {
    let file = StdFile::create(path).unwrap();
    file.set_len(1 << 40).unwrap();
    file
}

fn file_of(media: &Media) -> &Arc<File> {
    match &media.found.source {
        Source::File(file) => file,
        Source::Memory(..) => panic!("no file"),
    }
}

fn digest_of(bytes: &[u8]) -> Option<Digest> {
    Some(blake3::hash(bytes).into())
}

#[tokio::test]
async fn it_is_that_of_all_bytes_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path());
    for size in [0, 1, 1 << 20, (1 << 20) + 1, 3_500_000] {
        let bytes: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
        let title = format!("{size}.mp4");
        write(dir.path().join(&title), &bytes);
        let media = open(&library, &title).await.unwrap();
        assert_eq!(soon(media.digested()).await, digest_of(&bytes), "{size} bytes");
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
async fn waiting_for_a_turn_keeps_no_file_open_and_has_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let endless = endless(&dir.path().join("endless.mp4"));
    write(dir.path().join("a.mp4"), "a");
    let library = library(dir.path());
    let busy = open(&library, "endless.mp4").await.unwrap();
    let mut opened: Vec<Weak<File>> = Vec::new();
    loop {
        let media = open(&library, "a.mp4").await.unwrap();
        opened.push(Arc::downgrade(file_of(&media)));
        if file_of(&media).is_without_digest() {
            break;
        }
        assert!(opened.len() < 5000, "the line has no end");
    }
    assert!(opened.len() > 1000);
    assert!(opened.iter().all(|file| file.strong_count() == 0));

    let refused = open(&library, "a.mp4").await.unwrap();
    assert_eq!(soon(refused.digested()).await, None, "at once");
    endless.set_len(0).unwrap();
    assert_eq!(soon(busy.digested()).await, None);
    soon(async {
        // Another session is another try, even while the first goes on.
        while open(&library, "a.mp4").await.unwrap().digested().await != digest_of(b"a") {
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
    library.request_digest(&unasked);
    assert_eq!(soon(unasked.digested()).await, digest_of(b"a"));
}
