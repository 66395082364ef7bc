//! From merged layers to what a command needs.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layer::{Layer, Tls};
use super::{
    CertConfig, Credentials, Environment, Error, PlayConfig, Report, ServeConfig, Verbosity,
};
use crate::cli;
use crate::client::{Start, Target};
use crate::protocol::{OpenStream, Version};
use crate::session::Offer;
use crate::session::client::ScriptedPause;
use crate::transport::{self, Address, Certificate, Trust};
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

/// What `serve` needs.
///
/// # Errors
/// Whatever is wrong with the configuration: exit 2.
pub fn serve(
    global: &cli::Global,
    flags: &cli::Serve,
    environment: &Environment,
) -> Result<ServeConfig, Error> {
    let mut layer = Layer::merged(flags.into(), global.config.as_deref(), environment)?;
    let generate = flags.generate.map(|size| size.get());
    if generate.is_some() && layer.server.media.is_none() {
        let state = environment.state_dir().ok_or(Error::NoHome)?;
        layer.server.media = Some(state.join("generated.bin"));
    }
    let mut listen = SocketAddr::from(setting!(layer.server.listen));
    if let Some(port) = flags.port {
        listen.set_port(port);
    }
    let (cert, key) = credential_files(&layer.tls, environment)?;
    let credentials = Credentials::Files { cert, key };
    let report = report(global, &flags.reporting)?;
    let digests = environment.state_dir().map(|state| state.join("digests"));
    Ok(ServeConfig { generate, digests, ..serve_config(&layer, listen, credentials, report)? })
}

/// What `play` needs.
///
/// # Errors
/// Whatever is wrong with the configuration: exit 2.
pub fn play(
    global: &cli::Global,
    flags: &cli::Play,
    environment: &Environment,
) -> Result<PlayConfig, Error> {
    refuse_contradictions(flags)?;
    let layer = Layer::merged(flags.into(), global.config.as_deref(), environment)?;
    let title = title(flags);
    let output = output(flags, title.as_deref());
    let report = report(global, &flags.reporting)?;
    let embedded = flags.embedded.then(|| {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        serve_config(&layer, listen, Credentials::Ephemeral, report)
    });
    Ok(PlayConfig {
        server: Address {
            host: setting!(layer.client.host).into(),
            port: setting!(layer.client.port).get(),
        },
        list: flags.list,
        embedded: embedded.transpose()?,
        trust: trust(&layer.tls, environment)?,
        server_name: layer.tls.server_name.clone().map(Into::into),
        client: client_settings(&layer, flags, title, &output)?,
        transport: transport_settings(&layer)?,
        output,
        report,
    })
}

/// What `gen-cert` needs.
///
/// # Errors
/// Whatever is wrong with the configuration: exit 2.
pub fn gen_cert(
    global: &cli::Global,
    flags: &cli::GenCert,
    environment: &Environment,
) -> Result<CertConfig, Error> {
    let layer = Layer::merged(flags.into(), global.config.as_deref(), environment)?;
    let (cert, key) = new_credential_files(flags, &layer.tls, environment)?;
    let names = if flags.names.is_empty() {
        Certificate::LOCAL_NAMES.map(String::from).into()
    } else {
        flags.names.iter().cloned().map(String::from).collect()
    };
    let days = flags.days.map_or(Certificate::DAYS, |days| days.get());
    Ok(CertConfig { cert, key, names, days, force: flags.force })
}

/// What clap lets pass because it depends on the values: which version, and what is in a URL.
fn refuse_contradictions(flags: &cli::Play) -> Result<(), Error> {
    let server = flags.server.as_ref();
    let port = server.and_then(|server| server.address.port);
    let title = server.and_then(|server| server.title.as_ref());
    let pin = server.and_then(|server| server.pin);
    if port.is_some() && flags.port.is_some() {
        return Err(Error::PortTwice);
    }
    if title.is_some() && flags.title.is_some() {
        return Err(Error::TitleTwice);
    }
    if title.is_some() && flags.list {
        return Err(Error::TitleAndList);
    }
    if pin.is_some() && (flags.pin.is_some() || flags.ca.is_some() || flags.insecure) {
        return Err(Error::PinTwice);
    }
    let newer = [
        (title.is_some(), "a title in the URL"),
        (flags.title.is_some(), "--title"),
        (flags.list, "--list"),
        (flags.start.is_some(), "--start"),
        (flags.rate.is_some(), "--rate"),
        (flags.named_by_title, "-O"),
    ];
    match newer.into_iter().find(|(given, _)| *given) {
        Some((_, what)) if flags.protocol.map(Version::from) == Some(Version::V1) => {
            Err(Error::NotInVersion1(what))
        }
        _ => Ok(()),
    }
}

/// The title, in the URL or by its flag.
fn title(flags: &cli::Play) -> Option<String> {
    let in_url = flags.server.as_ref().and_then(|server| server.title.as_ref());
    in_url.or(flags.title.as_ref()).cloned().map(String::from)
}

/// A server, whatever it is for.
fn serve_config(
    layer: &Layer,
    listen: SocketAddr,
    credentials: Credentials,
    report: Report,
) -> Result<ServeConfig, Error> {
    let session_timeout = setting!(layer.server.session_timeout).get();
    // A heartbeat or two may come late without ending the session.
    let keepalive = setting!(layer.server.keepalive).get().min((session_timeout / 3).max(1));
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
        media: layer.server.media.clone(),
        generate: None,
        digests: None,
        credentials,
        server: server::Settings {
            offer,
            max_connections,
            max_rate: setting!(layer.server.max_rate).get(),
            pacing: setting!(layer.server.pacing).into(),
        },
        cache: setting!(layer.server.cache).get(),
        transport: transport_settings(layer)?,
        report,
    })
}

