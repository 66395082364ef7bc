//! What to play from where, in one argument: the address of a server or of several, or a URL.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::{Address, Invalid, Pins, Servers, Title};
use crate::transport::Fingerprint;

const SCHEME: &str = "quicstream";

/// What a URL shows of a title by its code: more than it has to, so that no shell finds anything of
/// its own there.
const ESCAPED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Servers, and a title and fingerprints where they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locator {
    /// Which have the title.
    pub servers: Servers,
    /// What to play.
    pub title: Option<Title>,
    /// The certificates to trust.
    pub pins: Option<Pins>,
}

impl FromStr for Locator {
    type Err = Invalid;

    /// Without a scheme, a slash makes the difference between an address and a URL.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let has_scheme = text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('/'));
        let url = match has_scheme {
            true => text.to_owned(),
            false if text.contains('/') => format!("{SCHEME}://{text}"),
            false => return Ok(Self { servers: text.parse()?, title: None, pins: None }),
        };
        let (url, others) = split_others(&url);
        let (url, interface) = split_interface(&url);
        let (first, title, pins) = match Url::parse(&url) {
            Ok(url) => from_url(&url, interface)?,
            Err(error) => return Err(Invalid(format!("{text:?} is not a URL: {error}"))),
        };
        let servers = match others {
            None => Servers::one(first),
            Some(others) => Servers::of(first, others.parse()?),
        };
        Ok(Self { servers, title, pins })
    }
}

/// What a URL of one server says: the server, the title and the certificates to trust.
fn from_url(
    url: &Url,
    interface: Option<&str>,
) -> Result<(Address, Option<Title>, Option<Pins>), Invalid> {
    if url.scheme() != SCHEME {
        let problem = format!("a URL begins with {SCHEME}:// here, not {}://", url.scheme());
        return Err(Invalid(problem));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Invalid("a URL has no user name and no password here".into()));
    }
    if url.fragment().is_some() {
        return Err(Invalid("a URL ends before a \"#\" here: write %23 in a title".into()));
    }
    let port = url.port().map(|port| port.to_string().parse()).transpose()?;
    let host = url.host_str().unwrap_or_default();
    let host = match interface {
        Some(interface) => format!("{}%{interface}]", host.trim_end_matches(']')).parse()?,
        None => host.parse()?,
    };
    Ok((Address { host, port }, title(url)?, pins(url)?))
}

/// Takes the servers after the first out of a URL, which has one as far as its parser knows.
fn split_others(url: &str) -> (Cow<'_, str>, Option<&str>) {
    let split = || {
        let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| !scheme.contains('/'))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (servers, after) = rest.split_at_checked(end)?;
        let (first, others) = servers.split_once(',')?;
        Some((format!("{scheme}://{first}{after}").into(), Some(others)))
    };
    split().unwrap_or((url.into(), None))
}

/// Takes the interface out of a URL's `[fe80::1%eth0]`, or `[fe80::1%25eth0]` as RFC 6874 writes
/// it; the parser of URLs knows neither.
fn split_interface(url: &str) -> (Cow<'_, str>, Option<&str>) {
    let split = || {
        let (scheme, rest) = url.split_once("://[").filter(|(scheme, _)| !scheme.contains('/'))?;
        let (address, after) = rest.split_once(']')?;
        let (ip, interface) = address.split_once('%')?;
        let encoded = interface.strip_prefix("25").filter(|interface| !interface.is_empty());
        let interface = encoded.unwrap_or(interface);
        Some((format!("{scheme}://[{ip}]{after}").into(), Some(interface)))
    };
    split().unwrap_or((url.into(), None))
}

fn title(url: &Url) -> Result<Option<Title>, Invalid> {
    let path = url.path().strip_prefix('/').unwrap_or_default();
    let title = percent_decode_str(path).decode_utf8();
    let title = title.map_err(|_| Invalid("the title in the URL is not UTF-8".into()))?;
    (!title.is_empty()).then(|| title.parse()).transpose()
}

fn pins(url: &Url) -> Result<Option<Pins>, Invalid> {
    let mut pins = None;
    for (key, value) in url.query_pairs() {
        if key != "pin" {
            let problem = format!("{key:?} means nothing in the URL, only \"pin\" does");
            return Err(Invalid(format!("{problem}: write %3F for a \"?\" in a title")));
        }
        let value = value.parse().map_err(|error| Invalid(format!("the URL's pin: {error}")))?;
        if pins.replace(value).is_some() {
            let problem = "the URL has more than one pin: separate several by commas";
            return Err(Invalid(problem.into()));
        }
    }
    Ok(pins)
}

/// The URL that `play` takes for a title of a server. With a pin it belongs in quotes where a
/// shell reads it: a bare `?` is a pattern to some.
pub fn url(host: &str, port: u16, title: Option<&str>, pin: Option<&Fingerprint>) -> String {
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    };
    let path = utf8_percent_encode(title.unwrap_or_default(), &ESCAPED);
    let pin = pin.map(|pin| format!("?pin={}", pin.to_string().replace(':', "").to_lowercase()));
    format!("{SCHEME}://{host}:{port}/{path}{}", pin.unwrap_or_default())
}
