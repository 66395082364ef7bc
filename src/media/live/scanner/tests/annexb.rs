//! H.264 and H.265 as byte streams.

use super::*;

/// These NAL units, each behind a start code of four bytes.
fn nals(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect()
}

const AUD: [u8; 2] = [0x09, 0xf0];
const SEI: [u8; 4] = [0x06, 0x05, 0x01, 0x80];
const IDR: [u8; 60] = slice(0x65, 0x88);
const P: [u8; 60] = slice(0x41, 0x9a);

const fn slice(kind: u8, first: u8) -> [u8; 60] {
    let mut slice = [7; 60];
    slice[0] = kind;
    slice[1] = first;
    slice
}

fn sps(level: u8, id: u8) -> [u8; 8] {
    [0x67, 0x64, 0, level, id, 0xd9, 0x41, 0x9f]
}

pub(super) fn h264(version: u8) -> Sample {
    let (sps, pps) = (sps(30 + version, 0xac), [0x68, 0xeb, 0xe3]);
    // Its second slice.
    let more = slice(0x65, 0x48);
    let short = |nal: &[u8]| [&[0, 0, 1], nal].concat();
    let units = [
        (true, nals(&[&AUD, &sps, &pps, &SEI, &IDR, &more])),
        (false, nals(&[&AUD, &P])),
        (false, short(&P)),
        (true, nals(&[&SEI, &IDR])),
        (true, short(&IDR)),
        (false, nals(&[&P, &[0x0c, 0xff, 0xff, 0x80]])),
        (true, nals(&[&pps, &IDR, &more])),
        (false, nals(&[&P, &P])),
    ];
    Sample::new(nals(&[&sps, &pps]), &units, 6 + 4 + 3)
}

fn h265_sps(level: u8) -> Vec<u8> {
    // No more than one temporal layer; the profile and the level; and the id.
    [&[0x42, 0x01, 0x01], &[1; 11][..], &[level, 0xa0, 0x80]].concat()
}

pub(super) fn h265(version: u8) -> Sample {
    let (vps, sps, pps) =
        ([0x40, 0x01, 0x0c, 0x01], h265_sps(30 + version), [0x44, 0x01, 0xc1, 0x72]);
    let slice = |kind: u8, first: u8| [&[kind << 1, 0x01, first], &[7; 60][..]].concat();
    let aud = [0x46, 0x01, 0x50];
    let units = [
        // An IDR picture of two slices.
        (true, nals(&[&aud, &vps, &sps, &pps, &slice(19, 0x80), &slice(19, 0x40)])),
        (false, nals(&[&aud, &slice(1, 0x80)])),
        // A CRA picture, and one that leads it.
        (true, nals(&[&aud, &slice(21, 0x80)])),
        (false, nals(&[&aud, &slice(8, 0x80)])),
        // Of another layer.
        (false, nals(&[&[0x26, 0x09, 0x80, 7, 7, 7]])),
        (true, nals(&[&slice(16, 0x80)])),
        (false, nals(&[&slice(0, 0x80), &slice(0, 0x80)])),
    ];
    Sample::new(nals(&[&vps, &sps, &pps]), &units, 7 + 4 + 3)
}

#[test]
fn the_newest_parameter_sets_of_each_id_are_the_header() {
    // The ids 0 and 1, of one and three bits: 1 and 010.
    let (zero, one) = (sps(30, 0xac), sps(30, 0x4c));
    let (pps, other_pps) = ([0x68, 0xeb, 0xe3], [0x68, 0x4b, 0xe3]);
    let header = |stream: &[u8]| found(stream).pop().unwrap().1;
    let first = nals(&[&zero, &one, &pps, &other_pps, &IDR, &P]);
    assert_eq!(header(&first), nals(&[&zero, &one, &pps, &other_pps]));
    // The same again, in another order.
    let again = nals(&[&other_pps, &pps, &one, &zero, &IDR, &P]);
    assert_eq!(header(&[&first[..], &again].concat()), nals(&[&zero, &one, &pps, &other_pps]));
    // Another of one id, to which older ones do not belong.
    let newer = sps(31, 0xac);
    let changed = nals(&[&newer, &pps, &IDR, &P]);
    assert_eq!(header(&[&first[..], &changed].concat()), nals(&[&one, &newer, &pps]));
    // Zeros behind one are none of it.
    let padded = nals(&[&[&zero[..], &[0, 0, 0]].concat(), &pps, &IDR, &P]);
    assert_eq!(header(&padded), nals(&[&zero, &pps]));
}

#[test]
fn without_parameter_sets_there_is_nothing_to_begin_with() {
    assert!(found(&nals(&[&sps(30, 0xac), &IDR, &P])).is_empty());
    // One that never ends is none.
    let endless =
        [&nals(&[&sps(30, 0xac), &[0x68, 0xeb]])[..], &vec![9; 20_000], &nals(&[&IDR, &P])];
    assert!(found(&endless.concat()).is_empty());
}

#[test]
fn the_id_of_a_sequence_of_h265_is_behind_its_temporal_layers() {
    // Three temporal layers, of which one has a profile and a level, and one a level; zeros are kept
    // from looking like a start code. The id is 0, or 1.
    let sps = |id: u8| {
        let layers = [&[0x42, 0x01, 0x05], &[1; 12][..], &[0b1101_0000, 0, 0, 3]].concat();
        [&layers[..], &[1; 10], &[2, 3], &[id, 0x55, 0x55]].concat()
    };
    let sample = h265(0);
    let with = |sps: &[u8]| {
        let sets = nals(&[&[0x40, 0x01, 0x0c, 0x01], sps, &[0x44, 0x01, 0xc1, 0x72]]);
        found(&[&sample.bytes[..], &sets, &nals(&[&[0x26, 1, 0x80, 7, 7, 7], &AUD])].concat())
    };
    let headers = [0x80, 0x40].map(|id| with(&sps(id)).pop().unwrap().1.len());
    // One takes the place of the older one, the other a place beside it.
    assert_eq!(headers[1] - headers[0], 4 + h265_sps(30).len());
}
