//! Random runbooks, random commands: nothing panics, a replay gives the same state at every prefix, the counters are
//! what a naive recount says, and a step without `retry` starts at most once a generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
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
mod gates;
mod rollback;

#[derive(Debug, Clone)]
struct StepPlan {
    needs: Vec<usize>,
    follows: bool,
    retry: u32,
    on_lost: u8,
    allow_failure: bool,
    condition: u8,
    items: Option<(u8, u8, u8)>,
    waits: bool,
    undo: u8,
    check: bool,
    calls: bool,
}

fn step_plan() -> impl Strategy<Value = StepPlan> {
    let items = prop::option::weighted(0.3, (0u8..5, 1u8..4, 1u8..3));
    (
        prop::collection::vec(0usize..8, 0..3),
        any::<bool>(),
        0u32..4,
        0u8..3,
        any::<bool>(),
        0u8..5,
        items,
        prop::bool::weighted(0.2),
        (0u8..5, prop::bool::weighted(0.3), prop::bool::weighted(0.2)),
    )
        .prop_map(
            |(needs, follows, retry, on_lost, allow_failure, condition, items, waits, (undo, check, calls))| StepPlan {
                needs,
                follows,
                retry,
                on_lost,
                allow_failure,
                condition,
                items,
                waits,
                undo,
                check,
                calls: calls && !waits,
            },
        )
}

