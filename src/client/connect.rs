//! From a name to a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::transport::{Address, Connection, Connector, Error, Fingerprint};

/// How long an address has the field to itself before the next one of a name is tried beside it
/// (RFC 8305 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address of a name that answers, and expects `certificate_name` in its
/// certificate.
///
/// # Errors
/// The name has no address, or no address answered within `patience`; of several failures the
/// first one that says more than silence.
pub(super) async fn connect(
    connector: &Arc<Connector>,
    server: &Address,
    certificate_name: &str,
    patience: Duration,
) -> Result<(Connection, Fingerprint), Error> {
    let resolve_error = |source| Error::Resolve { host: server.host.clone(), source };
    let addresses: Vec<SocketAddr> =
        lookup_host((server.host.as_str(), server.port)).await.map_err(resolve_error)?.collect();

    let mut attempts = JoinSet::new();
    for (position, address) in (0..).zip(addresses) {
        let (connector, name) = (connector.clone(), certificate_name.to_owned());
        attempts.spawn(async move {
            sleep(HEAD_START * position).await;
            connector.connect(address, &name).await
        });
    }
    let mut failure = None;
    let first = async {
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(connected)) => return Some(connected),
                Ok(Err(error)) => {
                    failure.get_or_insert(error);
                }
                Err(_) => {}
            }
        }
        None
    };
    let first = timeout(patience, first).await.ok().flatten();
    first.ok_or_else(|| {
        failure.unwrap_or(Error::NoAnswer { server: server.to_string(), after: patience })
    })
}
