//! The page in a real browser: Chromium without a window, driven over its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::client::Bridge;
use crate::common::Serve;
use crate::programs::film;

/// How long a page may take over anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A tab of a browser that ends with the test.
struct Tab {
    browser: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: String,
    last_id: u64,
    /// What the page's console said that it should not.
    complaints: Vec<String>,
}

impl Tab {
    fn open(profile: &Path) -> Self {
        let mut browser = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"])
            .args(["--autoplay-policy=no-user-gesture-required", "--mute-audio"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(browser.stderr.take().unwrap()).lines();
        let url = stderr
            .find_map(|line| Some(line.unwrap().split_once("listening on ")?.1.to_owned()))
            .expect("the browser says where its protocol is");
        std::thread::spawn(move || stderr.for_each(drop));
        let (socket, _) = tungstenite::connect(url).unwrap();
        let mut tab =
            Self { browser, socket, session: String::new(), last_id: 0, complaints: Vec::new() };
        let target = tab.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = tab.call("Target.attachToTarget", attach);
        tab.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Runtime", "Log", "Page"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab
    }

    /// Calls a method of the browser.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.last_id {
                assert_eq!(answer["error"], Value::Null, "{method}: {answer}");
                return answer["result"].clone();
            }
            let complaint = match answer["method"].as_str() {
                Some("Log.entryAdded") => answer["params"]["entry"]["level"] == "error",
                Some("Runtime.exceptionThrown") => true,
                _ => false,
            };
            if complaint {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }

    /// Goes to a page, and waits until all of it is there: a navigation is done when its first bytes are.
    fn visit(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait_for("document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    fn value(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params);
        assert_eq!(result["exceptionDetails"], Value::Null, "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    fn wait_for(&mut self, expression: &str) {
        let began = Instant::now();
        while self.value(expression) != true {
            let page =
                "document.body.innerText + (media && media.error ? media.error.message : '')";
            assert!(began.elapsed() < PATIENCE, "{expression}\n{}", self.value(page));
            // The page has the processor meanwhile.
            self.value("new Promise((done) => setTimeout(done, 50))");
        }
    }

    fn screenshot(&mut self, width: u32, scheme: &str, path: PathBuf) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": feature }));
        let size = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        std::fs::write(path, base64(shot["data"].as_str().unwrap())).unwrap();
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        // Killed, it would leave its helpers behind.
        let close = json!({ "id": 0, "method": "Browser.close" });
        let _ = self.socket.send(Message::text(close.to_string()));
        let _ = self.browser.wait();
    }
}

/// The bytes of base64.
fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<_> =
        text.bytes().filter_map(|byte| alphabet.iter().position(|digit| *digit == byte)).collect();
    digits
        .chunks(4)
        .flat_map(|four| {
            let bits = four.iter().fold(0, |bits, digit| bits << 6 | *digit as u32);
            let bits = bits << (6 * (4 - four.len()));
            bits.to_be_bytes()[1..four.len()].to_vec()
        })
        .collect()
}

#[test]
#[ignore = "needs chromium and ffmpeg"]
fn a_film_plays_and_seeks_in_a_browser_and_survives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let media = dir.path().join("media");
    std::fs::create_dir(&media).unwrap();
    film(&media.join("film.webm"), 60, &["-c:v", "libvpx", "-b:v", "600k", "-c:a", "libopus"]);
    film(&media.join("sound.ogg"), 5, &["-vn", "-c:a", "libopus"]);
    std::fs::write(media.join("<img src=x onerror=alert(1)>.bin"), [0; 1000]).unwrap();
    let mut serve = Serve::start([&media]);
    let bridge = Bridge::to(&serve, &[]);

    let mut tab = Tab::open(&dir.path().join("profile"));
    tab.visit(&bridge.url);
    tab.wait_for("document.querySelectorAll('#titles button').length === 3");
    assert_eq!(tab.value("document.querySelectorAll('main img').length"), 0);
    tab.value("document.getElementById('filter').value = 'FILM'; show()");
    assert_eq!(tab.value("document.querySelectorAll('#titles button').length"), 1);
    tab.value("document.querySelector('#titles button').click()");
    tab.wait_for("media !== null && media.currentTime > 0.5");
    tab.value("media.currentTime = media.duration * 0.75");
    tab.wait_for("!media.seeking && media.currentTime > 45.5");

