//! From how it ended to the exit code that scripts rely on.

use crate::protocol::{CloseReason, NackCode};
use crate::session::client::End;
use crate::{client, config, transport};

/// Done: the media is complete, or the user or the player's pipe ended it.
pub const DONE: u8 = 0;
/// Any failure without a code of its own.
pub const FAILURE: u8 = 1;
/// Usage or configuration.
pub const USAGE: u8 = 2;
/// The server refused, with OPEN_NACK.
pub const REFUSED: u8 = 3;
/// Unreachable, timed out, or the connection was lost.
pub const UNREACHABLE: u8 = 4;
/// TLS: certificate not trusted, pin mismatch, no common ALPN.
pub const UNTRUSTED: u8 = 5;
/// What arrived is incomplete or wrong.
pub const INCOMPLETE: u8 = 6;
/// SIGINT before the media was complete: 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;

/// The code for a failure: that of the first error in its chain that has one.
pub fn code(error: &anyhow::Error) -> u8 {
    let code = |cause: &(dyn std::error::Error + 'static)| {
        let missing = |error| matches!(error, &transport::CertificateError::Missing { .. });
        if cause.is::<config::Error>() || cause.downcast_ref().is_some_and(missing) {
            Some(USAGE)
        } else if let Some(error) = cause.downcast_ref::<client::Error>() {
            Some(of_client(error))
        } else {
            cause.downcast_ref::<transport::Error>().map(of_transport)
        }
    };
    error.chain().find_map(code).unwrap_or(FAILURE)
}

fn of_client(error: &client::Error) -> u8 {
    match error {
        client::Error::Transport(error) => of_transport(error),
        client::Error::Session(end) => of_end(end),
        client::Error::Unverifiable { .. }
        | client::Error::Unverified(_)
        | client::Error::Sink(client::SinkError::Digest)
        | client::Error::CannotContinue
        | client::Error::PartsMissing
        | client::Error::EndlessCatalogue => INCOMPLETE,
        client::Error::Sink(_)
        | client::Error::NeedsVersion2(_)
        | client::Error::NoSize
        | client::Error::OneName { .. } => FAILURE,
        client::Error::Pattern(_) => USAGE,
        client::Error::TitleNeeded(_) => USAGE,
        client::Error::NoSuchTitle { .. } => REFUSED,
        client::Error::NoAnswer { .. }
        | client::Error::BrokenOff(_)
        | client::Error::NoProgress(_) => UNREACHABLE,
        client::Error::Partial { cause, .. } => match &**cause {
            // What follows the part that is there cannot be had any more.
            client::Error::Session(End::Refused { code, .. })
                if *code == NackCode::NotKept as u16 =>
            {
                INCOMPLETE
            }
            cause => of_client(cause),
        },
    }
}

fn of_end(end: &End) -> u8 {
    match end {
        End::Complete | End::Stopped => DONE,
        End::Refused { code, .. } if *code == NackCode::MediaChanged as u16 => INCOMPLETE,
        End::Refused { .. } => REFUSED,
        End::Closed { reason: CloseReason::MEDIA | CloseReason::BEHIND, .. } => INCOMPLETE,
        End::Closed { reason: CloseReason::VIOLATION, .. } => FAILURE,
        End::Closed { reason: CloseReason::NOT_AUTHORISED, .. } => REFUSED,
        End::Closed { .. } => UNREACHABLE,
        End::NoAnswer(_) | End::Stalled(_) | End::Timeout(_) => UNREACHABLE,
        End::Violation(_) | End::Discontinuity(_) | End::Cut => INCOMPLETE,
    }
}

fn of_transport(error: &transport::Error) -> u8 {
    use transport::{Error, TrustError};
    match error {
        Error::Bind { .. } | Error::Steering { .. } | Error::Setting(_) => FAILURE,
        Error::Tls(TrustError::File { .. } | TrustError::Name(_) | TrustError::KeyMismatch) => {
            USAGE
        }
        Error::Tls(_) | Error::Untrusted(_) | Error::NoCommonProtocol | Error::Handshake(_) => {
            UNTRUSTED
        }
        Error::Resolve { .. }
        | Error::Socket { .. }
        | Error::NoAnswer { .. }
        | Error::ConnectionRefused
        | Error::Reset(_)
        | Error::Closed
        | Error::ClosedWithError(_)
        | Error::Idle
        | Error::Lost(_) => UNREACHABLE,
    }
}
