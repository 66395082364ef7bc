//! Certificate, key and tokens of a running server, read anew when their files change or when the
//! operator says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::interval;

use super::watched::Watched;
use crate::config::{self, Credentials};
use crate::server::{Token, Tokens};
use crate::transport::{ActiveIdentity, Fingerprint, Identity};

/// How often the file of tokens is looked at: what is removed from it ends within two seconds.
const LOOK_AT_TOKENS: Duration = Duration::from_secs(1);

/// How often certificate and key are looked at.
const LOOK_AT_IDENTITY: Duration = Duration::from_secs(5);

/// Tells when to read everything anew, whether or not it has changed.
pub(super) type Reloads = watch::Receiver<()>;

/// A file of tokens, and what it said when it was last good.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    tokens: Arc<Tokens>,
    watched: Watched,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is no file of tokens: exit 2.
    pub(super) fn open(path: &Path) -> Result<Self, config::Error> {
        let watched = Watched::new(&[path]);
        let tokens = Arc::new(Tokens::new(config::read_tokens(path)?));
        Ok(Self { path: path.to_owned(), tokens, watched })
    }

    pub(super) fn tokens(&self) -> Arc<Tokens> {
        self.tokens.clone()
    }

    fn read(&mut self, forced: bool) {
        if self.watched.changed() || forced {
            self.replace(config::read_tokens(&self.path));
        }
    }

    fn replace(&self, read: Result<Vec<Token>, config::Error>) {
        match read {
            Ok(tokens) => {
                tracing::info!("{} tokens from {}", tokens.len(), self.path.display());
                self.tokens.replace(tokens);
            }
            Err(error) => tracing::warn!("{error}; the tokens that were read before stay good"),
        }
    }
}

/// The files of a certificate and its key, and what is shown of them.
#[derive(Debug)]
pub(super) struct IdentityFiles {
    cert: PathBuf,
    key: PathBuf,
    shown: Fingerprint,
    active: ActiveIdentity,
    watched: Watched,
    /// They changed, and do not fit yet: whoever replaces them does so one after the other.
    unfinished: bool,
}

impl IdentityFiles {
    /// Follows the files that `active` was read from; `None` where there are none.
    pub(super) fn new(
        credentials: &Credentials,
        identity: &Identity,
        active: ActiveIdentity,
    ) -> Option<Self> {
        let (cert, key) = match credentials {
            Credentials::Named { cert, key } | Credentials::Own { cert, key } => (cert, key),
            Credentials::Ephemeral => return None,
        };
        let watched = Watched::new(&[cert, key]);
        let (cert, key, shown) = (cert.clone(), key.clone(), identity.fingerprint());
        Some(Self { cert, key, shown, active, watched, unfinished: false })
    }

    fn read(&mut self, forced: bool) {
        let again = self.unfinished;
        if !(self.watched.changed() || again || forced) {
            return;
        }
        let read = Identity::load(&self.cert, &self.key).map_err(anyhow::Error::from);
        let replaced = read.and_then(|identity| {
            self.active.replace(&identity)?;
            Ok(identity.fingerprint())
        });
        self.unfinished = replaced.is_err() && !again;
        match replaced {
            Ok(fingerprint) if fingerprint != self.shown => {
                self.shown = fingerprint;
                tracing::warn!(
                    "new connections get the certificate in {} from now on, SHA-256 {fingerprint}",
                    self.cert.display()
                );
            }
            Ok(_) => {}
            Err(error) if again || forced => {
                tracing::warn!(
                    "{error:#}; clients are shown the certificate that was there before"
                );
            }
            Err(_) => {}
        }
    }
}

/// Reads the tokens anew whenever they change or `reloads` says so. A bad file is logged, and what
/// was before stays.
pub(super) async fn follow_tokens(file: TokenFile, reloads: Reloads) {
    follow(file, reloads, LOOK_AT_TOKENS, TokenFile::read).await;
}

/// The same for certificate and key.
pub(super) async fn follow_identity(files: IdentityFiles, reloads: Reloads) {
    follow(files, reloads, LOOK_AT_IDENTITY, IdentityFiles::read).await;
}

async fn follow<T: Send + 'static>(
    mut files: T,
    mut reloads: Reloads,
    period: Duration,
    read: fn(&mut T, bool),
) {
    let mut ticks = interval(period);
    loop {
        let forced = tokio::select! {
            _ = ticks.tick() => false,
            Ok(()) = reloads.changed() => true,
        };
        // A disk may be slow.
        let looked = tokio::task::spawn_blocking(move || {
            read(&mut files, forced);
            files
        });
        match looked.await {
            Ok(followed) => files = followed,
            // A panic has said what there is to say.
            Err(_) => return,
        }
    }
}
