use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{Attribute, Attributes};

use super::blocks::{Blocks, Claim, Lookup, Stretch};
use super::failure::Failure;
use super::shape::{Named, Shape};
use super::{digests, listing};
use crate::media::block::BLOCK;
use crate::media::cache::SourceId;

const A: SourceId = SourceId([1; 16]);
const B: SourceId = SourceId([2; 16]);

/// Room for 16 blocks, of which 8 may be ahead.
fn blocks() -> Arc<Blocks> {
    Arc::new(Blocks::new(16 * BLOCK as u64))
}

/// Of an object of 100 blocks, in runs of at least four.
fn claim(blocks: &Arc<Blocks>, object: SourceId, wanted: Range<u64>, least: u64) -> Vec<Claim> {
    blocks.claim(object, stretch(wanted, least), Instant::now()).0
}

fn stretch(wanted: Range<u64>, least: u64) -> Stretch {
    Stretch { wanted, step: 4, least, end: 100 }
}

/// The first block of each claim, and the one after its last.
fn runs(claims: &[Claim]) -> Vec<(u64, u64)> {
    claims.iter().map(Claim::left).map(|left| (left.start, left.end)).collect()
}

/// Hands out all of a claim: each block has its index in it.
fn fill(mut claim: Claim) {
    for index in claim.left() {
        claim.fill(block(index));
    }
}

fn block(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

fn is_nowhere(blocks: &Blocks, object: SourceId, index: u64) -> bool {
    matches!(blocks.find(object, index), Lookup::Nowhere)
}

#[tokio::test]
async fn a_block_is_claimed_once_and_comes_to_all_who_wait() {
    let blocks = blocks();
    assert!(is_nowhere(&blocks, A, 0));
    let mut claims = claim(&blocks, A, 0..2, 1);
    assert_eq!(runs(&claims), [(0, 4)], "at least a run");
    assert!(claim(&blocks, A, 0..4, 1).is_empty());
    assert_eq!(runs(&claim(&blocks, A, 2..5, 1)), [(4, 8)], "what is not claimed");
    let waiting: Vec<_> = (0..3).map(|_| blocks.find(A, 1)).collect();
    fill(claims.remove(0));
    for waiting in waiting {
        let Lookup::Coming(waiting) = waiting else { panic!("{waiting:?}") };
        assert_eq!(waiting.await.unwrap().unwrap(), block(1));
    }
    assert!(matches!(blocks.find(A, 1), Lookup::Here(here) if here == block(1)));
    assert_eq!(blocks.get(A, 3), Some(block(3)));
    assert!(is_nowhere(&blocks, B, 1), "of another object");
}

#[tokio::test]
async fn what_fails_or_is_given_up_can_be_claimed_again() {
    let blocks = blocks();
    let mut claimed = claim(&blocks, A, 0..4, 1).remove(0);
    claimed.fill(block(0));
    let (Lookup::Coming(one), Lookup::Coming(other)) = (blocks.find(A, 1), blocks.find(A, 3))
    else {
        panic!("they are claimed");
    };
    claimed.fail(&Failure::Changed);
    assert_eq!(one.await.unwrap().unwrap_err(), Failure::Changed);
    assert_eq!(other.await.unwrap().unwrap_err(), Failure::Changed);
    assert_eq!(blocks.get(A, 0), Some(block(0)));

    let again = claim(&blocks, A, 0..4, 1).remove(0);
    assert_eq!(again.left(), 1..5);
    let Lookup::Coming(waiting) = blocks.find(A, 2) else { panic!("it is claimed") };
    drop(again);
    waiting.await.unwrap_err();
    assert!(is_nowhere(&blocks, A, 2));
}

#[test]
fn what_was_read_gives_way_and_what_is_ahead_takes_half() {
    let blocks = blocks();
    for start in (0..40).step_by(4) {
        fill(claim(&blocks, A, start..start + 4, 0).remove(0));
        assert!((start..start + 4).all(|index| blocks.get(A, index).is_some()));
    }
    assert_eq!(blocks.counts().2, 16 * BLOCK as u64);
    assert!((0..24).all(|index| blocks.get(A, index).is_none()));
    assert!((24..40).all(|index| blocks.get(A, index).is_some()), "the newest stay");

    fill(claim(&blocks, B, 0..4, 0).remove(0));
    let second = claim(&blocks, B, 10..14, 0).remove(0);
    let (none, up_to) = blocks.claim(B, stretch(20..24, 0), Instant::now());
    assert!(none.is_empty() && up_to == 20, "half of it is ahead");
    let one = claim(&blocks, B, 20..24, 1);
    assert_eq!(runs(&one), [(20, 21)], "who needs it now has one in any case");
    fill(second);
    one.into_iter().for_each(fill);
    for start in (0..100).step_by(4) {
        let mut claims = claim(&blocks, A, start..start + 1, 1);
        claims.drain(..).for_each(fill);
        blocks.get(A, start);
    }
    assert!((0..4).chain(10..14).all(|index| blocks.get(B, index).is_some()), "not the unread");
    assert!(blocks.counts().2 <= 16 * BLOCK as u64);
}

#[test]
fn what_nobody_comes_for_gives_way_in_time() {
    let blocks = blocks();
    fill(claim(&blocks, A, 0..4, 0).remove(0));
    fill(claim(&blocks, A, 4..8, 0).remove(0));
    let soon = Instant::now() + Duration::from_secs(20);
    assert!(blocks.claim(B, stretch(0..4, 0), soon).0.is_empty());
    let later = Instant::now() + Duration::from_secs(40);
    let claims = blocks.claim(B, stretch(0..4, 0), later).0;
    assert_eq!(runs(&claims), [(0, 4)]);
    assert!(is_nowhere(&blocks, A, 0));
}

#[test]
fn a_digest_is_that_of_one_state() {
    let (digest, size, e_tag) = ([7; 32], 123, "\"abc-5\"");
    let text = digests::encode(digest, size, e_tag);
    assert!(text.len() as u64 <= digests::LONGEST);
    assert_eq!(digests::decode(text.as_bytes(), size, e_tag), Some(digest));
    assert_eq!(digests::decode(text.as_bytes(), size + 1, e_tag), None);
    assert_eq!(digests::decode(text.as_bytes(), size, "\"abc-6\""), None);
    for cut in 0..text.len() {
        assert_eq!(digests::decode(&text.as_bytes()[..cut], size, e_tag), None, "{cut}");
    }
    assert_eq!(digests::decode(b"\xff 123 \"abc-5\"\n", size, e_tag), None);

    let metadata = |name: &'static str, value: String| {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(name.into()), value.into());
        digests::in_metadata(&attributes)
    };
    assert_eq!(metadata("quicstream-blake3", "07".repeat(32)), Some(digest));
    assert_eq!(metadata("quicstream_blake3", "07".repeat(32)), Some(digest), "as Azure wants it");
    assert_eq!(metadata("quicstream-blake3", "07".repeat(31)), None);
    assert_eq!(metadata("blake3", "07".repeat(32)), None);
}

