//! A state folder that somebody has copied: two workers with one name, whose journals know different things.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, EFFECTS, Member, WAITS};
use crate::harness::{finish, wait};

/// The state folder of a member, and all of what is in it, once more.
fn copy(cluster: &Cluster, of: &str, to: &str) {
    let copied = Command::new("cp").arg("-a").args([cluster.state(of), cluster.state(to)]).status();
    assert!(copied.expect("cp starts").success());
}

/// What was said, whatever lines it was broken into.
fn unwrapped(said: &str) -> String {
    said.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn a_copy_of_a_state_folder_is_refused_and_calls_nothing_lost() {
    // At the real pace: an original that is held up for a moment is waited for.
    let cluster = Cluster::new();
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n{WAITS}"));
    let first = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("effects", "a");
    copy(&cluster, "alpha", "beta");
    let second = finish(cluster.runward().env("RUNWARD_STATE", cluster.state("beta")).args(["worker"]));
    assert_eq!(second.code, 2, "{}", second.stderr);
    let words = format!("of the member alpha (process {}) are copies of one", first.process.id());
    let said = unwrapped(&second.stderr);
    assert!(said.contains(&words) && said.contains("--state"), "{}", second.stderr);
    cluster.scene.file("go", "");
    let show = cluster.wait_for_end(&run);
    assert_eq!(show["run"]["status"], "succeeded", "{}", cluster.logs());
    assert_eq!(cluster.scene.read("effects"), "a\n", "started once");
}

#[test]
fn of_two_copies_that_start_at_the_same_moment_one_stays() {
    let cluster = Cluster::new().fast();
    cluster.worker("alpha", &[]).end();
    copy(&cluster, "alpha", "beta");
    let mut both = ["alpha", "beta"].map(|name| cluster.member("worker", name, &[]));
    let ended = |both: &mut [Member; 2]| both.iter_mut().position(|it| it.process.try_wait().expect("ours").is_some());
    wait(&format!("one of them to give way\n{}", cluster.logs()), || ended(&mut both).is_some());
    let gone = ended(&mut both).expect("it has");
    assert_eq!(both[gone].process.wait().expect("it ended").code(), Some(2), "{}", cluster.logs());
    assert!(unwrapped(&cluster.scene.read(&both[gone].log)).contains("are copies of one"), "{}", cluster.logs());
    cluster.scene.file("x.yaml", "steps:\n  - {id: a, run: echo one}\n");
    cluster.expect(0, &["run", "x.yaml"]);
    assert!(both[1 - gone].process.try_wait().expect("ours").is_none(), "{}", cluster.logs());
}

#[test]
fn who_was_away_while_a_copy_took_its_place_does_not_come_back_beside_it() {
    let cluster = Cluster::new().fast();
    let first = cluster.worker("alpha", &[]);
    copy(&cluster, "alpha", "beta");
    let _server = cluster.member("server", "sam", &[]);
    first.signal(Signal::SIGSTOP);
    wait(&format!("alpha to be taken for dead\n{}", cluster.logs()), || {
        cluster.scene.read("sam.log").contains("it is taken for dead")
    });
    let _copy = cluster.worker("beta", &[]);
    first.signal(Signal::SIGCONT);
    let log = first.log.clone();
    assert_eq!(first.wait(), 2, "{}", cluster.logs());
    assert!(unwrapped(&cluster.scene.read(&log)).contains("are copies of one"), "{}", cluster.logs());
    cluster.scene.file("x.yaml", "steps:\n  - {id: a, run: echo one}\n");
    cluster.expect(0, &["run", "x.yaml"]);
}
