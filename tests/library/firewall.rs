//! The firewall of a host that exists for the test only: a network and the settings of ufw of its own, and another machine beside it.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

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
        let net = |servers| Net { operator, _servers: servers, host: host.clone(), client: client.clone() };
        let scene = tempfile::tempdir().unwrap();
        let own = scene.path().display().to_string();
        let script = format!(
            "set -e\ncp -a /etc/ufw {own}/ufw\ncp -a /etc/default/ufw {own}/default\nmount --bind {own}/ufw /etc/ufw\n\
             mount --bind {own}/default /etc/default/ufw\nmkdir -p /run/sshd\nip link set lo up\n\
             ip link add h0 type veth peer name c0 netns {client}\nip address add {HOST}/24 dev h0\nip link set h0 up\n\
             nsenter --target {client} --net ip address add {CLIENT}/24 dev c0\nnsenter --target {client} --net ip link set c0 up\n"
        );
        let made = finish(Command::new("nsenter").args(["--target", &host, "--net", "--mount", "sh", "-c", &script]));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let key = scene.path().join("key").display().to_string();
        let made = finish(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let inside = ["nsenter", "--target", &host, "--net", "--mount"];
        let sshd = ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-h", &key];
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
        let net = net(servers);
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

    /// Somebody who tries to come in by ssh, again and again, and stays for a moment each time.
    fn somebody_comes(&self) -> (Guard, TempDir) {
        let come =
            format!("exec 3<> /dev/tcp/{HOST}/22 && read -r banner <&3 && [[ $banner == SSH-2.0-* ]] && sleep 1");
        let script = format!("while :; do timeout 2 bash -c '{come}' & sleep 0.3; done");
        guard(&["nsenter", "--target", &self.client, "--net", "bash", "-c", &script])
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

    // Nobody comes: it may be that nobody can.
    let alone = net.apply(1, &[("confirm", "2s")]);
    assert!(alone.text.contains("nobody came in on port 22"), "{}", alone.text);
    assert!(inactive() && net.reaches(8080));

    // A rule of long ago keeps the other machine out as soon as the firewall is on.
    let _coming = net.somebody_comes();
    net.ufw(&["prepend", "deny", "from", CLIENT]);
    let locked_out = net.apply(1, &[("confirm", "3s")]);
    assert!(locked_out.text.contains("nobody came in on port 22"), "{}", locked_out.text);
    assert!(inactive() && net.reaches(22) && net.reaches(8080));
    net.ufw(&["delete", "deny", "from", CLIENT]);

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
    net.apply(1, &[("confirm", "2s"), ("open", "8080")]);
    net.ufw(&["delete", "deny", "from", CLIENT]);
    assert!(!inactive() && net.reaches(5432) && !net.reaches(8080));
    assert_eq!(of_this_machine(), before, "the firewall of this machine is as it was");
}
