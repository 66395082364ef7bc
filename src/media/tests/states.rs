use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::UNIX_EPOCH;

use super::*;

const SIZE: usize = 1 << 20;

fn make(path: &Path, byte: u8) {
    write(path, vec![byte; SIZE]);
    set_time(path);
}

fn set_time(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
}

/// An edit within one mtime, as `rsync --inplace -t` makes it.
fn edit(path: &Path, byte: u8, offset: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[byte; 1000], offset).unwrap();
    set_time(path);
}

fn grow(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[9; 1000], SIZE as u64).unwrap();
}

#[tokio::test]
async fn an_edit_that_keeps_size_and_time_is_found_out_and_the_title_stays_usable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    make(&path, 1);
    settle(&path).await;
    let library = Arc::new(Library::new(Some(dir.path()), 1 << 26).unwrap());
    let mut before = open(&library, "a.mp4").await.unwrap();
    let other = open(&library, "a.mp4").await.unwrap();
    bytes_of(&mut before).await;
    soon(other.digested()).await.unwrap();

    edit(&path, 2, 100_000);
    assert_eq!(bytes(before.read(0, 1).await), [1][..], "read before the change");
    drop(other);
    assert!(matches!(before.read(0, 1).await, Err(Error::Changed(_))));
    let mut alone = super::library(dir.path()).open(None, 1).await.unwrap();
    edit(&path, 3, 100_000);
    assert!(matches!(alone.read(0, 10).await, Err(Error::Changed(_))));

    let mut after = open(&library, "a.mp4").await.unwrap();
    let bytes = bytes_of(&mut after).await;
    assert_eq!(bytes, fs::read(&path).unwrap(), "nothing of before, from the cache or elsewhere");
    assert_eq!(soon(after.digested()).await, Some(blake3::hash(&bytes).into()));
    assert_ne!(after.validator(), before.validator());
}

#[tokio::test]
async fn what_leaves_the_bytes_alone_ends_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    let elsewhere = dir.path().join("elsewhere.mp4");
    make(&path, 1);
    let library = library(dir.path());
    let mut media = library.open(Some("a.mp4"), 1).await.unwrap();
    let changes: [&dyn Fn(); 5] = [
        &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap(),
        &|| fs::hard_link(&path, dir.path().join("link.mp4")).unwrap(),
        &|| fs::rename(&path, &elsewhere).unwrap(),
        &|| make(&path, 2),
        &|| fs::remove_file(&elsewhere).unwrap(),
    ];
    for change in changes {
        change();
        for _ in 0..2 {
            assert_eq!(bytes(media.read(5, 10).await), [1; 10][..]);
        }
    }
    edit(&dir.path().join("link.mp4"), 3, 500_000);
    assert!(matches!(media.read(5, 10).await, Err(Error::Changed(_))), "this is another thing");
}

#[tokio::test]
async fn a_file_that_grows_stays_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    // The last block is not a whole one.
    write(&path, vec![1; SIZE - 1000]);
    let library = Arc::new(Library::new(Some(dir.path()), 1 << 26).unwrap());
    let mut first = library.open(None, 1).await.unwrap();
    let mut second = library.open(None, 1).await.unwrap();
    assert_eq!(bytes(first.read(0, 10).await), [1; 10][..]);
    grow(&path);
    for media in [&mut first, &mut second] {
        assert_eq!(bytes_of(media).await, vec![1; SIZE - 1000]);
        assert!(bytes(media.read(SIZE as u64 - 1000, 10).await).is_empty(), "the end");
    }
    first.request_digest();
    let digest = soon(first.digested()).await;
    assert_eq!(digest, Some(blake3::hash(&vec![1; SIZE - 1000]).into()), "of what was announced");
    let mut longer = open(&library, "a.mp4").await.unwrap();
    assert_eq!(bytes_of(&mut longer).await, fs::read(&path).unwrap());
    let digest = soon(longer.digested()).await;
    assert_eq!(digest, Some(blake3::hash(&fs::read(&path).unwrap()).into()));

    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    let mut alone = second;
    drop((first, longer));
    assert!(matches!(alone.read(0, 10).await, Err(Error::Changed(_))), "it is shorter now");
}

#[tokio::test]
async fn the_digest_of_a_file_that_was_rewritten_and_grew_is_not_that_of_a_mixture() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    make(&path, 1);
    settle(&path).await;
    let library = Arc::new(Library::new(Some(dir.path()), 1 << 26).unwrap());
    let mut media = library.open(None, 1).await.unwrap();
    let _other = library.open(None, 1).await.unwrap();
    // The first half is in the cache, as it was.
    let half = SIZE as u64 / 2;
    while bytes(media.read(0, 1).await) != [1][..] {}
    for offset in (0..half).step_by(1 << 16) {
        bytes(media.read(offset, 1 << 16).await);
    }
    write(&path, vec![2; SIZE + 1]);
    media.request_digest();
    assert_eq!(soon(media.digested()).await, Some(blake3::hash(&vec![2; SIZE]).into()));
    assert_eq!(bytes_of(&mut media).await.get(..2), Some(&[1, 1][..]), "so a client finds out");
}

#[tokio::test]
async fn a_touched_file_has_another_validator_and_the_same_digest_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    make(&path, 1);
    settle(&path).await;
    let library = library(dir.path());
    let first = open(&library, "a.mp4").await.unwrap();
    let digest = soon(first.digested()).await;
    let validator = first.validator();
    assert!(first.goes_by(&validator));
    assert_eq!(library.digest_behind("a.mp4", &validator), digest);
    drop(first);

    write(&path, vec![1; SIZE]);
    let touched = open(&library, "a.mp4").await.unwrap();
    assert!(!touched.goes_by(&validator));
    assert_eq!(soon(touched.digested()).await, digest);
    assert_eq!(library.digest_behind("a.mp4", &validator), digest, "it is not forgotten");
    assert_eq!(library.digest_behind("b.mp4", &validator), None);
}

#[tokio::test]
async fn a_copy_goes_by_the_old_validator_once_it_is_known_to_be_equal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    let copy = dir.path().join(".copy");
    make(&path, 1);
    make(&copy, 1);
    settle(&copy).await;
    let library = library(dir.path());
    let first = open(&library, "a.mp4").await.unwrap();
    let validator = first.validator();
    soon(first.digested()).await.unwrap();
    fs::rename(&copy, &path).unwrap();
    settle(&path).await;

    let unknown = library.open(Some("a.mp4"), 1).await.unwrap();
    let salted = unknown.validator();
    assert_ne!(salted, validator);
    assert!(!unknown.goes_by(&validator) && unknown.goes_by(&salted));
    unknown.request_digest();
    soon(unknown.digested()).await.unwrap();

    let known = library.open(Some("a.mp4"), 1).await.unwrap();
    assert_eq!(known.validator(), validator);
    assert!(known.goes_by(&validator) && known.goes_by(&salted), "by both that were given out");
    assert!(!known.goes_by(b"another"));
}
