//! What is seen of a server.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::{Style as Paint, measure_text_width, truncate_str};

use super::json::Object;
use super::outbox::{self, EventSink, LogWriter};
use super::rate::Rate;
use super::screen::{Bar, Mode, Note, Row, Screen};
use super::stage::{Stage, View};
use super::text::{bit_rate, bytes, count, escape, fit, length};
use super::{Failure, Style};
use crate::config::Report;
use crate::server::{Event, Meter, Phase, Sessions};
use crate::transport::Fingerprint;

/// How many sessions have a bar of their own.
const BARS: usize = 10;
/// How often the bars are drawn, and counters are read.
const FRAME: Duration = Duration::from_millis(250);
/// How often there is a line where there are no bars.
const LINE: Duration = Duration::from_secs(1);
/// Over how long current rates are taken. Longer than it needs to be for a smooth figure, because
/// chunks are seen only as exactly as counters are read.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// The narrowest bar that still shows something.
const MIN_BAR: usize = 10;

/// Shows a server.
#[derive(Debug)]
pub struct Serve {
    stage: Stage<Told>,
    style: Style,
}

/// What is told of a server.
#[derive(Debug, Clone)]
pub enum Told {
    /// It is bound, and clients may come.
    Listening {
        /// Where.
        addr: SocketAddr,
        /// SHA-256 of its certificate.
        fingerprint: Fingerprint,
        /// What it serves, in words.
        media: String,
    },
    /// Something happened to a session.
    Session(Event),
}

impl outbox::Event for Told {
    fn is_frequent(&self) -> bool {
        false
    }
}

impl Serve {
    /// Begins to show a server whose sessions are in `sessions`.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(report: Report, sessions: Arc<Sessions>) -> io::Result<Self> {
        let style = Style::choose(report, false);
        Ok(Self { stage: Stage::start(style, Server::new(sessions))?, style })
    }

    /// Where the server's events go.
    pub fn events(&self) -> EventSink<Told> {
        self.stage.sink()
    }

    /// Where the lines of the log go, so that they appear above the bars.
    pub fn log_writer(&self) -> LogWriter<Told> {
        LogWriter::new(self.stage.sink())
    }

    /// Whether the lines of the log may have colours.
    pub fn has_colors(&self) -> bool {
        self.style.has_colors()
    }

    /// Shows how it ended.
    pub fn finish(self, failure: Option<Failure>) {
        self.stage.finish(failure);
    }
}

/// What is known of the server.
struct Server {
    sessions: Arc<Sessions>,
    /// The rates of the sessions that have a bar.
    rates: BTreeMap<u32, Rate>,
    total_rate: Rate,
    /// Nothing has happened since the last frame, and no session ran then.
    at_rest: bool,
    next_line: Instant,
}

impl Server {
    fn new(sessions: Arc<Sessions>) -> Self {
        Self {
            sessions,
            rates: BTreeMap::new(),
            total_rate: Rate::over(RATE_WINDOW),
            at_rest: false,
            next_line: Instant::now(),
        }
    }

    fn summary(&mut self, now: Instant, running: &[(u32, Arc<Meter>)]) -> Summary {
        let bytes = self.sessions.bytes();
        let streaming = running.iter().filter(|(_, meter)| meter.phase() == Phase::Streaming);
        let streaming = streaming.count() as u64;
        if streaming == 0 {
            self.total_rate.reset();
        }
        self.total_rate.note(now, bytes);
        Summary {
            running: running.len() as u64,
            streaming,
            closed: self.sessions.closed(),
            bytes,
            rate: self.total_rate.bits_per_second(now),
        }
    }

    /// The sessions that get a bar, newest first.
    fn lanes(&mut self, now: Instant, newest: &[(u32, Arc<Meter>)]) -> Vec<Lane> {
        self.rates.retain(|known, _| newest.iter().any(|(session, _)| session == known));
        let lane = |(session, meter): &(u32, Arc<Meter>)| {
            let rate = self.rates.entry(*session).or_insert_with(|| Rate::over(RATE_WINDOW));
            let phase = meter.phase();
            if phase != Phase::Streaming {
                rate.reset();
            }
            rate.note(now, meter.bytes());
            Lane {
                session: *session,
                peer: meter.peer,
                phase,
                seq: meter.seq(),
                bytes: meter.bytes(),
                total: meter.total,
                rate: rate.bits_per_second(now),
            }
        };
        newest.iter().map(lane).collect()
    }
}

