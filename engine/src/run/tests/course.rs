//! How a run goes: commands that are repeated, failures, late results, generations, deadlines.

use super::*;

#[test]
fn repeated_commands_change_nothing() {
    let mut world = World::new("steps:\n  - id: a\n    run: \"true\"\n");
    let claim =
        Command::Claim { unit: Unit::step(0), claim: "c".into(), session: "s".into(), boot: "b".into(), place: None };
    world.send(claim.clone()).unwrap();
    world.send(claim).unwrap();
    assert_eq!(world.state.live().len(), 1);
    let settle = Command::Settle { claim: "c".into(), report: Box::new(report(Outcome::Succeeded)) };
    world.send(settle.clone()).unwrap();
    let seq = world.state.seq;
    world.send(settle).unwrap();
    assert_eq!((world.state.seq, world.state.status), (seq, RunStatus::Succeeded));
    assert!(matches!(world.send(Command::Resume { from: None, reason: None }), Err(Reject::NotResumable { .. })));
}

#[test]
fn a_failure_stops_the_run_but_running_steps_finish_and_finally_runs() {
    let text = "steps:\n  - {id: a, needs: [], run: \"true\"}\n  - {id: b, needs: [], run: \"true\"}\n  \
                - {id: c, run: \"true\"}\nfinally:\n  - {id: d, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(3), signal: None });
    assert_eq!(world.state.status, RunStatus::Stopping);
    assert!(todo(&world.state).claims.is_empty() && todo(&world.state).kills.is_empty());
    assert_eq!(world.state.step(2).whole.status, StepStatus::Skipped);
    world.settle(0, Outcome::Succeeded);
    assert_eq!(world.state.phase, Phase::Finally);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Failed);
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0), Unit::step(2)], "b succeeded and is kept");
    world.finish();
    assert_eq!((world.state.status, world.state.generation), (RunStatus::Succeeded, 2));
}

#[test]
fn a_late_result_is_recorded_and_changes_nothing() {
    let mut world = World::new("steps:\n  - id: a\n    run: \"true\"\n");
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into(), with: None }).unwrap();
    assert_eq!(Verdict::of(&world.state), Verdict::Unknown);
    world.settle(0, Outcome::Succeeded);
    let settle = Command::Settle { claim: "c1".into(), report: Box::new(report(Outcome::Succeeded)) };
    world.send(settle).unwrap();
    assert!(matches!(world.events.last().unwrap().event, Event::LateResult { .. }));
    assert_eq!(world.state.step(0).whole.status, StepStatus::Lost);
}

#[test]
fn items_of_finally_run_again_in_the_next_generation() {
    let text = "steps:\n  - {id: a, run: \"true\"}\nfinally:\n  - id: z\n    for-each: [x, y]\n    run: \"true\"\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(1), signal: None });
    world.finish();
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    world.finish();
    let starts =
        |item| world.state.unit(Unit::item(1, item)).unwrap().attempts.iter().map(|a| a.no).collect::<Vec<_>>();
    assert_eq!((starts(0), starts(1)), (vec![1, 2], vec![1, 2]));
}

#[test]
fn resolving_as_retry_allows_one_more_start_whatever_retry_says() {
    let text = "steps:\n  - id: a\n    run: \"true\"\n    retry: {attempts: 3, delay: 1ms}\n    on-lost: hold\n";
    let mut world = World::new(text);
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into(), with: None }).unwrap();
    world.send(Command::Resolve { unit: Unit::step(0), resolution: Resolution::Retry, reason: None }).unwrap();
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(1), signal: None });
    assert_eq!(world.state.status, RunStatus::Failed);
    assert_eq!(world.state.step(0).whole.attempts.len(), 2);
}

#[test]
fn a_timeout_of_thousands_of_years_is_only_long() {
    let mut world = World::new("timeout: 106751991167d\nsteps:\n  - {id: a, run: \"true\"}\n");
    world.claim(0);
    assert!(world.state.deadline().is_some());
    world.finish();
}

#[test]
fn a_run_that_waits_for_a_person_has_no_timer() {
    let mut world = World::new("timeout: 1s\nsteps:\n  - {id: a, run: \"true\", on-lost: hold}\n");
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into(), with: None }).unwrap();
    assert!(todo(&world.state).is_idle(&world.state));
    assert_eq!(Verdict::of(&world.state).exit_code(), 8);
}

#[test]
fn failed_and_then_cancelled_counts_as_cancelled() {
    let mut world =
        World::new("steps:\n  - {id: a, needs: [], run: \"true\"}\n  - {id: b, needs: [], run: \"true\"}\n");
    world.claim(0);
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(1), signal: None });
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    world.settle(0, Outcome::Killed);
    assert_eq!((world.state.status, Verdict::of(&world.state).exit_code()), (RunStatus::Failed, 4));
}
