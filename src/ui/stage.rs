//! The thread that draws.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::json::{self, Object};
use super::outbox::{self, EventSink, Inbox, Lost, Message, Shown};
use super::output::{nobody_reads, stdout};
use super::screen::Screen;
use super::text::count;
use super::{Failure, Style};

/// How long an end waits for what is still to be shown. A terminal that was stopped, or a reader
/// that does not read, must not keep the program.
const GRACE: Duration = Duration::from_secs(2);

/// What is shown of one kind of event.
pub(super) trait View: Send + 'static {
    /// The events.
    type Event: Shown;

    /// What programs are told of an event.
    fn json(event: &Self::Event) -> Option<Object<'_>>;

    /// Takes in an event, and tells people of it.
    fn take(&mut self, at: Instant, event: &Self::Event, screen: &mut Screen);

    /// Shows how things are. Says when to come again, if not before the next event.
    fn frame(&mut self, now: Instant, screen: &mut Screen) -> Option<Instant>;

    /// Shows how it ended.
    fn end(&mut self, now: Instant, failed: bool, screen: &mut Screen);
}

/// The thread that draws, seen from outside. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Stage<E: Shown> {
    sink: EventSink<E>,
    ending: Arc<OnceLock<Option<Failure>>>,
    /// Says, when the thread has ended, whether programs were told everything.
    ended: Receiver<bool>,
}

impl<E: Shown> Stage<E> {
    /// Starts the thread.
    pub(super) fn start(style: Style, view: impl View<Event = E>) -> io::Result<Self> {
        let (sink, inbox) = outbox::channel();
        let ending = Arc::new(OnceLock::new());
        let (end, ended) = mpsc::channel();
        let show = Show::new(style, view, inbox, ending.clone());
        let run = move || _ = end.send(show.run());
        std::thread::Builder::new().name("ui".into()).spawn(run)?;
        Ok(Self { sink, ending, ended })
    }

    pub(super) fn sink(&self) -> EventSink<E> {
        self.sink.clone()
    }

    /// Shows everything that was sent, then how it ended. Returns whether programs were told
    /// everything; if not, people were told why.
    pub(super) fn finish(self, failure: Option<Failure>) -> bool {
        self.end(failure)
    }

    fn end(&self, failure: Option<Failure>) -> bool {
        self.ending.get_or_init(|| failure);
        self.sink.wake();
        // A reader that does not read is not told everything, but that is how it wants it.
        self.ended.recv_timeout(GRACE).unwrap_or(true)
    }
}

impl<E: Shown> Drop for Stage<E> {
    fn drop(&mut self) {
        if self.ending.get().is_none() {
            self.end(None);
        }
    }
}

/// What the thread works with.
struct Show<V: View> {
    view: V,
    start: Instant,
    screen: Screen,
    /// Where JSON goes, if it is wanted and as long as it can be written.
    json: Option<Json>,
    /// JSON could not be written, though nobody has stopped reading it.
    json_failed: bool,
    inbox: Inbox<V::Event>,
    ending: Arc<OnceLock<Option<Failure>>>,
}

/// Where JSON goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Json {
    /// The usual place.
    Stdout,
    /// Where stdout carries media.
    Stderr,
}

impl<V: View> Show<V> {
    fn new(
        style: Style,
        view: V,
        inbox: Inbox<V::Event>,
        ending: Arc<OnceLock<Option<Failure>>>,
    ) -> Self {
        let screen = Screen::new(style.mode);
        Self {
            view,
            start: Instant::now(),
            screen,
            json: style.json,
            json_failed: false,
            inbox,
            ending,
        }
    }

    /// Runs to the end, and returns whether programs were told everything.
    fn run(mut self) -> bool {
        let mut due = Some(self.start);
        loop {
            // Asked before the queue is emptied: what was sent before the end is shown.
            let ending = self.ending.get().cloned();
            let messages =
                self.inbox.wait_until(if ending.is_some() { Some(self.start) } else { due });
            let woken = messages.iter().any(|message| matches!(message, Message::Wake));
            messages.into_iter().for_each(|message| self.take(message));
            self.own_up();
            if let Some(failure) = ending {
                return self.end(failure);
            }
            let now = Instant::now();
            if woken || self.screen.has_news() || due.is_none_or(|due| due <= now) {
                due = self.view.frame(now, &mut self.screen);
            }
            self.flush();
        }
    }

    fn take(&mut self, message: Message<V::Event>) {
        match message {
            Message::Event(at, event) => {
                if let Some(object) = V::json(&event) {
                    self.tell_programs(at, object);
                }
                self.view.take(at, &event, &mut self.screen);
            }
            Message::Log(line) => self.screen.print(line),
            Message::Wake => {}
        }
    }

    fn tell_programs(&mut self, at: Instant, object: Object<'_>) {
        let Some(json) = self.json else { return };
        let Ok(line) = json::line(self.start, at, object) else { return };
        match json {
            Json::Stdout => {
                if let Err(error) = stdout().line(&line) {
                    self.stop_json(&error);
                }
            }
            Json::Stderr => self.screen.print_json(line),
        }
    }

    /// Writes no more JSON. Whoever closed the pipe knows; a full disk is told to people, because
    /// the program that wants the JSON cannot be.
    fn stop_json(&mut self, error: &io::Error) {
        self.json = None;
        if !nobody_reads(error) {
            self.json_failed = true;
            self.screen.print(format!("quicstream: error: cannot write JSON any more: {error}"));
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.screen.flush()
            && self.json == Some(Json::Stderr)
        {
            self.stop_json(&error);
        }
    }

    /// Says how much could not be shown, because a terminal or a reader did not keep up.
    fn own_up(&mut self) {
        let Lost { events, lines } = self.inbox.lost();
        if events > 0 {
            self.tell_programs(Instant::now(), Object::Lost { events });
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
        if let Some(Failure { message, exit }) = &failure {
            self.tell_programs(now, Object::Error { message, exit: *exit });
        }
        self.flush();
        self.screen.close();
        // Among JSON, the line above has said it.
        if let Some(failure) = failure.filter(|_| self.json != Some(Json::Stderr)) {
            failure.print();
        }
        !self.json_failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::screen::Mode;
    use super::*;

    #[derive(Default, Clone)]
    struct Recorder {
        taken: Arc<Mutex<Vec<u32>>>,
        failed: Arc<OnceLock<bool>>,
    }

    impl Shown for u32 {
        fn is_frequent(&self) -> bool {
            false
        }
    }

    impl View for Recorder {
        type Event = u32;

        fn json(_: &u32) -> Option<Object<'_>> {
            None
        }

        fn take(&mut self, _: Instant, event: &u32, _: &mut Screen) {
            self.taken.lock().unwrap().push(*event);
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
            let style = Style { mode: Mode::Silent, json: None };
            let stage = Stage::start(style, recorder.clone()).unwrap();
            let sink = stage.sink();
            (0..20).for_each(|event| sink.send(event));
            assert!(stage.finish(None));
            assert_eq!(*recorder.taken.lock().unwrap(), (0..20).collect::<Vec<_>>());
            assert_eq!(recorder.failed.get(), Some(&false));
            sink.send(20);
        }
    }
}
