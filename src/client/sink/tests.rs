//! Sinks, as their users see them.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;

use super::*;

fn file(path: &Path, overwrite: bool) -> Target {
    Target::File { path: path.to_owned(), overwrite, resume: true }
}

#[tokio::test]
async fn a_file_appears_when_it_is_complete_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let sink = Sink::open(&file(&path, false)).unwrap();
    sink.put(Payload::from(Bytes::from_static(b"first ")));
    sink.put(Payload::from(Bytes::from_static(b"second")));
    assert!(!path.exists());
    assert!(dir.path().join("clip.mp4.part").exists());
    sink.finish(None).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first second");
    assert!(!dir.path().join("clip.mp4.part").exists());
}

#[tokio::test]
async fn what_is_abandoned_keeps_its_provisional_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let sink = Sink::open(&file(&path, false)).unwrap();
    sink.put(Payload::from(Bytes::from_static(b"half")));
    let part = sink.part().unwrap();
    sink.abandon().await.unwrap();
    assert_eq!(fs::read(part).unwrap(), b"half");
    assert!(!path.exists());
}

#[tokio::test]
async fn nothing_is_left_of_a_play_that_got_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Sink::open(&file(&dir.path().join("clip.mp4"), false)).unwrap();
    sink.abandon().await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_exists_is_kept_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    fs::write(&path, "old").unwrap();
    assert!(matches!(Sink::open(&file(&path, false)), Err(Error::Exists(_))));
    assert!(matches!(Sink::open(&file(dir.path(), true)), Err(Error::Directory(_))));

    Sink::open(&file(&path, true)).unwrap().finish(None).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[tokio::test]
async fn a_file_made_by_somebody_else_meanwhile_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let sink = Sink::open(&file(&path, false)).unwrap();
    fs::write(&path, "theirs").unwrap();
    sink.put(bytes("ours"));
    let error = sink.finish(None).await.unwrap_err();
    assert!(matches!(error, Error::Unpublished { .. }), "{error}");
    assert!(error.to_string().contains("mv -i -- "), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert_eq!(fs::read(dir.path().join("clip.mp4.part")).unwrap(), b"ours");
}

#[tokio::test]
async fn two_plays_do_not_write_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let first = Sink::open(&file(&path, false)).unwrap();
    assert!(matches!(Sink::open(&file(&path, false)), Err(Error::Locked(_))));
    first.finish(None).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_waited_for() {
    let sink = Sink::open(&file(Path::new("/dev/full"), false)).unwrap();
    sink.put(Payload::from(Bytes::from_static(b"media")));
    sink.flush();
    sink.failed().await;
    let Err(Error::Io { source, .. }) = sink.finish(None).await else { panic!("no error") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

fn origin() -> Origin {
    let title = Some("clip.mp4".to_owned());
    let (server, digest) = ("localhost:9000".into(), Some([7; 32]));
    Origin { server, title, validator: vec![1, 2, 3], start: 0, digest, header: 0, joined: false }
}

fn bytes(text: &'static str) -> Payload {
    Payload::from(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn a_later_play_goes_on_where_an_earlier_one_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let sink = Sink::open(&file(&path, false)).unwrap();
    assert_eq!(sink.resumed(), None);
    sink.begin(Some(origin()), true);
    sink.put(bytes("first "));
    sink.abandon().await.unwrap();

    let sink = Sink::open(&file(&path, false)).unwrap();
    assert_eq!(sink.resumed(), Some(&(origin(), 6)));
    sink.begin(Some(origin()), true);
    sink.put(bytes("second"));
    sink.finish(Some(*blake3::hash(b"first second").as_bytes())).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first second");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[tokio::test]
async fn a_part_without_a_record_that_fits_is_foreign_and_stays_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let part = dir.path().join("clip.mp4.part");
    let record = dir.path().join("clip.mp4.part.json");
    let leave = async || {
        let _ = fs::remove_file(&part);
        let _ = fs::remove_file(&record);
        let sink = Sink::open(&file(&path, false)).unwrap();
        sink.begin(Some(origin()), false);
        sink.put(bytes("half"));
        sink.abandon().await.unwrap();
    };
    let assert_refused = || {
        let before = fs::read(&part).unwrap();
        let refused = Sink::open(&file(&path, false)).unwrap_err();
        assert!(matches!(refused, Error::ForeignFile(_)), "{refused}");
        // With --force it goes once media comes, and not before.
        let forced = Sink::open(&file(&path, true)).unwrap();
        assert_eq!(forced.resumed(), None);
        drop(forced);
        assert_eq!(fs::read(&part).unwrap(), before);
    };
    leave().await;
    fs::write(&record, "not JSON").unwrap();
    assert_refused();

    leave().await;
    fs::remove_file(&record).unwrap();
    assert_refused();

    leave().await;
    fs::write(&part, "ha").unwrap();
    assert_refused();

    leave().await;
    fs::write(&part, "HALF and more").unwrap();
    assert_refused();
}

#[tokio::test]
async fn a_part_is_replaced_only_when_media_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let part = dir.path().join("clip.mp4.part");
    let sink = Sink::open(&file(&path, false)).unwrap();
    sink.begin(Some(origin()), false);
    sink.put(bytes("half"));
    sink.abandon().await.unwrap();

    let mut sink = Sink::open(&file(&path, false)).unwrap();
    let refused = sink.start_over().unwrap_err();
    assert!(refused.to_string().contains("--no-continue"), "{refused}");
    drop(sink);

    let never = Target::File { path: path.clone(), overwrite: false, resume: false };
    let sink = Sink::open(&never).unwrap();
    assert_eq!(sink.resumed(), None);
    sink.abandon().await.unwrap();
    assert_eq!(fs::read(&part).unwrap(), b"half", "nothing came");

    let sink = Sink::open(&never).unwrap();
    sink.begin(Some(origin()), false);
    sink.put(bytes("other"));
    sink.abandon().await.unwrap();
    assert_eq!(fs::read(&part).unwrap(), b"other");
}

#[tokio::test]
async fn what_lies_behind_the_recorded_bytes_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let part = dir.path().join("clip.mp4.part");
    let sink = Sink::open(&file(&path, false)).unwrap();
    sink.begin(Some(origin()), false);
    sink.put(bytes("first "));
    sink.abandon().await.unwrap();
    fs::write(&part, "first \0\0\0\0\0\0\0\0").unwrap();

    let sink = Sink::open(&file(&path, false)).unwrap();
    assert_eq!(sink.resumed(), Some(&(origin(), 6)));
    sink.begin(Some(origin()), false);
    sink.put(bytes("second"));
    sink.finish(None).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first second");
}

#[tokio::test]
async fn other_media_than_the_server_has_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let sink = Sink::open(&file(&path, false)).unwrap();
    sink.begin(Some(origin()), true);
    sink.put(bytes("damaged"));
    let finished = sink.finish(Some(*blake3::hash(b"whole").as_bytes())).await;
    assert!(matches!(finished, Err(Error::Digest)));
    assert!(!path.exists());
    let next = Sink::open(&file(&path, false)).unwrap();
    assert_eq!(next.resumed(), Some(&(origin(), 0)), "it starts over");
}
