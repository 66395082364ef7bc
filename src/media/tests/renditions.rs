use std::os::unix::fs::symlink;

use super::*;

const FILES: [&str; 3] = ["240000.mp4", "500000.mp4", "2000000.webm"];
const LIMITS: [(u32, &str); 7] = [
    (1, "240000.mp4"),
    (240_000, "240000.mp4"),
    (499_999, "240000.mp4"),
    (500_000, "500000.mp4"),
    (1_999_999, "500000.mp4"),
    (2_000_000, "2000000.webm"),
    (u32::MAX, "2000000.webm"),
];

fn make(directory: &Path) {
    for name in FILES {
        write(directory.join(name), name);
    }
}

#[tokio::test]
async fn the_limit_chooses_the_file() {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("films/one.renditions"));
    let library = library(dir.path());
    for (limit, file) in LIMITS {
        let mut media = library.open(Some("films/one.renditions"), limit).await.unwrap();
        assert_eq!(media.title(), "films/one.renditions");
        assert_eq!(bytes_of(&mut media).await, file.as_bytes(), "{limit}");
        let (bitrate, extension) = file.split_once('.').unwrap();
        assert_eq!(media.bitrate().unwrap().to_string(), bitrate);
        assert_eq!(media.media_type(), format!("video/{extension}"));
    }
    assert!(matches!(library.open(Some("films/one"), 1).await, Err(Error::NoSuchTitle)));
    assert_eq!(library.open(None, 1).await.unwrap().bitrate(), Some(240_000));
}

#[tokio::test]
async fn the_validator_is_that_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("one.renditions"));
    let library = library(dir.path());
    let validator =
        async |limit| library.open(Some("one.renditions"), limit).await.unwrap().validator();
    assert_eq!(validator(1).await, validator(240_000).await);
    assert_ne!(validator(1).await, validator(500_000).await);
}

#[tokio::test]
async fn it_is_one_title_and_its_files_are_none() {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("one.renditions"));
    write(dir.path().join("one.renditions/more/a.mp4"), "a");
    fs::create_dir(dir.path().join("none.renditions")).unwrap();
    write(dir.path().join("file.renditions"), "only called so");
    let library = library(dir.path());
    for title in ["500000.mp4", "more/a.mp4", "more", "../one.renditions/500000.mp4"] {
        let title = format!("one.renditions/{title}");
        assert!(matches!(open(&library, &title).await, Err(Error::NoSuchTitle)), "{title}");
    }
    assert!(matches!(open(&library, "none.renditions").await, Err(Error::NoSuchTitle)));
    assert_eq!(open(&library, "file.renditions").await.unwrap().bitrate(), None);

    let entries = library.catalogue().await.unwrap();
    let one = Entry {
        title: "one.renditions".into(),
        size: Some("2000000.webm".len() as u64),
        media_type: "video/webm",
        bitrate: Some(2_000_000),
        modified: entries[1].modified,
    };
    assert_eq!(titles(&entries), ["file.renditions", "one.renditions"]);
    assert_eq!(entries[1], one);
}

#[tokio::test]
async fn the_directory_itself_can_be_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.renditions");
    make(&path);
    let library = library(&path);
    assert_eq!(library.only_title().as_deref(), Some("one.renditions"));
    for (limit, file) in LIMITS {
        for mut media in [
            library.open(Some("one.renditions"), limit).await.unwrap(),
            library.open(None, limit).await.unwrap(),
            library.open_first(limit).await.unwrap(),
        ] {
            assert_eq!(media.title(), "one.renditions");
            assert_eq!(bytes_of(&mut media).await, file.as_bytes(), "{limit}");
        }
    }
    assert!(matches!(open(&library, "500000.mp4").await, Err(Error::NoSuchTitle)));
    assert_eq!(library.catalogue().await.unwrap()[0].bitrate, Some(2_000_000));
}

#[tokio::test]
async fn what_cannot_be_opened_is_not_chosen() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("outside"), "outside");
    let path = dir.path().join("root/one.renditions");
    write(path.join("300.webm"), "300.webm");
    write(path.join("300.mp4"), "300.mp4");
    fs::create_dir(path.join("400.mp4")).unwrap();
    symlink("../../outside", path.join("500.mp4")).unwrap();
    symlink("missing", path.join("600.mp4")).unwrap();
    let library = library(&dir.path().join("root"));
    let mut media = library.open(Some("one.renditions"), 600).await.unwrap();
    assert_eq!(bytes_of(&mut media).await, b"300.mp4", "by name where two are equally good");

    symlink("../late.mp4", path.join("500.ogv")).unwrap();
    write(dir.path().join("root/late.mp4"), "late");
    let mut media = library.open(Some("one.renditions"), 600).await.unwrap();
    assert_eq!((media.bitrate(), bytes_of(&mut media).await), (Some(500), b"late".to_vec()));
}
