//! What the stories share: a directory, a supervisor, and ways to look at processes from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runward_engine::runbook::model::Orphans;
use runward_workers::supervisor::client::{Event, Events, Requests, Supervisor};
use runward_workers::supervisor::journal::{self, AttemptResult};
use runward_workers::supervisor::log::{LogItem, LogReader};
use runward_workers::supervisor::protocol::Launch;
use runward_workers::supervisor::spool::Stream;

pub const HOST: &str = env!("CARGO_BIN_EXE_runward-supervisor-host");
/// It only tells "never" from "late": the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Timeouts for a step that has to come to something before it times out: the next one where a busy machine gave it no
/// turn within the last.
pub const TIMEOUTS_MS: [u64; 4] = [300, 3_000, 30_000, 300_000];

pub struct World {
    pub dir: tempfile::TempDir,
    pub requests: Requests,
    pub events: Events,
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let Supervisor { requests, events } = Supervisor::spawn(Path::new(HOST), &home(dir.path())).unwrap();
        World { dir, requests, events }
    }

    pub fn home(&self) -> PathBuf {
        home(self.dir.path())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn launch(&self, name: &str, script: &str) -> Launch {
        launch(self.dir.path(), name, script)
    }

    /// Runs one script to its end.
    pub async fn run(&mut self, launch: &Launch) -> AttemptResult {
        self.requests.start(launch.clone()).unwrap();
        self.ended(launch).await
    }

    pub async fn ended(&mut self, launch: &Launch) -> AttemptResult {
        assert_eq!(self.event().await, Event::Ended { attempt: launch.attempt.clone() });
        result(launch)
    }

    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.next_event()).await.expect("an event")
    }

    pub fn supervisor_pid(&self) -> i32 {
        let home = self.home();
        until("the supervisor's directory", || {
            children(std::process::id() as i32).into_iter().find(|pid| cmdline(*pid).contains(home.to_str().unwrap()))
        })
    }
}

pub fn home(dir: &Path) -> PathBuf {
    dir.join("supervisor")
}

pub fn launch(dir: &Path, name: &str, script: &str) -> Launch {
    let attempt_dir = dir.join(name);
    fs::create_dir_all(&attempt_dir).unwrap();
    journal::open(&attempt_dir).unwrap();
    Launch {
        attempt: name.into(),
        dir: attempt_dir,
        argv: ["bash", "-euo", "pipefail", "-c", script].map(String::from).to_vec(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        cwd: dir.to_owned(),
        timeout_ms: 60_000,
        grace_ms: 10_000,
        far_ms: 0,
        orphans: Orphans::Kill,
        log_bytes_max: 128 << 20,
        boot: journal::boot_id().unwrap(),
        lease: None,
        secrets: Vec::new(),
        hidden: Vec::new(),
    }
}

pub fn result(launch: &Launch) -> AttemptResult {
    journal::read_result(&launch.dir, &launch.boot).unwrap().expect("a result")
}

/// All kept bytes of one stream.
pub fn output(launch: &Launch, wanted: Stream) -> Vec<u8> {
    let items = LogReader::open(&launch.dir).unwrap().map(|item| match item.unwrap() {
        LogItem::Chunk { stream, bytes, .. } if stream == wanted => bytes,
        _ => Vec::new(),
    });
    items.collect::<Vec<_>>().concat()
}

/// Looks until the condition holds, and fails when it does not in time.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The pid that a script wrote into a file.
pub fn pid_in(path: &Path) -> i32 {
    until(&format!("{path:?}"), || fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok())
}

pub fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

pub fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

pub fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// `VmHWM`: the most memory the process ever had resident, in KiB.
pub fn peak_rss_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn cmdline(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}
