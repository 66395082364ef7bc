//! Broadcasts.

use super::*;

fn read(source: &LiveSource, offset: u64) -> Option<Read> {
    source.read_now(offset, 3).unwrap()
}

#[test]
fn the_newest_bytes_are_kept() {
    let source = LiveSource::new(10);
    assert_eq!(read(&source, 0), None);
    for block in ["abcd", "efgh", "ijkl", "mnop"] {
        source.append(block.into()).unwrap();
    }
    assert_eq!(source.kept(), Some(4..16));
    assert_eq!(read(&source, 3), Some(Read::NotKept));
    assert_eq!(read(&source, 4), Some(Read::Bytes("efg".into())));
    assert_eq!(read(&source, 7), Some(Read::Bytes("h".into())));
    assert_eq!(read(&source, 16), None);
    assert_eq!((source.len(), source.join(Duration::ZERO)), (None, 16));
    source.end();
    assert_eq!((source.len(), read(&source, 16)), (Some(16), Some(Read::End)));
    assert_eq!(source.digest(), Some(blake3::hash(b"abcdefghijklmnop").into()));
}

#[tokio::test]
async fn a_viewer_at_the_edge_waits_for_more() {
    let source = Arc::new(LiveSource::new(10));
    source.append("ab".into()).unwrap();
    let next = tokio::spawn(source.clone().read(2, 10, 0));
    tokio::task::yield_now().await;
    source.append("cd".into()).unwrap();
    assert_eq!(next.await.unwrap().unwrap(), Read::Bytes("cd".into()));
    let last = tokio::spawn(source.clone().read(4, 10, 0));
    tokio::task::yield_now().await;
    source.end();
    assert_eq!(last.await.unwrap().unwrap(), Read::End);
}

#[test]
fn each_broadcast_of_a_title_is_another() {
    let title = Broadcaster::new("a".into(), 100);
    assert!(matches!(title.open(), Err(Error::NothingYet)));
    assert_eq!(title.send("x".into()).unwrap(), Some(LiveEvent::Started));
    assert_eq!(title.send("y".into()).unwrap(), None);
    let first = title.open().unwrap().source.validator();
    assert_eq!(title.end(), Some(LiveEvent::Ended(2)));
    assert_eq!(title.end(), None);
    assert_eq!(title.send("z".into()).unwrap(), Some(LiveEvent::Started));
    assert_ne!(title.open().unwrap().source.validator(), first);
}
