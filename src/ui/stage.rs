//! The thread that draws.

use std::io::{self, Write as _};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::json::{self, Object};
use super::outbox::{self, EventSink, Inbox, Message, Shown};
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
    /// Hangs up when the thread has ended.
    ended: Receiver<()>,
}

impl<E: Shown> Stage<E> {
    /// Starts the thread.
    pub(super) fn start(style: Style, view: impl View<Event = E>) -> io::Result<Self> {
        let (sink, inbox) = outbox::channel();
        let ending = Arc::new(OnceLock::new());
        let (alive, ended) = mpsc::channel();
        let show = Show::new(style, view, inbox, ending.clone());
        std::thread::Builder::new().name("ui".into()).spawn(move || {
            show.run();
            drop(alive);
        })?;
        Ok(Self { sink, ending, ended })
    }

    pub(super) fn sink(&self) -> EventSink<E> {
        self.sink.clone()
    }

    /// Shows everything that was sent, then how it ended.
    pub(super) fn finish(self, failure: Option<Failure>) {
        // It is set only here and in Drop, which comes later.
        let _ = self.ending.set(failure);
    }
}

impl<E: Shown> Drop for Stage<E> {
    fn drop(&mut self) {
        self.ending.get_or_init(|| None);
        self.sink.wake();
        let _ = self.ended.recv_timeout(GRACE);
    }
}

/// What the thread works with.
struct Show<V: View> {
    view: V,
    start: Instant,
    screen: Screen,
    /// Where JSON goes, if it is wanted and as long as somebody reads it.
    json: Option<Json>,
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
        Self { view, start: Instant::now(), screen, json: style.json, inbox, ending }
    }

    fn run(mut self) {
        let mut due = Some(self.start);
        loop {
            // Asked before the queue is emptied: what was sent before the end is shown.
            let ending = self.ending.get().cloned();
            let messages =
                self.inbox.wait_until(if ending.is_some() { Some(self.start) } else { due });
            messages.into_iter().for_each(|message| self.take(message));
            self.own_up();
            if let Some(failure) = ending {
                return self.end(failure);
            }
            let now = Instant::now();
            if self.screen.has_news() || due.is_none_or(|due| due <= now) {
                due = self.view.frame(now, &mut self.screen);
            }
            self.screen.flush();
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
        let Ok(line) = json::line(at.saturating_duration_since(self.start), object) else { return };
        match self.json {
            Some(Json::Stdout) => {
                let mut stdout = io::stdout().lock();
                let written = stdout.write_all(format!("{line}\n").as_bytes());
                if written.and_then(|()| stdout.flush()).is_err() {
                    self.json = None;
                }
            }
            Some(Json::Stderr) => self.screen.print(line),
            None => {}
        }
    }

    /// Says how much could not be shown, because a terminal or a reader did not keep up.
    fn own_up(&mut self) {
        let lost = self.inbox.lost();
        if lost > 0 {
            let lines = count(lost, "message");
            self.screen.print(format!("quicstream: {lines} lost: the output is read too slowly"));
        }
    }

    fn end(mut self, failure: Option<Failure>) {
        self.screen.flush();
        let now = Instant::now();
        self.view.end(now, failure.is_some(), &mut self.screen);
        if let Some(Failure { message, exit }) = &failure {
            self.tell_programs(now, Object::Error { message, exit: *exit });
        }
        let json = self.json;
        self.screen.close();
        // Among JSON, the line above has said it.
        if let Some(failure) = failure.filter(|_| json != Some(Json::Stderr)) {
            failure.print();
        }
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
            stage.finish(None);
            assert_eq!(*recorder.taken.lock().unwrap(), (0..20).collect::<Vec<_>>());
            assert_eq!(recorder.failed.get(), Some(&false));
            sink.send(20);
        }
    }
}
