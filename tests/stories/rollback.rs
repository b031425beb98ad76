//! A run that fails takes back what it did: the last step first, each undo once, whatever crashes.

use crate::harness::{Scene, kill_9, step_of, wait};

/// Three stages, the third of which fails; each writes down what it does.
const DEPLOY: &str = "\
name: deploy
params: {dir: {type: path, required: true}}
defaults: {env: {DIR: '${{ params.dir }}'}}
steps:
  - id: unpack
    run: echo unpack >> \"$DIR/effects\"; echo at=one >> \"$RUNWARD_OUTPUT\"
    undo: echo \"undo unpack ${{ steps.unpack.outputs.at }}\" >> \"$DIR/effects\"
  - id: switch
    run: echo switch >> \"$DIR/effects\"
    undo: |
      echo 'undo switch' >> \"$DIR/effects\"
      until test -e \"$DIR/go\"; do sleep 0.05; done
      test ! -e \"$DIR/stuck\"
  - id: verify
    run: test -e \"$DIR/fine\"
finally:
  - run: echo \"finally ${{ run.status }} ${{ run.rollback }}\" >> \"$DIR/effects\"
";

const TAKEN_BACK: &str = "unpack\nswitch\nundo switch\nundo unpack one\nfinally failed done\n";

fn deploy() -> (Scene, String) {
    let scene = Scene::new();
    scene.file("deploy.yaml", DEPLOY);
    let dir = format!("dir={}", scene.path("").display());
    (scene, dir)
}

