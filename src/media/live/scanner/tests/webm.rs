//! Matroska and WebM.

use super::*;

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &(content.len() as u32 | 0x1000_0000).to_be_bytes(), content].concat()
}

const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
const VIDEO: u8 = 1;
const AUDIO: u8 = 2;

/// What comes before the first Cluster, of tracks of these kinds, numbered from 1.
fn header(version: u8, tracks: &[u8]) -> Vec<u8> {
    let tracks = tracks.iter().zip(1_u8..).map(|(kind, number)| {
        element(&[0xae], &[element(&[0xd7], &[number]), element(&[0x83], &[*kind])].concat())
    });
    [
        element(&[0x1a, 0x45, 0xdf, 0xa3], &element(&[0x42, 0x82], b"webm")),
        // A Segment of unknown size.
        vec![0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        element(&[0xec], &[version; 40]),
        element(&[0x16, 0x54, 0xae, 0x6b], &tracks.collect::<Vec<_>>().concat()),
    ]
    .concat()
}

fn simple_block(track: u8, flags: u8) -> Vec<u8> {
    element(&[0xa3], &[&[0x80 | track, 0, 0, flags][..], &[7; 100]].concat())
}

fn block_group(track: u8, is_key: bool) -> Vec<u8> {
    let block = element(&[0xa1], &[&[0x80 | track, 0, 0, 0][..], &[7; 100]].concat());
    let reference = if is_key { Vec::new() } else { element(&[0xfb], &[1]) };
    element(&[0xa0], &[block, element(&[0x9b], &[40]), reference].concat())
}

/// A Cluster, whose size is unknown as a live muxer makes it, or known.
fn cluster(has_size: bool, blocks: &[Vec<u8>]) -> Vec<u8> {
    let content = [element(&[0xe7], &[0]), blocks.concat()].concat();
    if has_size { element(&CLUSTER, &content) } else { [&CLUSTER[..], &[0xff], &content].concat() }
}

pub(super) fn sample(version: u8) -> Sample {
    let header = header(version, &[AUDIO, VIDEO]);
    let parts = [
        (false, header.clone()),
        (true, cluster(false, &[simple_block(1, 0x80), simple_block(2, 0x80), simple_block(2, 0)])),
        (
            false,
            cluster(false, &[simple_block(1, 0x80), simple_block(2, 0), simple_block(2, 0x80)]),
        ),
        (true, cluster(true, &[block_group(1, true), block_group(2, true)])),
        (false, cluster(true, &[block_group(2, false), block_group(2, true)])),
        (true, cluster(false, &[simple_block(2, 0x80)])),
        (false, element(&[0xec], &[0; 30])),
        (false, element(&[0x1c, 0x53, 0xbb, 0x6b], &[0; 30])),
        (true, cluster(false, &[simple_block(2, 0x80), simple_block(1, 0x80)])),
    ];
    Sample::new(header, &parts, 4)
}

#[test]
fn who_begins_later_does_not_wait_for_a_segment_of_the_whole_size() {
    let open = sample(0);
    let position = open.header.windows(4).position(|id| id == [0x18, 0x53, 0x80, 0x67]).unwrap();
    // As many bytes as ffmpeg gives it, and fewer.
    for size in [&[0x01, 0, 0, 0, 0, 1, 0x86, 0xa0][..], &[0x10, 1, 0x86, 0xa0], &[0x81]] {
        let (before, rest) = open.bytes.split_at(position + 4);
        let sized = [before, size, &rest[8..]].concat();
        let (_, header) = found(&sized).remove(0);
        let size_of_header = &header[position + 4..][..size.len()];
        assert_eq!(size_of_header[0], 0xff >> (size.len() - 1));
        assert!(size_of_header[1..].iter().all(|byte| *byte == 0xff));
        assert_eq!(header[position + 4 + size.len()..], open.header[position + 12..]);
    }
}

#[test]
fn without_video_every_cluster_is_one_to_begin_with() {
    let header = header(0, &[AUDIO]);
    let cluster = cluster(false, &[simple_block(1, 0)]);
    let first = header.len() as u64;
    let joins = found(&[&header[..], &cluster.repeat(3)].concat());
    let offsets: Vec<_> = joins.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2].map(|index| first + index * cluster.len() as u64));
    assert_eq!(joins[2].1, header);
}

#[test]
fn a_block_may_be_larger_than_a_header() {
    let large = |id: u8| {
        let block = [&[0x81, 0, 0, 0x80][..], &vec![7; 2 * MAX_HEADER]].concat();
        element(&[id], &block)
    };
    let group = element(&[0xa0], &large(0xa1));
    for block in [large(0xa3), group] {
        let stream = [header(0, &[VIDEO]), cluster(true, &[block])].concat().repeat(2);
        assert_eq!(scan(stream.chunks(65_536)).unwrap().len(), 2);
    }
}
