use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::media::WaitingRead;
use crate::media::library::SAMPLE;

#[tokio::test]
async fn a_title_is_the_path_below_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a.mp4"), "top");
    write(dir.path().join("Filme/日本/b c.webm"), "deep");
    let library = library(dir.path());
    assert_eq!(library.only_title(), None);
    assert_eq!(library.name(), dir.path().display().to_string());
    for (title, media_type, bytes) in
        [("a.mp4", "video/mp4", "top"), ("Filme/日本/b c.webm", "video/webm", "deep")]
    {
        let mut media = open(&library, title).await.unwrap();
        assert_eq!((media.title(), media.media_type()), (title, media_type));
        assert_eq!((media.bitrate(), media.size()), (None, Some(bytes.len() as u64)));
        assert_eq!(bytes_of(&mut media).await, bytes.as_bytes());
    }
    assert!(matches!(open(&library, "A.mp4").await, Err(Error::NoSuchTitle)), "case matters");

    write(dir.path().join("new/late.mp4"), "late");
    assert_eq!(bytes_of(&mut open(&library, "new/late.mp4").await.unwrap()).await, b"late");
    fs::remove_file(dir.path().join("a.mp4")).unwrap();
    assert!(matches!(open(&library, "a.mp4").await, Err(Error::NoSuchTitle)));
}

#[tokio::test]
async fn a_renamed_directory_is_still_served() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("before/a.mp4"), "a");
    let library = library(&dir.path().join("before"));
    fs::rename(dir.path().join("before"), dir.path().join("after")).unwrap();
    assert_eq!(bytes_of(&mut open(&library, "a.mp4").await.unwrap()).await, b"a");
    assert_eq!(titles(&library.catalogue().await.unwrap()), ["a.mp4"]);
}

#[tokio::test]
async fn neither_the_start_nor_an_open_reads_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a.mp4"), "a");
    let reads = Watch::on(dir.path(), WatchFlags::ACCESS);
    open(&library(dir.path()), "a.mp4").await.unwrap();
    assert_eq!(reads.seen(), 0);
    library(dir.path()).catalogue().await.unwrap();
    assert!(reads.seen() > 0, "the watch works");
}

#[tokio::test]
async fn without_a_title_it_is_the_only_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join(".hidden.mp4"), "hidden");
    fs::create_dir(dir.path().join("empty")).unwrap();
    let library = library(dir.path());
    assert!(matches!(library.open(None, 1).await, Err(Error::NoMedia(_))));

    write(dir.path().join("a/b/only.bin"), "only");
    let mut media = library.open(None, 1).await.unwrap();
    assert_eq!(media.title(), "a/b/only.bin");
    assert_eq!(bytes_of(&mut media).await, b"only");

    write(dir.path().join("z.txt"), "second");
    assert!(matches!(library.open(None, 1).await, Err(Error::TitleNeeded)));
}

#[tokio::test]
async fn a_client_that_cannot_name_a_title_gets_the_first_that_plays() {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path());
    assert!(matches!(library.open_first(1).await, Err(Error::NoMedia(_))));
    for name in ["a.txt", ".hidden.mp4", "a.mp4/deeper.mp4", "c.mp4", "d.mp4", "b2.webm"] {
        write(dir.path().join(name), name);
    }
    std::os::unix::fs::symlink("/dev/null", dir.path().join("b1.mp4")).unwrap();
    assert_eq!(library.open_first(1).await.unwrap().title(), "b2.webm");

    for name in ["500.mp4", "900.mp4"] {
        write(dir.path().join("b.renditions").join(name), name);
    }
    assert_eq!(bytes_of(&mut library.open_first(800).await.unwrap()).await, b"500.mp4");
}

#[tokio::test]
async fn a_file_is_the_only_title() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".clip.mp4");
    write(&path, "first");
    write(dir.path().join("other.mp4"), "other");
    let library = library(&path);
    assert_eq!(library.only_title().as_deref(), Some(".clip.mp4"), "as the operator chose it");
    for media in [library.open(None, 1).await, library.open_first(1).await] {
        assert_eq!(media.unwrap().title(), ".clip.mp4");
    }
    assert_eq!(open(&library, ".clip.mp4").await.unwrap().media_type(), "video/mp4");
    for title in ["other.mp4", "", "clip.mp4", path.to_str().unwrap(), "./.clip.mp4"] {
        assert!(matches!(open(&library, title).await, Err(Error::NoSuchTitle)), "{title}");
    }
    assert_eq!(titles(&library.catalogue().await.unwrap()), [".clip.mp4"]);

    fs::remove_file(&path).unwrap();
    assert!(matches!(library.open(None, 1).await, Err(Error::NoSuchTitle)));
    assert!(library.catalogue().await.unwrap().is_empty());
    write(&path, "second");
    assert_eq!(bytes_of(&mut library.open(None, 1).await.unwrap()).await, b"second");
}

