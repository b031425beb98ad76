//! The processes: Postgres and Redis, each behind a line that breaks, three hosts with a worker, two servers.
//!
//! A host is a state folder; whatever has to do with it in its command line, its environment or its working folder runs
//! on it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_services::{Disk, Postgres, Proxy, Redis, Signal as Stop, clock};
use tempfile::TempDir;

use crate::Plan;
use crate::leftovers::{Leftovers, PREFIX};
use crate::points::Points;

pub const DATABASE: &str = "chaos";
/// A command that answers nothing for so long is stuck.
const COMMAND_MAX: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub postgres: Mutex<Postgres>,
    pub redis: Mutex<Redis>,
    pub to_postgres: Proxy,
    pub to_redis: Proxy,
    pub members: Vec<Member>,
    pub points: Points,
    leftovers: Leftovers,
    folder: Mutex<Option<TempDir>>,
    path: PathBuf,
    runward: PathBuf,
    pace: u32,
}

/// A worker with its host, or a server.
pub struct Member {
    pub name: &'static str,
    pub is_worker: bool,
    state: PathBuf,
    /// Of a host with a disk of its own.
    disk: Option<Disk>,
    arguments: &'static [&'static str],
    /// How far its clock is ahead.
    ahead: Option<&'static str>,
    process: Mutex<Option<Child>>,
}

const MEMBERS: [(&str, &[&str], Option<&str>); 5] = [
    ("host1", &["worker", "--name", "host1", "--labels", "db,web", "--concurrency", "8"], None),
    ("host2", &["worker", "--name", "host2", "--labels", "db", "--concurrency", "8"], None),
    ("host3", &["worker", "--name", "host3", "--labels", "web", "--concurrency", "8"], None),
    ("server1", &["server"], None),
    ("server2", &["server"], Some("+90s")),
];

/// Its disk may be full.
const SMALL: &str = "host3";

impl Cluster {
    pub fn start(plan: &Plan) -> Cluster {
        Cluster::start_with(plan, "")
    }

    /// With this in `runward.toml`.
    pub fn start_with(plan: &Plan, configuration: &str) -> Cluster {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        let leftovers = Leftovers::of(&path);
        let runbooks = path.join("runbooks");
        fs::create_dir(&runbooks).expect("a folder");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
        for file in fs::read_dir(shipped).expect("the runbooks").flatten() {
            fs::copy(file.path(), runbooks.join(file.file_name())).expect("a runbook");
        }
        File::create(path.join("effects")).expect("a file");
        fs::write(path.join("runward.toml"), configuration).expect("a file");
        let postgres = Postgres::start_on_disk(&["max_connections=200"]);
        postgres.database(DATABASE);
        let redis = Redis::start();
        let member = |(name, arguments, ahead): (&'static str, _, _)| Member {
            name,
            is_worker: name.starts_with("host"),
            state: path.join(name),
            disk: (name == SMALL).then(|| Disk::at(&path.join(name))),
            arguments,
            ahead,
            process: Mutex::new(None),
        };
        let cluster = Cluster {
            to_postgres: Proxy::to(postgres.target()),
            to_redis: Proxy::to(redis.target()),
            postgres: Mutex::new(postgres),
            redis: Mutex::new(redis),
            members: MEMBERS.into_iter().map(member).collect(),
            points: Points::in_folder(path.join("points")),
            leftovers,
            folder: Mutex::new(Some(folder)),
            path,
            runward: plan.runward.clone(),
            pace: plan.pace,
        };
        let migrated = cluster.say(&["db", "migrate"]);
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        cluster.members.iter().for_each(|member| member.start(&cluster));
        cluster
    }

    /// One command of a person at this cluster.
    pub fn say(&self, arguments: &[&str]) -> Output {
        self.say_to(DATABASE, arguments)
    }

