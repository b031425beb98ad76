//! Runs that have to be quick enough, and must not lose too much.

use super::super::objectives::{Measured, Objective, Standing};
use super::*;

const RESTORE: &str = "objectives: {rto: 1m, rpo: 1h}\noutputs: {rpo: \"${{ steps.a.outputs.k }}\"}\nsteps:\n  - {id: a, \
                       outputs: {k: string}, run: \"true\"}\n  - {id: b, run: \"true\"}\n";

fn restore(lost: &str) -> World {
    let mut world = World::new(RESTORE);
    world.claim(0);
    let claim = world.state.live().keys().next().unwrap().clone();
    let outputs = Outputs::from([("k".to_owned(), lost.into())]);
    let report = Report { outputs, ..report(Outcome::Succeeded) };
    world.send(Command::Settle { claim, report: Box::new(report) }).unwrap();
    world
}

fn end(world: &mut World, at: i64, outcome: Outcome) {
    world.now = at;
    world.claim(0);
    world.settle(0, outcome);
}

fn standings(world: &World) -> Vec<(Standing, Option<i64>)> {
    let replayed = replay(&world.state, &world.events).standings();
    assert_eq!(replayed, world.state.standings());
    replayed.iter().map(|one| (one.standing, one.measured_ms)).collect()
}

fn told(world: &World) -> Vec<String> {
    let notices = world.events.iter().filter_map(|event| notice::of(&world.state, event));
    notices.filter(|notice| notice.kind == notice::Kind::Objective).filter_map(|notice| notice.reason).collect()
}

#[test]
fn what_was_quick_enough_and_lost_little_has_met_both() {
    let mut world = restore("59m");
    assert_eq!(standings(&world), [(Standing::Open, None), (Standing::Open, None)]);
    end(&mut world, 60_001, Outcome::Succeeded);
    assert_eq!(standings(&world), [(Standing::Met, Some(60_000)), (Standing::Met, Some(3_540_000))]);
    assert_eq!(told(&world), Vec::<String>::new());
    let kinds: Vec<&str> = world.events.iter().rev().take(2).map(|event| event.event.kind()).collect();
    assert_eq!(kinds, ["run_finished", "objectives_measured"]);
}

#[test]
fn what_lost_too_much_is_told_once_at_its_end() {
    let mut world = restore("2h");
    end(&mut world, 2, Outcome::Succeeded);
    assert_eq!(standings(&world)[1], (Standing::Missed, Some(7_200_000)));
    assert_eq!(told(&world), ["rpo 1h 00m was missed: 2h 00m of the data was lost"]);
}

#[test]
fn that_the_time_is_over_is_told_when_it_is_over_and_not_again() {
    let mut world = restore("1m");
    assert_eq!(todo(&world.state).wake_at, Some(60_002));
    world.now = 60_001;
    world.send(Command::Wake).unwrap();
    assert_eq!(told(&world), Vec::<String>::new());
    world.now = 60_002;
    world.send(Command::Wake).unwrap();
    world.send(Command::Wake).unwrap();
    assert_eq!(told(&world), ["rto 1m 00s is over, and the run still goes on"]);
    assert_eq!((standings(&world)[0], todo(&world.state).wake_at), ((Standing::Missed, None), None));
    end(&mut world, 120_001, Outcome::Succeeded);
    assert_eq!(standings(&world)[0], (Standing::Missed, Some(120_000)));
    assert_eq!(told(&world).len(), 1);
}

#[test]
fn a_run_that_failed_in_time_may_still_make_it_counted_from_its_first_trigger() {
    let mut world = restore("1m");
    end(&mut world, 10_001, FAILED);
    assert_eq!(standings(&world), [(Standing::NotReached, None), (Standing::NotReached, None)]);
    world.now = 20_001;
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(standings(&world)[0], (Standing::Open, None));
    end(&mut world, 30_001, Outcome::Succeeded);
    assert_eq!(standings(&world), [(Standing::Met, Some(30_000)), (Standing::Met, Some(60_000))]);
}

#[test]
fn what_was_lost_is_not_guessed() {
    let mut world = restore("a little");
    end(&mut world, 2, Outcome::Succeeded);
    assert_eq!(world.state.status, RunStatus::Succeeded);
    let Some(Measured { objective: Objective::Rpo, standing: Standing::NotMeasured, why: Some(why), .. }) =
        world.state.standings().pop()
    else {
        panic!("{:?}", world.state.standings());
    };
    assert!(why.starts_with("the output `rpo`: "), "{why}");
}

#[test]
fn a_runbook_without_objectives_has_nothing_about_them_on_its_record() {
    let mut world = World::new(CHAIN);
    world.finish();
    assert!(world.state.standings().is_empty());
    assert!(world.events.iter().all(|event| !event.event.kind().starts_with("objective")));
}
