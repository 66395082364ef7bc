//! The file of tokens, and the token of a client. No message here shows a secret.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, de};
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};
use toml::Value;
use toml::value::Datetime;

use super::settings::Client;
use super::value::{BitRate, Whole};
use super::{Environment, Error};
use crate::client::Secret;
use crate::protocol::MAX_TOKEN;
use crate::server::Token;

/// The variable that holds the token of a client.
const VARIABLE: &str = "QUICSTREAM_TOKEN";

/// The least length of a secret, bytes: a shorter one is guessed.
const MIN_SECRET: usize = 8;

/// One token, as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Entry {
    #[serde(default, deserialize_with = "secret")]
    secret: Option<[u8; 32]>,
    #[serde(default, deserialize_with = "sha256")]
    sha256: Option<[u8; 32]>,
    titles: Option<Vec<String>>,
    expires: Option<Datetime>,
    max_sessions: Option<Whole<usize, 1, { u32::MAX as u64 }>>,
    max_rate: Option<BitRate<u64, 1, { u64::MAX }>>,
}

/// Reads the tokens of a server from a file.
///
/// # Errors
/// It cannot be read, or something in it is no token. The text names file, line and key.
pub fn read_tokens(path: &Path) -> Result<Vec<Token>, Error> {
    let text = fs::read_to_string(path)
        .map_err(|cause| Error::ReadTokens { path: path.to_owned(), cause })?;
    parse(&text).map_err(|problem| Error::Parse { path: path.to_owned(), problem })
}

fn parse(text: &str) -> Result<Vec<Token>, String> {
    let entries: BTreeMap<String, toml::Spanned<Entry>> =
        toml::from_str(text).map_err(|error| described(text, &error))?;
    let mut tokens: Vec<Token> = Vec::new();
    for (name, value) in entries {
        let line = line_of(text, &value.span());
        let token = token(&name, value.into_inner());
        let token = token.map_err(|problem| format!("line {line}: [{name}]: {problem}"))?;
        if let Some(same) = tokens.iter().find(|known| known.sha256 == token.sha256) {
            let other = &same.name;
            return Err(format!("line {line}: [{name}] has the same secret as [{other}]"));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// What is wrong, without what the file has there: it may be a secret in the wrong place.
fn described(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| line_of(text, &span));
    let message = error.message();
    let of_value = message.split_once(", expected ").or_else(|| message.split_once(" is not "));
    match of_value {
        Some((_, expected)) if !message.starts_with("unknown field") => {
            format!("line {line}: expected {expected}")
        }
        _ => format!("line {line}: {message}"),
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

fn token(name: &str, entry: Entry) -> Result<Token, String> {
    let Entry { secret, sha256, titles, expires, max_sessions, max_rate } = entry;
    let sha256 = match (secret, sha256) {
        (Some(_), Some(_)) => return Err("has both secret and sha256: keep one".into()),
        (Some(hash), None) | (None, Some(hash)) => hash,
        (None, None) => return Err("has neither secret nor sha256: give one".into()),
    };
    Ok(Token {
        name: name.to_owned(),
        sha256,
        titles,
        expires: expires.map(point_in_time).transpose()?,
        max_sessions: max_sessions.map(Whole::get),
        max_rate: max_rate.map(BitRate::get),
    })
}

/// A secret, as its hash.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(secret) if (MIN_SECRET..=MAX_TOKEN).contains(&secret.len()) => {
            Ok(Some(Token::hash(secret.as_bytes())))
        }
        _ => Err(de::Error::custom(format!(
            "a secret takes {MIN_SECRET} to {MAX_TOKEN} bytes in quotes"
        ))),
    }
}

/// The hash of a secret, in hexadecimal digits.
fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    let hash = match Value::deserialize(deserializer)? {
        Value::String(digits) => blake3::Hash::from_hex(digits.as_bytes()).ok(),
        _ => None,
    };
    let hash = hash.map(|hash| *hash.as_bytes());
    hash.map(Some).ok_or_else(|| de::Error::custom("sha256 takes 64 hexadecimal digits in quotes"))
}