/// The YAML of a runbook with these steps, the last `last` of them in `finally`.
fn yaml(steps: &[StepPlan], last: usize) -> String {
    let main = (steps.len() - last).max(1);
    let mut text = String::from(
        "params: {yes: {type: bool, default: true}}\ndefaults: {env: {YES: '${{ params.yes }}'}}\nsteps:\n",
    );
    for (n, step) in steps.iter().enumerate() {
        let start = if n < main { 0 } else { main };
        if n == main {
            text += "finally:\n";
        }
        text += &format!(
            "  - id: s{n}\n    {}\n",
            match step {
                StepPlan { waits: true, .. } => "wait: 15ms",
                StepPlan { calls: true, condition: 4, .. } => "runbook: other\n    timeout: 15ms",
                StepPlan { calls: true, .. } => "runbook: other",
                _ => "run: \"true\"",
            }
        );
        if !step.follows {
            let needs: std::collections::BTreeSet<usize> =
                step.needs.iter().filter(|_| n > start).map(|need| start + need % (n - start).max(1)).collect();
            let needs: Vec<String> = needs.iter().map(|need| format!("s{need}")).collect();
            text += &format!("    needs: [{}]\n", needs.join(", "));
        }
        if step.retry > 1 && !step.waits {
            text += &format!("    retry: {{attempts: {}, delay: 10ms}}\n", step.retry);
        }
        match step.on_lost {
            _ if step.waits => {}
            1 => text += "    on-lost: hold\n",
            2 => text += "    on-lost: fail\n",
            _ => {}
        }
        if step.check && !step.waits && !step.calls {
            text += "    check: \"true\"\n";
        }
        match step.undo {
            _ if step.waits => {}
            1 | 2 if n < main => text += "    undo: \"true\"\n",
            3 if n < main => text += "    undo: {run: \"true\", retry: {attempts: 2, delay: 10ms}}\n",
            _ => {}
        }
        if step.allow_failure {
            text += "    allow-failure: true\n";
        }
        match step.condition {
            1 => text += "    if: params.yes\n",
            2 => text += "    if: not params.yes\n",
            3 if n >= main => text += "    if: failure()\n",
            _ => {}
        }
        if let Some((count, width, limit)) = step.items {
            let items: Vec<String> = (0..count).map(|n| format!("i{n}")).collect();
            text += &format!("    for-each: [{}]\n    max-parallel: {width}\n", items.join(", "));
            text += &format!("    stop-after-failures: {limit}\n");
        }
    }
    text
}

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
            self.send(Command::Claim { unit: *unit, claim, session: "s".into(), boot: "b".into() }).unwrap();
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

    fn random(&mut self, action: u8, pick: usize) {
        let live: Vec<ClaimId> = self.state.live().keys().cloned().collect();
        let claim = live.get(pick % live.len().max(1)).cloned();
        match (action, claim) {
            (0..=5, _) => self.claim(pick),
            (6..=9, _) => self.settle(pick, Outcome::Succeeded),
            (10, _) => self.settle(pick, Outcome::Failed { code: Some(1), signal: None }),
            (11, _) => self.settle(pick, Outcome::TimedOut),
            (12, _) => self.settle(pick, Outcome::Interrupted),
            (13, _) => self.settle(pick, Outcome::Killed),
            (14, Some(claim)) => self.send(Command::Lose { claim, evidence: "gone".into() }).unwrap(),
            (15, Some(claim)) => self.send(Command::Void { claim }).unwrap(),
            (16, _) => {
                self.now += 20;
                self.send(Command::Wake).unwrap();
            }
            (17, _) => {
                _ = self.send(Command::Cancel {
                    force: pick.is_multiple_of(3),
                    rollback: pick.is_multiple_of(2),
                    reason: None,
                })
            }
            (18, _) => _ = self.send(Command::Resume { from: None, reason: None }),
            (19, _) => {
                if let Some(unit) = todo(&self.state).claims.first() {
                    self.send(Command::Refuse { unit: *unit, error: "no value".into() }).unwrap();
                }
            }
            (20, _) => {
                if let Some(unit) = self.state.held().first().copied() {
                    let resolution = [Resolution::Succeeded, Resolution::Failed, Resolution::Retry][pick % 3];
                    self.send(Command::Resolve { unit, resolution, reason: None }).unwrap();
                }
            }
            (22, _) => _ = self.send(Command::Pause { reason: None }),
            (23, _) => _ = self.send(Command::Unpause),
            (24 | 25, _) => _ = self.send(Command::Skip { unit: self.any_unit(pick), reason: "not needed".into() }),
            (26, _) => _ = self.send(Command::Retry { unit: self.any_unit(pick), reason: None }),
            (27, _) => {
                let from = Some(self.any_unit(pick).step);
                let _ = self.send(Command::Resume { from, reason: None });
            }
            (28, _) => _ = self.send(Command::Rollback { reason: None }),
            (29, _) => {
                let unit = self.any_unit(pick).part(Part::Undo);
                let resolution = [Resolution::Succeeded, Resolution::Failed, Resolution::Retry][pick % 3];
                let _ = self.send(Command::Resolve { unit, resolution, reason: None });
            }
            _ => {}
        }
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

/// The work-lists and counters against a scan over everything.
fn recount(state: &RunState) {
    let all: Vec<Unit> = rows::units(state).collect();
    let with = |status: StepStatus| -> Vec<Unit> {
        all.iter().filter(|unit| state.unit(**unit).unwrap().status == status).copied().collect()
    };
    let parent = |unit: &Unit| unit.is_whole() && state.step(unit.step).items.is_some();
    // Its probe is asked in its place.
    let asks = |unit: &Unit| {
        let owner = (unit.part == Part::Step).then(|| state.unit(*unit)).flatten();
        owner.is_some_and(|owner| state.closed_while_asked(owner, StepStatus::Skipped).is_some())
    };
    let running: Vec<Unit> =
        with(StepStatus::Running).into_iter().filter(|unit| !parent(unit) && !asks(unit)).collect();
    let mut live: Vec<Unit> = state.live.values().copied().collect();
    live.sort();
    assert_eq!(live, running);
    let ready: Vec<Unit> = with(StepStatus::Ready).into_iter().filter(|unit| !asks(unit)).collect();
    assert_eq!(state.ready.union(&state.arrived).copied().collect::<Vec<_>>(), ready);
    assert!(state.ready.is_disjoint(&state.arrived) && (state.arrived.is_empty() || state.paused.is_some()));
    let by_undo = |unit: &Unit| state.unit(*unit).unwrap().is_held_by_undo();
    let held = with(StepStatus::Held).into_iter().filter(|unit| !by_undo(unit) && !parent(unit));
    assert_eq!(state.held.iter().copied().collect::<Vec<_>>(), held.collect::<Vec<_>>());
    let mut timers: Vec<Unit> = state.timers.iter().map(|(_, unit)| *unit).collect();
    timers.sort();
    let child = |unit: &Unit| state.unit(*unit).unwrap().open_child();
    let (children, waits): (Vec<Unit>, Vec<Unit>) =
        with(StepStatus::Waiting).into_iter().partition(|it| child(it).is_some());
    let mut open: Vec<Unit> = state.children.values().copied().collect();
    open.sort();
    assert_eq!(open, children);
    assert!(state.children.iter().all(|(run, unit)| child(unit).is_some_and(|child| child.run == *run)));
    let limited =
        |unit: &Unit| matches!(&state.spec(unit.step).action, Action::Runbook(call) if call.timeout.is_some());
    let mut timed = with(StepStatus::Backoff);
    timed.extend(waits);
    timed.extend(children.into_iter().filter(|unit| limited(unit) && !child(unit).unwrap().timed_out));
    timed.sort();
    assert_eq!(timers, timed);
    for section in [0, 1] {
        let steps = (0..state.steps.len() as u32).filter(|step| state.section(*step) == section);
        let held = |step: u32| state.held.contains(&Unit::step(step));
        let is_open = |step: &u32| match state.step(*step).whole.status {
            StepStatus::Held => held(*step),
            status => !status.is_terminal(),
        };
        let open = steps.filter(is_open).count();
        assert_eq!(state.open[section], open, "section {section}");
    }
    // What is taken back leaves what follows it as it is, until the next generation.
    let main = if state.phase == Phase::Main { state.runbook.main_len } else { 0 };
    for (step, found) in state.steps.iter().enumerate().take(main) {
        let unmet = state.spec(step as u32).needs.iter().filter(|need| !state.satisfies(**need as u32)).count();
        assert_eq!(found.unmet as usize, unmet, "step {step}");
        if let Some(items) = &found.items {
            let is_open = |unit: &&state::UnitState| {
                use StepStatus::*;
                matches!(unit.status, Ready | Running | Backoff | Waiting | Held)
            };
            assert_eq!(items.open as usize, items.units.iter().filter(is_open).count(), "items of step {step}");
        }
    }
    in_order(state);
    assert!((state.live.len() + state.children.len()) as u32 <= state.max_parallel());
    if state.status.is_terminal() {
        assert!(
            state.live.is_empty() && state.children.is_empty() && state.open == [0, 0] && state.phase == Phase::Done
        );
    }
}

/// Whatever is under way comes after steps that are over, also those it needs only through others.
fn in_order(state: &RunState) {
    for step in (0..state.runbook.main_len as u32).filter(|step| state.is_open(0) && state.step(*step).unmet == 0) {
        let status = state.step(step).whole.status;
        if status.is_terminal() || status == StepStatus::Pending {
            continue;
        }
        let mut before = state.spec(step).needs.clone();
        while let Some(need) = before.pop() {
            assert!(state.satisfies(need as u32), "step {step} is {status:?}, {need} is not satisfied");
            before.extend(&state.spec(need as u32).needs);
        }
    }
}

fn nothing_starts_in_a_pause(events: &[Recorded]) {
    let mut paused = false;
    for recorded in events {
        match recorded.event {
            Event::RunPaused { .. } => paused = true,
            Event::RunUnpaused | Event::CancelRequested { .. } | Event::RunFinished { .. } => paused = false,
            Event::AttemptClaimed { .. }
            | Event::ChildStarted { .. }
            | Event::WaitStarted { .. }
            | Event::FinallyStarted => {
                assert!(!paused, "{recorded:?}")
            }
            _ => {}
        }
    }
}

/// What a ledger holds that writes the rows that were touched, and no other.
fn write_touched(state: &mut RunState, written: &mut BTreeMap<String, rows::StepRow>) {
    for unit in state.take_touched() {
        written.extend(rows::step_row(state, unit).map(|row| (row.unit.clone(), row)));
    }
    let all = rows::all(state).1;
    for row in &all {
        assert_eq!(written.get(&row.unit), Some(row));
    }
}

fn replay(state: &RunState, events: &[Recorded]) -> RunState {
    let mut replayed = RunState::new(state.id.clone(), Arc::clone(&state.runbook));
    events.iter().for_each(|event| apply::apply(&mut replayed, event));
    replayed
}

/// Everything but which rows were touched since somebody asked.
fn picture(state: &RunState) -> String {
    let mut state = state.clone();
    state.take_touched();
    format!("{state:?}")
}

/// Starts that count, per unit and generation.
fn starts(state: &RunState) -> BTreeMap<(Unit, u32), u32> {
    let mut starts = BTreeMap::new();
    for unit in rows::units(state) {
        for attempt in &state.unit(unit).unwrap().attempts {
            if attempt.status != AttemptStatus::NeverStarted {
                *starts.entry((unit, attempt.generation)).or_default() += 1;
            }
        }
    }
    starts
}

/// The same of children, read from the record.
fn children_started(world: &World) -> BTreeMap<(Unit, u32), u32> {
    let (mut starts, mut generation) = (BTreeMap::new(), 1);
    for recorded in &world.events {
        match &recorded.event {
            Event::RunResumed { generation: next, .. } => generation = *next,
            Event::ChildStarted { unit, .. } => {
                *starts.entry((world.state.unit_named(unit).unwrap(), generation)).or_default() += 1;
            }
            _ => {}
        }
    }
    starts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_commands_on_any_runbook_keep_the_rules(
        steps in prop::collection::vec(step_plan(), 1..9),
        last in 0usize..3,
        actions in prop::collection::vec((0u8..30, 0usize..8), 0..80),
    ) {
        let mut world = World::new(&yaml(&steps, last.min(steps.len() - 1)));
        let (mut resolved, mut written) = (0, BTreeMap::new());
        for (action, pick) in actions {
            world.random(action, pick);
            recount(&world.state);
            write_touched(&mut world.state, &mut written);
            resolved += usize::from(matches!(action, 20 | 26 | 29));
        }
        world.finish();
        recount(&world.state);
        prop_assert_eq!(world.events.len() as u64, world.state.seq);
        nothing_starts_in_a_pause(&world.events);
        let mut started = starts(&world.state);
        started.extend(children_started(&world));
        for ((unit, generation), count) in started {
            if unit.part == Part::Check {
                continue; // it changes nothing, and is asked again when it is lost
            }
            let allowed = world.state.starts_max(unit);
            prop_assert!(resolved > 0 || count <= allowed, "{unit:?} generation {generation}: {count} starts");
        }
    }

    #[test]
    fn a_replay_is_the_state_at_every_prefix(
        steps in prop::collection::vec(step_plan(), 1..7),
        last in 0usize..3,
        actions in prop::collection::vec((0u8..30, 0usize..8), 0..40),
    ) {
        let mut world = World::new(&yaml(&steps, last.min(steps.len() - 1)));
        for (action, pick) in actions {
            world.random(action, pick);
            prop_assert_eq!(picture(&replay(&world.state, &world.events)), picture(&world.state));
        }
        for event in &world.events {
            let text = serde_json::to_string(&event.event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), &event.event);
            let kind = format!("\"kind\":\"{}\"", event.event.kind());
            prop_assert!(text.contains(&kind));
        }
    }
}

