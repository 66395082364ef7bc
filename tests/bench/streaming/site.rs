//! Where a run happens: the machine, and a directory for what processes share.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use quicstream::transport::Certificate;
use serde_json::Value;

use crate::process::{Core, Process, can_pin};

/// How long anything that should happen at once may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Has the allocator of glibc keep what is freed, up to a gigabyte.
const KEEP_MEMORY: Variable = (
    "GLIBC_TUNABLES",
    "glibc.malloc.trim_threshold=1073741824:\
     glibc.malloc.mmap_threshold=33554432:glibc.malloc.top_pad=16777216",
);

/// The name of the environment variable that has the roles use the rings that quicstream has.
pub(crate) const OUR_RINGS: &str = "STREAMING_BENCH_OUR_RINGS";

/// An environment variable.
type Variable = (&'static str, &'static str);

/// A directory in memory, if there is such a thing, with a certificate in it.
#[derive(Debug)]
pub(crate) struct Site {
    root: PathBuf,
    /// Whether servers and clients get a core each, or all share all.
    pinned: bool,
    /// What this program's roles find in their environment.
    variable: Option<Variable>,
    /// Removes it in the end; children only look at it.
    _owner: Option<tempfile::TempDir>,
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// From its start until it listened.
    pub(crate) took: Duration,
}

impl Site {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        let owner = tempfile::Builder::new().prefix("quicstream-bench").tempdir_in(parent).unwrap();
        let site = Self {
            root: owner.path().to_owned(),
            pinned: can_pin(),
            variable: None,
            _owner: Some(owner),
        };
        let names = Certificate::LOCAL_NAMES.map(String::from);
        let certificate = Certificate::self_signed(&names, 1).unwrap();
        certificate.write(&site.cert(), &site.key(), false).unwrap();
        site
    }

    /// The same directory in a child process.
    pub(crate) fn at(root: &str) -> Self {
        Self { root: root.into(), pinned: false, variable: None, _owner: None }
    }

    /// The same directory, for processes that run wherever the system puts them.
    pub(crate) fn unpinned(&self) -> Self {
        Self { pinned: false, ..self.again() }
    }

    /// The same directory, for roles of this program that do not give memory back to the system.
    pub(crate) fn keeping_memory(&self) -> Self {
        Self { variable: Some(KEEP_MEMORY), ..self.again() }
    }

    /// The same directory, for roles of this program whose endpoints have quicstream's rings.
    pub(crate) fn with_our_rings(&self) -> Self {
        Self { variable: Some((OUR_RINGS, "1")), ..self.again() }
    }

    fn again(&self) -> Self {
        let Self { root, pinned, variable, _owner: _ } = self;
        Self { root: root.clone(), pinned: *pinned, variable: *variable, _owner: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn cert(&self) -> PathBuf {
        self.path("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.path("key.pem")
    }

    /// A file of `size` zeros that takes no room.
    pub(crate) fn sparse(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// A command of quicstream, shielded from the settings of whoever runs the bench.
    pub(crate) fn quicstream(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quicstream"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("QUICSTREAM_") {
                command.env_remove(name);
            }
        }
        command.env("QUICSTREAM_STATE_DIR", &self.root).env("XDG_CONFIG_HOME", &self.root);
        command.arg(subcommand).args(["--json", "--quiet", "--progress", "none"]);
        command
    }

    /// `quicstream serve` on a free port of loopback.
    pub(crate) fn serve(&self, media: &Path, mtu: u16, args: &[&str]) -> Serving {
        let mut command = self.serve_command(args);
        command.arg("--media").arg(media);
        command.env("QUICSTREAM_TRANSPORT_MTU", mtu.to_string());
        self.start_server(&command)
    }

    /// `quicstream serve` of nothing but broadcasts.
    pub(crate) fn serve_live(&self, args: &[&str]) -> Serving {
        let mut command = self.serve_command(args);
        command.env("QUICSTREAM_TRANSPORT_MTU", "1500");
        self.start_server(&command)
    }

    /// The command of a server.
    pub(crate) fn serve_command(&self, args: &[&str]) -> Command {
        let mut command = self.quicstream("serve");
        // All viewers come from one address.
        command.args(["--listen", "127.0.0.1:0", "--max-connections", "20000"]);
        command.args(["--max-per-address", "20000"]).args(args);
        command
    }

    /// `quicstream play` from a server.
    pub(crate) fn play(&self, server: SocketAddr, mtu: u16, args: &[&str]) -> Process {
        let mut command = self.quicstream("play");
        command
            .args([&server.to_string(), "--pause-at", "0", "--ca"])
            .arg(self.cert())
            .args(args)
            .env("QUICSTREAM_TRANSPORT_MTU", mtu.to_string());
        self.start_client(&command)
    }

    /// This program in one of its other roles.
    pub(crate) fn role(&self, role: &str, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(role).arg(&self.root).args(args);
        command.envs(self.variable);
        command
    }

    /// This program as a server.
    pub(crate) fn serve_bare(&self, role: &str, args: &[&str]) -> Serving {
        self.start_server(&self.role(role, args))
    }

    /// Any client.
    pub(crate) fn start_client(&self, command: &Command) -> Process {
        Process::start(command, self.pinned.then_some(Core::Client))
    }

    /// A server that says where it listens.
    pub(crate) fn start_server(&self, command: &Command) -> Serving {
        let process = Process::start(command, self.pinned.then_some(Core::Server));
        let (at, listening) = process.event("listening", SOON);
        let address = listening["addr"].as_str().unwrap().parse().unwrap();
        Serving { took: at - process.spawned, process, address }
    }
}

/// What the figures are measured on, and what else the machine had to do meanwhile.
pub(crate) struct Machine {
    cores: usize,
    load: String,
    began: Instant,
    stolen: Duration,
}

impl Machine {
    /// To be made before the first measurement.
    pub(crate) fn new() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: read("/proc/loadavg").split(' ').next().unwrap_or("unknown").to_owned(),
            began: Instant::now(),
            stolen: stolen(),
        }
    }

    /// To be asked for after the last measurement.
    pub(crate) fn description(&self) -> String {
        let info = read("/proc/cpuinfo");
        let model = info.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown CPU");
        let pinned = match can_pin() {
            true => "servers pinned to core 0 and clients to core 1 where nothing else is said",
            false => "nothing is pinned: there is no taskset, or one core only",
        };
        let stolen = stolen().saturating_sub(self.stolen).as_secs_f64();
        format!(
            "{} cores, {model}, Linux {}; load {} at the start, {:.1} % of the cores taken by the \
             host; {pinned}",
            self.cores,
            read("/proc/sys/kernel/osrelease").trim(),
            self.load,
            stolen * 100.0 / self.began.elapsed().as_secs_f64() / self.cores.max(1) as f64,
        )
    }
}

/// The time of all cores that the host of a virtual machine has spent on others so far.
fn stolen() -> Duration {
    let stat = read("/proc/stat");
    let ticks = stat.split_whitespace().nth(8).and_then(|ticks| ticks.parse().ok());
    Duration::from_millis(10) * ticks.unwrap_or(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A number of an event.
pub(crate) fn number(event: &Value, field: &str) -> f64 {
    event[field].as_f64().unwrap_or_else(|| panic!("no number {field:?} in {event}"))
}
