//! QUIC-LB: connection ids that tell a balancer which server they belong to
//! (draft-ietf-quic-load-balancers-21).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::cipher::{AES_128, EncryptingKey, UnboundCipherKey};
use serde::Deserialize;

use super::Error;

/// The configuration that a balancer is to use, in the first three bits of a connection id. There
/// is only one at a time.
const CONFIG_ROTATION: u8 = 0;

/// Bytes of a server ID and its nonce together: a server ID of one byte has a nonce of five, one of
/// two bytes has one of four, which is the least that the draft allows.
const BLOCK: usize = 6;

/// Bytes at the beginning of a connection id that are for the balancer.
pub(super) const LENGTH: usize = 1 + BLOCK;

/// Bytes that AES encrypts at once.
const AES_BLOCK: usize = 16;

/// What a balancer calls a server by: 1 or 2 bytes, written as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerId(Vec<u8>);

/// A text is not a server ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ID of a server is 2 or 4 hexadecimal digits, as many as that of any other server")]
pub struct ServerIdError;

impl FromStr for ServerId {
    type Err = ServerIdError;

    fn from_str(text: &str) -> Result<Self, ServerIdError> {
        let id = bytes(text).filter(|id| matches!(id.len(), 1 | 2));
        id.map(Self).ok_or(ServerIdError)
    }
}

impl TryFrom<String> for ServerId {
    type Error = ServerIdError;

    fn try_from(text: String) -> Result<Self, ServerIdError> {
        text.parse()
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the servers behind a balancer and the balancer itself hide server IDs with: 16 bytes,
/// written as hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct BalancerKey([u8; 16]);

/// A text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of a balancer is 32 hexadecimal digits")]
pub struct BalancerKeyError;

impl FromStr for BalancerKey {
    type Err = BalancerKeyError;

    fn from_str(text: &str) -> Result<Self, BalancerKeyError> {
        let key = bytes(text).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(BalancerKeyError)
    }
}

impl fmt::Debug for BalancerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BalancerKey")
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|char| char.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte << 4 | digit)).ok())
        .collect()
}

/// How a server is known to the balancer in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancing {
    /// Its own ID.
    pub server_id: ServerId,
    /// Hides the ID from everybody else; `None` shows it.
    pub key: Option<BalancerKey>,
}

/// Writes server IDs into connection ids, for all workers of a server.
#[derive(Debug, Clone)]
pub(super) struct ServerIdEncoder {
    server_id: ServerId,
    cipher: Option<Cipher>,
    /// The next nonce of those that are encrypted, which makes each different.
    nonces: Arc<AtomicU64>,
}

impl ServerIdEncoder {
    pub(super) fn new(settings: &LoadBalancing) -> Result<Self, Error> {
        let cipher = settings.key.as_ref().map(Cipher::new).transpose()?;
        let nonces = Arc::new(AtomicU64::new(rand::random()));
        Ok(Self { server_id: settings.server_id.clone(), cipher, nonces })
    }

    /// Writes the first [`LENGTH`] bytes of a connection id that is random so far.
    pub(super) fn encode(&self, id: &mut [u8]) {
        let Some((first, rest)) = id.split_first_mut() else { return };
        // Its other bits are the length of what follows, at most 19.
        *first = CONFIG_ROTATION << 5 | rest.len() as u8;
        let Some(block) = rest.first_chunk_mut::<BLOCK>() else { return };
        if self.cipher.is_some() {
            let nonce = self.nonces.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            block.iter_mut().rev().zip(nonce.iter().rev()).for_each(|(to, from)| *to = *from);
        }
        block.iter_mut().zip(&self.server_id.0).for_each(|(to, from)| *to = *from);
        if let Some(cipher) = &self.cipher {
            cipher.encrypt(block);
        }
    }
}

/// AES-128, as the draft uses it.
#[derive(Debug, Clone)]
struct Cipher(Arc<EncryptingKey>);

impl Cipher {
    fn new(BalancerKey(key): &BalancerKey) -> Result<Self, Error> {
        let key = UnboundCipherKey::new(&AES_128, key).and_then(EncryptingKey::ecb);
        let key = key.map_err(|error| Error::Setting(format!("server.lb_key: {error}")))?;
        Ok(Self(Arc::new(key)))
    }

    /// Encrypts a server ID and its nonce, 5 to 19 bytes together (section 5.4).
    fn encrypt(&self, block: &mut [u8]) {
        if block.len() == AES_BLOCK {
            let encrypted = self.aes(high_bytes(block.iter()));
            block.copy_from_slice(&encrypted.to_be_bytes());
            return;
        }
        // Each side has half of the bits, at the high end of as many bytes as it takes; those of
        // the right one end with a whole byte, so that a byte in the middle is shared.
        let length = block.len();
        let bits = 4 * length;
        let bytes = length.div_ceil(2);
        let left_bits = u128::MAX << (128 - bits);
        let right_bits = left_bits >> (8 * bytes - bits);
        let mut left = high_bytes(block.iter()) & left_bits;
        let mut right = high_bytes(block.iter().skip(length - bytes)) & right_bits;
        let expand = |side, pass| side | (length as u128) << 8 | pass;
        right ^= self.aes(expand(left, 1)) & right_bits;
        left ^= self.aes(expand(right, 2)) & left_bits;
        right ^= self.aes(expand(left, 3)) & right_bits;
        left ^= self.aes(expand(right, 4)) & left_bits;
        block.fill(0);
        let halves = [(0, left), (length - bytes, right)];
        for (start, half) in halves {
            let half = half.to_be_bytes();
            block.iter_mut().skip(start).zip(half).for_each(|(to, from)| *to |= from);
        }
    }

