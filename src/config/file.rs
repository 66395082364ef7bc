//! The configuration file: which one is read, and what one that was only found may say.

use std::path::Path;
use std::{fs, io};

use toml::{Table, Value};

use super::settings::Layer;
use super::{Environment, Error, Notice};

/// Where a file is looked for under the working directory. Other programs use this name, too.
const IN_WORKING_DIR: &str = "config/default.toml";

/// Appended to what is wrong with a file that nobody named.
const FOUND: &str = "\nThis file was found in the working directory. If it belongs to another \
                     program, name your own with --config FILE.";

/// Reads the file that was named, or the first of the two usual ones that is there and ours.
pub(super) fn read(
    named: Option<&Path>,
    environment: &Environment,
    notices: &mut Vec<Notice>,
) -> Result<Layer, Error> {
    let named = named.map(|path| environment.resolve(path));
    if let Some(path) = named.or_else(|| environment.path("QUICSTREAM_CONFIG")) {
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let layer = Layer::from_toml(&text, &path)?;
        notices.push(Notice::Reads(path));
        return Ok(layer);
    }
    let here = environment.resolve(Path::new(IN_WORKING_DIR));
    if let Some(text) = read_if_there(&here)? {
        match foreign_table(&text) {
            Some(table) => notices.push(Notice::Foreign { path: here, table }),
            None => {
                let layer = Layer::from_toml(&text, &here).map_err(found)?;
                refuse_trust(&layer, &here)?;
                notices.push(Notice::Reads(here));
                return Ok(layer);
            }
        }
    }
    let Some(own) = environment.config_dir().map(|dir| dir.join("config.toml")) else {
        return Ok(Layer::default());
    };
    let Some(text) = read_if_there(&own)? else { return Ok(Layer::default()) };
    let layer = Layer::from_toml(&text, &own)?;
    notices.push(Notice::Reads(own));
    Ok(layer)
}

/// The text of a file that need not be there. Anything but a regular file is not meant.
fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            fs::read_to_string(path).map(Some).map_err(unreadable(path))
        }
        Ok(_) => Ok(None),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(unreadable(path)(error)),
        },
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    |cause| Error::Read { path: path.to_owned(), cause }
}

/// The first top-level table that is not a section of ours. A text that is no TOML has none.
fn foreign_table(text: &str) -> Option<String> {
    let table: Table = text.parse().ok()?;
    let is_table = |value: &Value| match value {
        Value::Table(_) => true,
        Value::Array(values) => values.iter().any(Value::is_table),
        _ => false,
    };
    let foreign = |(key, value): &(String, Value)| {
        is_table(value) && !Layer::SECTIONS.contains(&key.as_str())
    };
    table.into_iter().find(foreign).map(|(key, _)| key)
}

/// Says of a fault that it is in a file which nobody named.
fn found(error: Error) -> Error {
    match error {
        Error::Parse { path, problem } => Error::Parse { path, problem: problem + FOUND },
        other => other,
    }
}

/// Whoever can write into a directory must not decide whom one who plays there trusts.
fn refuse_trust(layer: &Layer, path: &Path) -> Result<(), Error> {
    let trust = &layer.trust;
    let decided = [
        (trust.insecure == Some(true), "tls.insecure"),
        (trust.ca.is_some(), "tls.ca"),
        (trust.pin.is_some(), "tls.pin"),
        (layer.client.token_file.is_some(), "client.token_file"),
    ];
    match decided.into_iter().find(|(is_set, _)| *is_set) {
        Some((_, key)) => Err(Error::TrustInFoundFile { path: path.to_owned(), key }),
        None => Ok(()),
    }
}
