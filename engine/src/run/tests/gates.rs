//! Steps that wait, for a time or for people.

use super::super::approval::{Decision, Ended};
use super::super::command::Person;
use super::*;

fn wake_at(world: &World) -> Option<i64> {
    todo(&world.state).wake_at
}

fn wake(world: &mut World, now: i64) {
    world.now = now;
    world.send(Command::Wake).unwrap();
    recount(&world.state);
}

#[test]
fn a_wait_takes_no_worker_and_ends_when_its_time_has_come() {
    let mut world = World::new(
        "max-parallel: 1\nsteps:\n  - {id: w, wait: 1m}\n  - {id: side, needs: [], run: \"true\"}\n  - {id: b, needs: [w], run: \"true\"}\n",
    );
    assert_eq!((world.status(0), todo(&world.state).claims), (StepStatus::Waiting, vec![Unit::step(1)]));
    assert_eq!((wake_at(&world), world.state.status), (Some(60_001), RunStatus::Queued));
    wake(&mut world, 60_000);
    assert_eq!(world.status(0), StepStatus::Waiting);
    wake(&mut world, 60_001);
    assert_eq!((world.status(0), world.status(2)), (StepStatus::Succeeded, StepStatus::Ready));
    world.finish();
    assert_eq!(world.state.status, RunStatus::Succeeded);
}

#[test]
fn the_end_of_a_wait_is_on_the_record_and_is_not_decided_again() {
    let mut world = World::new("steps:\n  - {id: w, wait: 1m}\n");
    let due = replay(&world.state, &world.events).step(0).whole.waits_until();
    assert_eq!(due, Some(60_001));
    world.now = 50_000;
    world.send(Command::Wake).unwrap();
    assert_eq!(replay(&world.state, &world.events).step(0).whole.waits_until(), due);
}

#[test]
fn a_wait_that_is_over_already_succeeds_at_once() {
    let text = "steps:\n  - {id: w, wait: {until: '1970-01-01T00:00:00Z'}}\n  - {id: b, run: \"true\"}\n";
    let world = World::new(text);
    assert_eq!((world.status(0), todo(&world.state).claims), (StepStatus::Succeeded, vec![Unit::step(1)]));
}

#[test]
fn a_wait_that_cannot_be_fails_its_step() {
    for (wait, said) in [
        ("{until: \"${{ params.yes }}\"}", "`wait.until`: `true` is not a point in time"),
        ("{until: '2026-11-22 02:30 UTC'}", "would end at 2026-11-22T02:30:00Z, and at most 30d 0h are possible"),
    ] {
        let world = World::new(&format!(
            "params: {{yes: {{type: bool}}}}\nsteps:\n  - id: w\n    if: params.yes\n    wait: {wait}\n"
        ));
        let error = world.state.step(0).whole.error.clone().unwrap_or_default();
        assert!(error.contains(said), "{error}");
        assert_eq!(world.state.status, RunStatus::Failed);
    }
}

#[test]
fn a_timer_of_an_earlier_generation_means_nothing() {
    let text = "steps:\n  - {id: a, run: \"true\"}\n  - {id: w, wait: 1m}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert_eq!((world.status(1), wake_at(&world)), (StepStatus::Cancelled, None));
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(world.status(1), StepStatus::Waiting);
    let stale = Event::WaitEnded { unit: "w".into(), generation: 1 };
    let record = Recorded { seq: world.state.seq + 1, at: 99, actor: "late".into(), event: stale };
    let mut state = world.state.clone();
    apply::apply(&mut state, &record);
    assert_eq!(state.step(1).whole.status, StepStatus::Waiting);
}

