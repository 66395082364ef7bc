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

pub(crate) const RATE: u64 = 500_000;
pub(crate) const CHUNK_TIME: Duration = Duration::from_micros(1_048_576);

/// What a server may keep beside its sessions, bytes: `server.cache`.
const CACHE: f64 = 32.0 * 1024.0 * 1024.0;

/// What a server took to serve them.
pub(crate) struct Load {
    /// Of a core, while all of them watched.
    pub(crate) cpu: f64,
    /// Resident memory for each, bytes.
    each: f64,
    pub(crate) done: Value,
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
        gso: true,
        window,
    };
    let serve = |media: &Path| site.serve(media, 1500, &[]);
    let (mut bare, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.viewer_rounds {
        let server = site.serve_bare("bare-paced", &["1500", "film.mp4", &RATE.to_string()]);
        bare.push(load(site, &server, &plan(&server, false)));
        drop(server);
        let server = serve(&film);
        one.push(load(site, &server, &plan(&server, false)));
        drop(server);
        let server = serve(&films);
        many.push(load(site, &server, &plan(&server, true)));
    }
    report(table, "bare loop", scale, &bare, None);
    report(table, "one title", scale, &one, Some((&bare, 0.0)));
    report(table, "a title each", scale, &many, Some((&bare, CACHE)));
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
        gso: true,
        window: scale.pause_watch,
    };
    let paused = load(site, &server, &plan);
    let name = format!("{} paused sessions", scale.paused);
    let cpu = vec![paused.cpu * 100.0];
    table.row(&format!("{name}: CPU"), "% of a core", cpu, Target::AtMost(3.0));
    let each = vec![paused.each / 1e3];
    table.row(&format!("{name}: memory"), "KB each", each, Target::AtMost(40.0));
}

pub(crate) fn load(site: &Site, server: &Serving, plan: &Plan) -> Load {
    let process = &server.process;
    let empty = process.resident();
    let plan_text = serde_json::to_string(plan).unwrap();
    let viewers = site.start_client(&site.role("generate", &[&plan_text]));
    viewers.event("connected", SOON * 6);
    viewers.event("opened", SOON * 2);
    let before = process.cpu();
    viewers.event("window", plan.window + SOON);
    let busy = process.cpu() - before;
    let each = process.resident().saturating_sub(empty) as f64 / plan.viewers as f64;
    let (_, done) = viewers.event("done", SOON * 2);
    Load { cpu: busy.as_secs_f64() / plan.window.as_secs_f64(), each, done }
}

/// Reports the loads of all rounds; those of quicstream beside the ones of the bare loop in the
/// same rounds, and with so many bytes that the server may keep beside its sessions.
fn report(
    table: &mut Table,
    who: &str,
    scale: &Scale,
    loads: &[Load],
    beside: Option<(&[Load], f64)>,
) {
    let name = format!("{} viewers, {who}", scale.viewers);
    for load in loads {
        if let Some(trouble) = load.done["first_trouble"].as_str() {
            let troubles = number(&load.done, "troubles");
            table.note(&format!("{name}: {troubles} in trouble, such as: {trouble}"));
        }
    }
    let column = |value: &dyn Fn(&Load) -> f64| loads.iter().map(value).collect::<Vec<_>>();
    let done = |field: &'static str| move |load: &Load| number(&load.done, field);
    let target = |target| if beside.is_some() { target } else { Target::None };

    let complete = column(&|load| done("complete")(load) / scale.viewers as f64);
    let row = format!("{name}: complete, every byte right");
    table.row(&row, "of all", complete, target(Target::AtLeast(1.0)));
    let late = column(&|load| done("late")(load) / done("chunks")(load) * 100.0);
    let row = format!("{name}: more than 100 ms late");
    table.row(&row, "% of chunks", late, target(Target::AtMost(0.1)));
    let row = format!("{name}: lateness of 999 in 1000, at most");
    table.row(&row, "ms", column(&done("p999")), Target::None);
    let each = column(&|load| load.each / 1e3);
    let cache = beside.map_or(0.0, |(_, cache)| cache);
    let most = 40.0 + cache / scale.viewers as f64 / 1e3;
    let row = format!("{name}: memory");
    table.row(&row, "KB each", each, target(Target::AtMost(most.round())));
    let row = format!("{name}: CPU");
    table.row(&row, "% of a core", column(&|load| load.cpu * 100.0), Target::None);
    if let Some((bare, _)) = beside {
        let ratios = loads.iter().zip(bare).map(|(load, bare)| load.cpu / bare.cpu).collect();
        table.row(&row, "of bare", ratios, Target::AtMost(1.15));
    }
}
