//! Several drivers with one run: the real [`Course`]s on a ledger in memory, without processes.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use runward_engine::run::command::Report;
use runward_engine::run::state::AttemptStatus;
use runward_engine::run::{ClaimId, Command, Event, Offer, Outcome, Place, RunId, SessionId, StepStatus};
use runward_store::{Ledger, MemoryLedger, RunView, command, conformance::new_run};

use crate::driver::Drive;
use crate::driver::course::{Course, Do, Joined, News};
use crate::driver::inquiry::Found;

/// A ledger in memory never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!(),
    }
}

fn offer(labels: &str) -> Offer {
    Offer::Labels(labels.split_whitespace().map(str::to_owned).collect())
}

fn ledger_with(source: &str) -> MemoryLedger {
    let ledger = MemoryLedger::default();
    let mut new = new_run("run", None);
    new.definition.source = source.to_owned();
    at_once(ledger.trigger(new)).unwrap();
    ledger
}

/// One visit of a worker.
struct Visit<'a> {
    ledger: &'a MemoryLedger,
    course: Course,
    view: RunView,
    name: String,
    claimed: u32,
    running: BTreeSet<ClaimId>,
    killed: Vec<ClaimId>,
    asked: Vec<String>,
}

impl<'a> Visit<'a> {
    fn new(ledger: &'a MemoryLedger, name: &str, offer: Offer) -> Visit<'a> {
        let view = at_once(ledger.load(&RunId::from("run"))).unwrap();
        let place = Place { home: name.into(), host: format!("host of {name}") };
        let mut course = Course::new(SessionId(format!("{name}-session")), "b".to_owned()).for_member(place, offer);
        course.begin(&view.state, Default::default(), Default::default());
        let (name, running) = (name.to_owned(), BTreeSet::new());
        Visit { ledger, course, view, name, claimed: 0, running, killed: Vec::new(), asked: Vec::new() }
    }

    /// Goes on until it waits (`None`), or is over.
    fn goes_on(&mut self) -> Option<Drive> {
        loop {
            match self.course.next(&self.view.state) {
                Do::Commit => self.commit(),
                Do::Start(start) => _ = self.running.insert(start.claim),
                Do::Kill { claim, .. } => self.killed.push(claim),
                Do::Join { claim, .. } => {
                    self.asked.push(format!("join {claim}"));
                    self.running.insert(claim);
                    self.course.joined(Joined::Keeper);
                }
                Do::WakeUp { .. } => {}
                Do::Wait { .. } => return None,
                Do::End(end) => return Some(end),
                other => panic!("{other:?}"),
            }
        }
    }

    fn commit(&mut self) {
        let (course, claimed, name) = (&mut self.course, &mut self.claimed, &self.name);
        let next = &mut |state: &_| {
            course.command(state, || {
                *claimed += 1;
                Some(ClaimId(format!("{name}-{claimed}")))
            })
        };
        at_once(self.ledger.commit(&mut self.view, next, name)).unwrap();
        self.course.committed(&self.view.state);
    }

    fn looks(&mut self) {
        at_once(self.ledger.refresh(&mut self.view)).unwrap();
        self.course.looked();
    }

    fn ends(&mut self, claim: &ClaimId) {
        assert!(self.running.remove(claim));
        self.course.heard(&self.view.state, News::Ended(claim.clone()));
        assert!(matches!(self.course.next(&self.view.state), Do::Look(asked) if asked == *claim));
        let log = Default::default();
        let (outcome, outputs, error) = (Outcome::Succeeded, Default::default(), None);
        let (started_at, ended_at, orphans) = (None, None, Vec::new());
        self.course.found(Found::Ended(Box::new(Report {
            outcome,
            outputs,
            error,
            log,
            started_at,
            ended_at,
            orphans,
        })));
    }
}

const TWO_MACHINES: &str = "steps:\n  - {id: dump, run: \"true\", runs-on: [db]}\n  - {id: pack, run: \"true\", runs-on: [linux]}\n\
                            \x20 - {id: load, run: \"true\", runs-on: [db]}\n";

#[test]
fn two_drivers_share_a_run_each_with_its_own_labels() {
    let ledger = ledger_with(TWO_MACHINES);
    let mut linux = Visit::new(&ledger, "linux", offer("linux"));
    assert_eq!(linux.goes_on(), Some(Drive::Idle), "nothing is there for it");

    let mut db = Visit::new(&ledger, "db", offer("db"));
    assert_eq!(db.goes_on(), None);
    db.ends(&"db-1".into());
    assert_eq!(db.goes_on(), Some(Drive::Idle), "the next step is for another worker");

    let mut linux = Visit::new(&ledger, "linux", offer("linux"));
    assert_eq!(linux.goes_on(), None);
    let mut db = Visit::new(&ledger, "db", offer("db"));
    assert_eq!(db.goes_on(), Some(Drive::Idle), "an attempt of another home is left alone");
    linux.ends(&"linux-1".into());
    assert_eq!(linux.goes_on(), Some(Drive::Idle));

    let mut db = Visit::new(&ledger, "db", offer("db"));
    db.claimed = 1;
    assert_eq!(db.goes_on(), None);
    db.ends(&"db-2".into());
    assert_eq!(db.goes_on(), Some(Drive::Finished));
    assert_eq!(db.view.state.status, runward_engine::run::RunStatus::Succeeded);
}

const BESIDE: &str = "steps:\n  - {id: a, run: \"true\", needs: [], runs-on: [db]}\n  - {id: b, run: \"true\", needs: [], runs-on: [linux]}\n";

#[test]
fn only_the_home_that_claimed_an_attempt_asks_for_it_and_ends_it() {
    let ledger = ledger_with(BESIDE);
    let mut db = Visit::new(&ledger, "db", offer("db"));
    let mut linux = Visit::new(&ledger, "linux", offer("linux"));
    assert_eq!((db.goes_on(), linux.goes_on()), (None, None));

    // The worker on `db` is started again: it asks for its own, and not for the other one.
    let mut db = Visit::new(&ledger, "db", offer("db"));
    assert_eq!(db.goes_on(), None);
    assert_eq!(db.asked, ["join db-1"]);

    let mut view = at_once(ledger.load(&"run".into())).unwrap();
    let cancel = Command::Cancel { force: false, rollback: false, reason: None };
    at_once(command(&ledger, &mut view, cancel, "alice")).unwrap().unwrap();
    for visit in [&mut db, &mut linux] {
        visit.looks();
        assert_eq!(visit.goes_on(), None);
    }
    assert_eq!(db.killed, [ClaimId::from("db-1")]);
    assert_eq!(linux.killed, [ClaimId::from("linux-1")]);
}

#[test]
fn what_was_given_up_while_it_ran_is_ended_and_not_reported() {
    let ledger = ledger_with(BESIDE);
    let mut db = Visit::new(&ledger, "db", offer("db"));
    let mut linux = Visit::new(&ledger, "linux", offer("linux"));
    assert_eq!((db.goes_on(), linux.goes_on()), (None, None));
    let mut view = at_once(ledger.load(&"run".into())).unwrap();
    let with = Some(SessionId::from("db-session"));
    let lose = Command::Lose { claim: "db-1".into(), evidence: "silent".into(), with };
    at_once(command(&ledger, &mut view, lose, "reaper")).unwrap().unwrap();
    for visit in [&mut db, &mut linux] {
        visit.looks();
        visit.goes_on();
    }
    assert_eq!(db.killed, [ClaimId::from("db-1")], "{:?}", db.view.state.live());
    assert!(linux.killed.is_empty());
    db.course.heard(&db.view.state, News::Ended("db-1".into()));
    assert_eq!(db.goes_on(), Some(Drive::Idle));
    let attempt = &db.view.state.unit_named("a").and_then(|unit| db.view.state.unit(unit)).unwrap().attempts[0];
    assert_eq!(attempt.status, AttemptStatus::Lost);
}

#[test]
fn the_end_of_another_run_on_the_same_supervisor_is_no_reason_to_write() {
    let ledger = ledger_with(BESIDE);
    let mut db = Visit::new(&ledger, "db", offer("db"));
    assert_eq!(db.goes_on(), None);
    db.course.heard(&db.view.state, News::Ended("an attempt of another run".into()));
    assert!(matches!(db.course.next(&db.view.state), Do::Wait { .. }));
}

/// Any order in which drivers come, go on and see steps end: each step starts once, where it may.
#[test]
fn whoever_comes_when_each_step_starts_once_and_where_it_may() {
    let labels = ["", "db", "linux", "db, linux"];
    let offers = ["db", "linux", "db linux"];
    let steps: String = (0..12)
        .map(|n| {
            format!(
                "  - {{id: s{n}, run: \"true\", needs: [{}], runs-on: [{}]}}\n",
                if n < 3 { String::new() } else { format!("s{}", n * 7 % (n - 1)) },
                labels[n % 4]
            )
        })
        .collect();
    for seed in 0..200_u64 {
        let ledger = ledger_with(&format!("max-parallel: 3\nsteps:\n{steps}"));
        let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut roll = |sides: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) as usize % sides
        };
        let mut visits: [Option<Visit>; 3] = [None, None, None];
        let mut claimed = [0; 3];
        for _ in 0..10_000 {
            let who = roll(3);
            let visit = visits[who].get_or_insert_with(|| {
                let visit = Visit::new(&ledger, &format!("w{who}"), offer(offers[who]));
                Visit { claimed: claimed[who], ..visit }
            });
            if let Some(claim) = visit.running.iter().nth(roll(4)).cloned() {
                visit.ends(&claim);
            } else {
                visit.looks();
            }
            let end = visit.goes_on();
            claimed[who] = visit.claimed;
            match end {
                Some(Drive::Finished) => break,
                Some(_) => visits[who] = None,
                None => {}
            }
        }
        let view = at_once(ledger.load(&"run".into())).unwrap();
        assert_eq!(view.state.status, runward_engine::run::RunStatus::Succeeded, "seed {seed}");
        for (step, spec) in view.state.steps().iter().zip(&view.state.runbook.steps) {
            assert_eq!((step.whole.status, step.whole.attempts.len()), (StepStatus::Succeeded, 1), "seed {seed}");
            let place = step.whole.attempts[0].place.as_ref().unwrap();
            let who: usize = place.home.0[1..].parse().unwrap();
            assert!(offer(offers[who]).fits(&spec.runs_on), "seed {seed}: {} on {place:?}", spec.id);
        }
        let events = at_once(ledger.events(&"run".into(), 0)).unwrap();
        let lost = |event: &Event| matches!(event, Event::AttemptLost { .. } | Event::AttemptVoided { .. });
        assert!(!events.iter().any(|event| lost(&event.recorded.event)), "seed {seed}");
    }
}
