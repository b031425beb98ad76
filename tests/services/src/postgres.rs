//! A temporary Postgres: its own folder, its own user where the test is root, `fsync` on as in production.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::unistd::{User, getuid};
use tempfile::TempDir;

use crate::disk::Disk;
use crate::guard::{Guard, Signal};
use crate::proxy::{Proxy, Target};
use crate::{PATIENCE, comes_up, template};

pub(crate) const SUPERUSER: &str = "runward";
/// Postgres refuses to run as root; the packages make this user.
const OWNER: &str = "postgres";
/// In the name of its socket only.
const PORT: u16 = 5432;
/// Where a disk of its own is mounted, in its folder.
const DISK: &str = "disk";
/// One call for the whole file system, instead of one for each of a thousand files.
const AFTER_A_CRASH: &str = "recovery_init_sync_method=syncfs";
/// What it says while processes of one that was killed are not gone yet.
const STILL_ENDING: &str = "pre-existing shared memory block";

pub struct Postgres {
    guard: Option<Guard>,
    /// Of its data, where it may be full.
    disk: Option<Disk>,
    folder: TempDir,
    settings: Vec<String>,
    /// Its clock, where it is not that of the machine.
    clock: Vec<(String, String)>,
}

impl Postgres {
    pub fn start() -> Postgres {
        Postgres::start_with(&[])
    }

    /// With settings as in `postgresql.conf`: `"max_connections=5"`.
    pub fn start_with(settings: &[&str]) -> Postgres {
        Postgres::start_by(Vec::new(), settings)
    }

    /// With a clock of its own, see [`crate::clock`].
    pub fn start_by(clock: Vec<(String, String)>, settings: &[&str]) -> Postgres {
        Postgres::new(None, new_folder(), clock, settings)
    }

    /// With its data on a [`Disk`] of its own.
    pub fn start_on_disk(settings: &[&str]) -> Postgres {
        let folder = new_folder();
        let disk = Disk::at(&folder.path().join(DISK));
        Postgres::new(Some(disk), folder, Vec::new(), settings)
    }

    fn new(disk: Option<Disk>, folder: TempDir, clock: Vec<(String, String)>, settings: &[&str]) -> Postgres {
        let seen = disk.as_ref().map_or(folder.path().to_owned(), Disk::seen);
        template::copy_to(&seen.join("data"));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut postgres = Postgres { guard: None, disk, folder, settings, clock };
        postgres.start_again();
        postgres
    }

    /// After [`Postgres::stop`], with what is in its folder.
    pub fn start_again(&mut self) {
        let folder = self.folder.path();
        // Only the server itself has the other clock: what it shares with its processes is its user's.
        let (owner, enters) = (as_owner(Path::new("env")), self.disk.as_ref().map(|disk| disk.enter(folder)));
        let words = |command: &Command| -> Vec<OsString> {
            [command.get_program()].into_iter().chain(command.get_args()).map(OsStr::to_owned).collect()
        };
        let mut command: Vec<OsString> = enters.iter().chain([&owner]).flat_map(words).collect();
        command.extend(self.clock.iter().map(|(name, value)| format!("{name}={value}").into()));
        command.push(program("postgres").into());
        let data = if self.disk.is_some() { folder.join(DISK).join("data") } else { folder.join("data") };
        command.extend(["-D".into(), data.into(), "-k".into(), folder.into()]);
        let own = ["listen_addresses=", "fsync=on", AFTER_A_CRASH, "shared_buffers=16MB", "max_connections=60"];
        let own = own.map(str::to_owned);
        for setting in own.iter().chain(&self.settings) {
            command.extend(["-c".into(), setting.into()]);
        }
        let command: Vec<&OsStr> = command.iter().map(OsString::as_os_str).collect();
        let started = Instant::now();
        while self.guard.is_none() {
            let before = self.log().len();
            let guard = Guard::start(folder, Signal::Quit, &command);
            match comes_up(&guard, || self.ask("postgres", "SELECT 1")) {
                Ok(()) => self.guard = Some(guard),
                Err(_) if started.elapsed() < PATIENCE && self.log()[before..].contains(STILL_ENDING) => {
                    guard.end(Signal::Quit);
                }
                Err(error) => panic!("the server did not come up: {error}\n{}", self.log()),
            }
        }
    }

    /// As [`Postgres::start_again`], with other settings.
    pub fn start_again_with(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        self.start_again();
    }

    /// [`Signal::Interrupt`] rolls back what is under way, [`Signal::Quit`] is an immediate stop, [`Signal::Kill`] a crash.
    pub fn stop(&mut self, signal: Signal) {
        if let Some(guard) = self.guard.take() {
            guard.end(signal);
        }
    }

    /// Whether it has ended by itself.
    pub fn is_gone(&self) -> bool {
        self.guard.as_ref().is_none_or(Guard::is_alone)
    }

    /// Where its data is, if it has a disk of its own.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// A new, empty database.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url(name)
    }

    /// Of a database, by the socket.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user={SUPERUSER}", self.folder.path().display())
    }

    /// Of a database, through a proxy for which [`Postgres::target`] is the target.
    pub fn url_through(&self, proxy: &Proxy, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{}/{database}", proxy.address())
    }

    pub fn target(&self) -> Target {
        Target::Unix(self.folder.path().join(format!(".s.PGSQL.{PORT}")))
    }

    /// Executes SQL as `psql` does; the rows come back as lines.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.ask(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`Postgres::sql`], for what may fail.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String, String> {
        ask(self.folder.path(), PORT, database, sql)
    }

    /// The number of its first process, while it runs.
    pub fn process(&self) -> Option<i32> {
        self.guard.as_ref().map(|guard| guard.server().as_raw())
    }

    /// Where its `data` is, unless that is on a disk of its own, and its `log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn new_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("runward-postgres-").tempdir().expect("a temporary folder");
    own(folder.path());
    folder
}

/// What a server by this socket says to SQL.
pub(crate) fn ask(sockets: &Path, port: u16, database: &str, sql: &str) -> Result<String, String> {
    let done = Command::new(program("psql"))
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", database, "-c", sql])
        .args(["-p", &port.to_string(), "-h"])
        .arg(sockets)
        .output()
        .expect("psql can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// A program of Postgres: Debian keeps the server's out of the PATH. The newest, where there are several.
pub(crate) fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    let version = |path: &PathBuf| path.components().nth(4).and_then(|part| part.as_os_str().to_str()?.parse().ok());
    found.max_by_key(|path| version(path).unwrap_or(0)).unwrap_or_else(|| name.into())
}

/// The command line of a program as the user who owns the server's folder.
pub(crate) fn as_owner(program: &Path) -> Command {
    if !getuid().is_root() {
        return Command::new(program);
    }
    let (uid, gid) = (owner().uid.to_string(), owner().gid.to_string());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--"]).arg(program);
    command
}

/// Who the server runs as where root may not: the user that its package makes, or, where only its files are there, nobody.
fn owner() -> User {
    let found = [OWNER, "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
    found.unwrap_or_else(|| panic!("there is neither a user `{OWNER}` nor `nobody`"))
}

/// The name of the user whom the servers belong to.
pub(crate) fn owner_name() -> String {
    if getuid().is_root() {
        return owner().name;
    }
    User::from_uid(getuid()).ok().flatten().map_or_else(|| getuid().to_string(), |user| user.name)
}

/// Gives a folder to that user.
pub(crate) fn own(folder: &Path) {
    if !getuid().is_root() {
        return;
    }
    chown(folder, Some(owner().uid.as_raw()), Some(owner().gid.as_raw())).expect("root may give a folder away");
}
