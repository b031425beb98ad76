//! A service under systemd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Stdio;

use nix::unistd::User;
use runward_services::Systemd;

use crate::harness::{finish, wait};
use crate::operator::Run;
use crate::place::Place;

/// Whoever may do nothing on this machine but own what is given to them.
const USER: &str = "www-data";

struct Machine {
    place: Place,
    systemd: Systemd,
}

impl Machine {
    fn new() -> Machine {
        let (place, systemd) = (Place::empty(), Systemd::start());
        place.stack.release("1.0.0");
        place.stack.migrate("1.0.0");
        place.stack.link("releases/1.0.0", "current");
        place.stack.link("api.sock", "run/live.sock");
        let user = User::from_name(USER).unwrap().expect("Debian has it");
        for name in ["run", "log"] {
            chown(place.stack.path(name), Some(user.uid.as_raw()), None).unwrap();
        }
        let redis = place.stack.redis.socket();
        fs::set_permissions(redis.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&redis, fs::Permissions::from_mode(0o777)).unwrap();
        Machine { place, systemd }
    }

    fn deploy(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let (units, runtime) = (self.systemd.units(), self.systemd.variable().1);
        let (units, runtime) = (units.display().to_string(), runtime.display().to_string());
        let own = [("manager", "user"), ("units", units.as_str()), ("runtime", &runtime), ("restart_seconds", "1")];
        let own: Vec<_> = own.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).collect();
        let params = self.place.params(&[&own[..], more].concat());
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (command, name) = self.place.operator.command("deploy_systemd", &params);
        let done = finish(self.systemd.inside(&command).stdin(Stdio::null()));
        let text = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, code, "{text}");
        Run { code, text, ..self.place.operator.look(&name) }
    }

    fn property(&self, name: &str) -> String {
        self.systemd.property("app.service", name)
    }

    fn unit(&self) -> String {
        fs::read_to_string(self.systemd.units().join("app.service")).unwrap_or_default()
    }
}

#[test]
fn a_service_runs_under_systemd_and_one_that_does_not_come_up_is_taken_back() {
    let machine = Machine::new();
    let stack = &machine.place.stack;
    // Nothing was there before: nothing is there after.
    fs::write(stack.path("current/unhealthy"), "").unwrap();
    let sick = machine.deploy(6, &[("healthy_seconds", "2")]);
    assert!(sick.text.contains("did not answer /health with 200"), "{}", sick.text);
    assert_eq!((machine.unit().as_str(), machine.property("ActiveState").as_str()), ("", "inactive"));
    fs::remove_file(stack.path("current/unhealthy")).unwrap();

    let run = machine.deploy(0, &[("settle_seconds", "1")]);
    assert_eq!(machine.place.version(), "1.0.0");
    let with_the_machine =
        fs::canonicalize(machine.systemd.units().join("multi-user.target.wants/app.service")).unwrap();
    assert_eq!(with_the_machine, machine.systemd.units().join("app.service"));
    let processes = machine.systemd.systemctl(&["status", "app.service"]);
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    assert!(processes.matches("multiprocessing").count() >= 4, "four that work: {processes}");
    let owner = fs::metadata(stack.path("run/api.sock")).map(|it| std::os::unix::fs::MetadataExt::uid(&it)).unwrap();
    assert_eq!(owner, User::from_name(USER).unwrap().unwrap().uid.as_raw());

    // It dies, and is started again.
    let first = machine.property("MainPID");
    assert!(machine.systemd.systemctl(&["kill", "--signal", "KILL", "app.service"]).status.success());
    wait("it to be started again", || machine.property("NRestarts") == "1" && stack.get("/health").0 == 200);
    assert_ne!(machine.property("MainPID"), first);
    machine.place.saw("S4-08", &run, "start");

    // What its user could have changed after it was looked at is not what was installed.
    assert!(!stack.path("run/app.service").exists());

    // A unit that does not come up is taken back, and the one before it serves.
    fs::write(stack.path("current/unhealthy"), "").unwrap();
    machine.deploy(6, &[("workers", "1"), ("healthy_seconds", "2")]);
    assert!(machine.unit().contains("--workers 4"), "{}", machine.unit());
    fs::remove_file(stack.path("current/unhealthy")).unwrap();
    wait("the one before it to serve", || stack.get("/health").0 == 200);
}

#[test]
fn what_systemd_does_not_have_is_said_before_anything_is_written() {
    let machine = Machine::new();
    let nobody = machine.deploy(1, &[("user", "no-such-user")]);
    assert!(nobody.text.contains("useradd --system no-such-user"), "{}", nobody.text);
    let silent = machine.deploy(1, &[("runtime", "/nowhere")]);
    assert!(silent.text.contains("systemd does not answer"), "{}", silent.text);
    assert_eq!(machine.unit(), "");
}
