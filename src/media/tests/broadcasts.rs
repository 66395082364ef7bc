use std::fs;
use std::sync::Arc;

use super::*;
use crate::media::Broadcaster;

fn with_broadcasts(library: Library, titles: &[&str]) -> (Arc<Library>, Vec<Arc<Broadcaster>>) {
    let live: Vec<_> =
        titles.iter().map(|title| Arc::new(Broadcaster::new((*title).into(), 1_000))).collect();
    (Arc::new(library.with_broadcasts(live.clone())), live)
}

#[tokio::test]
async fn a_recording_goes_by_its_broadcast_whoever_asks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |dir: &Path| Library::new(Some(dir), 0).unwrap();
    write(dir.path().join("cam.ts"), "what is recorded so far");
    let (library, live) = with_broadcasts(at(dir.path()), &["cam.ts"]);
    for early in [
        library.open(None, 1).await,
        library.open_first(1).await,
        library.open(Some("cam.ts"), 1).await,
    ] {
        assert!(matches!(early, Err(Error::NothingYet)), "{early:?}");
    }
    live[0].send("on the air".into()).unwrap();
    for media in [
        library.open(None, 1).await,
        library.open_first(1).await,
        library.open(Some("cam.ts"), 1).await,
    ] {
        assert_eq!(media.unwrap().size(), None, "it is the broadcast");
    }
    // A file beside it is another title.
    write(dir.path().join("b.ts"), "a file");
    assert!(matches!(library.open(None, 1).await, Err(Error::TitleNeeded)));
    assert_eq!(library.open_first(1).await.unwrap().title(), "b.ts", "the first file by name");
    fs::remove_file(dir.path().join("b.ts")).unwrap();
    fs::remove_file(dir.path().join("cam.ts")).unwrap();
    assert_eq!(library.open(None, 1).await.unwrap().title(), "cam.ts");
    assert_eq!(library.open_first(1).await.unwrap().title(), "cam.ts");
}

#[tokio::test]
async fn of_several_broadcasts_one_is_to_be_named() {
    let (library, live) = with_broadcasts(Library::new(None, 0).unwrap(), &["b.ts", "a.ts"]);
    assert!(matches!(library.open_first(1).await, Err(Error::NothingYet)));
    live[0].send("x".into()).unwrap();
    assert_eq!(library.open_first(1).await.unwrap().title(), "b.ts", "the other has not begun");
    live[1].send("x".into()).unwrap();
    assert!(matches!(library.open(None, 1).await, Err(Error::TitleNeeded)));
    assert_eq!(library.open_first(1).await.unwrap().title(), "a.ts");
    assert_eq!(library.open(Some("b.ts"), 1).await.unwrap().title(), "b.ts");
}

#[tokio::test]
async fn a_broadcast_that_never_comes_is_no_title() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("cam.ts"), "a file");
    let library = Library::new(Some(dir.path()), 0).unwrap();
    let (library, live) = with_broadcasts(library, &["cam.ts", "b.ts"]);
    assert_eq!(titles(&library.catalogue().await.unwrap()), ["b.ts", "cam.ts"]);
    live.iter().for_each(|live| live.close());
    assert_eq!(titles(&library.catalogue().await.unwrap()), ["cam.ts"]);
    assert!(matches!(library.open(Some("b.ts"), 1).await, Err(Error::NoSuchTitle)));
    assert_eq!(library.open(None, 1).await.unwrap().size(), Some(6), "the file is no recording");
}

#[tokio::test]
async fn a_list_knows_at_once_what_is_on_the_air() {
    let dir = tempfile::tempdir().unwrap();
    let library = Library::new(Some(dir.path()), 0).unwrap();
    let (library, live) = with_broadcasts(library, &["cam.ts"]);
    let entry = async || library.catalogue().await.unwrap()[0].clone();
    assert_eq!(entry().await.modified, None, "it waits");
    live[0].send("on the air".into()).unwrap();
    assert!(entry().await.modified.is_some());
    live[0].end(None);
    assert_eq!(entry().await.size, Some(10));
}