#[test]
fn repeated_commands_change_nothing() {
    let mut world = World::new("steps:\n  - id: a\n    run: \"true\"\n");
    let claim = Command::Claim { unit: Unit::step(0), claim: "c".into(), session: "s".into(), boot: "b".into() };
    world.send(claim.clone()).unwrap();
    world.send(claim).unwrap();
    assert_eq!(world.state.live().len(), 1);
    let settle = Command::Settle { claim: "c".into(), report: Box::new(report(Outcome::Succeeded)) };
    world.send(settle.clone()).unwrap();
    let seq = world.state.seq;
    world.send(settle).unwrap();
    assert_eq!((world.state.seq, world.state.status), (seq, RunStatus::Succeeded));
    assert!(matches!(world.send(Command::Resume { from: None, reason: None }), Err(Reject::NotResumable { .. })));
}

#[test]
fn a_failure_stops_the_run_but_running_steps_finish_and_finally_runs() {
    let text = "steps:\n  - {id: a, needs: [], run: \"true\"}\n  - {id: b, needs: [], run: \"true\"}\n  \
                - {id: c, run: \"true\"}\nfinally:\n  - {id: d, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(3), signal: None });
    assert_eq!(world.state.status, RunStatus::Stopping);
    assert!(todo(&world.state).claims.is_empty() && todo(&world.state).kills.is_empty());
    assert_eq!(world.state.step(2).whole.status, StepStatus::Skipped);
    world.settle(0, Outcome::Succeeded);
    assert_eq!(world.state.phase, Phase::Finally);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Failed);
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0), Unit::step(2)], "b succeeded and is kept");
    world.finish();
    assert_eq!((world.state.status, world.state.generation), (RunStatus::Succeeded, 2));
}

