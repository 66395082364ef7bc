//! How quicstream compares to what lies beneath it: the real binary against bare s2n-quic, in turn.
//!
//! ```text
//! cargo bench --bench streaming                     everything, under twenty minutes
//! cargo bench --bench streaming -- --quick          smaller, within 60 s
//! cargo bench --bench streaming -- bulk pause       only these groups
//! cargo bench --bench streaming -- --once           one round, of viewers for 20 s
//! cargo bench --bench streaming -- --peers          and a quinn copy, and nginx to curl
//! cargo bench --bench streaming -- workers          servers with several workers: only when named
//! cargo bench --bench streaming --features object-store -- objects
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement that meets what it does not expect has failed"
)]

mod bare;
mod bulk;
mod content;
mod generator;
mod icecast;
mod live;
mod live_viewers;
#[cfg(feature = "object-store")]
mod objects;
mod pause;
mod peers;
mod process;
mod quinn_copy;
mod relay;
mod session;
mod site;
mod startup;
mod table;
mod viewers;
mod workers;

use std::io::Write;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use site::{Machine, Site};
use table::Table;

/// How large and how often.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// Rounds of bulk.
    pub(crate) rounds: usize,
    /// Bytes of bulk.
    pub(crate) bulk: u64,
    /// Rounds of viewers.
    pub(crate) viewer_rounds: usize,
    pub(crate) viewers: usize,
    /// Viewers of one broadcast: each gets a chunk a dozen times a second.
    pub(crate) live_viewers: usize,
    /// Viewers of servers with several workers.
    pub(crate) crowds: &'static [usize],
    /// Within how many chunks they begin, not to be all due at once.
    pub(crate) spread: u32,
    /// How long they all watch.
    pub(crate) watch: Duration,
    /// Sessions that are paused.
    pub(crate) paused: usize,
    /// How long they are looked at.
    pub(crate) pause_watch: Duration,
    /// Files in a directory that is served.
    pub(crate) titles: usize,
    /// How often to pause, of each kind.
    pub(crate) pauses: usize,
}

impl Scale {
    const QUICK: Self = Self {
        quick: true,
        rounds: 2,
        bulk: 256 << 20,
        viewer_rounds: 1,
        viewers: 500,
        live_viewers: 500,
        crowds: &[500],
        spread: 1,
        watch: Duration::from_secs(2),
        paused: 500,
        pause_watch: Duration::from_secs(3),
        titles: 10_000,
        pauses: 1,
    };
    const FULL: Self = Self {
        quick: false,
        rounds: 5,
        bulk: 4 << 30,
        viewer_rounds: 3,
        viewers: 6000,
        live_viewers: 1500,
        crowds: &[9000, 12_000],
        spread: 4,
        watch: Duration::from_secs(60),
        paused: 2000,
        pause_watch: Duration::from_secs(10),
        titles: 100_000,
        pauses: 5,
    };

    fn once(self) -> Self {
        Self { rounds: 1, viewer_rounds: 1, watch: self.watch.min(Duration::from_secs(20)), ..self }
    }
}

type Group = (&'static str, fn(&Site, &Scale, &mut Table));

const GROUPS: &[Group] = &[
    ("bulk", bulk::run),
    ("viewers", viewers::run),
    ("paused", viewers::run_paused),
    ("live", live::run),
    ("startup", startup::run),
    ("pause", pause::run),
    #[cfg(feature = "object-store")]
    ("objects", objects::run),
];

/// Run only where they are named: they take the machine for long.
const EXTRA_GROUPS: &[Group] = &[("workers", workers::run)];

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    if let [role, root, rest @ ..] = &args[..]
        && !role.starts_with('-')
        && play_role(role, &Site::at(root), rest)
    {
        return;
    }
    // `cargo test --all-targets` runs this too, where nothing is to be timed.
    if !args.contains(&"--bench") {
        return;
    }
    let scale = if args.contains(&"--quick") { Scale::QUICK } else { Scale::FULL };
    let scale = if args.contains(&"--once") { scale.once() } else { scale };
    let wanted: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    raise_limit();
    let site = Site::new();
    let mut table = Table::default();
    let machine = Machine::new();
    let usual = GROUPS.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(&name));
    let extra = EXTRA_GROUPS.iter().filter(|(name, _)| wanted.contains(&name));
    for (name, run) in usual.chain(extra) {
        eprintln!("{name} ...");
        run(&site, &scale, &mut table);
    }
    if args.contains(&"--peers") {
        peers::run(&site, &scale, &mut table);
    }
    println!("\n{}\n\n{table}", machine.description());
}

/// Does what a child process of the bench is there for; `false` if there is no such role.
fn play_role(role: &str, site: &Site, args: &[&str]) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let number = |index: usize| args[index].parse().unwrap();
    let mtu = args.first().and_then(|mtu| mtu.parse().ok()).unwrap_or(1500);
    match role {
        "bare-bulk" => runtime.block_on(bare::serve_bulk(site, mtu, args[1].as_ref())),
        "bare-memory" => runtime.block_on(bare::serve_memory(site, mtu, number(1))),
        "bare-fetch" => {
            let (server, output) = (args[1].parse().unwrap(), args.get(2).copied());
            runtime.block_on(bare::fetch(&site.cert(), mtu, server, output));
        }
        "quinn-bulk" => runtime.block_on(quinn_copy::serve(site, mtu, args[1].as_ref())),
        "quinn-fetch" => {
            runtime.block_on(quinn_copy::fetch(&site.cert(), mtu, args[1].parse().unwrap()));
        }
        "bare-paced" => {
            runtime.block_on(bare::serve_paced(site, mtu, &site.path(args[1]), number(2)));
        }
        "generate" => {
            runtime.block_on(generator::run(site, serde_json::from_str(args[0]).unwrap()));
        }
        "generate-live" => {
            raise_limit();
            runtime.block_on(live_viewers::run(site, serde_json::from_str(args[0]).unwrap()));
        }
        #[cfg(feature = "object-store")]
        "bare-object" => runtime.block_on(objects::copy(args[0])),
        #[cfg(feature = "object-store")]
        "put-object" => runtime.block_on(objects::put(&site.path(args[0]), args[1])),
        "probe-pause" => {
            let (server, before) = (args[0].parse().unwrap(), Duration::from_millis(number(2)));
            runtime.block_on(pause::watch(site, server, number(1), before)).unwrap();
        }
        _ => return false,
    }
    true
}

/// Allows as many descriptors as may be had.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Tells the parent process something, as a line.
pub(crate) fn say(event: &Value) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{event}").unwrap();
    stdout.flush().unwrap();
}
