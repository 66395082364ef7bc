//! The thread that owns stderr, and stdout where that carries JSON.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::json::{self, Failure, OwnEvent};
use super::presentation::{JsonStream, Presentation};
use super::queue::{self, Lost, Message, UiEvent, UiReceiver, UiSender};
use super::screen::Screen;
use super::stream::{nobody_reads, print_error, stdout};
use super::text::count;

/// How long a command waits at its end for what is still to be shown. A terminal that was stopped,
/// or a reader that does not read, must not keep it.
const GRACE: Duration = Duration::from_secs(2);

/// What people see of a client or of a server.
pub(super) trait View: Send + 'static {
    type Event: UiEvent;

    /// Shows an event.
    fn show(&mut self, at: Instant, event: &Self::Event, screen: &mut Screen);

    /// Shows the state of things. Returns when to do so again, if not only after the next event.
    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant>;

    /// Shows the end.
    fn end(&mut self, now: Instant, failed: bool, screen: &mut Screen);
}

/// A handle to the UI thread. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct UiThread<E: UiEvent> {
    sender: UiSender<E>,
    presentation: Presentation,
    /// Receives at the end of the thread whether all JSON was written; `None` once waited for.
    ended: Option<Receiver<bool>>,
}

impl<E: UiEvent> UiThread<E> {
    /// Starts the thread.
    pub(super) fn start(
        presentation: Presentation,
        view: impl View<Event = E>,
    ) -> io::Result<Self> {
        let (sender, receiver) = queue::channel();
        let (end, ended) = mpsc::channel();
        let ui = Ui {
            view,
            start: Instant::now(),
            screen: Screen::new(presentation.mode),
            json: presentation.json,
            json_failed: false,
            receiver,
        };
        let run = move || _ = end.send(ui.run());
        std::thread::Builder::new().name("ui".into()).spawn(run)?;
        Ok(Self { sender, presentation, ended: Some(ended) })
    }

    /// Returns a sender of events, and of the lines of the log.
    pub(crate) fn sender(&self) -> UiSender<E> {
        self.sender.clone()
    }

    /// Returns whether the lines of the log may have colours.
    pub(crate) fn has_colors(&self) -> bool {
        self.presentation.has_colors()
    }

    /// Shows everything that was sent, then how the command ended. Returns false where JSON could
    /// not be written, of which people were told.
    pub(crate) fn finish(mut self, failure: Option<Failure>) -> bool {
        self.end(failure)
    }

    fn end(&mut self, failure: Option<Failure>) -> bool {
        let Some(ended) = self.ended.take() else { return true };
        self.sender.end(failure);
        // A reader that does not read misses the rest by its own choice.
        ended.recv_timeout(GRACE).unwrap_or(true)
    }
}

impl<E: UiEvent> Drop for UiThread<E> {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// What the thread works with.
struct Ui<V: View> {
    view: V,
    start: Instant,
    screen: Screen,
    /// Where JSON goes, if it is wanted and as long as it can be written.
    json: Option<JsonStream>,
    /// JSON could not be written although somebody reads it.
    json_failed: bool,
    receiver: UiReceiver<V::Event>,
}

impl<V: View> Ui<V> {
    /// Runs to the end. Returns whether all JSON was written.
    fn run(mut self) -> bool {
        let mut due = Some(self.start);
        loop {
            let (mut redraw, mut ending) = (false, None);
            for message in self.receiver.receive_until(due) {
                match message {
                    Message::Event(at, event) => {
                        self.write_json(at, &event);
                        self.view.show(at, &event, &mut self.screen);
                    }
                    Message::Log(line) => self.screen.print(line),
                    Message::Redraw => redraw = true,
                    Message::End(failure) => ending = Some(failure),
                }
            }
            self.report_lost();
            if let Some(failure) = ending {
                return self.end(failure);
            }
            let now = Instant::now();
            if redraw || self.screen.has_lines() || due.is_none_or(|due| due <= now) {
                due = self.view.frame(now, &mut self.screen);
            }
            self.flush();
        }
    }

    /// Writes an event for programs, if it is for them.
    fn write_json(&mut self, at: Instant, event: &impl Serialize) {
        let Some(stream) = self.json else { return };
        let Ok(line) = json::line(self.start, at, event) else { return };
        match stream {
            JsonStream::Stdout => {
                if let Err(error) = stdout().line(&line) {
                    self.stop_json(&error);
                }
            }
            JsonStream::Stderr => self.screen.print_json(line),
        }
    }

    /// Writes no more JSON. Whoever closed the pipe knows; people are told of anything else, such
    /// as a full disk, because the program that reads the JSON cannot be.
    fn stop_json(&mut self, error: &io::Error) {
        self.json = None;
        if !nobody_reads(error) {
            self.json_failed = true;
            self.screen.print(format!("quicstream: error: cannot write JSON any more: {error}"));
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.screen.flush()
            && self.json == Some(JsonStream::Stderr)
        {
            self.stop_json(&error);
        }
    }

    /// Reports how many messages were lost because a terminal or a reader did not keep up.
    fn report_lost(&mut self) {
        let Lost { events, lines } = self.receiver.take_lost();
        if events > 0 {
            self.write_json(Instant::now(), &OwnEvent::Lost { events });
        }
        if events + lines > 0 {
            let lost = count(events + lines, "message");
            self.screen.print(format!("quicstream: {lost} lost: the output is read too slowly"));
        }
    }

    fn end(mut self, failure: Option<Failure>) -> bool {
        self.flush();
        let now = Instant::now();
        self.view.end(now, failure.is_some(), &mut self.screen);
        if let Some(failure) = &failure {
            self.write_json(now, &OwnEvent::Error(failure));
        }
        self.flush();
        self.screen.close();
        // Among JSON, its event `error` says it.
        if let Some(failure) = failure.filter(|_| self.json != Some(JsonStream::Stderr)) {
            print_error(&failure.message);
        }
        !self.json_failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, OnceLock};

    use super::super::presentation::Mode;
    use super::*;

    #[derive(Default, Clone)]
    struct Recorder {
        shown: Arc<Mutex<Vec<u32>>>,
        failed: Arc<OnceLock<bool>>,
    }

    impl UiEvent for u32 {}

    impl View for Recorder {
        type Event = u32;

        fn show(&mut self, _: Instant, event: &u32, _: &mut Screen) {
            self.shown.lock().unwrap().push(*event);
        }

        fn frame(&mut self, _: Instant, _: &mut Screen) -> Option<Instant> {
            None
        }

        fn end(&mut self, _: Instant, failed: bool, _: &mut Screen) {
            self.failed.set(failed).unwrap();
        }
    }

    #[test]
    fn what_was_sent_before_the_end_is_shown() {
        for _ in 0..100 {
            let recorder = Recorder::default();
            let presentation = Presentation { mode: Mode::Silent, json: None };
            let thread = UiThread::start(presentation, recorder.clone()).unwrap();
            let sender = thread.sender();
            (0..20).for_each(|event| sender.send(event));
            assert!(thread.finish(None));
            assert_eq!(*recorder.shown.lock().unwrap(), (0..20).collect::<Vec<_>>());
            assert_eq!(recorder.failed.get(), Some(&false));
            sender.send(20);
        }
    }
}