#[test]
fn a_late_result_is_recorded_and_changes_nothing() {
    let mut world = World::new("steps:\n  - id: a\n    run: \"true\"\n");
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into() }).unwrap();
    assert_eq!(Verdict::of(&world.state), Verdict::Unknown);
    world.settle(0, Outcome::Succeeded);
    let settle = Command::Settle { claim: "c1".into(), report: Box::new(report(Outcome::Succeeded)) };
    world.send(settle).unwrap();
    assert!(matches!(world.events.last().unwrap().event, Event::LateResult { .. }));
    assert_eq!(world.state.step(0).whole.status, StepStatus::Lost);
}

#[test]
fn items_of_finally_run_again_in_the_next_generation() {
    let text = "steps:\n  - {id: a, run: \"true\"}\nfinally:\n  - id: z\n    for-each: [x, y]\n    run: \"true\"\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(1), signal: None });
    world.finish();
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    world.finish();
    let starts =
        |item| world.state.unit(Unit::item(1, item)).unwrap().attempts.iter().map(|a| a.no).collect::<Vec<_>>();
    assert_eq!((starts(0), starts(1)), (vec![1, 2], vec![1, 2]));
}

#[test]
fn resolving_as_retry_allows_one_more_start_whatever_retry_says() {
    let text = "steps:\n  - id: a\n    run: \"true\"\n    retry: {attempts: 3, delay: 1ms}\n    on-lost: hold\n";
    let mut world = World::new(text);
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into() }).unwrap();
    world.send(Command::Resolve { unit: Unit::step(0), resolution: Resolution::Retry, reason: None }).unwrap();
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(1), signal: None });
    assert_eq!(world.state.status, RunStatus::Failed);
    assert_eq!(world.state.step(0).whole.attempts.len(), 2);
}

