//! Thousands of viewers of one broadcast, beside as many of a file and of Icecast; how soon the
//! first byte is there, and how late each is behind its producer.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use crate::Scale;
use crate::content::Content;
use crate::generator::Plan;
use crate::icecast::Icecast;
use crate::live_viewers::LivePlan;
use crate::process::Process;
use crate::relay::Relay;
use crate::site::{SOON, Serving, Site, number};
use crate::table::{Table, Target};
use crate::viewers;

const RATE: u64 = 500_000;

/// What a producer writes at a time, bytes: 20 ms of it.
pub(crate) const PIECE: usize = 1_250;
const PIECE_TIME: Duration = Duration::from_millis(20);

/// How a piece ends: this, and when it was written, in nanoseconds since the Unix epoch. What comes
/// before is known from its place.
pub(crate) const MARK: [u8; 8] = *b"\xf1written";
pub(crate) const TAIL: usize = MARK.len() + 8;

/// What a chunk of a broadcast has, bytes: 20 ms of it for up to 500 viewers, 80 ms of it from 1,000
/// on.
fn chunk(viewers: usize) -> u64 {
    (PIECE + 3 * PIECE * viewers.saturating_sub(500).min(500) / 500) as u64
}

/// How long it is watched how one viewer holds up the others, which takes many rounds.
const STALLED_WATCH: Duration = Duration::from_secs(8);

/// Writes to a sink at the rate until it is dropped.
pub(crate) struct Producer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Producer {
    pub(crate) fn start(mut sink: impl Write + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let content = Content { title: 0, dense: Content::DENSE };
        let produce = move || {
            let began = Instant::now();
            let mut place = 0;
            for number in 0_u32.. {
                let due = began + PIECE_TIME * number;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let mut piece = content.bytes(place, PIECE - TAIL);
                piece.extend(MARK);
                piece.extend(now().to_le_bytes());
                if stopped.load(Ordering::Relaxed) || sink.write_all(&piece).is_err() {
                    return;
                }
                place += PIECE as u64;
            }
        };
        Self { stop, thread: Some(thread::spawn(produce)) }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64
}

/// What a server took to serve a broadcast.
struct Load {
    /// Of a core.
    cpu: f64,
    /// Resident memory for each, bytes.
    each: f64,
    done: Value,
}

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    let viewers = scale.live_viewers;
    let (mut file, mut live) = (Vec::new(), Vec::new());
    for _ in 0..scale.viewer_rounds {
        file.push(of_a_file(site, scale, viewers));
        live.push(of_a_broadcast(site, scale.watch, viewers, 0));
    }
    let chunk = chunk(viewers);
    let name = format!("{viewers} viewers of one broadcast");
    let cpu = file.iter().map(|cpu| cpu * 100.0).collect();
    let of_file = format!("{viewers} viewers of a file, in chunks of {chunk} bytes: CPU");
    table.row(&of_file, "% of a core", cpu, Target::None);
    report(table, &name, viewers, &live, true);
    let ratios = live.iter().zip(&file).map(|(live, file)| live.cpu / file).collect();
    table.row(&format!("{name}: CPU"), "of the file", ratios, Target::AtMost(1.15));

    match Icecast::is_installed() {
        false => table.note("Icecast: skipped, it is not installed"),
        true => {
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..scale.viewer_rounds {
                theirs.push(of_icecast(site, scale, viewers));
                ours.push(of_a_broadcast(site, scale.watch, viewers, 0));
            }
            let listeners = format!("{viewers} listeners of Icecast, without TLS");
            report(table, &listeners, viewers, &theirs, false);
            report(table, &format!("{name}, beside Icecast"), viewers, &ours, false);
        }
    }
    one_stalled(site, scale, table);
    alone(site, table, Duration::ZERO);
    alone(site, table, Duration::from_millis(100));
}

fn report(table: &mut Table, name: &str, viewers: usize, loads: &[Load], judged: bool) {
    for load in loads {
        if let Some(trouble) = load.done["first_trouble"].as_str() {
            let troubles = number(&load.done, "troubles");
            table.note(&format!("{name}: {troubles} in trouble, such as: {trouble}"));
        }
    }
    let target = |target| if judged { target } else { Target::None };
    let column = |value: &dyn Fn(&Load) -> f64| loads.iter().map(value).collect::<Vec<_>>();
    let complete = column(&|load| number(&load.done, "complete") / viewers as f64);
    table.row(
        &format!("{name}: served to the end"),
        "of all",
        complete,
        target(Target::AtLeast(1.0)),
    );
    let late = column(&|load| number(&load.done, "p999"));
    let row = format!("{name}: behind the producer's write, 999 in 1000, at most");
    table.row(&row, "ms", late, target(Target::AtMost(150.0)));
    let each = column(&|load| load.each / 1e3);
    table.row(&format!("{name}: memory"), "KB each", each, target(Target::AtMost(40.0)));
    let cpu = column(&|load| load.cpu * 100.0);
    table.row(&format!("{name}: CPU"), "% of a core", cpu, Target::None);
}

