//! Telling a client at once that its connection is gone.

use std::convert::Infallible;

use aws_lc_rs::hmac;
use s2n_quic::provider::stateless_reset_token::{Generator, Provider};
use s2n_quic_core::stateless_reset::Token;

use super::Identity;

/// Makes the tokens of stateless resets (RFC 9000, section 10.3) from the server's private key.
/// A server that was restarted makes the same ones, and so can tell the clients of its
/// predecessor to connect anew instead of leaving them to their timers.
#[derive(Debug)]
pub(super) struct ResetTokens(hmac::Key);

impl ResetTokens {
    pub(super) fn new(identity: &Identity) -> Self {
        // The private key never leaves this function: tokens come from a key derived from it.
        let secret = hmac::Key::new(hmac::HMAC_SHA256, identity.key.secret_der());
        let derived = hmac::sign(&secret, b"quicstream stateless reset");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
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
    fn generate(&mut self, local_connection_id: &[u8]) -> Token {
        let tag = hmac::sign(&self.0, local_connection_id);
        let mut token = Token::ZEROED;
        token.as_mut().iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        token
    }
}
