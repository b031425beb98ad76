//! Runbooks that call runbooks: runs inside runs.

use std::fs;

use serde_json::Value;

use crate::harness::{Scene, finish, kill_9, step_of, wait};

const BACKUP: &str = "
params:
  node: {type: string, required: true}
  tries: {type: int, default: 1, max: 9}
outputs:
  file: ${{ steps.dump.outputs.file }}
  tries: ${{ params.tries }}
steps:
  - id: dump
    run: |
      echo \"dumping ${{ params.node }}\"
      echo \"file=/backup/${{ params.node }}\" >> \"$RUNWARD_OUTPUT\"
  - id: check
    cmd: [echo, checked, \"${{ params.node }}\"]
";

/// What the steps of a child wrote: `start NAME` and `end NAME`, a line each.
fn effects(scene: &Scene) -> Vec<String> {
    scene.read("effects").lines().map(str::to_owned).collect()
}

/// A child that says what it does in the effects file, and goes on when the file `go` is there.
fn waiting_child(scene: &Scene) {
    let dir = scene.path("").display().to_string();
    scene.file(
        "child.yaml",
        format!(
            "params: {{name: {{type: string, default: one}}}}\noutputs: {{name: '${{{{ params.name }}}}'}}\nsteps:\n  \
             - id: first\n    env: {{NAME: '${{{{ params.name }}}}'}}\n    run: |\n      cd '{dir}'; echo \"start $NAME\" >> effects\n      \
             until [ -e go ]; do sleep 0.05; done\n      echo \"end $NAME\" >> effects\n  \
             - id: second\n    run: cd '{dir}' && echo second >> effects\n"
        ),
    );
}

fn children(show: &Value) -> Vec<Value> {
    show["children"].as_array().expect("children").clone()
}

#[test]
fn the_outputs_of_a_runbook_come_back_typed_and_values_stay_data_through_two_levels() {
    let scene = Scene::new();
    scene.file("runbooks/backup.yaml", BACKUP);
    scene.file(
        "runbooks/cluster.yaml",
        "params: {node: {type: string}}\noutputs: {file: '${{ steps.b.outputs.file }}', n: '${{ steps.b.outputs.tries }}'}\n\
         steps:\n  - {id: b, runbook: backup, with: {node: '${{ params.node }}', tries: 3}}\n",
    );
    scene.file(
        "all.yaml",
        "params: {node: {type: string}}\nsteps:\n  - {id: c, runbook: cluster, with: {node: '${{ params.node }}'}}\n  \
         - id: use\n    if: steps.c.outputs.n == 3\n    cmd: [echo, \"got ${{ steps.c.outputs.file }}\"]\n",
    );
    let evil = "a' $(touch pwned) `touch pwned` \"; touch pwned; ${HOME}";
    let done = scene.expect(0, &["run", "all.yaml", "-p", &format!("node={evil}")]);
    assert!(done.stdout.contains(&format!("use | got /backup/{evil}")), "{}", done.stdout);
    assert!(done.stdout.contains(&format!("c/b/dump | dumping {evil}")), "{}", done.stdout);
    let last = scene.last();
    assert_eq!(step_of(&last, "c")["outputs"]["n"], 3);
    assert!(!scene.path("pwned").exists());
    let all = scene.json(&["runs", "--all"]);
    assert_eq!((all.as_array().unwrap().len(), scene.runs_recorded()), (3, 1), "children are listed when asked for");
    let child = &children(&last)[0]["run"];
    let inner = all.as_array().unwrap().iter().find(|run| run["parent"] == *child).expect("the child's child");
    assert_eq!(
        (&inner["name"], &inner["parent_step"], &inner["trigger"]),
        (&"backup".into(), &"b".into(), &"runbook".into())
    );
    scene.expect(0, &["audit", "verify"]);
    scene.expect(0, &["db", "check"]);
    let log = scene.expect(0, &["logs", "last", "c/b/check", "--raw"]).stdout;
    assert_eq!(log, format!("checked {evil}\n"));
}

#[test]
fn a_call_that_cannot_fit_is_found_before_anything_starts_at_its_place() {
    let scene = Scene::new();
    scene.file("runbooks/backup.yaml", BACKUP);
    let file = scene.file(
        "a.yaml",
        "params: {pin: {sensitive: true}}\nsteps:\n  - {id: one, runbook: backup, with: {nod: x, tries: many}}\n  \
         - {id: two, runbook: bakup}\n  - {id: three, runbook: backup, with: {node: '${{ params.pin }}', tries: 10}}\n  \
         - run: echo ${{ steps.three.outputs.fil }}\n",
    );
    let found = scene.expect(2, &["validate", file.to_str().unwrap()]).stderr;
    for said in [
        "`nod` is not a parameter of `backup`",
        "did you mean `node`?",
        "`tries` of `backup`: `\"many\"` is not an int",
        "`backup` needs a value for the parameter `node`",
        "there is no runbook `bakup`",
        "did you mean `backup`?",
        "`node` is given something sensitive, and `backup` would show it",
        "`tries` of `backup`: 10 is above the greatest, 9",
        "the step `three` has no output `fil`",
        "did you mean `file`?",
        "a.yaml:4:",
    ] {
        assert!(found.contains(said), "{said}\n{found}");
    }
    scene.file("runbooks/backup.yaml", BACKUP.replace("params.node }}\"]", "params.nude }}\"]"));
    let found = scene.expect(2, &["validate", file.to_str().unwrap()]).stderr;
    assert!(found.contains("runbooks/backup.yaml:14:"), "the child's own, with its file and line: {found}");
}

#[test]
fn runbooks_that_call_each_other_in_a_circle_and_nine_levels_are_refused() {
    let scene = Scene::new();
    scene.file("a.yaml", "steps: [{id: x, runbook: b.yaml}]\n");
    scene.file("b.yaml", "steps: [{id: x, runbook: ./a.yaml}]\n");
    let found = scene.expect(2, &["run", "a.yaml"]).stderr;
    assert!(found.contains("in a circle: a -> b -> a"), "{found}");
    for n in 0..9 {
        scene.file(&format!("d{n}.yaml"), format!("steps: [{{id: x, runbook: d{}.yaml}}]\n", n + 1));
    }
    scene.file("d9.yaml", "steps: [{id: x, run: echo deep}]\n");
    let found = scene.expect(2, &["run", "d0.yaml"]).stderr;
    assert!(found.contains("more than 8 levels deep: d0 -> d1"), "{found}");
    let done = scene.expect(0, &["run", "d1.yaml"]);
    assert!(done.stdout.contains("x/x/x/x/x/x/x/x/x | deep"), "{}", done.stdout);
    assert_eq!(scene.json(&["runs", "--all"]).as_array().unwrap().len(), 9);
}

#[test]
fn a_child_whose_file_is_edited_or_deleted_in_mid_run_is_what_it_was() {
    let scene = Scene::new();
    waiting_child(&scene);
    scene.file(
        "parent.yaml",
        "steps:\n  - {id: one, runbook: child.yaml}\n  - {id: two, runbook: child.yaml, with: {name: two}}\n",
    );
    let mut run = scene.start(&["run", "parent.yaml"]);
    scene.wait_for("effects", "start one");
    fs::remove_file(scene.path("child.yaml")).unwrap();
    scene.file("parent.yaml", "steps: [{run: exit 1}]\n");
    scene.file("go", "");
    assert!(run.wait().unwrap().success(), "{}", scene.read("started.out"));
    assert_eq!(effects(&scene), ["start one", "end one", "second", "start two", "end two", "second"]);
}

#[test]
fn kill_9_of_the_driver_again_and_again_starts_no_step_of_a_child_twice() {
    let scene = Scene::new();
    let dir = scene.path("").display().to_string();
    let step = |name: &str| format!("  - id: {name}\n    run: cd '{dir}'; echo {name} >> effects; sleep 0.3\n");
    scene.file("leaf.yaml", format!("steps:\n{}{}", step("c"), step("d")));
    scene.file("mid.yaml", format!("steps:\n{}  - {{id: leaf, runbook: leaf.yaml}}\n{}", step("b"), step("e")));
    scene.file("top.yaml", format!("steps:\n{}  - {{id: mid, runbook: mid.yaml}}\n{}", step("a"), step("f")));
    let mut run = scene.start(&["run", "top.yaml"]);
    scene.wait_for("effects", "a");
    kill_9(&mut run);
    for name in ["b", "c", "c", "d", "d", "e"] {
        let mut run = scene.start(&["resume", "last"]);
        wait(name, || effects(&scene).iter().any(|line| line == name));
        kill_9(&mut run);
    }
    scene.expect(0, &["resume", "last"]);
    assert_eq!(effects(&scene), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(scene.json(&["runs", "--all"]).as_array().unwrap().len(), 3);
    scene.expect(0, &["db", "check"]);
}

#[test]
fn a_resume_goes_on_with_the_same_child_and_keeps_what_succeeded_in_it() {
    let scene = Scene::new();
    let dir = scene.path("").display().to_string();
    scene.file(
        "child.yaml",
        format!(
            "steps:\n  - {{id: one, run: \"cd '{dir}' && echo one >> effects\"}}\n  \
             - {{id: two, run: \"cd '{dir}' && echo two >> effects && test -e fixed\"}}\n"
        ),
    );
    scene.file("parent.yaml", "steps:\n  - {id: call, runbook: child.yaml}\n");
    let done = scene.expect(1, &["run", "parent.yaml"]);
    assert!(done.stdout.contains("✗ call failed: run ") && done.stdout.contains("failed at `two`"), "{}", done.stdout);
    let child = children(&scene.last())[0]["run"].as_str().unwrap().to_owned();
    let told = scene.expect(2, &["resume", &child]).stderr;
    assert!(told.contains("is the step `call` of run") && told.contains("carries both on"), "{told}");
    scene.file("fixed", "");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(effects(&scene), ["one", "two", "two"]);
    let all = children(&scene.last());
    assert_eq!((all.len(), &all[0]["generation"], &all[0]["came_to"]), (1, &2.into(), &"succeeded".into()));
}

#[test]
fn a_cancel_and_a_pause_reach_the_child_and_a_cancelled_child_fails_its_step() {
    let scene = Scene::new();
    waiting_child(&scene);
    scene.file("parent.yaml", "steps:\n  - {id: call, runbook: child.yaml}\n  - {id: after, run: echo after}\n");
    // A pause: what runs goes on, nothing new starts.
    let mut run = scene.start(&["run", "parent.yaml"]);
    scene.wait_for("effects", "start one");
    scene.expect(0, &["pause", "last"]);
    scene.wait_for("started.out", "paused by");
    scene.file("go", "");
    scene.wait_for("started.out", "call/first succeeded");
    assert_eq!(effects(&scene), ["start one", "end one"]);
    scene.expect(0, &["unpause", "last"]);
    assert!(run.wait().unwrap().success(), "{}", scene.read("started.out"));
    // A cancel of the parent.
    fs::remove_file(scene.path("go")).unwrap();
    fs::remove_file(scene.path("effects")).unwrap();
    let mut run = scene.start(&["run", "parent.yaml"]);
    scene.wait_for("effects", "start one");
    scene.expect(0, &["cancel", "last", "--reason", "wrong night"]);
    assert_eq!(run.wait().unwrap().code(), Some(4), "{}", scene.read("started.out"));
    let child = scene.json(&["show", children(&scene.last())[0]["run"].as_str().unwrap()]);
    assert_eq!(
        (&child["run"]["status"], &step_of(&scene.last(), "call")["status"]),
        (&"cancelled".into(), &"cancelled".into())
    );
    let why = child["events"].to_string();
    assert!(why.contains("the run it is a step of was cancelled: wrong night"), "{why}");
    // A cancel of the child alone.
    fs::remove_file(scene.path("effects")).unwrap();
    let mut run = scene.start(&["run", "parent.yaml"]);
    scene.wait_for("effects", "start one");
    let child = children(&scene.last())[0]["run"].as_str().unwrap().to_owned();
    let told = scene.expect(2, &["resume", &child]).stderr;
    assert!(told.contains("drives both"), "{told}");
    scene.expect(0, &["cancel", &child]);
    assert_eq!(run.wait().unwrap().code(), Some(1), "{}", scene.read("started.out"));
    assert_eq!(step_of(&scene.last(), "call")["status"], "failed");
    assert_eq!(effects(&scene), ["start one"]);
}

#[test]
fn a_held_step_in_a_child_holds_its_parent_which_says_what_to_do() {
    let scene = Scene::new();
    let dir = scene.path("").display().to_string();
    scene.file(
        "child.yaml",
        format!("steps:\n  - {{id: hard, on-lost: hold, run: \"echo $PPID > '{dir}/pid'; sleep 60\"}}\n"),
    );
    scene.file("parent.yaml", "steps:\n  - {id: call, runbook: child.yaml}\n");
    let mut run = scene.start(&["run", "parent.yaml"]);
    wait("its process", || scene.read("pid").ends_with('\n'));
    let pid: i32 = scene.read("pid").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(8), "{}", scene.read("started.out"));
    let out = scene.read("started.out");
    let child = children(&scene.last())[0]["run"].as_str().unwrap().to_owned();
    assert!(out.contains("call/hard is held: runward resolve") && out.contains("runward resume"), "{out}");
    assert_eq!(step_of(&scene.last(), "call")["status"], "waiting");
    scene.expect(0, &["resolve", &child, "hard", "--as", "succeeded"]);
    scene.expect(0, &["resume", "last"]);
}

#[test]
fn a_child_that_waits_for_people_lets_its_parent_say_so_and_go_on_when_they_agreed() {
    let scene = Scene::new();
    scene.file("child.yaml", "steps:\n  - id: agree\n    approve: {by: [dba]}\n  - {id: go, run: echo went}\n");
    scene.file("mid.yaml", "steps:\n  - {id: inner, runbook: child.yaml}\n");
    scene.file("parent.yaml", "steps:\n  - {id: call, runbook: mid.yaml}\n");
    let said = scene.expect(8, &["run", "parent.yaml"]).stdout;
    assert!(said.contains("call/inner/agree waits for approval: dba") && said.contains("runward approve"), "{said}");
    let all = scene.json(&["runs", "--all"]);
    let child = all.as_array().unwrap().iter().find(|run| run["name"] == "child").unwrap()["id"].clone();
    let mut approve = scene.runward();
    let done = finish(approve.env("SUDO_USER", "dba").args(["approve", child.as_str().unwrap()]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let said = scene.expect(0, &["resume", "last"]).stdout;
    assert!(said.contains("call/inner/go | went"), "{said}");
}

/// A parent whose child's child asks: `call/inner/agree`.
fn asking_below() -> Scene {
    let scene = Scene::new();
    scene.file("child.yaml", "steps:\n  - id: agree\n    approve: {by: [dba]}\n  - {id: go, run: echo went}\n");
    scene.file("mid.yaml", "steps:\n  - {id: inner, runbook: child.yaml}\n");
    scene.file("parent.yaml", "steps:\n  - {id: call, runbook: mid.yaml}\n");
    scene.expect(8, &["run", "parent.yaml"]);
    scene
}

fn as_dba(scene: &Scene, args: &[&str]) -> crate::harness::Done {
    finish(scene.runward().env("SUDO_USER", "dba").args(args))
}

#[test]
fn what_a_child_asks_is_answered_by_the_id_of_its_parent() {
    let scene = asking_below();
    let parent = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    let wrong = as_dba(&scene, &["approve", &parent, "call/inner/nope"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("its steps: agree, go"), "{}", wrong.stderr);
    let done = as_dba(&scene, &["approve", &parent]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let short = parent.rsplit('-').next().unwrap();
    assert!(done.stdout.contains("approved agree of child"), "{}", done.stdout);
    assert!(done.stdout.contains(&format!("runward resume {short}")), "{}", done.stdout);
    let twice = as_dba(&scene, &["approve", &parent, "call/inner/agree"]);
    assert!(twice.code == 2 && twice.stderr.contains("already approved"), "{}", twice.stderr);
    let said = scene.expect(0, &["resume", &parent]).stdout;
    assert!(said.contains("call/inner/go | went"), "{said}");
}

#[test]
fn a_child_that_was_rejected_ends_its_parent_with_exit_code_3() {
    let scene = asking_below();
    let no = as_dba(&scene, &["reject", "last", "--comment", "not on a Friday", "--resume"]);
    assert_eq!(no.code, 0, "{}", no.stderr);
    wait("the end", || !scene.last()["run"]["finished_at"].is_null());
    let show = scene.last();
    assert_eq!((&show["run"]["status"], &show["exit_code"]), (&"failed".into(), &3.into()));
    assert!(step_of(&show, "call")["error"].as_str().unwrap().contains("not on a Friday"), "{show}");
    scene.expect(8, &["resume", "last"]);
    assert_eq!(as_dba(&scene, &["approve", "last"]).code, 0);
    scene.expect(0, &["resume", "last"]);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_pause_of_the_parent_is_on_the_record_of_its_child_and_nothing_begins_there() {
    let scene = Scene::new();
    let dir = scene.path("").display().to_string();
    scene.file(
        "child.yaml",
        format!(
            "steps:\n  - {{id: first, run: \"cd '{dir}'; echo start >> effects; until [ -e go ]; do sleep 0.02; done\"}}\n  \
             - {{id: agree, approve: {{}}}}\n"
        ),
    );
    scene.file("parent.yaml", "steps:\n  - {id: call, runbook: child.yaml}\n");
    let mut run = scene.start(&["run", "parent.yaml"]);
    scene.wait_for("effects", "start");
    scene.expect(0, &["pause", "last", "--reason", "failover"]);
    let child = children(&scene.last())[0]["run"].as_str().unwrap().to_owned();
    let paused = |child: &str| scene.json(&["show", child])["run"]["status"] == "paused";
    wait("the child to be paused", || paused(&child));
    let told = scene.expect(2, &["unpause", &child]).stderr;
    assert!(told.contains("is paused with run") && told.contains("failover"), "{told}");
    scene.file("go", "");
    wait("its first step", || step_of(&scene.json(&["show", &child]), "first")["status"] == "succeeded");
    assert_eq!(step_of(&scene.json(&["show", &child]), "agree")["status"], "ready", "nobody is asked meanwhile");
    kill_9(&mut run);
    scene.expect(0, &["unpause", "last"]);
    assert!(paused(&child), "nobody drives them");
    scene.expect(8, &["resume", "last"]);
    let show = scene.json(&["show", &child]);
    assert_eq!((&show["run"]["status"], &step_of(&show, "agree")["status"]), (&"running".into(), &"waiting".into()));
    let events = show["events"].to_string();
    assert!(events.contains("the run it is a step of is paused: failover") && events.contains("\"with_parent\":true"));
    scene.expect(0, &["approve", "last"]);
    scene.expect(0, &["resume", "last"]);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_for_each_of_twenty_children_runs_three_at_a_time() {
    let scene = Scene::new();
    let dir = scene.path("").display().to_string();
    scene.file(
        "child.yaml",
        format!(
            "params: {{n: {{type: int, required: true}}}}\noutputs: {{twice: '${{{{ params.n * 2 }}}}'}}\nsteps:\n  \
             - {{id: one, run: \"cd '{dir}'; echo + >> effects; sleep 0.1; echo - >> effects; : ${{{{ params.n }}}}\"}}\n"
        ),
    );
    let items: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    scene.file(
        "parent.yaml",
        format!(
            "steps:\n  - id: all\n    for-each: [{}]\n    max-parallel: 3\n    runbook: child.yaml\n    with: {{n: '${{{{ item }}}}'}}\n",
            items.join(", ")
        ),
    );
    scene.expect(0, &["run", "parent.yaml"]);
    let (mut now, mut most) = (0, 0);
    for line in effects(&scene) {
        now += if line == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert!(now == 0 && (1..=3).contains(&most), "{most} at once");
    let twice: Vec<u64> = (0..20).map(|n| n * 2).collect();
    assert_eq!(step_of(&scene.last(), "all")["outputs"]["twice"], Value::from(twice));
}

#[test]
fn pruning_a_parent_takes_its_children_along() {
    let scene = Scene::new();
    scene.file("runbooks/backup.yaml", BACKUP);
    scene.file("runbooks/all.yaml", "steps: [{id: b, runbook: backup, with: {node: a}}]\n");
    for _ in 0..2 {
        scene.expect(0, &["run", "all"]);
    }
    let folders = || fs::read_dir(scene.path("state/runs")).unwrap().count();
    assert_eq!(folders(), 4);
    scene.expect(0, &["db", "prune", "--keep", "1"]);
    assert_eq!((folders(), scene.json(&["runs", "--all"]).as_array().unwrap().len()), (2, 2));
    scene.expect(0, &["audit", "verify"]);
    scene.expect(0, &["db", "check"]);
}
