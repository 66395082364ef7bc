//! The scanners against streams that are made here, one for each container.

mod annexb;
mod frames;
mod mp4;
mod mpegts;
mod ogg;
mod webm;

use proptest::prelude::*;

use super::*;
use crate::media::live::scan::MAX_HEADER;

/// A stream, and what is to be found in it.
struct Sample {
    bytes: Vec<u8>,
    joins: Vec<u64>,
    header: Vec<u8>,
    /// How many bytes show what it is.
    shown_by: usize,
}

impl Sample {
    /// A stream of these parts, where a decoder can begin at those that are marked.
    fn new(header: Vec<u8>, parts: &[(bool, Vec<u8>)], shown_by: usize) -> Self {
        let mut sample = Self { bytes: Vec::new(), joins: Vec::new(), header, shown_by };
        for (is_join, part) in parts {
            sample.joins.extend(is_join.then_some(sample.bytes.len() as u64));
            sample.bytes.extend(part);
        }
        sample
    }

    /// One of each kind. Those of another version have another header.
    fn all(version: u8) -> Vec<Self> {
        vec![
            mp4::sample(version),
            webm::sample(version),
            ogg::opus(version),
            ogg::theora(version),
            mpegts::sample(version),
            mpegts::audio(version),
            frames::adts(version),
            frames::mp3(version),
            annexb::h264(version),
            annexb::h265(version),
        ]
    }

    /// The joins, as if the stream began at `offset`.
    fn joins(&self, offset: usize) -> Vec<(u64, Bytes)> {
        let header = Bytes::copy_from_slice(&self.header);
        self.joins.iter().map(|join| (offset as u64 + join, header.clone())).collect()
    }
}

/// What a scanner finds in these pieces.
fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<(u64, Bytes)>, Error> {
    let mut scanner = Scanner::default();
    let mut joins = Vec::new();
    for piece in pieces {
        scanner.feed(piece, |offset, header| joins.push((offset, header.clone())))?;
    }
    Ok(joins)
}

/// The same of a whole.
fn found(bytes: &[u8]) -> Vec<(u64, Bytes)> {
    scan([bytes]).unwrap()
}

/// Numbers that look like chance: the same ones each time.
fn chances(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    }
}

