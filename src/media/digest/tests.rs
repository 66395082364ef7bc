use std::io::Write;
use std::os::unix::fs::FileExt;
use std::task::Poll;

use super::*;

#[cfg(target_os = "linux")]
#[test]
fn only_its_own_thread_gives_way() {
    use rustix::process::getpriority_process;

    let before = getpriority_process(None).unwrap();
    let lowered = thread::spawn(|| {
        give_way();
        getpriority_process(None).unwrap()
    });
    assert_eq!(lowered.join().unwrap(), 19);
    assert_eq!(getpriority_process(None).unwrap(), before);
    assert_ne!(before, 19);
}

fn file(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let metadata = file.metadata().unwrap();
    Arc::new(File::new(file, &metadata, "media.mp4".into()))
}

fn digester() -> Digester {
    Digester::new(Arc::new(Cache::new(0)))
}

#[tokio::test]
async fn a_thread_that_cannot_be_started_is_started_at_the_next_request() {
    let mut digester = digester();
    digester.start = |_| Err(io::ErrorKind::WouldBlock.into());
    let (first, second) = (file(b"first"), file(b"second"));
    digester.request(&first);
    assert_eq!(first.digest(), None);
    assert!(!first.needs_new_digest(), "it is not given up");
    digester.start = start;
    digester.request(&second);
    for (file, bytes) in [(first, "first"), (second, "second")] {
        let digest = tokio::time::timeout(Duration::from_secs(60), file.digested()).await;
        assert_eq!(digest.unwrap(), Some(blake3::hash(bytes.as_bytes()).into()));
    }
}

#[test]
fn the_line_has_its_bounds_and_what_nobody_wants_takes_no_place() {
    let mut queue = Queue::default();
    let (wanted, unwanted) = (file(b"wanted"), file(b"unwanted"));
    for _ in 0..2000 {
        let _ = queue.push(Job::new(&unwanted));
    }
    let refused = queue.push(Job::new(&wanted)).unwrap_err();
    drop(refused);
    assert!(wanted.needs_new_digest(), "nobody waits for it");

    drop(unwanted);
    let wanted = file(b"wanted");
    queue.push(Job::new(&wanted)).unwrap();
    assert_eq!(queue.take().unwrap().identity(), wanted.identity());
    assert!(queue.take().is_none());
}

#[test]
fn every_other_turn_goes_to_what_is_shortest_and_none_starves() {
    let files = [3, 1, 2].map(|size| file(&vec![0; size]));
    let mut queue = Queue::default();
    for file in &files {
        queue.push(Job::new(file)).unwrap();
    }
    let mut turns = Vec::new();
    for _ in 0..6 {
        let job = queue.take().unwrap();
        turns.push(job.left());
        queue.put_back(job);
    }
    assert_eq!(turns, [1, 3, 1, 2, 1, 3]);
}

#[test]
fn a_file_is_kept_open_for_those_who_come_back_and_no_longer() {
    let mut queue = Queue::default();
    let began = Instant::now();
    let after = |seconds| began + Duration::from_secs(seconds);
    let media = file(b"media");
    queue.hold(&media, began);
    queue.hold(&media, after(10));
    assert_eq!(Arc::strong_count(&media), 2, "once");
    assert_eq!(queue.release(after(20)), Some(after(25)));
    assert_eq!(queue.release(after(25)), None);
    assert_eq!(Arc::strong_count(&media), 1);
    let many: Vec<_> = (0..100).map(|_| file(b"")).collect();
    many.iter().for_each(|file| queue.hold(file, began));
    assert!(many.iter().filter(|file| Arc::strong_count(file) > 1).count() < 100);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("media.mp4");
    std::fs::write(&path, "media").unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    // Open for writing only: it cannot be read, as on a broken disk.
    let write_only = || std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let digester = digester();
    let broken = Arc::new(File::new(write_only(), &metadata, path.clone()));
    digester.request(&broken);
    let digest = tokio::time::timeout(Duration::from_secs(60), broken.digested()).await;
    assert_eq!(digest.unwrap(), None);
    let again = Arc::new(File::new(write_only(), &metadata, path.clone()));
    assert_eq!(digester.resolve(&again), Poll::Ready(None));
}

/// A file of two slices and a bit, each of its bytes `byte`, that can be changed.
fn long_file(byte: u8) -> (Arc<File>, std::fs::File, Vec<u8>) {
    let mut file = tempfile::tempfile().unwrap();
    let bytes = vec![byte; 2 * 64 * BLOCK + 1000];
    file.write_all(&bytes).unwrap();
    let metadata = file.metadata().unwrap();
    let shown = Arc::new(File::new(file.try_clone().unwrap(), &metadata, "media.mp4".into()));
    (shown, file, bytes)
}

/// Hashes a file to the end; `meanwhile` is called after each slice.
fn hash(file: &Arc<File>, mut meanwhile: impl FnMut()) -> Result<Slice, Error> {
    let (mut job, cache) = (Job::new(file), Cache::new(0));
    let mut buffer = vec![0; BLOCK];
    // Without somebody else who has it, nothing is hashed.
    let _viewer = file.clone();
    loop {
        match job.advance(file, &cache, &mut buffer, || false)? {
            Slice::More => meanwhile(),
            slice => return Ok(slice),
        }
    }
}

#[test]
fn what_was_rewritten_and_grew_while_it_was_hashed_is_hashed_as_it_is_then() {
    let (file, writer, _) = long_file(1);
    let new = vec![2; 2 * 64 * BLOCK + 2000];
    let mut changes = 0;
    let hashed = hash(&file, || {
        if changes == 0 {
            writer.write_all_at(&new, 0).unwrap();
        }
        changes += 1;
    });
    let expected: Digest = blake3::hash(&new[..new.len() - 1000]).into();
    assert!(matches!(hashed, Ok(Slice::Passing(digest)) if digest == expected), "{hashed:?}");
}

#[test]
fn what_grows_all_the_time_is_hashed_until_it_is_found_the_same_twice() {
    let (file, writer, bytes) = long_file(1);
    let mut end = bytes.len() as u64;
    let hashed = hash(&file, || {
        writer.write_all_at(b"more", end).unwrap();
        end += 4;
    });
    let expected: Digest = blake3::hash(&bytes).into();
    assert!(matches!(hashed, Ok(Slice::Passing(digest)) if digest == expected), "{hashed:?}");
}

#[test]
fn what_is_rewritten_all_the_time_has_no_digest() {
    let (file, writer, bytes) = long_file(1);
    let mut byte = 2;
    let hashed = hash(&file, || {
        writer.write_all_at(&vec![byte; bytes.len() + 1], 0).unwrap();
        byte += 1;
    });
    assert!(matches!(hashed, Ok(Slice::Restless)), "{hashed:?}");
    let (file, writer, _) = long_file(1);
    let hashed = hash(&file, || writer.write_all_at(b"edited", 0).unwrap());
    assert!(matches!(hashed, Err(Error::Changed(_))), "{hashed:?}");
}