#[test]
fn odd_keys_are_passed_over_as_far_as_no_title_is() {
    for (key, odd) in [
        ("a//b", "a//"),
        ("//a", "//"),
        ("a/./b", "a/."),
        ("a/../b", "a/."),
        ("films/x\ny/z", "films/x\n"),
    ] {
        assert_eq!(listing::odd_beginning(key), odd);
    }
}

#[test]
fn urls() {
    for (url, prefix) in [
        ("s3://bucket", ""),
        ("s3://bucket/", ""),
        ("gs://bucket/films", "films/"),
        ("az://bucket/films/new/", "films/new/"),
        ("s3://bucket/a b%20c", "a b%20c/"),
    ] {
        let beneath = Shape { prefix: prefix.to_owned(), only: None };
        assert_eq!(Named::by(url).unwrap().beneath(), beneath, "{url}");
    }
    for (url, prefix, only) in [
        ("s3://bucket/a.mp4", "", "a.mp4"),
        ("s3://bucket/films/new/a b.mp4", "films/new/", "a b.mp4"),
    ] {
        let object = Shape { prefix: prefix.to_owned(), only: Some(only.to_owned()) };
        assert_eq!(Named::by(url).unwrap().object(), object, "{url}");
    }
    for url in ["s3://", "s3:///films", "s3://bucket/a//b", "s3://bucket/../x"] {
        Named::by(url).unwrap_err();
    }
}
