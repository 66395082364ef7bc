//! What is wrong with an object, or with its store.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::media;

/// The most that is said of an error, in characters: a store's answer may be a whole page.
const LONGEST: usize = 600;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such object.
    Absent,
    /// It is another one now.
    Changed,
    /// The store says that we may not.
    Forbidden(Arc<str>),
    /// A key on the way that cannot be named.
    OddKey(String),
    /// The store does not answer, says no, or says what makes no sense.
    Trouble(Arc<str>),
}

impl Failure {
    /// A trouble in these words.
    pub(super) fn trouble(words: impl Into<Arc<str>>) -> Self {
        Self::Trouble(words.into())
    }

    /// The same for the operator, of what is at `url`. What is absent was there when it was opened.
    pub(super) fn at(self, url: &str) -> media::Error {
        let path = PathBuf::from(url);
        match self {
            Self::Absent | Self::Changed => media::Error::Changed(path),
            Self::OddKey(key) => {
                let key = format!("the key {key:?} has an empty or special part");
                media::Error::Io { path, source: io::Error::other(key) }
            }
            Self::Forbidden(words) | Self::Trouble(words) => {
                media::Error::Io { path, source: io::Error::other(&*words) }
            }
        }
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        use object_store::path::Error as PathError;
        match error {
            object_store::Error::NotFound { .. } => Self::Absent,
            object_store::Error::Precondition { .. } => Self::Changed,
            object_store::Error::InvalidPath {
                source: PathError::EmptySegment { path } | PathError::BadSegment { path, .. },
            } => Self::OddKey(path),
            error @ object_store::Error::PermissionDenied { .. } => {
                Self::Forbidden(in_a_line(&chain(&error)).into())
            }
            error => Self::trouble(in_a_line(&chain(&error))),
        }
    }
}

/// An error and what it came from, as far as it does not say that itself.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// The beginning of a text that a store may have sent, without what a terminal would obey.
fn in_a_line(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = visible.take(LONGEST).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}