    /// The same at another database.
    pub fn say_to(&self, database: &str, arguments: &[&str]) -> Output {
        let state = self.path.join("person");
        let mut command = Command::new("timeout");
        command.arg(COMMAND_MAX.as_secs().to_string()).arg(&self.runward).args(arguments);
        self.surround(&mut command, database, &state).stdin(Stdio::null()).output().expect("it can be started")
    }

    pub fn runbook(&self, name: &str) -> String {
        self.path.join("runbooks").join(format!("{name}.yaml")).display().to_string()
    }

    pub fn effects(&self) -> PathBuf {
        self.path("effects")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file that is there as a whole at once.
    pub fn write(&self, name: &str, text: &str) {
        let (draft, path) = (self.path("draft"), self.path(name));
        fs::write(&draft, text).and_then(|()| fs::rename(draft, path)).expect("a file");
    }

    /// Rows of the database, unless it is away.
    pub fn ask(&self, sql: &str) -> Result<String, String> {
        self.ask_of(DATABASE, sql)
    }

    pub fn ask_of(&self, database: &str, sql: &str) -> Result<String, String> {
        locked(&self.postgres).ask(database, sql)
    }

    /// Everything runs again, and nothing is in its way.
    pub fn heal(&self) {
        for line in [&self.to_postgres, &self.to_redis] {
            line.delay(Duration::ZERO);
            line.thaw();
            line.accept();
        }
        self.disk().clear();
        self.make_room();
        for member in &self.members {
            member.signal_all(Signal::SIGCONT);
            member.start(self);
        }
    }

    /// No room for the database. False: somebody was just writing.
    pub fn take_room(&self) -> bool {
        locked(&self.postgres).disk().is_some_and(Disk::fill)
    }

    pub fn has_room(&self) -> bool {
        locked(&self.postgres).disk().is_some_and(|disk| !disk.is_full())
    }

    /// There is room for the database again. Where it has given up, whoever looks after it starts it.
    pub fn make_room(&self) {
        let mut postgres = locked(&self.postgres);
        postgres.disk().expect("it has one").clear();
        let until = Instant::now() + COMMAND_MAX;
        while let Err(error) = postgres.ask("postgres", "SELECT 1") {
            assert!(Instant::now() < until, "Postgres does not recover: {error}\n{}", postgres.log());
            if postgres.is_gone() {
                postgres.stop(Stop::Kill);
                postgres.start_again();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that runs for it, but the guards.
    pub fn processes(&self) -> Vec<Pid> {
        let servers = [locked(&self.postgres).process(), locked(&self.redis).process()];
        let servers = servers.into_iter().flatten().map(Pid::from_raw);
        let disks = [locked(&self.postgres).disk().map(Disk::keeper), Some(self.disk().keeper())];
        let members = self.members.iter().flat_map(Member::processes);
        members.chain(servers).chain(disks.into_iter().flatten()).collect()
    }

    /// Ends everything, and sees that it is gone.
    pub fn end(self) {
        self.members.iter().for_each(Member::stop);
        let left: Vec<Pid> = self.members.iter().flat_map(Member::processes).collect();
        assert!(left.is_empty(), "these do not end: {left:?}");
        let keeper = PathBuf::from(format!("/proc/{}", self.disk().keeper()));
        assert!(keeper.exists(), "the keeper of the disk was ended with its host");
        drop(self);
        assert!(!keeper.exists(), "the keeper of the disk is left: {}", keeper.display());
    }

    /// That of the host which has one of its own.
    pub fn disk(&self) -> &Disk {
        self.members.iter().find_map(|member| member.disk.as_ref()).expect("one has one")
    }

    /// What is there stays, for whoever looks into it.
    pub fn keep(&self) {
        let _ = Command::new("cp").arg("-aT").arg(self.disk().seen()).arg(self.path.join(SMALL)).status();
        if let Some(folder) = locked(&self.folder).take() {
            self.leftovers.keep();
            eprintln!("left for you in {}", folder.keep().display());
        }
    }

    fn surround<'c>(&self, command: &'c mut Command, database: &str, state: &Path) -> &'c mut Command {
        let url = locked(&self.postgres).url_through(&self.to_postgres, database);
        let hints = locked(&self.redis).url_through(&self.to_redis);
        let (armed, folder) = self.points.variable();
        command
            .current_dir(&self.path)
            .env("RUNWARD_STATE", state)
            .env("RUNWARD_DATABASE_URL", url)
            .env("RUNWARD_REDIS_URL", hints)
            .env(armed, folder)
            .env("RUNWARD_TEST_PACE", self.pace.to_string())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.members.iter().for_each(Member::stop);
    }
}

impl Member {
    /// Starts it, if it does not run.
    pub fn start(&self, cluster: &Cluster) {
        let mut process = locked(&self.process);
        if process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None))) {
            return;
        }
        let log = File::options().append(true).create(true).open(self.state.with_extension("log"));
        let log = log.expect("a file for what it says");
        let mut command = match &self.disk {
            Some(disk) => disk.enter(&cluster.path),
            None => Command::new("env"),
        };
        command.arg(&cluster.runward);
        if let Some(ahead) = self.ahead {
            command.envs(clock(ahead));
        }
        cluster.surround(&mut command, DATABASE, &self.state);
        command.args(self.arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the same file")).stderr(log);
        *process = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    pub fn is_up(&self) -> bool {
        locked(&self.process).as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// The worker or server itself.
    pub fn signal(&self, signal: Signal) -> bool {
        let mut process = locked(&self.process);
        let Some(child) = process.as_mut() else { return false };
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        let sent = kill(pid_of(child), signal).is_ok();
        if signal == Signal::SIGKILL {
            let _ = child.wait();
            *process = None;
        }
        sent
    }

    /// Everything that runs there, and nothing but that.
    pub fn signal_all(&self, signal: Signal) -> usize {
        let there = self.processes();
        there.iter().filter(|process| kill(**process, signal).is_ok()).count()
    }

    /// Its supervisors.
    pub fn supervisors(&self) -> Vec<Pid> {
        let folders = fs::read_dir(self.seen().join("supervisors")).into_iter().flatten().flatten();
        let pid = |folder: fs::DirEntry| fs::read_to_string(folder.path().join("supervisor.lock")).ok()?.parse().ok();
        let there = self.processes();
        folders.filter_map(pid).map(Pid::from_raw).filter(|pid| there.contains(pid)).collect()
    }

    /// The worker or server, while it runs.
    pub fn process(&self) -> Option<Pid> {
        locked(&self.process).as_ref().map(pid_of)
    }

    /// Its state folder, for those outside.
    fn seen(&self) -> PathBuf {
        self.disk.as_ref().map_or(self.state.clone(), Disk::seen)
    }

    /// Nothing of any run is left there.
    pub fn is_tidy(&self) -> bool {
        fs::read_dir(self.seen().join("runs")).into_iter().flatten().flatten().next().is_none()
    }

    /// All processes of this host.
    pub fn processes(&self) -> Vec<Pid> {
        let own = self.process();
        let there = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = there.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).map(Pid::from_raw);
        pids.filter(|pid| Some(*pid) == own || *pid != Pid::this() && self.is_here(*pid)).collect()
    }

    fn is_here(&self, pid: Pid) -> bool {
        let state = self.state.display().to_string();
        let inside = format!("{state}/");
        let holds = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.split('\0').any(|word| word.contains(&inside) || word.ends_with(&state))
        };
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).is_ok_and(holds);
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder.starts_with(&self.state));
        folder || read("cmdline") || read("environ")
    }

    /// Until nothing of it is left.
    fn stop(&self) {
        let patience = Instant::now() + Duration::from_secs(10);
        self.signal(Signal::SIGKILL);
        while self.signal_all(Signal::SIGKILL) > 0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
