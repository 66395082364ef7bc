//! Real players and downloaders in front of a bridge.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::client::Bridge;
use crate::common::{Serve, media};

/// Makes a film of so many seconds: a counter of its seconds that a human can read, and a tone.
pub(crate) fn film(path: &Path, seconds: u32, codecs: &[&str]) {
    let length = seconds.to_string();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine=frequency=440", "-t", &length]).args(codecs);
    assert!(ffmpeg.arg(path).status().expect("ffmpeg is there").success());
}

/// A film whose index is at its end, of which no player knows anything without a seek.
fn film_with_index_at_its_end(path: &Path) {
    film(path, 60, &["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac"]);
    let bytes = fs::read(path).unwrap();
    let find = |name: &[u8]| bytes.windows(4).position(|four| four == name).unwrap();
    assert!(find(b"moov") > find(b"mdat"), "the index is at the end");
}

/// A server of one directory, and a bridge to it.
struct Place {
    dir: tempfile::TempDir,
    bridge: Bridge,
    _serve: Serve,
}

impl Place {
    fn new(make: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("media")).unwrap();
        make(&dir.path().join("media"));
        let serve = Serve::start([dir.path().join("media")]);
        let bridge = Bridge::to(&serve, &[]);
        Self { dir, bridge, _serve: serve }
    }

    fn url(&self, title: &str) -> String {
        format!("{}t/{title}", self.bridge.url)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn good(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| text(bytes));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    stdout
}

#[test]
#[ignore = "needs curl"]
fn curl_fetches_ranges_and_continues() {
    let place = Place::new(|media_dir| drop(media(media_dir, 3_000_000)));
    let bytes = fs::read(place.file("media/media.mp4")).unwrap();
    let (url, out) = (place.url("media.mp4"), place.file("out"));
    let curl = |args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-o"]).arg(&out).args(args).arg(&url);
        good(curl.output().expect("curl is there"))
    };
    curl(&[]);
    assert!(fs::read(&out).unwrap() == bytes);
    fs::write(&out, &bytes[..1_234_567]).unwrap();
    curl(&["-C", "-"]);
    assert!(fs::read(&out).unwrap() == bytes, "it went on where it was");
    curl(&["-r", "2000000-"]);
    assert!(fs::read(&out).unwrap() == bytes[2_000_000..]);
    curl(&["-I"]);
    let head = fs::read_to_string(&out).unwrap();
    assert!(head.contains("content-length: 3000000"), "{head}");
    curl(&["-r", "0-9", "-H", "If-Range: \"other\""]);
    assert!(fs::read(&out).unwrap() == bytes);
    let future = "Fri, 01 Jan 2100 00:00:00 GMT";
    assert_eq!(curl(&["-z", future, "-w", "%{http_code}"]), "304");
}

#[test]
#[ignore = "needs ffmpeg"]
fn ffmpeg_decodes_the_right_frame_of_the_middle() {
    let place = Place::new(|media| film_with_index_at_its_end(&media.join("film.mp4")));
    let probe = |input: &str| {
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]);
        good(ffprobe.arg(input).output().unwrap()).trim().parse::<f64>().unwrap()
    };
    assert!((59.0..61.5).contains(&probe(&place.url("film.mp4"))));
    let frame = |input: &str| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-ss", "42", "-i", input, "-frames:v", "1"]);
        good(ffmpeg.args(["-f", "md5", "-"]).output().unwrap())
    };
    let local = place.file("media/film.mp4");
    assert_eq!(frame(&place.url("film.mp4")), frame(local.to_str().unwrap()));
}

#[test]
#[ignore = "needs mpv and ffmpeg"]
fn mpv_starts_in_the_middle_and_seeks_at_random() {
    let place = Place::new(|media| film_with_index_at_its_end(&media.join("film.mp4")));
    let script = place.file("seek.lua");
    // Twenty places all over the film; at each it has to play on before the next.
    let lua = "local left, first = 20, true\n\
               mp.register_event('playback-restart', function()\n\
                 local at = mp.get_property_number('time-pos')\n\
                 if first then first = false; print('START ' .. at) end\n\
                 if left == 0 then print('SOUGHT'); mp.command('quit 0') return end\n\
                 left = left - 1\n\
                 mp.commandv('seek', tostring((left * 37) % 58), 'absolute+exact')\n\
               end)\n";
    fs::write(&script, lua).unwrap();
    let mpv = |target: &str| {
        let mut mpv = Command::new("mpv");
        mpv.args([
            "--no-config",
            "--vo=null",
            "--ao=null",
            "--start=50%",
            "--msg-level=all=warn,seek=info",
        ]);
        mpv.arg(format!("--script={}", script.display())).arg(target);
        good(mpv.output().expect("mpv is there"))
    };
    for target in [place.url("film.mp4"), format!("{}playlist.m3u8", place.bridge.url)] {
        let said = mpv(&target);
        assert!(said.contains("SOUGHT"), "{said}");
        let start = said.lines().find_map(|line| line.split_once("START ")).unwrap().1;
        let start: f64 = start.trim().parse().unwrap();
        assert!((28.0..32.0).contains(&start), "{said}");
        assert!(!said.to_lowercase().contains("error"), "{said}");
    }
}

#[test]
#[ignore = "needs vlc and ffmpeg"]
fn vlc_plays_the_list_to_its_end() {
    let place = Place::new(|media| {
        let codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];
        film(&media.join("a.mp4"), 2, &codecs);
        film(&media.join("b.mp4"), 2, &codecs);
    });
    let home = place.file("home");
    fs::create_dir(&home).unwrap();
    // VLC does not run as root.
    let mut cvlc = if rustix::process::geteuid().is_root() {
        for directory in [place.dir.path(), &home] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cvlc"]);
        setpriv
    } else {
        Command::new("cvlc")
    };
    cvlc.env("HOME", &home).args(["--no-video", "--aout=adummy", "--no-dbus", "--play-and-exit"]);
    let list = format!("{}playlist.m3u8", place.bridge.url);
    let output = cvlc.args(["-vv", &list]).output().expect("vlc is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for title in ["t/a.mp4", "t/b.mp4"] {
        assert!(said.contains(title), "{said}");
    }
    assert!(!said.contains("VLC is unable to open"), "{said}");
}