#[test]
fn a_deploy_whose_third_stage_fails_is_taken_back_from_the_second_on() {
    let (scene, dir) = deploy();
    scene.file("go", "");
    let done = scene.expect(6, &["run", "deploy.yaml", "-p", &dir]);
    assert_eq!(scene.read("effects"), TAKEN_BACK);
    for line in ["↩ rolling back: switch, unpack", "▶ switch.undo", "✓ unpack.undo", "deploy failed, rolled back"]
    {
        assert!(done.stdout.contains(line), "{line}:\n{}", done.stdout);
    }
    let show = scene.last();
    assert_eq!((&show["run"]["rollback"], &show["exit_code"]), (&"done".into(), &6.into()));
    assert_eq!(step_of(&show, "switch")["status"], "undone");
    assert_eq!(step_of(&show, "switch.undo")["status"], "succeeded");
    assert!(scene.expect(0, &["runs"]).stdout.contains("failed (rolled back)"));
    assert!(scene.expect(0, &["graph", "last"]).stdout.contains("undo succeeded"));
    scene.file("fine", "");
    scene.expect(0, &["resume", "last"]);
    let again = format!("{TAKEN_BACK}unpack\nswitch\nfinally succeeded none\n");
    assert_eq!(scene.read("effects"), again, "what was taken back is done again");
    let no = scene.expect(2, &["rollback", "last"]).stderr;
    assert!(no.contains("the run is succeeded"), "{no}");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn an_undo_that_fails_makes_the_rollback_partial_and_the_others_go_on() {
    let (scene, dir) = deploy();
    scene.file("go", "");
    scene.file("stuck", "");
    let done = scene.expect(7, &["run", "deploy.yaml", "-p", &dir]).stdout;
    assert!(done.contains("not taken back: switch") && done.contains("switch.undo --as"), "{done}");
    assert_eq!(scene.read("effects"), TAKEN_BACK.replace("done", "partial"));
    assert_eq!(scene.last()["run"]["rollback"], "partial");
    let resume = scene.expect(2, &["resume", "last"]).stderr;
    assert!(resume.contains("the undo of switch failed"), "{resume}");
    std::fs::remove_file(scene.path("stuck")).unwrap();
    scene.expect(0, &["resolve", "last", "switch.undo", "--as", "retry", "--reason", "freed"]);
    scene.expect(6, &["resume", "last"]);
    assert_eq!(scene.read("effects").matches("undo switch").count(), 2, "{}", scene.read("effects"));
    assert_eq!(scene.read("effects").matches("undo unpack").count(), 1);
    scene.file("fine", "");
    scene.expect(0, &["resume", "last"]);
}

#[test]
fn a_rollback_whose_driver_is_killed_is_completed_and_each_undo_runs_once() {
    let (scene, dir) = deploy();
    let mut driver = scene.start(&["run", "deploy.yaml", "-p", &dir]);
    scene.wait_for("effects", "undo switch");
    kill_9(&mut driver);
    for _ in 0..3 {
        let mut again = scene.start(&["resume", "last"]);
        scene.wait_for("started.out", "switch.undo still runs");
        kill_9(&mut again);
    }
    assert_eq!(scene.last()["run"]["status"], "rolling_back");
    scene.file("go", "");
    scene.expect(6, &["resume", "last"]);
    assert_eq!(scene.read("effects"), TAKEN_BACK);
}

#[test]
fn a_second_cancel_stops_a_rollback_and_the_rest_can_be_taken_back_later() {
    let (scene, dir) = deploy();
    let mut driver = scene.start(&["run", "deploy.yaml", "-p", &dir]);
    scene.wait_for("effects", "undo switch");
    scene.expect(0, &["cancel", "last"]);
    assert_eq!(scene.last()["run"]["status"], "rolling_back", "the first is noted");
    scene.expect(0, &["cancel", "last", "--reason", "enough"]);
    assert_eq!(driver.wait().unwrap().code(), Some(7));
    assert_eq!(scene.read("effects"), "unpack\nswitch\nundo switch\nfinally failed partial\n");
    scene.file("go", "");
    scene.expect(6, &["rollback", "last", "--reason", "it has to go"]);
    assert!(scene.read("effects").ends_with("undo switch\nundo unpack one\nfinally failed done\n"));
}

#[test]
fn a_cancel_takes_back_what_it_is_told_to_and_a_person_can_ask_for_it_at_the_end() {
    let (scene, dir) = deploy();
    scene.file("go", "");
    scene.file("slow.yaml", DEPLOY.replace("test -e \"$DIR/fine\"", "echo slow >> \"$DIR/effects\"; sleep 60"));
    for (args, code, told) in [(&["--rollback"][..], 6, "cancelled and rolled back"), (&[], 4, "cancelled")] {
        let mut driver = scene.start(&["run", "slow.yaml", "-p", &dir]);
        scene.wait_for("effects", "slow");
        let cancel = scene.expect(0, &[&["cancel", "last"], args].concat()).stdout;
        assert_eq!(driver.wait().unwrap().code(), Some(code), "{told}: {cancel}");
        assert_eq!(scene.read("effects").contains("undo unpack"), code == 6);
        std::fs::remove_file(scene.path("effects")).unwrap();
    }
    scene.expect(6, &["rollback", "last"]);
    assert_eq!(scene.read("effects"), "undo switch\nundo unpack one\nfinally cancelled done\n");
}

#[test]
fn where_a_person_is_asked_the_run_waits_for_an_answer() {
    for (answer, code, effects) in [("rollback", 6, "undo unpack"), ("cancel", 0, "finally failed none")] {
        let (scene, dir) = deploy();
        scene.file("go", "");
        scene.file("ask.yaml", format!("{DEPLOY}on-failure: {{rollback: ask}}\n"));
        let asked = scene.expect(8, &["run", "ask.yaml", "-p", &dir]).stdout;
        assert!(asked.contains("runward rollback"), "{asked}");
        assert_eq!(scene.read("effects"), "unpack\nswitch\n", "nothing is taken back, nor does finally run");
        assert!(scene.expect(0, &["show", "last"]).stdout.contains("runward rollback"));
        scene.expect(code, &[answer, "last"]);
        assert!(scene.read("effects").contains(effects), "{answer}: {}", scene.read("effects"));
    }
}

#[test]
fn each_item_is_taken_back_with_its_own_values_and_logs() {
    let scene = Scene::new();
    scene.file(
        "x.yaml",
        "steps:\n  - id: up\n    for-each: [a, b, c]\n    max-parallel: 1\n    run: test ${{ item }} != c; echo v=${{ item }}${{ index }} >> $RUNWARD_OUTPUT\n    \
         undo: echo back ${{ item }} ${{ index }} ${{ steps.up.outputs.v }}\n  - {id: never, run: 'true'}\n",
    );
    let done = scene.expect(6, &["run", "x.yaml"]).stdout;
    let (b, a) = (done.find("up[1].undo | back b 1 b1"), done.find("up[0].undo | back a 0 a0"));
    assert!(b.is_some() && b < a, "{done}");
    assert!(!done.contains("up[2].undo"), "{done}");
    assert!(scene.expect(0, &["logs", "last", "up[1].undo"]).stdout.contains("back b 1 b1"));
    let json = scene.expect(0, &["logs", "last", "up", "--format", "json"]).stdout;
    assert!(json.contains("up[0].undo"), "{json}");
    let unknown = scene.expect(2, &["logs", "last", "up[7].undo"]).stderr;
    assert!(unknown.contains("no step `up[7].undo`"), "{unknown}");
}

#[test]
fn what_cannot_be_taken_back_is_said_before_and_after() {
    let scene = Scene::new();
    scene.file(
        "x.yaml",
        "steps:\n  - {id: mail, run: 'true', irreversible: true}\n  - {id: move, run: 'true', undo: 'true'}\n  - {id: bad, run: 'false'}\n",
    );
    let plan = scene.expect(0, &["plan", "x.yaml"]).stdout;
    assert!(plan.contains("! irreversible") && plan.contains("can be taken back"), "{plan}");
    let done = scene.expect(6, &["run", "x.yaml"]).stdout;
    assert!(done.contains("cannot be taken back: mail"), "{done}");
    scene.file(
        "y.yaml",
        "steps:\n  - {run: 'true', irreversible: true, undo: 'true'}\nfinally:\n  - {run: x, undo: y}\n",
    );
    let wrong = scene.expect(2, &["validate", "y.yaml"]).stderr;
    assert!(wrong.contains("nothing can take back") && wrong.contains("never taken back"), "{wrong}");
}

#[test]
fn running_steps_end_where_the_runbook_does_not_want_to_wait() {
    let scene = Scene::new();
    scene.file(
        "x.yaml",
        "steps:\n  - {id: slow, needs: [], run: sleep 600, grace: 0s}\n  - {id: bad, needs: [], run: 'false'}\non-failure: {running: kill}\n",
    );
    scene.expect(1, &["run", "x.yaml"]);
    wait("the record", || step_of(&scene.last(), "slow")["status"] == "cancelled");
}
