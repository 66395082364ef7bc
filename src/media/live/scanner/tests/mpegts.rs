//! MPEG-TS.

use super::*;

const PACKET: usize = 188;

/// A packet of this PID. Without a payload to fill it, zeros that a decoder passes over do.
fn packet(pid: u16, starts: bool, random_access: bool, payload: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let mut packet = vec![0x47, high | if starts { 0x40 } else { 0 }, low];
    let adaptation = PACKET - 5 - payload.len();
    packet.extend([0x30, adaptation as u8]);
    packet.extend([if random_access { 0x40 } else { 0 }].iter().take(adaptation));
    packet.resize(PACKET - payload.len(), 0xff);
    packet.extend(payload);
    packet
}

/// A section of this table that is in force.
fn section(table: u8, id: u16, content: &[u8]) -> Vec<u8> {
    section_with(0xc1, table, id, content)
}

/// A section of this table with these flags, and its CRC.
fn section_with(flags: u8, table: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = (content.len() + 9) as u16 | 0xb000;
    let mut section = vec![table];
    section.extend(length.to_be_bytes());
    section.extend(id.to_be_bytes());
    section.extend([flags, 0, 0]);
    section.extend(content);
    let mut crc = u32::MAX;
    for byte in &section {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
        }
    }
    section.extend(crc.to_be_bytes());
    section
}

/// A section in packets, as few as it takes.
fn packets(pid: u16, section: &[u8]) -> Vec<u8> {
    let payload = [&[0], section].concat();
    let pieces = payload.chunks(PACKET - 5).enumerate();
    pieces.flat_map(|(index, piece)| packet(pid, index == 0, false, piece)).collect()
}

/// A PAT of these programs and the PIDs of their PMTs.
fn pat(programs: &[(u16, u16)]) -> Vec<u8> {
    let programs = programs
        .iter()
        .flat_map(|(number, pid)| [number.to_be_bytes(), (pid | 0xe000).to_be_bytes()].concat());
    packets(0, &section(0, 1, &programs.collect::<Vec<_>>()))
}

/// The section of a PMT of these streams, of this many bytes of descriptors, and their types and PIDs.
fn pmt_section(program: u16, descriptors: usize, streams: &[(u8, u16)]) -> Vec<u8> {
    let mut content = vec![0xe1, 0];
    content.extend((descriptors as u16 | 0xf000).to_be_bytes());
    content.extend(vec![5; descriptors]);
    for (kind, pid) in streams {
        content.push(*kind);
        content.extend((pid | 0xe000).to_be_bytes());
        content.extend([0xf0, 2, 9, 9]);
    }
    section(2, program, &content)
}

fn pmt(pid: u16, program: u16, streams: &[(u8, u16)]) -> Vec<u8> {
    packets(pid, &pmt_section(program, 0, streams))
}

const H264: u8 = 0x1b;
const AAC: u8 = 0x0f;

/// How many bytes show what it is.
const SHOWN_BY: usize = 2 * PACKET + 1;

pub(super) fn sample(version: u8) -> Sample {
    let (video, pid) = (0x100 + u16::from(version), 0x1000 + u16::from(version));
    let tables =
        [pat(&[(0, 0x10), (1, pid)]), pmt(pid, 1, &[(AAC, 0x200), (H264, video)])].concat();
    let picture = |is_key| packet(video, true, is_key, &[9; 120]);
    let parts = [
        (false, tables.clone()),
        (true, picture(true)),
        (false, packet(video, false, false, &[9; 170])),
        (false, packet(0x200, true, true, &[9; 100])),
        (false, picture(false)),
        (false, tables.clone()),
        (true, picture(true)),
        (false, packet(0x1fff, false, false, &[])),
        (true, picture(true)),
        (false, picture(false)),
    ];
    Sample::new(tables, &parts, SHOWN_BY)
}

pub(super) fn audio(version: u8) -> Sample {
    let pid = 0x200 + u16::from(version);
    let tables = [pat(&[(1, 0x1000)]), pmt(0x1000, 1, &[(0x06, 0x300), (AAC, pid)])].concat();
    let parts = [
        (false, tables.clone()),
        (true, packet(pid, true, true, &[9; 100])),
        (false, packet(pid, false, false, &[9; 100])),
        (false, packet(0x300, true, false, &[9; 100])),
        (true, packet(pid, true, false, &[9; 100])),
        (false, packet(pid, false, false, &[9; 100])),
    ];
    Sample::new(tables, &parts, SHOWN_BY)
}

/// Asserts what is found in a stream: joins at the marked packets, the last of which is another one,
/// with this header.
fn check(header: &[u8], parts: &[(bool, Vec<u8>)]) {
    let parts = [parts, &[(false, packet(0x1fff, false, false, &[]))]].concat();
    let sample = Sample::new(header.to_vec(), &parts, SHOWN_BY);
    assert_eq!(found(&sample.bytes), sample.joins(0));
}

