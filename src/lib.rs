//! quicstream streams media over QUIC: a stateful protocol, a server and a player.
//!
//! The executable is the product; this library is how it is built, in layers that use only what
//! lies below them:
//!
//! ```text
//!   main          cli
//!     └─ commands ─┴─ config          what a user types, and the settings it comes to
//!          │    └──── ui              bars, lines, JSON, keys
//!          ├─ server ── media         sessions for many clients, and what they are fed
//!          ├─ client                  one session into a sink
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
//! The wire is specified in [`protocol`], completely enough to write a peer from it.

pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod exit;
pub mod media;
pub mod protocol;
pub mod server;
pub mod session;
pub mod transport;
pub mod ui;
