//! Steps that are runs of their own.

use super::*;

const CALL: &str = "steps:\n  - {id: a, runbook: other}\n  - {id: b, run: \"true\"}\n";

fn open_child(world: &World) -> RunId {
    world.state.children().keys().next().cloned().expect("a child")
}

fn end(world: &mut World, outcome: ChildOutcome, generation: u32) {
    let child = open_child(world);
    let outputs = Outputs::from([("file".to_owned(), 5.into())]);
    let end = Box::new(ChildEnd { outcome, generation, outputs, error: Some("it says why".into()) });
    world.send(Command::SettleChild { child, end }).unwrap();
}

#[test]
fn a_step_waits_for_its_child_and_hands_its_outputs_on() {
    let mut world = World::new(CALL);
    world.claim(0);
    let todo_now = todo(&world.state);
    assert_eq!((world.status(0), world.state.status), (StepStatus::Waiting, RunStatus::Running));
    assert!(todo_now.claims.is_empty() && !todo_now.is_idle(&world.state));
    assert_eq!((todo_now.children.len(), todo_now.children[0].generation), (1, 1));
    end(&mut world, ChildOutcome::Succeeded, 1);
    assert_eq!(world.state.step(0).whole.outputs["file"], 5);
    assert_eq!(todo(&world.state).claims, [Unit::step(1)]);
}

#[test]
fn the_end_of_a_child_is_told_once() {
    let mut world = World::new(CALL);
    world.claim(0);
    let child = open_child(&world);
    end(&mut world, ChildOutcome::Succeeded, 1);
    let seq = world.state.seq;
    let late = ChildEnd { outcome: ChildOutcome::Failed, generation: 1, outputs: Outputs::new(), error: None };
    world.send(Command::SettleChild { child, end: Box::new(late) }).unwrap();
    assert_eq!((world.state.seq, world.status(0)), (seq, StepStatus::Succeeded));
}

#[test]
fn a_resume_goes_on_with_the_same_child_and_a_retry_is_another_one() {
    let mut world = World::new("steps:\n  - {id: a, runbook: other, retry: {attempts: 2, delay: 10ms}}\n");
    world.claim(0);
    let first = open_child(&world);
    end(&mut world, ChildOutcome::Failed, 1);
    assert_eq!(world.status(0), StepStatus::Backoff);
    world.now += 1_000_000;
    world.send(Command::Wake).unwrap();
    world.claim(0);
    let second = open_child(&world);
    assert_ne!(first, second);
    end(&mut world, ChildOutcome::Failed, 1);
    assert_eq!(world.state.status, RunStatus::Failed);
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    world.claim(0);
    assert_eq!((open_child(&world), todo(&world.state).children[0].generation), (second.clone(), 2));
    end(&mut world, ChildOutcome::Cancelled, 2);
    assert_eq!(world.status(0), StepStatus::Failed, "somebody cancelled the child, not this run");
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    world.claim(0);
    assert!(![first, second].contains(&open_child(&world)), "`--from` starts all over");
}

#[test]
fn a_child_that_never_came_to_be_begins_with_its_first_generation() {
    let mut world = World::new(CALL);
    world.claim(0);
    world.send(Command::Cancel { force: false, rollback: false, reason: Some("enough".into()) }).unwrap();
    let stop = todo(&world.state).children[0].stop.clone().expect("it has to be stopped");
    assert_eq!((stop.by.as_deref(), stop.force), (Some("tester"), false));
    assert!(stop.reason.contains("enough"), "{stop:?}");
    end(&mut world, ChildOutcome::Cancelled, 0);
    assert_eq!((world.status(0), world.state.status), (StepStatus::Cancelled, RunStatus::Cancelled));
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    world.claim(0);
    assert_eq!(todo(&world.state).children[0].generation, 1);
}

