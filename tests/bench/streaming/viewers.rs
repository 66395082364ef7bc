//! Thousands of viewers at once: quicstream against a bare loop that sends the same.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::Scale;
use crate::content::Content;
use crate::generator::{self, Plan};
use crate::site::{SOON, Serving, Site, number};
use crate::table::{Table, Target};

const RATE: u64 = 500_000;
const CHUNK_TIME: Duration = Duration::from_micros(1_048_576);

/// What a server may keep beside its sessions, bytes: `server.cache`.
const CACHE: f64 = 32.0 * 1024.0 * 1024.0;

/// What a server took to serve them.
struct Load {
    /// Of a core, while all of them watched.
    cpu: f64,
    /// Resident memory for each, bytes.
    each: f64,
    /// What the host took of both cores meanwhile, of one core.
    stolen: f64,
    done: Value,
}

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    // When the last has begun, all watch for the window, and the first must not be done before.
    let window = scale.watch;
    let spread = CHUNK_TIME * scale.spread;
    let size = ((window + spread + CHUNK_TIME * 2).as_secs_f64() * RATE as f64 / 8.0) as u64;
    let film = site.path("film.mp4");
    Content { title: 0, dense: Content::DENSE }.write(&film, size);
    let films = site.path("films");
    fs::create_dir(&films).unwrap();
    for index in 0..scale.viewers {
        let content = Content { title: index as u64, dense: Content::SPARSE };
        content.write(&films.join(generator::title(index)), size);
    }
    let plan = |server: &Serving, many_titles| Plan {
        server: server.address,
        viewers: scale.viewers,
        many_titles,
        size,
        rate: RATE,
        spread,
        paused: false,
        window,
    };
    let serve = |media: &Path| site.serve(media, 1500, &[]);
    for round in 1..=scale.viewer_rounds {
        let name = |who| format!("{who}, {} viewers, round {round}", scale.viewers);
        let server = site.serve_bare("bare-paced", &["1500", "film.mp4", &RATE.to_string()]);
        let bare = load(site, &server, &plan(&server, false));
        drop(server);
        report(table, &name("bare loop"), scale, &bare, None, 0.0);
        let server = serve(&film);
        let one = load(site, &server, &plan(&server, false));
        drop(server);
        report(table, &name("one title"), scale, &one, Some(&bare), 0.0);
        let server = serve(&films);
        let many = load(site, &server, &plan(&server, true));
        drop(server);
        report(table, &name("a title each"), scale, &many, Some(&bare), CACHE);
    }
    fs::remove_dir_all(films).unwrap();
}

/// Sessions that are open and silent.
pub(crate) fn run_paused(site: &Site, scale: &Scale, table: &mut Table) {
    let size = 1 << 20;
    let film = site.path("paused.mp4");
    Content { title: 0, dense: Content::DENSE }.write(&film, size);
    let server = site.serve(&film, 1500, &[]);
    let plan = Plan {
        server: server.address,
        viewers: scale.paused,
        many_titles: false,
        size,
        rate: RATE,
        spread: CHUNK_TIME,
        paused: true,
        window: scale.pause_watch,
    };
    let paused = load(site, &server, &plan);
    let name = format!("{} paused sessions", scale.paused);
    let cpu = vec![paused.cpu * 100.0];
    table.row(&format!("{name}: CPU"), "% of a core", cpu, Target::AtMost(3.0));
    let each = vec![paused.each / 1e3];
    table.row(&format!("{name}: memory"), "KB each", each, Target::AtMost(40.0));
}

fn load(site: &Site, server: &Serving, plan: &Plan) -> Load {
    let process = &server.process;
    let empty = process.resident();
    let plan_text = serde_json::to_string(plan).unwrap();
    let viewers = site.start_client(&site.role("generate", &[&plan_text]));
    viewers.event("connected", SOON * 6);
    viewers.event("opened", SOON * 2);
    let before = process.cpu();
    let stolen = stolen();
    viewers.event("window", plan.window + SOON);
    let busy = process.cpu() - before;
    let stolen = self::stolen().saturating_sub(stolen);
    let each = process.resident().saturating_sub(empty) as f64 / plan.viewers as f64;
    let (_, done) = viewers.event("done", SOON * 2);
    let of_core = |time: Duration| time.as_secs_f64() / plan.window.as_secs_f64();
    Load { cpu: of_core(busy), each, stolen: of_core(stolen), done }
}

fn report(
    table: &mut Table,
    name: &str,
    scale: &Scale,
    load: &Load,
    bare: Option<&Load>,
    cache: f64,
) {
    let done = |field| number(&load.done, field);
    let target = |target| if bare.is_some() { target } else { Target::None };
    let complete = done("complete") / scale.viewers as f64;
    let row = format!("{name}: complete, every byte right");
    table.row(&row, "of all", vec![complete], target(Target::AtLeast(1.0)));
    if let Some(trouble) = load.done["first_trouble"].as_str() {
        table.note(&format!("{name}: {} in trouble, such as: {trouble}", done("troubles")));
    }
    let late = done("late") / done("chunks") * 100.0;
    let row = format!("{name}: more than 100 ms late");
    table.row(&row, "% of chunks", vec![late], target(Target::AtMost(0.1)));
    let lateness = vec![done("p50"), done("p999"), done("max")];
    table.row(&format!("{name}: lateness (p50, p99.9, max)"), "ms", lateness, Target::None);
    let stolen = vec![load.stolen * 100.0];
    table.row(&format!("{name}: taken by the host"), "% of a core", stolen, Target::None);
    let opening = vec![done("opening")];
    table.row(&format!("{name}: slowest OPEN_ACK"), "ms", opening, Target::None);
    table.row(&format!("{name}: CPU"), "% of a core", vec![load.cpu * 100.0], Target::None);
    let each = vec![load.each / 1e3];
    let most = 40.0 + cache / scale.viewers as f64 / 1e3;
    table.row(&format!("{name}: memory"), "KB each", each, target(Target::AtMost(most.round())));
    if let Some(bare) = bare {
        let ratio = vec![load.cpu / bare.cpu];
        table.row(&format!("{name}: CPU"), "of bare", ratio, Target::AtMost(1.15));
    }
}

/// The time of all cores that the host of a virtual machine has spent on others so far.
fn stolen() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().nth(8).and_then(|ticks| ticks.parse().ok());
    Duration::from_millis(10) * ticks.unwrap_or(0)
}
