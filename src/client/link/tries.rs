//! Tries to get a session back, several of them beside each other.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::open::Request;
use super::{Link, Opened};
use crate::client::Error;
use crate::transport;

/// The least and the most time between two tries that are made beside each other.
const BETWEEN_TRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The time between two tries, as a part of the time that all of them took so far: the clients of
/// a server that is away for long must not all come in the second that it comes back.
const TRIES_SLOW_DOWN: u32 = 20;

/// How many tries are made beside each other: enough for a path whose round trip is longer than
/// the time between them.
const MAX_TRIES: usize = 3;

/// Tries to go on with a session over a new connection, several of them beside each other where
/// the server is silent: a try whose first packets fall into an outage waits for seconds after its
/// end.
#[derive(Debug)]
pub(in crate::client) struct Tries {
    link: Link,
    running: JoinSet<Result<Opened, Error>>,
    oldest_first: VecDeque<AbortHandle>,
    /// When the first of them was started: what is there was lost before.
    began: Instant,
}

impl Tries {
    pub(in crate::client) fn new(link: Link) -> Self {
        Self { link, running: JoinSet::new(), oldest_first: VecDeque::new(), began: Instant::now() }
    }

    pub(in crate::client) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Starts one more; the oldest gives way where there are too many.
    pub(in crate::client) fn start(&mut self, request: Request) {
        if self.oldest_first.len() == MAX_TRIES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        if self.is_empty() {
            self.began = Instant::now();
        }
        let started = self.running.spawn(self.link.clone().resume(request, self.began));
        self.oldest_first.push_back(started);
    }

    /// Gives all of them up.
    pub(in crate::client) fn give_up(&mut self) {
        if !self.is_empty() {
            self.running = JoinSet::new();
            self.oldest_first.clear();
        }
    }

    /// The first to succeed or to fail; the others are given up. Waits for ever where there are
    /// none.
    pub(in crate::client) async fn first(&mut self) -> Result<Opened, Error> {
        while let Some(tried) = self.running.join_next().await {
            // One that gave way has nothing to say.
            if let Ok(tried) = tried {
                self.give_up();
                return tried;
            }
        }
        std::future::pending().await
    }

    /// Starts one, and one more each second, later less often, until one succeeds or fails;
    /// `answer_within` for all of them.
    pub(in crate::client) async fn run(
        &mut self,
        request: &Request,
        answer_within: Duration,
    ) -> Result<Opened, Error> {
        let began = Instant::now();
        let [least, most] = BETWEEN_TRIES;
        loop {
            self.start(request.clone());
            let next = Instant::now() + (began.elapsed() / TRIES_SLOW_DOWN).clamp(least, most);
            match timeout_at(next.min(began + answer_within), self.first()).await {
                Ok(tried) => return tried,
                Err(_) if began.elapsed() < answer_within => {}
                Err(_) => {
                    let server = self.link.server();
                    return Err(transport::Error::NoAnswer { server, after: answer_within }.into());
                }
            }
        }
    }
}
