//! Attempts that are lost in a cluster, and what is done for caution.

use super::*;

impl World {
    /// Claims the first unit that is ready on some machine of a cluster, which then falls silent or dies.
    fn loses_one(&mut self, silent: bool) -> &UnitView {
        let unit = todo(&self.state).claims[0];
        self.claims += 1;
        let (claim, session) = (ClaimId(format!("c{}", self.claims)), SessionId("s".into()));
        let place = Some(Place { home: HomeId(format!("home-{}", self.claims)), host: "db1".into() });
        let boot = "b".to_owned();
        self.send(Command::Claim { unit, claim: claim.clone(), session: session.clone(), boot, place }).unwrap();
        let with = silent.then_some(session);
        self.send(Command::Lose { claim, evidence: "nobody hears of db1".into(), with }).unwrap();
        self.now += 600_000;
        self.send(Command::Wake).unwrap();
        self.state.unit(unit).unwrap()
    }
}

type UnitView = crate::run::state::UnitState;

fn one(keys: &str) -> World {
    World::new(&format!("steps:\n  - id: a\n    run: \"true\"\n{keys}"))
}

#[test]
fn what_may_start_again_is_strict_unless_the_author_says_otherwise() {
    let strict = |keys: &str, part: Part| one(keys).state.is_strict(Unit::step(0).part(part));
    assert!(!strict("", Part::Step));
    assert!(!strict("    retry: {attempts: 1}\n", Part::Step));
    assert!(strict("    retry: {attempts: 2}\n", Part::Step));
    assert!(strict("    lease: strict\n", Part::Step));
    assert!(!strict("    lease: detached\n    retry: {attempts: 2}\n", Part::Step));
    assert!(strict("    check: \"true\"\n", Part::Check), "a probe is asked again");
    assert!(!strict("    undo: \"true\"\n    retry: {attempts: 2}\n", Part::Undo));
    assert!(strict("    undo: {run: \"true\", retry: {attempts: 2}}\n", Part::Undo));
}

#[test]
fn a_step_that_is_lost_with_its_worker_twice_in_a_row_is_held() {
    let mut world = one("    retry: {attempts: 5, delay: 1s}\n");
    assert_eq!(world.loses_one(true).status, StepStatus::Ready);
    let held = world.loses_one(false);
    assert_eq!(held.status, StepStatus::Held);
    let why = "nobody hears of db1; it was lost with its worker twice in a row, so it is not started again by itself";
    assert_eq!(held.error.as_deref(), Some(why));
    recount::recount(&world.state);
    let retry = Command::Resolve { unit: Unit::step(0), resolution: Resolution::Retry, reason: None };
    world.send(retry).unwrap();
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    assert_eq!(world.state.status, RunStatus::Succeeded);
}

#[test]
fn an_outcome_between_two_losses_and_another_generation_begin_the_count_again() {
    let mut world = one("    retry: {attempts: 3, delay: 1s}\n");
    world.loses_one(true);
    world.claim(0);
    world.settle(0, FAILED);
    world.now += 600_000;
    world.send(Command::Wake).unwrap();
    assert_eq!(world.loses_one(true).status, StepStatus::Lost, "all its starts are used up");
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(world.loses_one(true).status, StepStatus::Ready);
}

#[test]
fn what_may_still_run_on_a_silent_machine_is_held() {
    let keys = "    lease: detached\n    retry: {attempts: 3, delay: 1s}\n";
    let mut world = one(keys);
    let held = world.loses_one(true);
    assert_eq!(held.status, StepStatus::Held);
    assert!(held.error.as_ref().unwrap().contains("it may still run on db1"), "{:?}", held.error);
    let mut world = one(keys);
    assert_eq!(world.loses_one(false).status, StepStatus::Ready, "its journal says that it is dead");
    let mut world = one("");
    assert_eq!(world.loses_one(true).status, StepStatus::Lost, "it starts at most once in any case");
}

#[test]
fn an_undo_that_is_lost_twice_is_left_to_a_person_as_one_that_failed() {
    let mut world = one("    undo: {run: \"true\", retry: {attempts: 5, delay: 1s}}\n  - {id: b, run: \"true\"}\n");
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.claim(0);
    world.settle(0, FAILED);
    assert_eq!(world.loses_one(true).status, StepStatus::Ready);
    assert_eq!(world.loses_one(true).status, StepStatus::Lost);
    assert_eq!((world.state.status, world.state.rolled_back()), (RunStatus::Failed, RolledBack::Partial));
    assert_eq!(world.status(0), StepStatus::Held);
}