#[test]
fn a_timeout_of_thousands_of_years_is_only_long() {
    let mut world = World::new("timeout: 106751991167d\nsteps:\n  - {id: a, run: \"true\"}\n");
    world.claim(0);
    assert!(world.state.deadline().is_some());
    world.finish();
}

#[test]
fn a_run_that_waits_for_a_person_has_no_timer() {
    let mut world = World::new("timeout: 1s\nsteps:\n  - {id: a, run: \"true\", on-lost: hold}\n");
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into() }).unwrap();
    assert!(todo(&world.state).is_idle(&world.state));
    assert_eq!(Verdict::of(&world.state).exit_code(), 8);
}

#[test]
fn failed_and_then_cancelled_counts_as_cancelled() {
    let mut world =
        World::new("steps:\n  - {id: a, needs: [], run: \"true\"}\n  - {id: b, needs: [], run: \"true\"}\n");
    world.claim(0);
    world.claim(0);
    world.settle(0, Outcome::Failed { code: Some(1), signal: None });
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    world.settle(0, Outcome::Killed);
    assert_eq!((world.state.status, Verdict::of(&world.state).exit_code()), (RunStatus::Failed, 4));
}

const CHAIN: &str = "steps:\n  - {id: a, run: \"true\"}\n  - {id: b, run: \"true\"}\n  - {id: c, run: \"true\"}\n\
                     finally:\n  - {id: z, run: \"true\"}\n";

