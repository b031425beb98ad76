//! The firewall of a host that exists for the test only: a network and the settings of ufw of its own, and another machine beside it.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal::SIGKILL, kill};
use nix::unistd::Pid;
use runward_services::{Guard, Signal};
use tempfile::TempDir;

use crate::harness::{Done, finish, is_root, wait};
use crate::operator::{Operator, Run};

const HOST: &str = "10.77.0.1";
const CLIENT: &str = "10.77.0.2";

struct Net {
    operator: Operator,
    // All of it is gone with its processes: no interface and no rule is ever in the network of this machine.
    _servers: Vec<(Guard, TempDir)>,
    host: String,
    client: String,
    key: String,
}

fn guard(words: &[&str]) -> (Guard, TempDir) {
    let folder = tempfile::Builder::new().prefix("runward-net-").tempdir().unwrap();
    let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    (Guard::start(folder.path(), Signal::Kill, &words), folder)
}

/// Once the process has left the network of this machine.
fn left(guard: &Guard) -> String {
    let process = guard.server().to_string();
    let net = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    wait("a network of its own", || net(&process).is_some_and(|it| Some(it) != net("self")));
    process
}

impl Net {
    fn new() -> Net {
        assert!(is_root(), "only root may make networks: run this test as root");
        let operator = Operator::new();
        let mut servers = vec![
            guard(&["unshare", "--net", "--mount", "sleep", "infinity"]),
            guard(&["unshare", "--net", "sleep", "infinity"]),
        ];
        let [host, client] = [0, 1].map(|n: usize| left(&servers[n].0));
        let scene = tempfile::tempdir().unwrap();
        let own = scene.path().display().to_string();
        let script = format!(
            "set -e\ncp -a /etc/ufw {own}/ufw\ncp -a /etc/default/ufw {own}/default\nmount --bind {own}/ufw /etc/ufw\n\
             mount --bind {own}/default /etc/default/ufw\nmount -t tmpfs none /run\nmkdir /run/sshd\n\
             mount -t tmpfs none /var/backups\nip link set lo up\n\
             ip link add h0 type veth peer name c0 netns {client}\nip address add {HOST}/24 dev h0\nip link set h0 up\n\
             nsenter --target {client} --net ip address add {CLIENT}/24 dev c0\nnsenter --target {client} --net ip link set c0 up\n"
        );
        let made = finish(Command::new("nsenter").args(["--target", &host, "--net", "--mount", "sh", "-c", &script]));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let key = scene.path().join("key").display().to_string();
        let made = finish(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let inside = ["nsenter", "--target", &host, "--net", "--mount"];
        fs::copy(format!("{key}.pub"), scene.path().join("keys")).unwrap();
        let keys = format!("AuthorizedKeysFile={own}/keys");
        let sshd = ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-h", &key, "-o", &keys, "-o", "StrictModes=no"];
        servers.push(guard(&[&inside[..], &sshd[..]].concat()));
        for port in ["80", "5432", "8080"] {
            servers.push(guard(&[&inside[..], &["python3", "-m", "http.server", port, "--directory", &own]].concat()));
        }
        servers.push(guard(&[
            "nsenter",
            "--target",
            &client,
            "--net",
            "python3",
            "-m",
            "http.server",
            "8000",
            "--directory",
            &own,
        ]));
        servers[0].1 = scene; // gone with the host
        let net = Net { operator, _servers: servers, host, client, key };
        wait("everything to answer", || [22, 80, 5432, 8080].iter().all(|port| net.reaches(*port)));
        net
    }

    fn on_host(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &self.host, "--net", "--mount", "env", "--chdir"]);
        inside.arg(self.operator.scene.path("")).arg(command.get_program()).args(command.get_args());
        command.get_envs().for_each(|(name, value)| {
            if let Some(value) = value {
                inside.env(name, value);
            }
        });
        inside
    }

    fn ufw(&self, words: &[&str]) -> Done {
        let done = finish(&mut self.on_host(Command::new("ufw").args(words)));
        assert_eq!(done.code, 0, "{words:?}: {}{}", done.stdout, done.stderr);
        done
    }

    fn on_client(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.client, "--net", "bash", "-c", script]);
        command
    }

    /// Whether the other machine gets through to a port.
    fn reaches(&self, port: u16) -> bool {
        finish(&mut self.on_client(&format!("timeout 1 bash -c 'exec 3<> /dev/tcp/{HOST}/{port}'"))).code == 0
    }

    /// Again and again, from the other machine, each time for a moment.
    fn again_and_again(&self, come: &str) -> (Guard, TempDir) {
        let script = format!("while :; do timeout 3 {come} & sleep 0.5; done");
        guard(&["nsenter", "--target", &self.client, "--net", "bash", "-c", &script])
    }

    /// Somebody who connects to ssh and never logs in.
    fn somebody_knocks(&self) -> (Guard, TempDir) {
        self.again_and_again(&format!("bash -c 'exec 3<> /dev/tcp/{HOST}/22 && read -r banner <&3 && sleep 2'"))
    }

    /// Somebody who logs in.
    fn somebody_comes(&self) -> (Guard, TempDir) {
        let trust = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        self.again_and_again(&format!("ssh -F none -i {} {trust} root@{HOST} sleep 1", self.key))
    }

    /// Those of the processes that runward is and started that have this in their environment, but for the one who watches.
    fn kill_9(&self, having: &str) {
        let scene = self.operator.scene.path("").display().to_string();
        let mut killed = 0;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            // It may end while it is looked at.
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let [words, env] = ["cmdline", "environ"].map(|name| String::from_utf8_lossy(&read(name)).into_owned());
            if env.contains(&scene) && env.contains(having) && !words.contains("; watch") {
                killed += u32::from(kill(Pid::from_raw(pid), SIGKILL).is_ok());
            }
        }
        assert!(killed > 0, "nothing had {having}");
    }

    fn apply(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let (command, name) = self.operator.command("firewall", more);
        let done = finish(&mut self.on_host(&command));
        assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
        Run { code, text: format!("{}{}", done.stdout, done.stderr), ..self.operator.look(&name) }
    }
}

