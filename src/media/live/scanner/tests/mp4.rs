//! MP4.

use super::*;

pub(super) fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Flags of a sample: one that a decoder can begin with, and one that it cannot.
const SYNC: u32 = 0x0200_0000;
const NO_SYNC: u32 = 0x0101_0000;

/// A track with so many samples in the moov itself.
fn track(id: u32, handler: &[u8; 4], samples: u32) -> Vec<u8> {
    let hdlr = mp4_box(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat());
    let stbl = mp4_box(b"stbl", &mp4_box(b"stsz", &words(&[0, 0, samples])));
    let mdia = mp4_box(b"mdia", &[hdlr, mp4_box(b"minf", &stbl)].concat());
    mp4_box(b"trak", &[mp4_box(b"tkhd", &words(&[0, 0, 0, id, 0])), mdia].concat())
}

/// ftyp and moov, of audio in track 1 and, with `video`, video in track 2, whose samples have these
/// flags where nothing else is said.
fn header(version: u8, video: Option<u32>) -> Vec<u8> {
    let mut tracks = track(1, b"soun", 0);
    let mut defaults = mp4_box(b"trex", &words(&[0, 1, 1, 0, 0, NO_SYNC]));
    if let Some(flags) = video {
        tracks.extend(track(2, b"vide", 0));
        defaults.extend(mp4_box(b"trex", &words(&[0, 2, 1, 0, 0, flags])));
    }
    let moov = mp4_box(b"moov", &[tracks, mp4_box(b"mvex", &defaults)].concat());
    [mp4_box(b"ftyp", &[b"isom", &[0, 0, 0, version][..]].concat()), moov].concat()
}

fn traf(id: u32, trun: &[u32]) -> Vec<u8> {
    let tfhd = mp4_box(b"tfhd", &words(&[0x2_0000, id]));
    mp4_box(b"traf", &[tfhd, mp4_box(b"trun", &words(trun))].concat())
}

fn moof(trafs: &[Vec<u8>]) -> Vec<u8> {
    let moof = mp4_box(b"moof", &[mp4_box(b"mfhd", &[0; 8]), trafs.concat()].concat());
    [moof, mp4_box(b"mdat", &[7; 300])].concat()
}

/// A fragment of both tracks, whose video begins with a sample of these flags.
fn fragment(flags: u32) -> Vec<u8> {
    moof(&[traf(1, &[0x1, 1, 100]), traf(2, &[0x5, 1, 100, flags])])
}

pub(super) fn sample(version: u8) -> Sample {
    let header = header(version, Some(NO_SYNC));
    let (key, other) = (fragment(SYNC), fragment(NO_SYNC));
    let leading = [mp4_box(b"styp", b"msdh"), mp4_box(b"sidx", &[0; 32])].concat();
    let free = mp4_box(b"free", b"");
    let parts = [
        (false, header.clone()),
        (false, free.clone()),
        (true, key.clone()),
        (false, other.clone()),
        (true, [leading, key.clone()].concat()),
        (true, key),
        (false, free),
        (false, other),
    ];
    Sample::new(header, &parts, 8)
}

/// Whether a decoder can begin with this fragment, behind a header of video whose samples have these
/// flags.
fn begins(default: u32, fragment: &[u8]) -> bool {
    let stream = [header(0, Some(default)), fragment.to_vec(), mp4_box(b"free", b"")].concat();
    !found(&stream).is_empty()
}

