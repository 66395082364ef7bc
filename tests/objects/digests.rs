//! Digests that are stored with objects.

use std::fs;

use crate::{Bucket, MIB, bytes};

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

#[test]
fn the_digest_in_the_metadata_is_what_arrives_is_checked_against() {
    let bucket = Bucket::new("metadata");
    let media = bytes(1, 3 * MIB);
    let header = "x-amz-meta-quicstream-blake3";
    bucket.put_with("right.mp4", &media, &[(header, &digest(&media))]);
    bucket.put_with("wrong.mp4", &media, &[(header, &digest(b"other"))]);
    let serve = bucket.serve("", &[]);
    let played = bucket.play(&serve, "right.mp4", &["--require-digest"]).finish();
    played.assert_exit(0);
    assert_eq!(played.named("closed")[0]["verified"], true);
    fs::remove_file(bucket.out()).unwrap();
    bucket.play(&serve, "wrong.mp4", &[]).finish().assert_exit(6);
    assert!(!bucket.out().exists());
    assert!(bucket.proxy.requests(|request| request.method == "PUT").is_empty());
}

#[test]
fn digests_are_stored_once_and_hold_for_one_state() {
    let bucket = Bucket::new("sidecar");
    let media = bytes(2, 9 * MIB + 5);
    bucket.put("films/a.mp4", &media);
    let serve = bucket.serve("films", &["--store-digests"]);
    let played = bucket.play(&serve, "a.mp4", &["--rate", "200M"]).finish();
    played.assert_exit(0);
    assert_eq!(played.named("closed")[0]["verified"], true, "it waits for the digest");
    drop(serve);
    let stored = String::from_utf8(bucket.get("films/a.mp4.quicstream-blake3").unwrap()).unwrap();
    assert!(stored.starts_with(&digest(&media)), "{stored}");

    // Another server, which stores nothing, knows it from there.
    let serve = bucket.serve("films", &[]);
    fs::remove_file(bucket.out()).unwrap();
    let played = bucket.play(&serve, "a.mp4", &["--require-digest"]).finish();
    played.assert_exit(0);
    let list = serve.play(["--list", "--json"]).output().unwrap();
    assert_eq!(String::from_utf8(list.stdout).unwrap().lines().count(), 1);
    let reads = bucket.proxy.requests(|request| request.method == "PUT");
    assert_eq!(reads.len(), 1, "{reads:?}");

    // What replaces it has another.
    let other = bytes(3, media.len());
    bucket.put("films/a.mp4", &other);
    fs::remove_file(bucket.out()).unwrap();
    let played = bucket.play(&serve, "a.mp4", &[]).finish();
    played.assert_exit(0);
    assert_eq!(played.named("closed")[0]["verified"], false);
    assert!(fs::read(bucket.out()).unwrap() == other);
}

#[test]
fn a_store_that_takes_no_digest_is_no_reason_not_to_serve() {
    let bucket = Bucket::new("readonly");
    let media = bytes(4, MIB);
    bucket.put("a.mp4", &media);
    bucket.proxy.rule(|request| match request.method == "PUT" {
        true => crate::proxy::Fate::Refused(403),
        false => crate::proxy::Fate::Answered,
    });
    let serve = bucket.serve("", &["--store-digests"]);
    let played = bucket.play(&serve, "a.mp4", &[]).finish();
    played.assert_exit(0);
    assert_eq!(played.named("closed")[0]["verified"], true);
    assert!(bucket.log().contains("cannot be stored"), "{}", bucket.log());
}
