//! Telling a client at once that its connection is gone.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use aws_lc_rs::hmac;
use s2n_quic::provider::stateless_reset_token::{Generator, Provider};
use s2n_quic_core::stateless_reset::Token;
use tempfile::NamedTempFile;

use super::connection_id::Worker;

/// Bytes of a key.
const LENGTH: usize = 32;

/// What the tokens of stateless resets (RFC 9000, section 10.3) are made from. A server that was
/// restarted with the same one can tell the clients of its predecessor to connect anew, instead of
/// leaving them to their timers.
#[derive(Clone)]
pub struct ResetKey([u8; LENGTH]);

impl ResetKey {
    /// A key for this run alone.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads the key at `path`, or makes one there that only its owner can read.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds something else.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        match Self::load(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut file = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
        let key = Self::random();
        file.write_all(&key.0)?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(key),
            // Another process was faster.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(error.error),
        }
    }

    fn load(path: &Path) -> io::Result<Self> {
        let mut key = Vec::with_capacity(LENGTH + 1);
        let limit = LENGTH as u64 + 1;
        File::open(path)?.take(limit).read_to_end(&mut key)?;
        let key = key.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self(key))
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey")
    }
}

/// Makes the tokens of one worker at one address: servers that share a key do not share tokens.
#[derive(Debug)]
pub(super) struct ResetTokens {
    key: hmac::Key,
    worker: Worker,
}

impl ResetTokens {
    pub(super) fn new(ResetKey(key): &ResetKey, address: SocketAddr, worker: Worker) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let of_address = hmac::sign(&key, address.to_string().as_bytes());
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, of_address.as_ref()), worker }
    }
}

impl Provider for ResetTokens {
    type Generator = Self;
    type Error = Infallible;

    fn start(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

impl Generator for ResetTokens {
    /// A packet that strayed to another worker must not end a connection that lives: a token of
    /// that worker says nothing.
    fn generate(&mut self, local_connection_id: &[u8]) -> Token {
        if !self.worker.owns(local_connection_id) {
            return rand::random::<[u8; 16]>().into();
        }
        let tag = hmac::sign(&self.key, local_connection_id);
        let mut token = Token::ZEROED;
        token.as_mut().iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        token
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;
    use std::os::unix::fs::MetadataExt as _;

    use super::super::connection_id::Steering;
    use super::*;

    fn token_of(worker: (u8, u8), key: &ResetKey, address: &str) -> Token {
        let (index, workers) = (worker.0, NonZeroU8::new(worker.1).unwrap());
        let worker = Worker { index, steering: Steering { position: 0, workers } };
        // The first byte is 97.
        ResetTokens::new(key, address.parse().unwrap(), worker).generate(b"a connection id")
    }

    fn token(key: &ResetKey, address: &str) -> Token {
        token_of((0, 1), key, address)
    }

    #[test]
    fn a_restarted_server_makes_the_same_tokens_and_no_other_server_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reset.key");
        let first = ResetKey::load_or_create(&path).unwrap();
        let again = ResetKey::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let own = token(&first, "127.0.0.1:9000");
        assert_eq!(token(&again, "127.0.0.1:9000"), own);
        assert_ne!(token(&first, "127.0.0.1:9001"), own, "beside it, with the same key");
        assert_ne!(token(&ResetKey::random(), "127.0.0.1:9000"), own);
    }

    #[test]
    fn one_worker_of_each_number_makes_the_token_and_the_others_make_none() {
        let key = ResetKey::random();
        let own = token(&key, "[::1]:9000");
        for workers in [2, 3, 64] {
            for index in 0..workers {
                let made = token_of((index, workers), &key, "[::1]:9000");
                assert_eq!(made == own, index == 97 % workers, "{index} of {workers}");
                assert_ne!(made, Token::ZEROED);
            }
        }
    }

    #[test]
    fn what_is_no_key_is_neither_used_nor_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reset.key");
        std::fs::write(&path, [7; LENGTH + 1]).unwrap();
        assert_eq!(ResetKey::load_or_create(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read(&path).unwrap(), [7; LENGTH + 1]);
    }
}
