use super::*;

#[test]
fn an_older_recording_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cam.ts");
    for text in ["first", "second", "third"] {
        create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), b"third");
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut older: Vec<_> = names.filter(|name| *name != path).collect();
    older.sort();
    assert_eq!(older.len(), 2);
    for name in &older {
        let name = name.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("cam-2") && name.ends_with(".ts"), "{name}");
    }
    let mut texts: Vec<_> = older.iter().map(|path| fs::read(path).unwrap()).collect();
    texts.sort();
    assert_eq!(texts, [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn the_longest_name_and_a_link_to_nowhere_are_moved_away_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{}.ts", "ü".repeat(126)));
    assert_eq!(path.file_name().unwrap().len(), LONGEST_NAME);
    for _ in 0..3 {
        create(&path).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    let path = dir.path().join(format!("x.{}", "e".repeat(240)));
    for _ in 0..2 {
        create(&path).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
    let path = dir.path().join("link.ts");
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    create(&path).unwrap();
    assert!(path.symlink_metadata().unwrap().is_file());
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn very_many_in_a_second_and_a_directory_that_is_gone_are_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cams/cam.ts");
    for _ in 0..150 {
        create(&path).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path().join("cams")).unwrap().count(), 150);
}

#[test]
fn what_a_recording_cannot_be_written_to_is_known_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("cam.ts")).unwrap();
    Recorder::start(dir.path(), "cam.ts", 0).unwrap_err();
    fs::write(dir.path().join("file"), "").unwrap();
    Recorder::start(&dir.path().join("file"), "cam.ts", 0).unwrap_err();
    let fifo = dir.path().join("fifo.ts");
    rustix::fs::mkfifoat(CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    Recorder::start(dir.path(), "fifo.ts", 0).unwrap_err();
    create(&fifo).unwrap_err();
    assert!(!fifo.metadata().unwrap().is_file());
    Recorder::start(dir.path(), "other.ts", 0).unwrap();
}

#[test]
fn what_somebody_else_writes_behind_it_ends_a_recording_and_spoils_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cam.ts");
    let recorder = Recorder::start(dir.path(), "cam.ts", 0).unwrap();
    let recording = recorder.begin();
    let record = |bytes: &'static [u8]| {
        recorder.record(&recording, &bytes.into());
        recorder.flush();
    };
    record(b"ours");
    File::options().append(true).open(&path).unwrap().write_all(b" and theirs").unwrap();
    record(b"more");
    assert_eq!((recording.bytes(), recording.reaches()), (4, None));
    let mut read = [0; 4];
    recording.read(0, &mut read).unwrap();
    assert_eq!(&read, b"ours");
    assert_eq!(fs::read(&path).unwrap(), b"ours and theirs");
}

#[test]
fn a_disk_that_hangs_ends_the_recording_and_keeps_no_more() {
    let (pieces, received) = channel();
    let waiting = Arc::new(AtomicU64::new(0));
    let path = PathBuf::from("nowhere/cam.ts");
    let recorder = Recorder { path, pieces, waiting, most: 1_000 };
    let recording = recorder.begin();
    (0..100).for_each(|_| recorder.record(&recording, &Bytes::from_static(&[7; 100])));
    assert_eq!(recording.reaches(), None);
    assert!((1_000..=1_100).contains(&recorder.waiting()));
    assert!(received.try_iter().count() <= 11, "the rest is dropped");
}

#[test]
fn what_has_come_when_a_disk_is_too_slow_is_written_yet() {
    let dir = tempfile::tempdir().unwrap();
    let (pieces, received) = channel();
    let waiting = Arc::new(AtomicU64::new(0));
    let path = dir.path().join("cam.ts");
    let recorder = Recorder { path: path.clone(), pieces, waiting: waiting.clone(), most: 1_000 };
    let recording = recorder.begin();
    (0..100).for_each(|_| recorder.record(&recording, &Bytes::from_static(&[7; 100])));
    drop(recorder);
    record(&received, &waiting);
    assert_eq!(fs::read(path).unwrap(), [7; 1_100]);
    assert_eq!((recording.bytes(), waiting.load(Ordering::Relaxed)), (1_100, 0));
}