/// A date and time of TOML; without an offset it is UTC, and without a time the day's beginning.
fn point_in_time(datetime: Datetime) -> Result<SystemTime, String> {
    let instant = || {
        let date = datetime.date?;
        let month = Month::try_from(date.month).ok()?;
        let date = Date::from_calendar_date(date.year.into(), month, date.day).ok()?;
        let time = match datetime.time {
            None => Time::MIDNIGHT,
            // A leap second is as good as the one before it.
            Some(time) => {
                let second = time.second.unwrap_or(0).min(59);
                Time::from_hms(time.hour, time.minute, second).ok()?
            }
        };
        let minutes = match datetime.offset {
            None | Some(toml::value::Offset::Z) => 0,
            Some(toml::value::Offset::Custom { minutes }) => i32::from(minutes),
        };
        let offset = UtcOffset::from_whole_seconds(minutes * 60).ok()?;
        let instant = OffsetDateTime::new_in_offset(date, time, offset);
        let seconds = u64::try_from(instant.unix_timestamp()).unwrap_or(0);
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    };
    instant().ok_or_else(|| "expires is not a date and time, such as 2027-01-31T00:00:00Z".into())
}

/// The token that a client shows: that of `--token-file`, else of the variable, else of the file
/// that the configuration names.
pub(super) fn of_client(
    flags: &Client,
    layer: &Client,
    environment: &Environment,
) -> Result<Option<Secret>, Error> {
    let variable = environment.variables.get(VARIABLE).filter(|value| !value.is_empty());
    match (&flags.token_file, variable, &layer.token_file) {
        (Some(path), _, _) | (None, None, Some(path)) => read_secret(path).map(Some),
        (None, Some(value), _) => {
            let secret = value.to_str().and_then(checked);
            secret.map(Some).ok_or(Error::Token { place: format!("the variable {VARIABLE}") })
        }
        (None, None, None) => Ok(None),
    }
}

fn read_secret(path: &PathBuf) -> Result<Secret, Error> {
    let text = fs::read_to_string(path)
        .map_err(|cause| Error::ReadTokens { path: path.clone(), cause })?;
    checked(&text).ok_or_else(|| Error::Token { place: path.display().to_string() })
}

/// One line of text, whose end does not count.
fn checked(text: &str) -> Option<Secret> {
    let secret = text.trim_end_matches(['\r', '\n']);
    let is_one = (1..=MAX_TOKEN).contains(&secret.len()) && !secret.contains(['\r', '\n']);
    is_one.then(|| Secret::new(secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tokens_says_who_may_watch_what() {
        let tokens = parse(
            r#"
            [living-room]
            secret = "a long secret"
            titles = ["films/", "cam.ts"]
            expires = 2027-01-31T01:00:00+01:00
            max_sessions = 3
            max_rate = "20M"
            [cellar]
            sha256 = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824"
            "#,
        )
        .unwrap();
        let [cellar, living_room] = &tokens[..] else { panic!("{tokens:?}") };
        assert_eq!(cellar.sha256, Token::hash(b"hello"));
        assert_eq!(cellar.titles, None);
        assert_eq!(living_room.sha256, Token::hash(b"a long secret"));
        assert_eq!(living_room.titles.as_deref().unwrap(), ["films/", "cam.ts"]);
        let expires = UNIX_EPOCH + Duration::from_secs(1_801_353_600);
        assert_eq!(living_room.expires, Some(expires));
        assert_eq!((living_room.max_sessions, living_room.max_rate), (Some(3), Some(20_000_000)));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_secret() {
        for (text, problem) in [
            ("\n[a]\nsecret = 12345678", "line 3: a secret takes"),
            ("[a]\nsecret = \"hunter2\"", "line 2: a secret takes 8 to 4096 bytes"),
            ("[a]\nsecret = \"hunter2hunter2", "line 2: "),
            ("[a]\nsha256 = \"hunter2\"", "sha256 takes 64 hexadecimal digits"),
            ("[a]\nsecret = \"hunter2hunter2\"\nsha256 = \"00\"", "sha256 takes"),
            ("[a]\ntitles = []", "has neither secret nor sha256"),
            ("[a]\nsecret = \"hunter2hunter2\"\nsecrets = 1", "unknown field `secrets`"),
            ("[a]\nsecret = \"hunter2hunter2\"\nexpires = 07:32:00", "expires is not a date"),
            (
                "[a]\nsecret = \"hunter2hunter2\"\nmax_sessions = 0",
                "line 3: expected a whole number from 1",
            ),
            (
                "[a]\nsecret = \"hunter2hunter2\"\n[b]\nsecret = \"hunter2hunter2\"",
                "line 3: [b] has the same secret as [a]",
            ),
            ("a = \"hunter2hunter2\"", "line 1: expected a table"),
            ("[a]\nmax_rate = \"hunter2\"", "line 2: expected a number of bit/s"),
            ("hunter2hunter2", "line 1: "),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
            assert!(!said.contains("hunter2") && !said.contains("12345678"), "{said}");
        }
    }
}