/// Changes some bytes, removes, repeats and inserts some.
fn mutate(bytes: &mut Vec<u8>, chance: &mut impl FnMut(usize) -> usize) {
    for _ in 0..1 + chance(8) {
        let at = chance(bytes.len());
        let end = bytes.len().min(at + 1 + chance(64));
        match chance(6) {
            0 => bytes[at] ^= 1 << chance(8),
            1 => bytes[at] = [0, 1, 0x47, 0x7f, 0x80, 0xff][chance(6)],
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            4 => bytes[at..end].iter_mut().for_each(|byte| *byte = chance(256) as u8),
            _ => drop(bytes.splice(at..at, [0xff, 0, 0, 0, 1])),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// Scans mutated streams in pieces: they do no harm, and the pieces make no difference.
fn survive(rounds: usize, seed: u64) {
    let mut chance = chances(seed);
    let samples = Sample::all(0);
    for _ in 0..rounds {
        let mut bytes = samples[chance(samples.len())].bytes.clone();
        if chance(4) == 0 {
            bytes.extend_from_slice(&samples[chance(samples.len())].bytes);
        }
        mutate(&mut bytes, &mut chance);
        let piece = 1 + chance(400);
        let pieces = scan(bytes.chunks(piece));
        let whole = scan([&*bytes]);
        assert_eq!(pieces.is_ok(), whole.is_ok());
        let Ok((pieces, whole)) = pieces.and_then(|pieces| Ok((pieces, whole?))) else { continue };
        assert_eq!(pieces, whole);
        assert!(whole.is_sorted_by(|(one, _), (next, _)| one < next), "{whole:?}");
        assert!(whole.iter().all(|(offset, header)| {
            *offset < bytes.len() as u64 && header.len() <= MAX_HEADER
        }));
    }
}

#[test]
fn each_container_is_told_by_its_first_bytes() {
    for sample in Sample::all(0) {
        let of = |bytes: &[u8]| CONTAINERS.map(|(recognises, _)| recognises(bytes));
        let bytes = &sample.bytes;
        let who = of(&bytes[..sample.shown_by]).iter().filter(|one| **one == Some(true)).count();
        assert_eq!(who, 1);
        for length in 0..sample.shown_by {
            let less = of(&bytes[..length]);
            assert!(less.contains(&None) && !less.contains(&Some(true)), "{length}: {less:?}");
        }
    }
}

#[test]
fn a_decoder_can_begin_where_it_should_with_the_header_that_it_needs() {
    for sample in Sample::all(0) {
        assert!(sample.joins.len() > 1);
        assert_eq!(found(&sample.bytes), sample.joins(0));
    }
}

#[test]
fn what_could_be_of_two_containers_is_the_same_however_it_comes() {
    let stream = [&[0x1a, 0x45, 0xdf, 0xa3][..], b"wide", &mp4::sample(0).bytes].concat();
    for piece in [1, 4, 8, stream.len()] {
        assert_eq!(scan(stream.chunks(piece)).unwrap(), mp4::sample(0).joins(8));
    }
    // A parameter set that comes too late.
    let late = [&[0, 0, 0, 1, 6][..], &vec![9; MAX_HEADER], &annexb::h264(0).bytes].concat();
    for piece in [65_536, late.len()] {
        assert!(scan(late.chunks(piece)).unwrap().is_empty());
    }
}

#[test]
fn what_is_of_no_known_container_can_be_begun_anywhere() {
    let packets = [[0x47; 188].as_slice(), &[0; 200]].concat();
    let other =
        [&b"RIFF....AVI ........"[..], &[0, 0, 1, 0xb3, 0, 0, 0, 0], &packets, &[0; 2 << 20]];
    for other in other {
        let mut scanner = Scanner::default();
        for piece in other.chunks(65_536) {
            scanner.feed(piece, |_, _| panic!("there is nothing to find")).unwrap();
        }
        assert!(scanner.is_blind());
    }
}

#[test]
fn a_writer_may_leave_within_its_header() {
    for sample in [mp4::sample as fn(u8) -> Sample, webm::sample, mpegts::sample, ogg::opus] {
        let (older, newer) = (sample(0), sample(1));
        // The first page of an Ogg stream does not say that others follow it.
        let is_unsaid = |cut: &usize| older.bytes[*cut..].starts_with(b"OggS\0\0");
        for cut in (older.shown_by..older.header.len()).filter(|cut| !is_unsaid(cut)) {
            let stream = [&older.bytes[..cut], &newer.bytes].concat();
            assert_eq!(found(&stream), newer.joins(cut), "{cut}");
        }
    }
}

#[test]
fn a_header_has_an_end() {
    // What is to come before the first place to begin never ends.
    let (webm, ogg) = (webm::sample(0), ogg::opus(0));
    let webm = (&webm.bytes[..webm.header.len()], [0xec, 0x84, 1, 2, 3, 4].repeat(10_000));
    let ogg = (&ogg.bytes[..ogg.header.len() / 2], ogg::comment_page());
    for (begin, more) in [webm, ogg] {
        let mut scanner = Scanner::default();
        let mut feed = |piece: &[u8]| {
            scanner.feed(piece, |_, _| panic!("there is nothing to find")).unwrap();
            scanner.is_blind()
        };
        assert!(!feed(begin));
        let pieces = (1..).find(|_| feed(&more)).unwrap();
        assert!(pieces <= MAX_HEADER / more.len() + 2);
    }
}

#[test]
fn mutated_streams_do_no_harm() {
    survive(3_000, 0x9e37_79b9_7f4a_7c15);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_mutated_streams_do_no_harm() {
    survive(1_000_000, 0x2545_f491_4f6c_dd1d);
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_it_is_the_same(
        which in 0_usize..10,
        lengths in prop::collection::vec(1_usize..700, 1..40),
    ) {
        let sample = Sample::all(0).swap_remove(which);
        let mut rest = &*sample.bytes;
        let mut pieces = Vec::new();
        for length in lengths.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*length));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(scan(pieces).unwrap(), sample.joins(0));
    }

    #[test]
    fn a_writer_that_takes_over_anywhere_brings_its_own_header(which in 0_usize..10, cut: u16) {
        let older = Sample::all(0).swap_remove(which);
        let newer = Sample::all(1).swap_remove(which);
        prop_assert!(older.header.is_empty() || older.header != newer.header);
        let least = older.shown_by.max(older.header.len());
        let cut = least + usize::from(cut) % (older.bytes.len() - least);
        // What the cut makes of the frame before it may be as long as a frame can be.
        let stream = [&older.bytes[..cut], &newer.bytes, &[0; 10_000]].concat();
        let joins = found(&stream);
        let (before, behind): (Vec<_>, Vec<_>) =
            joins.into_iter().partition(|(offset, _)| *offset < cut as u64);
        prop_assert_eq!(behind, newer.joins(cut));
        // What is cut may look like anything.
        let (of_older, whole) = (older.joins(0), (cut as u64).saturating_sub(300));
        let is_known = |join| of_older.contains(join) || join.0 > whole;
        prop_assert!(before.iter().all(is_known), "{before:?}");
    }
}
