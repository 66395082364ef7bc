//! What a user would pick instead: nginx to curl over TLS, where both are installed, and QUIC by
//! quinn.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Core, Process, can_pin};
use crate::site::{SOON, Site, number};
use crate::table::{Table, Target};
use crate::{Scale, bulk};

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    let media = site.sparse("peer.mp4", scale.bulk);
    for mtu in [9001, 1500] {
        let copies = (0..scale.rounds).map(|_| {
            let server =
                site.serve_bare("quinn-bulk", &[&mtu.to_string(), media.to_str().unwrap()]);
            bulk::bare_copy(site, &["quinn-fetch"], &server, mtu, scale.bulk).rate / 1e9
        });
        let what = format!("quinn copy, {} MiB, MTU {mtu}", scale.bulk >> 20);
        table.row(&what, "Gbit/s", copies.collect(), Target::None);
    }
    nginx(site, scale, table);
}

/// `peer.mp4` from nginx to curl.
fn nginx(site: &Site, scale: &Scale, table: &mut Table) {
    if !is_installed("nginx") || !is_installed("curl") {
        table.note("nginx to curl: skipped, not both are installed");
        return;
    }
    let address = free_address();
    let configuration = site.path("nginx.conf");
    fs::write(&configuration, nginx_configuration(site, address)).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(site.path("")).arg("-e").arg(site.path("nginx.log"));
    command.arg("-c").arg(configuration);
    let server = Process::start(&command, can_pin().then_some(Core::Server));
    wait_for(address);
    let rates = (0..scale.rounds).map(|_| fetch(site, address)).collect();
    drop(server);
    let what = format!("nginx to curl, TLS 1.3, {} MiB", scale.bulk >> 20);
    table.row(&what, "Gbit/s", rates, Target::None);
}

pub(crate) fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    let probe = if program == "nginx" { "-v" } else { "--version" };
    command.arg(probe).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn nginx_configuration(site: &Site, address: SocketAddr) -> String {
    let (root, cert, key) = (site.path(""), site.cert(), site.key());
    format!(
        "daemon off; master_process off; pid {root}/nginx.pid;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; sendfile on; server {{\n\
         listen {address} ssl; ssl_protocols TLSv1.3;\n\
         ssl_certificate {cert}; ssl_certificate_key {key};\n\
         root {root};\n\
         }} }}\n",
        root = root.display(),
        cert = cert.display(),
        key = key.display(),
    )
}

pub(crate) fn wait_for(address: SocketAddr) {
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nothing listens on {address}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Gbit/s, from the first byte to the last.
fn fetch(site: &Site, address: SocketAddr) -> f64 {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--output", "/dev/null", "--cacert"]);
    command.arg(site.cert()).args([
        "--write-out",
        r#"{"event":"closed","bytes":%{size_download},"first":%{time_starttransfer},"last":%{time_total}}\n"#,
        &format!("https://{address}/peer.mp4"),
    ]);
    let client = site.start_client(&command);
    let (_, closed) = client.event("closed", SOON * 6);
    let seconds = number(&closed, "last") - number(&closed, "first");
    client.finish(SOON);
    number(&closed, "bytes") * 8.0 / seconds / 1e9
}
