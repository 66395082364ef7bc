//! Ogg.

use super::*;

const CONTINUED: u8 = 1;
const BEGIN: u8 = 2;

/// A page whose packets have these lengths; the last goes on behind it if it is a multiple of 255.
fn page(flags: u8, granule: i64, serial: u8, packets: &[&[u8]]) -> Vec<u8> {
    let mut segments = Vec::new();
    for packet in packets {
        segments.extend(packet.chunks(255).map(|segment| segment.len() as u8));
    }
    [
        &b"OggS\0"[..],
        &[flags],
        &granule.to_le_bytes(),
        &[serial, 0, 0, 0],
        &[0; 8],
        &[segments.len() as u8],
        &segments,
        &packets.concat(),
    ]
    .concat()
}

/// A page of a comment that goes on behind it.
pub(super) fn comment_page() -> Vec<u8> {
    page(0, -1, 5, &[&[9; 255 * 200]])
}

pub(super) fn opus(version: u8) -> Sample {
    let serial = 5 + version;
    // The comment takes two pages.
    let header = [
        page(BEGIN, 0, serial, &[b"OpusHead-----------"]),
        page(0, -1, serial, &[&[9; 510]]),
        page(CONTINUED, 0, serial, &[b"OpusTags"]),
    ]
    .concat();
    let parts = [
        (false, header.clone()),
        (true, page(0, 960, serial, &[&[7; 200], &[7; 100]])),
        (true, page(0, 1920, serial, &[&[7; 100], &[7; 510]])),
        (false, page(CONTINUED, 2880, serial, &[&[7; 60], &[7; 100]])),
        (true, page(0, 3840, serial, &[&[7; 100]])),
        // Of a stream that nobody has heard of.
        (false, page(0, 3840, 99, &[&[7; 100]])),
    ];
    Sample::new(header, &parts, 4)
}

pub(super) fn theora(version: u8) -> Sample {
    let (video, audio) = (5 + version, 50);
    let header = [
        page(BEGIN, 0, video, &[b"\x80theora-----"]),
        page(BEGIN, 0, audio, &[b"\x01vorbis-----"]),
        page(0, 0, video, &[b"\x81theora", b"\x82theora"]),
        page(0, 0, audio, &[b"\x03vorbis", b"\x05vorbis"]),
    ]
    .concat();
    let (key, other) = ([0x30; 90], [0x70; 90]);
    let parts = [
        (false, header.clone()),
        (true, page(0, 64, video, &[&key, &other])),
        (false, page(0, 1000, audio, &[&[0; 90]])),
        (false, page(0, 65, video, &[&other, &key])),
        (true, page(0, 128, video, &[&key])),
        (false, page(0, 2000, audio, &[&[0; 90]])),
    ];
    Sample::new(header, &parts, 4)
}

#[test]
fn the_header_of_each_codec_is_as_long_as_it_is() {
    let flac = [&b"\x7fFLAC\x01\0\0\x02fLaC"[..], &[0; 38]].concat();
    let unsaid = [&b"\x7fFLAC\x01\0\0\0fLaC"[..], &[0; 38]].concat();
    let heads: [(&[u8], usize); 7] = [
        (b"\x01vorbis", 3),
        (b"OpusHead", 2),
        (b"Speex   1.2", 2),
        (b"OVP80\x01", 2),
        (&flac, 3),
        // Until time passes.
        (&unsaid, 4),
        (b"fishead\0", 4),
    ];
    for (head, packets) in heads {
        let more = page(0, 0, 1, &[b"more"]).repeat(packets - 1);
        let header = [page(BEGIN, 0, 1, &[head]), more].concat();
        let stream =
            [&header[..], &page(0, 5, 1, &[&[0x30; 20]]), &page(0, 9, 1, &[&[0x30; 20]])].concat();
        let joins = found(&stream);
        assert_eq!(joins.len(), 2, "{head:?}");
        assert_eq!((joins[0].0, &joins[0].1), (header.len() as u64, &Bytes::from(header)));
    }
}

#[test]
fn what_is_between_pages_is_passed_over() {
    let sample = opus(0);
    let (first, rest) = sample.bytes.split_at(sample.joins[1] as usize);
    let found = found(&[first, b"Og, not a page: OggS\x05", rest].concat());
    assert_eq!(found.len(), sample.joins.len());
    assert_eq!(found[1].0, sample.joins[1] + 21);
}
