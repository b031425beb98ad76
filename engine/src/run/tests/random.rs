//! Random runbooks, random commands: nothing panics, a replay gives the same state at every prefix, the counters are
//! what a naive recount says, and a step without `retry` starts at most once a generation.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::recount::{nothing_starts_in_a_pause, write_touched};
use super::*;

#[derive(Debug, Clone)]
pub(super) struct StepPlan {
    pub(super) needs: Vec<usize>,
    pub(super) follows: bool,
    pub(super) retry: u32,
    pub(super) on_lost: u8,
    pub(super) allow_failure: bool,
    pub(super) condition: u8,
    pub(super) items: Option<(u8, u8, u8)>,
    pub(super) waits: bool,
    pub(super) undo: u8,
    pub(super) check: bool,
    pub(super) calls: bool,
}

pub(super) fn step_plan() -> impl Strategy<Value = StepPlan> {
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
pub(super) fn yaml(steps: &[StepPlan], last: usize) -> String {
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
        if !step.waits && !step.calls {
            text += ["", "    runs-on: [db]\n", "    runs-on: [linux, db]\n", "    runs-on: [gpu]\n"][n % 4];
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

impl World {
    pub(super) fn random(&mut self, action: u8, pick: usize) {
        let live: Vec<ClaimId> = self.state.live().keys().cloned().collect();
        let claim = live.get(pick % live.len().max(1)).cloned();
        match (action, claim) {
            (0..=5, _) => self.claim(pick),
            (6..=9, _) => self.settle(pick, Outcome::Succeeded),
            (10, _) => self.settle(pick, Outcome::Failed { code: Some(1), signal: None }),
            (11, _) => self.settle(pick, Outcome::TimedOut),
            (12, _) => self.settle(pick, Outcome::Interrupted),
            (13, _) => self.settle(pick, Outcome::Killed),
            (14, Some(claim)) => self.send(Command::Lose { claim, evidence: "gone".into(), with: None }).unwrap(),
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