fn client_settings(
    layer: &Layer,
    flags: &cli::Play,
    title: Option<String>,
    output: &Target,
) -> Result<client::Settings, Error> {
    let pause_at = match layer.client.pause_at {
        Some(seq) => seq.get(),
        None if *output == Target::Discard => PAUSE_AT,
        None => 0,
    };
    let length = setting!(layer.client.pause_for).get();
    let bitrates = setting!(layer.client.bitrates).into_vec();
    Ok(client::Settings {
        open: OpenStream {
            codec: setting!(layer.client.codec).into(),
            profile: setting!(layer.client.profile).into(),
            bitrates: bitrates.into_iter().map(|bitrate| bitrate.get()).collect(),
            ..OpenStream::default()
        },
        script: (pause_at > 0).then_some(ScriptedPause { at: pause_at, length }),
        connect_timeout: setting!(layer.client.connect_timeout).get(),
        versions: flags.protocol.map_or(Version::ALL.into(), |version| vec![version.into()]),
        title,
        start: flags.start.map_or(Start::Byte(0), Start::from),
        rate: setting!(layer.client.rate).into(),
        wait: setting!(layer.client.wait).get(),
        retry_for: setting!(layer.client.retry_for).get(),
        verify: !flags.no_verify,
        require_digest: setting!(layer.client.require_digest),
    })
}

fn transport_settings(layer: &Layer) -> Result<transport::Settings, Error> {
    Ok(transport::Settings {
        mtu: setting!(layer.transport.mtu).get(),
        congestion: setting!(layer.transport.congestion).into(),
        idle_timeout: Duration::from_secs(setting!(layer.transport.idle_timeout).get()),
        socket_buffer: setting!(layer.transport.socket_buffer).get(),
    })
}

/// The server's certificate and key, in this order.
fn credential_files(tls: &Tls, environment: &Environment) -> Result<(PathBuf, PathBuf), Error> {
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) if cert == key => Err(Error::OneFile(cert.clone())),
        (Some(cert), Some(key)) => Ok((cert.clone(), key.clone())),
        (Some(_), None) => Err(Error::HalfAnIdentity { given: "tls.cert", missing: "tls.key" }),
        (None, Some(_)) => Err(Error::HalfAnIdentity { given: "tls.key", missing: "tls.cert" }),
        (None, None) => {
            let state = environment.state_dir().ok_or(Error::NoHome)?;
            Ok((state.join("cert.pem"), state.join("key.pem")))
        }
    }
}

/// The same for a pair that is to be made, of which flags may name one alone.
fn new_credential_files(
    flags: &cli::GenCert,
    tls: &Tls,
    environment: &Environment,
) -> Result<(PathBuf, PathBuf), Error> {
    match (&flags.cert, &flags.key) {
        (None, None) | (Some(_), Some(_)) => credential_files(tls, environment),
        (cert, key) => {
            let unnamed = Tls { cert: None, key: None, ..tls.clone() };
            let (usual_cert, usual_key) = credential_files(&unnamed, environment)?;
            Ok((cert.clone().unwrap_or(usual_cert), key.clone().unwrap_or(usual_key)))
        }
    }
}

fn trust(tls: &Tls, environment: &Environment) -> Result<Trust, Error> {
    match (&tls.ca, tls.pin, tls.insecure == Some(true)) {
        (None, None, false) => {
            let own = environment.state_dir().map(|state| state.join("cert.pem"));
            let files = own.into_iter().filter(|cert| cert.exists()).collect();
            Ok(Trust::Roots { system: true, files })
        }
        (Some(ca), None, false) => Ok(Trust::Roots { system: false, files: vec![ca.clone()] }),
        (None, Some(pin), false) => Ok(Trust::Pin(pin)),
        (None, None, true) => Ok(Trust::Insecure),
        _ => Err(Error::TrustTwice),
    }
}

fn output(flags: &cli::Play, title: Option<&str>) -> Target {
    let (overwrite, resume) = (flags.force, !flags.no_continue);
    let output = match flags.output.as_deref() {
        None if flags.named_by_title => {
            Target::Directory { path: PathBuf::new(), overwrite, resume }
        }
        None => Target::Discard,
        Some(path) if path == Path::new("-") => Target::Stdout,
        Some(path) if path.as_os_str().as_bytes().ends_with(b"/") || path.is_dir() => {
            Target::Directory { path: path.to_owned(), overwrite, resume }
        }
        Some(path) => Target::File { path: path.to_owned(), overwrite, resume },
    };
    match title {
        Some(title) => output.of_title(title),
        None => output,
    }
}

fn report(global: &cli::Global, reporting: &cli::Reporting) -> Result<Report, Error> {
    let verbosity = match (global.verbose, global.quiet) {
        (true, true) => return Err(Error::VerboseAndQuiet),
        (true, false) => Verbosity::Verbose,
        (false, true) => Verbosity::Quiet,
        (false, false) => Verbosity::Normal,
    };
    let cli::Reporting { json, progress } = *reporting;
    Ok(Report { json, progress, verbosity, color: global.color })
}