impl View for Server {
    type Event = Told;

    fn json(event: &Told) -> Option<Object<'_>> {
        Some(Object::of_server(event))
    }

    fn take(&mut self, _: Instant, told: &Told, screen: &mut Screen) {
        self.at_rest = false;
        match told {
            Told::Listening { addr, fingerprint, media } => {
                for line in welcome(*addr, *fingerprint, media) {
                    screen.note(&line);
                }
            }
            Told::Session(event) => screen.note(&note(event)),
        }
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        if screen.mode() == Mode::Silent {
            return None;
        }
        let running = self.sessions.newest(usize::MAX);
        let summary = self.summary(now, &running);
        let wait = if screen.mode() == Mode::Bars {
            // indicatif leaves out what exceeds the terminal's height, and it begins at the end.
            let fitting = screen.height().saturating_sub(2).min(BARS);
            let newest = running.get(..fitting).unwrap_or(&running);
            screen.draw(rows(&self.lanes(now, newest), &summary, screen.width()));
            FRAME
        } else {
            if self.next_line <= now {
                if summary.running > 0 {
                    screen.print(summary.fields().join(", "));
                }
                self.next_line = now + LINE;
            }
            self.next_line.saturating_duration_since(now)
        };
        // An event may be told a moment before the counters show it: one more look, then rest.
        let rested = std::mem::replace(&mut self.at_rest, running.is_empty());
        (!(rested && running.is_empty())).then_some(now + wait)
    }

    fn end(&mut self, now: Instant, _: bool, screen: &mut Screen) {
        screen.draw(Vec::new());
        let running = self.sessions.newest(usize::MAX);
        let Summary { running, closed, bytes: total, .. } = self.summary(now, &running);
        let text = format!("{}, {} sent", count(running + closed, "session"), bytes(total));
        screen.note(&Note { symbol: '■', color: "cyan", name: "stopped".to_owned(), text });
    }
}

/// What people are told when the server is ready: where it is, who it is, and how to get there.
fn welcome(addr: SocketAddr, fingerprint: Fingerprint, media: &str) -> [Note; 3] {
    let host = match addr.ip() {
        // Which of this machine's addresses the other one can reach, only people know.
        ip if ip.is_unspecified() => format!("HOST:{}", addr.port()),
        _ => addr.to_string(),
    };
    let pin = fingerprint.to_string().replace(':', "").to_lowercase();
    let media = escape(media);
    [
        ('●', "listening", format!("on {addr}, serving {media}")),
        (' ', "certificate", format!("SHA-256 {fingerprint}")),
        (' ', "play with", format!("quicstream play {host} --pin {pin}")),
    ]
    .map(|(symbol, name, text)| Note { symbol, color: "cyan", name: name.to_owned(), text })
}

/// What people are told of an event.
fn note(event: &Event) -> Note {
    let (symbol, color, name, text) = match event {
        Event::Opened { session, peer, version, bitrate, rate } => {
            let pace = match *rate {
                0 => ", as fast as it goes".to_owned(),
                rate if rate == u64::from(*bitrate) => String::new(),
                rate => format!(", paced at {}", bit_rate(rate as f64)),
            };
            let (version, bitrate) = (version.number(), bit_rate((*bitrate).into()));
            let text = format!("opened by {peer}, protocol version {version}, {bitrate}{pace}");
            ('▶', "green", format!("session {session}"), text)
        }
        Event::Refused { peer, code, reason } => {
            let text = format!("{peer}: {} (OPEN_NACK {code})", escape(reason));
            ('✗', "red", "refused".to_owned(), text)
        }
        Event::Paused { session, seq } => {
            ('⏸', "yellow", format!("session {session}"), format!("paused after chunk {seq}"))
        }
        Event::Resumed { session, seq } => {
            ('▶', "green", format!("session {session}"), format!("resumed after chunk {seq}"))
        }
        Event::Closed { session, peer, reason, bytes: total, chunks, elapsed } => {
            let text = format!(
                "closed, {peer}: {}, {} in {}, {}",
                escape(reason),
                bytes(*total),
                count(*chunks, "chunk"),
                length(*elapsed),
            );
            ('■', "cyan", format!("session {session}"), text)
        }
    };
    Note { symbol, color, name, text }
}

