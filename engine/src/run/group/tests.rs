//! Many runs of one group, and whatever can happen to them: never more than the limit, nobody starves, nothing is stuck.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::run::command::Report;
use crate::run::event::{LogDigest, Outcome};
use crate::run::outputs::Outputs;
use crate::run::rows::run_row;
use crate::run::todo::todo;
use crate::run::{ClaimId, Command, Env, Recorded, apply::apply, create, execute};
use crate::runbook;

const BOOK: &str = "steps:\n  - {id: a, run: x}\n  - {id: b, run: x}\nfinally:\n  - {id: z, run: x}\n";

/// What happens next, to which run.
#[derive(Debug, Clone)]
enum Act {
    Drive(usize),
    Settle(usize, bool),
    Cancel(usize),
    Pause(usize),
    Unpause(usize),
    Resume(usize),
    Dies(usize),
    Returns(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let run = 0usize..8;
    prop_oneof![
        6 => run.clone().prop_map(Act::Drive),
        4 => (run.clone(), prop::bool::weighted(0.8)).prop_map(|(run, well)| Act::Settle(run, well)),
        1 => run.clone().prop_map(Act::Cancel),
        1 => run.clone().prop_map(Act::Pause),
        1 => run.clone().prop_map(Act::Unpause),
        1 => run.clone().prop_map(Act::Resume),
        1 => run.clone().prop_map(Act::Dies),
        1 => run.prop_map(Act::Returns),
    ]
}

struct World {
    runs: Vec<(RunState, Vec<Recorded>)>,
    dead: BTreeSet<usize>,
    claims: u64,
}

impl World {
    fn new(kinds: &[(u32, WhenBusy, Priority)]) -> World {
        let book = Arc::new(runbook::parse(BOOK.as_bytes()).unwrap());
        let begin = |(n, (limit, when_busy, priority)): (usize, &(u32, WhenBusy, Priority))| {
            let mut state = RunState::new(RunId(format!("run-{n}")), Arc::clone(&book));
            let group = Group { name: "g".into(), limit: NonZeroU32::new(*limit).unwrap(), when_busy: *when_busy };
            let created = serde_json::json!({
                "kind": "run_created", "name": "r", "definition": "d", "params": Map::new(), "trigger": "test",
                "seed": 1, "group": group, "priority": priority,
            });
            let events = create(&mut state, serde_json::from_value(created).unwrap(), 1, "tester");
            (state, events)
        };
        World { runs: kinds.iter().enumerate().map(begin).collect(), dead: BTreeSet::new(), claims: 0 }
    }

    fn members(&self) -> Vec<Member> {
        self.runs.iter().filter_map(|(state, _)| Member::of(&run_row(state))).collect()
    }

    fn send(&mut self, run: usize, command: &Command) -> Result<(), Reject> {
        let members = self.members();
        let (state, events) = &mut self.runs[run];
        let standing = state.permit_at.is_none().then(|| Standing::new(&members, &state.id, state.priority));
        let held = members.iter().filter(|it| it.permit == Permit::Holds && it.run != state.id).count();
        let held_before = state.permit_at.is_some();
        events.extend(execute(state, command, &Env { now: 2, standing }, "tester")?);
        if !held_before && state.permit_at.is_some() {
            let limit = state.group.as_ref().unwrap().limit.get() as usize;
            assert!(held < limit, "{held} held a permit, and the limit of {} is {limit}", state.id);
        }
        Ok(())
    }

    /// One look of a driver at its run: it asks where it has to, and claims what it can. Whether anything changed.
    fn drive(&mut self, run: usize) -> bool {
        if self.dead.contains(&run) {
            return false;
        }
        let before = self.runs[run].0.seq;
        if todo(&self.runs[run].0).enter {
            let passing = self.dead.iter().map(|dead| self.runs[*dead].0.id.clone()).collect();
            let _ = self.send(run, &Command::Enter { passing });
        }
        while let Some(unit) = todo(&self.runs[run].0).claims.first().copied() {
            self.claims += 1;
            let claim = ClaimId(format!("c{}", self.claims));
            self.send(run, &Command::Claim { unit, claim, session: "s".into(), boot: "b".into(), place: None })
                .unwrap();
        }
        self.runs[run].0.seq > before
    }

