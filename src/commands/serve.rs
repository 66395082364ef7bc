//! `quicstream serve`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::Interrupts;
use crate::config::{Credentials, ServeConfig};
use crate::exit;
use crate::media::{self, Library};
use crate::server::{self, Sessions};
use crate::transport::{Certificate, Identity, Listener};
use crate::ui::{self, Told};

/// A server that is bound and has not accepted anybody yet.
pub(super) struct Bound {
    pub(super) listener: Listener,
    pub(super) identity: Identity,
    pub(super) library: Arc<Library>,
}

/// Serves until a signal comes.
///
/// # Errors
/// The media, the certificate or the address cannot be had.
pub(super) fn run(config: ServeConfig) -> anyhow::Result<u8> {
    let runtime = super::runtime().context("cannot start")?;
    let _guard = runtime.enter();
    let Bound { listener, identity, library } = bind(&config)?;
    let media = name_of(library.first()?.as_deref());

    let sessions = Arc::new(Sessions::default());
    let ui = ui::Serve::start(config.report, sessions.clone()).context("cannot start")?;
    super::start_log(config.report, ui.has_colors(), ui.log_writer());
    let events = ui.events();
    events.send(Told::Listening {
        addr: listener.address(),
        fingerprint: identity.fingerprint(),
        media,
    });
    let report = move |event| events.send(Told::Session(event));

    runtime.block_on(async {
        let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;
        let serving =
            server::serve(listener, library, config.server, sessions, report, interrupts.next());
        serving.await;
        anyhow::Ok(())
    })?;
    ui.finish(None);
    Ok(exit::DONE)
}

/// Makes ready all that a server needs. Belongs inside a runtime, which the endpoint will live on.
pub(super) fn bind(config: &ServeConfig) -> anyhow::Result<Bound> {
    if let (Some(path), Some(size)) = (&config.media, config.generate) {
        media::generate(path, size)
            .with_context(|| format!("cannot generate {}", path.display()))?;
    }
    let library = Arc::new(Library::new(config.media.as_deref(), config.cache)?);
    let identity = match &config.credentials {
        Credentials::Files { cert, key } => Identity::load_or_create(cert, key)?,
        Credentials::Ephemeral => {
            let names = Certificate::LOCAL_NAMES.map(String::from);
            Certificate::self_signed(&names, Certificate::DAYS)?.into()
        }
    };
    let listener =
        Listener::bind(config.listen, &identity, &config.transport, config.server.max_connections)?;
    Ok(Bound { listener, identity, library })
}

/// What people call the media.
fn name_of(path: Option<&Path>) -> String {
    path.map_or_else(|| "the sample clip".into(), |path| path.display().to_string())
}
