//! From merged layers to what a command needs.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::flags::{GenCert, Global, Play, Reporting, Serve};
use super::settings::Layer;
use super::stdout::is_stdout;
use super::value::{LbKey, PlayerCommand};
use super::{
    BridgeConfig, CertConfig, Credentials, Environment, Error, ManyConfig, Notice, PlayConfig,
    Report, ServeConfig, Verbosity, tls, tokens,
};
use crate::client::{LinkSettings, Start, Target};
use crate::protocol::{MAX_RETRY_WITH, OpenStream, Version};
use crate::server::ConnectionLimits;
use crate::session::Offer;
use crate::session::client::ScriptedPause;
use crate::transport::{self, Address, Certificate, LoadBalancing, Workers};
use crate::{client, server};

/// After which chunk to pause where nothing is said and the media is only counted, as the origin
/// client does it.
const PAUSE_AT: u32 = 3;

/// A setting that config/default.toml gives a value.
macro_rules! setting {
    ($layer:ident.$section:ident.$key:ident) => {
        $layer.$section.$key.clone().ok_or(Error::Missing(concat!(
            stringify!($section),
            ".",
            stringify!($key)
        )))?
    };
}

mod live;

/// What `serve` needs.
///
/// # Errors
/// Whatever is wrong with the configuration: exit 2.
pub fn serve(
    global: &Global,
    flags: &Serve,
    environment: &Environment,
) -> Result<ServeConfig, Error> {
    let mut notices = Vec::new();
    let named = global.config.as_deref();
    let mut layer = Layer::merged(flags.into(), named, environment, &mut notices)?;
    let generate = flags.generate.map(|size| size.get());
    if generate.is_some() && layer.server.media.is_none() {
        let state = environment.state_dir().ok_or(Error::NoHome)?;
        layer.server.media = Some(state.join("generated.bin"));
    }
    let mut listen = SocketAddr::from(setting!(layer.server.listen));
    if let Some(port) = flags.port {
        listen.set_port(port);
    }
    let credentials = tls::credentials(&layer.identity, environment)?;
    let report = report(global, &flags.reporting)?;
    let config = serve_config(&layer, listen, credentials, report, &mut notices)?;
    let state = environment.state_dir();
    let [digests, reset_key] =
        ["digests", "reset.key"].map(|file| Some(state.as_ref()?.join(file)));
    let tokens = layer.server.tokens.clone();
    let admin = layer.server.admin.map(SocketAddr::from);
    let workers = setting!(layer.server.workers).into();
    let load_balancing = load_balancing(&layer)?;
    Ok(ServeConfig {
        workers,
        load_balancing,
        generate,
        digests,
        reset_key,
        tokens,
        admin,
        notices,
        ..config
    })
}

/// What `play` needs.
///
/// # Errors
/// Whatever is wrong with the configuration: exit 2.
pub fn play(global: &Global, flags: &Play, environment: &Environment) -> Result<PlayConfig, Error> {
    refuse_contradictions(flags)?;
    let mut notices = Vec::new();
    let named = global.config.as_deref();
    let layer = Layer::merged(flags.into(), named, environment, &mut notices)?;
    let many = many(flags)?;
    let title = if many.is_some() { None } else { title(flags) };
    let output = output(flags, title.as_deref());
    let bridge = bridge(flags);
    let report = report(global, &flags.reporting)?;
    let embedded = flags.embedded.then(|| {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        serve_config(&layer, listen, Credentials::Ephemeral, report, &mut notices)
    });
    Ok(PlayConfig {
        servers: servers(&layer)?,
        list: flags.list,
        embedded: embedded.transpose()?,
        trust: tls::trust(&layer.trust, environment)?,
        server_name: layer.trust.server_name.clone().map(Into::into),
        link: LinkSettings {
            versions: flags.protocol.map_or(Version::ALL.into(), |version| vec![version.into()]),
            connect_timeout: setting!(layer.client.connect_timeout).get(),
            shared: bridge.is_some() || many.is_some(),
        },
        client: client_settings(&layer, flags, title, &output, environment)?,
        many,
        bridge,
        transport: transport_settings(&layer)?,
        output,
        report,
        notices,
    })
}

/// What `gen-cert` needs.
///
/// # Errors
/// Whatever is wrong with the configuration: exit 2.
pub fn gen_cert(
    global: &Global,
    flags: &GenCert,
    environment: &Environment,
) -> Result<CertConfig, Error> {
    let mut notices = Vec::new();
    let named = global.config.as_deref();
    let layer = Layer::merged(flags.into(), named, environment, &mut notices)?;
    let (cert, key) = tls::new_files(flags, &layer.identity, environment)?;
    let names = if flags.names.is_empty() {
        Certificate::LOCAL_NAMES.map(String::from).into()
    } else {
        flags.names.iter().cloned().map(String::from).collect()
    };
    let days = flags.days.map_or(Certificate::DAYS, |days| days.get());
    Ok(CertConfig { cert, key, names, days, force: flags.force, notices })
}

