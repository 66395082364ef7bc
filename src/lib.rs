//! quicstream streams media over QUIC: a stateful protocol, a server and a player.
//!
//! The executable is the product; this library is how it is built, in layers that use only what
//! lies below them:
//!
//! ```text
//!   main          cli
//!     └─ commands ─┴─ config          what a user types, and the settings it comes to
//!          │    └──── ui              bars, lines, JSON, keys
//!          ├─ admin ─┐                metrics and health of a server
//!          ├─ bridge ┴─ http          titles and byte ranges for players and browsers
//!          ├─ server ── media         sessions for many clients, and what they are fed
//!          ├─ client                  a link to a server, and fetches over it into sinks
//!          │    │
//!          └─ transport               QUIC and TLS: nothing else names s2n-quic or rustls
//!               │
//!             session                 the two state machines: no I/O, no clock
//!               │
//!             protocol                bytes on the wire: no I/O
//! ```
//!
//! Media goes one way through it: from [`media`] in slices of cached blocks, as chunks of a
//! [`session`] through the [`transport`], and on the other side through the [`transport`] and a
//! [`session`] into a sink of the [`client`]; between the two ends quicstream copies nothing.
//!
//! A pause goes the other way: from a key of `ui` as a command to the session of the `client`, whose
//! machine sends PAUSE_STREAM, to the machine of the `server`'s session, which stops its pacer.
//!
//! The wire is specified in [`protocol`], completely enough to write a peer from it.
//!
//! # Where a change belongs
//!
//! | what | where |
//! |---|---|
//! | an option, code or PDU on the wire | `protocol` (`wire.md` first), then the rule for it in `session` |
//! | what a peer may send when | `session`: the machine of its side, and the table in `wire.md` |
//! | a setting | `config::settings` (key, type, range, flag and help text), its default in `config/default.toml`, what it comes to in `config::resolve` |
//! | a source of media | one file in `media`, and a line where `media::Library` looks titles up |
//! | a container of which a broadcast can be joined | a scanner in `media::live`, and its line in `media::live::scanner` |
//! | which worker a packet comes to, and behind a balancer which server | `transport::workers`, `transport::connection_id`, `transport::quic_lb` |
//! | who may come in, and who may watch | `server::admission`, `server::tokens` |
//! | what is granted to whom | `server::grant` |
//! | what is counted | `server::counters`, and its line in `admin::metrics` |
//! | when and how a lost session is tried again | `client::link`, `client::fetch` (`retry`, `silence`) |
//! | what a player or a browser is answered | `bridge`; its page is in `assets/web` |
//! | what becomes of the file of a play | `client::sink` |
//! | an event | `client::PlayEvent` or `server::ServeEvent`, which serde makes its JSON, and its words in `ui::play::words` or `ui::serve::words` |
//! | an exit code | `exit` |

mod admin;
mod bridge;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod exit;
mod http;
pub mod media;
pub mod protocol;
pub mod server;
pub mod session;
mod shell;
pub mod transport;
mod ui;
