//! Pause, skip, retry and resume: what people do to a run.

use super::*;

#[test]
fn a_paused_run_finishes_what_runs_and_starts_nothing_not_even_finally() {
    let mut world = World::new(CHAIN);
    world.claim(0);
    world.send(Command::Pause { reason: Some("failover".into()) }).unwrap();
    assert_eq!(world.state.status, RunStatus::Paused);
    assert!(
        matches!(world.send(Command::Pause { reason: None }), Err(Reject::AlreadyPaused { was }) if was.by == "tester")
    );
    world.settle(0, Outcome::Succeeded);
    assert!(todo(&world.state).claims.is_empty() && !todo(&world.state).is_idle(&world.state));
    let claim =
        Command::Claim { unit: Unit::step(1), claim: "x".into(), session: "s".into(), boot: "b".into(), place: None };
    assert!(matches!(world.send(claim), Err(Reject::Paused { .. })));
    world.send(Command::Unpause).unwrap();
    assert!(matches!(world.send(Command::Unpause), Err(Reject::NotPaused { last: Some(_) })));
    assert_eq!(world.state.status, RunStatus::Running);
    world.claim(0);
    world.send(Command::Pause { reason: None }).unwrap();
    world.settle(0, FAILED);
    assert_eq!((world.state.status, world.state.phase), (RunStatus::Paused, Phase::Main), "`finally` waits, too");
    world.send(Command::Unpause).unwrap();
    assert_eq!((world.state.status, world.state.phase), (RunStatus::Stopping, Phase::Finally));
}

#[test]
fn a_cancel_ends_a_pause_and_finally_runs() {
    let mut world = World::new(CHAIN);
    world.send(Command::Pause { reason: None }).unwrap();
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(3)]);
    assert!(matches!(world.send(Command::Pause { reason: None }), Err(Reject::BeingCancelled { .. })));
    world.finish();
    assert_eq!(world.state.status, RunStatus::Cancelled);
}

#[test]
fn the_time_of_a_run_goes_on_during_a_pause() {
    let mut world = World::new("timeout: 1s\nsteps:\n  - {id: a, run: \"true\"}\n  - {id: b, run: \"true\"}\n");
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.send(Command::Pause { reason: None }).unwrap();
    assert!(todo(&world.state).wake_at.is_some());
    world.now += 2_000;
    world.send(Command::Wake).unwrap();
    assert_eq!(world.state.status, RunStatus::TimedOut);
}

#[test]
fn a_step_is_skipped_when_its_turn_comes_and_not_before() {
    let mut world = World::new(CHAIN);
    world.claim(0);
    assert!(matches!(world.skip(0), Err(Reject::Running { .. })));
    world.skip(1).unwrap();
    assert!(matches!(world.skip(1), Err(Reject::AlreadySkipped { .. })));
    assert_eq!((world.status(1), world.status(2)), (StepStatus::Pending, StepStatus::Pending), "`a` still runs");
    world.settle(0, Outcome::Succeeded);
    assert_eq!((world.status(1), world.status(2)), (StepStatus::Skipped, StepStatus::Ready));
    assert!(matches!(world.skip(0), Err(Reject::Settled { .. })));
    world.skip(2).unwrap();
    assert_eq!(world.status(2), StepStatus::Skipped);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Succeeded);
    assert!(matches!(world.skip(3), Err(Reject::Terminal { .. })));
}

#[test]
fn a_failed_step_is_skipped_by_the_next_generation() {
    let mut world = World::new(CHAIN);
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.claim(0);
    world.settle(0, FAILED);
    world.finish();
    world.skip(1).unwrap();
    assert_eq!((world.state.status, world.status(1)), (RunStatus::Failed, StepStatus::Failed), "an end stays an end");
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!((world.status(1), todo(&world.state).claims), (StepStatus::Skipped, vec![Unit::step(2)]));
    world.finish();
    assert_eq!((world.state.status, world.state.step(1).whole.attempts.len()), (RunStatus::Succeeded, 1));
}

#[test]
fn a_held_step_and_an_item_are_skipped_at_once() {
    let text = "steps:\n  - id: a\n    for-each: [x, y, z]\n    max-parallel: 1\n    run: \"true\"\n    on-lost: hold\n  \
                - {id: b, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into(), with: None }).unwrap();
    for item in [2, 0] {
        let unit = Unit::item(0, item);
        world.send(Command::Skip { unit, reason: "gone for good".into() }).unwrap();
        recount(&world.state);
    }
    assert_eq!(todo(&world.state).claims, [Unit::item(0, 1)]);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Succeeded);
    assert_eq!(world.state.step(0).whole.outputs["k"], serde_json::json!([null, "v", null]));
}

/// Two failures side by side, each with a step after it.
fn two_failures(retry: &str) -> World {
    let step = |id: &str, needs: &str| format!("  - {{id: {id}, needs: [{needs}], run: \"true\"{retry}}}\n");
    let steps = [step("a", ""), step("b", ""), step("c", "a"), step("d", "b"), step("e", "c, d")].concat();
    let mut world = World::new(&format!("steps:\n{steps}finally:\n  - {{id: z, run: \"true\"}}\n"));
    world.claim(0);
    world.claim(0);
    world.settle(0, Outcome::Killed);
    world.settle(0, Outcome::Killed);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Failed);
    world
}

