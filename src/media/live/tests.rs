//! The scanners of containers, against streams that are made here.

use proptest::prelude::*;

use super::scanner::Scanner;
use super::*;

fn mp4_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = (body.len() as u32 + 8).to_be_bytes();
    [&size[..], kind, body].concat()
}

/// A fragment of a video track, whose first sample has these flags, and some media.
fn fragment(flags: u32) -> Vec<u8> {
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let tfhd = mp4_box(b"tfhd", &words(&[0x2_0000, 1]));
    let trun = mp4_box(b"trun", &words(&[0x5, 1, 100, flags]));
    let traf = mp4_box(b"traf", &[tfhd, trun].concat());
    let moof = mp4_box(b"moof", &[mp4_box(b"mfhd", &[0; 8]), traf].concat());
    [moof, mp4_box(b"mdat", &[7; 300])].concat()
}

fn mp4() -> (Vec<u8>, Vec<u64>, usize) {
    let header = [mp4_box(b"ftyp", b"isom"), mp4_box(b"moov", &[1; 200])].concat();
    let (key, other) = (fragment(0x0200_0000), fragment(0x0101_0000));
    let first = header.len() as u64;
    let third = first + (key.len() + other.len()) as u64;
    ([&header[..], &key, &other, &key].concat(), vec![first, third], header.len())
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    let size = (body.len() as u32 | 0x1000_0000).to_be_bytes();
    [id, &size, body].concat()
}

fn webm() -> (Vec<u8>, Vec<u64>, usize) {
    let track = |number: u8, kind: u8| {
        element(&[0xae], &[element(&[0xd7], &[number]), element(&[0x83], &[kind])].concat())
    };
    let header = [
        element(&[0x1a, 0x45, 0xdf, 0xa3], b"webm"),
        vec![0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        element(&[0x16, 0x54, 0xae, 0x6b], &[track(1, 2), track(2, 1)].concat()),
    ]
    .concat();
    let block = |track: u8, flags: u8| {
        element(&[0xa3], &[&[0x80 | track, 0, 0, flags][..], &[7; 100]].concat())
    };
    let cluster = |blocks: &[Vec<u8>]| {
        // Of unknown size, as a live muxer makes it.
        [&[0x1f, 0x43, 0xb6, 0x75, 0xff][..], &element(&[0xe7], &[0]), &blocks.concat()].concat()
    };
    let key = cluster(&[block(1, 0x80), block(2, 0x80), block(2, 0)]);
    let other = cluster(&[block(1, 0x80), block(2, 0), block(2, 0x80)]);
    let group = element(&[0xa0], &element(&[0xa1], &[0x82, 0, 0, 0, 9]));
    let grouped = cluster(&[group]);
    let first = header.len() as u64;
    let third = first + (key.len() + other.len()) as u64;
    ([&header[..], &key, &other, &grouped].concat(), vec![first, third], header.len())
}

/// Where a decoder can begin, and what it needs first.
fn scan(bytes: &[u8], piece: usize) -> (Vec<u64>, Option<Bytes>) {
    let mut scanner = Scanner::default();
    bytes.chunks(piece).for_each(|piece| scanner.feed(piece));
    let joins: Vec<u64> = scanner.joins().collect();
    let header = joins.first().and_then(|join| scanner.header_at(*join));
    (joins, header)
}

#[test]
fn a_decoder_begins_at_key_frames_of_the_video_with_what_came_before_the_first() {
    for (bytes, joins, header) in [mp4(), webm()] {
        let (found, first) = scan(&bytes, bytes.len());
        assert_eq!(found, joins);
        assert_eq!(first.unwrap(), bytes[..header]);
    }
    // Without fragments there is nowhere to begin.
    let plain = [mp4_box(b"ftyp", b"isom"), mp4_box(b"mdat", &[7; 300]), fragment(0)].concat();
    assert_eq!(scan(&plain, 10), (Vec::new(), None));
    // Nor where what comes before them is more than anybody keeps.
    for start in [mp4_box(b"ftyp", b"isom"), element(&[0x1a, 0x45, 0xdf, 0xa3], b"webm")] {
        let endless = [start, vec![0xff; 2 << 20]].concat();
        let mut scanner = Scanner::default();
        endless.chunks(65_536).for_each(|piece| scanner.feed(piece));
        // One byte is as good as another.
        assert_eq!(scanner.join(1 << 20, 0), 1 << 20);
    }
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_it_is_the_same(piece in 1_usize..300) {
        for (bytes, joins, _) in [mp4(), webm()] {
            prop_assert_eq!(scan(&bytes, piece).0, joins);
        }
    }

    #[test]
    fn no_bytes_panic(
        junk in prop::collection::vec(any::<u8>(), 0..600),
        at in 0_usize..900,
        piece in 1_usize..300,
    ) {
        for (mut bytes, ..) in [mp4(), webm()] {
            let end = bytes.len().min(at + junk.len());
            if let Some(changed) = bytes.get_mut(at..end) {
                changed.copy_from_slice(&junk[..end - at]);
            }
            scan(&bytes, piece);
        }
        scan(&junk, piece);
    }
}
