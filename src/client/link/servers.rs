//! The servers that a link may lead to.

use std::fmt;

use tokio::time::Instant;

use crate::transport::Address;

/// How many that servers named are remembered, beside those that the user gave.
const MOST_LEARNED: usize = 16;

/// Servers that have the same titles, and which of them is in use.
#[derive(Debug)]
pub(super) struct Servers {
    /// Those that the user gave, and then those that servers named.
    known: Vec<Address>,
    given: usize,
    /// Which of them is tried first.
    current: usize,
    /// How many in turn have sent the client away.
    passed: usize,
    /// When the last of them was passed over, and whether there was one after it to ask.
    moved: Option<(Instant, bool)>,
}

impl Servers {
    pub(super) fn new(given: Vec<Address>) -> Self {
        Self { given: given.len(), known: given, current: 0, passed: 0, moved: None }
    }

    /// All of them, the one that is in use first.
    pub(super) fn in_turn(&self) -> Vec<Address> {
        let all = self.known.iter().cloned().cycle();
        all.skip(self.current).take(self.known.len()).collect()
    }

    /// Has the one that answered in use.
    pub(super) fn prefer(&mut self, server: &Address) {
        // It may have been forgotten meanwhile.
        if let Some(at) = self.known.iter().position(|known| known == server) {
            self.current = at;
        }
    }

    /// Notes that media comes from the one in use: not all of them send the client away.
    pub(super) fn note_progress(&mut self) {
        self.passed = 0;
        self.moved.take_if(|(_, is_fresh)| !*is_fresh);
    }

    /// Takes in what a server says of others: HOST:PORT, separated by commas. What is none is left
    /// out, and of very many the newest are kept.
    pub(super) fn learn(&mut self, others: &str) {
        for address in others.split(',').filter_map(|other| other.trim().parse().ok()) {
            if self.known.contains(&address) {
                continue;
            }
            if self.known.len() == self.given + MOST_LEARNED {
                self.known.remove(self.given);
                if self.current > self.given {
                    self.current -= 1;
                }
            }
            self.known.push(address);
        }
    }

    /// Whether there was one to ask after the last that was passed over, if that was since then.
    pub(super) fn moved_since(&self, time: Instant) -> Option<bool> {
        self.moved.filter(|(moved_at, _)| *moved_at > time).map(|(_, is_fresh)| is_fresh)
    }

    /// Goes to the next one, after the one in use has sent the client away. Returns false where all
    /// of them have.
    pub(super) fn pass_over(&mut self) -> bool {
        self.passed += 1;
        self.current = (self.current + 1) % self.known.len().max(1);
        let is_fresh = self.passed < self.known.len();
        self.moved = Some((Instant::now(), is_fresh));
        if !is_fresh {
            self.passed = 0;
        }
        is_fresh
    }
}

impl fmt::Display for Servers {
    /// The one that is in use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known.get(self.current).map_or(Ok(()), |current| current.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(given: &[&str]) -> Servers {
        Servers::new(given.iter().map(|server| server.parse().unwrap()).collect())
    }

    fn in_turn(servers: &Servers) -> Vec<String> {
        servers.in_turn().iter().map(Address::to_string).collect()
    }

    #[test]
    fn each_is_tried_once_before_the_client_waits() {
        let mut servers = servers(&["a:1", "b:2"]);
        servers.learn("c:3, b:2,nonsense,d:0,[::1]:4");
        assert_eq!(in_turn(&servers), ["a:1", "b:2", "c:3", "[::1]:4"]);
        let passed: Vec<_> = (0..5).map(|_| servers.pass_over()).collect();
        assert_eq!(passed, [true, true, true, false, true]);
        servers.prefer(&"c:3".parse().unwrap());
        assert_eq!(
            (in_turn(&servers), servers.to_string()),
            (["c:3", "[::1]:4", "a:1", "b:2"].map(String::from).to_vec(), "c:3".to_owned())
        );
    }

    #[test]
    fn servers_that_name_very_many_are_not_believed_for_ever() {
        let mut servers = servers(&["a:1"]);
        (0..1_000).for_each(|port| servers.learn(&format!("x:{}", port + 1)));
        assert_eq!(servers.in_turn().len(), 1 + MOST_LEARNED);
        assert_eq!(in_turn(&servers)[0], "a:1");
    }

    #[test]
    fn the_one_in_use_stays_in_use_when_an_older_one_is_forgotten() {
        let mut servers = servers(&["a:1"]);
        (0..MOST_LEARNED).for_each(|port| servers.learn(&format!("x:{}", port + 1)));
        servers.prefer(&"x:5".parse().unwrap());
        servers.learn("y:1");
        assert_eq!(in_turn(&servers)[0], "x:5");
    }

    #[test]
    fn who_asked_before_another_has_gone_on_goes_with_it() {
        let mut servers = servers(&["a:1", "b:2"]);
        let asked_at = Instant::now();
        assert_eq!(servers.moved_since(asked_at), None);
        assert!(servers.pass_over());
        assert_eq!(servers.moved_since(asked_at), Some(true));
        assert_eq!(servers.moved_since(Instant::now()), None);
        assert!(!servers.pass_over());
        assert_eq!(servers.moved_since(asked_at), Some(false), "all of them have sent it away");
        servers.note_progress();
        assert_eq!(servers.moved_since(asked_at), None);
    }
}