#[test]
fn the_first_sample_of_the_video_is_what_its_boxes_say_from_the_inside_out() {
    for default in [SYNC, NO_SYNC] {
        // In the trun: for the first sample, and for each.
        for flags in [SYNC, NO_SYNC] {
            assert_eq!(begins(default, &fragment(flags)), flags == SYNC);
            let each = traf(2, &[0x701, 1, 100, 7, 7, flags]);
            assert_eq!(begins(default, &moof(&[each])), flags == SYNC);
            // In the tfhd, behind two other fields.
            let tfhd = mp4_box(b"tfhd", &words(&[0x2_002a, 2, 1, 7, flags]));
            let trun = mp4_box(b"trun", &words(&[0x1, 1, 100]));
            let traf = mp4_box(b"traf", &[tfhd, trun].concat());
            assert_eq!(begins(default, &moof(&[traf])), flags == SYNC);
        }
        // In the trex.
        assert_eq!(begins(default, &moof(&[traf(2, &[0x1, 1, 100])])), default == SYNC);
    }
    // A run without samples says nothing, and a fragment without video is none to begin with.
    let empty = mp4_box(b"trun", &words(&[0x5, 0, 100, SYNC]));
    let run = mp4_box(b"trun", &words(&[0x5, 1, 100, NO_SYNC]));
    let tfhd = mp4_box(b"tfhd", &words(&[0x2_0000, 2]));
    assert!(!begins(SYNC, &moof(&[mp4_box(b"traf", &[tfhd, empty, run].concat())])));
    assert!(!begins(SYNC, &moof(&[traf(1, &[0x1, 1, 100])])));
}

#[test]
fn without_video_every_fragment_is_one_to_begin_with() {
    let header = header(0, None);
    let fragment = moof(&[traf(1, &[0x1, 1, 100])]);
    let first = header.len() as u64;
    let offsets: Vec<_> =
        found(&[header, fragment.repeat(3)].concat()).iter().map(|(at, _)| *at).collect();
    assert_eq!(offsets, [0, 1, 2].map(|index| first + index * fragment.len() as u64));
}

#[test]
fn a_box_may_have_a_size_of_eight_bytes() {
    let sample = sample(0);
    let large = [&1_u32.to_be_bytes()[..], b"mdat", &316_u64.to_be_bytes(), &[7; 300]].concat();
    let stream = [&sample.header[..], &fragment(SYNC), &large, &fragment(SYNC), &large].concat();
    let second = sample.header.len() + fragment(SYNC).len() + large.len();
    assert_eq!(found(&stream)[1].0, second as u64);
}

#[test]
fn an_mp4_that_needs_its_first_byte_is_refused() {
    let refused = |bytes: &[u8]| {
        let bytes = &[bytes, &[0; 8]].concat()[..];
        assert!(matches!(scan(bytes.chunks(100)), Err(Error::NotFragmented)));
        let error = scan([bytes]).unwrap_err().to_string();
        assert!(error.contains("-movflags frag_keyframe+empty_moov+default_base_moof"), "{error}");
    };
    let ftyp = mp4_box(b"ftyp", b"isomisom");
    let moov = |content: &[u8]| mp4_box(b"moov", content);
    // A moov without fragments, before the samples or behind them.
    refused(&[&ftyp[..], &moov(&track(1, b"vide", 9))].concat());
    refused(&[&ftyp[..], &mp4_box(b"free", b""), &mp4_box(b"mdat", &[7; 100])].concat());
    refused(&[&ftyp[..], &(2_u32 << 20).to_be_bytes(), b"moov", &[0; 100]].concat());
    // One that fits into a header only without the ftyp.
    refused(&[&ftyp[..], &(1_u32 << 20).to_be_bytes(), b"moov", &[0; 100]].concat());
    // Samples before the first fragment.
    let mvex = mp4_box(b"mvex", &mp4_box(b"trex", &words(&[0, 1, 1, 0, 0, 0])));
    refused(&[&ftyp[..], &moov(&[track(1, b"vide", 9), mvex].concat())].concat());
    // Fragments that say where in the file they are.
    let tfhd = mp4_box(b"tfhd", &words(&[0x1, 2, 0, 1000]));
    let bound = moof(&[mp4_box(b"traf", &tfhd)]);
    refused(&[&sample(0).header[..], &bound].concat());
    // A second writer's.
    refused(&[&sample(0).bytes[..], &ftyp, &moov(&track(1, b"vide", 9)), &[0; 8]].concat());
}

#[test]
fn fragments_without_a_moov_are_nothing_to_begin_with() {
    let mut scanner = Scanner::default();
    let segment = [mp4_box(b"styp", b"msdh"), fragment(SYNC), fragment(SYNC)].concat();
    scanner.feed(&segment, |_, _| panic!("there is nothing to find")).unwrap();
    assert!(scanner.is_blind());
}
