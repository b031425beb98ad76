//! Kill means gone: the whole tree of an attempt, and nothing of any other.

use runward_engine::runbook::model::Orphans;
use runward_workers::supervisor::journal::End;
use runward_workers::supervisor::spool::Stream;

use crate::world::*;

/// A grandchild in a session of its own twice over, that ignores TERM; its pid is in `file`.
fn daemon(file: &str) -> String {
    format!(
        "setsid bash -c \"setsid bash -c 'trap \\\"\\\" TERM HUP; echo \\$\\$ > {file}; while :; do sleep 0.05; done' & sleep 600\" &"
    )
}

#[tokio::test]
async fn a_timeout_kills_the_whole_tree_of_this_attempt_only() {
    let mut world = World::new();
    let other = world.launch("other", &format!("{} while [ ! -e go ]; do sleep 0.01; done", daemon("other.pid")));
    world.requests.start(other.clone()).unwrap();
    let other_daemon = pid_in(&world.path("other.pid"));
    for timeout_ms in TIMEOUTS_MS {
        let name = format!("victim-{timeout_ms}");
        let mut victim = world.launch(&name, &format!("{} sleep 600", daemon(&format!("{name}.pid"))));
        (victim.timeout_ms, victim.grace_ms) = (timeout_ms, 200);
        let result = world.run(&victim).await;
        assert!(matches!(result.end, End::TimedOut { .. }), "{result:?}");
        assert_eq!(result.unkillable, []);
        let pid = world.path(&format!("{name}.pid"));
        if std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) {
            assert!(!is_alive(pid_in(&pid)));
            break;
        }
        assert!(timeout_ms != TIMEOUTS_MS[3], "the daemon never had its turn");
    }
    assert!(is_alive(other_daemon));

    std::fs::write(world.path("go"), "").unwrap();
    let result = world.ended(&other).await;
    assert_eq!(result.end, End::Exited { code: 0 });
    assert!(!is_alive(other_daemon), "and what it left behind is gone by default");
    assert!(result.orphans.iter().any(|orphan| orphan.pid == other_daemon), "{result:?}");
}

#[tokio::test]
async fn term_reaches_a_process_in_another_session_and_each_process_once() {
    let mut world = World::new();
    let script =
        "setsid bash -c 'trap \"echo asked; exit\" TERM; echo ready; while :; do sleep 0.02; done' & sleep 600";
    let launch = world.launch("asked", script);
    world.requests.start(launch.clone()).unwrap();
    until("ready", || (output(&launch, Stream::Out) == b"ready\n").then_some(()));
    world.requests.kill("asked", 20_000).unwrap();
    let result = world.ended(&launch).await;
    assert!(matches!(result.end, End::Killed { .. }));
    assert_eq!(output(&launch, Stream::Out), b"ready\nasked\n");
}

#[tokio::test]
async fn two_hundred_children_are_swept() {
    let mut world = World::new();
    let script = "for n in $(seq 200); do (trap '' TERM; setsid sleep 600 & sleep 600) & done; echo all; sleep 600";
    let launch = world.launch("many", script);
    world.requests.start(launch.clone()).unwrap();
    until("all", || (output(&launch, Stream::Out) == b"all\n").then_some(()));
    world.requests.kill("many", 50).unwrap();
    let result = world.ended(&launch).await;
    assert!(matches!(result.end, End::Killed { .. }) && result.unkillable.is_empty(), "{result:?}");
    let [subreaper] = children(world.supervisor_pid())[..] else { panic!("nobody was handed on") };
    assert_eq!(children(subreaper), [0_i32; 0], "nobody stays with it");
}

#[tokio::test]
async fn a_filter_that_ends_with_its_input_is_not_an_orphan() {
    let mut world = World::new();
    for round in 0.. {
        let launch = world.launch(&format!("tee{round}"), "exec > >(sleep 0.03; cat); echo last words");
        let result = world.run(&launch).await;
        assert_eq!(result.end, End::Exited { code: 0 });
        // It has a tenth of a second, and a busy machine may give it no turn in that.
        if result.orphans.is_empty() {
            return assert_eq!(output(&launch, Stream::Out), b"last words\n");
        }
        assert!(round < 100, "{result:?}");
    }
}

#[tokio::test]
async fn a_daemon_left_on_purpose_lives_on_and_holds_up_nobody() {
    let mut world = World::new();
    let mut launch =
        world.launch("leave", "setsid sleep 600 & echo $! > daemon.pid; setsid sleep 601 > /dev/null 2>&1 &");
    launch.orphans = Orphans::Leave;
    let result = world.run(&launch).await;
    let daemon = pid_in(&world.path("daemon.pid"));
    assert_eq!(result.end, End::Exited { code: 0 });
    assert_eq!(result.orphans.len(), 2, "{result:?}");
    let named = result.orphans.iter().find(|orphan| orphan.pid == daemon);
    assert_eq!(named.map(|orphan| orphan.command.as_str()), Some("sleep 600"));
    let supervisor = world.supervisor_pid();
    assert_eq!(children(supervisor), [0_i32; 0], "daemons belong to init");

    // Neither the accident of another attempt nor the end of the supervisor touches them.
    let other = world.launch("other", "echo $PPID > subreaper.pid; sleep 600");
    world.requests.start(other.clone()).unwrap();
    kill(pid_in(&world.path("subreaper.pid")), nix::sys::signal::SIGKILL);
    assert_eq!(world.ended(&other).await.end, End::Interrupted);
    let World { dir: _dir, requests, events } = world;
    drop((requests, events));
    until("the end of the supervisor", || (!is_alive(supervisor)).then_some(()));
    for orphan in result.orphans {
        assert!(is_alive(orphan.pid));
        kill(orphan.pid, nix::sys::signal::SIGKILL);
    }
}
