//! Probes: asked before the first start, and when a start is lost.

use super::*;

const PROBED: &str = "steps:\n  - {id: a, check: \"true\", run: \"true\"}\n  - {id: b, run: \"true\"}\n";
const MAY_RETRY: &str = "steps:\n  - {id: a, check: \"true\", run: \"true\", retry: {attempts: 2, delay: 10ms}, undo: \"true\"}\n  - {id: b, run: \"true\"}\n";

const NOT_IN_PLACE: Outcome = Outcome::Failed { code: Some(1), signal: None };

fn names(world: &World) -> Vec<String> {
    todo(&world.state).claims.into_iter().map(|unit| world.state.unit_name(unit)).collect()
}

/// Starts what is next, which has this name, and ends it so.
fn does(world: &mut World, name: &str, outcome: Outcome) {
    assert_eq!(names(world), [name]);
    world.claim(0);
    world.settle(0, outcome);
    recount(&world.state);
}

/// Starts what is next, and nobody ever hears of it again.
fn loses(world: &mut World, name: &str) {
    assert_eq!(names(world), [name]);
    world.claim(0);
    let claim = world.state.live().keys().next().unwrap().clone();
    world.send(Command::Lose { claim, evidence: "gone".into(), with: None }).unwrap();
    recount(&world.state);
}

fn attempts(world: &World, name: &str) -> usize {
    let unit = world.state.unit_named(name);
    unit.and_then(|unit| world.state.unit(unit)).map_or(0, |unit| unit.attempts.len())
}

#[test]
fn what_is_in_place_already_succeeds_without_a_start() {
    let mut world = World::new(PROBED);
    does(&mut world, "a.check", Outcome::Succeeded);
    assert_eq!((world.status(0), attempts(&world, "a")), (StepStatus::Succeeded, 0));
    assert!(world.state.found_in_place(Unit::step(0)));
    assert_eq!(world.state.step(0).whole.outputs["k"], "v", "what the probe wrote");
    does(&mut world, "b", Outcome::Succeeded);
    assert_eq!(world.state.status, RunStatus::Succeeded);
}

#[test]
fn what_is_not_in_place_is_started_and_not_asked_again() {
    let mut world = World::new(PROBED);
    world.claim(0);
    assert_eq!(world.status(0), StepStatus::Running, "the step shows what its probe does");
    world.settle(0, NOT_IN_PLACE);
    assert_eq!((world.status(0), names(&world)), (StepStatus::Ready, vec!["a".to_owned()]));
    let probe = world.state.unit(Unit::step(0).part(Part::Check)).unwrap();
    assert_eq!((probe.attempts[0].code, probe.attempts[0].status), (Some(1), AttemptStatus::Succeeded));
    does(&mut world, "a", Outcome::Succeeded);
    assert!(!world.state.found_in_place(Unit::step(0)));
}

#[test]
fn a_start_that_never_was_asks_no_second_time() {
    let mut world = World::new(PROBED);
    does(&mut world, "a.check", NOT_IN_PLACE);
    world.claim(0);
    let claim = world.state.live().keys().next().unwrap().clone();
    world.send(Command::Void { claim }).unwrap();
    does(&mut world, "a", Outcome::Succeeded);
}

#[test]
fn a_probe_that_cannot_say_it_fails_the_step_which_never_starts() {
    for (outcome, status) in [
        (Outcome::Failed { code: Some(2), signal: None }, StepStatus::Failed),
        (Outcome::Failed { code: None, signal: Some(9) }, StepStatus::Failed),
        (Outcome::NotStarted, StepStatus::Failed),
        (Outcome::TimedOut, StepStatus::TimedOut),
    ] {
        let mut world = World::new(MAY_RETRY);
        does(&mut world, "a.check", outcome);
        assert_eq!((world.status(0), attempts(&world, "a")), (status, 0), "no retry of the step is used on its probe");
        assert!(world.state.step(0).whole.error.as_ref().unwrap().starts_with("`check`: "));
        assert_eq!(world.state.status, RunStatus::Failed);
    }
}

#[test]
fn a_lost_probe_is_asked_again_but_not_for_ever() {
    let mut world = World::new(PROBED);
    for _ in 1..crate::limits::PROBES_LOST_MAX {
        loses(&mut world, "a.check");
        world.send(Command::Wake).unwrap();
    }
    let mut lucky = World::new(PROBED);
    lucky.state = world.state.clone();
    does(&mut lucky, "a.check", NOT_IN_PLACE);
    assert_eq!(names(&lucky), ["a"]);
    loses(&mut world, "a.check");
    assert_eq!((world.status(0), attempts(&world, "a")), (StepStatus::Failed, 0), "nothing of it was started");
}