/// What clap lets pass because it depends on the values: which version, and what is in a URL.
fn refuse_contradictions(flags: &Play) -> Result<(), Error> {
    let server = flags.server.as_ref();
    let port = server.and_then(|server| server.servers.port());
    let title = server.and_then(|server| server.title.as_ref());
    let pin = server.and_then(|server| server.pins.as_ref());
    let trust = &flags.trust;
    if port.is_some() && flags.client.port.is_some() {
        return Err(Error::PortTwice);
    }
    // The URL that a server of one title prints has that title.
    if let Some(title) = title
        && (flags.all || flags.titles.iter().any(|other| other != title))
    {
        return Err(Error::TitleTwice);
    }
    if pin.is_some() && (trust.pin.is_some() || trust.ca.is_some() || trust.insecure.is_some()) {
        return Err(Error::PinTwice);
    }
    let newer = [
        (title.is_some(), "a title in the URL"),
        (!flags.titles.is_empty(), "--title"),
        (flags.all, "--all"),
        (flags.list, "--list"),
        (flags.start.is_some(), "--start"),
        (flags.client.rate.is_some(), "--rate"),
        (flags.named_by_title, "-O"),
        (flags.http.is_some(), "--http"),
        (flags.player.is_some(), "--player"),
    ];
    match newer.into_iter().find(|(given, _)| *given) {
        Some((_, what)) if flags.protocol.map(Version::from) == Some(Version::V1) => {
            Err(Error::NotInVersion1(what))
        }
        _ => Ok(()),
    }
}

/// Whom to connect to.
fn servers(layer: &Layer) -> Result<Vec<Address>, Error> {
    let default_port = setting!(layer.client.port);
    let servers = setting!(layer.client.host).clone().into_vec().into_iter();
    let address = |server: super::value::Address| Address {
        host: server.host.into(),
        port: server.port.unwrap_or(default_port).get(),
    };
    Ok(servers.map(address).collect())
}

/// The title, in the URL or by its flag.
fn title(flags: &Play) -> Option<String> {
    let in_url = flags.server.as_ref().and_then(|server| server.title.as_ref());
    in_url.or(flags.titles.first()).cloned().map(String::from)
}

/// Several titles, if there may be more than one.
fn many(flags: &Play) -> Result<Option<ManyConfig>, Error> {
    let patterns: Vec<_> = flags.titles.iter().cloned().map(String::from).collect();
    let directory = flags.output.clone().filter(|path| is_directory(path));
    let is_pattern = |text: &String| text.contains(['*', '?', '[', '{']);
    let is_one = match &*patterns {
        [] => !flags.all,
        // Without a directory it can only be a title.
        [only] => !is_pattern(only) || directory.is_none(),
        _ => false,
    };
    if is_one {
        return Ok(None);
    }
    let directory = directory.ok_or(Error::DirectoryNeeded)?;
    if flags.start.is_some() {
        return Err(Error::ManyFromTheMiddle);
    }
    let (overwrite, resume) = (flags.force, !flags.no_continue);
    Ok(Some(ManyConfig { patterns, directory, overwrite, resume }))
}

/// Whether a path names a directory, or has to.
fn is_directory(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/") || path.is_dir()
}

/// A server, whatever it is for.
fn serve_config(
    layer: &Layer,
    listen: SocketAddr,
    credentials: Credentials,
    report: Report,
    notices: &mut Vec<Notice>,
) -> Result<ServeConfig, Error> {
    let session_timeout = setting!(layer.server.session_timeout).get();
    let keepalive = keepalive(layer, session_timeout, notices)?;
    let offer = Offer {
        codecs: setting!(layer.server.codecs).into_vec().into_iter().map(String::from).collect(),
        bitrate: setting!(layer.server.bitrate).get(),
        chunk_size: setting!(layer.server.chunk_size).get(),
        keepalive: Duration::from_secs(keepalive),
        session_timeout: Duration::from_secs(session_timeout),
    };
    let max_connections = setting!(layer.server.max_connections).get();
    Ok(ServeConfig {
        listen,
        workers: Workers::ONE,
        load_balancing: None,
        media: layer.server.media.clone(),
        store_digests: setting!(layer.server.store_digests),
        live: live::live(layer, notices)?,
        generate: None,
        digests: None,
        tokens: None,
        reset_key: None,
        admin: None,
        connections: ConnectionLimits {
            max_connections,
            max_per_address: setting!(layer.server.max_per_address).get().min(max_connections),
        },
        credentials,
        server: server::ServeSettings {
            offer,
            stall_timeout: setting!(layer.server.stall_timeout).get(),
            open_timeout: setting!(layer.server.open_timeout).get(),
            max_pause: setting!(layer.server.max_pause).get(),
            send_memory: setting!(layer.server.send_memory).get(),
            peers: peers(layer)?,
            max_rate: setting!(layer.server.max_rate).get(),
            pacing: setting!(layer.server.pacing).into(),
        },
        cache: setting!(layer.server.cache).get(),
        transport: transport_settings(layer)?,
        report,
        notices: Vec::new(),
    })
}

