//! Two people at once: whatever they ask, one wins, and the other is told who was faster, when, and what to do now.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::harness::{Done, Scene, finish, kill_9, step_of, wait};

/// Enough that both orders come up, on one processor as well.
const ROUNDS: usize = 6;

/// `one` waits for a file `go`, and may fail if there is a file `broken`; each step counts its starts.
const BOOK: &str = "\
params: {dir: {type: path, required: true}}
defaults: {env: {DIR: '${{ params.dir }}'}}
steps:
  - id: one
    run: |
      echo one >> \"$DIR/starts\"
      until test -e \"$DIR/go\"; do sleep 0.01; done
      ! test -e \"$DIR/broken\"
";

fn scene(more: &str) -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", format!("{BOOK}{more}"));
    scene
}

fn start(scene: &Scene, person: &str, args: &[&str]) -> Child {
    let mut command = scene.runward();
    command.env("SUDO_USER", person).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: unfolded(&String::from_utf8_lossy(&output.stderr)),
        stdout_bytes: output.stdout,
    }
}

fn by(scene: &Scene, person: &str, args: &[&str]) -> Done {
    let done = finish(scene.runward().env("SUDO_USER", person).args(args));
    Done { stderr: unfolded(&done.stderr), ..done }
}

/// A report in one line, as it was before it was folded to the width of a page.
fn unfolded(report: &str) -> String {
    report.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Bob and carol, at the same moment; who is started first changes.
fn both(scene: &Scene, round: usize, bob: &[&str], carol: &[&str]) -> (Done, Done) {
    let bob_first = round.is_multiple_of(2);
    let ((first, mine), (second, other)) = match bob_first {
        true => (("bob", bob), ("carol", carol)),
        false => (("carol", carol), ("bob", bob)),
    };
    let (mine, other) = (start(scene, first, mine), start(scene, second, other));
    let (mine, other) = (end(mine), end(other));
    if bob_first { (mine, other) } else { (other, mine) }
}

/// Who, and when.
fn told(text: &str, who: &str) {
    assert!(text.contains(&format!("sudo from {who}")) && text.contains(" at 20"), "{text}");
}

/// A run of the book in the background, in its step `one`.
fn begun(scene: &Scene) -> String {
    let _ = std::fs::remove_file(scene.path("go"));
    let before = scene.read("starts").lines().count();
    let run = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--detach"]).stdout.trim().to_owned();
    wait("its step", || scene.read("starts").lines().count() > before);
    run
}

fn status(scene: &Scene, run: &str) -> String {
    scene.json(&["show", run])["run"]["status"].as_str().unwrap().to_owned()
}

fn over(scene: &Scene, run: &str) -> String {
    wait("the end", || !scene.json(&["show", run])["run"]["finished_at"].is_null());
    status(scene, run)
}

fn count(show: &Value, kind: &str) -> usize {
    show["events"].as_array().unwrap().iter().filter(|event| event["event"]["kind"] == kind).count()
}

#[test]
fn a_cancel_and_the_end_of_the_run_at_the_same_moment_are_one_of_both() {
    let scene = scene("");
    for round in 0..ROUNDS {
        let run = begun(&scene);
        if round.is_multiple_of(2) {
            scene.file("go", "");
        }
        let cancel = start(&scene, "carol", &["cancel", &run, "--reason", "wrong host"]);
        scene.file("go", "");
        let cancel = end(cancel);
        match over(&scene, &run).as_str() {
            "cancelled" => assert_eq!(cancel.code, 0, "{}", cancel.stderr),
            "succeeded" => {
                assert_eq!(cancel.code, 2, "{}", cancel.stdout);
                assert!(cancel.stderr.contains("the run already succeeded at 20"), "{}", cancel.stderr);
                assert!(cancel.stderr.contains("nothing was changed"), "{}", cancel.stderr);
            }
            other => panic!("{other}"),
        }
    }
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_second_cancel_is_no_mistake_and_says_whose_was_the_first() {
    let scene = scene("");
    for round in 0..ROUNDS {
        let run = begun(&scene);
        let why = ["cancel", run.as_str(), "--reason", "wrong host"];
        let (bob, carol) = both(&scene, round, &why, &why);
        assert_eq!((bob.code, carol.code), (0, 0), "{}{}", bob.stderr, carol.stderr);
        assert_eq!(over(&scene, &run), "cancelled");
        let (later, first) = if bob.stdout.contains("already") { (bob, "carol") } else { (carol, "bob") };
        told(&later.stdout, first);
        assert!(later.stdout.contains("wrong host"), "{}", later.stdout);
        assert_eq!(count(&scene.last(), "cancel_requested"), 1);
        // However late it comes, and for programs, too.
        told(&by(&scene, "dora", &["cancel", &run]).stdout, first);
        let json = scene.json(&["cancel", &run]);
        assert_eq!((&json["cancelled"], &json["changed"]), (&true.into(), &false.into()));
        assert!(json["cancel"]["by"].as_str().unwrap().contains(first), "{json}");
    }
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_cancel_whose_driver_died_is_carried_out_by_the_next_one_who_asks() {
    let scene = scene(
        "finally:\n  - {id: last, run: 'until test -e \"$DIR/end\"; do sleep 0.02; done; echo last >> \"$DIR/starts\"'}\n",
    );
    let mut driver = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    scene.wait_for("starts", "one");
    let mut cancel = start(&scene, "bob", &["cancel", "last"]);
    wait("the last step", || step_of(&scene.last(), "last")["status"] == "running");
    kill_9(&mut driver);
    cancel.wait().unwrap();
    scene.file("end", "");
    let again = by(&scene, "carol", &["cancel", "last"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stdout.contains("nobody drove it: cancelled now"), "{}", again.stdout);
    told(&again.stdout, "bob");
    assert_eq!((status(&scene, "last").as_str(), scene.read("starts").as_str()), ("cancelled", "one\nlast\n"));
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_pause_and_the_end_of_the_run_at_the_same_moment_are_one_of_both() {
    let scene = scene("  - {id: two, run: 'echo two >> \"$DIR/starts\"'}\n");
    for round in 0..ROUNDS {
        let run = begun(&scene);
        let before = scene.read("starts").matches("two").count();
        if round.is_multiple_of(2) {
            scene.file("go", "");
        }
        let pause = start(&scene, "carol", &["pause", &run, "--reason", "failover"]);
        scene.file("go", "");
        let pause = end(pause);
        if pause.code == 0 {
            wait("its step", || step_of(&scene.json(&["show", &run]), "one")["status"] == "succeeded");
            let show = scene.json(&["show", &run]);
            // What had begun when the pause came goes on to its end; then the run is over, too.
            let attempts = show["attempts"].as_array().unwrap();
            let begun = attempts.iter().any(|attempt| attempt["unit"] == "two");
            if !begun {
                assert_eq!(show["run"]["status"], "paused", "{show}");
                assert!(show["paused"]["by"].as_str().unwrap().contains("sudo from carol"), "{show}");
                told(&by(&scene, "bob", &["pause", &run]).stdout, "carol");
                assert_eq!(by(&scene, "bob", &["unpause", &run]).code, 0);
                told(&by(&scene, "carol", &["unpause", &run]).stdout, "bob");
            }
        } else {
            assert_eq!(pause.code, 2);
            assert!(pause.stderr.contains("the run already succeeded at 20"), "{}", pause.stderr);
        }
        assert_eq!(over(&scene, &run), "succeeded");
        assert_eq!(scene.read("starts").matches("two").count(), before + 1);
    }
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_skip_and_the_start_of_the_step_at_the_same_moment_are_one_of_both() {
    let scene =
        scene("  - {id: two, run: 'echo two >> \"$DIR/starts\"; until test -e \"$DIR/end\"; do sleep 0.01; done'}\n");
    for round in 0..ROUNDS {
        let _ = std::fs::remove_file(scene.path("end"));
        let run = begun(&scene);
        let before = scene.read("starts").matches("two").count();
        if round.is_multiple_of(2) {
            scene.file("go", "");
        }
        let skip = start(&scene, "carol", &["skip", &run, "two", "--reason", "done by hand"]);
        scene.file("go", "");
        let skip = end(skip);
        if skip.code == 2 {
            assert!(skip.stderr.contains("two is running since 20"), "{}", skip.stderr);
            assert!(skip.stderr.contains("runward cancel"), "{}", skip.stderr);
        }
        scene.file("end", "");
        assert_eq!(over(&scene, &run), "succeeded");
        let show = scene.json(&["show", &run]);
        let (came_to, starts) = (step_of(&show, "two")["status"].clone(), scene.read("starts").matches("two").count());
        match skip.code {
            0 => {
                assert_eq!((came_to, starts), ("skipped".into(), before));
                let again = by(&scene, "bob", &["skip", &run, "two", "--reason", "me too"]);
                assert!(again.stderr.contains("the run already succeeded at 20"), "{}", again.stderr);
            }
            code => assert_eq!((code, came_to, starts), (2, "succeeded".into(), before + 1)),
        }
    }
    scene.expect(0, &["audit", "verify"]);
}

/// A run that failed, and whose next generation waits for the file `go`.
fn failed(scene: &Scene) -> String {
    scene.file("broken", "");
    scene.file("go", "");
    scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    std::fs::remove_file(scene.path("broken")).unwrap();
    std::fs::remove_file(scene.path("go")).unwrap();
    scene.last()["run"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn of_two_who_resume_a_run_one_drives_it_and_the_other_is_told_who_does() {
    let scene = scene("");
    for round in 0..ROUNDS {
        let run = failed(&scene);
        let resume = ["resume", run.as_str()];
        let starts = scene.read("starts").lines().count();
        let (bob, carol) = (start(&scene, "bob", &resume), start(&scene, "carol", &resume));
        wait("its second start", || scene.read("starts").lines().count() > starts);
        // The loser ends while the winner drives.
        let (mut bob, mut carol) = (bob, carol);
        let mut first_to_end = None;
        wait("one of them to be refused", || {
            first_to_end = match (bob.try_wait().unwrap(), carol.try_wait().unwrap()) {
                (Some(_), _) => Some("bob"),
                (_, Some(_)) => Some("carol"),
                _ => None,
            };
            first_to_end.is_some()
        });
        scene.file("go", "");
        let (loser, winner, who) = match first_to_end {
            Some("bob") => (end(bob), end(carol), "carol"),
            _ => (end(carol), end(bob), "bob"),
        };
        assert_eq!((winner.code, loser.code), (0, 2), "round {round}: {}{}", winner.stderr, loser.stderr);
        assert!(loser.stderr.contains("already being driven") && loser.stderr.contains("since 20"), "{}", loser.stderr);
        assert!(loser.stderr.contains(&format!("sudo from {who}")), "{}", loser.stderr);
        assert!(
            loser.stderr.contains("runward logs -f") && loser.stderr.contains("runward cancel"),
            "{}",
            loser.stderr
        );
        let show = scene.json(&["show", &run]);
        assert_eq!((&show["run"]["generation"], count(&show, "run_resumed")), (&2.into(), 1));
        assert_eq!(scene.read("starts").lines().count(), starts + 1);
        let late = by(&scene, "dora", &resume);
        assert_eq!(late.code, 2);
        told(&late.stderr, who);
    }
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn two_who_begin_with_one_command_id_are_one_and_both_end_as_the_run_does() {
    let scene = scene("");
    for (round, verb) in ["resume", "retry", "resume", "retry"].into_iter().enumerate() {
        let run = failed(&scene);
        let mut args = vec![verb, run.as_str()];
        args.extend((verb == "retry").then_some("one"));
        args.extend(["--command-id", "ticket-17"]);
        let starts = scene.read("starts").lines().count();
        let (bob, carol) = (start(&scene, "bob", &args), start(&scene, "carol", &args));
        wait("its second start", || scene.read("starts").lines().count() > starts);
        scene.file("go", "");
        let (bob, carol) = (end(bob), end(carol));
        assert_eq!((bob.code, carol.code), (0, 0), "round {round}: {}{}", bob.stderr, carol.stderr);
        assert!(
            [&bob, &carol].iter().any(|it| it.stderr.contains("nothing is done again")),
            "{}{}",
            bob.stderr,
            carol.stderr
        );
        let show = scene.json(&["show", &run]);
        assert_eq!((&show["run"]["generation"], count(&show, "command_given")), (&2.into(), 1));
        assert_eq!(scene.read("starts").lines().count(), starts + 1);
        assert_eq!(by(&scene, "dora", &args).code, 0, "also much later");
    }
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_run_that_lost_its_driver_is_carried_on_once_by_two_with_one_command_id() {
    let scene = scene("");
    let mut driver = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    scene.wait_for("starts", "one");
    kill_9(&mut driver);
    let resume = ["resume", "last", "--command-id", "ticket-18"];
    let (bob, carol) = (start(&scene, "bob", &resume), start(&scene, "carol", &resume));
    wait("a driver", || !scene.last()["driver_pid"].is_null());
    scene.file("go", "");
    let (bob, carol) = (end(bob), end(carol));
    assert_eq!((bob.code, carol.code), (0, 0), "{}{}", bob.stderr, carol.stderr);
    assert_eq!((scene.read("starts").as_str(), count(&scene.last(), "command_given")), ("one\n", 1));
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_decision_that_comes_twice_with_one_command_id_is_one_voice() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - id: agree\n    approve: {count: 2}\n  - {id: go, run: echo went}\n");
    for round in 0..ROUNDS {
        scene.expect(8, &["run", "book.yaml"]);
        let approve = ["approve", "last", "--comment", "fine", "--command-id", "ticket-19"];
        let (one, two) = (start(&scene, "bob", &approve), start(&scene, "bob", &approve));
        let (one, two) = (end(one), end(two));
        assert_eq!((one.code, two.code), (0, 0), "round {round}: {}{}", one.stderr, two.stderr);
        assert_eq!(count(&scene.last(), "approval_decided"), 1);
        // Somebody else's word is another word, whatever id it carries.
        let other = by(&scene, "carol", &approve);
        assert_eq!(other.code, 2, "{}", other.stdout);
        assert!(other.stderr.contains("the command id belongs to `approve agree"), "{}", other.stderr);
        let no = ["reject", "last", "--comment", "no", "--command-id", "ticket-20"];
        assert_eq!(by(&scene, "carol", &no).code, 0);
        let again = by(&scene, "carol", &no);
        assert!(again.code == 0 && again.stdout.contains("nothing is done again"), "{}{}", again.stdout, again.stderr);
        assert_eq!(by(&scene, "bob", &approve).code, 0, "what was given is answered, however it ended");
        let late = by(&scene, "dora", &["approve", "last"]);
        assert_eq!(late.code, 2);
        told(&late.stderr, "carol");
    }
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn whoever_decides_about_a_cancelled_run_is_told_who_cancelled_it() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - id: agree\n    approve: {}\n  - {id: go, run: echo went}\n");
    scene.expect(8, &["run", "book.yaml"]);
    assert_eq!(by(&scene, "carol", &["cancel", "last", "--reason", "not tonight"]).code, 0);
    for args in [&["approve", "last"][..], &["approve", "last", "agree"], &["pause", "last"]] {
        let late = by(&scene, "bob", args);
        assert_eq!(late.code, 2, "{args:?}");
        told(&late.stderr, "carol");
        assert!(late.stderr.contains("not tonight"), "{}", late.stderr);
    }
}

#[test]
fn a_held_step_is_resolved_once_and_the_second_word_is_told_the_first() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {dir: {type: path, required: true}}\nsteps:\n  - id: hard\n    on-lost: hold\n    run: echo $PPID > \
         \"${{ params.dir }}/pid\"; sleep 600\n  - {id: after, approve: {}}\n",
    );
    for round in 0..ROUNDS {
        let mut run = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
        wait("its process", || scene.read("pid").ends_with('\n'));
        let pid = nix::unistd::Pid::from_raw(scene.read("pid").trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(8));
        std::fs::remove_file(scene.path("pid")).unwrap();
        let fine = ["resolve", "last", "hard", "--as", "succeeded", "--reason", "the table is there"];
        let bad = ["resolve", "last", "hard", "--as", "failed", "--reason", "half of it"];
        let (bob, carol) = both(&scene, round, &fine, &bad);
        let (winner, word, loser) = match bob.code {
            0 => ("bob", "succeeded", carol),
            _ => ("carol", "failed", bob),
        };
        assert_eq!(loser.code, 2, "{}", loser.stdout);
        told(&loser.stderr, winner);
        assert!(loser.stderr.contains(&format!("already resolved as {word}")), "{}", loser.stderr);
        // Who says the same is not wrong.
        let same = by(&scene, "dora", if winner == "bob" { &fine } else { &bad });
        assert_eq!(same.code, 0, "{}", same.stderr);
        told(&same.stdout, winner);
        assert_eq!(count(&scene.last(), "unit_resolved"), 1);
    }
    scene.expect(0, &["audit", "verify"]);
}
