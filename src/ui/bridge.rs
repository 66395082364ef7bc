//! What people see of a bridge.

use std::io;
use std::sync::Arc;

use super::fetches::{self, Terms};
use super::queue::UiEvent;
use super::screen::EventLine;
use super::text::{bytes, escape, length};
use super::thread::UiThread;
use crate::bridge::BridgeEvent;
use crate::client::Fetches;
use crate::config::Report;

/// Starts to show a bridge whose requests are in `requests`.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(report: Report, requests: Arc<Fetches>) -> io::Result<UiThread<BridgeEvent>> {
    let terms = Terms { idle: "waiting for a player", thing: "request" };
    fetches::start(report, requests, terms, words)
}

impl UiEvent for BridgeEvent {}

/// Returns what people are told of an event. Requests that go well are rows, not lines: a player
/// makes one at every seek.
fn words(event: &BridgeEvent) -> Vec<EventLine> {
    match event {
        BridgeEvent::Bridge { url, addr, is_open } => {
            let line = |name, text| EventLine::new(' ', "cyan", name, text);
            let mut lines = vec![
                EventLine::new('●', "cyan", "bridge", url.clone()),
                line("browser:", "open that page".to_owned()),
                line("player:", format!("mpv {url}playlist.m3u8")),
            ];
            if *is_open {
                let text = format!("whoever reaches {addr} and knows this URL can watch, too");
                lines.push(EventLine::new('!', "yellow", "open", text));
            }
            lines
        }
        BridgeEvent::Reconnecting { request, delay, cause, .. } => {
            let text = format!("in {}: {}", length(*delay), escape(cause));
            let name = format!("request {request}");
            vec![EventLine::new('↻', "yellow", name, format!("reconnecting {text}"))]
        }
        BridgeEvent::RequestClosed { request, title, bytes: came, cause: Some(cause), .. } => {
            let (title, cause) = (escape(title), escape(cause));
            let text = format!("{title} was cut after {}: {cause}", bytes(*came));
            vec![EventLine::new('✗', "red", format!("request {request}"), text)]
        }
        BridgeEvent::Request { .. } | BridgeEvent::RequestClosed { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn trouble_is_told_and_nothing_else() {
        let (request, title) = (7, "a\x07.mp4".to_owned());
        let closed = |cause| BridgeEvent::RequestClosed {
            request,
            title: title.clone(),
            complete: false,
            bytes: 1024,
            elapsed: Duration::ZERO,
            cause,
        };
        assert!(words(&closed(None)).is_empty());
        let [line] = &words(&closed(Some("gone".into())))[..] else { panic!("one line") };
        assert_eq!(line.plain(), r"request 7 a\u{7}.mp4 was cut after 1 KiB: gone");
        let url = "http://127.0.0.1:1/x/".to_owned();
        let addr = "127.0.0.1:1".parse().unwrap();
        for (is_open, lines) in [(false, 3), (true, 4)] {
            let event = BridgeEvent::Bridge { url: url.clone(), is_open, addr };
            assert_eq!(words(&event).len(), lines);
        }
    }
}
