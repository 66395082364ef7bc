//! What is still said on the stream of a session that is over: its connection may go on.

use std::time::Duration;

use tokio::time::timeout;

use super::session_driver::Ended;
use crate::client::link::{FAREWELL, say_violation};
use crate::protocol::{CloseReason, Options, Pdu, Version};
use crate::session::client::End;
use crate::transport::{Incoming, Outgoing};

/// How long both ends of a stream may take: a few round trips of the longest paths.
const BOTH_ENDS: Duration = Duration::from_secs(5);

/// Brings a stream to its end in order. Politeness: the session is over either way.
pub(super) async fn farewell(
    ended: &Ended,
    version: Version,
    mut outgoing: Outgoing,
    incoming: Incoming,
) {
    match ended {
        Ended::Session(end) if end.is_violation() => {
            let _ = timeout(FAREWELL, say_violation(&mut outgoing, version)).await;
            return;
        }
        // The end of the server's side may take another round trip, for which nobody waits.
        Ended::Session(End::Complete | End::Closed { .. }) => {
            tokio::spawn(timeout(BOTH_ENDS, both_ends(outgoing, incoming)));
            return;
        }
        Ended::SinkFailed if !outgoing.is_finished() => {
            outgoing.queue(&Pdu::Close(CloseReason::CLIENT, Options::default()));
            outgoing.finish();
        }
        _ => {}
    }
    if outgoing.is_finished() {
        let _ = timeout(FAREWELL, outgoing.delivered()).await;
    }
}

/// Ends a stream, and waits until the server has ended it, too: one that is dropped before is reset.
async fn both_ends(mut outgoing: Outgoing, mut incoming: Incoming) {
    outgoing.finish();
    let ended = async { while let Ok(Some(_)) = incoming.frame().await {} };
    let _ = tokio::join!(outgoing.delivered(), ended);
}
