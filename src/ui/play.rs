//! What is seen of a session that plays.

use std::io;
use std::time::{Duration, Instant};

use console::{Style as Paint, measure_text_width};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::json::Object;
use super::keys::{self, Key, Keys};
use super::outbox::{self, EventSink, LogWriter};
use super::rate::Rate;
use super::screen::{Mode, Note, Row, Screen};
use super::stage::{Stage, View};
use super::text::{bit_rate, bytes, clock, count, escape, fit, length, mean_rate, round_trip};
use super::{Failure, Style};
use crate::client::{Event, Phase, Snapshot};
use crate::config::Report;
use crate::session::client::Cause;

/// How often the bars are drawn while chunks come.
const FRAME: Duration = Duration::from_millis(100);
/// How often while nothing moves but the clock.
const SLOW_FRAME: Duration = Duration::from_millis(500);
/// How often there is a line where there are no bars.
const LINE: Duration = Duration::from_secs(1);
/// Over how long the current rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// The fewest cells that still make a strip.
const MIN_CELLS: usize = 8;

/// Shows a session that plays, and reads the keys that steer it.
#[derive(Debug)]
pub struct Play {
    stage: Stage<Event>,
    style: Style,
    keys: Option<(Keys, Option<UnboundedReceiver<Key>>)>,
}

impl Play {
    /// Begins to show the session whose newest state is in `snapshot`. Where media owns stdout,
    /// JSON goes to stderr, and the keys are left to the player at the other end of the pipe.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(
        report: Report,
        media_on_stdout: bool,
        snapshot: watch::Receiver<Snapshot>,
    ) -> io::Result<Self> {
        let style = Style::choose(report, media_on_stdout);
        let keys = if media_on_stdout { None } else { keys::listen() };
        let stage = Stage::start(style, Session::new(snapshot, keys.is_some()))?;
        Ok(Self { stage, style, keys: keys.map(|(guard, keys)| (guard, Some(keys))) })
    }

    /// Where the session's events go.
    pub fn events(&self) -> EventSink<Event> {
        self.stage.sink()
    }

    /// Where the lines of the log go, so that they appear above the bars.
    pub fn log_writer(&self) -> LogWriter<Event> {
        LogWriter::new(self.stage.sink())
    }

    /// Whether the lines of the log may have colours.
    pub fn has_colors(&self) -> bool {
        self.style.has_colors()
    }

    /// The keys that are pressed from now on, where a person sits at a terminal. Once.
    pub fn take_keys(&mut self) -> Option<UnboundedReceiver<Key>> {
        self.keys.as_mut().and_then(|(_, keys)| keys.take())
    }

    /// Shows how it ended, and gives the terminal back.
    pub fn finish(self, failure: Option<Failure>) {
        drop(self.keys);
        self.stage.finish(failure);
    }
}

impl outbox::Event for Event {
    fn is_frequent(&self) -> bool {
        matches!(self, Self::Chunk { .. })
    }
}

/// What is known of the session.
struct Session {
    snapshot: watch::Receiver<Snapshot>,
    keys: bool,
    rate: Rate,
    began: Instant,
    /// When it was over, and the mean rate if it ended as it should.
    ended: Option<(Instant, Option<f64>)>,
    next_line: Instant,
}

impl Session {
    fn new(snapshot: watch::Receiver<Snapshot>, keys: bool) -> Self {
        let now = Instant::now();
        let rate = Rate::over(RATE_WINDOW);
        Self { snapshot, keys, rate, began: now, ended: None, next_line: now }
    }

    fn moment(&self, now: Instant, failed: bool) -> Moment {
        let snapshot = *self.snapshot.borrow();
        let rate = match (self.ended, snapshot.phase) {
            (Some((_, mean)), _) => mean,
            (None, Phase::Streaming) => self.rate.bits_per_second(now),
            (None, _) => None,
        };
        let until = self.ended.map_or(now, |(at, _)| at);
        Moment {
            look: look(snapshot.phase, failed),
            snapshot,
            rate,
            elapsed: until.saturating_duration_since(self.began),
            keys: self.keys && self.ended.is_none(),
        }
    }
}

impl View for Session {
    type Event = Event;

