//! Workers behind queues, more and fewer, and a broker that loses nothing when one of them dies.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use runward_services::Ground;

use crate::dumps::keep_secret;
use crate::harness::{Done, finish, is_root, wait};
use crate::operator::Run;
use crate::place::Place;

const PASSWORD: &str = "the-password-of-the-queue";

/// A RabbitMQ on this machine alone, not as a service of it.
struct Broker {
    ground: Ground,
    port: u16,
    /// Where its port mapper listens.
    epmd: u16,
    user: String,
}

impl Broker {
    fn start() -> Broker {
        let ports: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let [port, epmd, dist] = [0, 1, 2].map(|n| ports[n].local_addr().unwrap().port());
        drop(ports);
        let user = if is_root() { "rabbitmq".to_owned() } else { whoami() };
        let broker = Broker { ground: Ground::new(), port, epmd, user };
        let home = broker.home();
        fs::create_dir(&home).unwrap();
        fs::write(home.join("rabbitmq.conf"), format!("listeners.tcp.1 = 127.0.0.1:{port}\n")).unwrap();
        if is_root() {
            assert!(Command::new("chown").args(["-R", &broker.user]).arg(&home).status().unwrap().success());
        }
        // Its port mapper would else start by itself, and stay.
        let node = format!(
            "cd {0} && epmd -address 127.0.0.1 -port {epmd} < /dev/null > /dev/null 2>&1 &
             until epmd -port {epmd} -names > /dev/null 2>&1; do sleep 0.05; done
             cd {0} && RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-start_epmd false' HOME={0} RABBITMQ_NODENAME=runward@localhost RABBITMQ_MNESIA_BASE={0}/data RABBITMQ_LOG_BASE={0}/log \
             RABBITMQ_CONFIG_FILE={0}/rabbitmq.conf RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_ENABLED_PLUGINS_FILE={0}/plugins \
             RABBITMQ_DIST_PORT={dist} ERL_EPMD_PORT={epmd} ERL_EPMD_ADDRESS=127.0.0.1 \
             setsid /usr/lib/rabbitmq/bin/rabbitmq-server < /dev/null > {0}/out 2>&1 &",
            home.display()
        );
        assert!(broker.as_user("sh").args(["-c", &node]).status().unwrap().success());
        wait("RabbitMQ to be there", || broker.ctl(&["await_startup", "--timeout", "5"]).code == 0);
        broker
    }

    fn home(&self) -> PathBuf {
        self.ground.path("rabbitmq")
    }

    fn as_user(&self, program: &str) -> Command {
        if !is_root() {
            return Command::new(program);
        }
        let user = User::from_name(&self.user).unwrap().expect("the package makes this user");
        let mut command = Command::new("setpriv");
        let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--", program]);
        command
    }

    fn ctl(&self, words: &[&str]) -> Done {
        let mut command = self.as_user("/usr/lib/rabbitmq/bin/rabbitmqctl");
        command
            .env("RABBITMQ_CTL_ERL_ARGS", "-start_epmd false")
            .env("HOME", self.home())
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .current_dir(self.home());
        finish(command.args(["--quiet", "--node", "runward@localhost"]).args(words))
    }

    /// `NAME MESSAGES CONSUMERS` of each queue.
    fn queues(&self) -> Vec<String> {
        let said = self.ctl(&["list_queues", "--vhost", "app", "--no-table-headers", "name", "messages", "consumers"]);
        let mut lines: Vec<String> = said.stdout.lines().map(|line| line.replace('\t', " ")).collect();
        lines.retain(|line| line.starts_with("items_"));
        lines.sort();
        lines
    }

    fn give(&self, place: &Place, code: i32, more: &[(&str, &str)]) -> Run {
        let (home, into) =
            (self.home().display().to_string(), place.stack.path("run/broker.url").display().to_string());
        let (port, epmd) = (self.port.to_string(), self.epmd.to_string());
        let own = [("home", home.as_str()), ("into", &into), ("port", &port), ("epmd", &epmd), ("as", &self.user)];
        let mut own = [&own[..], &[("node", "runward@localhost"), ("queues", "items_0,items_1")]].concat();
        own.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        own.extend(more);
        place.operator.expect(code, "rabbitmq_queue", &own)
    }
}

fn whoami() -> String {
    User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name
}

fn workers(place: &Place, code: i32, more: &[(&str, &str)]) -> Run {
    place.run(code, "scale_workers", more)
}

