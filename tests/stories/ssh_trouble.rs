//! Hosts that are not what they were: a name that moves to another machine.

use crate::harness::{Scene, finish, kill_9, step_of};
use crate::ssh_hosts::{Hosts, attempts};

const SLOW: &str = "\
params: {dir: {type: path, required: true}}
steps:
  - id: slow
    host: db1
    cwd: ${{ params.dir }}
    timeout: TIME
    grace: 0s
    retry: {attempts: 3, delay: 0s}
    run: |
      echo start >> effects
      echo it is up
      until test -e go; do sleep 0.05; done
";

#[test]
fn a_name_that_leads_to_another_machine_starts_nothing_there_and_waits_for_the_first() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    scene.file("slow.yaml", SLOW.replace("TIME", "1h"));
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "it is up");
    hosts.close("db1");
    hosts.lead(&scene, "db1", "elsewhere");
    hosts.open("db1");
    scene.wait_for("started.out", "another machine answers as db1 now");
    assert!(attempts(&scene, "elsewhere").is_empty());
    hosts.close("db1");
    hosts.lead(&scene, "db1", "db1");
    scene.file("go", "");
    hosts.open("db1");
    assert!(driver.wait().unwrap().success(), "{}", scene.read("started.out"));
    assert_eq!(scene.read("effects"), "start\n");
}

#[test]
fn a_host_that_was_replaced_leaves_the_step_lost_however_often_it_may_be_tried() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    scene.file("slow.yaml", SLOW.replace("TIME", "30s").replace("retry:", "on-lost: fail\n    retry:"));
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "it is up");
    hosts.close("db1");
    hosts.lead(&scene, "db1", "elsewhere");
    hosts.open("db1");
    let code = driver.wait().unwrap().code();
    let step = step_of(&scene.last(), "slow");
    assert_eq!((code, &step["status"]), (Some(8), &"lost".into()), "{step}");
    assert!(step["error"].as_str().unwrap().contains("another machine answers as db1"), "{step}");
    assert_eq!((scene.read("effects").as_str(), attempts(&scene, "elsewhere").len()), ("start\n", 0));
    kill_9(&mut driver);
}

#[test]
fn the_doctor_asks_every_host_that_a_runbook_names_as_a_step_would() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1", "db2"]);
    scene.file("runbooks/r.yaml", "params: {nodes: {type: list, default: [db1, db2]}}\nsteps:\n  - {id: a, for-each: '${{ params.nodes }}', host: '${{ item }}', run: x}\n");
    let doctor = || finish(hosts.runward(&scene).args(["doctor"])).stdout;
    let said = doctor();
    assert!(
        said.contains("ok    host          db1: a step could start there") && said.contains("ok    host          db2"),
        "{said}"
    );
    let left = ["db1", "db2"]
        .map(|host| finish(std::process::Command::new("find").arg(scene.path(&format!("far/{host}")))).stdout);
    assert!(left.iter().all(|left| left.lines().count() <= 1), "{left:?}");
    // The one has another key, and the other one's folder cannot be written.
    let known = scene.read("known_hosts");
    let first = known.lines().nth(1).unwrap().to_owned() + "\n";
    scene.file("known_hosts", first);
    let _ = std::fs::remove_dir_all(scene.path("far/db2"));
    scene.file("far/db2", "");
    let said = doctor();
    assert!(
        said.contains("FAIL  host          db1: ssh db1: ")
            && said.contains("ssh -o StrictHostKeyChecking=ask -- db1 true"),
        "{said}"
    );
    assert!(said.contains("FAIL  host          db2: it cannot carry out a step: the folder"), "{said}");
}

#[test]
fn what_went_wrong_is_said_behind_a_long_banner_and_whatever_ssh_is_told_to_keep_to_itself() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    scene.file("x.yaml", "steps:\n  - {id: a, host: db1, timeout: 2s, run: echo here}\n");
    let banner = scene.file("banner", "Authorized use only. ".repeat(150) + "\n");
    let config = scene.read("db1.sshd") + &format!("Banner {}\n", banner.display());
    scene.file("db1.sshd", &config);
    assert!(hosts.expect(&scene, 0, &["run", "x.yaml"]).contains("a | here"));
    // Nothing answers there, and there is nothing that ssh could complain of.
    scene.file("db1.sshd", config + "ForceCommand cat > /dev/null\n");
    let told = hosts.expect(&scene, 1, &["run", "x.yaml"]);
    let step = step_of(&scene.last(), "a");
    let error = step["error"].as_str().unwrap();
    assert_eq!(step["status"], "timed_out", "{told}");
    assert!(error.contains("nothing was started there: see whether `ssh -o BatchMode=yes -- db1 true`"), "{error}");
    let (client, own) = (scene.read("client.pub"), scene.read("ssh_config"));
    scene.file("client.pub", "");
    for level in ["DEBUG3", "QUIET"] {
        scene.file("ssh_config", format!("{own}  LogLevel {level}\n"));
        let told = hosts.expect(&scene, 1, &["run", "x.yaml"]);
        assert!(told.contains("Permission denied (publickey"), "{level}: {told}");
        assert!(!told.contains("debug"), "{level}: {told}");
    }
    scene.file("client.pub", client);
}