    fn json(event: &Event) -> Option<Object<'_>> {
        Object::of_client(event)
    }

    fn take(&mut self, at: Instant, event: &Event, screen: &mut Screen) {
        match event {
            Event::Chunk { total, .. } => self.rate.note(at, *total),
            Event::Paused { .. } | Event::Resumed { .. } => self.rate.reset(),
            Event::Closed { bytes, elapsed, .. } => {
                self.ended = Some((at, Some(mean_rate(*bytes, *elapsed))));
            }
            Event::Connected { .. } | Event::Requested(_) | Event::Accepted { .. } => {}
        }
        if let Some(note) = note(event) {
            screen.note(&note);
        }
    }

    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant> {
        let moment = self.moment(now, false);
        let phase = moment.snapshot.phase;
        match screen.mode() {
            Mode::Silent => None,
            Mode::Bars => {
                screen.draw(rows(&moment, screen.width()));
                let moving = matches!(phase, Phase::Connecting | Phase::Streaming);
                Some(now + if moving { FRAME } else { SLOW_FRAME })
            }
            Mode::Plain => {
                if self.next_line <= now {
                    if phase == Phase::Streaming && moment.snapshot.seq > 0 {
                        screen.print(line(&moment));
                    }
                    self.next_line = now + LINE;
                }
                Some(self.next_line)
            }
        }
    }

    fn end(&mut self, now: Instant, failed: bool, screen: &mut Screen) {
        self.ended.get_or_insert((now, None));
        let moment = self.moment(now, failed);
        // An empty strip would say no more than the error does.
        let worth_leaving = screen.mode() == Mode::Bars && moment.snapshot.seq > 0;
        screen.draw(match worth_leaving {
            true => rows(&moment, screen.width()),
            false => Vec::new(),
        });
    }
}

/// What people are told of an event, if anything.
fn note(event: &Event) -> Option<Note> {
    let (symbol, color, name, text) = match event {
        Event::Connected { server, version, fingerprint } => {
            let short: String = fingerprint.to_string().chars().take("3F:A2:9C:11".len()).collect();
            let version = version.number();
            let text = format!("to {server}, protocol version {version}, certificate {short}…");
            ('●', "cyan", "connected", text)
        }
        Event::Requested(open) => {
            let rates: Vec<_> = open.bitrates.iter().map(|rate| bit_rate((*rate).into())).collect();
            let wanted = [open.codec.as_str(), open.profile.as_str()].map(escape).join(" ");
            ('→', "cyan", "OPEN_STREAM", format!("{wanted}, {}", rates.join(" or ")))
        }
        Event::Accepted { session, ack } => {
            let rate = bit_rate(ack.bitrate.into());
            let chunk = bytes(ack.max_chunk_size.into());
            let (keepalive, timeout) = (ack.keepalive, ack.session_timeout);
            let text = format!(
                "session {session}, {rate}, {chunk} chunks, keepalive {keepalive} s, timeout {timeout} s"
            );
            ('←', "cyan", "OPEN_ACK", text)
        }
        Event::Chunk { .. } => return None,
        Event::Paused { seq, cause } => {
            let cause = match cause {
                Cause::User => "by you",
                Cause::Script(_) => "by the script",
                Cause::Sink => "because the player takes nothing",
            };
            ('⏸', "yellow", "PAUSE_STREAM", format!("after chunk {seq}, {cause}"))
        }
        Event::Resumed { after, .. } => {
            ('▶', "green", "RESUME_STREAM", format!("after {}", length(*after)))
        }
        Event::Closed { reason, complete, bytes: total, chunks, elapsed } => {
            let text = format!(
                "{}, {} in {}, {}, {}",
                escape(reason),
                bytes(*total),
                count(*chunks, "chunk"),
                length(*elapsed),
                bit_rate(mean_rate(*total, *elapsed)),
            );
            ('■', if *complete { "green" } else { "yellow" }, "CLOSE_STREAM", text)
        }
    };
    Some(Note { symbol, color, name: name.to_owned(), text })
}

/// The session at one moment.
struct Moment {
    look: Look,
    snapshot: Snapshot,
    rate: Option<f64>,
    elapsed: Duration,
    keys: bool,
}

/// How a state looks.
struct Look {
    symbol: char,
    label: &'static str,
    color: &'static str,
}

