//! A service manager of its own: `systemd --user`, in a mount namespace and a control group that are gone with the test.
//!
//! What its units write to `/root`, `/usr/local/bin`, `/var/lib` and `/run` is gone, too.
//! It knows no unit but those of its folder, and nothing of the machine's own manager, if there is one.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::guard::{Guard, Signal};
use crate::until_up;

/// `$1` is its folder, `$2` the name of its control group, which takes all that it has started along.
const SCRIPT: &str = r#"
set -eu
groups=
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
  if [ -e "$hierarchy/cgroup.procs" ]; then groups="$groups $hierarchy/$2"; fi
done
processes() { find $groups -name cgroup.procs -exec cat {} +; }
bury() {
  while [ -n "$(processes)" ]; do
    kill -s KILL $(processes) || true # it has ended meanwhile
    sleep 0.02
  done
  for group in $groups; do find "$group" -depth -type d -exec rmdir {} +; done
}
trap 'bury; exit' TERM
mkdir $groups
unshare --mount sh -euc '
  folder=$1
  shift
  for group; do echo 0 >"$group/cgroup.procs"; done
  # What is written there stays in here. What units start may lie below a home that is closed to their users: in here it is open.
  for place in root usr/local/bin var/lib; do
    mkdir -p "$folder/upper/$place" "$folder/work/$place"
    mount -t overlay -o "lowerdir=/$place,upperdir=$folder/upper/$place,workdir=$folder/work/$place" overlay "/$place"
  done
  chmod 755 /root
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/systemd/system /run/systemd/inaccessible/dir # the manager of a machine has made them
  : >/run/systemd/inaccessible/reg
  echo $$ >"$folder/pid"
  exec env -i PATH="$PATH" HOME="$folder/home" XDG_RUNTIME_DIR="$folder/run" SYSTEMD_UNIT_PATH="$folder/home/.config/systemd/user" \
    /lib/systemd/systemd --user --log-target=console
' room "$1" $groups &
wait || true # however it ended, nothing of it stays
bury
"#;

/// What services and other units lean on.
const TARGETS: [&str; 6] =
    ["basic.target", "default.target", "exit.target", "multi-user.target", "shutdown.target", "sysinit.target"];

/// Where it keeps what is enabled, and the units too.
const UNITS: &str = "home/.config/systemd/user";

pub struct Systemd {
    _guard: Guard,
    folder: TempDir,
}

impl Systemd {
    /// Needs root: whoever may start services as other users.
    pub fn start() -> Systemd {
        let folder = tempfile::Builder::new().prefix("runward-systemd-").tempdir().expect("a temporary folder");
        for name in ["run", UNITS] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        for target in TARGETS {
            fs::write(folder.path().join(UNITS).join(target), "[Unit]\nDefaultDependencies=no\n").expect("a file");
        }
        let name = folder.path().file_name().expect("it has a name");
        let command: [&OsStr; 6] =
            ["bash".as_ref(), "-c".as_ref(), SCRIPT.as_ref(), "manager".as_ref(), folder.path().as_ref(), name];
        let guard = Guard::start(folder.path(), Signal::Terminate, &command);
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        until_up(&guard, log, || {
            let asked = systemctl(folder.path()).arg("list-units").output().expect("systemctl");
            if asked.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&asked.stderr).into_owned()) }
        });
        Systemd { _guard: guard, folder }
    }

    /// Where its units are.
    pub fn units(&self) -> PathBuf {
        self.folder.path().join(UNITS)
    }

    /// What a program has to have in its environment for `systemctl --user` to find this manager.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        ("XDG_RUNTIME_DIR", self.folder.path().join("run"))
    }

    /// The same command, where this manager is that of the machine.
    pub fn inside(&self, command: &Command) -> Command {
        let pid = fs::read_to_string(self.folder.path().join("pid")).expect("it has started");
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", pid.trim()));
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder).arg("--wd=.");
        }
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    pub fn systemctl(&self, words: &[&str]) -> Output {
        systemctl(self.folder.path()).args(words).output().expect("systemctl can be started")
    }

    /// A property of a unit: `ActiveState`, `NRestarts`.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.systemctl(&["show", "--value", "--property", name, unit]);
        String::from_utf8_lossy(&shown.stdout).trim().to_owned()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn systemctl(folder: &Path) -> Command {
    let mut command = Command::new("systemctl");
    command.arg("--user").arg("--no-pager").env("XDG_RUNTIME_DIR", folder.join("run"));
    command
}
