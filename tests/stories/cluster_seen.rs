//! A run that workers carry on, as those see it who look on from another host, and what they can do about it.

use std::fs::File;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::harness::{finish, step_of, wait};

/// Prints, waits for the file `gate` of the scene, and prints again.
const GATED: &str = "params:\n  dir: {}\nsteps:\n  - id: a\n    run: |\n      echo one\n      echo start >> ${{ params.dir }}/starts\n      \
                     until [ -e ${{ params.dir }}/gate ]; do sleep 0.02; done\n      echo two\n";

fn start(cluster: &Cluster, args: &[&str], out: &str) -> Child {
    let file = |end: &str| Stdio::from(File::create(cluster.scene.path(&format!("{out}.{end}"))).unwrap());
    cluster.runward().args(args).stdout(file("out")).stderr(file("err")).spawn().unwrap()
}

fn code(cluster: &Cluster, child: &mut Child, out: &str) -> Option<i32> {
    let code = child.wait().unwrap().code();
    println!("{}{}", cluster.scene.read(&format!("{out}.out")), cluster.scene.read(&format!("{out}.err")));
    code
}

#[test]
fn what_a_step_prints_on_another_host_is_seen_while_it_is_printed() {
    let cluster = Cluster::new();
    cluster.scene.file("gated.yaml", GATED);
    let _worker = cluster.worker("db1", &[]);
    let mut run = start(&cluster, &["run", "gated.yaml", "-p", &cluster.scene.dir()], "run");
    cluster.scene.wait_for("run.out", "a | one");
    let mut logs = start(&cluster, &["logs", "-f", "last"], "logs");
    cluster.scene.wait_for("logs.out", "a | one");
    let shown = cluster.expect(0, &["show", "last"]).stdout;
    assert!(shown.contains("running") && shown.contains(", on db1"), "{shown}");
    let runs = cluster.expect(0, &["runs"]).stdout;
    assert!(runs.contains("running (on db1)"), "{runs}");
    cluster.scene.file("gate", "");
    assert_eq!((code(&cluster, &mut run, "run"), code(&cluster, &mut logs, "logs")), (Some(0), Some(0)));
    let (run, logs) = (cluster.scene.read("run.out"), cluster.scene.read("logs.out"));
    let (two, end) = (run.find("a | two").unwrap(), run.find("✓ a succeeded").unwrap());
    assert!(two < end && logs.lines().count() == 2 && logs.ends_with("a | two\n"), "{run}\n{logs}");
    assert_eq!(cluster.scene.read("run.err"), "");
    assert_eq!(cluster.expect(0, &["logs", "last", "--raw"]).stdout, "one\ntwo\n");
}

#[test]
fn ctrl_c_ends_what_runs_on_another_host() {
    let cluster = Cluster::new();
    cluster.scene.file("gated.yaml", GATED);
    let _worker = cluster.worker("db1", &[]);
    let mut run = start(&cluster, &["run", "gated.yaml", "-p", &cluster.scene.dir()], "run");
    cluster.scene.wait_for("run.out", "a | one");
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(code(&cluster, &mut run, "run"), Some(4));
    let show = cluster.json(&["show", "last"]);
    assert_eq!((&show["run"]["status"], &step_of(&show, "a")["status"]), (&"cancelled".into(), &"cancelled".into()));
    let said = cluster.scene.read("run.err");
    assert!(said.contains("cancelled: the workers end what runs"), "{said}{}", cluster.scene.read("run.out"));
}

