//! Broadcasts.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use toml::Value;

use super::{Invalid, written};
use crate::media;

/// A broadcast: its title, and the FIFO that it comes from, if not from stdin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Live {
    /// What clients call it.
    pub title: String,
    /// The FIFO; `None` is stdin.
    pub path: Option<PathBuf>,
}

impl FromStr for Live {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (title, path) = match text.split_once('=') {
            Some((title, path)) => (title, Some(path)),
            None => (text, None),
        };
        if !media::is_title(title) || path == Some("") {
            let expected = "a title, such as cam.ts, or with the FIFO that it comes from, such as \
                            cam.ts=/run/cam.fifo";
            return Err(Invalid::expected(format!("{text:?}"), expected));
        }
        let path = path.filter(|path| *path != "-").map(PathBuf::from);
        Ok(Self { title: title.to_owned(), path })
    }
}

impl TryFrom<Value> for Live {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        written(value, &["string"], "a title in quotes")?.parse()
    }
}
