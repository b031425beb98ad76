//! The units of `deploy/systemd`, started by a real systemd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use nix::unistd::User;
use runward_services::{Postgres, Proxy, Systemd};

use crate::harness::{Scene, finish, wait};

/// The unit has a user of its own, who is not on this machine.
const USER: &str = "www-data";

/// The binary, a state folder and a unit as it lies in `deploy/`, where an administrator puts them.
fn install(systemd: &Systemd, name: &str, scene: &Scene, port: u16) {
    let done = |words: &[&str]| {
        let done = finish(&mut systemd.inside(Command::new(words[0]).args(&words[1..])));
        assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
    };
    done(&["install", "-m", "755", env!("CARGO_BIN_EXE_runward"), "/usr/local/bin/runward"]);
    // A manager that is not that of the machine keeps the folders of StateDirectory elsewhere.
    let state = if name == "runward-worker.service" { "/var/lib/runward" } else { "/var/lib/runward-server" };
    done(&["install", "-d", "-m", "700", "-o", USER, state]);
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(name);
    let unit = fs::read_to_string(unit).unwrap().replace("127.0.0.1:7640", &format!("127.0.0.1:{port}"));
    fs::write(systemd.units().join(name), unit).unwrap();
    let folder = systemd.units().join(format!("{name}.d"));
    fs::create_dir(&folder).unwrap();
    let env = scene.path("cluster.env").display().to_string();
    let here = format!(
        "[Service]\nUser={USER}\nGroup={USER}\nEnvironmentFile=\nEnvironmentFile={env}\nReadWritePaths={state}\n\
         StandardError=append:{}\n",
        scene.path("said").display()
    );
    fs::write(folder.join("here.conf"), here).unwrap();
}

#[test]
fn a_step_lives_on_when_systemd_restarts_or_kills_the_worker_that_started_it() {
    let (scene, postgres, systemd) = (Scene::new(), Postgres::start(), Systemd::start());
    let proxy = Proxy::to(postgres.target());
    postgres.database("runward");
    let url = postgres.url_through(&proxy, "runward");
    scene.file("cluster.env", format!("RUNWARD_DATABASE_URL={url}\n"));
    let owner = User::from_name(USER).unwrap().expect("Debian has it").uid.as_raw();
    fs::set_permissions(scene.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(scene.path("effects")).unwrap();
    chown(scene.path("effects"), Some(owner), None).unwrap();
    install(&systemd, "runward-worker.service", &scene, 0);
    let command = |words: &[&str]| {
        let mut command = scene.runward();
        command.env("RUNWARD_DATABASE_URL", &url).args(words);
        finish(&mut command)
    };
    assert_eq!(command(&["db", "migrate"]).code, 0);
    let started = systemd.systemctl(&["start", "runward-worker"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));

    let effects = scene.path("effects");
    scene.file(
        "long.yaml",
        format!(
            "name: long\nsteps:\n  - id: long\n    run: |\n      cd {}\n      echo start >> effects\n      \
             until [ -e go ]; do sleep 0.1; done\n      echo end >> effects\n",
            effects.display()
        ),
    );
    let triggered = command(&["run", "--detach", "--key", "night", "long.yaml"]);
    assert_eq!(triggered.code, 0, "{}", triggered.stderr);
    let read = || fs::read_to_string(effects.join("effects")).unwrap_or_default();
    wait("the step to start", || read() == "start\n");

    let worker = || systemd.property("runward-worker.service", "MainPID");
    let first = worker();
    assert!(systemd.systemctl(&["restart", "runward-worker"]).status.success());
    let second = worker();
    assert_ne!(first, second);
    assert!(systemd.systemctl(&["kill", "--kill-whom=main", "--signal=KILL", "runward-worker"]).status.success());
    wait("systemd to start it again", || systemd.property("runward-worker.service", "NRestarts") == "1");
    assert_ne!(second, worker());

    fs::write(effects.join("go"), "").unwrap();
    let shown =
        || serde_json::from_str::<serde_json::Value>(&command(&["show", "key:night", "--format", "json"]).stdout);
    wait("the run to end", || shown().is_ok_and(|shown| shown["run"]["status"] == "succeeded"));
    assert_eq!(read(), "start\nend\n", "it was started once");
}

#[test]
fn a_server_serves_within_what_its_unit_leaves_it() {
    let (scene, postgres, systemd) = (Scene::new(), Postgres::start(), Systemd::start());
    let proxy = Proxy::to(postgres.target());
    let url = postgres.url_through(&proxy, "runward");
    postgres.database("runward");
    scene.file("cluster.env", format!("RUNWARD_DATABASE_URL={url}\n"));
    fs::set_permissions(scene.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(finish(scene.runward().env("RUNWARD_DATABASE_URL", &url).args(["db", "migrate"])).code, 0);
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    install(&systemd, "runward-server.service", &scene, port);
    let started = systemd.systemctl(&["start", "runward-server"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    wait("it to be ready", || {
        assert_eq!(
            systemd.property("runward-server.service", "NRestarts"),
            "0",
            "{} {}",
            systemd.property("runward-server.service", "ExecMainStatus"),
            scene.read("said")
        );
        let asked = Command::new("curl").args(["-sf", &format!("http://127.0.0.1:{port}/readyz")]).output();
        asked.is_ok_and(|done| done.status.success())
    });

    let pid = systemd.property("runward-server.service", "MainPID");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["NoNewPrivs:\t1", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{root}");
}
