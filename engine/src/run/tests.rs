//! Runs without a world around them: what every test of the state machine needs. The tests are below.

use std::sync::Arc;

use serde_json::Map;

use super::child::{ChildEnd, ChildOutcome};
use super::command::{Report, Resolution};
use super::event::LogDigest;
use super::outputs::Outputs;
use super::state::{AttemptStatus, Phase};
use super::todo::todo;
use super::*;
use crate::runbook;
use crate::runbook::model::Action;

mod check;
mod children;
mod cost;
mod course;
mod gates;
mod losses;
mod objectives;
mod offers;
mod people;
mod random;
mod recount;
mod rollback;

use recount::{picture, recount, replay};

const CHAIN: &str = "steps:\n  - {id: a, run: \"true\"}\n  - {id: b, run: \"true\"}\n  - {id: c, run: \"true\"}\n\
                     finally:\n  - {id: z, run: \"true\"}\n";

const FAILED: Outcome = Outcome::Failed { code: Some(1), signal: None };

struct World {
    state: RunState,
    events: Vec<Recorded>,
    now: i64,
    claims: u64,
}

impl World {
    fn new(yaml: &str) -> World {
        let parsed = runbook::parse(yaml.as_bytes());
        let runbook = Arc::new(parsed.unwrap_or_else(|report| panic!("{report:?}\n{yaml}")));
        let mut state = RunState::new("run".into(), runbook);
        let params = Map::from_iter([("yes".to_owned(), true.into())]);
        let created = Event::RunCreated {
            name: "random".into(),
            definition: "none".into(),
            params,
            trigger: "test".into(),
            key: None,
            seed: 7,
            plan: None,
            planned: None,
            parent: None,
            zone: None,
            requester: Vec::new(),
            tick: None,
            group: None,
            priority: Default::default(),
        };
        let events = create(&mut state, created, 1, "tester");
        World { state, events, now: 1, claims: 0 }
    }

    fn send(&mut self, command: Command) -> Result<(), Reject> {
        let events = execute(&mut self.state, &command, self.now, "tester")?;
        self.events.extend(events);
        Ok(())
    }

    fn claim(&mut self, pick: usize) {
        let claims = todo(&self.state).claims;
        if let Some(unit) = claims.get(pick % claims.len().max(1)) {
            if matches!(self.state.spec(unit.step).action, Action::Runbook(_)) {
                self.send(Command::StartChild { unit: *unit, definition: "other".into() }).unwrap();
                return;
            }
            self.claims += 1;
            let claim = ClaimId(format!("c{}", self.claims));
            self.send(Command::Claim { unit: *unit, claim, session: "s".into(), boot: "b".into(), place: None })
                .unwrap();
        }
    }

    fn settle(&mut self, pick: usize, outcome: Outcome) {
        let live: Vec<ClaimId> = self.state.live().keys().cloned().collect();
        let children: Vec<RunId> = self.state.children().keys().cloned().collect();
        if let Some(child) = children.get(pick).or(children.first().filter(|_| live.is_empty())) {
            self.settle_child(child.clone(), &outcome);
        } else if let Some(claim) = live.get(pick % live.len().max(1)) {
            self.send(Command::Settle { claim: claim.clone(), report: Box::new(report(outcome)) }).unwrap();
        }
    }

    fn settle_child(&mut self, child: RunId, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Succeeded => ChildOutcome::Succeeded,
            Outcome::TimedOut => ChildOutcome::TimedOut,
            Outcome::Interrupted => ChildOutcome::Unknown,
            Outcome::Killed => ChildOutcome::Cancelled,
            Outcome::Failed { .. } | Outcome::NotInPlace | Outcome::NotStarted => ChildOutcome::Failed,
        };
        let generation = todo(&self.state).children.iter().find(|it| it.child == child).unwrap().generation;
        let outputs = Outputs::from([("k".to_owned(), "v".into())]);
        let end = Box::new(ChildEnd { outcome, generation, outputs, error: Some("it says why".into()) });
        self.send(Command::SettleChild { child, end }).unwrap();
    }

    fn any_unit(&self, pick: usize) -> Unit {
        let all: Vec<Unit> = rows::units(&self.state).collect();
        all[(pick * 5) % all.len()]
    }

    fn skip(&mut self, step: u32) -> Result<(), Reject> {
        self.send(Command::Skip { unit: Unit::step(step), reason: "not needed".into() })
    }

    fn status(&self, step: usize) -> StepStatus {
        self.state.step(step as u32).whole.status
    }

    /// Everything succeeds from here on; held steps are resolved.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.state.status.is_terminal() {
                return;
            }
            let _ = self.send(Command::Unpause);
            self.claim(0);
            self.settle(0, Outcome::Succeeded);
            if let Some(unit) = self.state.held().first().copied() {
                self.send(Command::Resolve { unit, resolution: Resolution::Succeeded, reason: None }).unwrap();
            }
            self.now += 1_000;
            self.send(Command::Wake).unwrap();
        }
        panic!("the run never ends: {:?}", self.state);
    }
}

fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        outputs: Outputs::from([("k".to_owned(), "v".into())]),
        error: None,
        log: LogDigest::default(),
        started_at: None,
        ended_at: None,
        orphans: Vec::new(),
    }
}