    // The server dies and comes back, and the player goes on.
    serve.kill();
    serve.restart();
    tab.value("media.currentTime = 5");
    tab.wait_for("!media.seeking && media.currentTime > 5.5 && media.currentTime < 45");
    tab.wait_for("document.getElementById('state').textContent === 'connected'");
    assert_eq!(tab.value("media.error"), Value::Null);
    assert_eq!(tab.complaints, [""; 0]);

    if let Some(shots) = std::env::var_os("SCREENSHOTS").map(PathBuf::from) {
        tab.value("document.getElementById('filter').value = ''; show(); media.pause()");
        for width in [360, 1280] {
            for scheme in ["light", "dark"] {
                tab.screenshot(width, scheme, shots.join(format!("{width}-{scheme}.png")));
            }
        }
    }
}

/// A process that is killed when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Broadcasts a test picture and a tone, which a browser watches: from the newest key frame, and from
/// longer ago.
fn a_broadcast_plays(name: &str, codecs: &str) {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let live = format!("{name}={}", fifo.display());
    let mut serve = Serve::start(["--live", &live, "--live-linger", "0"]);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-loglevel", "error", "-re", "-f", "lavfi"]);
    ffmpeg.args(["-i", "testsrc=size=320x180:rate=25", "-f", "lavfi", "-i", "sine", "-g", "25"]);
    ffmpeg.args(codecs.split(' ')).arg("-y").arg(&fifo);
    let producer = Killed(ffmpeg.spawn().unwrap());
    serve.wait_for("live_started");
    let bridge = Bridge::to(&serve, &[]);
    let mut tab = Tab::open(&dir.path().join("profile"));
    tab.visit(&bridge.url);
    tab.wait_for("document.querySelectorAll('#titles button').length === 1");
    // Long enough to be gone back in.
    tab.wait_for("titles[0].since < Date.now() - 8000");
    tab.value("document.querySelector('#titles button').click()");
    tab.wait_for("media !== null && media.played.length > 0 && media.currentTime > 0.5");
    assert_eq!(tab.value("document.getElementById('broadcast').hidden"), false);
    tab.wait_for("media.currentTime - media.played.start(0) > 2");
    let shown = tab.value("document.querySelector('#titles .live').textContent");
    assert_eq!(shown, "LIVE ");
    tab.value("window.newest = media.currentTime");
    tab.value("document.querySelector('[data-ago=\"4000000\"]').click()");
    tab.wait_for("media.played.length > 0 && media.currentTime - media.played.start(0) > 2");
    assert_eq!(tab.value("media.played.start(0) < 1"), true, "it went back to the beginning");
    tab.value("document.querySelector('[data-ago=\"0\"]').click()");
    tab.wait_for("media.played.length > 0 && media.currentTime > window.newest");
    assert_eq!(tab.value("media.error"), Value::Null);
    drop(producer);
    // Without a reload.
    tab.wait_for("document.querySelector('#titles .live') === null");
    assert_eq!(tab.complaints, [""; 0]);
    if let Some(shots) = std::env::var_os("SCREENSHOTS").map(PathBuf::from) {
        tab.screenshot(900, "light", shots.join(format!("{name}.png")));
    }
}

#[test]
#[ignore = "needs chromium and ffmpeg"]
fn a_broadcast_of_webm_plays_in_a_browser_and_goes_back() {
    a_broadcast_plays("cam.webm", "-c:v libvpx -deadline realtime -b:v 600k -c:a libopus -f webm");
}

#[test]
#[ignore = "needs chromium and ffmpeg"]
fn a_broadcast_of_fragmented_mp4_plays_in_a_browser_and_goes_back() {
    a_broadcast_plays(
        "cam.mp4",
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac \
         -movflags frag_keyframe+empty_moov+default_base_moof -f mp4",
    );
}

#[test]
#[ignore = "needs chromium"]
fn what_a_browser_cannot_play_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let media = dir.path().join("media");
    std::fs::create_dir(&media).unwrap();
    std::fs::write(media.join("noise.mp4"), vec![7; 100_000]).unwrap();
    let serve = Serve::start([&media]);
    let bridge = Bridge::to(&serve, &[]);
    let mut tab = Tab::open(&dir.path().join("profile"));
    tab.visit(&bridge.url);
    tab.wait_for("!document.getElementById('unplayable').hidden");
    let why = tab.value("document.getElementById('why').textContent");
    assert!(why.as_str().unwrap().contains("mpv or VLC"), "{why}");
    let command = tab.value("document.getElementById('command').textContent");
    assert_eq!(command, format!("mpv '{}t/noise.mp4'", bridge.url));
}