#[test]
fn the_time_of_a_wait_goes_on_during_a_pause_and_nothing_new_begins() {
    let text = "steps:\n  - {id: w, wait: 1m}\n  - {id: x, wait: 1m}\n";
    let mut world = World::new(text);
    world.send(Command::Pause { reason: None }).unwrap();
    wake(&mut world, 60_001);
    assert_eq!((world.status(0), world.status(1)), (StepStatus::Succeeded, StepStatus::Ready));
    world.now = 100_000;
    world.send(Command::Unpause).unwrap();
    assert_eq!((world.status(1), wake_at(&world)), (StepStatus::Waiting, Some(160_000)));
}

#[test]
fn a_skip_ends_a_wait_and_those_after_it_go_on() {
    let mut world = World::new("steps:\n  - {id: w, wait: 1h}\n  - {id: b, run: \"true\"}\n");
    world.skip(0).unwrap();
    assert_eq!((world.status(0), todo(&world.state).claims), (StepStatus::Skipped, vec![Unit::step(1)]));
    assert_eq!(wake_at(&world), None);
}

#[test]
fn each_item_of_a_for_each_has_its_own_wait() {
    let text = "steps:\n  - id: w\n    for-each: ['1970-01-01T00:01:00Z', '1970-01-01T00:02:00Z', '1970-01-01T00:03:00Z']\n    \
                max-parallel: 2\n    wait: {until: \"${{ item }}\"}\n";
    let mut world = World::new(text);
    assert_eq!(wake_at(&world), Some(60_000));
    wake(&mut world, 60_000);
    assert_eq!(wake_at(&world), Some(120_000));
    wake(&mut world, 200_000);
    assert_eq!(world.state.status, RunStatus::Succeeded);
}

#[test]
fn waits_count_against_the_time_of_the_run_once_a_step_has_run() {
    let mut world = World::new("timeout: 30s\nsteps:\n  - {id: a, run: \"true\"}\n  - {id: w, wait: 1m}\n");
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    assert_eq!(wake_at(&world), Some(30_001));
    wake(&mut world, 30_001);
    assert_eq!((world.state.status, world.status(1)), (RunStatus::TimedOut, StepStatus::Cancelled));
}

const AGREE: &str = "steps:\n  - id: agree\n    approve: {by: [dba, eve], count: 2, not: requester, expires: 1h}\n  - {id: b, run: \"true\"}\n";

fn word(world: &World, decision: Decision, name: &str, groups: &[&str]) -> Command {
    Command::Decide {
        unit: Unit::step(0),
        decision,
        person: Person { name: name.into(), groups: groups.iter().map(|group| (*group).to_owned()).collect() },
        plan: world.state.plan.clone(),
        generation: world.state.generation,
        comment: Some("looked at it".into()),
    }
}

fn approves(world: &mut World, name: &str) -> Result<(), Reject> {
    world.send(word(world, Decision::Approved, name, &["dba"]))
}

#[test]
fn so_many_people_agree_each_of_them_once_and_not_who_asked() {
    let mut world = World::new(AGREE);
    assert_eq!((world.status(0), wake_at(&world)), (StepStatus::Waiting, Some(3_600_001)));
    assert!(todo(&world.state).only_people(&world.state));
    assert!(matches!(approves(&mut world, "tester"), Err(Reject::IsRequester { .. })));
    let stranger = word(&world, Decision::Approved, "mallory", &["users"]);
    assert!(matches!(world.send(stranger), Err(Reject::NotAllowed { by, .. }) if by == ["dba", "eve"]));
    approves(&mut world, "alice").unwrap();
    assert!(matches!(approves(&mut world, "alice"), Err(Reject::AlreadyApproved { .. })));
    let eve = word(&world, Decision::Approved, "eve", &[]);
    world.send(eve).unwrap();
    recount(&world.state);
    assert_eq!((world.status(0), todo(&world.state).claims), (StepStatus::Succeeded, vec![Unit::step(1)]));
    assert_eq!(world.state.step(0).whole.outputs["who"], "alice, eve");
    assert!(matches!(approves(&mut world, "bob"), Err(Reject::Decided { ended: Ended::Approved(_), .. })));
    assert_eq!(picture(&replay(&world.state, &world.events)), picture(&world.state));
}