/// All sessions at one moment.
struct Summary {
    running: u64,
    streaming: u64,
    closed: u64,
    bytes: u64,
    rate: Option<f64>,
}

impl Summary {
    /// Most important first.
    fn fields(&self) -> Vec<String> {
        let mut fields =
            vec![count(self.running, "session"), format!("{} streaming", self.streaming)];
        fields.extend(self.rate.map(bit_rate));
        fields.push(self.past());
        fields
    }

    /// What has been done since the start.
    fn past(&self) -> String {
        format!("{} sent, {} closed", bytes(self.bytes), count(self.closed, "session"))
    }
}

/// One session at one moment.
struct Lane {
    session: u32,
    peer: SocketAddr,
    phase: Phase,
    seq: u32,
    bytes: u64,
    total: u64,
    rate: Option<f64>,
}

/// The rows of bars mode: the sessions, then the sum.
fn rows(lanes: &[Lane], summary: &Summary, width: usize) -> Vec<Row> {
    let digits = lanes.iter().map(|lane| lane.session.to_string().len()).max().unwrap_or_default();
    let names: Vec<_> = lanes.iter().map(|lane| name(lane, digits, width)).collect();
    let longest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or_default();
    let lanes = lanes.iter().zip(names).map(|(lane, name)| lane_row(lane, &name, longest, width));
    lanes.chain([summary_row(summary, width)]).collect()
}

/// The session's number and peer; an address too long for a third of the row is cut.
fn name(lane: &Lane, digits: usize, width: usize) -> String {
    let name = format!("{:>digits$} {}", lane.session, lane.peer);
    truncate_str(&name, (width / 3).max(12), "…").into_owned()
}

/// A row that is a session. All of them drop the same fields, so that bars stay below each other.
fn lane_row(lane: &Lane, name: &str, longest: usize, width: usize) -> Row {
    let (symbol, word, color) = match lane.phase {
        Phase::Streaming => ('▶', "", "green"),
        Phase::Paused => ('⏸', "paused", "yellow"),
        Phase::Closing => ('■', "closing", "cyan"),
    };
    let pace = match lane.rate {
        Some(rate) if lane.phase == Phase::Streaming => bit_rate(rate),
        _ => word.to_owned(),
    };
    let fields = [
        format!("{:>4}", format!("{}%", percent(lane.bytes, lane.total))),
        format!("{pace:>10}"),
        format!("{:>8}", bytes(lane.bytes)),
        format!("chunk {:<6}", lane.seq),
    ];
    let taken = 2 + longest + 1 + MIN_BAR + 1;
    let symbol = Paint::from_dotted_str(color).apply_to(symbol);
    let left = format!("{symbol} {name}{} ", " ".repeat(longest - measure_text_width(name)));
    let right = fit(&fields, "  ", width.saturating_sub(taken));
    if taken > width {
        return Row::text(&left, width);
    }
    let bar = Bar { done: lane.bytes, total: lane.total, color };
    Row { left, bar: Some(bar), right: format!(" {right}") }
}

fn percent(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 100,
        whole => (part as f64 / whole as f64 * 100.0).min(100.0) as u64,
    }
}

/// The row that is the sum of all sessions.
fn summary_row(summary: &Summary, width: usize) -> Row {
    let (symbol, color, fields) = match summary.running {
        0 => ('◌', "cyan", vec!["waiting for clients".to_owned(), summary.past()]),
        _ => ('●', "green", summary.fields()),
    };
    let symbol = Paint::from_dotted_str(color).apply_to(symbol);
    let text = fit(&fields, " · ", width.saturating_sub(2));
    Row::text(&format!("{symbol} {text}"), width)
}
