//! How an attempt can end, and what the journal says then.

use nix::sys::signal::{Signal, kill};
use runward_workers::supervisor::client::Event;
use runward_workers::supervisor::journal::{
    AttemptResult, End, Mark, Reported, is_alive, read_mark, read_result, try_void,
};
use runward_workers::supervisor::lease;
use runward_workers::supervisor::protocol::{Launch, Lease, Refusal};
use runward_workers::supervisor::spool::Stream;

use crate::world::*;

#[tokio::test]
async fn an_exit_code_is_what_the_step_said() {
    let mut world = World::new();
    for code in [0, 1, 42, 255] {
        let launch = world.launch(&format!("exit-{code}"), &format!("exit {code}"));
        let result = world.run(&launch).await;
        assert_eq!(result.end, End::Exited { code });
        assert!(result.ended_at_ms >= result.started_at_ms && result.max_rss_kib.is_some_and(|kib| kib > 0));
        assert_eq!(read_mark(&launch.dir).unwrap(), Some(Mark::Started));
        assert!(!is_alive(&launch.dir).unwrap());
    }
}

#[tokio::test]
async fn a_signal_is_not_an_exit_code() {
    let mut world = World::new();
    let result = world.run(&world.launch("signal", "kill -SEGV $$")).await;
    assert_eq!(result.end, End::Signaled { signal: Signal::SIGSEGV as i32 });
    let result = world.run(&world.launch("nameless", "kill -40 $$; sleep 600")).await;
    assert_eq!(result.end, End::Signaled { signal: 40 });
}

#[tokio::test]
async fn a_step_inherits_nothing_but_what_it_is_given() {
    let mut world = World::new();
    let mut launch = world.launch(
        "env",
        "printenv GIVEN; env; umask; ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status; pwd",
    );
    launch.env.push(("GIVEN".into(), "a b\nc".into()));
    world.run(&launch).await;
    let told = String::from_utf8(output(&launch, Stream::Out)).unwrap();
    assert!(told.starts_with("a b\nc\n") && !told.contains("CARGO"), "{told}");
    let umask = std::process::Command::new("sh").args(["-c", "umask"]).output().unwrap().stdout;
    assert!(told.contains(&String::from_utf8(umask).unwrap()), "{told}");
    assert!(told.contains("\n4\n"), "three standard descriptors and the listing: {told}");
    assert!(told.contains("SigBlk:\t0000000000000000\n"), "{told}");
    let ignored = told.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert!(ignored.ends_with("0000000"), "the ordinary signals: {told}");
    assert!(told.ends_with(&format!("{}\n", world.dir.path().display())), "{told}");
}

#[tokio::test]
async fn what_cannot_be_executed_is_explained() {
    let mut world = World::new();
    let not_started = |end| match end {
        End::NotStarted { error, hint } => (error, hint),
        other => panic!("{other:?}"),
    };

    let mut launch = world.launch("no-shell", "true");
    launch.argv[0] = "nosuchshell".into();
    let (error, hint) = not_started(world.run(&launch).await.end);
    assert!(error.starts_with("nosuchshell: no such program in PATH=") && hint.contains("install"), "{error} {hint}");

    let mut launch = world.launch("no-cwd", "true");
    launch.cwd = world.path("vanished");
    let (error, hint) = not_started(world.run(&launch).await.end);
    assert!(error.contains("vanished") && hint.contains("cwd"), "{error} {hint}");

    let script = world.path("script");
    std::fs::write(&script, "#!/nosuch/interpreter\n").unwrap();
    let mut launch = world.launch("not-executable", "true");
    launch.argv = vec![script.display().to_string()];
    let (_, hint) = not_started(world.run(&launch).await.end);
    assert!(hint.contains("chmod"), "{hint}");

    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    launch = runward_workers::supervisor::protocol::Launch {
        attempt: "no-interpreter".into(),
        dir: world.launch("no-interpreter", "").dir,
        ..launch
    };
    let (error, _) = not_started(world.run(&launch).await.end);
    assert!(error.contains("interpreter"), "{error}");
}

/// Runs it until it was ready before its timeout: its result, what it printed, and the timeout.
async fn timed_out_when_ready(script: &str, grace_ms: u64) -> (AttemptResult, Vec<u8>, u64) {
    let mut world = World::new();
    for timeout_ms in TIMEOUTS_MS {
        let mut launch = world.launch(&format!("after-{timeout_ms}"), script);
        (launch.timeout_ms, launch.grace_ms) = (timeout_ms, grace_ms);
        let result = world.run(&launch).await;
        let printed = output(&launch, Stream::Out);
        if printed.starts_with(b"ready\n") {
            return (result, printed, timeout_ms);
        }
    }
    panic!("it was never ready");
}

