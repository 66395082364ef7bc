//! Which state of a title goes by which VALIDATOR.

use bytes::Bytes;
use quick_cache::sync::Cache;

use super::identity::FileIdentity;

/// Validators that are remembered, at about 150 bytes each.
const KNOWN: usize = 4096;

/// The validators that were given out.
///
/// One is made of size and mtime, so that copies on other servers have the same. Where this server
/// has seen a title in two states behind one, the later one gets another: an edit that kept both
/// must not be joined to what was there before.
#[derive(Debug)]
pub(super) struct Validators(Cache<[u8; 32], FileIdentity>);

impl Validators {
    pub(super) fn new() -> Self {
        Self(Cache::new(KNOWN))
    }

    /// The validator of `title`, which is in the state `now`. `is_equal` tells whether the bytes
    /// of another state are known to be the same.
    pub(super) fn assign(
        &self,
        title: &str,
        now: FileIdentity,
        is_equal: impl FnOnce(FileIdentity) -> bool,
    ) -> Bytes {
        let portable = now.validator();
        let key = key(title, &portable);
        let first: Result<_, std::convert::Infallible> =
            self.0.get_or_insert_with(&key, || Ok(now));
        let Ok(first) = first;
        if first != now && !is_equal(first) {
            let salted = now.salted_validator();
            self.0.insert(self::key(title, &salted), now);
            return salted;
        }
        if first != now {
            self.0.insert(key, now);
        }
        portable
    }

    /// The state of `title` that has, or had, this validator.
    pub(super) fn state(&self, title: &str, validator: &[u8]) -> Option<FileIdentity> {
        self.0.get(&key(title, validator))
    }
}

/// Of one length, whatever a client sends.
fn key(title: &str, validator: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&title.len().to_be_bytes());
    hasher.update(title.as_bytes());
    hasher.update(validator);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// States of files of the same size and mtime.
    fn states<const N: usize>(directory: &Path) -> [FileIdentity; N] {
        std::array::from_fn(|i| {
            let file = fs::File::create(directory.join(i.to_string())).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
            FileIdentity::from(&file.metadata().unwrap())
        })
    }

    #[test]
    fn the_later_of_two_states_behind_one_validator_has_its_own_until_they_are_known_equal() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, third] = states(dir.path());
        let validators = Validators::new();
        let portable = first.validator();
        let unequal = |_| false;
        assert_eq!(validators.assign("a", first, unequal), portable);
        assert_eq!(validators.assign("a", second, unequal), second.salted_validator());
        assert_eq!(validators.assign("a", third, unequal), third.salted_validator());
        assert_eq!(validators.assign("a", first, unequal), portable, "as at first");
        assert_eq!(validators.assign("b", second, unequal), portable, "another title");

        assert_eq!(validators.assign("a", second, |state| state == first), portable);
        assert_eq!(validators.assign("a", third, |state| state == second), portable);
        assert_eq!(validators.assign("a", first, unequal), first.salted_validator());
    }

    #[test]
    fn the_state_behind_a_validator_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = states(dir.path());
        let validators = Validators::new();
        validators.assign("a", first, |_| false);
        let salted = validators.assign("a", second, |_| false);
        assert_eq!(validators.state("a", &first.validator()), Some(first));
        assert_eq!(validators.state("a", &salted), Some(second));
        assert_eq!(validators.state("b", &salted), None);
        assert_eq!(validators.state("a", b"never given out"), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let [state] = states(dir.path());
        let validators = Validators::new();
        for title in 0..3 * KNOWN {
            validators.assign(&title.to_string(), state, |_| false);
        }
        assert!(validators.0.len() <= KNOWN);
    }
}
