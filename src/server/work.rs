//! The work at the answer to a question: it may have to wait for a disk, and a session does not.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use super::Shared;
use super::grant::Grant;
use crate::media::{self, Entry};
use crate::protocol::{OpenStream, Options, Version};
use crate::session::server::Refusal;

/// What the question comes to.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is soon taken apart")]
pub(super) enum Answer {
    /// To OPEN_STREAM.
    Grant(Result<Grant, Refusal>),
    /// To LIST.
    Catalogue(Result<Arc<[Entry]>, media::Error>),
}

/// The work at one answer, or at none.
#[derive(Default)]
pub(super) struct Work(Option<Pin<Box<dyn Future<Output = Answer> + Send>>>);

impl Work {
    /// Begins to see whether an OPEN_STREAM can be granted.
    pub(super) fn open(
        &mut self,
        shared: Arc<Shared>,
        version: Version,
        open: OpenStream,
        options: Options,
    ) {
        self.0 = Some(Box::pin(async move {
            let Shared { settings, library, .. } = &*shared;
            Answer::Grant(Grant::new(settings, library, version, &open, &options).await)
        }));
    }

    /// Begins to make the answer to a LIST.
    pub(super) fn list(&mut self, shared: &Shared) {
        let library = shared.library.clone();
        self.0 = Some(Box::pin(async move { Answer::Catalogue(library.catalogue().await) }));
    }

    /// Gives it up.
    pub(super) fn stop(&mut self) {
        self.0 = None;
    }

    /// Whether there is any.
    pub(super) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for the answer, for ever where no question was asked. The work goes on where it was
    /// when the future is dropped.
    pub(super) async fn answer(&mut self) -> Answer {
        match &mut self.0 {
            Some(work) => {
                let answer = work.await;
                self.0 = None;
                answer
            }
            None => pending().await,
        }
    }
}
