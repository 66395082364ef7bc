//! From a name to a connection.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::transport::{Address, Connection, Connector, Error, Fingerprint};

/// How long an address has the field to itself before the next one of a name is tried beside it
/// (RFC 8305 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// How long a server has the field to itself before the next one is tried beside it. One that says
/// that it is not there makes room at once.
const TURN: Duration = Duration::from_secs(1);

/// Connects to the first of several servers that answers, in turn, and returns which it is; expects
/// `name` in its certificate, or its own.
///
/// # Errors
/// None answered within `answer_within`; of several failures that of the server that got furthest.
pub(super) async fn dial(
    connector: &Arc<Connector>,
    servers: Vec<Address>,
    name: Option<&str>,
    answer_within: Duration,
) -> Result<(Address, Connection, Fingerprint), Error> {
    let deadline = Instant::now() + answer_within;
    let mut servers = servers.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = Failure::default();
    loop {
        if let Some(server) = servers.next() {
            let name = name.unwrap_or(server.certificate_name()).to_owned();
            let left = deadline.saturating_duration_since(Instant::now());
            let connector = connector.clone();
            attempts.spawn(async move {
                let (connection, fingerprint) = dial_one(&connector, &server, &name, left).await?;
                Ok((server, connection, fingerprint))
            });
        }
        let turn = if servers.len() > 0 { TURN } else { Duration::MAX };
        match timeout(turn, attempts.join_next()).await {
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err(error)))) => failure.note(error),
            Ok(None) => return Err(failure.0.unwrap_or(Error::Closed)),
            // It is the next one's turn, or one has panicked, which was said.
            Err(_) | Ok(Some(Err(_))) => {}
        }
    }
}

/// The failure of the attempt that got furthest.
#[derive(Default)]
struct Failure(Option<Error>);

impl Failure {
    fn note(&mut self, error: Error) {
        if self.0.as_ref().is_none_or(|failure| failure.reached() < error.reached()) {
            self.0 = Some(error);
        }
    }
}

/// Connects to the first address of a name that answers, and expects `certificate_name` in its
/// certificate.
///
/// # Errors
/// The name has no address, or no address answered within `answer_within`, which the name server's
/// answer counts into; of several failures that of the address that got furthest.
async fn dial_one(
    connector: &Arc<Connector>,
    server: &Address,
    certificate_name: &str,
    answer_within: Duration,
) -> Result<(Connection, Fingerprint), Error> {
    let deadline = Instant::now() + answer_within;
    let resolve_error = |source| Error::Resolve { host: server.host.clone(), source };
    let no_answer = || {
        let seconds = answer_within.as_secs_f64();
        let text = format!(
            "the name server did not answer within {seconds:.1} s; --connect-timeout waits longer"
        );
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    let addresses = timeout_at(deadline, resolve(server)).await;
    let addresses = addresses.unwrap_or_else(|_| Err(no_answer())).map_err(resolve_error)?;

    let mut attempts = JoinSet::new();
    for (position, address) in (0..).zip(addresses) {
        let (connector, name) = (connector.clone(), certificate_name.to_owned());
        attempts.spawn(async move {
            sleep(HEAD_START * position).await;
            connector.connect(address, &name).await
        });
    }
    let mut failure = Failure::default();
    loop {
        match timeout_at(deadline, attempts.join_next()).await {
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err(error)))) => failure.note(error),
            Ok(Some(Err(_))) => {}
            Ok(None) => break,
            Err(_) => {
                failure.note(Error::NoAnswer { server: server.to_string(), after: answer_within });
                break;
            }
        }
    }
    Err(failure.0.unwrap_or_else(|| resolve_error(io::ErrorKind::NotFound.into())))
}

/// How many questions to name servers are under way at most. Each has a thread for as long as the
/// system's resolver takes.
const MOST_QUESTIONS: usize = 8;

/// The addresses of a server. The system's resolver blocks, for longer than anybody waits where a
/// name server is silent, so it has a thread of its own that nobody joins.
async fn resolve(server: &Address) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = server.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, server.port)]);
    }
    static QUESTIONS: Semaphore = Semaphore::const_new(MOST_QUESTIONS);
    let turn = QUESTIONS.acquire().await.map_err(io::Error::other)?;
    let (answer, answered) = oneshot::channel();
    let (host, port) = (server.host.clone(), server.port);
    thread::Builder::new().name("resolver".into()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody waits any more where the time was up.
        let _ = answer.send(addresses);
        drop(turn);
    })?;
    answered.await.unwrap_or_else(|_| Err(io::Error::other("the resolver's thread died")))
}
