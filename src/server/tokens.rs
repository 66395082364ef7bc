//! Who may watch what.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;

use super::admission::Occupant;
use crate::media::Entry;

/// A right to watch.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is called in logs, events and metrics.
    pub name: String,
    /// SHA-256 of its secret.
    pub sha256: [u8; 32],
    /// How the titles begin that it is good for; `None` is all.
    pub titles: Option<Vec<String>>,
    /// From when on it is not valid.
    pub expires: Option<SystemTime>,
    /// How many connections may have a session with it at once.
    pub max_sessions: Option<usize>,
    /// The most that each of its connections is sent, bit/s.
    pub max_rate: Option<u64>,
}

// The hash of a short secret is as good as the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Token {
    /// SHA-256 of a secret.
    pub fn hash(secret: &[u8]) -> [u8; 32] {
        digest(&SHA256, secret).as_ref().try_into().unwrap_or_default()
    }

    /// Returns true if it is good for `title`.
    pub fn allows(&self, title: &str) -> bool {
        let begins = |titles: &Vec<String>| titles.iter().any(|begin| title.starts_with(begin));
        self.titles.as_ref().is_none_or(begins)
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// All tokens of a server. They can be replaced while it runs.
#[derive(Debug)]
pub struct Tokens {
    known: watch::Sender<Vec<Arc<Token>>>,
    connections: Arc<Mutex<Connections>>,
    next_place: AtomicU64,
}

impl Tokens {
    /// These tokens, each with a name of its own.
    pub fn new(tokens: Vec<Token>) -> Self {
        let tokens = tokens.into_iter().map(Arc::new).collect();
        Self {
            known: watch::Sender::new(tokens),
            connections: Arc::default(),
            next_place: AtomicU64::new(0),
        }
    }

    /// Replaces all tokens. Sessions of those that are gone end, and of those that are not good for
    /// their title any more.
    pub fn replace(&self, tokens: Vec<Token>) {
        self.known.send_replace(tokens.into_iter().map(Arc::new).collect());
    }

    /// Has sessions look at their tokens if one has expired between two times.
    pub(super) fn expire(&self, since: SystemTime, now: SystemTime) {
        let expired = |token: &Arc<Token>| token.is_valid(since) && !token.is_valid(now);
        self.known.send_if_modified(|tokens| tokens.iter().any(expired));
    }

    /// Returns the token with this secret, if there is a valid one. All are compared, and in
    /// constant time.
    pub(super) fn find(&self, secret: &[u8], now: SystemTime) -> Option<Arc<Token>> {
        let hash = Token::hash(secret);
        let mut found = None;
        for token in &*self.known.borrow() {
            if verify_slices_are_equal(&token.sha256, &hash).is_ok() {
                found = Some(token.clone());
            }
        }
        found.filter(|token| token.is_valid(now))
    }

    /// Returns true if a session of `title` that `token` was good for may go on.
    pub(super) fn still_allows(&self, token: &Token, title: &str, now: SystemTime) -> bool {
        let same = |known: &Arc<Token>| known.name == token.name && known.sha256 == token.sha256;
        let known = self.known.borrow().iter().find(|known| same(known)).cloned();
        known.is_some_and(|known| known.is_valid(now) && known.allows(title))
    }

    /// Takes a connection into the count of its token; at `max_sessions`, in the place of one whose
    /// client is silent. `None` if there is none.
    pub(super) fn permit(&self, token: &Arc<Token>, occupant: Occupant) -> Option<TokenPermit> {
        let mut connections = lock(&self.connections);
        let of_token = connections.entry(token.name.clone()).or_default();
        if token.max_sessions.is_some_and(|most| of_token.len() >= most) {
            let is_silent = |(_, occupant): &(u64, Occupant)| occupant.connection.is_silent();
            let (_, silent) = of_token.swap_remove(of_token.iter().position(is_silent)?);
            silent.replaced.cancel();
        }
        let place = self.next_place.fetch_add(1, Ordering::Relaxed);
        of_token.push((place, occupant));
        let (name, connections) = (token.name.clone(), self.connections.clone());
        Some(TokenPermit { name, place, connections })
    }
}

/// Connections that have a session, by the name of their token.
type Connections = HashMap<String, Vec<(u64, Occupant)>>;

/// Tells when to ask [`Tokens::still_allows`]: tokens were replaced or have expired.
#[derive(Debug)]
pub(super) struct TokenChanges(Option<watch::Receiver<Vec<Arc<Token>>>>);

impl TokenChanges {
    /// Those of the tokens of a server, if it has any.
    pub(super) fn of(tokens: Option<&Tokens>) -> Self {
        Self(tokens.map(|tokens| tokens.known.subscribe()))
    }

    /// Waits for the next.
    pub(super) async fn next(&mut self) {
        let changed = match &mut self.0 {
            Some(known) => known.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            pending().await
        }
    }
}

/// A connection with a session, in the count of its token until this is dropped.
#[derive(Debug)]
pub(super) struct TokenPermit {
    name: String,
    place: u64,
    connections: Arc<Mutex<Connections>>,
}

impl TokenPermit {
    pub(super) fn is_of(&self, token: &Token) -> bool {
        self.name == token.name
    }
}

impl Drop for TokenPermit {
    fn drop(&mut self) {
        let mut connections = lock(&self.connections);
        if let Some(of_token) = connections.get_mut(&self.name) {
            of_token.retain(|(place, _)| *place != self.place);
            if of_token.is_empty() {
                connections.remove(&self.name);
            }
        }
    }
}

fn lock(connections: &Mutex<Connections>) -> MutexGuard<'_, Connections> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a client may do.
#[derive(Debug, Clone)]
pub(super) enum Access {
    /// There are no tokens.
    Everything,
    /// What its token is good for.
    Token(Arc<Token>),
}

impl Access {
    pub(super) fn allows(&self, title: &str) -> bool {
        self.token().is_none_or(|token| token.allows(title))
    }

    pub(super) fn token(&self) -> Option<&Arc<Token>> {
        match self {
            Self::Everything => None,
            Self::Token(token) => Some(token),
        }
    }

    /// The part of a catalogue that the client may see.
    pub(super) fn of_catalogue(&self, entries: Arc<[Entry]>) -> Arc<[Entry]> {
        match self.token() {
            None => entries,
            Some(token) => {
                entries.iter().filter(|entry| token.allows(&entry.title)).cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::server::admission::Liveness;

    #[derive(Debug)]
    struct Client(AtomicBool);

    impl Liveness for Client {
        fn is_silent(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn lost_packets(&self) -> u64 {
            0
        }
    }

    fn token(name: &str, secret: &str) -> Token {
        Token {
            name: name.into(),
            sha256: Token::hash(secret.as_bytes()),
            titles: None,
            expires: None,
            max_sessions: None,
            max_rate: None,
        }
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_token_is_known_by_its_secret_while_it_is_valid() {
        let expires = Some(NOW + Duration::from_secs(1));
        let tokens = Tokens::new(vec![token("a", "one"), Token { expires, ..token("b", "two") }]);
        let name = |secret: &str, now| Some(tokens.find(secret.as_bytes(), now)?.name.clone());
        assert_eq!(name("one", NOW).as_deref(), Some("a"));
        assert_eq!(name("two", NOW).as_deref(), Some("b"));
        assert_eq!(name("two", NOW + Duration::from_secs(1)), None);
        assert_eq!(name("", NOW), None);
        assert_eq!(name("on", NOW), None);
    }

    #[test]
    fn titles_are_allowed_by_their_beginning() {
        let titles = Some(vec!["films/".into(), "cam.ts".into()]);
        let token = Token { titles, ..token("a", "one") };
        for (title, allowed) in
            [("films/a.mp4", true), ("cam.ts", true), ("films", false), ("a.mp4", false)]
        {
            assert_eq!(token.allows(title), allowed, "{title}");
        }
    }

    #[tokio::test]
    async fn sessions_hear_of_a_token_that_is_gone_or_expires() {
        let later = NOW + Duration::from_secs(1);
        let tokens = Tokens::new(vec![
            token("kept", "one"),
            token("removed", "two"),
            Token { expires: Some(later), ..token("expires", "three") },
        ]);
        let [kept, removed, expiring] =
            ["one", "two", "three"].map(|secret| tokens.find(secret.as_bytes(), NOW).unwrap());
        let mut changes = TokenChanges::of(Some(&tokens));
        tokens.expire(NOW, NOW + Duration::from_millis(999));
        tokens.expire(NOW, later);
        changes.next().await;
        assert!(!tokens.still_allows(&expiring, "a", later));
        assert!(tokens.still_allows(&removed, "a", later));

        let films = Some(vec!["films/".into()]);
        tokens.replace(vec![Token { titles: films, ..token("kept", "one") }]);
        changes.next().await;
        assert!(!tokens.still_allows(&removed, "a", NOW));
        assert!(tokens.still_allows(&kept, "films/a", NOW));
        assert!(!tokens.still_allows(&kept, "a", NOW), "not good for its title any more");
        tokens.replace(vec![token("kept", "another secret")]);
        assert!(!tokens.still_allows(&kept, "films/a", NOW));
    }

    #[test]
    fn a_token_has_so_many_connections() {
        let tokens = Tokens::new(vec![Token { max_sessions: Some(2), ..token("a", "one") }]);
        let a = tokens.find(b"one", NOW).unwrap();
        let occupant = || {
            let replaced = CancellationToken::new();
            Occupant { connection: Arc::new(Client(AtomicBool::new(false))), replaced }
        };
        let permits = [(); 2].map(|()| tokens.permit(&a, occupant()).unwrap());
        assert!(tokens.permit(&a, occupant()).is_none());
        drop(permits);
        let silent = Arc::new(Client(AtomicBool::new(true)));
        let replaced = CancellationToken::new();
        let old = Occupant { connection: silent, replaced: replaced.clone() };
        let _old = tokens.permit(&a, old).unwrap();
        let _other = tokens.permit(&a, occupant()).unwrap();
        let _new = tokens.permit(&a, occupant()).expect("the place of the silent one");
        assert!(replaced.is_cancelled());
        drop((_old, _other, _new));
        assert!(lock(&tokens.connections).is_empty());
    }

    #[test]
    fn nothing_of_the_secret_is_shown() {
        let shown = format!("{:?}", Tokens::new(vec![token("a", "one")]));
        let hash = format!("{:?}", Token::hash(b"one"));
        assert!(shown.contains("\"a\"") && !shown.contains("one\""), "{shown}");
        assert!(!shown.contains(&hash), "{shown}");
    }
}