#[test]
fn two_who_start_the_same_job_see_one_run_to_its_end() {
    let cluster = Cluster::new();
    cluster.scene.file("gated.yaml", GATED);
    let _workers = [cluster.worker("db1", &[]), cluster.worker("db2", &[])];
    let job = ["run", "gated.yaml", "--key", "night-7", "-p", &cluster.scene.dir()];
    let mut both = [start(&cluster, &job, "first"), start(&cluster, &job, "second")];
    for name in ["first", "second"] {
        cluster.scene.wait_for(&format!("{name}.out"), "gated: run ");
    }
    cluster.scene.wait_for("starts", "start");
    cluster.scene.file("gate", "");
    for (child, name) in both.iter_mut().zip(["first", "second"]) {
        assert_eq!(code(&cluster, child, name), Some(0), "{name}");
    }
    assert_eq!(cluster.scene.read("starts"), "start\n");
    assert_eq!(cluster.json(&["runs"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn an_approval_given_anywhere_lets_the_run_go_on_by_itself() {
    let cluster = Cluster::new();
    cluster.scene.file(
        "gate.yaml",
        "steps:\n  - id: agree\n    approve: {}\n  - id: b\n    needs: [agree]\n    run: echo there\n",
    );
    let call = "steps:\n  - id: call\n    runbook: gate.yaml\n  - id: after\n    needs: [call]\n    run: echo after\n";
    cluster.scene.file("call.yaml", call);
    let _worker = cluster.worker("db1", &[]);
    let waits = cluster.expect(8, &["run", "call.yaml"]).stdout;
    assert!(waits.contains("waits for approval") && waits.contains("goes on by itself"), "{waits}");
    assert!(!waits.contains("then runward resume"), "{waits}");
    let run = cluster.json(&["runs"])[0]["id"].as_str().unwrap().to_owned();
    let said = cluster.expect(0, &["approve", &run]).stdout;
    assert!(said.contains("the run goes on"), "{said}");
    assert_eq!(cluster.wait_for_end(&run)["run"]["status"], "succeeded");
}

#[test]
fn a_failed_run_is_tried_again_from_any_host_with_the_exit_codes_of_always() {
    let cluster = Cluster::new();
    let book = "params:\n  dir: {}\nsteps:\n  - id: a\n    run: echo oops >&2; test -e ${{ params.dir }}/good\n";
    cluster.scene.file("book.yaml", book);
    let _worker = cluster.worker("db1", &[]);
    let dir = cluster.scene.dir();
    let failed = cluster.expect(1, &["run", "book.yaml", "-p", &dir, "--format", "junit"]).stdout;
    assert!(failed.contains("<system-out>oops") && failed.contains("exit code 1"), "{failed}");
    let again = cluster.expect(1, &["resume", "last", "--format", "github"]).stdout;
    assert!(again.contains("::group::a (failed") && again.contains("\noops\n"), "{again}");
    let quiet = cluster.expect(1, &["retry", "last", "a", "--quiet"]).stdout;
    assert!(quiet.contains("a | oops"), "{quiet}");
    cluster.scene.file("good", "");
    let events = cluster.expect(0, &["resume", "last", "--format", "json"]).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "the whole record, without a gap");
    assert_eq!(events.last().map(|end| end["exit_code"].clone()), Some(0.into()));
}

#[test]
fn a_worker_that_is_not_heard_is_named_until_it_is_back() {
    let cluster = Cluster::new().fast();
    cluster.scene.file("gated.yaml", GATED);
    let mut worker = cluster.worker("db1", &[]);
    let run = cluster.trigger(&["gated.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("starts", "start");
    worker.kill_9();
    wait("the worker to be missed", || cluster.json(&["workers"])[0]["state"] == "silent");
    let show = cluster.json(&["show", &run]);
    assert_eq!(show["unreachable"][0], show["attempts"][0]["claim"], "{show:#}");
    assert!(cluster.expect(0, &["show", &run]).stdout.contains("on db1, unreachable"));
    assert!(cluster.expect(0, &["runs"]).stdout.contains("running (db1 unreachable)"));
    let doctor = cluster.expect(0, &["doctor"]).stdout;
    assert!(
        doctor.contains("silent: db1") && doctor.contains("nothing is heard of the worker of 1 running step"),
        "{doctor}"
    );
    let _again = cluster.worker("db1", &[]);
    cluster.scene.file("gate", "");
    let show = cluster.wait_for_end(&run);
    assert_eq!((&show["run"]["status"], &show["unreachable"]), (&"succeeded".into(), &serde_json::json!([])));
    assert_eq!(cluster.scene.read("starts"), "start\n");
    let raw = finish(cluster.runward().args(["logs", &run, "--raw"])).stdout;
    assert_eq!(raw, "one\ntwo\n");
}

#[test]
fn a_run_that_keeps_a_permit_and_that_no_worker_can_carry_out_is_named_to_those_behind_it() {
    let cluster = Cluster::new();
    let book = "concurrency: {group: db, limit: 1}\nsteps:\n  - id: a\n    runs-on: [gpu]\n    run: echo\n";
    cluster.scene.file("gpu.yaml", book);
    cluster.scene.file("plain.yaml", book.replace("    runs-on: [gpu]\n", ""));
    let _worker = cluster.worker("db1", &[]);
    let first = cluster.trigger(&["gpu.yaml"]);
    wait("its permit", || !cluster.json(&["show", &first])["run"]["permit_at"].is_null());
    let second = cluster.trigger(&["plain.yaml"]);
    let short = first.rsplit('-').next().unwrap();
    let said = format!("run {short} waits for a worker with the label gpu: none is there");
    wait("the second to wait", || cluster.expect(0, &["show", &second]).stdout.contains(&said));
    let doctor = cluster.expect(0, &["doctor"]).stdout;
    assert!(doctor.contains(&format!("run {short} keeps its permit of the group `db`")), "{doctor}");
    cluster.expect(0, &["cancel", &first]);
    assert_eq!(cluster.wait_for_end(&second)["run"]["status"], "succeeded");
}

#[test]
fn who_is_not_there_any_more_is_listed_when_somebody_asks() {
    let cluster = Cluster::new();
    let worker = cluster.worker("db1", &[]);
    let _stays = cluster.worker("db2", &[]);
    worker.end();
    wait("it to have left", || cluster.json(&["workers"]).to_string().contains("\"left\""));
    let list = cluster.expect(0, &["workers"]).stdout;
    assert!(!list.contains("db1 (") && list.contains("db2 (") && list.contains("and 1 not there any more"), "{list}");
    let all = cluster.expect(0, &["workers", "--all"]).stdout;
    assert!(all.contains("db1 (") && all.contains("left") && !all.contains("not there any more"), "{all}");
}

#[test]
fn who_follows_a_run_sees_it_through_while_it_has_not_taken_note_yet_that_its_child_is_over() {
    let cluster = Cluster::new();
    cluster.scene.file("gated.yaml", GATED);
    let with = cluster.scene.dir().replacen('=', ": ", 1);
    cluster.scene.file("parent.yaml", format!("steps:\n  - {{id: kid, runbook: ./gated.yaml, with: {{{with}}}}}\n"));
    let _worker = cluster.worker("db1", &[]);
    let mut run = start(&cluster, &["run", "parent.yaml"], "run");
    cluster.scene.wait_for("starts", "start");
    let parent = cluster.json(&["show", "last"])["run"]["id"].as_str().unwrap().to_owned();
    // Nothing can be recorded of the parent now.
    let held = cluster.hold(&parent);
    cluster.scene.file("gate", "");
    cluster.scene.wait_for("run.out", "kid/a succeeded");
    wait("the child to be over", || cluster.json(&["runs", "gated", "--all"]).to_string().contains("succeeded"));
    // Several looks of the one who follows.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(run.try_wait().unwrap().is_none(), "{}", cluster.scene.read("run.out"));
    cluster.let_go(held);
    assert_eq!(code(&cluster, &mut run, "run"), Some(0));
}

#[test]
fn a_child_that_was_over_before_anybody_looked_is_shown_to_who_follows_its_parent() {
    let cluster = Cluster::new();
    cluster.scene.file("quick.yaml", "steps:\n  - {id: b, run: echo three}\n");
    cluster.scene.file("parent.yaml", format!("{GATED}  - {{id: kid, runbook: ./quick.yaml}}\n"));
    let _worker = cluster.worker("db1", &[]);
    let mut run = start(&cluster, &["run", "parent.yaml", "-p", &cluster.scene.dir()], "run");
    cluster.scene.wait_for("run.out", "a | one");
    let id = cluster.json(&["show", "last"])["run"]["id"].as_str().unwrap().to_owned();
    kill(Pid::from_raw(run.id() as i32), Signal::SIGSTOP).unwrap();
    cluster.scene.file("gate", "");
    cluster.wait_for_end(&id);
    kill(Pid::from_raw(run.id() as i32), Signal::SIGCONT).unwrap();
    assert_eq!(code(&cluster, &mut run, "run"), Some(0));
    let out = cluster.scene.read("run.out");
    assert!(out.contains("kid/b | three") && out.contains("✓ kid/b succeeded"), "{out}");
}