/// The share of a core that a file takes which is sent in chunks of the same size.
fn of_a_file(site: &Site, scale: &Scale, viewers: usize) -> f64 {
    let size = ((scale.watch.as_secs_f64() + 8.0) * RATE as f64 / 8.0) as u64;
    let film = site.path("live-film.mp4");
    Content { title: 0, dense: Content::DENSE }.write(&film, size);
    let server = site.serve(&film, 1500, &["--chunk-size", &chunk(viewers).to_string()]);
    let plan = Plan {
        server: server.address,
        viewers,
        many_titles: false,
        size,
        rate: RATE,
        spread: Duration::from_secs(4),
        paused: false,
        window: scale.watch,
        gso: true,
    };
    viewers::load(site, &server, &plan).cpu
}

/// A server of a broadcast, its producer, and its FIFO.
fn broadcast(site: &Site) -> (Serving, Producer) {
    let fifo = fifo(site);
    let live = format!("live.bin={}", fifo.display());
    let server = site.serve_live(&["--live", &live, "--live-linger", "0"]);
    let file = File::options().write(true).open(&fifo).unwrap();
    (server, Producer::start(file))
}

fn fifo(site: &Site) -> PathBuf {
    let fifo = site.path("fifo");
    if !Path::new(&fifo).exists() {
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    }
    fifo
}

/// What one viewer costs the others that reads nothing.
fn one_stalled(site: &Site, scale: &Scale, table: &mut Table) {
    let viewers = scale.live_viewers * 2 / 3;
    let watch = scale.watch.min(STALLED_WATCH);
    let (mut later, mut larger) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let none = of_a_broadcast(site, watch, viewers, 0);
        let one = of_a_broadcast(site, watch, viewers, 1);
        later.push(number(&one.done, "median") / number(&none.done, "median"));
        larger.push(one.each / none.each);
    }
    let name = format!("{viewers} viewers of one broadcast, one of them stalled");
    let row = format!("{name}: how late half of the others are");
    table.row(&row, "of without", later, Target::AtMost(1.05));
    table.row(&format!("{name}: memory"), "of without", larger, Target::AtMost(1.05));
}

fn of_a_broadcast(site: &Site, window: Duration, viewers: usize, stalled: usize) -> Load {
    let (server, producer) = broadcast(site);
    let plan = LivePlan { server: server.address, viewers, stalled, window, http: false };
    load(site, &server.process, &plan, producer)
}

fn of_icecast(site: &Site, scale: &Scale, viewers: usize) -> Load {
    let icecast = Icecast::start(site, viewers);
    let producer = Producer::start(icecast.source());
    let plan =
        LivePlan { server: icecast.address, viewers, stalled: 0, window: scale.watch, http: true };
    load(site, &icecast.process, &plan, producer)
}

fn load(site: &Site, process: &Process, plan: &LivePlan, producer: Producer) -> Load {
    let empty = process.resident();
    let plan_text = serde_json::to_string(plan).unwrap();
    let viewers = site.start_client(&site.role("generate-live", &[&plan_text]));
    viewers.event("opened", SOON * 8);
    let before = process.cpu();
    viewers.event("window", plan.window + SOON);
    let busy = process.cpu() - before;
    let each = process.resident().saturating_sub(empty) as f64 / plan.viewers as f64;
    drop(producer);
    let (_, done) = viewers.event("done", SOON * 2);
    Load { cpu: busy.as_secs_f64() / plan.window.as_secs_f64(), each, done }
}

/// One viewer, over a round trip of so long.
fn alone(site: &Site, table: &mut Table, round_trip: Duration) {
    let (server, producer) = broadcast(site);
    let relay = (!round_trip.is_zero()).then(|| Relay::start(server.address, 0, round_trip));
    let address: SocketAddr = relay.as_ref().map_or(server.address, |relay| relay.address);
    let window = Duration::from_secs(3);
    let plan = LivePlan { server: address, viewers: 1, stalled: 0, window, http: false };
    let Load { done, .. } = load(site, &server.process, &plan, producer);
    let trip = round_trip.as_millis();
    let row = format!("one viewer, round trip {trip} ms: OPEN_STREAM to the first byte");
    let most = Target::AtMost(trip as f64 + 20.0);
    table.row(&row, "ms", vec![number(&done, "first_byte")], most);
    let row =
        format!("one viewer, round trip {trip} ms: behind the producer's write, half of them");
    table.row(&row, "ms", vec![number(&done, "median")], Target::None);
}
