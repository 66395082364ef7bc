//! A terminal with a shell in it, and somebody who types and reads.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Connects its own stdin and stdout to a new terminal, in which it runs its arguments. After two
/// minutes the terminal goes away, so that a test that waits in vain fails.
const BRIDGE: &str = "import pty, signal, sys; signal.alarm(120); pty.spawn(sys.argv[1:])";
/// Stands before what commands print, and not in what is typed.
const MARK: &str = "mark-";

/// A terminal of 80 columns, with `sh` as its session's leader and `quicstream` on its PATH.
pub(crate) struct Terminal {
    bridge: Child,
    keyboard: ChildStdin,
    screen: ChildStdout,
    /// Everything that was shown.
    pub(crate) shown: String,
    read: usize,
}

impl Terminal {
    /// Starts an interactive shell, with the settings of `environment`.
    pub(crate) fn start(environment: &Command, state: &Path) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_quicstream")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(
            std::iter::once(program.to_owned()).chain(std::env::split_paths(&path)),
        );
        let mut command = Command::new("python3");
        for (name, value) in environment.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut bridge = command
            // Where python3 is a shell script, that script drops the prompt.
            .args(["-c", BRIDGE, "env", "PS1=prompt$ ", "sh", "-i"])
            .env("PATH", path.unwrap())
            .env("TERM", "xterm-256color")
            .env_remove("ENV")
            .env_remove("NO_COLOR")
            .current_dir(state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let (keyboard, screen) = (bridge.stdin.take().unwrap(), bridge.stdout.take().unwrap());
        let mut terminal = Self { bridge, keyboard, screen, shown: String::new(), read: 0 };
        terminal.wait_for("prompt$ ");
        terminal.run("stty cols 80 rows 24");
        terminal
    }

    /// Types text.
    pub(crate) fn keys(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Types a line.
    pub(crate) fn line(&mut self, text: &str) {
        self.keys(&format!("{text}\n"));
    }

    /// Reads until `text` is shown after what was waited for before, and gives what stands between.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let unread = &self.shown[self.read..];
            if let Some(at) = unread.find(text) {
                let before = unread[..at].to_owned();
                self.read += at + text.len();
                return before;
            }
            let mut block = [0; 4096];
            let count = self.screen.read(&mut block).unwrap();
            assert!(count > 0, "{text:?} was not shown: {}", self.shown.escape_debug());
            self.shown += &String::from_utf8_lossy(&block[..count]);
        }
    }

    /// Lets the shell run a command, and gives what it prints.
    #[track_caller]
    pub(crate) fn run(&mut self, command: &str) -> String {
        // The quotes keep the mark out of what the terminal echoes.
        self.line(&format!("{command}; echo '{MARK}''end'"));
        let printed = self.wait_for(&format!("{MARK}end\r\n"));
        self.wait_for("prompt$ ");
        let echoed = printed.rfind("'end'\r\n").map_or(0, |at| at + "'end'\r\n".len());
        printed[echoed..].to_owned()
    }

    /// Whether keys are shown and handed over by the line, as a shell leaves its terminal.
    #[track_caller]
    pub(crate) fn is_sane(&mut self) -> bool {
        let modes = self.run("stty -a");
        let has = |mode: &str| modes.split([' ', ';', '\r', '\n']).any(|word| word == mode);
        assert!(has("icanon") || has("-icanon"), "{modes}");
        has("icanon") && has("echo")
    }

    /// Makes the terminal go away.
    pub(crate) fn hang_up(mut self) {
        self.bridge.kill().unwrap();
        self.bridge.wait().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell, and what runs in it, are ended by the hang-up.
        let _ = self.bridge.kill();
        let _ = self.bridge.wait();
    }
}