#[test]
fn a_firewall_that_locks_out_is_taken_back_and_one_that_does_not_stays() {
    // Others may change it meanwhile, but not with ufw.
    let of_this_machine =
        || finish(&mut Command::new("iptables-save")).stdout.lines().filter(|it| it.contains("ufw")).count();
    let before = of_this_machine();
    let net = Net::new();
    let inactive = || net.ufw(&["status"]).stdout.contains("Status: inactive");

    let refused = net.apply(1, &[("ssh_port", "2222")]);
    assert!(refused.text.contains("nothing listens on port 2222: everybody who comes by ssh"), "{}", refused.text);
    let refused = net.apply(1, &[("limited", r#"{"5432": ["10.77.0.300"]}"#)]);
    assert!(refused.text.contains("10.77.0.300"), "{}", refused.text);

    // Nobody logs in: it may be that nobody can.
    let knocking = net.somebody_knocks();
    let alone = net.apply(6, &[("confirm", "3s")]);
    assert!(alone.text.contains("nobody logged in on port 22"), "{}", alone.text);
    assert!(inactive() && net.reaches(8080));
    drop(knocking);

    // A rule of long ago keeps the other machine out as soon as the firewall is on.
    let _coming = net.somebody_comes();
    net.ufw(&["prepend", "deny", "from", CLIENT]);
    let locked_out = net.apply(6, &[("confirm", "3s")]);
    assert!(locked_out.text.contains("nobody logged in on port 22"), "{}", locked_out.text);
    assert!(inactive() && net.reaches(22) && net.reaches(8080));
    net.ufw(&["delete", "deny", "from", CLIENT]);

    // An older rule would let everybody in to what is for some.
    net.ufw(&["allow", "5432/tcp"]);
    let open = net.apply(6, &[("confirm", "60s"), ("limited", r#"{"5432": ["10.77.0.9/32"]}"#)]);
    assert!(open.text.contains("an older rule lets everybody in to port 5432"), "{}", open.text);
    assert!(inactive());
    net.ufw(&["delete", "allow", "5432/tcp"]);

    let limited = format!(r#"{{"5432": ["{CLIENT}/32"], "8080": ["10.77.0.9/32"]}}"#);
    let run = net.apply(0, &[("confirm", "60s"), ("limited", &limited)]);
    for (port, open) in [(22, true), (80, true), (5432, true), (8080, false)] {
        assert_eq!(net.reaches(port), open, "{port}");
    }
    let out = format!("http://{CLIENT}:8000/");
    let asked = finish(&mut net.on_host(Command::new("curl").args(["--silent", "--fail", "--max-time", "5", &out])));
    assert_eq!(asked.code, 0, "the host itself gets out");
    let rules = finish(&mut net.on_host(Command::new("iptables").arg("-S"))).stdout;
    for rule in ["-P INPUT DROP", "-P OUTPUT ACCEPT", "--dport 22 -j ACCEPT", "--dport 443 -j ACCEPT"] {
        assert!(rules.contains(rule), "{rule}: {rules}");
    }
    net.operator.saw("S3-41", &run, "apply");

    // The next one locks out: the rules of before are in force again, not none.
    net.ufw(&["prepend", "deny", "from", CLIENT]);
    net.apply(6, &[("confirm", "2s"), ("open", "8080")]);
    net.ufw(&["delete", "deny", "from", CLIENT]);
    assert!(!inactive() && net.reaches(5432) && !net.reaches(8080));
    assert_eq!(of_this_machine(), before, "the firewall of this machine is as it was");
}

/// Where nobody confirms it, whatever was to ask for that: SIGKILL leaves no time to tidy up.
#[test]
fn a_firewall_nobody_confirmed_is_taken_back_though_all_that_made_it_was_killed() {
    let net = Net::new();
    let active = || net.ufw(&["status"]).stdout.contains("Status: active");
    let log = net.operator.scene.path("killed.log");
    let apply = |confirm: &str| {
        let (command, name) = net.operator.command("firewall", &[("confirm", confirm), ("open", "[]")]);
        let out = fs::File::create(&log).unwrap();
        let child = net.on_host(&command).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        wait("the time to confirm it", || fs::read_to_string(&log).unwrap().contains("now log in by ssh"));
        (child, name)
    };

    let (mut child, name) = apply("10s");
    net.kill_9("RUNWARD_STATE=");
    net.kill_9("CONFIRM=10000");
    child.wait().unwrap();
    assert!(active() && !net.reaches(8080), "nobody had the time to take it back");
    wait("it to be taken back by the one who watches", || !active() && net.reaches(8080));

    // Whoever takes the run up again does not get it back by that.
    let mut resume = net.operator.scene.runward();
    resume.args(["resume", &name]);
    let resumed = finish(&mut net.on_host(&resume));
    assert_ne!(resumed.code, 0, "{}{}", resumed.stdout, resumed.stderr);
    assert!(!active() && net.reaches(8080));

    // The step alone is killed: the run goes back at once.
    let (mut child, _) = apply("1h");
    assert!(active());
    net.kill_9("CONFIRM=3600000");
    assert_eq!(child.wait().unwrap().code(), Some(6), "{}", fs::read_to_string(&log).unwrap());
    assert!(!active() && net.reaches(8080));
}
