//! Taking back: the order, what takes part in it, what an undo sees, and what stops it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::random::{StepPlan, step_plan, yaml};
use super::*;
use crate::run::rollback::RolledBack;

const THREE: &str = "steps:\n  - {id: a, run: \"true\", undo: \"true\"}\n  - {id: b, run: \"true\", undo: \"true\"}\n  \
                     - {id: c, run: \"true\", undo: \"true\"}\nfinally:\n  - {id: d, run: \"true\"}\n";

fn failed() -> Outcome {
    Outcome::Failed { code: Some(1), signal: None }
}

/// `a` and `b` succeed, `c` fails.
fn three(text: &str) -> World {
    let mut world = World::new(text);
    for outcome in [Outcome::Succeeded, Outcome::Succeeded, failed()] {
        world.claim(0);
        world.settle(0, outcome);
    }
    world
}

fn next(world: &World) -> Vec<String> {
    todo(&world.state).claims.iter().map(|unit| world.state.unit_name(*unit)).collect()
}

fn does(world: &mut World, outcome: Outcome) -> Vec<String> {
    let started = next(world);
    world.claim(0);
    world.settle(0, outcome);
    started
}

fn undo(world: &World, name: &str) -> Unit {
    world.state.unit_named(name).unwrap()
}

#[test]
fn what_succeeded_is_taken_back_the_last_one_first_and_then_finally_runs() {
    let mut world = three(THREE);
    assert_eq!((world.state.status, world.state.phase), (RunStatus::RollingBack, Phase::RollingBack));
    let mut started = Vec::new();
    for _ in 0..3 {
        started.extend(does(&mut world, Outcome::Succeeded));
    }
    assert_eq!(started, ["b.undo", "a.undo", "d"]);
    assert_eq!(
        (world.status(0), world.status(1), world.status(2)),
        (StepStatus::Undone, StepStatus::Undone, StepStatus::Failed)
    );
    assert_eq!((world.state.status, world.state.rolled_back()), (RunStatus::Failed, RolledBack::Done));
    assert_eq!((Verdict::of(&world.state), Verdict::of(&world.state).exit_code()), (Verdict::RolledBack, 6));
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(next(&world), ["a"], "all of it runs again");
    world.finish();
    assert_eq!((world.state.status, world.state.rolled_back()), (RunStatus::Succeeded, RolledBack::None));
}

#[test]
fn a_failed_undo_leaves_its_step_held_and_the_others_go_on() {
    let mut world = three(THREE);
    assert_eq!(does(&mut world, failed()), ["b.undo"]);
    assert_eq!(does(&mut world, Outcome::Succeeded), ["a.undo"]);
    assert_eq!(does(&mut world, Outcome::Succeeded), ["d"]);
    assert_eq!((world.status(0), world.status(1)), (StepStatus::Undone, StepStatus::Held));
    assert_eq!((world.state.rolled_back(), Verdict::of(&world.state).exit_code()), (RolledBack::Partial, 7));
    let resume = Command::Resume { from: None, reason: None };
    assert!(matches!(world.send(resume.clone()), Err(Reject::UndoFailed { unit }) if unit == "b"));
    let of_step = Command::Resolve { unit: Unit::step(1), resolution: Resolution::Succeeded, reason: None };
    assert!(matches!(world.send(of_step), Err(Reject::UndoFailed { .. })));
    let b = undo(&world, "b.undo");
    let resolve = |resolution| Command::Resolve { unit: b, resolution, reason: None };

    let mut stands = World { state: world.state.clone(), events: world.events.clone(), ..world };
    stands.send(resolve(Resolution::Failed)).unwrap();
    assert_eq!((stands.status(1), stands.state.rolled_back()), (StepStatus::Succeeded, RolledBack::Partial));
    stands.send(resume.clone()).unwrap();
    assert_eq!(next(&stands), ["a"]);
    does(&mut stands, Outcome::Succeeded);
    assert_eq!(next(&stands), ["b"], "it was built on what was taken back");

    let world =
        || World { state: replay(&stands.state, &world.events), events: world.events.clone(), now: 9, claims: 90 };
    let mut gone = world();
    gone.send(resolve(Resolution::Succeeded)).unwrap();
    assert_eq!((gone.status(1), gone.state.rolled_back()), (StepStatus::Undone, RolledBack::Done));
    gone.send(resume).unwrap();

    let mut again = world();
    again.send(resolve(Resolution::Retry)).unwrap();
    assert_eq!((again.state.generation, again.state.status), (2, RunStatus::RollingBack));
    assert_eq!(does(&mut again, Outcome::Succeeded), ["b.undo"]);
    again.finish();
    assert_eq!((again.state.status, again.state.rolled_back()), (RunStatus::Failed, RolledBack::Done));
}

