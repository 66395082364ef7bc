//! What people see of a command, what programs are told of it, and the keys that people press.
//!
//! One thread owns stderr, and stdout where that carries JSON. Everybody else sends it messages
//! through a bounded queue and never waits for a terminal or a reader: what does not fit is lost,
//! and the thread says how much that was. It reads the state of a session for itself, from the
//! snapshot of [`crate::client`] or the meters of [`crate::server`].
//!
//! An event is one type all the way, from the driver to the JSON line and the words for people:
//!
//! ```text
//!  events ─┐                             ┌─> json ──> stdout
//!          ├─> queue ─> thread ─> view ──┤
//!  log ────┘                             └─> screen ─> stderr
//! ```
//!
//! The views are `play`, `serve`, and `fetches`, which `bridge` and `many` use. No module uses one that uses it.

mod bar;
mod bridge;
mod fetches;
mod json;
mod keys;
pub(crate) mod list;
mod many;
mod play;
mod presentation;
mod queue;
mod screen;
mod serve;
mod stream;
mod terminal;
mod text;
mod thread;
mod throughput;
mod timestamp;

pub(crate) use bridge::start as bridge;
pub(crate) use json::Failure;
pub(crate) use keys::{Key, listen as listen_for_keys};
pub(crate) use many::start as many;
pub(crate) use play::start as play;
pub(crate) use queue::UiEvent;
pub(crate) use serve::start as serve;
pub(crate) use stream::{print_error, stderr, stdout};
pub(crate) use terminal::{restore_terminal, resume_terminal, suspend_terminal};
pub(crate) use text::escape;
pub(crate) use thread::UiThread;