#[tokio::test]
async fn a_timeout_asks_first_and_keeps_what_the_step_answered() {
    let script = "trap 'echo cleaning; exit 9' TERM; echo ready; sleep 600 & wait";
    let (result, printed, _) = timed_out_when_ready(script, 10_000).await;
    assert_eq!(result.end, End::TimedOut { reported: Some(Reported::Exited { code: 9 }) });
    assert_eq!(printed, b"ready\ncleaning\n");
}

#[tokio::test]
async fn a_step_that_ignores_term_is_killed_after_its_grace() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let (result, _, timeout_ms) = timed_out_when_ready(script, 200).await;
    assert_eq!(result.end, End::TimedOut { reported: Some(Reported::Signaled { signal: Signal::SIGKILL as i32 }) });
    assert!(result.ended_at_ms - result.started_at_ms >= timeout_ms + 200);
}

#[tokio::test]
async fn a_second_request_to_kill_shortens_the_grace() {
    let mut world = World::new();
    let ready = world.path("ready");
    let script = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.05; done", ready.display());
    let launch = world.launch("killed", &script);
    world.requests.start(launch.clone()).unwrap();
    pid_in(&ready);
    world.requests.kill("killed", 3_600_000).unwrap();
    world.requests.kill("killed", 10).unwrap();
    let result = world.ended(&launch).await;
    assert_eq!(result.end, End::Killed { reported: Some(Reported::Signaled { signal: Signal::SIGKILL as i32 }) });
}

#[tokio::test]
async fn what_may_not_start_is_refused_with_its_reason() {
    let mut world = World::new();
    let refused = |name: &str, reason| Event::Refused { attempt: name.into(), reason };

    let void = world.launch("void", "true");
    assert_eq!(try_void(&void.dir).unwrap(), Mark::Void);
    world.requests.start(void).unwrap();
    assert_eq!(world.event().await, refused("void", Refusal::Void));

    let once = world.launch("once", "true");
    world.run(&once).await;
    world.requests.start(once).unwrap();
    assert_eq!(world.event().await, refused("once", Refusal::AlreadyStarted));

    let mut other = world.launch("other", "true");
    other.boot = "yesterday".into();
    world.requests.start(other).unwrap();
    assert_eq!(world.event().await, refused("other", Refusal::OtherBoot));

    let gone = world.launch("gone", "true");
    std::fs::remove_file(gone.dir.with_extension("claimed")).unwrap();
    world.requests.start(gone).unwrap();
    assert!(matches!(world.event().await, Event::Refused { reason: Refusal::Directory(_), .. }));
}

#[tokio::test]
async fn of_start_and_void_at_the_same_time_exactly_one_wins() {
    let mut world = World::new();
    let (mut started, mut voided) = (0, 0);
    for round in 0..40 {
        let launch = world.launch(&format!("race-{round}"), "true");
        let mut judge = std::process::Command::new(HOST);
        let judge = judge.arg("void").arg(&launch.dir).stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(round * 60)); // the race is run at different distances
        world.requests.start(launch.clone()).unwrap();
        let event = world.event().await;
        let said = String::from_utf8(judge.wait_with_output().unwrap().stdout).unwrap();
        match event {
            Event::Ended { .. } => started += 1,
            _ => voided += 1,
        }
        let expected = if matches!(event, Event::Ended { .. }) { "Started\n" } else { "Void\n" };
        assert_eq!(said, expected, "{event:?}");
    }
    println!("started {started}, void {voided}");
}

/// Nobody ends it but who is told to.
const STAYS: &str = "while :; do sleep 0.01; done";

fn for_so_long(left_ms: u64, strict: bool) -> Option<Lease> {
    Some(Lease { until_ms: lease::now_ms() + left_ms, strict })
}

fn with_lease(world: &World, name: &str, left_ms: u64) -> Launch {
    Launch { lease: for_so_long(left_ms, true), ..world.launch(name, STAYS) }
}

