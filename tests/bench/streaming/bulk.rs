//! One viewer, as fast as it goes: quicstream against a bare copy of the same file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use crate::Scale;
use crate::process::Process;
use crate::site::{SOON, Serving, Site, number};
use crate::table::{Table, Target};

const GIB: u64 = 1024 * 1024 * 1024;

/// The most that is written to a file, bytes.
const FILE: u64 = GIB / 2;

/// A transfer that is over.
pub(crate) struct Copy {
    /// bit/s, from the first media to the end.
    pub(crate) rate: f64,
    /// The most memory of the client, bytes.
    client: u64,
}

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    let mut memory = Memory::default();
    for mtu in [9001, 1500] {
        compare(site, "a core each", scale, mtu, table, &mut memory);
        compare(&site.unpinned(), "unpinned", scale, mtu, table, &mut memory);
    }
    memory.report(table, "all of these");
    if !scale.quick {
        let media = site.sparse("huge.mp4", 20 * GIB);
        let server = site.serve(&media, 9001, &[]);
        let copy = play(site, &server, 9001, 20 * GIB, &[]);
        let mut memory = Memory::default();
        memory.note(&server, &copy);
        memory.report(table, "20 GiB");
    }
}

fn compare(
    site: &Site,
    place: &str,
    scale: &Scale,
    mtu: u16,
    table: &mut Table,
    memory: &mut Memory,
) {
    let (size, small) = (scale.bulk, scale.bulk.min(FILE));
    let media = site.sparse("bulk.mp4", size);
    let small_media = site.sparse("small.mp4", small);
    let output = site.path("output.mp4");
    let output = output.to_str().unwrap();
    let mut rates: [Vec<f64>; 7] = Default::default();
    let bare_bulk = |site: &Site| {
        let server = site.serve_bare("bare-bulk", &[&mtu.to_string(), media.to_str().unwrap()]);
        bare_copy(site, &["bare-fetch"], &server, mtu, size)
    };
    for _ in 0..scale.rounds {
        let bare = bare_bulk(site);
        let our_rings = bare_bulk(&site.with_our_rings());
        let server =
            site.serve_bare("bare-bulk", &[&mtu.to_string(), small_media.to_str().unwrap()]);
        warm_up(site, small);
        let bare_file = bare_copy(site, &["bare-fetch", output], &server, mtu, small);
        fs::remove_file(output).unwrap();
        let best = site.keeping_memory();
        let server = best.serve_bare("bare-memory", &[&mtu.to_string(), &size.to_string()]);
        let best = bare_copy(&best, &["bare-fetch"], &server, mtu, size);
        let server = site.serve(&media, mtu, &[]);
        let nowhere = play(site, &server, mtu, size, &[]);
        memory.note(&server, &nowhere);
        let server = site.serve(&small_media, mtu, &[]);
        let file = || {
            warm_up(site, small);
            let copy = play(site, &server, mtu, small, &["--output", output]);
            fs::remove_file(output).unwrap();
            copy
        };
        // The server has to compute the digest, and knows it the second time.
        let first = file();
        let again = file();
        memory.note(&server, &again);
        let round = [bare, our_rings, best, nowhere, bare_file, again, first];
        rates.iter_mut().zip(round).for_each(|(rates, copy)| rates.push(copy.rate));
    }
    let name = format!("MTU {mtu}, {place}");
    let [bare, others @ ..] = &rates;
    let gigabits = bare.iter().map(|rate| rate / 1e9).collect();
    table.row(
        &format!("bare copy of {} MiB, {name}", size >> 20),
        "Gbit/s",
        gigabits,
        Target::None,
    );
    let kinds = [
        // All settings the same, and slower.
        ("bare with the rings of quicstream", Target::None),
        // One block of memory over and over, and an allocator that gives nothing back.
        ("bare at its best", Target::None),
        ("`play`, no sink", Target::AtLeast(0.95)),
        ("bare, into a file, without a digest", Target::None),
        ("`play`, into a file, digest checked", Target::AtLeast(0.75)),
        ("the same while `serve` computes the digest", Target::None),
    ];
    for ((what, target), rates) in kinds.into_iter().zip(others) {
        let ratios = rates.iter().zip(bare).map(|(rate, bare)| rate / bare).collect();
        table.row(&format!("{what}, {name}"), "of bare", ratios, target);
    }
}

/// The most memory that servers and clients had, in MB.
#[derive(Default)]
struct Memory {
    server: Vec<f64>,
    client: Vec<f64>,
}

impl Memory {
    fn note(&mut self, server: &Serving, copy: &Copy) {
        self.server.push(server.process.peak() as f64 / 1e6);
        self.client.push(copy.client as f64 / 1e6);
    }

    fn report(self, table: &mut Table, name: &str) {
        let target = Target::AtMost(100.0);
        table.row(&format!("peak memory of `serve`, {name}"), "MB", self.server, target);
        table.row(&format!("peak memory of `play`, {name}"), "MB", self.client, target);
    }
}

/// Has the system find memory for a file of `size`. In a virtual machine, pages that were not in
/// use lately take their host several times as long to provide as it takes to write to them, and
/// that is not what is to be measured. Free memory goes back to the host within seconds, so a
/// file must not be large for this to help.
fn warm_up(site: &Site, size: u64) {
    let path = site.path("warm-up");
    let mut file = File::create(&path).unwrap();
    io::copy(&mut io::repeat(1).take(size), &mut file).unwrap();
    fs::remove_file(path).unwrap();
}

/// What a role of this program, with its arguments, fetches from a server of its kind.
pub(crate) fn bare_copy(site: &Site, role: &[&str], server: &Serving, mtu: u16, size: u64) -> Copy {
    let (mtu, address) = (mtu.to_string(), server.address.to_string());
    let args = [&[mtu.as_str(), address.as_str()], &role[1..]].concat();
    let client = site.start_client(&site.role(role[0], &args));
    measure(client, "first", size)
}

pub(crate) fn play(site: &Site, server: &Serving, mtu: u16, size: u64, args: &[&str]) -> Copy {
    let client = site.play(server.address, mtu, &[&["--rate", "max"], args].concat());
    measure(client, "chunk", size)
}

pub(crate) fn measure(client: Process, first: &str, size: u64) -> Copy {
    let patience = SOON + Duration::from_secs(size / (GIB / 10));
    let (begin, _) = client.event(first, SOON);
    let (end, closed) = client.event("closed", patience);
    assert_eq!(number(&closed, "bytes"), size as f64, "{closed}");
    let peak = client.peak();
    client.finish(SOON);
    Copy { rate: size as f64 * 8.0 / (end - begin).as_secs_f64(), client: peak }
}
