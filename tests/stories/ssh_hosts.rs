//! Real hosts for ssh on this machine: an sshd for each connection, and an ssh that knows them by their aliases.

use std::fs;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Scene, finish, is_root, processes};

/// Some hosts, for as long as a test lasts.
pub struct Hosts {
    hosts: Vec<Host>,
}

struct Host {
    name: String,
    door: Arc<Door>,
}

/// Where a host is entered.
struct Door {
    /// Nobody is let in.
    closed: AtomicBool,
    over: AtomicBool,
    open: Mutex<Vec<(TcpStream, Child)>>,
}

impl Hosts {
    /// Their keys are known, and whoever has the scene's key may enter.
    pub fn new(scene: &Scene, names: &[&str]) -> Hosts {
        if is_root() {
            fs::create_dir_all("/run/sshd").expect("where sshd leaves its rights when root starts it");
        }
        key(&scene.path("client"));
        let hosts = names.iter().map(|name| Host::open(scene, name)).collect();
        let all = "Host *\n  IdentitiesOnly yes\n";
        let known = scene.path("known_hosts");
        let identity = scene.path("client");
        let config = format!(
            "{}{all}  IdentityFile {}\n  UserKnownHostsFile {}\n",
            scene.read("ssh_config"),
            identity.display(),
            known.display()
        );
        let config = scene.file("ssh_config", config);
        let ssh = format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", config.display());
        let ssh = scene.file("bin/ssh", ssh);
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Hosts { hosts }
    }

    /// The binary, where `ssh` knows these hosts.
    pub fn runward(&self, scene: &Scene) -> Command {
        let mut command = scene.runward();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", scene.path("bin").display()));
        command
    }

    /// Runs it and expects this exit code; what it printed.
    pub fn expect(&self, scene: &Scene, code: i32, args: &[&str]) -> String {
        let done = finish(self.runward(scene).args(args));
        assert_eq!(done.code, code, "{args:?}\n{}\n{}", done.stdout, done.stderr);
        done.stdout + &done.stderr
    }

    /// Starts it; what it prints is in `started.out`.
    pub fn start(&self, scene: &Scene, args: &[&str]) -> Child {
        let out = fs::File::create(scene.path("started.out")).expect("a file for its output");
        let err = out.try_clone().expect("the same file");
        self.runward(scene).args(args).stdout(out).stderr(err).spawn().expect("the binary starts")
    }

    fn of(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).expect("a host of this name")
    }

    /// Ends every connection to this host, and lets nobody in any more.
    pub fn close(&self, name: &str) {
        let door = &self.of(name).door;
        door.closed.store(true, Ordering::SeqCst);
        door.cut();
    }

    /// From the next connection on this name leads to the machine that is otherwise called `to`.
    pub fn lead(&self, scene: &Scene, name: &str, to: &str) {
        let file = format!("{name}.sshd");
        let config = scene.read(&file);
        let of = |line: &str| match line.starts_with("SetEnv ") {
            true => format!("SetEnv XDG_STATE_HOME={}\n", scene.path(&format!("far/{to}")).display()),
            false => format!("{line}\n"),
        };
        scene.file(&file, config.lines().map(of).collect::<String>());
    }

    pub fn open(&self, name: &str) {
        self.of(name).door.closed.store(false, Ordering::SeqCst);
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &self.hosts {
            host.door.over.store(true, Ordering::SeqCst);
            host.door.cut();
        }
    }
}

impl Host {
    fn open(scene: &Scene, name: &str) -> Host {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("this machine has a free port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("it is bound").port();
        let own_key = scene.path(&format!("{name}.key"));
        key(&own_key);
        let public = fs::read_to_string(own_key.with_extension("key.pub")).expect("its public half");
        add(scene, "known_hosts", &format!("[127.0.0.1]:{port} {public}"));
        add(scene, "ssh_config", &format!("Host {name}\n  HostName 127.0.0.1\n  Port {port}\n"));
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nSetEnv XDG_STATE_HOME={}\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n",
            own_key.display(),
            scene.path("client.pub").display(),
            scene.path(&format!("far/{name}")).display(),
        );
        let config = scene.file(&format!("{name}.sshd"), config);
        let door = Arc::new(Door {
            closed: AtomicBool::new(false),
            over: AtomicBool::new(false),
            open: Mutex::new(Vec::new()),
        });
        let (accepting, log) = (Arc::clone(&door), scene.path(&format!("{name}.log")));
        std::thread::spawn(move || accepting.serve(&listener, &config, &log));
        Host { name: name.to_owned(), door }
    }
}

impl Door {
    fn serve(&self, listener: &TcpListener, config: &Path, log: &Path) {
        while !self.over.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((stream, _)) if self.closed.load(Ordering::SeqCst) => drop(stream),
                Ok((stream, _)) => self.let_in(stream, config, log),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => return,
            }
        }
    }

    fn let_in(&self, stream: TcpStream, config: &Path, log: &Path) {
        stream.set_nonblocking(false).expect("a socket");
        let end = || Stdio::from(OwnedFd::from(stream.try_clone().expect("the same socket")));
        let log = fs::File::options().create(true).append(true).open(log).expect("a log in the scene");
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-i", "-e", "-f"]).arg(config).stdin(end()).stdout(end()).stderr(log);
        let sshd = sshd.spawn().expect("sshd is installed");
        let mut open = self.open.lock().expect("nobody panics with it");
        open.retain_mut(|(_, sshd)| matches!(sshd.try_wait(), Ok(None)));
        open.push((stream, sshd));
    }

    fn cut(&self) {
        for (stream, mut sshd) in self.open.lock().expect("nobody panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // it is over already
            sshd.wait().expect("it ends with its connection");
        }
    }
}

fn key(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen is installed").success());
}

fn add(scene: &Scene, name: &str, text: &str) {
    let before = scene.read(name);
    scene.file(name, before + text);
}

/// The folders of attempts on a host that were not collected.
pub fn attempts(scene: &Scene, host: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(scene.path(&format!("far/{host}/runward/attempts")));
    entries.map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Processes with this text in their command.
pub fn with_command(text: &str) -> Vec<u32> {
    let command = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let holds = |pid: &u32| String::from_utf8_lossy(&command(pid)).replace('\0', " ").contains(text);
    processes().into_iter().filter(holds).collect()
}