#[test]
fn the_timeout_of_a_step_stops_its_child_and_there_is_none_by_default() {
    let mut world = World::new("defaults: {timeout: 10ms}\nsteps:\n  - {id: a, runbook: other}\n");
    world.claim(0);
    assert_eq!(todo(&world.state).wake_at, None);
    let mut world = World::new("steps:\n  - {id: a, runbook: other, timeout: 10ms}\n");
    world.claim(0);
    world.now = todo(&world.state).wake_at.expect("its time");
    world.send(Command::Wake).unwrap();
    assert!(todo(&world.state).children[0].stop.is_some());
    assert_eq!((world.status(0), todo(&world.state).wake_at), (StepStatus::Waiting, None));
    end(&mut world, ChildOutcome::Cancelled, 1);
    assert_eq!((world.status(0), world.state.status), (StepStatus::TimedOut, RunStatus::Failed));
}

#[test]
fn what_a_run_hands_back_has_its_types_and_an_error_fails_it() {
    let text = "params: {yes: {type: bool}}\noutputs: {one: '${{ params.yes }}', two: 'k is ${{ steps.a.outputs.k }}', \
                three: {n: 3}}\nsteps:\n  - {id: a, run: \"true\"}\n";
    let mut world = World::new(text);
    world.finish();
    let outputs = serde_json::to_value(&world.state.outputs).unwrap();
    assert_eq!(outputs, serde_json::json!({"one": true, "two": "k is v", "three": {"n": 3}}));
    let mut world = World::new("outputs: {x: '${{ steps.a.outputs.nothing }}'}\nsteps:\n  - {id: a, run: \"true\"}\n");
    world.finish();
    let error = world.state.error.clone().unwrap_or_default();
    assert!(world.state.status == RunStatus::Failed && error.contains("output `x`"), "{error}");
}

#[test]
fn a_child_that_waits_for_a_person_lets_its_parent_wait_as_well() {
    let mut world =
        World::new("steps:\n  - {id: a, runbook: other, timeout: 1h}\n  - {id: b, needs: [], run: \"true\"}\n");
    world.claim(0);
    let child = open_child(&world);
    let rests = |world: &World, is: bool| super::super::todo::rests(&world.state, false, |it| is && *it == child);
    assert!(!rests(&world, true), "b can start");
    world.claim(0);
    assert!(!rests(&world, true), "b runs");
    world.settle(7, Outcome::Succeeded);
    assert!(rests(&world, true) && !rests(&world, false));
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert!(!rests(&world, true), "it has to be stopped");
}

#[test]
fn people_who_do_not_agree_to_a_child_do_not_agree_to_its_parent() {
    let mut world = World::new(CALL);
    world.claim(0);
    end(&mut world, ChildOutcome::Rejected, 1);
    assert_eq!((world.status(0), Verdict::of(&world.state)), (StepStatus::Failed, Verdict::Rejected));
    let mut world =
        World::new("steps:\n  - {id: a, runbook: other, allow-failure: true}\n  - {id: b, run: \"true\"}\n");
    world.claim(0);
    end(&mut world, ChildOutcome::Rejected, 1);
    world.finish();
    assert_eq!(Verdict::of(&world.state), Verdict::Succeeded);
}

#[test]
fn a_run_pauses_with_its_parent_and_goes_on_with_it_but_keeps_a_pause_of_its_own() {
    let mut world = World::new("steps:\n  - {id: a, run: \"true\"}\n");
    let with_parent = |pause| Command::PauseWithParent { pause, reason: Some("failover".into()) };
    world.send(with_parent(true)).unwrap();
    let seq = world.state.seq;
    world.send(with_parent(true)).unwrap();
    assert_eq!((world.state.seq, world.state.status), (seq, RunStatus::Paused));
    assert!(world.state.paused.as_ref().is_some_and(|was| was.reason.as_ref().unwrap().contains("failover")));
    world.send(with_parent(false)).unwrap();
    assert!(world.state.paused.is_none());
    world.send(Command::Pause { reason: None }).unwrap();
    world.send(with_parent(false)).unwrap();
    assert_eq!(world.state.status, RunStatus::Paused, "somebody paused it for itself");
}