const FAILED: Outcome = Outcome::Failed { code: Some(1), signal: None };

#[test]
fn a_paused_run_finishes_what_runs_and_starts_nothing_not_even_finally() {
    let mut world = World::new(CHAIN);
    world.claim(0);
    world.send(Command::Pause { reason: Some("failover".into()) }).unwrap();
    assert_eq!(world.state.status, RunStatus::Paused);
    assert!(
        matches!(world.send(Command::Pause { reason: None }), Err(Reject::AlreadyPaused { was }) if was.by == "tester")
    );
    world.settle(0, Outcome::Succeeded);
    assert!(todo(&world.state).claims.is_empty() && !todo(&world.state).is_idle(&world.state));
    let claim = Command::Claim { unit: Unit::step(1), claim: "x".into(), session: "s".into(), boot: "b".into() };
    assert!(matches!(world.send(claim), Err(Reject::Paused { .. })));
    world.send(Command::Unpause).unwrap();
    assert!(matches!(world.send(Command::Unpause), Err(Reject::NotPaused { last: Some(_) })));
    assert_eq!(world.state.status, RunStatus::Running);
    world.claim(0);
    world.send(Command::Pause { reason: None }).unwrap();
    world.settle(0, FAILED);
    assert_eq!((world.state.status, world.state.phase), (RunStatus::Paused, Phase::Main), "`finally` waits, too");
    world.send(Command::Unpause).unwrap();
    assert_eq!((world.state.status, world.state.phase), (RunStatus::Stopping, Phase::Finally));
}

#[test]
fn a_cancel_ends_a_pause_and_finally_runs() {
    let mut world = World::new(CHAIN);
    world.send(Command::Pause { reason: None }).unwrap();
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(3)]);
    assert!(matches!(world.send(Command::Pause { reason: None }), Err(Reject::BeingCancelled { .. })));
    world.finish();
    assert_eq!(world.state.status, RunStatus::Cancelled);
}

#[test]
fn the_time_of_a_run_goes_on_during_a_pause() {
    let mut world = World::new("timeout: 1s\nsteps:\n  - {id: a, run: \"true\"}\n  - {id: b, run: \"true\"}\n");
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.send(Command::Pause { reason: None }).unwrap();
    assert!(todo(&world.state).wake_at.is_some());
    world.now += 2_000;
    world.send(Command::Wake).unwrap();
    assert_eq!(world.state.status, RunStatus::TimedOut);
}

#[test]
fn a_step_is_skipped_when_its_turn_comes_and_not_before() {
    let mut world = World::new(CHAIN);
    world.claim(0);
    assert!(matches!(world.skip(0), Err(Reject::Running { .. })));
    world.skip(1).unwrap();
    assert!(matches!(world.skip(1), Err(Reject::AlreadySkipped { .. })));
    assert_eq!((world.status(1), world.status(2)), (StepStatus::Pending, StepStatus::Pending), "`a` still runs");
    world.settle(0, Outcome::Succeeded);
    assert_eq!((world.status(1), world.status(2)), (StepStatus::Skipped, StepStatus::Ready));
    assert!(matches!(world.skip(0), Err(Reject::Settled { .. })));
    world.skip(2).unwrap();
    assert_eq!(world.status(2), StepStatus::Skipped);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Succeeded);
    assert!(matches!(world.skip(3), Err(Reject::Terminal { .. })));
}

