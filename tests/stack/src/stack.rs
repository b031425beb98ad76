//! The demo service in a folder of its own: Postgres, Redis, nginx and a supervisor for what runbooks put there. All of it is
//! gone with whoever started it.
//!
//! The folder is laid out as on a host: `releases/VERSION`, the links `blue` and `green` to releases, `run` for sockets (the
//! link `run/live.sock` says who serves), `conf.d` for programs of the supervisor, `sites` for nginx, `log`.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use runward_services::{Guard, Postgres, Redis, Signal, until_up};
use tempfile::TempDir;

use crate::repository;

/// The name of its database.
pub const DATABASE: &str = "app";
/// Below where the kernel takes ports for connections from, so that none is taken in between.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

pub struct Stack {
    _supervisor: Guard,
    pub postgres: Postgres,
    pub redis: Redis,
    _folder: TempDir,
    root: PathBuf,
    python: PathBuf,
    port: u16,
}

impl Stack {
    /// Nothing but nginx runs yet under its supervisor, and the database is empty.
    pub fn start() -> Stack {
        let python = python();
        let (postgres, redis) = (Postgres::start(), Redis::start());
        postgres.database(DATABASE);
        let folder = tempfile::Builder::new().prefix("runward-stack-").tempdir().expect("a temporary folder");
        let everybody = fs::Permissions::from_mode(0o755); // nginx answers as a user of its own
        fs::set_permissions(folder.path(), everybody).expect("the folder is ours");
        let root = folder.path().join("app");
        fs::create_dir(&root).expect("a folder");
        for name in ["run", "log", "tmp", "conf.d", "sites", "releases", "backups", "uploads"] {
            fs::create_dir(root.join(name)).expect("a folder");
        }
        let port = free_port();
        for (name, to) in [
            ("nginx.conf", "nginx.conf"),
            ("supervisord.conf", "supervisord.conf"),
            ("site.conf", "sites/app.conf"),
            ("colours.conf", "conf.d/colours.conf"),
        ] {
            fs::write(root.join(to), filled(name, &root, &python, port)).expect("a file");
        }
        let supervisor = supervise(folder.path(), &root, &python);
        Stack { _supervisor: supervisor, postgres, redis, _folder: folder, root, python, port }
    }