#[test]
fn a_second_cancel_stops_the_rollback() {
    let mut world = three(THREE);
    world.claim(0);
    let cancel = Command::Cancel { force: false, rollback: false, reason: None };
    world.send(cancel.clone()).unwrap();
    assert!(todo(&world.state).kills.is_empty(), "the first is noted");
    world.send(cancel.clone()).unwrap();
    assert_eq!(todo(&world.state).kills.len(), 1);
    assert!(matches!(world.send(cancel), Err(Reject::AlreadyCancelled { .. })));
    world.settle(0, Outcome::Killed);
    assert_eq!((world.status(0), world.status(1)), (StepStatus::Succeeded, StepStatus::Held));
    assert_eq!(next(&world), ["d"], "finally runs");
    world.finish();
    assert_eq!((world.state.rolled_back(), Verdict::of(&world.state).exit_code()), (RolledBack::Partial, 7));
    let left: Vec<String> = world.state.not_taken_back().iter().map(|unit| world.state.unit_name(*unit)).collect();
    assert_eq!(left, ["a", "b"]);
    world.send(Command::Rollback { reason: None }).unwrap();
    assert_eq!(does(&mut world, Outcome::Succeeded), ["b.undo"]);
    assert_eq!(does(&mut world, Outcome::Succeeded), ["a.undo"]);
    world.finish();
    assert_eq!((world.state.rolled_back(), Verdict::of(&world.state).exit_code()), (RolledBack::Done, 6));
    assert!(matches!(world.send(Command::Rollback { reason: None }), Err(Reject::NothingToUndo { .. })));
}

#[test]
fn a_cancel_takes_back_only_what_it_is_told_to() {
    for rollback in [false, true] {
        let mut world = World::new(THREE);
        does(&mut world, Outcome::Succeeded);
        world.send(Command::Cancel { force: false, rollback, reason: None }).unwrap();
        assert_eq!(next(&world), [if rollback { "a.undo" } else { "d" }]);
        world.finish();
        let (status, code) = (world.state.status, Verdict::of(&world.state).exit_code());
        assert_eq!((status, code), (RunStatus::Cancelled, if rollback { 6 } else { 4 }));
        if !rollback {
            world.send(Command::Rollback { reason: None }).unwrap();
            assert_eq!(next(&world), ["a.undo"], "it can be taken back later");
            world.finish();
            assert_eq!((world.state.status, world.state.rolled_back()), (RunStatus::Cancelled, RolledBack::Done));
        }
    }
}

#[test]
fn where_a_person_is_asked_the_run_waits() {
    let text = format!("on-failure: {{rollback: ask}}\n{THREE}");
    let waiting = || {
        let world = three(&text);
        assert!(next(&world).is_empty() && todo(&world.state).is_idle(&world.state));
        assert!(world.state.asks_for_rollback() && Verdict::of(&world.state).exit_code() == 8);
        world
    };
    let mut world = waiting();
    world.send(Command::Rollback { reason: Some("go".into()) }).unwrap();
    assert_eq!((world.state.generation, next(&world)), (1, vec!["b.undo".to_owned()]));
    let mut world = waiting();
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert_eq!(next(&world), ["d"]);
    let mut world = waiting();
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!((world.state.generation, next(&world)), (2, vec!["c".to_owned()]));
    let mut never = three(&format!("on-failure: {{rollback: never}}\n{THREE}"));
    assert_eq!(next(&never), ["d"]);
    never.finish();
    assert_eq!(Verdict::of(&never.state), Verdict::Failed);
}