    fn aes(&self, block: u128) -> u128 {
        let mut block = block.to_be_bytes();
        // A whole block is what ECB takes.
        let _ = self.0.encrypt(&mut block);
        u128::from_be_bytes(block)
    }
}

/// The first bytes as a number, the first of them highest.
fn high_bytes<'a>(bytes: impl Iterator<Item = &'a u8>) -> u128 {
    let mut block = [0; AES_BLOCK];
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(key: &str, server_id: &str, nonce: &str) -> Vec<u8> {
        let cipher = Cipher::new(&key.parse().unwrap()).unwrap();
        let mut block = bytes(&[server_id, nonce].concat()).unwrap();
        cipher.encrypt(&mut block);
        block
    }

    /// Appendix B.2, without the first octet, which does not depend on the key. (That of the last
    /// one there has a configuration of 0, not of 3.)
    #[test]
    fn the_vectors_of_the_draft_come_out() {
        const KEY: &str = "8f95f09245765f80256934e50c66207f";
        for (server_id, nonce, expected) in [
            ("ed793a", "ee080dbf", "20b1d07b359d3c"),
            ("ed793a51d49b8f5fab65", "ee080dbf48", "cc381bc74cb4fbad2823a3d1f8fed2"),
            ("ed793a51d49b8f5f", "ee080dbf48c0d1e5", "4dd2d05a7b0de9b2b9907afb5ecf8cc3"),
            ("ed793a51d49b8f5fab", "ee080dbf48c0d1e55d", "5779c9cc86beb3a3a4a3ca96fce4bfe0cdbc"),
        ] {
            assert_eq!(encrypted(KEY, server_id, nonce), bytes(expected).unwrap(), "{server_id}");
        }
    }

    /// Appendix B.1.
    #[test]
    fn the_vector_of_the_draft_without_a_key_comes_out() {
        let server_id = ServerId(bytes("c4605e").unwrap());
        let encoder = ServerIdEncoder::new(&LoadBalancing { server_id, key: None }).unwrap();
        let mut id = bytes("ffffffff4504cc4f").unwrap();
        encoder.encode(&mut id);
        assert_eq!(id, bytes("07c4605e4504cc4f").unwrap());
    }

    /// Section 5.4.2.3.
    #[test]
    fn the_example_of_the_draft_comes_out() {
        let key = "fdf726a9893ec05c0632d3956680baf0";
        let expected = bytes("67947d29be054a").unwrap();
        assert_eq!(encrypted(key, "31441a", "9c69c275"), expected);
    }

    #[test]
    fn a_server_id_is_shown_without_a_key_and_hidden_with_one() {
        let encode = |server_id: &str, key: Option<&str>| {
            let server_id = server_id.parse().unwrap();
            let key = key.map(|key| key.parse().unwrap());
            let encoder = ServerIdEncoder::new(&LoadBalancing { server_id, key }).unwrap();
            [[7; 16], [7; 16]].map(|mut id: [u8; 16]| {
                encoder.encode(&mut id);
                assert_eq!(id[0], 15, "the length of what follows");
                assert_eq!(id[LENGTH..], [7; 9], "the rest is not the balancer's");
                id
            })
        };
        let [shown, _] = encode("2a", None);
        assert_eq!(shown[1..LENGTH], [0x2a, 7, 7, 7, 7, 7]);
        let [shown, _] = encode("01fe", None);
        assert_eq!(shown[1..LENGTH], [0x01, 0xfe, 7, 7, 7, 7]);
        let [one, other] = encode("2a", Some("8f95f09245765f80256934e50c66207f"));
        assert!(one[1..4] != other[1..4] && one[4..7] != other[4..7], "{one:?} {other:?}");
    }

    #[test]
    fn ids_and_keys_have_their_lengths_and_keys_are_not_shown() {
        for text in ["", "a", "abc", "zz", "00000", "000000", "é", "ff "] {
            assert_eq!(text.parse::<ServerId>(), Err(ServerIdError), "{text:?}");
        }
        assert_eq!("0aFF".parse::<ServerId>().unwrap().to_string(), "0aff");
        let key = "00112233445566778899aabbccddeeff";
        for text in [&key[1..], &key[2..], "", &format!("{key}00"), &key.replace('f', "g")] {
            assert_eq!(text.parse::<BalancerKey>(), Err(BalancerKeyError), "{text:?}");
        }
        assert_eq!(format!("{:?}", key.parse::<BalancerKey>()), "Ok(BalancerKey)");
    }
}
