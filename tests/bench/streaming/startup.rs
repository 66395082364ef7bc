//! How long a person waits: from a command to its first effect.

use std::fs::{self, File};
use std::time::Duration;

use crate::Scale;
use crate::relay::Relay;
use crate::site::{SOON, Site};
use crate::table::{Table, Target};

/// A long way to the server.
const FAR: Duration = Duration::from_millis(100);

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    let media = site.sparse("short.mp4", 1 << 20);
    let server = site.serve(&media, 1500, &[]);
    let first_chunk = |address, runs: usize| -> Vec<f64> {
        let run = |_| {
            let play = site.play(address, 1500, &["--rate", "max"]);
            let (at, _) = play.event("chunk", SOON);
            milliseconds(at - play.spawned)
        };
        (0..runs).map(run).collect()
    };
    let near = first_chunk(server.address, 20);
    let what = "`play` to its first chunk, loopback";
    table.row(what, "ms", near, Target::AtMost(15.0));
    let relay = Relay::start(server.address, 0, FAR);
    let far = first_chunk(relay.address, 5);
    let what = "`play` to its first chunk, link of 100 ms";
    table.row(what, "ms", far, Target::AtMost(milliseconds(FAR * 2) + 20.0));

    let titles = site.path("titles");
    fs::create_dir(&titles).unwrap();
    for index in 0..scale.titles {
        File::create(titles.join(format!("{index:06}.mp4"))).unwrap();
    }
    let starts = (0..20).map(|_| milliseconds(site.serve(&titles, 1500, &[]).took)).collect();
    let what = format!("`serve` to listening, {} titles", scale.titles);
    table.row(&what, "ms", starts, Target::AtMost(50.0));
    fs::remove_dir_all(titles).unwrap();
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
