//! One viewer, as fast as it goes: quicstream against a bare copy of the same file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use crate::Scale;
use crate::process::Process;
use crate::site::{SOON, Serving, Site, number};
use crate::table::{Table, Target};

const GIB: u64 = 1024 * 1024 * 1024;

/// A transfer that is over.
pub(crate) struct Copy {
    /// bit/s, from the first media to the end.
    pub(crate) rate: f64,
    /// The most memory of the client, bytes.
    client: u64,
    /// Seconds of a core: the server's, the client's.
    cpu: [f64; 2],
}

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    for mtu in [9001, 1500] {
        compare(site, "a core each", scale, mtu, table);
        compare(&site.unpinned(), "unpinned", scale, mtu, table);
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

fn compare(site: &Site, place: &str, scale: &Scale, mtu: u16, table: &mut Table) {
    let size = scale.bulk;
    let media = site.sparse("bulk.mp4", size);
    let output = site.path("output.mp4");
    let output = output.to_str().unwrap();
    let mut memory: [Vec<f64>; 2] = Default::default();
    let mut copies: [Vec<Copy>; 6] = Default::default();
    for _ in 0..scale.rounds {
        let server = site.serve_bare("bare-bulk", &[&mtu.to_string(), media.to_str().unwrap()]);
        let bare = bare_copy(site, &["bare-fetch"], &server, mtu, size);
        warm_up(site, size);
        let bare_file = bare_copy(site, &["bare-fetch", output], &server, mtu, size);
        fs::remove_file(output).unwrap();
        let server = site.serve_bare("bare-memory", &[&mtu.to_string(), &size.to_string()]);
        let from_memory = bare_copy(site, &["bare-fetch"], &server, mtu, size);
        let server = site.serve(&media, mtu, &[]);
        let nowhere = play(site, &server, mtu, size, &[]);
        let file = || {
            warm_up(site, size);
            let copy = play(site, &server, mtu, size, &["--output", output]);
            fs::remove_file(output).unwrap();
            copy
        };
        // Only now does the server have to compute the digest, and knows it the second time.
        let first = file();
        let again = file();
        memory[0].push(server.process.peak() as f64 / 1e6);
        memory[1].push(again.client as f64 / 1e6);
        let round = [bare, from_memory, bare_file, nowhere, again, first];
        copies.iter_mut().zip(round).for_each(|(copies, copy)| copies.push(copy));
    }
    let [bare, from_memory, bare_file, nowhere, again, first] = &copies;
    let name = format!("{:.3} GiB, MTU {mtu}, {place}", size as f64 / GIB as f64);
    let ratios = |copies: &[Copy], of: fn(&Copy) -> f64| {
        copies.iter().zip(bare).map(|(it, bare)| of(it) / of(bare)).collect()
    };
    let gigabits = bare.iter().map(|copy| copy.rate / 1e9).collect();
    table.row(&format!("bare s2n-quic copy, {name}"), "Gbit/s", gigabits, Target::None);
    for (what, copies, least) in [
        ("bare, always the same block from memory", from_memory, Target::None),
        ("bare, into a file, without a digest", bare_file, Target::None),
        ("no sink", nowhere, Target::AtLeast(0.95)),
        ("into a file, digest checked", again, Target::AtLeast(0.75)),
        ("the same, `serve` computes the digest meanwhile", first, Target::None),
    ] {
        table.row(&format!("{what}, {name}"), "of bare", ratios(copies, |it| it.rate), least);
        let cpu = ratios(copies, |it| it.cpu[0]);
        table.row(&format!("{what}, {name}: CPU of the server"), "of bare", cpu, Target::None);
        let cpu = ratios(copies, |it| it.cpu[1]);
        table.row(&format!("{what}, {name}: CPU of the client"), "of bare", cpu, Target::None);
    }
    let [server, client] = memory;
    let target = Target::AtMost(100.0);
    table.row(&format!("peak memory of `serve`, {name}"), "MB", server, target);
    table.row(&format!("peak memory of `play`, into a file, {name}"), "MB", client, target);
}

/// Has the system find memory for a file of `size`. In a virtual machine, pages that were not in
/// use lately take their host several times as long to provide as it takes to write to them, and
/// that is not what is to be measured.
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
