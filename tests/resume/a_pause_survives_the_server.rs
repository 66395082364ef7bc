//! Pauses are made by a key, so the player is driven as the executable drives it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc as mpsc_std};
use std::thread;
use std::time::{Duration, Instant};

use quicstream::client::{self, Link, LinkSettings, Outcome, PlayEvent, Sink, Start, Target};
use quicstream::media::Library;
use quicstream::protocol::{OpenStream, Version};
use quicstream::server::{self, Admission, ConnectionLimits, Pacing};
use quicstream::session::Offer;
use quicstream::transport::{
    ActiveIdentity, Address, Congestion, Identity, Listener, ResetKey, Sockets, TransportSettings,
    Trust, Workers,
};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::common::media;
use crate::harness::*;

const SIZE: usize = 2_000_000;

fn transport() -> TransportSettings {
    TransportSettings {
        mtu: 1500,
        congestion: Congestion::Bbr,
        idle_timeout: Duration::from_secs(30),
        socket_buffer: 1 << 20,
    }
}

fn offers(max_pause: Duration) -> server::ServeSettings {
    let offer = Offer {
        codecs: vec!["h264".into()],
        bitrate: 1_000_000,
        chunk_size: 16_384,
        keepalive: Duration::from_secs(1),
        session_timeout: Duration::from_secs(3),
    };
    server::ServeSettings {
        offer,
        max_rate: 0,
        pacing: Pacing::Client,
        stall_timeout: Duration::from_secs(30),
        open_timeout: Duration::from_secs(10),
        max_pause,
        send_memory: 1 << 28,
        peers: None,
    }
}

fn identity(home: &Path) -> Identity {
    Identity::load_or_create(&home.join("cert.pem"), &home.join("key.pem")).unwrap()
}

/// A server in this process, which is gone without a word when its runtime is.
struct Server {
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<server::ServeEvent>,
    alive: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// Starts one with the certificate and the media that are in `home`.
    fn start(address: SocketAddr, home: &Path) -> Self {
        Self::start_with(address, home, Duration::from_secs(900))
    }

    /// The same, which keeps no paused session for longer than this.
    fn start_with(address: SocketAddr, home: &Path, max_pause: Duration) -> Self {
        let identity = ActiveIdentity::new(&identity(home)).unwrap();
        let reset_key = ResetKey::load_or_create(&home.join("reset.key")).unwrap();
        let library = Arc::new(Library::new(Some(&home.join("media.mp4")), 1 << 26).unwrap());
        let (ready, bound) = mpsc_std::channel();
        let (alive, killed) = oneshot::channel::<()>();
        let (report, events) = mpsc::unbounded_channel();
        let report = move |event| report.send(event).unwrap_or_default();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _guard = runtime.enter();
            let deadline = Instant::now() + PATIENCE;
            let limits = ConnectionLimits { max_connections: 10, max_per_address: 10 };
            let admission = Arc::new(Admission::new(limits));
            let socket = loop {
                match Sockets::bind(address, Workers::ONE, None) {
                    Ok(sockets) => break sockets.first,
                    Err(error) => assert!(Instant::now() < deadline, "{error}"),
                }
            };
            let policy = admission.clone();
            let settings = transport();
            let listener = Listener::start(socket, &identity, &reset_key, policy, &settings);
            let listener = listener.unwrap();
            ready.send(listener.address()).unwrap();
            let server = server::Server::new(
                offers(max_pause),
                library,
                admission,
                None,
                Arc::default(),
                report,
            );
            let serving = Arc::new(server).serve(listener, CancellationToken::new());
            runtime.block_on(async {
                tokio::select! {
                    served = serving => served.unwrap(),
                    _ = killed => {}
                }
            });
        });
        Self { address: bound.recv().unwrap(), events, alive, thread }
    }

    fn kill(self) {
        drop(self.alive);
        self.thread.join().unwrap();
    }

    /// Waits until a session begins at a byte; then, if it is paused, and at once.
    async fn session(&mut self, paused: bool) -> u64 {
        let start = match self.events.recv().await {
            Some(server::ServeEvent::Opened { start: Some(start), .. }) => start,
            other => panic!("{other:?}"),
        };
        if paused {
            let next = self.events.recv().await;
            assert!(matches!(next, Some(server::ServeEvent::Paused { .. })), "{next:?}");
        }
        start
    }
}

fn settings() -> client::PlaySettings {
    client::PlaySettings {
        open: OpenStream { codec: "h264".into(), ..OpenStream::default() },
        script: None,
        title: None,
        start: Start::Byte(0),
        end: None,
        validator: None,
        rate: client::Rate::BitsPerSecond(8_000_000),
        wait: Duration::ZERO,
        retry_for: PATIENCE,
        verify: true,
        require_digest: false,
        token: None,
    }
}

/// Waits for an event that `take` wants.
async fn until<E, T>(events: &mut mpsc::UnboundedReceiver<E>, take: impl Fn(&E) -> Option<T>) -> T {
    loop {
        if let Some(taken) = take(&events.recv().await.expect("it goes on")) {
            return taken;
        }
    }
}

