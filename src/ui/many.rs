//! What people see of several titles that are fetched at once.

use std::io;
use std::sync::Arc;

use super::fetches::{self, Terms};
use super::queue::UiEvent;
use super::screen::EventLine;
use super::text::{bytes, escape, length};
use super::thread::UiThread;
use crate::client::{Fetches, PlayEvent, TitleEvent};
use crate::config::Report;
use crate::ui::play::verdict_line;

/// Starts to show the fetches of several titles.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(report: Report, fetches: Arc<Fetches>) -> io::Result<UiThread<TitleEvent>> {
    let terms = Terms { idle: "connecting", thing: "title" };
    fetches::start(report, fetches, terms, words)
}

impl UiEvent for TitleEvent {
    fn is_frequent(&self) -> bool {
        self.event.is_frequent()
    }
}

/// Returns what people are told of an event, if anything.
fn words(event: &TitleEvent) -> Vec<EventLine> {
    let title = escape(&event.of);
    let line = match &event.event {
        PlayEvent::Continuing { offset } => {
            let text = format!("at {}: that much is in the file already", bytes(*offset));
            EventLine::new('→', "cyan", format!("continuing {title}"), text)
        }
        PlayEvent::Reconnecting { attempt, delay, cause, .. } => {
            let text = format!("{}; try {attempt} in {}", escape(cause), length(*delay));
            EventLine::new('↻', "red", format!("trying {title} again:"), text)
        }
        PlayEvent::Closed { complete: true, verdict, .. } => {
            return verdict_line(verdict).into_iter().collect();
        }
        PlayEvent::Closed { reason, bytes: total, .. } => {
            let text = format!("{}, after {}", escape(reason), bytes(*total));
            EventLine::new('✗', "red", format!("{title}:"), text)
        }
        _ => return Vec::new(),
    };
    vec![line]
}
