//! Where a decoder can begin, whatever the container.

use std::collections::VecDeque;

use bytes::Bytes;

use super::mp4::Mp4;
use super::mpegts::MpegTs;
use super::webm::WebM;

/// Finds where a decoder can begin.
pub(super) trait Scan: std::fmt::Debug + Send {
    /// Takes the next bytes in, and tells where a decoder can begin. Returns false where the stream
    /// is not what its first bytes said.
    fn feed(&mut self, bytes: &[u8], join: &mut dyn FnMut(u64)) -> bool;

    /// What it needs first.
    fn header(&self) -> Option<Bytes>;
}

/// The scanner of a broadcast, whose container is told by its first bytes.
#[derive(Debug)]
pub(super) enum Scanner {
    /// They do not say it yet.
    Unknown(Vec<u8>),
    Known(Box<dyn Scan>),
    /// Anywhere is as good.
    None,
}

impl Scanner {
    /// Takes the next bytes in. Notes where a decoder can begin.
    pub(super) fn feed(&mut self, bytes: &[u8], joins: &mut VecDeque<u64>) {
        let mut join = |offset| joins.push_back(offset);
        match self {
            Self::Unknown(first) => {
                first.extend_from_slice(bytes);
                let first = std::mem::take(first);
                *self = match container(&first) {
                    Container::NotYet => Self::Unknown(first),
                    Container::Other => Self::None,
                    Container::Known(mut scanner) => match scanner.feed(&first, &mut join) {
                        true => Self::Known(scanner),
                        false => Self::None,
                    },
                };
            }
            Self::Known(scanner) => {
                if !scanner.feed(bytes, &mut join) {
                    *self = Self::None;
                }
            }
            Self::None => {}
        }
    }

    pub(super) fn header(&self) -> Option<Bytes> {
        match self {
            Self::Known(scanner) => scanner.header(),
            Self::Unknown(_) | Self::None => None,
        }
    }
}

enum Container {
    NotYet,
    Known(Box<dyn Scan>),
    Other,
}

/// Which container begins like this.
fn container(first: &[u8]) -> Container {
    let recognised = [MpegTs::recognises(first), Mp4::recognises(first), WebM::recognises(first)];
    match recognised {
        [Some(true), ..] => Container::Known(Box::<MpegTs>::default()),
        [_, Some(true), _] => Container::Known(Box::<Mp4>::default()),
        [.., Some(true)] => Container::Known(Box::<WebM>::default()),
        [Some(false), Some(false), Some(false)] => Container::Other,
        _ => Container::NotYet,
    }
}