/// A play into a file, which a test steers.
struct Playing {
    out: std::path::PathBuf,
    steer: mpsc::UnboundedSender<client::PlayCommand>,
    events: mpsc::UnboundedReceiver<PlayEvent>,
    task: tokio::task::JoinHandle<Result<Outcome, client::Error>>,
}

impl Playing {
    fn start(home: &Path, port: u16) -> Self {
        let path = home.join("out.mp4");
        let target = Target::File { path, overwrite: false, resume: true };
        Self::start_with(home, port, &target, settings())
    }

    fn start_with(home: &Path, port: u16, target: &Target, settings: client::PlaySettings) -> Self {
        let whom = client::Remote {
            addresses: vec![Address { host: "127.0.0.1".into(), port }],
            trust: Trust::Pins(vec![identity(home).fingerprint()]),
            name: None,
            transport: transport(),
        };
        let link = LinkSettings {
            versions: Version::ALL.to_vec(),
            connect_timeout: Duration::from_secs(10),
            shared: false,
        };
        let link = Link::new(&whom, link).unwrap();
        let out = home.join("out.mp4");
        let sink = Sink::open(target).unwrap();
        let (steer, commands) = mpsc::unbounded_channel();
        let (report, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let (publish, _) = watch::channel(client::Snapshot::default());
            let report = |event| report.send(event).unwrap_or_default();
            client::play(&link, &settings, sink, commands, publish, report).await
        });
        Self { out, steer, events, task }
    }

    /// Pauses, or goes on.
    fn toggle(&self) {
        self.steer.send(client::PlayCommand::TogglePause).unwrap();
    }

    /// Pauses after a quarter of the media.
    async fn pause(&mut self, server: &mut Server) {
        until(&mut self.events, |event| match event {
            PlayEvent::Chunk { total, .. } => (*total > SIZE as u64 / 4).then_some(()),
            _ => None,
        })
        .await;
        self.toggle();
        until(&mut server.events, |event| {
            matches!(event, server::ServeEvent::Paused { .. }).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn and_the_play_goes_on_when_the_user_wants() {
    let home = tempfile::tempdir().unwrap();
    let (_, bytes) = media(home.path(), SIZE);
    let mut server = Server::start("127.0.0.1:0".parse().unwrap(), home.path());
    let address = server.address;
    let mut playing = Playing::start(home.path(), address.port());
    let out = playing.out.clone();
    let session = async {
        assert_eq!(server.session(false).await, 0);
        playing.pause(&mut server).await;
        for _ in 0..2 {
            server.kill();
            server = Server::start(address, home.path());
            let lost = until(&mut playing.events, |event| match event {
                PlayEvent::Reconnecting { offset, .. } => Some(*offset),
                _ => None,
            })
            .await;
            assert_eq!(server.session(true).await, lost, "it goes on at the next byte");
        }
        assert!(!out.exists());
        playing.toggle();
        let next = server.events.recv().await;
        assert!(matches!(next, Some(server::ServeEvent::Resumed { .. })), "{next:?}");
        let outcome = playing.task.await.unwrap().unwrap();
        server.kill();
        outcome
    };
    let outcome = timeout(PATIENCE, session).await.expect("it comes to its end");
    assert!(matches!(outcome, Outcome::Complete(_)), "{outcome:?}");
    assert!(fs::read(&out).unwrap() == bytes);
    assert_nothing_beside(&out);
}

/// A paused play that the server ends, and that is resumed after more time than a lost session is
/// tried for.
async fn ended_and_resumed(target: impl Fn(&Path) -> Target) {
    let home = tempfile::tempdir().unwrap();
    let (_, bytes) = media(home.path(), SIZE);
    let target = target(&home.path().join("out.mp4"));
    let patience = Duration::from_secs(2);
    let max_pause = Duration::from_millis(200);
    let mut server = Server::start_with("127.0.0.1:0".parse().unwrap(), home.path(), max_pause);
    let settings = client::PlaySettings { retry_for: patience, ..settings() };
    let mut playing = Playing::start_with(home.path(), server.address.port(), &target, settings);
    let out = playing.out.clone();
    let session = async {
        assert_eq!(server.session(false).await, 0);
        playing.pause(&mut server).await;
        let next = server.events.recv().await;
        let Some(server::ServeEvent::Closed { reason, .. }) = next else { panic!("{next:?}") };
        assert_eq!(reason, "paused for too long");
        let early = timeout(2 * patience, server.events.recv()).await;
        assert!(early.is_err(), "it comes back when it is resumed: {early:?}");
        playing.toggle();
        assert!(server.session(false).await > SIZE as u64 / 4);
        playing.task.await.unwrap().unwrap()
    };
    let outcome = timeout(PATIENCE, session).await.expect("it comes to its end");
    assert!(matches!(outcome, Outcome::Complete(_)), "{outcome:?}");
    assert!(target == Target::Discard || fs::read(&out).unwrap() == bytes);
}

#[tokio::test]
async fn and_one_that_the_server_ends_goes_on_when_the_user_wants() {
    let file = |path: &Path| Target::File { path: path.into(), overwrite: false, resume: true };
    ended_and_resumed(file).await;
}

#[tokio::test]
async fn and_so_does_one_that_keeps_nothing() {
    ended_and_resumed(|_| Target::Discard).await;
}
