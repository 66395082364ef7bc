//! Thousands of viewers of a server with two workers, beside one with one. All share all cores.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::Scale;
use crate::content::Content;
use crate::generator::Plan;
use crate::site::{SOON, Site, number};
use crate::table::{Table, Target};
use crate::viewers::{CHUNK_TIME, RATE};

/// How many processes the viewers are in.
const GENERATORS: usize = 2;

/// What a server took to serve them.
struct Load {
    /// CPU for a handshake.
    handshake: Duration,
    /// Of a core, while all watched: each thread.
    threads: BTreeMap<String, f64>,
    /// What each process of viewers has to say.
    done: Vec<Value>,
}

impl Load {
    fn cpu(&self) -> f64 {
        self.threads.values().sum()
    }

    fn sum(&self, field: &str) -> f64 {
        self.done.iter().map(|done| number(done, field)).sum()
    }
}

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    let site = site.unpinned();
    for viewers in scale.crowds {
        let mut loads = [Vec::new(), Vec::new()];
        for _ in 0..scale.viewer_rounds {
            for (loads, workers) in loads.iter_mut().zip(["1", "2"]) {
                loads.push(load(&site, scale, *viewers, workers));
            }
        }
        for (loads, workers) in loads.iter().zip(["1 worker", "2 workers"]) {
            report(table, &format!("{viewers} viewers, {workers}"), *viewers, loads);
        }
        let [one, two] = &loads;
        let ratios = two.iter().zip(one).map(|(two, one)| two.cpu() / one.cpu()).collect();
        let row = format!("{viewers} viewers, 2 workers: CPU");
        table.row(&row, "of 1 worker", ratios, Target::AtMost(1.1));
    }
}

fn load(site: &Site, scale: &Scale, viewers: usize, workers: &str) -> Load {
    let spread = CHUNK_TIME * scale.spread;
    // When the last has begun, all watch for the window, and the first must not be done before.
    let time = scale.watch + spread + CHUNK_TIME * 4;
    let size = (time.as_secs_f64() * RATE as f64 / 8.0) as u64;
    let film = site.path("crowd.mp4");
    Content { title: 0, dense: Content::DENSE }.write(&film, size);
    let server = site.serve(&film, 1500, &["--workers", workers]);
    let plan = Plan {
        server: server.address,
        viewers: viewers / GENERATORS,
        many_titles: false,
        size,
        rate: RATE,
        spread,
        paused: false,
        gso: false,
        window: scale.watch,
    };
    let plan_text = serde_json::to_string(&plan).unwrap();
    let generate = || site.start_client(&site.role("generate", &[&plan_text]));
    let before = server.process.cpu();
    let generators: Vec<_> = (0..GENERATORS).map(|_| generate()).collect();
    generators.iter().for_each(|viewers| drop(viewers.event("connected", SOON * 12)));
    let handshake = (server.process.cpu() - before) / viewers as u32;
    generators.iter().for_each(|viewers| drop(viewers.event("opened", SOON * 4)));
    let before = server.process.threads();
    generators.iter().for_each(|viewers| drop(viewers.event("window", plan.window + SOON)));
    let busy = |(name, after): (String, Duration)| {
        let before = before.get(&name).copied().unwrap_or_default();
        (name, (after - before).as_secs_f64() / plan.window.as_secs_f64())
    };
    let threads = server.process.threads().into_iter().map(busy).collect();
    let done = generators.iter().map(|viewers| viewers.event("done", SOON * 4).1).collect();
    Load { handshake, threads, done }
}

fn report(table: &mut Table, name: &str, viewers: usize, loads: &[Load]) {
    let column = |value: &dyn Fn(&Load) -> f64| loads.iter().map(value).collect::<Vec<_>>();
    for done in loads.iter().flat_map(|load| &load.done) {
        if let Some(trouble) = done["first_trouble"].as_str() {
            let troubles = number(done, "troubles");
            table.note(&format!("{name}: {troubles} in trouble, such as: {trouble}"));
        }
    }
    let complete = column(&|load| load.sum("complete") / viewers as f64);
    let row = format!("{name}: complete, every byte right");
    table.row(&row, "of all", complete, Target::AtLeast(1.0));
    let late = column(&|load| load.sum("late") / load.sum("chunks") * 100.0);
    let row = format!("{name}: more than 100 ms late");
    table.row(&row, "% of chunks", late, Target::None);
    let p999 = |load: &Load| load.done.iter().map(|done| number(done, "p999")).fold(0.0, f64::max);
    let row = format!("{name}: lateness of 999 in 1000, at most");
    table.row(&row, "ms", column(&p999), Target::None);
    let threads: BTreeSet<_> = loads.iter().flat_map(|load| load.threads.keys()).collect();
    for thread in threads {
        let cpu = column(&|load| load.threads.get(thread).copied().unwrap_or(0.0) * 100.0);
        if cpu.iter().any(|cpu| *cpu >= 1.0) {
            table.row(&format!("{name}: CPU of {thread}"), "% of a core", cpu, Target::None);
        }
    }
    let each = column(&|load| load.cpu() * 1e6 / viewers as f64);
    table.row(&format!("{name}: CPU for a viewer"), "µs a second", each, Target::None);
    let gigabit = RATE as f64 * viewers as f64 / 1e9;
    let each = column(&|load| load.cpu() * 100.0 / gigabit);
    table.row(&format!("{name}: CPU for a Gbit/s"), "% of a core", each, Target::None);
    let each = column(&|load| load.handshake.as_secs_f64() * 1e6);
    table.row(&format!("{name}: CPU for a handshake"), "µs", each, Target::None);
}
