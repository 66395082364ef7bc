//! What is to be played where nobody said: a file may be named by it.

use tokio::sync::mpsc;

use super::fetch::stop;
use super::link::Link;
use super::{Error, PlayCommand, PlaySettings, Unverified};

/// The title of a server that has only one; `None` if the user stopped before it was known.
///
/// # Errors
/// The server cannot be reached, or has more titles, or none.
pub async fn only_title(
    link: &Link,
    settings: &PlaySettings,
    commands: &mut mpsc::UnboundedReceiver<PlayCommand>,
) -> Result<Option<String>, Error> {
    let mut titles = tokio::select! {
        titles = link.titles(settings.token.as_ref()) => titles.map_err(|error| match error {
            Error::NeedsVersion2(_) if settings.require_digest => {
                Error::Unverified(Unverified::Version1)
            }
            Error::NeedsVersion2(_) => {
                Error::NeedsVersion2("titles to name a file by: name it with -o FILE")
            }
            error => error,
        })?,
        () = stop(commands) => return Ok(None),
    };
    match titles.pop() {
        Some(only) if titles.is_empty() => Ok(Some(only.title)),
        last => {
            titles.extend(last);
            Err(Error::TitleNeeded(titles))
        }
    }
}

impl PlaySettings {
    /// Asks for the title that a server says is its only one. What breaks the rules for titles is
    /// not repeated to it: without a title it sends the same.
    pub fn ask_for_only(&mut self, title: String) {
        let keeps_the_rules = title.split('/').all(|part| !matches!(part, "" | "." | ".."));
        self.title = Some(title).filter(|_| keeps_the_rules);
    }
}
