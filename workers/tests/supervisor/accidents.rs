//! Somebody dies who should not: the end is known nevertheless, and no process stays behind.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use runward_workers::supervisor::client::{Event, Gone, Supervisor};
use runward_workers::supervisor::journal::{self, End};

use crate::world::*;

const TREE: &str = "(setsid bash -c 'trap \"\" TERM HUP; setsid sleep 600 & echo $! > ../NAME.pid; sleep 600' &) ; cd NAME; echo $PPID > subreaper.pid; sleep 600";

fn tree(world: &World, name: &str) -> runward_workers::supervisor::protocol::Launch {
    world.launch(name, &TREE.replace("../NAME", name).replace("NAME", name))
}

#[tokio::test]
async fn when_the_supervisor_is_killed_every_tree_goes_and_the_journal_says_so() {
    let mut world = World::new();
    let launches = ["a", "b"].map(|name| tree(&world, name));
    let mut grandchildren = Vec::new();
    for launch in &launches {
        world.requests.start(launch.clone()).unwrap();
        grandchildren.push(pid_in(&world.path(&format!("{}.pid", launch.attempt))));
        pid_in(&launch.dir.join("subreaper.pid"));
    }
    kill(world.supervisor_pid(), Signal::SIGKILL);
    assert_eq!(world.event().await, Event::Gone { reason: Gone::Closed });
    for launch in &launches {
        assert!(journal::wait_until_dead(&launch.dir, Duration::from_secs(30)).unwrap());
        assert_eq!(result(launch).end, End::Interrupted);
    }
    assert!(grandchildren.into_iter().all(|pid| !is_alive(pid)));

    let again = Supervisor::spawn(std::path::Path::new(HOST), &world.home()).unwrap();
    (world.requests, world.events) = (again.requests, again.events);
    let next = world.launch("next", "true");
    assert_eq!(world.run(&next).await.end, End::Exited { code: 0 }, "the directory can be used again");
}

#[tokio::test]
async fn when_a_subreaper_is_killed_its_tree_goes_and_no_other() {
    let mut world = World::new();
    let (victim, other) = (tree(&world, "victim"), tree(&world, "other"));
    world.requests.start(victim.clone()).unwrap();
    world.requests.start(other.clone()).unwrap();
    let [gone, stays] = ["victim.pid", "other.pid"].map(|name| pid_in(&world.path(name)));
    kill(pid_in(&victim.dir.join("subreaper.pid")), Signal::SIGKILL);
    assert_eq!(world.ended(&victim).await.end, End::Interrupted);
    assert!(!is_alive(gone) && is_alive(stays));
    world.requests.list().unwrap();
    assert_eq!(world.event().await, Event::Live { attempts: vec!["other".into()] });
    world.requests.kill("other", 0).unwrap();
    assert!(matches!(world.ended(&other).await.end, End::Killed { .. }));
    assert!(!is_alive(stays));
}

#[tokio::test]
async fn when_the_driver_is_killed_the_step_goes_on_and_the_next_driver_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let launch =
        launch(dir.path(), "step", "echo $PPID > subreaper.pid; while [ ! -e go ]; do sleep 0.01; done; echo done");
    let mut driver = Command::new(HOST)
        .args(["drive", home(dir.path()).to_str().unwrap(), &serde_json::to_string(&launch).unwrap()])
        .spawn()
        .unwrap();
    let subreaper = pid_in(&dir.path().join("subreaper.pid"));
    driver.kill().unwrap();
    driver.wait().unwrap();

    let Supervisor { requests, mut events } = Supervisor::connect(&home(dir.path())).await.unwrap();
    requests.list().unwrap();
    assert_eq!(events.next_event().await, Event::Live { attempts: vec!["step".into()] });
    assert!(is_alive(subreaper) && journal::is_alive(&launch.dir).unwrap());
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(events.next_event().await, Event::Ended { attempt: "step".into() });
    assert_eq!(result(&launch).end, End::Exited { code: 0 });
}

#[tokio::test]
async fn signals_of_a_lost_terminal_or_a_stopped_service_change_nothing() {
    let mut world = World::new();
    let launch = world.launch("step", "echo $PPID > subreaper.pid; while [ ! -e go ]; do sleep 0.01; done");
    world.requests.start(launch.clone()).unwrap();
    let (supervisor, subreaper) = (world.supervisor_pid(), pid_in(&world.path("subreaper.pid")));
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE, Signal::SIGQUIT] {
        kill(supervisor, signal);
        kill(subreaper, signal);
    }
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(world.ended(&launch).await.end, End::Exited { code: 0 });
}

#[tokio::test]
async fn a_kill_of_an_attempt_that_fell_is_answered_when_nothing_of_it_is_left() {
    let mut world = World::new();
    let launch = tree(&world, "victim");
    world.requests.start(launch.clone()).unwrap();
    let grandchild = pid_in(&world.path("victim.pid"));
    let subreaper = pid_in(&launch.dir.join("subreaper.pid"));
    let supervisor = world.supervisor_pid();
    kill(supervisor, Signal::SIGSTOP);
    kill(subreaper, Signal::SIGKILL);
    world.requests.kill("victim", 0).unwrap();
    kill(supervisor, Signal::SIGCONT);
    assert_eq!(world.event().await, Event::Ended { attempt: "victim".into() });
    assert!(!is_alive(grandchild), "whoever hears of the end may start it again");
    assert_eq!(result(&launch).end, End::Interrupted);
}

#[tokio::test]
async fn a_subreaper_that_dies_of_a_signal_without_a_name_is_missed() {
    let mut world = World::new();
    let launch = world.launch("victim", "kill -40 $PPID; sleep 600");
    assert_eq!(world.run(&launch).await.end, End::Interrupted);
}
