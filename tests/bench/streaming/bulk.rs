//! One viewer, as fast as it goes: quicstream against a bare copy of as many bytes.

use std::time::Duration;

use crate::Scale;
use crate::process::{Core, Process};
use crate::site::{SOON, Serving, Site, number};
use crate::table::{Table, Target};

const GIB: u64 = 1024 * 1024 * 1024;

/// A transfer that is over.
struct Copy {
    /// bit/s, from the first media to the end.
    rate: f64,
    /// The most memory of the client, bytes.
    client: u64,
    /// Seconds of a core: the server's, the client's.
    cpu: [f64; 2],
}

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    for mtu in [9001, 1500] {
        compare(site, scale, mtu, table);
    }
    if !scale.quick {
        let media = site.sparse("huge.mp4", 20 * GIB);
        let server = site.serve(&media, 9001, &[]);
        let copy = play(site, &server, 9001, 20 * GIB, &[]);
        let mb = |bytes: u64| vec![bytes as f64 / 1e6];
        let target = Target::AtMost(100.0);
        table.row("peak memory of `serve`, 20 GiB", "MB", mb(server.process.peak()), target);
        table.row("peak memory of `play`, 20 GiB", "MB", mb(copy.client), target);
    }
}

fn compare(site: &Site, scale: &Scale, mtu: u16, table: &mut Table) {
    let size = scale.bulk;
    let media = site.sparse("bulk.mp4", size);
    let output = site.path("output.mp4");
    let to_file = ["--force", "--output", output.to_str().unwrap()];
    let mut memory: [Vec<f64>; 2] = Default::default();
    let mut copies: [Vec<Copy>; 4] = Default::default();
    for _ in 0..scale.rounds {
        let server = site.serve_bare("bare-bulk", &[&mtu.to_string(), &size.to_string()]);
        let bare = bare_copy(site, &server, mtu, size);
        drop(server);
        let server = site.serve(&media, mtu, &[]);
        // The server computes the digest of what nobody has asked for before.
        let fresh = play(site, &server, mtu, size, &[]);
        let again = play(site, &server, mtu, size, &[]);
        let file = play(site, &server, mtu, size, &to_file);
        std::fs::remove_file(&output).unwrap();
        memory[0].push(server.process.peak() as f64 / 1e6);
        memory[1].push(file.client as f64 / 1e6);
        for (copies, copy) in copies.iter_mut().zip([bare, again, fresh, file]) {
            copies.push(copy);
        }
    }
    let [bare, again, fresh, file] = &copies;
    let name = format!("{:.3} GiB, MTU {mtu}", size as f64 / GIB as f64);
    let ratios = |copies: &[Copy], of: fn(&Copy) -> f64| {
        copies.iter().zip(bare).map(|(it, bare)| of(it) / of(bare)).collect()
    };
    let gigabits = bare.iter().map(|copy| copy.rate / 1e9).collect();
    table.row(&format!("bare s2n-quic, {name}"), "Gbit/s", gigabits, Target::None);
    let seconds = |side: usize| bare.iter().map(|copy| copy.cpu[side]).collect();
    table.row(&format!("bare s2n-quic, {name}: CPU of the server"), "s", seconds(0), Target::None);
    table.row(&format!("bare s2n-quic, {name}: CPU of the client"), "s", seconds(1), Target::None);
    for (what, copies, least) in [
        ("no sink", again, 0.95),
        ("no sink, digest under way", fresh, 0.95),
        ("into a file, digest checked", file, 0.75),
    ] {
        let least = Target::AtLeast(least);
        table.row(&format!("{what}, {name}"), "of bare", ratios(copies, |it| it.rate), least);
        let allowed = ratios(copies, |it| 1.0 / it.cpu[0].max(it.cpu[1]));
        let row = format!("{what}, {name}: as fast as the busier core's time allows");
        table.row(&row, "of bare", allowed, Target::None);
        let cpu = ratios(copies, |it| it.cpu[0]);
        table.row(&format!("{what}, {name}: CPU of `serve`"), "of bare", cpu, Target::None);
        let cpu = ratios(copies, |it| it.cpu[1]);
        table.row(&format!("{what}, {name}: CPU of `play`"), "of bare", cpu, Target::None);
    }
    let [server, client] = memory;
    let target = Target::AtMost(100.0);
    table.row(&format!("peak memory of `serve`, {name}"), "MB", server, target);
    table.row(&format!("peak memory of `play`, into a file, {name}"), "MB", client, target);
}

fn bare_copy(site: &Site, server: &Serving, mtu: u16, size: u64) -> Copy {
    let args = [&mtu.to_string(), &server.address.to_string()];
    let client = Process::start(&site.role("bare-fetch", &args.map(String::as_str)), Core::Client);
    measure(server, client, "first", size)
}

fn play(site: &Site, server: &Serving, mtu: u16, size: u64, args: &[&str]) -> Copy {
    let client = site.play(server.address, mtu, &[&["--rate", "max"], args].concat());
    measure(server, client, "chunk", size)
}

fn measure(server: &Serving, client: Process, first: &str, size: u64) -> Copy {
    let patience = SOON + Duration::from_secs(size / (GIB / 10));
    let before = server.process.cpu();
    let (begin, _) = client.event(first, SOON);
    let (end, closed) = client.event("closed", patience);
    assert_eq!(number(&closed, "bytes"), size as f64, "{closed}");
    let cpu = [server.process.cpu() - before, client.cpu()].map(|cpu| cpu.as_secs_f64());
    let peak = client.peak();
    client.finish(SOON);
    Copy { rate: size as f64 * 8.0 / (end - begin).as_secs_f64(), client: peak, cpu }
}
