//! Whether what a client has a part of is what there is now.

use bytes::Bytes;

use crate::media::{DigestState, Library, Media};
use crate::protocol::{NackCode, Options};
use crate::session::server::Refusal;

/// After how many seconds a client comes back whose part of the media is compared by digest.
const COMPARED_AFTER: u32 = 1;

/// The validator of a session that goes on with what a client has a part of, which had `theirs`
/// when it came.
pub(super) fn resume(
    library: &Library,
    media: &Media,
    theirs: &Bytes,
    options: &Options,
) -> Result<Bytes, Refusal> {
    if media.goes_by(theirs) {
        // An edit while the server was away may have kept size and time.
        return match (options.digest, library.known_digest(media)) {
            (Some(digest), Some(own)) if own != digest => Err(NackCode::MediaChanged.into()),
            _ => Ok(theirs.clone()),
        };
    }
    // One that does not know the digest may have its part from this server, which does.
    let (digest, validator) = match options.digest {
        Some(digest) => (digest, media.validator()),
        None => match library.digest_behind(media.title(), theirs) {
            Some(digest) => (digest, theirs.clone()),
            None => return Err(NackCode::MediaChanged.into()),
        },
    };
    match library.resolve_digest(media) {
        DigestState::Known(own) if own == digest => Ok(validator),
        DigestState::Known(_) | DigestState::Unreadable => Err(NackCode::MediaChanged.into()),
        DigestState::Pending => Err(Refusal {
            reason: Some("it is being compared with what you have".to_owned()),
            retry_after: Some(COMPARED_AFTER),
            ..NackCode::Busy.into()
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::protocol::Digest;

    const BYTES: &[u8] = b"media";
    const OTHER: &[u8] = b"other";
    const ELSEWHERE: Bytes = Bytes::from_static(b"of another server");

    /// A library of one title.
    struct Place {
        dir: tempfile::TempDir,
        library: Arc<Library>,
    }

    impl Place {
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
            self.library.request_digest(&media);
            media.digested().await.unwrap();
            media
        }

        fn resume(&self, media: &Media, validator: &Bytes, of: Option<&[u8]>) -> Answer {
            let digest = of.map(|bytes| Digest::from(blake3::hash(bytes)));
            let options = Options { digest, ..Options::default() };
            match resume(&self.library, media, validator, &options) {
                Ok(granted) if granted == media.validator() => Answer::Own,
                Ok(granted) => Answer::Granted(granted),
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
        let place = Place::new();
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
        let place = Place::new();
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
        let place = Place::new();
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
}