#[test]
fn one_who_may_rejects_and_nobody_is_heard_after_that() {
    let mut world = World::new(AGREE);
    approves(&mut world, "alice").unwrap();
    let no = word(&world, Decision::Rejected, "alice", &["dba"]);
    world.send(no).unwrap();
    assert!(matches!(approves(&mut world, "eve"), Err(Reject::Decided { ended: Ended::Rejected(_), .. })));
    assert_eq!((world.status(0), Verdict::of(&world.state).exit_code()), (StepStatus::Failed, 3));
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!((world.status(0), world.state.approval(Unit::step(0)).unwrap().voices.len()), (StepStatus::Waiting, 0));
}

#[test]
fn an_approval_holds_for_the_plan_and_the_generation_that_were_seen() {
    let mut world = World::new(AGREE);
    let Command::Decide { unit, decision, person, comment, .. } = word(&world, Decision::Approved, "alice", &["dba"])
    else {
        unreachable!()
    };
    for (plan, generation) in [("another".to_owned(), 1), (world.state.plan.clone(), 2)] {
        let (person, comment) = (person.clone(), comment.clone());
        let other = Command::Decide { unit, decision, person, plan, generation, comment };
        assert!(matches!(world.send(other), Err(Reject::OtherPlan { .. })));
    }
}

#[test]
fn an_approval_that_comes_too_late_finds_the_run_at_its_end() {
    let mut world = World::new(AGREE);
    wake(&mut world, 3_600_001);
    assert!(matches!(approves(&mut world, "alice"), Err(Reject::Decided { ended: Ended::Expired { .. }, .. })));
    assert_eq!((world.status(0), Verdict::of(&world.state).exit_code()), (StepStatus::TimedOut, 3));
}

#[test]
fn nobody_skips_an_approval_and_a_cancel_ends_it() {
    let mut world = World::new(AGREE);
    assert!(matches!(world.skip(0), Err(Reject::NotSkipped { .. })));
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert!(matches!(approves(&mut world, "alice"), Err(Reject::NotAsked { .. })));
    assert_eq!((world.status(0), Verdict::of(&world.state).exit_code()), (StepStatus::Cancelled, 4));
    assert_eq!(world.state.asked().len(), 0);
}

const HOUR: i64 = 3_600_000;
/// The world begins at midnight.
const WINDOWS: &str = "windows: {allow: ['* 01:00-02:00 UTC']}\n";

fn windows(steps: &str) -> World {
    World::new(&format!("{WINDOWS}steps:\n{steps}"))
}

/// What a driver does: it tries what can be tried.
fn try_claim(world: &mut World, claim: &str) -> Result<(), Reject> {
    let unit = todo(&world.state).claims[0];
    let done =
        world.send(Command::Claim { unit, claim: claim.into(), session: "s".into(), boot: "b".into(), place: None });
    recount(&world.state);
    done
}

#[test]
fn a_closed_window_holds_the_run_until_it_opens() {
    let mut world = windows("  - {id: w, wait: 1s}\n  - {id: a, run: \"true\"}\n");
    wake(&mut world, 1_001);
    assert_eq!(world.status(0), StepStatus::Succeeded, "what executes nothing waits for no window");
    try_claim(&mut world, "x").unwrap();
    let held = todo(&world.state);
    assert_eq!((held.claims.len(), held.wake_at, world.state.live().len()), (0, Some(HOUR), 0));
    assert!(!held.is_idle(&world.state) && !held.only_people(&world.state));
    let claim =
        Command::Claim { unit: Unit::step(1), claim: "y".into(), session: "s".into(), boot: "b".into(), place: None };
    assert!(matches!(world.send(claim), Err(Reject::Closed { .. })));
    wake(&mut world, HOUR);
    try_claim(&mut world, "z").unwrap();
    assert_eq!(world.status(1), StepStatus::Running);
    assert_eq!(picture(&replay(&world.state, &world.events)), picture(&world.state));
}

