//! Many at once: no run is lost, none is doubled, and the record stays whole.

use std::process::{Child, Stdio};

use crate::harness::{Done, Scene, wait};

/// Processes that start runs at the same time.
const PROCESSES: usize = 20;
/// Runs that each of them starts, one after the other.
const RUNS_EACH: usize = 25;

/// Lets every thread go at once, and collects what they bring.
fn together<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let line = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        let begin = |n| {
            let (line, work) = (&line, &work);
            scope.spawn(move || {
                line.wait();
                work(n)
            })
        };
        let started: Vec<_> = (0..count).map(begin).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn five_hundred_runs_of_twenty_processes_share_one_ledger() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {dir: {type: path, required: true}}\nsteps:\n  - run: echo . >> \"${{ params.dir }}\"/effects\n",
    );
    let dir = scene.dir();
    let failed: Vec<Done> = together(PROCESSES, |_| {
        let run = |_| scene.run(&["run", "-q", "book.yaml", "-p", &dir]);
        (0..RUNS_EACH).map(run).filter(|done| done.code != 0).collect::<Vec<Done>>()
    })
    .into_iter()
    .flatten()
    .collect();
    let said: Vec<String> =
        failed.iter().map(|done| format!("{}: {}{}", done.code, done.stdout, done.stderr)).collect();
    assert!(said.is_empty(), "{} of {} failed: {said:#?}", said.len(), PROCESSES * RUNS_EACH);
    assert_eq!(scene.read("effects").lines().count(), PROCESSES * RUNS_EACH);
    let runs = scene.json(&["runs", "-n", "1000"]);
    let succeeded = runs.as_array().unwrap().iter().filter(|run| run["status"] == "succeeded").count();
    assert_eq!(succeeded, PROCESSES * RUNS_EACH);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn twenty_triggers_with_one_key_are_one_run_and_one_effect() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {dir: {type: path, required: true}}\nsteps:\n  - run: echo . >> \"${{ params.dir }}\"/effects; sleep 0.2\n",
    );
    let dir = scene.dir();
    let dones = together(PROCESSES, |_| scene.run(&["run", "book.yaml", "-p", &dir, "--key", "release-17.6"]));
    for done in &dones {
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }
    assert_eq!(scene.read("effects"), ".\n");
    let runs = scene.json(&["runs"]);
    assert_eq!(runs.as_array().unwrap().len(), 1);
    let id = runs[0]["id"].as_str().unwrap();
    assert!(dones.iter().all(|done| done.stdout.contains(id)), "everybody is told the one run");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn one_resume_of_many_carries_a_failed_run_on() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {dir: {type: path, required: true}}\nsteps:\n  \
         - run: echo . >> \"${{ params.dir }}\"/effects; test -e \"${{ params.dir }}\"/ready; sleep 0.2\n",
    );
    scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    scene.file("ready", "");
    let codes: Vec<i32> = together(PROCESSES, |_| scene.run(&["resume", "last"]).code);
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 2].contains(code)), "{codes:?}");
    assert_eq!(scene.read("effects"), ".\n.\n", "one more start, however many ask");
    assert_eq!(scene.last()["run"]["generation"], 2);
}

#[test]
fn many_readers_disturb_no_run() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "steps:\n  - {id: each, for-each: [1, 2, 3, 4, 5, 6, 7, 8], run: 'echo ${{ item }}; sleep 0.1'}\n",
    );
    let start = |args: &[&str]| -> Child {
        scene.runward().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    };
    scene.expect(0, &["run", "book.yaml", "--detach"]);
    let mut followers: Vec<Child> = (0..8).map(|_| start(&["logs", "-f", "last"])).collect();
    wait("the run to end", || {
        scene.expect(0, &["audit", "verify"]);
        scene.last()["run"]["status"] == "succeeded"
    });
    for follower in &mut followers {
        assert!(follower.wait().unwrap().success());
    }
}