#[test]
fn a_failed_step_is_skipped_by_the_next_generation() {
    let mut world = World::new(CHAIN);
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.claim(0);
    world.settle(0, FAILED);
    world.finish();
    world.skip(1).unwrap();
    assert_eq!((world.state.status, world.status(1)), (RunStatus::Failed, StepStatus::Failed), "an end stays an end");
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!((world.status(1), todo(&world.state).claims), (StepStatus::Skipped, vec![Unit::step(2)]));
    world.finish();
    assert_eq!((world.state.status, world.state.step(1).whole.attempts.len()), (RunStatus::Succeeded, 1));
}

#[test]
fn a_held_step_and_an_item_are_skipped_at_once() {
    let text = "steps:\n  - id: a\n    for-each: [x, y, z]\n    max-parallel: 1\n    run: \"true\"\n    on-lost: hold\n  \
                - {id: b, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.send(Command::Lose { claim: "c1".into(), evidence: "gone".into() }).unwrap();
    for item in [2, 0] {
        let unit = Unit::item(0, item);
        world.send(Command::Skip { unit, reason: "gone for good".into() }).unwrap();
        recount(&world.state);
    }
    assert_eq!(todo(&world.state).claims, [Unit::item(0, 1)]);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Succeeded);
    assert_eq!(world.state.step(0).whole.outputs["k"], serde_json::json!([null, "v", null]));
}

/// Two failures side by side, each with a step after it.
fn two_failures(retry: &str) -> World {
    let step = |id: &str, needs: &str| format!("  - {{id: {id}, needs: [{needs}], run: \"true\"{retry}}}\n");
    let steps = [step("a", ""), step("b", ""), step("c", "a"), step("d", "b"), step("e", "c, d")].concat();
    let mut world = World::new(&format!("steps:\n{steps}finally:\n  - {{id: z, run: \"true\"}}\n"));
    world.claim(0);
    world.claim(0);
    world.settle(0, Outcome::Killed);
    world.settle(0, Outcome::Killed);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Failed);
    world
}

#[test]
fn a_retry_starts_one_step_once_and_what_follows_it_and_leaves_the_rest() {
    let mut world = two_failures(", retry: {attempts: 3}");
    let retry = |step: u32| Command::Retry { unit: Unit::step(step), reason: Some("disk freed".into()) };
    assert!(matches!(world.send(retry(2)), Err(Reject::NeedsFirst { need, .. }) if need == "a"));
    world.send(retry(0)).unwrap();
    assert_eq!((world.state.generation, todo(&world.state).claims), (2, vec![Unit::step(0)]));
    assert!(matches!(world.send(retry(0)), Err(Reject::NotFailed { last: Some(_), .. })));
    assert!(matches!(world.send(retry(1)), Err(Reject::NotAtEnd { .. })));
    world.claim(0);
    world.settle(0, FAILED);
    world.finish();
    assert_eq!(world.state.step(0).whole.attempts.len(), 2, "one start, whatever `retry` says");
    world.send(retry(0)).unwrap();
    world.finish();
    assert_eq!(
        [0, 1, 2, 3, 4].map(|n| world.status(n).as_str()),
        ["succeeded", "cancelled", "succeeded", "skipped", "skipped"]
    );
    assert_eq!(world.state.status, RunStatus::Failed, "`b` did not succeed");
    world.send(retry(1)).unwrap();
    world.finish();
    assert_eq!((world.state.status, world.state.generation), (RunStatus::Succeeded, 4));
    assert_eq!(world.state.step(2).whole.attempts.len(), 1, "`c` was kept");
}

