//! What each member of a cluster is told to do, against a naive look at all units; and one run in the hands of two.

use std::collections::BTreeMap;

use super::*;
use crate::run::calls::{NOW, calls};
use crate::run::hours;
use crate::run::place::{ANY, ENGINE};
use crate::run::todo::todo_for;

fn labels(names: &[&str]) -> Offer {
    Offer::Labels(names.iter().map(|&name| name.to_owned()).collect())
}

fn is_child(state: &RunState, unit: Unit) -> bool {
    unit.part == Part::Step && matches!(state.spec(unit.step).action, Action::Runbook(_))
}

/// Work-lists by label against a scan over everything.
pub(super) fn recount(state: &RunState, ready: &[Unit]) {
    let all = todo(state);
    let free = (state.max_parallel() as usize).saturating_sub(state.live.len() + state.children.len());
    let room = if state.paused.is_some() || all.enter { 0 } else { free };
    let let_through = |unit: &&Unit| state.closure.is_none() || !hours::is_held_back(state, **unit);
    let startable: Vec<Unit> =
        ready.iter().filter(let_through).filter(|unit| !state.arrived.contains(unit)).copied().collect();
    let offers = [Offer::All, Offer::Nothing, labels(&[]), labels(&["db"]), labels(&["db", "linux"]), labels(&["gpu"])];
    for offer in &offers {
        let fits = |unit: &&Unit| is_child(state, **unit) || offer.fits(&state.spec(unit.step).runs_on);
        let expected: Vec<Unit> = startable.iter().filter(fits).take(room).copied().collect();
        let found = todo_for(state, offer);
        assert_eq!(found.claims, expected, "{offer:?}");
        assert_eq!(super::super::todo::Todo { claims: all.claims.clone(), ..found }, all, "{offer:?}");
    }
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for unit in startable.iter().filter(|_| room > 0) {
        let mut names: Vec<&str> = state.spec(unit.step).runs_on.iter().map(String::as_str).collect();
        names.sort_unstable();
        let call = if is_child(state, *unit) { ENGINE } else { names.first().copied().unwrap_or(ANY) };
        expected.insert(call.to_owned(), NOW);
    }
    let tended = (!state.children.is_empty()).then_some(state.tend_since);
    let engine = [expected.get(ENGINE).copied(), all.enter.then_some(NOW), tended, all.wake_at];
    expected.extend(engine.into_iter().flatten().min().map(|since| (ENGINE.to_owned(), since)));
    if state.status.is_terminal() {
        expected.clear();
    }
    assert_eq!(calls(state), expected);
}

const SHARED: &str = "max-parallel: 2\nsteps:\n  - {id: a, run: \"true\", needs: [], runs-on: [gpu]}\n  \
                      - {id: b, run: \"true\", needs: [], runs-on: [linux, db]}\n  - {id: c, run: \"true\", needs: []}\n  \
                      - {id: d, runbook: other, needs: []}\n";

#[test]
fn each_member_is_called_for_what_it_can_do_while_there_is_room() {
    let mut world = World::new(SHARED);
    let names = |world: &World| calls(&world.state).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&world), [ENGINE, ANY, "db", "gpu"]);
    let units = |world: &World, offer: &Offer| todo_for(&world.state, offer).claims;
    assert_eq!(units(&world, &Offer::Nothing), [Unit::step(3)]);
    assert_eq!(units(&world, &labels(&["gpu"])), [Unit::step(0), Unit::step(2)]);
    assert_eq!(units(&world, &labels(&["db", "linux"])), [Unit::step(1), Unit::step(2)]);
    world.claim(0);
    assert_eq!(units(&world, &labels(&["db", "linux"])), [Unit::step(1)], "room is counted before labels");
    world.claim(0);
    assert!(names(&world).is_empty(), "{:?}", names(&world));
    world.settle(0, Outcome::Succeeded);
    assert_eq!(names(&world), [ENGINE, ANY]);
    world.finish();
    assert!(names(&world).is_empty());
}

#[test]
fn a_parent_is_called_again_when_something_else_is_wanted_of_its_child() {
    let mut world = World::new("steps:\n  - {id: d, runbook: other}\n");
    assert_eq!(calls(&world.state)[ENGINE], NOW);
    for wanted in [
        Command::StartChild { unit: Unit::step(0), definition: "other".into() },
        Command::Pause { reason: None },
        Command::Unpause,
        Command::Cancel { force: false, rollback: false, reason: None },
    ] {
        world.now += 10;
        world.send(wanted).unwrap();
        assert_eq!(calls(&world.state)[ENGINE], world.now);
    }
}

#[test]
fn an_attempt_is_on_the_record_with_its_place_and_lost_only_with_whoever_watches_it() {
    let mut world = World::new(CHAIN);
    let place = Some(Place { home: "home-1".into(), host: "db1".into() });
    let (session, boot) = (SessionId("first".into()), "b".to_owned());
    let claim = ClaimId("c".into());
    world
        .send(Command::Claim { unit: Unit::step(0), claim: claim.clone(), session, boot, place: place.clone() })
        .unwrap();
    assert_eq!(world.state.live_attempt(&claim).unwrap().1.place, place);
    let row = &rows::all(&world.state).2[0];
    assert_eq!((row.home.as_deref(), row.host.as_deref()), (Some("home-1"), Some("db1")));
    assert_eq!(picture(&replay(&world.state, &world.events)), picture(&world.state));

    world.send(Command::Adopt { claim: claim.clone(), session: "second".into() }).unwrap();
    let lose = |with: &str| Command::Lose { claim: claim.clone(), evidence: "silent".into(), with: Some(with.into()) };
    assert_eq!(world.send(lose("first")), Err(Reject::Watched { unit: "a".into() }));
    world.send(lose("second")).unwrap();
    assert_eq!(world.status(0), StepStatus::Lost);
}