#[tokio::test]
async fn an_attempt_whose_lease_is_over_is_ended_even_where_its_supervisor_hangs() {
    let mut world = World::new();
    for left_ms in TIMEOUTS_MS {
        let launch = with_lease(&world, &format!("strict-{left_ms}"), left_ms);
        world.requests.start(launch.clone()).unwrap();
        if too_late(&mut world, &launch).await {
            continue;
        }
        let supervisor = nix::unistd::Pid::from_raw(world.supervisor_pid());
        kill(supervisor, Signal::SIGSTOP).unwrap();
        let result = until("its end", || read_result(&launch.dir, &launch.boot).unwrap());
        assert!(matches!(result.end, End::LeaseOver { .. }), "{result:?}");
        kill(supervisor, Signal::SIGCONT).unwrap();
        assert_eq!(world.event().await, Event::Ended { attempt: launch.attempt });
        return;
    }
    panic!("it had no turn to start in time");
}

/// Whether the machine was too busy to start it in time; else it has started.
async fn too_late(world: &mut World, launch: &Launch) -> bool {
    let moment = std::time::Duration::from_millis(1);
    while read_mark(&launch.dir).unwrap() != Some(Mark::Started) {
        if tokio::time::timeout(moment, world.events.next_event()).await.is_ok() {
            return true; // it was refused
        }
    }
    false
}

#[tokio::test]
async fn more_time_keeps_the_attempt_that_gets_it_and_no_other() {
    let mut world = World::new();
    world.requests.list().unwrap();
    assert_eq!(world.event().await, Event::Live { attempts: vec![] }, "it has said that it knows leases");
    for left_ms in TIMEOUTS_MS {
        let [kept, other] = ["kept", "other"].map(|name| with_lease(&world, &format!("{name}-{left_ms}"), left_ms));
        world.requests.start(kept.clone()).unwrap();
        world.requests.lease(&kept.attempt, lease::now_ms() + 3_600_000).unwrap();
        world.requests.lease(&kept.attempt, 1).unwrap(); // never shortens it
        world.requests.lease("nobody", 1).unwrap();
        world.requests.start(other.clone()).unwrap();
        let first = world.event().await;
        if first != (Event::Ended { attempt: other.attempt.clone() }) {
            world.event().await; // no turn before its time was over: of one or both
            continue;
        }
        assert!(matches!(result(&other).end, End::LeaseOver { .. }));
        std::thread::sleep(std::time::Duration::from_millis(left_ms)); // longer than what it had at first
        world.requests.list().unwrap();
        assert_eq!(world.event().await, Event::Live { attempts: vec![kept.attempt.clone()] });
        world.requests.kill(&kept.attempt, 10_000).unwrap();
        assert!(matches!(world.ended(&kept).await.end, End::Killed { .. }));
        return;
    }
    panic!("it got no more time");
}

#[tokio::test]
async fn a_step_that_ignores_term_does_not_outlive_its_lease_by_its_own_grace() {
    let mut world = World::new();
    for left_ms in TIMEOUTS_MS {
        let deaf = world.launch(&format!("deaf-{left_ms}"), "trap '' TERM; while :; do sleep 0.01; done");
        let launch = Launch { lease: for_so_long(left_ms, true), grace_ms: 3_600_000, ..deaf };
        world.requests.start(launch.clone()).unwrap();
        if let Event::Ended { .. } = world.event().await {
            assert!(matches!(result(&launch).end, End::LeaseOver { .. }));
            return;
        }
    }
    panic!("it had no turn to start in time");
}

#[tokio::test]
async fn the_word_of_a_worker_that_hung_too_long_starts_nothing() {
    let mut world = World::new();
    for strict in [true, false] {
        let launch = world.launch(&format!("late-{strict}"), "true");
        let launch = Launch { lease: for_so_long(0, strict), ..launch };
        world.requests.start(launch.clone()).unwrap();
        let reason = Refusal::TooLate;
        assert_eq!(world.event().await, Event::Refused { attempt: launch.attempt.clone(), reason });
        assert_eq!(try_void(&launch.dir).unwrap(), Mark::Void, "it never started, and that can be proven");
    }
}

#[tokio::test]
async fn an_attempt_that_may_live_without_its_worker_is_not_ended_when_its_lease_is_over() {
    let mut world = World::new();
    for left_ms in TIMEOUTS_MS {
        let launch = world.launch(&format!("detached-{left_ms}"), STAYS);
        let launch = Launch { lease: for_so_long(left_ms, false), ..launch };
        world.requests.start(launch.clone()).unwrap();
        if too_late(&mut world, &launch).await {
            continue;
        }
        std::thread::sleep(std::time::Duration::from_millis(left_ms)); // its lease is over
        world.requests.kill(&launch.attempt, 10_000).unwrap();
        assert!(matches!(world.ended(&launch).await.end, End::Killed { .. }));
        return;
    }
    panic!("it had no turn to start in time");
}