    pub fn folder(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder of its programs: `bin` of a virtual environment.
    pub fn bin(&self) -> PathBuf {
        self.python.join("bin")
    }

    /// Its packages, as files.
    pub fn wheels(&self) -> PathBuf {
        self.python.join("wheels")
    }

    /// Where nginx answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// For something else of this stack.
    pub fn another_port(&self) -> u16 {
        free_port()
    }

    /// Of its database, for programs of Postgres.
    pub fn database(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// Of its database, for the service.
    pub fn database_url(&self) -> String {
        self.database().replace("postgres://", "postgresql+psycopg://")
    }

    /// The lines of the `.env` of a release.
    pub fn env(&self) -> String {
        let (database, redis, uploads) = (self.database_url(), self.redis.socket(), self.path("uploads"));
        let [redis, uploads] = [redis, uploads].map(|path| path.display().to_string());
        format!("DATABASE_URL={database}\nREDIS_SOCKET={redis}\nUPLOAD_DIR={uploads}\nLOG_LEVEL=INFO\n")
    }

    /// The service under this version, in `releases/VERSION`, ready to run.
    pub fn release(&self, version: &str) -> PathBuf {
        let release = self.path("releases").join(version);
        run(Command::new("cp").arg("-r").arg(repository().join("tests/stack/service")).arg(&release));
        fs::write(release.join("VERSION"), version).expect("a file");
        fs::write(release.join(".env"), self.env()).expect("a file");
        release
    }

    /// Brings the tables to where this release wants them.
    pub fn migrate(&self, version: &str) {
        let release = self.path("releases").join(version);
        run(Command::new(self.bin().join("alembic")).args(["upgrade", "head"]).current_dir(release));
    }

    /// Starts `program` of the supervisor with a release, and lets nginx send everybody there.
    pub fn serve(&self, program: &str, version: &str) {
        self.link(&format!("releases/{version}"), program);
        self.link(&format!("{program}.sock"), "run/live.sock");
        self.supervisorctl(&["start", program]);
        until(&format!("{program} answers: {}", self.log(program)), || self.get("/health").0 == 200);
    }

    /// Blue serves 1.0.0, `current` is that, and 1.1.0 is there.
    pub fn first_release(&self) {
        self.release("1.0.0");
        self.release("1.1.0");
        self.link("releases/1.0.0", "current");
        self.migrate("1.0.0");
        self.serve("blue", "1.0.0");
    }

    /// Makes a link in its folder.
    pub fn link(&self, to: &str, name: &str) {
        let link = self.path(name);
        let _ = fs::remove_file(&link);
        symlink(to, link).expect("a link");
    }

    /// What a program has printed, where the supervisor keeps it.
    pub fn log(&self, program: &str) -> String {
        let files = fs::read_dir(self.path("log")).expect("the folder is ours").flatten();
        let of = files.filter(|file| file.file_name().to_string_lossy().starts_with(program));
        of.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
    }

    /// `supervisorctl`, whatever it ends with: its exit code says nothing about the state of a program.
    pub fn supervisorctl(&self, words: &[&str]) -> String {
        let done = Command::new(self.bin().join("supervisorctl"))
            .arg("-c")
            .arg(self.path("supervisord.conf"))
            .args(words)
            .output()
            .expect("supervisorctl can be started");
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// `RUNNING`, `STOPPED`, `BACKOFF` ...
    pub fn state(&self, program: &str) -> String {
        self.supervisorctl(&["status", program]).split_whitespace().nth(1).unwrap_or_default().to_owned()
    }

    /// Asks nginx, over a connection of its own: the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        curl(Command::new("curl").arg(format!("{}{path}", self.url())))
    }

    /// Asks a process by its socket in `run`, past nginx.
    pub fn ask(&self, socket: &str, path: &str) -> (u16, String) {
        let socket = self.path("run").join(socket);
        curl(Command::new("curl").arg("--unix-socket").arg(socket).arg(format!("http://localhost{path}")))
    }

    /// Executes SQL in its database, as `psql` does.
    pub fn sql(&self, sql: &str) -> String {
        self.postgres.sql(DATABASE, sql)
    }

    /// What a shell needs to know to run the runbooks on it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let pairs = [
            ("STACK", self.folder().display().to_string()),
            ("STACK_URL", self.url()),
            ("STACK_BIN", self.bin().display().to_string()),
            ("STACK_DATABASE", self.database()),
            ("STACK_REDIS", self.redis.socket().display().to_string()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

/// The virtual environment of the service, made where it is missing.
fn python() -> PathBuf {
    let done =
        Command::new("bash").arg(repository().join("tests/stack/venv.sh")).output().expect("bash can be started");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().into()
}

/// A file of `tests/stack` with the names of this stack.
fn filled(name: &str, folder: &Path, python: &Path, port: u16) -> String {
    let text = fs::read_to_string(repository().join("tests/stack").join(name)).expect("a file of the stack");
    let text = text.replace("@here@", &folder.display().to_string()).replace("@port@", &port.to_string());
    text.replace("@python@", &python.display().to_string())
}

fn supervise(folder: &Path, root: &Path, python: &Path) -> Guard {
    let program = python.join("bin/supervisord");
    let config = root.join("supervisord.conf");
    let command: [&OsStr; 4] = [program.as_ref(), "--nodaemon".as_ref(), "--configuration".as_ref(), config.as_ref()];
    let guard = Guard::start(folder, Signal::Terminate, &command);
    let said = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let log = || said(folder.join("log")) + &said(root.join("log/supervisord.log"));
    until_up(&guard, log, || match root.join("run/supervisor.sock").exists() && root.join("run/nginx.pid").exists() {
        true => Ok(()),
        false => Err("its socket, or nginx, is not there".to_owned()),
    });
    guard
}

/// One that nobody has at this moment.
fn free_port() -> u16 {
    let seed = std::process::id() as usize * 7919
        + std::time::UNIX_EPOCH.elapsed().expect("after 1970").subsec_micros() as usize;
    let ports = (0..PORTS.len()).map(|n| PORTS.start + ((seed + n) % PORTS.len()) as u16);
    ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// The status, 0 where nobody answered, and the body.
pub(crate) fn curl(command: &mut Command) -> (u16, String) {
    let done = command.args(["--silent", "--max-time", "100", "--write-out", "\n%{http_code}"]).output();
    let said = String::from_utf8_lossy(&done.expect("curl can be started").stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_owned())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed().as_secs() < 300, "waited in vain until {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
