//! `quicstream serve`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::broadcast::{self, Producer};
use super::job::JobSignals;
use super::reload::{self, IdentityFiles, TokenFile};
use super::stop::{self, Stop};
use super::supervisor;
use super::worker::{RunningWorkers, Worker};
use crate::config::{self, Credentials, ServeConfig};
use crate::http::HttpListener;
use crate::media::{self, Broadcaster, Library};
use crate::server::{Admission, ServeEvent, Server, Sessions};
use crate::shell::quote;
use crate::transport::{
    ActiveIdentity, Certificate, Identity, Listener, ResetKey, Sockets, granted_socket_buffer,
};
use crate::ui;
use crate::{admin, exit};

/// How often it is looked whether the last viewer of the last broadcast has gone.
const LAST_VIEWER_CHECK: Duration = Duration::from_millis(100);

/// How long before its end a certificate is warned of.
const RENEWAL_MARGIN: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A server that is bound and has not accepted anybody yet.
pub(super) struct Bound {
    /// The first endpoint, on the current runtime.
    pub(super) listener: Listener,
    /// Those beside it.
    pub(super) workers: Vec<Worker>,
    pub(super) identity: Identity,
    pub(super) library: Arc<Library>,
    pub(super) admission: Arc<Admission>,
    /// What clients are shown.
    pub(super) active: ActiveIdentity,
}

/// Serves until a signal comes.
///
/// # Errors
/// The media, the certificate or the address cannot be had.
pub(super) fn run(config: ServeConfig) -> anyhow::Result<u8> {
    let runtime = super::runtime()?;
    let guard = runtime.enter();
    let producers = broadcast::producers(&config.live)?;
    let live: Vec<_> = producers.iter().map(Producer::broadcaster).collect();
    let bound = bind(&config, live.clone())?;
    let Bound { listener, workers, identity, library, admission, active } = bound;
    let admin = config.admin.map(bind_admin).transpose()?;
    drop(guard);
    let recorded = live.clone();
    let unwritten = move || recorded.iter().map(|live| live.unwritten()).sum();
    let piped = producers.iter().any(Producer::is_stdin).then(CancellationToken::new);
    let Stop { shutdown, reloads } = stop::listen(piped.clone(), unwritten)?;

    let sessions = Arc::new(Sessions::default());
    let ui = ui::serve(config.report, sessions.clone()).context("cannot start")?;
    super::start_log(config.report, ui.has_colors(), ui.sender());
    let events = ui.sender();
    let address = listener.address();
    events.send(ServeEvent::Listening {
        addr: address,
        fingerprint: identity.fingerprint(),
        media: library.name(),
        url: url(&listener, &identity, &library),
        admin: admin.as_ref().map(HttpListener::address),
    });
    if let Some(doubt) = library.doubt() {
        let error: &dyn std::error::Error = doubt;
        tracing::warn!(error, "clients are told to come back");
    }
    let report = move |event| events.send(event);
    let token_file = config.tokens.as_deref().map(TokenFile::open).transpose()?;
    let identity_files = IdentityFiles::new(&config.credentials, &identity, active);
    let tokens = token_file.as_ref().map(TokenFile::tokens);
    let server = Arc::new(Server::new(config.server, library, admission, tokens, sessions, report));
    if config.tokens.is_none() && !address.ip().is_loopback() {
        tracing::warn!("anybody who can reach {address} can watch; --tokens FILE says who may");
    }
    warn_of_small_buffers(config.transport.socket_buffer);
    warn_of_dates(&identity, &config.credentials);

    // From then on nothing more is said of broadcasts.
    let over = CancellationToken::new();
    // Why the one broadcast that there is cannot be.
    let (refuse, refused) = mpsc::channel();
    let workers = RunningWorkers::start(workers, &server, &shutdown).context("cannot start")?;
    let served = runtime.block_on(async {
        if let Some(job) = JobSignals::listen().context("cannot listen for signals")? {
            let events = ui.sender();
            tokio::spawn(job.heed(move || events.redraw()));
        }
        let maintained = server.clone();
        let until = shutdown.clone();
        tokio::spawn(async move { maintained.maintain(until).await });
        let has_more = config.media.is_some() || !producers.iter().all(Producer::is_stdin);
        for producer in producers {
            let events = ui.sender();
            let (shutdown, server) = (shutdown.clone(), server.clone());
            let (tell_end, has_ended) = oneshot::channel();
            let (refuse, piped) = (refuse.clone(), piped.clone());
            tokio::spawn(async move {
                match has_ended.await {
                    Ok(None) => {}
                    Ok(Some(error)) if !has_more => _ = refuse.send(error),
                    Ok(Some(error)) => tracing::error!("{error:#}"),
                    Err(_) => return,
                }
                match has_more {
                    true => sleep(stop::PIPE_TIME).await,
                    false => end_after_last(&server, &shutdown).await,
                }
                piped.iter().for_each(CancellationToken::cancel);
            });
            let over = over.clone();
            let report = move |event| {
                if !over.is_cancelled() {
                    events.send(event);
                }
            };
            let ended = move |refused| _ = tell_end.send(refused);
            producer.start(report, ended).context("cannot start")?;
        }
        let inform = supervisor::inform(server.clone(), workers.handles(), shutdown.clone());
        let informed = tokio::spawn(inform);
        let ended = CancellationToken::new();
        let admin = admin.map(|listener| {
            let (server, draining) = (server.clone(), shutdown.clone());
            tokio::spawn(admin::serve(listener, server, draining, ended.clone()))
        });
        if let Some(token_file) = token_file {
            tokio::spawn(reload::follow_tokens(token_file, reloads.clone()));
        }
        if let Some(files) = identity_files {
            tokio::spawn(reload::follow_identity(files, reloads));
        }
        let served = server.serve(listener, shutdown).await;
        let others_served = workers.ended().await;
        ended.cancel();
        let _ = informed.await;
        if let Some(admin) = admin {
            let _ = admin.await;
        }
        anyhow::Ok(served.and(others_served)?)
    });
    over.cancel();
    for on_the_air in live.iter().filter_map(|live| live.status()) {
        let cause = "the server has ended".to_owned();
        let (title, bytes) = (on_the_air.title, on_the_air.edge);
        ui.sender().send(ServeEvent::LiveEnded { title, bytes, cause });
    }
    // What is to be recorded has come; how long the disk may take is for the user to say.
    live.iter().for_each(|live| live.flush());
    // What else waits for a disk must not keep us.
    runtime.shutdown_background();
    ui.finish(None);
    served?;
    refused.try_recv().map_or(Ok(exit::DONE), Err)
}

