//! A subreaper carries out one attempt after the other, and nothing of one reaches the next.

use nix::sys::signal::Signal;
use runward_engine::runbook::model::Orphans;
use runward_workers::supervisor::client::Event;
use runward_workers::supervisor::journal::{End, Reported, read_mark};

use crate::world::*;

/// The subreaper of an attempt that is over.
async fn keeper(world: &mut World, name: &str) -> i32 {
    let launch = world.launch(name, &format!("echo $PPID > {name}.keeper"));
    assert_eq!(world.run(&launch).await.end, End::Exited { code: 0 });
    pid_in(&world.path(&format!("{name}.keeper")))
}

#[tokio::test]
async fn a_chain_of_steps_needs_one_subreaper() {
    let mut world = World::new();
    let first = keeper(&mut world, "first").await;
    for n in 0..5 {
        assert_eq!(keeper(&mut world, &format!("next{n}")).await, first);
    }
    assert_eq!(children(world.supervisor_pid()), [first]);
}

#[tokio::test]
async fn what_an_attempt_used_is_not_counted_for_the_next() {
    let mut world = World::new();
    let heavy = world
        .launch("heavy", "x=$(head -c 60000000 /dev/zero | tr '\\0' x); i=0; while (( ++i < 200000 )); do :; done");
    let (heavy, light) = (world.run(&heavy).await, world.launch("light", "true"));
    let light = world.run(&light).await;
    assert!(heavy.cpu_ms > Some(50) && heavy.max_rss_kib > Some(60_000), "{heavy:?}");
    assert!(light.cpu_ms < heavy.cpu_ms && light.max_rss_kib < Some(20_000), "{light:?}");
}

#[tokio::test]
async fn a_kill_that_comes_late_does_not_end_the_next_attempt() {
    let mut world = World::new();
    let first = keeper(&mut world, "first").await;
    kill(first, Signal::SIGSTOP);
    let next = world.launch("next", "echo $PPID > next.keeper; while [ ! -e go ]; do sleep 0.01; done");
    world.requests.start(next.clone()).unwrap();
    for _ in 0..3 {
        world.requests.kill("first", 0).unwrap();
        assert_eq!(world.event().await, Event::Ended { attempt: "first".into() });
    }
    kill(first, Signal::SIGCONT);
    assert_eq!(pid_in(&world.path("next.keeper")), first);
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(world.ended(&next).await.end, End::Exited { code: 0 });
}

#[tokio::test]
async fn a_subreaper_that_was_stopped_while_it_waited_is_woken_by_its_next_attempt() {
    let mut world = World::new();
    kill(keeper(&mut world, "first").await, Signal::SIGSTOP);
    let next = world.launch("next", "true");
    assert_eq!(world.run(&next).await.end, End::Exited { code: 0 });
}

#[tokio::test]
async fn a_subreaper_that_is_stopped_while_its_step_runs_is_woken_by_a_kill() {
    let mut world = World::new();
    let launch = world.launch("stopped", "echo $PPID > keeper; sleep 600");
    world.requests.start(launch.clone()).unwrap();
    kill(pid_in(&world.path("keeper")), Signal::SIGSTOP);
    world.requests.kill("stopped", 0).unwrap();
    assert!(matches!(world.ended(&launch).await.end, End::Killed { reported: Some(Reported::Signaled { .. }) }));
}

/// A process whose first thread has ended looks dead from outside, and is not.
#[tokio::test]
async fn a_daemon_that_looks_dead_is_left_alone_by_the_next_attempt() {
    let mut world = World::new();
    let daemon = "import ctypes, os, threading, time\n\
                  threading.Thread(target=lambda: (time.sleep(0.3), open('alive', 'w').close(), time.sleep(600))).start()\n\
                  open('daemon.pid', 'w').write(f'{os.getpid()}\\n')\n\
                  ctypes.CDLL(None).pthread_exit(None)\n";
    std::fs::write(world.path("daemon.py"), daemon).unwrap();
    let script = "setsid python3 daemon.py < /dev/null > /dev/null 2>&1 &\n\
                  until test -e daemon.pid && grep -q 'State:.Z' /proc/$!/status; do sleep 0.01; done";
    let mut leaves = world.launch("leaves", script);
    leaves.orphans = Orphans::Leave;
    assert_eq!(world.run(&leaves).await.end, End::Exited { code: 0 });
    let daemon = pid_in(&world.path("daemon.pid"));
    let next = world.launch("next", "true");
    assert_eq!(world.run(&next).await.end, End::Exited { code: 0 });
    until("a sign of life", || world.path("alive").exists().then_some(()));
    kill(daemon, Signal::SIGKILL);
}

#[tokio::test]
async fn hundreds_of_attempts_leave_nothing_in_the_processes_that_carry_them_out() {
    let mut world = World::new();
    let keeper = keeper(&mut world, "first").await;
    let supervisor = world.supervisor_pid();
    let files = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = (files(keeper), files(supervisor));
    for n in 0..300 {
        let orphans = usize::from(n % 20 == 0);
        let left = ["", "(sleep 600 &)"][orphans];
        let launch = world.launch(&format!("n{n}"), &format!("echo out; echo err >&2; {left}"));
        assert_eq!(world.run(&launch).await.orphans.len(), orphans);
    }
    // The last attempt is told before all of it is put away, as the first one was.
    until("no more open files than before", || {
        (files(keeper) <= before.0 && files(supervisor) <= before.1).then_some(())
    });
    assert_eq!((children(supervisor), children(keeper)), (vec![keeper], Vec::new()));
}

#[tokio::test]
async fn a_subreaper_that_dies_while_it_waits_is_replaced() {
    let mut world = World::new();
    for round in 0..20 {
        let waiting = keeper(&mut world, &format!("before{round}")).await;
        kill(waiting, Signal::SIGKILL);
        // Handed to the dying one and never started, or carried out by another: known in either case.
        let next = world.launch(&format!("next{round}"), "true");
        world.requests.start(next.clone()).unwrap();
        assert_eq!(world.event().await, Event::Ended { attempt: next.attempt.clone() });
        if read_mark(&next.dir).unwrap().is_some() {
            assert_eq!(result(&next).end, End::Exited { code: 0 });
        }
    }
}

#[tokio::test]
async fn when_a_subreaper_is_killed_those_that_wait_stay() {
    let mut world = World::new();
    let victim = world.launch("victim", "echo $PPID > victim.keeper; sleep 600");
    let other = world.launch("other", "echo $PPID > other.keeper; while [ ! -e go ]; do sleep 0.01; done");
    world.requests.start(other.clone()).unwrap();
    world.requests.start(victim.clone()).unwrap();
    let [killed, waits] = ["victim.keeper", "other.keeper"].map(|name| pid_in(&world.path(name)));
    std::fs::write(world.path("go"), "").unwrap();
    world.ended(&other).await;
    kill(killed, Signal::SIGKILL);
    assert_eq!(world.ended(&victim).await.end, End::Interrupted);
    assert!(is_alive(waits));
    assert_eq!(keeper(&mut world, "next").await, waits);
}

#[tokio::test]
async fn when_the_supervisor_is_killed_those_that_wait_go() {
    let mut world = World::new();
    let waits = keeper(&mut world, "first").await;
    kill(world.supervisor_pid(), Signal::SIGKILL);
    until("the end of the subreaper", || (!is_alive(waits)).then_some(()));
}
