use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;

#[test]
fn a_client_gets_the_rate_it_asks_for_within_the_limit() {
    let rate = |max, asked| grant_rate(Pacing::Client, max, asked, 500_000);
    assert_eq!(rate(0, None), 500_000, "the bitrate");
    assert_eq!(rate(0, Some(0)), 0, "as fast as it goes");
    assert_eq!(rate(0, Some(7)), 7);
    assert_eq!(rate(1_000, Some(0)), 1_000, "as fast as the limit goes");
    assert_eq!(rate(1_000, Some(7)), 7);
    assert_eq!(rate(1_000, None), 1_000);
}

#[test]
fn a_server_can_force_the_bitrate() {
    let rate = |max, asked| grant_rate(Pacing::Bitrate, max, asked, 500_000);
    assert_eq!(rate(0, Some(0)), 500_000);
    assert_eq!(rate(0, Some(7)), 500_000);
    assert_eq!(rate(400_000, Some(0)), 400_000);
}

const BYTES: &[u8] = b"media";
const OTHER: &[u8] = b"other";
const ELSEWHERE: Bytes = Bytes::from_static(b"of another server");

/// A library of one title.
struct TestLibrary {
    dir: tempfile::TempDir,
    library: Arc<Library>,
}

impl TestLibrary {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.mp4"), BYTES).unwrap();
        let library = Arc::new(Library::new(Some(dir.path()), 0).unwrap());
        Self { dir, library }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("a.mp4")
    }

    /// Writes to the file, which is as old as before then.
    fn edit(&self, bytes: &[u8]) {
        let modified = fs::metadata(self.file()).unwrap().modified().unwrap();
        fs::write(self.file(), bytes).unwrap();
        fs::File::open(self.file()).unwrap().set_modified(modified).unwrap();
    }

    async fn open(&self) -> Media {
        self.library.open(None, 1).await.unwrap()
    }

    /// The same, with a digest that is remembered: of a file that is old enough.
    async fn open_known(&self) -> Media {
        let metadata = fs::metadata(self.file()).unwrap();
        let changed = Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32);
        while SystemTime::now() < UNIX_EPOCH + changed + Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let media = self.open().await;
        media.request_digest();
        media.digested().await.unwrap();
        media
    }

    fn resume(&self, media: &Media, validator: &Bytes, of: Option<&[u8]>) -> Answer {
        let digest = of.map(|bytes| Digest::from(blake3::hash(bytes)));
        let validator = Some(validator.clone());
        let options = Options { validator, digest, start_offset: Some(0), ..Options::default() };
        match resume(Version::V2, &options, &InLibrary::new(&self.library, media)) {
            Ok(resumed) if resumed.validator == media.validator() => Answer::Own,
            Ok(resumed) => Answer::Granted(resumed.validator),
            Err(refusal) => Answer::Refused(refusal.code, refusal.retry_after),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// Granted with the validator of the media.
    Own,
    Granted(Bytes),
    Refused(NackCode, Option<u32>),
}

const CHANGED: Answer = Answer::Refused(NackCode::MediaChanged, None);
const LATER: Answer = Answer::Refused(NackCode::Busy, Some(1));

#[tokio::test]
async fn where_the_validator_is_another_the_digest_decides_once_it_is_known() {
    let place = TestLibrary::new();
    let media = place.open().await;
    assert_eq!(place.resume(&media, &ELSEWHERE, None), CHANGED);
    assert_eq!(place.resume(&media, &media.validator(), None), Answer::Own);
    assert_eq!(place.resume(&media, &media.validator(), Some(OTHER)), Answer::Own, "who knows");
    while place.resume(&media, &ELSEWHERE, Some(BYTES)) == LATER {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.resume(&media, &ELSEWHERE, Some(BYTES)), Answer::Own);
    assert_eq!(place.resume(&media, &ELSEWHERE, Some(OTHER)), CHANGED);
    assert_eq!(place.resume(&media, &ELSEWHERE, None), CHANGED);
    assert_eq!(place.resume(&media, &media.validator(), Some(BYTES)), Answer::Own);
    assert_eq!(place.resume(&media, &media.validator(), Some(OTHER)), CHANGED);
}

#[tokio::test]
async fn an_edit_that_kept_size_and_time_is_joined_to_nothing() {
    let place = TestLibrary::new();
    let validator = place.open_known().await.validator();
    place.edit(OTHER);
    let media = place.open().await;
    for of in [None, Some(BYTES)] {
        // What the validator stood for is known, and so is compared.
        while place.resume(&media, &validator, of) == LATER {
            tokio::task::yield_now().await;
        }
        assert_eq!(place.resume(&media, &validator, of), CHANGED);
    }
    assert_eq!(place.resume(&media, &media.validator(), None), Answer::Own);
}

#[tokio::test]
async fn what_is_the_same_after_all_goes_on_for_those_who_know_no_digest_too() {
    let place = TestLibrary::new();
    let validator = place.open_known().await.validator();
    fs::write(place.file(), BYTES).unwrap();
    let touched = place.open_known().await;
    assert_eq!(place.resume(&touched, &validator, Some(BYTES)), Answer::Own);
    assert_eq!(place.resume(&touched, &validator, None), Answer::Granted(validator.clone()));
    let salted = {
        place.edit(BYTES);
        place.open().await.validator()
    };
    let known = place.open_known().await;
    for theirs in [&salted, &touched.validator()] {
        assert_ne!(place.resume(&known, theirs, None), CHANGED, "both were given out for it");
    }
}
