//! The page, and what its script and players ask for.

use hyper::Response;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::client::{Fetches, Link, Title};
use crate::http::{Body, full};

/// What stands in a path as it is, beside letters and digits.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What the page may do: run its own script, and load from here alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// A file of the page.
pub(super) struct Asset {
    content_type: &'static str,
    text: &'static str,
}

pub(super) const HTML: Asset = Asset {
    content_type: "text/html; charset=utf-8",
    text: include_str!("../../assets/web/page.html"),
};
pub(super) const SCRIPT: Asset = Asset {
    content_type: "text/javascript; charset=utf-8",
    text: include_str!("../../assets/web/page.js"),
};
pub(super) const STYLE: Asset = Asset {
    content_type: "text/css; charset=utf-8",
    text: include_str!("../../assets/web/page.css"),
};
pub(super) const ICON: Asset =
    Asset { content_type: "image/svg+xml", text: include_str!("../../assets/web/icon.svg") };

impl Asset {
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = of_type(self.content_type, self.text);
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        response
    }
}

fn of_type(content_type: &'static str, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The path of a title, below the secret. Its extension is seen.
pub(super) fn path_of(title: &str) -> String {
    format!("t/{}", utf8_percent_encode(title, PATH))
}

/// The titles, for the page.
pub(super) fn titles(titles: &[Title]) -> Response<Body> {
    #[derive(Serialize)]
    struct Entry<'a> {
        #[serde(flatten)]
        title: &'a Title,
        url: String,
    }
    #[derive(Serialize)]
    struct Titles<'a> {
        titles: Vec<Entry<'a>>,
    }
    let entry = |title| Entry { title, url: path_of(&title.title) };
    json(&Titles { titles: titles.iter().map(entry).collect() })
}

/// The titles, for a player. A control character would end a line of it.
pub(super) fn playlist(titles: &[Title]) -> Response<Body> {
    let mut list = String::from("#EXTM3U\n");
    for Title { title, .. } in titles {
        let name: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        list.push_str(&format!("#EXTINF:-1,{name}\n{}\n", path_of(title)));
    }
    of_type("audio/x-mpegurl; charset=utf-8", list)
}

/// The state of the link.
pub(super) async fn link(link: &Link, requests: &Fetches) -> Response<Body> {
    #[derive(Serialize)]
    struct State {
        server: String,
        /// `connected`, `reconnecting`, or `idle` while there is nothing to connect for.
        state: &'static str,
        /// Milliseconds.
        round_trip: Option<f64>,
        lost_packets: Option<u64>,
        requests: usize,
        /// Media bytes that came so far.
        bytes: u64,
    }
    let connection = link.connection();
    let path = connection.as_ref().map(|connection| connection.path());
    let state = match path {
        _ if requests.is_reconnecting() => "reconnecting",
        Some(_) => "connected",
        None => "idle",
    };
    let to_the_microsecond = |seconds: f64| (seconds * 1e6).round() / 1e3;
    json(&State {
        server: link.server(),
        state,
        round_trip: path
            .and_then(|path| path.rtt())
            .map(|time| to_the_microsecond(time.as_secs_f64())),
        lost_packets: path.map(|path| path.lost_packets()),
        requests: requests.count(),
        bytes: requests.bytes(),
    })
}

fn json(value: &impl Serialize) -> Response<Body> {
    // What these structs hold always has a form in JSON.
    of_type("application/json", serde_json::to_vec(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_a_path_whatever_is_in_it() {
        assert_eq!(path_of("films/a b.mp4"), "t/films/a%20b.mp4");
        assert_eq!(path_of("#?%\"<>\n.ts"), "t/%23%3F%25%22%3C%3E%0A.ts");
        assert_eq!(path_of("春.webm"), "t/%E6%98%A5.webm");
    }
}
