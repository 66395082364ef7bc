//! What to play from where, in one argument: a server's address, or a URL.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::{Address, Invalid, Title};
use crate::transport::Fingerprint;

const SCHEME: &str = "quicstream";

/// What a URL shows of a title by its code: more than it has to, so that no shell finds anything of
/// its own there.
const ESCAPED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A server, and a title and a fingerprint where they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locator {
    /// The server.
    pub address: Address,
    /// What to play.
    pub title: Option<Title>,
    /// The certificate to trust.
    pub pin: Option<Fingerprint>,
}

impl FromStr for Locator {
    type Err = Invalid;

    /// Without a scheme, a slash makes the difference between an address and a URL.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let has_scheme = text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('/'));
        let url = match has_scheme {
            true => text.to_owned(),
            false if text.contains('/') => format!("{SCHEME}://{text}"),
            false => return Ok(Self { address: text.parse()?, title: None, pin: None }),
        };
        let (url, interface) = split_interface(&url);
        match Url::parse(&url) {
            Ok(url) => Self::from_url(&url, interface),
            Err(error) => Err(Invalid(format!("{text:?} is not a URL: {error}"))),
        }
    }
}

impl Locator {
    fn from_url(url: &Url, interface: Option<&str>) -> Result<Self, Invalid> {
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
        Ok(Self { address: Address { host, port }, title: title(url)?, pin: pin(url)? })
    }
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

fn pin(url: &Url) -> Result<Option<Fingerprint>, Invalid> {
    let mut pin = None;
    for (key, value) in url.query_pairs() {
        if key != "pin" {
            let problem = format!("{key:?} means nothing in the URL, only \"pin\" does");
            return Err(Invalid(format!("{problem}: write %3F for a \"?\" in a title")));
        }
        let value = value.parse().map_err(|error| Invalid(format!("the URL's pin: {error}")))?;
        if pin.replace(value).is_some() {
            return Err(Invalid("the URL has more than one pin: keep one".into()));
        }
    }
    Ok(pin)
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