#[test]
fn what_was_built_on_a_step_runs_again_whatever_became_of_that_step_after_it_was_taken_back() {
    let text = "steps:\n  - {id: one, needs: [], run: \"true\", undo: \"true\"}\n  - {id: two, needs: [], run: \"true\", undo: \"true\"}\n  \
                - {id: built, needs: [one, two], run: \"true\"}\n  - {id: other, run: \"true\"}\n  - {id: last, needs: [built], run: \"true\"}\n";
    let mut world = World::new(text);
    for outcome in [Outcome::Succeeded, Outcome::Succeeded, Outcome::Succeeded, failed()] {
        does(&mut world, outcome);
    }
    world.finish();
    assert_eq!(
        (world.status(0), world.status(1), world.status(2)),
        (StepStatus::Undone, StepStatus::Undone, StepStatus::Succeeded)
    );
    for (step, outcome) in [(0, failed()), (1, Outcome::Succeeded)] {
        world.send(Command::Retry { unit: Unit::step(step), reason: None }).unwrap();
        does(&mut world, outcome);
        world.finish();
    }
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!((world.status(2), world.status(4)), (StepStatus::Pending, StepStatus::Pending));
    assert!(!next(&world).contains(&"last".to_owned()), "it needs `built`, and that needs `one`");
}

#[test]
fn a_pause_holds_the_next_undo() {
    let mut world = three(THREE);
    world.claim(0);
    world.send(Command::Pause { reason: None }).unwrap();
    world.settle(0, Outcome::Succeeded);
    assert!(next(&world).is_empty());
    assert_eq!(world.state.status, RunStatus::Paused);
    world.send(Command::Unpause).unwrap();
    assert_eq!((next(&world), world.state.status), (vec!["a.undo".to_owned()], RunStatus::RollingBack));
}

#[test]
fn running_steps_are_ended_where_the_runbook_says_so() {
    let text = "steps:\n  - {id: a, needs: [], run: \"true\"}\n  - {id: b, needs: [], run: \"true\"}\n";
    for (head, kills) in [("", 0), ("on-failure: {running: kill}\n", 1)] {
        let mut world = World::new(&format!("{head}{text}"));
        world.claim(0);
        world.claim(0);
        world.settle(0, failed());
        assert_eq!(todo(&world.state).kills.len(), kills);
    }
}

#[test]
fn an_undo_sees_what_was_there_when_its_step_succeeded() {
    let text = "steps:\n  - id: a\n    run: \"true\"\n    outputs: {k: string}\n  - id: b\n    for-each: ${{ steps.a.outputs.k | split(pat=',') }}\n    \
                run: \"true\"\n    undo: echo ${{ steps.a.outputs.k }} ${{ item }} ${{ steps.b.outputs.k }}\n  - {id: c, run: \"true\"}\n";
    let values = |world: &World| {
        let unit = undo(world, "b[0].undo");
        let prepared = prepare::prepare(&world.state, unit, &Default::default()).unwrap();
        prepared.env.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
    };
    let does_with = |world: &mut World, value: &str, outcome: Outcome| {
        world.claim(0);
        let claim = world.state.live().keys().next().unwrap().clone();
        let outputs = Outputs::from([("k".to_owned(), value.into())]);
        let report = Box::new(Report { outputs, ..report(outcome) });
        world.send(Command::Settle { claim, report }).unwrap();
    };
    let mut world = World::new(text);
    does_with(&mut world, "x", Outcome::Succeeded);
    does_with(&mut world, "own", Outcome::Succeeded);
    does_with(&mut world, "", failed());
    assert_eq!(values(&world), ["x", "x", "own"]);
    let cancel = Command::Cancel { force: true, rollback: false, reason: None };
    world.send(cancel).unwrap();
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    does_with(&mut world, "other", failed());
    assert_eq!(values(&world), ["x", "x", "own"], "as it was then, whatever was done again since");
}