    fn settle(&mut self, run: usize, well: bool) -> bool {
        let Some(claim) = self.runs[run].0.live().keys().next().cloned() else { return false };
        let outcome = if well { Outcome::Succeeded } else { Outcome::Failed { code: Some(1), signal: None } };
        let report = Report {
            outcome,
            outputs: Outputs::new(),
            error: None,
            log: LogDigest::default(),
            started_at: None,
            ended_at: None,
            orphans: Vec::new(),
        };
        self.send(run, &Command::Settle { claim, report: Box::new(report) }).is_ok()
    }

    fn act(&mut self, act: &Act) {
        let all = self.runs.len();
        let _ = match act {
            Act::Drive(run) => Ok(_ = self.drive(run % all)),
            Act::Settle(run, well) => Ok(_ = self.settle(run % all, *well)),
            Act::Cancel(run) => self.send(run % all, &Command::Cancel { force: false, rollback: false, reason: None }),
            Act::Pause(run) => self.send(run % all, &Command::Pause { reason: None }),
            Act::Unpause(run) => self.send(run % all, &Command::Unpause),
            Act::Resume(run) => self.send(run % all, &Command::Resume { from: None, reason: None }),
            Act::Dies(run) => Ok(_ = self.dead.insert(run % all)),
            Act::Returns(run) => Ok(_ = self.dead.remove(&(run % all))),
        };
        for (state, _) in &self.runs {
            assert!(state.permit_at.is_none() || !state.status.is_terminal(), "{} is over and holds on", state.id);
            assert!(state.permit_at.is_some() || state.live().is_empty(), "{} runs without a permit", state.id);
        }
    }

    /// A replay of its events gives the same standing.
    fn replayed(&self) {
        for (state, events) in &self.runs {
            let mut again = RunState::new(state.id.clone(), Arc::clone(&state.runbook));
            events.iter().for_each(|event| apply(&mut again, event));
            assert_eq!(run_row(&again), run_row(state));
        }
    }
}

fn kinds(limits: std::ops::Range<u32>) -> impl Strategy<Value = Vec<(u32, WhenBusy, Priority)>> {
    let when_busy = prop_oneof![4 => Just(WhenBusy::Queue), 1 => Just(WhenBusy::Skip), 1 => Just(WhenBusy::Fail)];
    let priority = prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)];
    prop::collection::vec((limits, when_busy, priority), 2..8)
}

proptest! {
    #[test]
    fn never_more_than_the_limit_and_in_the_end_everybody_had_a_turn(
        kinds in kinds(1..4),
        acts in prop::collection::vec(act(), 0..80),
        stay_dead in prop::collection::btree_set(0usize..8, 0..3),
    ) {
        let mut world = World::new(&kinds);
        acts.iter().for_each(|act| world.act(act));
        world.replayed();
        // The faults stop. Those that hold a permit get a driver again; of those that wait some never do.
        let all = world.runs.len();
        world.dead = stay_dead.into_iter().filter(|n| *n < all && world.runs[*n].0.permit_at.is_none()).collect();
        for run in 0..all {
            let _ = world.send(run, &Command::Unpause);
        }
        while (0..all).fold(false, |moved, run| world.drive(run) | world.settle(run, true) | moved) {}
        for (n, (state, _)) in world.runs.iter().enumerate() {
            assert!(state.status.is_terminal() || world.dead.contains(&n), "{} is stuck: {:?}", state.id, state.permit());
        }
        world.replayed();
    }

    #[test]
    fn those_that_wait_go_by_priority_and_age(
        priorities in prop::collection::vec(prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)], 2..8),
        looks in prop::collection::vec(0usize..8, 200),
    ) {
        let kinds: Vec<_> = priorities.iter().map(|priority| (1, WhenBusy::Queue, *priority)).collect();
        let mut world = World::new(&kinds);
        let mut wanted: Vec<(Priority, usize)> = priorities.iter().copied().zip(0..).collect();
        wanted.sort();
        let mut taken = Vec::new();
        for look in looks.into_iter().chain((0..8).cycle().take(200)) {
            let run = look % kinds.len();
            let held = world.runs[run].0.permit_at.is_some();
            world.drive(run);
            if !held && world.runs[run].0.permit_at.is_some() {
                taken.push((priorities[run], run));
            }
            world.settle(run, true);
        }
        assert_eq!(taken, wanted);
    }
}