#[test]
fn a_table_may_take_several_packets_and_begin_behind_the_end_of_another() {
    let pat = pat(&[(1, 0x1000)]);
    let section = pmt_section(1, 400, &[(H264, 0x100)]);
    let long = packets(0x1000, &section);
    assert_eq!(long.len(), 3 * PACKET);
    let key = packet(0x100, true, true, &[9; 100]);
    check(&[&pat[..], &long].concat(), &[(false, pat.clone()), (false, long), (true, key.clone())]);
    // The second half of a section, and the first of the same one.
    let (one, two) = section.split_at(150);
    let (two, three) = two.split_at(180);
    let three_and_one = [&[three.len() as u8], three, &one[..10]].concat();
    let parts = [
        packet(0x1000, true, false, &[&[0], one].concat()),
        packet(0x1000, false, false, two),
        packet(0x1000, true, false, &three_and_one),
    ];
    let header = [&pat[..], &parts.concat()].concat();
    check(&header, &[(false, pat), (false, parts.concat()), (true, key)]);
}

#[test]
fn packets_without_a_payload_are_no_part_of_a_table() {
    let pat = pat(&[(1, 0x1000)]);
    let section = pmt_section(1, 100, &[(H264, 0x100)]);
    let (one, two) = section.split_at(2);
    let [one, two] = [(true, &[&[0], one].concat()[..]), (false, two)]
        .map(|(starts, payload)| packet(0x1000, starts, false, payload));
    let header = [&pat[..], &one, &two].concat();
    let empty = packet(0x1000, false, false, &[]).repeat(1_000);
    let key = packet(0x100, true, true, &[9; 100]);
    check(&header, &[(false, pat), (false, one), (false, empty), (false, two), (true, key)]);
}

#[test]
fn a_table_that_is_broken_or_to_come_changes_nothing() {
    let sample = sample(0);
    let mut broken = pat(&[(1, 0x1234)]);
    *broken.last_mut().unwrap() ^= 1;
    let next = section_with(0xc0, 0, 1, &[0, 1, 0xf2, 0x34]);
    let with =
        |part: Vec<u8>| found(&[&sample.bytes[..], &part, &sample.bytes[2 * PACKET..]].concat());
    let undisturbed = with(packet(0x1fff, false, false, &[]));
    assert_eq!(undisturbed.len(), 2 * sample.joins.len());
    for part in
        [broken, packets(0, &next), packet(0, true, false, &[200, 1]), packet(0, true, false, &[])]
    {
        assert_eq!(with(part), undisturbed);
    }
}

#[test]
fn of_several_programs_it_is_the_first_with_video() {
    let programs = pat(&[(7, 0x1000), (8, 0x1000), (9, 0x1001)]);
    let radio = pmt(0x1000, 7, &[(AAC, 0x200)]);
    let first = pmt(0x1000, 8, &[(AAC, 0x201), (H264, 0x101)]);
    let second = pmt(0x1001, 9, &[(H264, 0x102)]);
    let header = [&programs[..], &radio, &first, &second].concat();
    let parts = [
        // As they come in the stream, which is not as they come in the PAT.
        (false, [&programs[..], &second, &first, &radio].concat()),
        (false, packet(0x102, true, true, &[9; 100])),
        (true, packet(0x101, true, true, &[9; 100])),
        (false, packet(0x200, true, true, &[9; 100])),
        (true, packet(0x101, true, true, &[9; 100])),
    ];
    check(&header, &parts);
}

#[test]
fn without_an_indicator_a_frame_with_parameter_sets_is_one_to_begin_with() {
    let pes = [0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0];
    let kinds: [(u8, &[u8], &[u8]); 3] = [
        (H264, &[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x67, 1], &[0, 0, 1, 0x41, 1]),
        (0x24, &[0, 0, 0, 1, 0x40, 1], &[0, 0, 1, 2, 1]),
        (0x02, &[0, 0, 1, 0xb3, 1], &[0, 0, 1, 0, 1]),
    ];
    for (kind, key, other) in kinds {
        let tables = [pat(&[(1, 0x1000)]), pmt(0x1000, 1, &[(kind, 0x100)])].concat();
        let frame =
            |begin: &[u8], indicated| packet(0x100, true, indicated, &[&pes, begin].concat());
        let parts = [
            (false, tables.clone()),
            (true, frame(key, false)),
            (false, frame(other, false)),
            (true, frame(key, false)),
            // From here on the indicator counts.
            (true, frame(other, true)),
            (false, frame(key, false)),
        ];
        check(&tables, &parts);
    }
}

#[test]
fn out_of_step_packets_are_found_again() {
    let sample = sample(0);
    let (first, rest) = sample.bytes.split_at(6 * PACKET);
    let junk = [0x47, 1, 2, 0x47, 5].repeat(13);
    let joins = found(&[first, &junk, rest].concat());
    assert_eq!(joins.len(), sample.joins.len() - usize::from(sample.joins[1] == 5 * PACKET as u64));
}