/// Who needs whom, through others too.
fn needs(state: &RunState, step: u32, other: u32) -> bool {
    state.spec(step).needs.iter().any(|need| *need as u32 == other || needs(state, *need as u32, other))
}

/// The run it was the last time succeeded.
fn called(found: &state::UnitState) -> bool {
    found.children.last().is_some_and(|child| child.status == Some(StepStatus::Succeeded))
}

/// I5, looked at event by event.
fn only_what_is_done_is_taken_back_in_order(state: &RunState, events: &[Recorded]) {
    let mut before = RunState::new(state.id.clone(), Arc::clone(&state.runbook));
    let mut only = false;
    let mut resolved = Vec::new();
    // A start that was lost, or failed, and was found in place is this run's doing, whatever its status became since.
    let mut found_later = BTreeSet::new();
    for recorded in events {
        match &recorded.event {
            Event::AttemptClaimed { unit, .. } if before.unit_named(unit).is_some_and(|it| it.part == Part::Step) => {
                found_later.retain(|found| Some(*found) != before.unit_named(unit));
            }
            Event::RollbackRequested { only: wanted, .. } => only = wanted.is_some(),
            Event::RunResumed { .. } => only = false,
            Event::UnitResolved { unit, .. } => resolved.extend(before.unit_named(unit)),
            Event::RollbackStarted { order } => {
                let order: Vec<Unit> = order.iter().map(|name| before.unit_named(name).unwrap()).collect();
                for (n, unit) in order.iter().enumerate() {
                    assert!(before.spec(unit.step).undo.is_some());
                    let found = before.unit(*unit).unwrap();
                    let ran = found.attempts.iter().rfind(|attempt| attempt.status != AttemptStatus::NeverStarted);
                    let done = ran.is_some_and(|attempt| attempt.status == AttemptStatus::Succeeded) || called(found);
                    assert!(
                        done || found_later.contains(unit) || resolved.contains(unit),
                        "{unit:?} {:?}",
                        found.status
                    );
                    let later = order[n + 1..].iter().find(|later| needs(state, later.step, unit.step));
                    assert!(later.is_none(), "{unit:?} is taken back before {later:?}, which needs it");
                }
                let done = rows::owners(&before).filter(|unit| {
                    let found = before.unit(*unit).unwrap();
                    let ran = found.attempts.iter().any(|attempt| attempt.status == AttemptStatus::Succeeded)
                        || called(found);
                    let whole = before.spec(unit.step).for_each.is_some() && unit.item.is_none();
                    found.status == StepStatus::Succeeded && ran && !whole && before.spec(unit.step).undo.is_some()
                });
                let done: Vec<Unit> = done.collect();
                assert!(only || done.iter().all(|unit| order.contains(unit)), "{done:?} {order:?}");
            }
            Event::AttemptClaimed { unit, .. } if unit.ends_with(".undo") => {
                assert!(before.live().is_empty(), "{unit} beside {:?}", before.live());
            }
            _ => {}
        }
        apply::apply(&mut before, recorded);
        let ran = |unit: &Unit| {
            let attempts = before.unit(*unit).map_or(&[][..], |found| &found.attempts[..]);
            attempts.iter().any(|attempt| attempt.status != AttemptStatus::NeverStarted)
        };
        found_later.extend(rows::owners(&before).filter(|unit| before.found_in_place(*unit) && ran(unit)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn only_what_is_done_is_taken_back_each_once_and_in_order(
        steps in prop::collection::vec(step_plan(), 2..9),
        last in 0usize..3,
        policy in 0usize..4,
        actions in prop::collection::vec((0u8..30, 0usize..8), 10..120),
    ) {
        let head = ["", "", "on-failure: {rollback: ask}\n", "on-failure: {running: kill}\n"][policy];
        let steps: Vec<StepPlan> = steps.into_iter().map(|step| StepPlan { undo: step.undo.max(1), ..step }).collect();
        let mut world = World::new(&format!("{head}{}", yaml(&steps, last.min(steps.len() - 2))));
        for (action, pick) in actions {
            world.random(action, pick);
            recount(&world.state);
        }
        only_what_is_done_is_taken_back_in_order(&world.state, &world.events);
    }
}
