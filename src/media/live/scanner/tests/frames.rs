//! ADTS and MPEG audio.

use super::*;

/// A stream of frames behind a tag. What a frame is shows the header of the next one, so many bytes.
fn sample(tag: &[u8], frames: &[Vec<u8>], header: usize) -> Sample {
    let mut bytes = tag.to_vec();
    let mut joins = Vec::new();
    for frame in frames {
        joins.push(bytes.len() as u64);
        bytes.extend(frame);
    }
    let shown_by = joins[2] as usize + header;
    joins.pop();
    Sample { bytes, joins, header: Vec::new(), shown_by }
}

fn adts_frame(channels: u8, length: usize) -> Vec<u8> {
    let [.., high, middle, low] = (length << 5 | 0x1f).to_be_bytes();
    let mut frame = vec![0xff, 0xf1, 0x50, channels << 6 | high, middle, low, 0xfc];
    frame.resize(length, 7);
    frame
}

pub(super) fn adts(version: u8) -> Sample {
    let frames: Vec<_> = (0..12).map(|index| adts_frame(1 + version, 90 + index * 31)).collect();
    sample(&[], &frames, 7)
}

/// A frame of layer III of MPEG-1: the bits of its bitrate, padding and frequency, and its length.
fn mp3_frame(bits: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, bits, 0xc0];
    frame.resize(length, 7);
    frame
}

pub(super) fn mp3(version: u8) -> Sample {
    // 32, 64 and 128 kbit/s, at 44,100 and 48,000 Hz.
    let rates = match version {
        0 => [(0x10, 104), (0x52, 209), (0x90, 417)],
        _ => [(0x14, 96), (0x54, 192), (0x94, 384)],
    };
    let frames = rates.iter().cycle().take(9).map(|(bits, length)| mp3_frame(*bits, *length));
    sample(&tag(), &frames.collect::<Vec<_>>(), 4)
}

/// A tag with a picture that looks like frames.
fn tag() -> Vec<u8> {
    let picture = mp3_frame(0x18, 144).repeat(3);
    [&b"ID3\x04\0\0\0\0\x03\x30"[..], &picture].concat()
}

#[test]
fn a_frame_is_as_long_as_its_header_says() {
    // Layers I and II, and versions 2 and 2.5.
    let kinds = [
        ([0xff, 0xff, 0xc0], 416),
        ([0xff, 0xfd, 0xa0], 626),
        ([0xff, 0xf3, 0x80], 208),
        ([0xff, 0xf3, 0x84], 192),
        ([0xff, 0xe3, 0x88], 576),
        ([0xff, 0xf5, 0x82], 418),
    ];
    for (header, length) in kinds {
        let mut frame = header.to_vec();
        frame.resize(length, 7);
        assert_eq!(found(&frame.repeat(5)).len(), 4, "{header:x?}");
    }
}

#[test]
fn a_tag_in_the_middle_is_passed_over() {
    let sample = mp3(0);
    let first = sample.joins[0] as usize;
    let again = [&sample.bytes[..], &sample.bytes].concat();
    let joins = found(&again);
    assert_eq!(joins.len(), 2 * sample.joins.len());
    assert_eq!(joins[sample.joins.len()].0, (sample.bytes.len() + first) as u64);
}

#[test]
fn a_frame_that_none_of_its_kind_follows_is_none_to_begin_with() {
    for (older, newer) in [(adts(0), adts(1)), (mp3(0), mp3(1))] {
        // Without the tag.
        let (begin, _) = newer.joins(0)[0];
        let stream = [&older.bytes[..], &newer.bytes[begin as usize..]].concat();
        let behind = newer.joins(older.bytes.len() - begin as usize);
        assert_eq!(found(&stream), [older.joins(0), behind].concat());
    }
}

#[test]
fn what_looks_like_one_frame_is_none() {
    let sample = adts(0);
    let (first, rest) = sample.bytes.split_at(sample.joins[4] as usize);
    let stream = [first, &adts_frame(1, 50)[..30], rest].concat();
    let offsets: Vec<_> = found(&stream).iter().map(|(offset, _)| *offset).collect();
    let behind = sample.joins[4..].iter().map(|join| join + 30);
    // The one before is followed by a header.
    assert_eq!(offsets, [&sample.joins[..4], &behind.collect::<Vec<_>>()].concat());
}
