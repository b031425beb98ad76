//! A Docker daemon of a test's own: it has process ids, mounts and a network of its own, so that nothing it makes outlives it, and
//! no other daemon is met. Images are made once and kept below `target/`; containers, networks and volumes never last.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use runward_services::{Guard, Signal, until_up};
use tempfile::TempDir;

use crate::repository;

pub struct Docker {
    registry: RefCell<Option<(Guard, TempDir)>>,
    guard: Guard,
    folder: TempDir,
}

impl Docker {
    /// Has the images of `tests/stack/images` and nothing else.
    pub fn start() -> Docker {
        Docker::with(&[])
    }

    /// With these words to the daemon besides.
    pub(crate) fn with(options: &[&str]) -> Docker {
        let folder = tempfile::Builder::new().prefix("runward-docker-").tempdir().expect("a temporary folder");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
        let (script, store) = (repository().join("tests/stack/images/dockerd.sh"), target.join("stack"));
        let mut command: Vec<&OsStr> = vec!["bash".as_ref(), script.as_ref(), store.as_ref(), folder.path().as_ref()];
        command.extend(options.iter().map(|option| OsStr::new(*option)));
        let guard = Guard::start(folder.path(), Signal::Terminate, &command);
        let docker = Docker { registry: RefCell::new(None), guard, folder };
        let log = || std::fs::read_to_string(docker.folder.path().join("log")).unwrap_or_default();
        until_up(&docker.guard, log, || match docker.client(&["version"]).output() {
            Ok(done) if done.status.success() => Ok(()),
            Ok(done) => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
            Err(error) => Err(format!("docker: {error}")),
        });
        docker.done(Command::new("bash").arg(repository().join("tests/stack/images/make.sh")));
        docker
    }

    /// Of its socket; it goes with the daemon.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where clients find it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// The words before a program that shall see its network instead of that of the machine.
    pub fn network(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.init())]
    }

    /// A program beside the daemon: it sees its processes, mounts and network, and ends when the daemon does.
    pub(crate) fn within(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init(), "--mount", "--net", "--pid"]).args(words);
        command
    }

    fn init(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("init")).expect("it is up").trim().to_owned()
    }

    /// A program in its network.
    pub fn inside(&self, words: &[&str]) -> Command {
        let network = self.network();
        let mut command = Command::new(&network[0]);
        command.args(&network[1..]).args(words).env("DOCKER_HOST", self.host());
        command
    }

    /// `docker` with these words, not yet started.
    pub fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(words).env("DOCKER_HOST", self.host());
        command
    }

    /// What `docker` says to these words, which have to do.
    pub fn say(&self, words: &[&str]) -> String {
        self.done(&mut self.client(words))
    }

    /// Whether `docker` does as these words say, and what it says.
    pub fn ask(&self, words: &[&str]) -> (i32, String) {
        let done = self.client(words).output().expect("docker can be started");
        let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (done.status.code().unwrap_or(-1), said)
    }

    /// What a server in its network answers: the status, 0 where nobody does, and the body.
    pub fn get(&self, url: &str) -> (u16, String) {
        crate::stack::curl(self.inside(&["curl", url]).arg("--globoff"))
    }

    /// A registry in its network, at this address. Where there is one already it goes on with what it has; `login`, a line of
    /// htpasswd, is who may ask it anything.
    pub fn registry(&self, login: Option<&str>) -> &'static str {
        let folder = match self.registry.take() {
            Some((guard, folder)) => {
                drop(guard);
                folder
            }
            None => tempfile::Builder::new().prefix("runward-registry-").tempdir().expect("a temporary folder"),
        };
        // What guards the server takes the server's folder away with it.
        let [storage, users, server] = ["images", "users", "server"].map(|name| folder.path().join(name));
        std::fs::create_dir(&server).expect("the folder is ours");
        let mut settings = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:5000}}\n",
            storage.display()
        );
        if let Some(login) = login {
            std::fs::write(&users, login).expect("the folder is ours");
            settings.push_str(&format!("auth: {{htpasswd: {{realm: demo, path: {}}}}}\n", users.display()));
        }
        let config = folder.path().join("config.yml");
        std::fs::write(&config, settings).expect("the folder is ours");
        let mut command = self.network();
        command.extend(["docker-registry", "serve"].map(str::to_owned));
        command.push(config.display().to_string());
        let command: Vec<&OsStr> = command.iter().map(AsRef::as_ref).collect();
        let guard = Guard::start(&server, Signal::Terminate, &command);
        let log = || std::fs::read_to_string(server.join("log")).unwrap_or_default();
        until_up(&guard, log, || match self.get("http://127.0.0.1:5000/v2/").0 {
            200 => Ok(()),
            401 if login.is_some() => Ok(()),
            status => Err(format!("it answers {status}")),
        });
        self.registry.replace(Some((guard, folder)));
        "localhost:5000"
    }

    fn done(&self, command: &mut Command) -> String {
        let done = command.env("DOCKER_HOST", self.host()).output();
        let done = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }
}