#[test]
fn a_step_that_may_fail_is_not_started_again_behind_those_that_went_on() {
    let text = "steps:\n  - {id: a, run: \"true\", allow-failure: true}\n  - {id: b, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, FAILED);
    world.claim(0);
    world.settle(0, FAILED);
    let retry = Command::Retry { unit: Unit::step(0), reason: None };
    assert!(matches!(world.send(retry), Err(Reject::FailureAllowed { .. })));
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
}

#[test]
fn a_step_without_items_that_is_to_be_done_again_has_not_succeeded_when_it_is_cancelled() {
    let text =
        "steps:\n  - {id: a, run: \"true\"}\n  - {id: b, for-each: [], run: \"true\"}\n  - {id: c, run: \"true\"}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    world.claim(0);
    world.settle(0, FAILED);
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    world.send(Command::Cancel { force: false, rollback: false, reason: None }).unwrap();
    assert_eq!([0, 1, 2].map(|n| world.status(n)), [StepStatus::Cancelled; 3]);
    world.send(Command::Resume { from: None, reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
}

#[test]
fn a_retry_ends_the_wait_of_a_step_and_resolves_a_held_one() {
    let text = "steps:\n  - {id: a, run: \"true\", retry: {attempts: 2, delay: 1h}, on-lost: hold}\n";
    let mut world = World::new(text);
    world.claim(0);
    world.settle(0, FAILED);
    let retry = Command::Retry { unit: Unit::step(0), reason: None };
    world.send(retry.clone()).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
    world.claim(0);
    world.send(Command::Lose { claim: "c2".into(), evidence: "gone".into() }).unwrap();
    world.send(retry.clone()).unwrap();
    assert!(matches!(world.send(retry), Err(Reject::NotFailed { .. })));
    world.finish();
    assert_eq!(world.state.step(0).whole.attempts.len(), 3);
}

#[test]
fn resuming_from_a_step_redoes_it_and_all_after_it_with_new_items() {
    let text = "steps:\n  - {id: a, run: \"true\", outputs: {k: list}}\n  - id: b\n    for-each: ${{ steps.a.outputs.k }}\n    \
                run: \"true\"\n  - {id: c, run: \"true\"}\n  - {id: d, needs: [a], run: \"true\"}\n";
    let mut world = World::new(text);
    let settle_a = |world: &mut World, items: serde_json::Value| {
        world.claim(0);
        let claim = world.state.live().keys().next().unwrap().clone();
        let report = Report { outputs: Outputs::from([("k".to_owned(), items)]), ..report(Outcome::Succeeded) };
        world.send(Command::Settle { claim, report: Box::new(report) }).unwrap();
    };
    settle_a(&mut world, serde_json::json!(["x", "y", "z"]));
    for _ in 0..3 {
        world.claim(0);
        world.settle(0, Outcome::Succeeded);
    }
    world.claim(0);
    world.settle(0, FAILED);
    world.finish();
    assert_eq!(world.state.status, RunStatus::Failed);
    world.send(Command::Resume { from: Some(0), reason: None }).unwrap();
    assert_eq!(todo(&world.state).claims, [Unit::step(0)]);
    settle_a(&mut world, serde_json::json!(["new"]));
    assert_eq!(world.state.unit(Unit::item(1, 0)).unwrap().attempts.len(), 1);
    recount(&world.state);
    world.finish();
    let starts = |item| world.state.unit(Unit::item(1, item)).unwrap().attempts.len();
    assert_eq!((world.state.status, [starts(0), starts(1), starts(2)]), (RunStatus::Succeeded, [2, 1, 1]));
    assert_eq!(world.state.step(1).whole.outputs["k"], serde_json::json!(["v"]));
    assert_eq!(picture(&replay(&world.state, &world.events)), picture(&world.state));
}
