//! Where viewers join broadcasts, against ffmpeg as the producer and as the player.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod common;

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use bytes::Bytes;
use common::ffmpeg::ffmpeg;
use quicstream::media::Scanner;

/// How many viewers join each broadcast.
const VIEWERS: usize = 40;

/// The least that each of them watches, bytes, if there is so much.
const WATCHED: u64 = 30_000;

/// A test picture, every frame of which is another.
const PICTURE: &str = "-f lavfi -i testsrc2=size=192x108:rate=25";

/// A tone that comes and goes in noise.
const SOUND: &str = "-f lavfi -i aevalsrc=0.3*sin(440*2*PI*t)*(1+sin(3*t))+0.1*random(0):s=48000";

/// An ffmpeg with these arguments, and what is written to its stdout from this on its stdin. It says
/// nothing on stderr.
fn run(arguments: &str, input: &[&[u8]]) -> Option<Vec<u8>> {
    let mut command: Command = ffmpeg()?;
    command.args(arguments.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            for piece in input {
                match stdin.write_all(piece) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
                    written => written.unwrap(),
                }
            }
        });
        child.wait_with_output().unwrap()
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "ffmpeg {arguments}: {errors}");
    Some(output.stdout)
}

/// The decoded frames of some media, of video if there is any: what ffmpeg says of the content of each.
/// The sound is decoded in any case.
fn frames(media: &[&[u8]], has_video: bool) -> Option<Vec<String>> {
    let first = if has_video { "-map 0:v -fps_mode passthrough" } else { "-map 0:a" };
    let arguments =
        format!("-threads 1 -i pipe: {first} -f framecrc pipe: -map 0:a? -f null pipe:");
    let frames = String::from_utf8(run(&arguments, media)?).unwrap();
    let frames = frames.lines().filter(|line| !line.starts_with('#'));
    Some(frames.map(|frame| frame.rsplit(',').next().unwrap().trim().to_owned()).collect())
}

/// The media in pieces of all sizes, as a producer may write it.
fn joins(media: &[u8], chance: &mut impl FnMut(usize) -> usize) -> Vec<(u64, Bytes)> {
    let mut scanner = Scanner::default();
    let mut joins = Vec::new();
    let mut rest = media;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + chance(65_536)).min(rest.len()));
        scanner.feed(piece, |offset, header| joins.push((offset, header.clone()))).unwrap();
        rest = after;
    }
    joins
}

/// Has ffmpeg make media, and decode it from random places where a decoder can begin to others.
fn joined_media_decodes(inputs: &[&str], codecs: &str, least_joins: usize) {
    let has_video = inputs.contains(&PICTURE);
    let arguments = format!("{} -t 50 {codecs} pipe:", inputs.join(" "));
    let Some(media) = run(&arguments, &[]) else { return };
    let whole = frames(&[&media], has_video).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let joins = joins(&media, &mut chance);
    assert!(joins.len() >= least_joins, "{} joins", joins.len());
    for _ in 0..VIEWERS {
        let (offset, header) = &joins[chance(joins.len())];
        let begin = *offset as usize;
        let end = joins.iter().find(|(end, _)| *end >= offset + WATCHED);
        let end = end.map_or(media.len(), |(end, _)| *end as usize);
        // The stream itself begins with its header.
        let header = if begin == 0 { &[][..] } else { header };
        let watched = frames(&[header, &media[begin..end]], has_video).unwrap();
        assert!(!watched.is_empty(), "nothing is seen of {begin} to {end}");
        if has_video {
            // All is as if it had been watched from the start.
            let first = whole.iter().position(|frame| *frame == watched[0]);
            let first = first.unwrap_or_else(|| panic!("{begin} does not begin with a key frame"));
            assert_eq!(watched, whole[first..first + watched.len()], "{begin} to {end}");
        }
    }
}

#[test]
fn mpegts() {
    let codecs = "-c:v libx264 -preset veryfast -g 10 -c:a aac -f mpegts";
    joined_media_decodes(&[PICTURE, SOUND], codecs, 100);
}

#[test]
fn fragmented_mp4() {
    let codecs = "-c:v libx264 -preset veryfast -g 10 -c:a aac -f mp4 \
                  -movflags frag_keyframe+empty_moov+default_base_moof";
    joined_media_decodes(&[PICTURE, SOUND], codecs, 100);
}

#[test]
fn webm() {
    let codecs = "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 600k -g 10 -c:a libopus -f webm";
    joined_media_decodes(&[PICTURE, SOUND], codecs, 100);
}

#[test]
fn ogg() {
    let codecs = "-c:a libopus -page_duration 200000 -f ogg";
    joined_media_decodes(&[SOUND], codecs, 100);
}

#[test]
fn mp3() {
    joined_media_decodes(&[SOUND], "-c:a libmp3lame -q:a 4 -f mp3", 1_000);
}

#[test]
fn adts() {
    joined_media_decodes(&[SOUND], "-c:a aac -f adts", 1_000);
}

#[test]
fn h264() {
    joined_media_decodes(&[PICTURE], "-c:v libx264 -preset veryfast -g 10 -f h264", 100);
}

#[test]
fn h265() {
    let codecs = "-c:v libx265 -preset ultrafast -g 10 -x265-params log-level=error -f hevc";
    joined_media_decodes(&[PICTURE], codecs, 100);
}