/// Ends a server that has nothing more to serve, once its last viewer has its end.
async fn end_after_last(server: &Server, shutdown: &CancellationToken) {
    while server.sessions().count() > 0 {
        sleep(LAST_VIEWER_CHECK).await;
    }
    shutdown.cancel();
}

/// Bursts of packets overflow what kernels grant by default; only an administrator can change it.
fn warn_of_small_buffers(wanted: u32) {
    if let Some(granted) = granted_socket_buffer(wanted).filter(|granted| *granted < wanted) {
        tracing::warn!(
            "the kernel grants socket buffers of {} KiB where {} KiB are asked for; many viewers \
             will lose packets (on Linux, raise net.core.rmem_max and net.core.wmem_max)",
            granted / 1024,
            wanted / 1024
        );
    }
}

/// A server does not renew its certificate by itself: that would break every pin.
fn warn_of_dates(identity: &Identity, credentials: &Credentials) {
    let (file, renew) = match credentials {
        Credentials::Named { cert, key } => {
            let [new_cert, new_key] = [cert, key].map(|path| quote(path.as_os_str()));
            let command = format!("quicstream gen-cert --force --cert {new_cert} --key {new_key}");
            (cert.display(), format!("get a new one from its issuer, or make one with: {command}"))
        }
        Credentials::Own { cert, .. } => {
            (cert.display(), "make a new one with: quicstream gen-cert --force".to_owned())
        }
        Credentials::Ephemeral => return,
    };
    if let Some(doubt) = identity.doubt(RENEWAL_MARGIN) {
        tracing::warn!(
            "the certificate in {file} {doubt}: {renew} (--name for each name that it has to \
             carry), then restart; whoever pinned the old one needs the new fingerprint"
        );
    }
}

/// Makes ready all that a server needs. Belongs inside a runtime, which the first endpoint will
/// live on.
pub(super) fn bind(config: &ServeConfig, live: Vec<Arc<Broadcaster>>) -> anyhow::Result<Bound> {
    if let (Some(path), Some(size)) = (&config.media, config.generate) {
        media::generate(path, size)
            .with_context(|| format!("cannot generate {}", path.display()))?;
    }
    let library = Library::new(config.media.as_deref(), config.cache)?;
    let mut library = library.with_broadcasts(live);
    if let Some(digests) = &config.digests {
        library = library.keeping_digests(digests);
    }
    if config.store_digests {
        library = library.storing_digests();
    }
    let library = Arc::new(library);
    let identity = match &config.credentials {
        Credentials::Named { cert, key } => Identity::load(cert, key)?,
        Credentials::Own { cert, key } => {
            Identity::load_or_create(cert, key).map_err(super::in_state_directory)?
        }
        Credentials::Ephemeral => {
            let names = Certificate::LOCAL_NAMES.map(String::from);
            Certificate::self_signed(&names, Certificate::DAYS)?.into()
        }
    };
    let active = ActiveIdentity::new(&identity)?;
    let admission = Arc::new(Admission::new(config.connections));
    let reset_key = reset_key(config.reset_key.as_deref());
    let Sockets { first, others } =
        Sockets::bind(config.listen, config.workers, config.load_balancing.as_ref())?;
    let listen =
        |socket| Listener::start(socket, &active, &reset_key, admission.clone(), &config.transport);
    let listener = listen(first)?;
    let workers = others.into_iter().map(|socket| Worker::new(|| listen(socket)));
    let workers = workers.collect::<anyhow::Result<_>>()?;
    Ok(Bound { listener, workers, identity, library, admission, active })
}

fn bind_admin(address: SocketAddr) -> anyhow::Result<HttpListener> {
    HttpListener::bind(address).with_context(|| format!("cannot use the TCP address {address}"))
}

/// Without a key that is kept, the clients of a server that is restarted learn it from their
/// timers: that is no reason not to serve.
fn reset_key(path: Option<&Path>) -> ResetKey {
    path.map_or_else(ResetKey::random, |path| {
        ResetKey::load_or_create(path).unwrap_or_else(|error| {
            tracing::debug!("no key for stateless resets in {}: {error}", path.display());
            ResetKey::random()
        })
    })
}

/// What to give to `play` on another machine.
fn url(listener: &Listener, identity: &Identity, library: &Library) -> String {
    let address = listener.address();
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        ip => outward_address(ip).unwrap_or(ip),
    };
    let title = library.only_title();
    let fingerprint = identity.fingerprint();
    config::url(&host.to_string(), address.port(), title.as_deref(), Some(&fingerprint))
}

/// The address of this machine that others are likely to reach it at: the one it would use
/// itself to reach them. Nothing is sent; the addresses are those set aside for documentation.
fn outward_address(unspecified: IpAddr) -> Option<IpAddr> {
    let elsewhere: IpAddr = match unspecified {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect((elsewhere, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