/// How a balancer knows the server.
fn load_balancing(layer: &Layer) -> Result<Option<LoadBalancing>, Error> {
    let key =
        layer.server.lb_key.clone().map(LbKey::get).transpose().map_err(Error::BalancerKey)?;
    match layer.server.lb_id.clone() {
        Some(server_id) => Ok(Some(LoadBalancing { server_id, key })),
        None if key.is_some() => Err(Error::KeyWithoutServerId),
        None => Ok(None),
    }
}

/// Other servers, as the wire names them.
fn peers(layer: &Layer) -> Result<Option<String>, Error> {
    let Some(peers) = layer.server.peers.clone() else { return Ok(None) };
    let peers: Vec<_> = peers.into_vec().into_iter().map(Address::from).collect();
    let text = peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if text.len() > MAX_RETRY_WITH { Err(Error::TooManyPeers) } else { Ok(Some(text)) }
}

/// Seconds between heartbeats: at most a third of what ends a session or a connection, so that one
/// or two of them may come late.
fn keepalive(layer: &Layer, session_timeout: u64, notices: &mut Vec<Notice>) -> Result<u64, Error> {
    let idle_timeout = setting!(layer.transport.idle_timeout).get();
    let wanted = setting!(layer.server.keepalive).get().min((session_timeout / 3).max(1));
    let keepalive = wanted.min((idle_timeout / 3).max(1));
    if keepalive >= idle_timeout {
        return Err(Error::NoRoomForKeepalive { keepalive, idle_timeout });
    }
    if keepalive < wanted {
        notices.push(Notice::KeepaliveLowered { from: wanted, to: keepalive, idle_timeout });
    }
    Ok(keepalive)
}

fn client_settings(
    layer: &Layer,
    flags: &Play,
    title: Option<String>,
    output: &Target,
    environment: &Environment,
) -> Result<client::PlaySettings, Error> {
    let pause_at = match layer.client.pause_at {
        Some(seq) => seq.get(),
        None if *output == Target::Discard => PAUSE_AT,
        None => 0,
    };
    let length = setting!(layer.client.pause_for).get();
    let bitrates = setting!(layer.client.bitrates).into_vec();
    Ok(client::PlaySettings {
        open: OpenStream {
            codec: setting!(layer.client.codec).into(),
            profile: setting!(layer.client.profile).into(),
            bitrates: bitrates.into_iter().map(|bitrate| bitrate.get()).collect(),
            ..OpenStream::default()
        },
        script: (pause_at > 0).then_some(ScriptedPause { at: pause_at, length }),
        title,
        start: flags.start.map_or(Start::Usual, Start::from),
        end: None,
        validator: None,
        rate: setting!(layer.client.rate).into(),
        wait: setting!(layer.client.wait).get(),
        retry_for: setting!(layer.client.retry_for).get(),
        verify: !flags.no_verify,
        require_digest: setting!(layer.client.require_digest),
        token: tokens::of_client(&flags.client, &layer.client, environment)?,
    })
}

fn transport_settings(layer: &Layer) -> Result<transport::TransportSettings, Error> {
    Ok(transport::TransportSettings {
        mtu: setting!(layer.transport.mtu).get(),
        congestion: setting!(layer.transport.congestion).into(),
        idle_timeout: Duration::from_secs(setting!(layer.transport.idle_timeout).get()),
        socket_buffer: setting!(layer.transport.socket_buffer).get(),
    })
}

fn output(flags: &Play, title: Option<&str>) -> Target {
    let (overwrite, resume) = (flags.force, !flags.no_continue);
    let output = match flags.output.as_deref() {
        None if flags.named_by_title => {
            Target::Directory { path: PathBuf::new(), overwrite, resume }
        }
        None => Target::Discard,
        Some(path) if is_stdout(path) => Target::Stdout,
        Some(path) if is_directory(path) => {
            Target::Directory { path: path.to_owned(), overwrite, resume }
        }
        Some(path) => Target::File { path: path.to_owned(), overwrite, resume },
    };
    match title {
        Some(title) => output.of_title(title),
        None => output,
    }
}

fn bridge(flags: &Play) -> Option<BridgeConfig> {
    if flags.http.is_none() && flags.player.is_none() {
        return None;
    }
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = flags.http.map_or(loopback, SocketAddr::from);
    Some(BridgeConfig { listen, player: flags.player.clone().map(PlayerCommand::into_words) })
}

fn report(global: &Global, reporting: &Reporting) -> Result<Report, Error> {
    let verbosity = match (global.verbose, global.quiet) {
        (true, true) => return Err(Error::VerboseAndQuiet),
        (true, false) => Verbosity::Verbose,
        (false, true) => Verbosity::Quiet,
        (false, false) => Verbosity::Normal,
    };
    let Reporting { json, progress } = *reporting;
    Ok(Report { json, progress, verbosity, color: global.color })
}
