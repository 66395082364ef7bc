//! What is wrong with an object, or with its store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::media::Error;

/// The most that is said of a store's answer, in characters: it may be a whole page.
const LONGEST: usize = 300;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such object.
    Absent,
    /// It is another one now.
    Changed,
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
    pub(super) fn at(self, url: &str) -> Error {
        let path = PathBuf::from(url);
        match self {
            Self::Absent | Self::Changed => Error::Changed(path),
            Self::OddKey(key) => {
                let key = format!("the key {key:?} has an empty or special part");
                Error::Io { path, source: io::Error::other(key) }
            }
            Self::Trouble(words) => Error::Io { path, source: io::Error::other(&*words) },
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
            error => Self::trouble(in_a_line(&error.to_string())),
        }
    }
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