fn look(phase: Phase, failed: bool) -> Look {
    let (symbol, label, color) = match phase {
        _ if failed => ('✗', "failed", "red"),
        Phase::Connecting => ('◌', "connecting", "cyan"),
        Phase::Streaming => ('▶', "streaming", "green"),
        Phase::Paused => ('⏸', "paused", "yellow"),
        Phase::WaitingForSink => ('◷', "waiting for the player", "magenta"),
        Phase::Closed => ('■', "closed", "green"),
    };
    Look { symbol, label, color }
}

/// The two rows of bars mode.
fn rows(moment: &Moment, width: usize) -> Vec<Row> {
    vec![Row::text(&strip_row(moment, width), width), Row::text(&figures_row(moment, width), width)]
}

/// The state, the chunks as they arrive, and how fast.
fn strip_row(moment: &Moment, width: usize) -> String {
    let Look { symbol, label, color } = moment.look;
    // Wide enough for the longest of the usual states, so that the strip stays where it is.
    let state = format!("{symbol} {label:<10}");
    let room = width.saturating_sub(measure_text_width(&state) + MIN_CELLS + 4);
    let rate = moment.rate.map(bit_rate).unwrap_or_default();
    let right = fit(&[format!("{rate:>10}"), format!("{:>5}", clock(moment.elapsed))], "  ", room);
    let taken = measure_text_width(&state) + measure_text_width(&right) + 4;
    let cells = strip(moment.snapshot.seq, width.saturating_sub(taken), color);
    let state = Paint::from_dotted_str(color).bold().apply_to(state);
    format!("{state}  {cells}  {right}")
}

/// One cell for each chunk, the newest one bright. At the right end it begins again at the left,
/// over the cells of the round before, from which a gap keeps it apart.
fn strip(seq: u32, width: usize, color: &str) -> String {
    let paint = Paint::from_dotted_str(color);
    let chunks = seq as usize;
    let Some(before) = chunks.checked_sub(1).and_then(|last| last.checked_rem(width)) else {
        return Paint::new().dim().apply_to("▱".repeat(width)).to_string();
    };
    let after = width - before - 1;
    let behind = match chunks > width {
        true => ["▱", &"▰".repeat(after)].concat().chars().take(after).collect(),
        false => "▱".repeat(after),
    };
    let bright = paint.clone().bright().bold().apply_to("▰");
    format!(
        "{}{bright}{}",
        paint.apply_to("▰".repeat(before)),
        paint.clone().dim().apply_to(behind)
    )
}

/// The figures, and the keys at the right.
fn figures_row(moment: &Moment, width: usize) -> String {
    let mut fields = figures(moment).to_vec();
    let width = width.saturating_sub(2);
    let figures = fit(&fields, " · ", width);
    let hint = match moment.snapshot.phase {
        _ if !moment.keys => "",
        Phase::Paused => "space resumes · q quits",
        _ => "space pauses · q quits",
    };
    let free = width.saturating_sub(measure_text_width(&figures) + 2);
    let hint = fit(&[hint.to_owned()], "", free);
    if moment.snapshot.bitrate > 0 {
        fields.push(format!("agreed {}", bit_rate(moment.snapshot.bitrate.into())));
    }
    let room = width.saturating_sub(measure_text_width(&hint) + 2);
    let figures = fit(&fields, " · ", room);
    let gap =
        " ".repeat(width.saturating_sub(measure_text_width(&figures) + measure_text_width(&hint)));
    format!("  {figures}{gap}{}", Paint::new().dim().apply_to(hint))
}

/// Chunks, bytes, and how the path is; most important first.
fn figures(moment: &Moment) -> [String; 4] {
    let Snapshot { seq, bytes: total, rtt, lost_packets, .. } = moment.snapshot;
    let rtt = rtt.map_or_else(|| "–".to_owned(), round_trip);
    [format!("chunk {seq}"), bytes(total), format!("rtt {rtt}"), format!("lost {lost_packets}")]
}

/// The line that plain mode prints once a second.
fn line(moment: &Moment) -> String {
    let [chunk, bytes, rtt, lost] = figures(moment);
    let rate = moment.rate.map(|rate| format!(", {}", bit_rate(rate))).unwrap_or_default();
    format!("{} {chunk}, {bytes}{rate}, {rtt}, {lost}", moment.look.label)
}