#[tokio::test]
async fn the_sample_is_a_title_like_any_other() {
    let library = Arc::new(Library::new(None, 0).unwrap());
    assert_eq!(library.only_title().as_deref(), Some("sample.mp4"));
    assert_eq!(library.name(), "the sample clip");
    for media in [library.open(None, 1).await, library.open_first(1).await] {
        assert_eq!(media.unwrap().title(), "sample.mp4");
    }
    let mut media = open(&library, "sample.mp4").await.unwrap();
    assert_eq!(bytes_of(&mut media).await, SAMPLE.1);
    assert_eq!(media.digest(), Some(blake3::hash(SAMPLE.1).into()));
    assert_eq!(media.digested().await, media.digest());
    assert!((1..=64).contains(&media.validator().len()));
    let entry = Entry {
        title: "sample.mp4".into(),
        size: Some(SAMPLE.1.len() as u64),
        media_type: "video/mp4",
        bitrate: None,
        modified: None,
    };
    assert_eq!(*library.catalogue().await.unwrap(), [entry]);
    assert!(matches!(open(&library, "other").await, Err(Error::NoSuchTitle)));
}

#[test]
fn what_is_missing_or_no_file_is_an_error_at_the_start() {
    let missing = Library::new(Some(Path::new("/nowhere/at/all.mp4")), 0);
    assert!(matches!(missing, Err(Error::Io { .. })));
    let device = Library::new(Some(Path::new("/dev/null")), 0);
    assert!(matches!(device, Err(Error::NotAFile(_))));
}

#[tokio::test]
async fn a_validator_changes_with_the_file_and_not_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5);
    let make = |path: &Path, bytes: &str, time| {
        write(path, bytes);
        fs::OpenOptions::new().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    let library = library(dir.path());
    let validator = async || open(&library, "clip.mp4").await.unwrap().validator();

    make(&path, "one", time);
    let first = validator().await;
    assert!((1..=64).contains(&first.len()));
    let restarted = super::library(dir.path());
    assert_eq!(open(&restarted, "clip.mp4").await.unwrap().validator(), first);
    assert_eq!(open(&super::library(&path), "clip.mp4").await.unwrap().validator(), first);

    make(&path, "longer", time);
    let size = validator().await;
    make(&path, "longer", time + Duration::from_nanos(1));
    let modified = validator().await;
    let copy = dir.path().join("copy.mp4");
    make(&copy, "longer", time + Duration::from_nanos(1));
    assert_eq!(open(&library, "copy.mp4").await.unwrap().validator(), modified, "a copy's");
    make(&path, "others", time + Duration::from_nanos(1));
    let edited = validator().await;
    let all = std::collections::HashSet::from([&first, &size, &modified, &edited]);
    assert_eq!(all.len(), 4, "each differs from all others");
}

#[tokio::test]
async fn a_file_that_changes_is_never_read_as_a_mixture() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    fs::write(&path, vec![1; 3 << 20]).unwrap();
    let library = library(&path);
    let mut alone = library.open(None, 1).await.unwrap();
    assert_eq!(bytes(alone.read(5, 10).await), vec![1; 10]);
    let mut media = library.open(None, 1).await.unwrap();
    assert_eq!(bytes(media.read(5, 10).await), vec![1; 10], "kept, because there are two");
    assert_eq!(bytes(media.read((1 << 20) - 3, 10).await).len(), 3, "to the block's end");
    assert!(bytes(media.read(3 << 20, 10).await).is_empty(), "the end");

    fs::write(&path, vec![2; 3 << 20]).unwrap();
    assert_eq!(bytes(media.read(5, 10).await), vec![1; 10], "read before the change");
    assert!(matches!(media.read(2 << 20, 10).await, Err(Error::Changed(_))));
    drop(media);
    assert!(matches!(alone.read(5, 10).await, Err(Error::Changed(_))), "nothing is kept for one");
    let mut media = library.open(None, 1).await.unwrap();
    assert_eq!(bytes(media.read(5, 10).await), vec![2; 10]);

    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    assert!(matches!(media.read(2 << 20, 10).await, Err(Error::Changed(_))));
}

#[tokio::test]
async fn a_read_that_waits_goes_on_when_it_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("media.mp4");
    write(&path, [1; 100]);
    let mut media = library(&path).open(None, 1).await.unwrap();
    let (disk, waiting) = tokio::sync::oneshot::channel();
    let read = Box::pin(async { Ok(Read::Bytes(waiting.await.unwrap())) });
    media.waiting = Some(WaitingRead { offset: 5, max: 10, read });
    let impatient = tokio::time::timeout(Duration::ZERO, media.read(5, 10)).await;
    assert!(impatient.is_err(), "the disk is slow");
    disk.send(Bytes::from_static(b"the disk's")).unwrap();
    assert_eq!(bytes(media.read(5, 10).await), b"the disk's"[..]);
    assert_eq!(bytes(media.read(5, 10).await), [1; 10][..], "asked for anew");
}
