//! Commands that can be given again by somebody who did not hear the answer: `--command-id`.

use crate::harness::{Scene, step_of, wait};

const HOLD: &str = "params: {dir: {type: path, required: true}}\nsteps:\n  \
                    - id: hold\n    run: until test -e \"${{ params.dir }}\"/go; do sleep 0.02; done\n  \
                    - id: after\n    run: echo . >> \"${{ params.dir }}\"/effects\n";

fn held(scene: &Scene) -> String {
    scene.file("book.yaml", HOLD);
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--detach"]).stdout.trim().to_owned()
}

fn events(scene: &Scene, kind: &str) -> usize {
    let show = scene.last();
    show["events"].as_array().unwrap().iter().filter(|event| event["event"]["kind"] == kind).count()
}

#[test]
fn the_same_id_is_the_same_command_whatever_happened_in_between() {
    let scene = Scene::new();
    let run = held(&scene);
    let pause = ["pause", &run, "--reason", "failover", "--command-id", "ticket-17"];
    scene.expect(0, &pause);
    scene.expect(0, &["unpause", &run]);
    let again = scene.expect(0, &pause);
    assert!(again.stdout.contains("with this command id") && again.stdout.contains("it was done"), "{}", again.stdout);
    assert!(scene.last()["paused"].is_null(), "nothing is done again");
    assert_eq!(events(&scene, "run_paused"), 1);
    // What was already so is answered the same way later.
    scene.expect(0, &["unpause", &run, "--command-id", "ticket-18"]);
    scene.expect(0, &["pause", &run]);
    let told = scene.json(&["unpause", &run, "--command-id", "ticket-18"]);
    assert_eq!((&told["changed"], &told["repeated"]["asked"]), (&false.into(), &"unpause".into()));
    assert!(!scene.last()["paused"].is_null());
    let other = scene.expect(2, &["cancel", &run, "--command-id", "ticket-17"]);
    assert!(
        other.stderr.contains("belongs to `pause --reason") && other.stderr.contains("`cancel`"),
        "{}",
        other.stderr
    );
    // What was refused left nothing, and its id is free.
    scene.expect(2, &["retry", &run, "after", "--command-id", "ticket-19"]);
    scene.expect(0, &["skip", &run, "after", "--reason", "later", "--command-id", "ticket-19"]);
    scene.expect(0, &["skip", &run, "after", "--reason", "later", "--command-id", "ticket-19"]);
    scene.expect(0, &["unpause", &run]);
    scene.file("go", "");
    wait("the end", || scene.last()["run"]["status"] == "succeeded");
    assert_eq!(step_of(&scene.last(), "after")["status"], "skipped");
    let given = scene.last()["events"].to_string();
    assert!(given.contains("\"id\":\"ticket-17\"") && given.contains("pause --reason"), "{given}");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_cancel_that_comes_twice_cancels_once_also_after_the_end() {
    let scene = Scene::new();
    let run = held(&scene);
    let cancel = ["cancel", run.as_str(), "--command-id", "c1"];
    scene.expect(0, &cancel);
    wait("the end", || scene.last()["run"]["status"] == "cancelled");
    scene.expect(0, &cancel);
    scene.file("go", "");
    scene.expect(0, &["resume", &run, "--command-id", "r1"]);
    scene.expect(0, &cancel);
    let again = scene.expect(0, &["resume", &run, "--command-id", "r1"]);
    assert!(again.stderr.contains("nothing is done again"), "{}", again.stderr);
    assert_eq!(scene.last()["run"]["generation"], 2);
    assert_eq!((events(&scene, "cancel_requested"), scene.read("effects").as_str()), (1, ".\n"));
}

#[test]
fn of_two_processes_with_one_id_one_does_it_and_both_are_told() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        HOLD.replace("hold\n    run: ", "hold\n    run: test -e \"${{ params.dir }}\"/first || exit 1; "),
    );
    scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    let run = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    scene.file("first", "");
    scene.file("go", "");
    for round in 0..10 {
        let id = format!("round-{round}");
        let codes: Vec<i32> = std::thread::scope(|scope| {
            let ask = || scene.run(&["pause", &run, "--command-id", &id]).code;
            let both = [scope.spawn(ask), scope.spawn(ask)];
            both.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // The run is at its end: nobody can pause it, and neither call leaves a trace.
        assert_eq!(codes, [2, 2]);
    }
    let all = scene.last()["events"].as_array().unwrap().len();
    let resume = ["resume", run.as_str(), "--command-id", "go"];
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let both = [scope.spawn(|| scene.run(&resume).code), scope.spawn(|| scene.run(&resume).code)];
        both.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(codes, [0, 0]);
    assert!(scene.last()["events"].as_array().unwrap().len() > all);
    assert_eq!((events(&scene, "run_resumed"), scene.read("effects").as_str()), (1, ".\n"));
}
