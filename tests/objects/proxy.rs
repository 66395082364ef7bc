//! What stands between a server and its store: it counts, and makes trouble.

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::http::Message;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    Answered,
    /// Answered by the proxy, with this status.
    Refused(u16),
    /// The answer is cut after so many bytes of its body.
    Cut(usize),
    /// The answer has this pause before every 64 KiB of its body.
    Slow(Duration),
    /// It waits until the gate is open.
    Held(Arc<Gate>),
}

/// A gate that is closed at first, and tells who comes to it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// How many have come, and whether it is open.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, open)| !*open).unwrap());
    }

    /// Waits until somebody waits here.
    pub(crate) fn wait_for_one(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |(came, _)| *came == 0).unwrap());
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

/// A request that was made, and what it brought.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// The bytes that it asks for.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) if_match: Option<String>,
    /// How many of this method and path, for the same bytes, came before it.
    pub(crate) before: usize,
    /// Bytes of its answer that were sent, of the body.
    pub(crate) sent: usize,
}

impl Request {
    /// Of an object, and not of a list or of a digest.
    pub(crate) fn is_media(&self) -> bool {
        self.method == "GET" && !self.path.contains('?') && !self.path.ends_with("-blake3")
    }

    pub(crate) fn is_list(&self) -> bool {
        self.method == "GET" && self.path.contains("list-type=2")
    }
}

type Rule = Box<dyn Fn(&Request) -> Fate + Send>;

/// A proxy in front of a store.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    pub(crate) port: u16,
}

struct Shared {
    store: u16,
    requests: Mutex<Vec<Request>>,
    rule: Mutex<Rule>,
}

impl Proxy {
    /// In front of the store on this port.
    pub(crate) fn start(store: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule: Rule = Box::new(|_| Fate::Answered);
        let shared = Shared { store, requests: Mutex::default(), rule: Mutex::new(rule) };
        let shared = Arc::new(shared);
        let serving = shared.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let shared = serving.clone();
                thread::spawn(move || shared.serve(&connection.unwrap()));
            }
        });
        Self { shared, port }
    }

    /// What becomes of requests from now on.
    pub(crate) fn rule(&self, rule: impl Fn(&Request) -> Fate + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// The requests of this kind so far.
    pub(crate) fn requests(&self, kind: impl Fn(&Request) -> bool) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|request| kind(request)).cloned().collect()
    }
}

impl Shared {
    fn serve(&self, connection: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection);
        loop {
            let message = Message::read(&mut reader, false).ok()??;
            let (index, request) = self.note(&message);
            let fate = self.rule.lock().unwrap()(&request);
            if let Fate::Refused(status) = fate {
                let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
                (&*connection).write_all(answer.as_bytes()).ok()?;
                continue;
            }
            if let Fate::Held(gate) = &fate {
                gate.pass();
            }
            let answer = message.ask(self.store);
            (&*connection).write_all(answer.head().as_bytes()).ok()?;
            let most = if let Fate::Cut(most) = fate { most } else { usize::MAX };
            for piece in answer.body[..answer.body.len().min(most)].chunks(64 * 1024) {
                if let Fate::Slow(pause) = fate {
                    thread::sleep(pause);
                }
                (&*connection).write_all(piece).ok()?;
                self.requests.lock().unwrap()[index].sent += piece.len();
            }
            if most < answer.body.len() {
                return connection.shutdown(Shutdown::Both).ok();
            }
        }
    }

    fn note(&self, message: &Message) -> (usize, Request) {
        let mut requests = self.requests.lock().unwrap();
        let mut words = message.start.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let range = message.header("range").map(|range| {
            let (start, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            (start.parse().unwrap(), last.parse::<u64>().unwrap() + 1)
        });
        let same =
            |other: &&Request| (&other.method, &other.path, other.range) == (&method, &path, range);
        let request = Request {
            before: requests.iter().filter(same).count(),
            if_match: message.header("if-match").map(str::to_owned),
            method,
            path,
            range,
            sent: 0,
        };
        requests.push(request.clone());
        (requests.len() - 1, request)
    }
}