/// Puts a task into a queue.
fn task(place: &Place, broker: &str, queue: &str, name: &str, arg: &str) {
    let mut celery = Command::new(place.stack.bin().join("celery"));
    celery.env("BROKER_URL_FILE", broker).current_dir(place.stack.path("current"));
    let done = finish(
        celery
            .args(["-A", "app.tasks", "call", "--queue", queue, "--args", &format!("[\"{arg}\"]")])
            .arg(format!("app.tasks.{name}")),
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
}

fn items(place: &Place, name: &str) -> String {
    place.stack.sql(&format!("select count(*) from items where name = '{name}'"))
}

fn place() -> Place {
    let place = Place::empty();
    place.stack.release("1.0.0");
    place.stack.migrate("1.0.0");
    place.stack.link("releases/1.0.0", "current");
    place
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_worker_that_dies_loses_no_message() {
    let (place, broker) = (place(), Broker::start());
    keep_secret(&place.operator, "rabbitmq", PASSWORD);
    let given = broker.give(&place, 0, &[]);
    let url = place.stack.path("run/broker.url").display().to_string();
    assert_eq!(broker.queues(), ["items_0 0 0", "items_1 0 0"]);
    assert!(!given.text.contains(PASSWORD) && !given.show.to_string().contains(PASSWORD));
    let mode = finish(Command::new("stat").args(["-c", "%a", &url])).stdout;
    assert_eq!(mode.trim(), "600", "there is a password in it");

    let shards = [("queues", "items_0,items_1"), ("broker", url.as_str()), ("concurrency", "1")];
    let run = workers(&place, 0, &[&shards[..], &[("workers", "2")]].concat());
    assert_eq!(broker.queues(), ["items_0 0 1", "items_1 0 1"], "each has one of its own");
    task(&place, &url, "items_0", "add", "of the first shard");
    task(&place, &url, "items_1", "add", "of the second shard");
    for name in ["of the first shard", "of the second shard"] {
        wait("it to be done", || items(&place, name) == "1");
    }

    // With a task in its hands, the worker is killed with all of its processes.
    task(&place, &url, "items_0", "add_when_told", "precious");
    wait("it to be taken", || {
        broker.queues()[0].starts_with("items_0 1 ") && place.stack.log("queue_0").contains("add_when_told")
    });
    let first: i32 = place.stack.supervisorctl(&["pid", "queue_0"]).parse().unwrap();
    let children = finish(Command::new("ps").args(["-o", "pid=", "--ppid", &first.to_string()])).stdout;
    for pid in children.split_whitespace().map(|pid| pid.parse().unwrap()).chain([first]) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // one may have gone with the other
    }
    assert_eq!(items(&place, "precious"), "0");
    wait("the message to be back", || broker.queues()[0].starts_with("items_0 1 "));
    fs::write(place.stack.path("current/go"), "").unwrap();
    wait("another process to do it", || items(&place, "precious") == "1");
    wait("nothing to be left", || broker.queues()[0].starts_with("items_0 0 "));
    assert_eq!(items(&place, "precious"), "1", "and once");
    place.saw("S4-40", &given, "define");
    place.saw("S4-40", &run, "well");

    // More workers share the queues.
    let more = workers(&place, 0, &[&shards[..], &[("workers", "4")]].concat());
    assert_eq!(broker.queues(), ["items_0 0 2", "items_1 0 2"]);
    place.saw("S1-40", &more, "well");
    workers(&place, 0, &[&shards[..], &[("workers", "1")]].concat());
    wait("those that went to be gone", || broker.queues() == ["items_0 0 1", "items_1 0 1"]);
    assert!(!place.stack.supervisorctl(&["status"]).contains("queue_1"));

    // What cannot be is taken back, or not begun: a broker that nobody answers at, a release whose tasks do not load.
    let nobody = place.operator.scene.file("nobody", "amqp://app:x@127.0.0.1:1/app").display().to_string();
    workers(&place, 6, &[shards[0], ("broker", &nobody), ("workers", "2"), ("healthy_seconds", "3")]);
    wait("the one of before to work again", || broker.queues() == ["items_0 0 1", "items_1 0 1"]);
    fs::write(place.stack.path("current/app/tasks.py"), "raise RuntimeError('no such setting')\n").unwrap();
    let refused = workers(&place, 1, &[&shards[..], &[("workers", "3")]].concat());
    assert!(refused.text.contains("cannot be loaded"), "{}", refused.text);
    let taken = broker.give(&place, 1, &[("queues", "items_0;x")]);
    assert!(taken.text.contains("is no name of a queue"), "{}", taken.text);
    // A user of that name is somebody else's: their password stays as it is.
    assert_eq!(broker.ctl(&["add_user", "other", "theirs"]).code, 0);
    let taken = broker.give(&place, 1, &[("name", "other")]);
    assert!(taken.text.contains("there is a user other already, and no virtual host"), "{}", taken.text);
    assert_eq!(broker.ctl(&["authenticate_user", "other", "theirs"]).code, 0);
    assert!(!broker.ctl(&["list_vhosts"]).stdout.contains("other"));
}
