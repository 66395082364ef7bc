//! The answer to a question, which may have to wait for a disk.

use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::Arc;

use super::connection_context::ConnectionContext;
use super::grant::{Grant, in_trouble};
use crate::media::Entry;
use crate::protocol::{OpenStream, Options, Version};
use crate::session::server::Refusal;

/// What a question comes to.
pub(super) enum Answer {
    /// To OPEN_STREAM.
    Grant(Result<Box<Grant>, Refusal>),
    /// To LIST.
    Catalogue(Result<Arc<[Entry]>, Refusal>),
}

/// The answer that a client waits for, if it asked anything.
#[derive(Default)]
pub(super) struct PendingAnswer(Option<Pin<Box<dyn Future<Output = Answer> + Send>>>);

impl PendingAnswer {
    /// Begins to see whether an OPEN_STREAM can be granted.
    pub(super) fn open(
        &mut self,
        context: &Arc<ConnectionContext>,
        open: OpenStream,
        options: Options,
    ) {
        let context = context.clone();
        self.ask(context.clone(), async move {
            Answer::Grant(Grant::new(&context, &open, &options).await.map(Box::new))
        });
    }

    /// Begins to make the answer to a LIST.
    pub(super) fn list(&mut self, context: &Arc<ConnectionContext>, options: Options) {
        let server = context.server.clone();
        self.ask(context.clone(), async move {
            Answer::Catalogue(match server.access(Version::V2, &options) {
                Ok(access) => match server.library.catalogue().await {
                    Ok(entries) => Ok(access.of_catalogue(entries)),
                    Err(_) => Err(in_trouble()),
                },
                Err(refusal) => Err(refusal),
            })
        });
    }

    fn ask(
        &mut self,
        context: Arc<ConnectionContext>,
        answer: impl Future<Output = Answer> + Send + 'static,
    ) {
        let owed = context.owe_answer();
        self.0 = Some(Box::pin(async move {
            let answer = answer.await;
            drop(owed);
            answer
        }));
    }

    /// Refuses whatever was asked.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.0 = Some(Box::pin(ready(Answer::Grant(Err(refusal)))));
    }

    /// Gives the question up.
    pub(super) fn stop(&mut self) {
        self.0 = None;
    }

    /// Returns true while a question is not answered.
    pub(super) fn is_owed(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for the answer, for ever where nothing was asked. The work goes on where it was when
    /// the future is dropped.
    pub(super) async fn next(&mut self) -> Answer {
        match &mut self.0 {
            Some(answer) => {
                let answer = answer.await;
                self.0 = None;
                answer
            }
            None => pending().await,
        }
    }
}