#[test]
fn a_retry_starts_one_step_once_and_what_follows_it_and_leaves_the_rest() {
    let mut world = two_failures(", retry: {attempts: 3}");
    let retry = |step: u32| Command::Retry { unit: Unit::step(step), reason: Some("disk freed".into()) };
    assert!(matches!(world.send(retry(2)), Err(Reject::NeedsFirst { need, .. }) if need == "a"));
    world.send(retry(0)).unwrap();
    assert_eq!((world.state.generation, todo(&world.state).claims), (2, vec![Unit::step(0)]));
    assert!(matches!(world.send(retry(0)), Err(Reject::NotFailed { last: Some(_), .. })));
    assert!(matches!(world.send(retry(1)), Err(Reject::NotAtEnd { .. })));
    world.claim(0);
    world.settle(0, FAILED);
    world.finish();
    assert_eq!(world.state.step(0).whole.attempts.len(), 2, "one start, whatever `retry` says");
    world.send(retry(0)).unwrap();
    world.finish();
    assert_eq!(
        [0, 1, 2, 3, 4].map(|n| world.status(n).as_str()),
        ["succeeded", "cancelled", "succeeded", "skipped", "skipped"]
    );
    assert_eq!(world.state.status, RunStatus::Failed, "`b` did not succeed");
    world.send(retry(1)).unwrap();
    world.finish();
    assert_eq!((world.state.status, world.state.generation), (RunStatus::Succeeded, 4));
    assert_eq!(world.state.step(2).whole.attempts.len(), 1, "`c` was kept");
}

#[test]
fn a_step_that_may_fail_is_not_started_again_behind_those_that_went_on() {
    let text = "steps:\n  - {id: a, run: \"true\", allow-failure: true}\n  - {id: b, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, FAILED);
    world.claim(0);
    world.settle(0, FAILED);
    let retry = Command::Retry { unit: Unit::step(0), reason: None };
    assert!(matches!(world.send(retry), Err(Reject::FailureAllowed { .. })));
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
}

#[test]
fn a_step_without_items_that_is_to_be_done_again_has_not_succeeded_when_it_is_cancelled() {
    let text =
        "steps:\n  - {id: a, run: \"true\"}\n  - {id: b, for-each: [], run: \"true\"}\n  - {id: c, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.claim(0);
    world.settle(0, FAILED);
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert_eq!([0, 1, 2].map(|n| world.status(n)), [StepStatus::Cancelled; 3]);
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
}

#[test]
fn a_retry_ends_the_wait_of_a_step_and_resolves_a_held_one() {
    let text = "steps:\n  - {id: a, run: \"true\", retry: {attempts: 2, delay: 1h}, on-lost: hold}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, FAILED);
    let retry = Command::Retry { unit: Unit::step(0), reason: None };
    world.send(retry.clone()).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
    world.claim(0);
    world.send(Command::Lose { claim: "c2".into(), evidence: "gone".into(), with: None }).unwrap();
    world.send(retry.clone()).unwrap();
    assert!(matches!(world.send(retry), Err(Reject::NotFailed { .. })));
    world.finish();
    assert_eq!(world.state.step(0).whole.attempts.len(), 3);
}

#[test]
fn resuming_from_a_step_redoes_it_and_all_after_it_with_new_items() {
    let text = "steps:\n  - {id: a, run: \"true\", outputs: {k: list}}\n  - id: b\n    for-each: ${{ steps.a.outputs.k }}\n    \
                run: \"true\"\n  - {id: c, run: \"true\"}\n  - {id: d, needs: [a], run: \"true\"}\n";
    let mut world = World::new(text);
    let settle_a = |world: &mut World, items: serde_json::Value| {
        world.claim(0);
        let claim = world.state.live().keys().next().unwrap().clone();
        let report = Report { outputs: Outputs::from([("k".to_owned(), items)]), ..report(Outcome::Succeeded) };
        world.send(Command::Settle { claim, report: Box::new(report) }).unwrap();
    };
    settle_a(&mut world, serde_json::json!(["x", "y", "z"]));
    for _ in 0..3 {
        world.claim(0);
        world.settle(0, Outcome::Succeeded);
    }
    world.claim(0);
    world.settle(0, FAILED);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Failed);
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
    settle_a(&mut world, serde_json::json!(["new"]));
    assert_eq!(world.state.unit(Unit::item(1, 0)).unwrap().attempts.len(), 1);
    recount(&world.state);
    world.finish();
    let starts = |item| world.state.unit(Unit::item(1, item)).unwrap().attempts.len();
    assert_eq!((world.state.status, [starts(0), starts(1), starts(2)]), (RunStatus::Succeeded, [2, 1, 1]));
    assert_eq!(world.state.step(1).whole.outputs["k"], serde_json::json!(["v"]));
    assert_eq!(picture(&replay(&world.state, &world.events)), picture(&world.state));
}
