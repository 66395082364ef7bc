//! Media in an object store: quicstream against a bare copy of the same object by `object_store`.
//!
//! The store is s3s-fs, which is there with
//! `cargo install s3s-fs --version 0.14.1 --locked --features binary`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use serde_json::json;

use crate::content::Content;
use crate::generator::Plan;
use crate::peers::{free_address, is_installed, wait_for};
use crate::process::Process;
use crate::site::{Serving, Site, number};
use crate::table::{Table, Target};
use crate::{Scale, bulk, say, viewers};

const BUCKET: &str = "bucket";

/// bit/s of each viewer.
const RATE: u64 = 500_000;

pub(crate) fn run(site: &Site, scale: &Scale, table: &mut Table) {
    if !is_installed("s3s-fs") {
        table.note("objects: skipped, s3s-fs is not installed");
        return;
    }
    let site = &site.unpinned();
    let store = Store::start(site);
    copies(site, &store, scale, table);
    many_viewers(site, &store, scale, table);
}

fn copies(site: &Site, store: &Store, scale: &Scale, table: &mut Table) {
    let size = scale.bulk / 4;
    let film = site.path("object.mp4");
    Content { title: 0, dense: Content::SPARSE }.write(&film, size);
    store.put(site, "bulk/object.mp4");
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let command = store.knows(site.role("bare-object", &["bulk/object.mp4"]));
        bare.push(bulk::measure(site.start_client(&command), "first", size).rate);
        let server = store.serve(site, "bulk", store.address);
        ours.push(bulk::play(site, &server, 1500, size, &[]).rate);
    }
    let name = format!("{} MiB in an object store", size >> 20);
    let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    let bare = bare.iter().map(|rate| rate / 1e9).collect();
    table.row(&format!("{name}: bare copy"), "Gbit/s", bare, Target::None);
    table.row(&format!("{name}: `play`"), "of bare", ratios, Target::AtLeast(0.8));
}

fn many_viewers(site: &Site, store: &Store, scale: &Scale, table: &mut Table) {
    let viewers = scale.viewers.min(1000);
    let window = scale.watch.min(Duration::from_secs(20));
    let size = ((window + Duration::from_secs(8)).as_secs_f64() * RATE as f64 / 8.0) as u64;
    Content { title: 0, dense: Content::DENSE }.write(&site.path("object.mp4"), size);
    store.put(site, "viewers/object.mp4");
    let relay = Relay::start(store.address);
    let server = store.serve(site, "viewers", relay.address);
    let plan = Plan {
        server: server.address,
        viewers,
        many_titles: false,
        size,
        rate: RATE,
        spread: Duration::from_secs(2),
        paused: false,
        gso: true,
        window,
    };
    let before = relay.bytes.load(Ordering::Relaxed);
    let load = viewers::load(site, &server, &plan);
    let brought = relay.bytes.load(Ordering::Relaxed) - before;
    let name = format!("{viewers} viewers of one object");
    let complete = number(&load.done, "complete") / viewers as f64;
    let row = format!("{name}: complete, every byte right");
    table.row(&row, "of all", vec![complete], Target::AtLeast(1.0));
    // Each of them asks for the state of the object, too, which the store answers in a line or ten.
    let brought = vec![brought as f64 / (size as f64 + viewers as f64 * 1024.0)];
    table.row(&format!("{name}: what the store sent"), "of it", brought, Target::AtMost(1.0));
}

/// Copies an object and throws it away, as a role of this program.
pub(crate) async fn copy(key: &str) {
    let store = AmazonS3Builder::from_env().with_bucket_name(BUCKET).build().unwrap();
    let mut body = store.get(&Path::parse(key).unwrap()).await.unwrap().into_stream();
    let mut total = 0;
    while let Some(bytes) = body.next().await {
        if total == 0 {
            say(&json!({"event": "first"}));
        }
        total += bytes.unwrap().len();
    }
    say(&json!({"event": "closed", "bytes": total}));
}

/// Stores a file, as a role of this program.
pub(crate) async fn put(file: &std::path::Path, key: &str) {
    let store = AmazonS3Builder::from_env().with_bucket_name(BUCKET).build().unwrap();
    let key = Path::parse(key).unwrap();
    let upload = store.put_multipart(&key).await.unwrap();
    let mut upload = WriteMultipart::new_with_chunk_size(upload, 8 << 20);
    upload.write(&fs::read(file).unwrap());
    upload.finish().await.unwrap();
    say(&json!({"event": "stored"}));
}

/// An S3 server of files in the site's directory.
struct Store {
    _process: Process,
    address: SocketAddr,
}

impl Store {
    fn start(site: &Site) -> Self {
        let root = site.path("store");
        fs::create_dir_all(root.join(BUCKET)).unwrap();
        let address = free_address();
        let mut command = Command::new("s3s-fs");
        command.args(["--access-key", "bench", "--secret-key", "bench", "--host", "127.0.0.1"]);
        command.args(["--port", &address.port().to_string()]).arg(root).env("RUST_LOG", "error");
        let store = Self { _process: Process::start(&command, None), address };
        wait_for(address);
        store
    }

    fn knows(&self, command: Command) -> Command {
        knows(command, self.address)
    }

    fn put(&self, site: &Site, key: &str) {
        let mut command = site.role("put-object", &["object.mp4", key]);
        command = self.knows(command);
        let process = site.start_client(&command);
        process.event("stored", Duration::from_secs(120));
    }

    fn serve(&self, site: &Site, prefix: &str, address: SocketAddr) -> Serving {
        let media = format!("s3://{BUCKET}/{prefix}");
        let command = site.serve_command(&["--media", &media]);
        site.start_server(&knows(command, address))
    }
}

/// The environment of a command that is to use the store at `address`.
fn knows(mut command: Command, address: SocketAddr) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench");
    command
}

/// What counts the bytes that come from a store.
struct Relay {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Relay {
    fn start(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = bytes.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(store) else { return };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let counter = counter.clone();
                thread::spawn(move || pump(&near_too, &far_too, &AtomicU64::new(0)));
                thread::spawn(move || pump(&far, &near, &counter));
            }
        });
        Self { address, bytes }
    }
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