#[test]
fn a_closed_window_holds_back_a_run_inside_the_run_too() {
    let mut world = windows("  - {id: a, runbook: other}\n");
    let start = Command::StartChild { unit: Unit::step(0), definition: "other".into() };
    world.send(start.clone()).unwrap();
    assert_eq!((world.state.children().len(), wake_at(&world)), (0, Some(HOUR)));
    assert!(matches!(world.send(start.clone()), Err(Reject::Closed { .. })));
    wake(&mut world, HOUR);
    world.send(start).unwrap();
    assert_eq!(world.status(0), StepStatus::Waiting);
}

#[test]
fn a_step_that_a_person_starts_again_in_the_next_generation_waits_for_the_window() {
    for retry in ["", ", retry: {attempts: 3, delay: 1ms}"] {
        let text = format!("windows: {{allow: ['* 00:00-01:00 UTC']}}\nsteps:\n  - {{id: a, run: \"true\"{retry}}}\n");
        let mut world = World::new(&text);
        world.claim(0);
        world.settle(0, Outcome::Killed);
        assert_eq!(world.state.status, RunStatus::Failed);
        world.now = 2 * HOUR;
        world.send(Command::Retry { unit: Unit::step(0), reason: None }).unwrap();
        try_claim(&mut world, "again").unwrap();
        assert!(world.state.live().is_empty() && world.state.closure().is_some(), "with `{retry}`");
    }
}

#[test]
fn a_window_that_was_slept_through_opens_the_next_day() {
    let mut world = windows("  - {id: a, run: \"true\"}\n");
    try_claim(&mut world, "x").unwrap();
    wake(&mut world, 5 * HOUR);
    assert_eq!(wake_at(&world), Some(25 * HOUR));
}

#[test]
fn a_window_that_closes_strands_nothing_half_done() {
    let text = "windows: {allow: ['* 00:00-01:00 UTC']}\nsteps:\n  - {id: again, needs: [], run: \"true\", retry: {attempts: 2, delay: 1s, jitter: none}}\n  \
                - {id: each, needs: [], for-each: [x, y], max-parallel: 1, run: \"true\"}\n  - {id: late, run: \"true\"}\nfinally:\n  - {id: z, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.claim(0);
    world.now = 2 * HOUR;
    world.settle(0, FAILED);
    world.settle(0, Outcome::Succeeded);
    wake(&mut world, 3 * HOUR);
    assert_eq!(todo(&world.state).claims, [Unit::step(0), Unit::item(1, 1)]);
    try_claim(&mut world, "retry").unwrap();
    try_claim(&mut world, "item").unwrap();
    assert_eq!(world.state.live().len(), 2, "a retry, and the rest of a for-each");
    world.settle(0, Outcome::Succeeded);
    world.settle(0, Outcome::Succeeded);
    try_claim(&mut world, "late").unwrap();
    assert!(world.state.closure().is_some() && todo(&world.state).claims.is_empty());
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    try_claim(&mut world, "finally").unwrap();
    assert_eq!(world.status(3), StepStatus::Running);
}

#[test]
fn somebody_lets_this_generation_go_on_outside_of_its_windows() {
    let mut world = windows("  - {id: a, run: \"true\"}\n");
    try_claim(&mut world, "x").unwrap();
    let go = Command::OverrideWindow { reason: "the disk is full".into() };
    world.send(go.clone()).unwrap();
    assert!(matches!(world.send(go.clone()), Err(Reject::AlreadyOverridden { .. })));
    try_claim(&mut world, "y").unwrap();
    world.settle(0, FAILED);
    assert!(matches!(world.send(go), Err(Reject::Terminal { .. })));
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    try_claim(&mut world, "z").unwrap();
    assert!(world.state.closure().is_some(), "the next generation asks again");
    let mut without = World::new(CHAIN);
    assert!(matches!(without.send(Command::OverrideWindow { reason: "r".into() }), Err(Reject::NoWindows)));
}