#[test]
fn after_a_lost_start_the_probe_says_whether_it_is_done() {
    let mut world = World::new(MAY_RETRY);
    does(&mut world, "a.check", NOT_IN_PLACE);
    loses(&mut world, "a");
    does(&mut world, "a.check", Outcome::Succeeded);
    assert_eq!((world.status(0), attempts(&world, "a")), (StepStatus::Succeeded, 1));
    does(&mut world, "b", Outcome::Failed { code: Some(3), signal: None });
    assert_eq!(names(&world), ["a.undo"], "this run put it in place");
}

#[test]
fn after_a_lost_start_it_runs_again_where_it_is_not_in_place_as_often_as_it_may() {
    let mut world = World::new(MAY_RETRY);
    does(&mut world, "a.check", NOT_IN_PLACE);
    loses(&mut world, "a");
    does(&mut world, "a.check", NOT_IN_PLACE);
    loses(&mut world, "a");
    does(&mut world, "a.check", NOT_IN_PLACE);
    assert_eq!((world.status(0), attempts(&world, "a")), (StepStatus::Failed, 2), "known not to be in place");
}

#[test]
fn after_a_lost_start_a_probe_that_cannot_say_it_leaves_it_lost() {
    for outcome in [Outcome::Failed { code: Some(2), signal: None }, Outcome::TimedOut] {
        let mut world = World::new(MAY_RETRY);
        does(&mut world, "a.check", NOT_IN_PLACE);
        loses(&mut world, "a");
        does(&mut world, "a.check", outcome);
        assert_eq!(world.status(0), StepStatus::Lost);
        assert!(world.state.step(0).whole.error.as_ref().unwrap().starts_with("gone; `check`: "));
    }
}

#[test]
fn a_cancel_while_the_probe_waits_tells_lost_from_never_started() {
    let cancel = || Command::Cancel { force: false, rollback: false, reason: None };
    let mut world = World::new(PROBED);
    world.send(cancel()).unwrap();
    recount(&world.state);
    assert_eq!(world.status(0), StepStatus::Cancelled);

    let mut world = World::new(MAY_RETRY);
    does(&mut world, "a.check", NOT_IN_PLACE);
    loses(&mut world, "a");
    world.send(cancel()).unwrap();
    recount(&world.state);
    assert_eq!(world.status(0), StepStatus::Lost);
}

#[test]
fn each_generation_asks_again_before_its_first_start() {
    let mut world = World::new(PROBED);
    does(&mut world, "a.check", NOT_IN_PLACE);
    does(&mut world, "a", Outcome::TimedOut);
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    does(&mut world, "a.check", Outcome::Succeeded);
    assert_eq!((world.status(0), attempts(&world, "a"), attempts(&world, "a.check")), (StepStatus::Succeeded, 1, 2));
}

#[test]
fn each_item_has_a_probe_of_its_own_and_what_was_there_before_is_not_taken_back() {
    let mut world = World::new(
        "steps:\n  - {id: a, for-each: [x, y], max-parallel: 1, check: \"true\", run: \"true\", undo: \"true\"}\n  \
         - {id: b, run: \"true\"}\n",
    );
    does(&mut world, "a[0].check", Outcome::Succeeded);
    does(&mut world, "a[1].check", NOT_IN_PLACE);
    does(&mut world, "a[1]", Outcome::Succeeded);
    assert_eq!(world.status(0), StepStatus::Succeeded);
    does(&mut world, "b", Outcome::TimedOut);
    does(&mut world, "a[1].undo", Outcome::Succeeded);
    assert_eq!(world.state.status, RunStatus::Failed, "a[0] was there before this run");
}

#[test]
fn a_step_whose_probe_waits_can_be_left_out_and_the_probe_itself_cannot() {
    let mut world = World::new(PROBED);
    let probe = world.state.unit_named("a.check").unwrap();
    let skip = |unit| Command::Skip { unit, reason: "not needed".into() };
    assert!(matches!(world.send(skip(probe)), Err(Reject::NoStep { .. })));
    assert!(matches!(world.send(Command::Retry { unit: probe, reason: None }), Err(Reject::NoStep { .. })));
    world.send(skip(Unit::step(0))).unwrap();
    recount(&world.state);
    assert_eq!((world.status(0), names(&world)), (StepStatus::Skipped, vec!["b".to_owned()]));
}
