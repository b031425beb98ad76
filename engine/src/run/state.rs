//! Where a run stands. Only [`apply`](super::apply) changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::acts::{Act, Cancel, Resolved};
use super::approval::Approval;
use super::child::{Child, Parent};
use super::event::{Event, LogDigest, Planned, StopCause};
use super::given::Given;
use super::group::{Group, Permit, Priority};
use super::hours::Closure;
use super::ids::{ClaimId, RunId, SessionId, Unit, split_unit_name};
use super::objectives::{Measured, Objective};
use super::outputs::Outputs;
use super::place::Place;
use super::ready::{Classes, Ready};
use super::rollback::{Armed, Rollback};
use super::slots::Slots;
use super::values::item_value;
use crate::bind::Reference;
use crate::limits;
use crate::mutated;
use crate::plan::params::{HIDDEN, shown};
use crate::runbook::model::{Runbook, Step, WhenBusy};
use crate::schedule::entry::TickRef;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Queued,
    Running,
    /// Nothing new starts, neither steps nor `finally`, until somebody unpauses or cancels the run.
    Paused,
    /// Nothing new starts; running steps end, then `finally`.
    Stopping,
    /// What was done is taken back; then `finally`.
    RollingBack,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    #[default]
    Pending,
    Ready,
    Running,
    Backoff,
    /// For a time or for people; it takes no worker.
    Waiting,
    Held,
    Succeeded,
    Failed,
    TimedOut,
    Lost,
    /// Its condition did not hold, or the run stopped before it.
    Skipped,
    Cancelled,
    /// It succeeded, and was taken back.
    Undone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    Running,
    Succeeded,
    Failed,
    TimedOut,
    Cancelled,
    Lost,
    NeverStarted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Main,
    /// What was done is taken back.
    RollingBack,
    Finally,
    Done,
}

/// A run: the fold of its events over its pinned definition.
#[derive(Debug, Clone)]
pub struct RunState {
    pub id: RunId,
    pub runbook: Arc<Runbook>,
    pub(super) graph: Arc<Graph>,
    /// The `seq` of the last event applied.
    pub seq: u64,
    pub name: String,
    pub definition: String,
    /// The hash of what this run does, whatever generation: what an approval of it is bound to. Of a run that was
    /// recorded before plans had one, made from what may be seen.
    pub plan: String,
    /// It was started from a saved plan.
    pub planned: Option<Planned>,
    pub params: Map<String, Value>,
    pub trigger: String,
    pub key: Option<String>,
    /// Whose step this run is.
    pub parent: Option<Parent>,
    pub actor: String,
    /// Every name that whoever asked for it is known by.
    pub requester: Vec<String>,
    pub(super) seed: u64,
    /// Of times and windows that name no zone.
    pub zone: Tz,
    /// Runs that it must not overlap with. A child has none: it runs under the permit of its parent.
    pub group: Option<Group>,
    pub priority: Priority,
    /// The tick of a schedule that started it.
    pub tick: Option<TickRef>,
    /// Commands that carried an id, by it.
    pub given: BTreeMap<String, Given>,
    /// When it took its permit, while it holds one.
    pub permit_at: Option<i64>,
    pub status: RunStatus,
    pub phase: Phase,
    pub generation: u32,
    pub created_at: i64,
    /// The first executing step of this generation.
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// What it handed back when it succeeded, or why it could not.
    pub outputs: Outputs,
    pub error: Option<String>,
    /// Objectives that people were told of.
    pub(super) missed: BTreeSet<Objective>,
    /// At the end of the last generation, while it is at its end.
    pub(super) measured: Vec<Measured>,
    pub stop: Option<StopCause>,
    pub cancel: Option<Cancel>,
    pub paused: Option<Act>,
    /// It is, or was, because the run it is a step of is.
    pub(super) paused_with_parent: bool,
    /// Who ended the last pause of this generation.
    pub unpaused: Option<Act>,
    /// Who began this generation, if it is not the first.
    pub resumed: Option<Act>,
    /// What people said of held steps in this generation, the last word about each.
    pub(super) resolved: BTreeMap<Unit, Resolved>,
    /// The first step without success that this generation does not take up: it cannot succeed.
    pub(super) left_out: Option<u32>,
    pub(super) finally_failed: bool,
    pub(super) rollback: Rollback,
    pub(super) steps: Slots<StepState>,
    /// Needs are met, and a condition or items have to be evaluated.
    pub(super) due: BTreeSet<u32>,
    pub(super) ready: Ready,
    pub(super) live: BTreeMap<ClaimId, Unit>,
    /// Children that are waited for.
    pub(super) children: BTreeMap<RunId, Unit>,
    /// Since when they have to be looked after, in epoch milliseconds: something else may be wanted of them.
    pub(super) tend_since: i64,
    /// Units whose turn has come and that no worker carries out: they begin by themselves (`super::gates`).
    pub(super) arrived: BTreeSet<Unit>,
    /// What was asked in this generation about steps that wait for people.
    pub(super) approvals: BTreeMap<Unit, Approval>,
    /// Those of them that wait now.
    pub(super) asked: BTreeSet<Unit>,
    /// A closed window that holds back what goes forward.
    pub(super) closure: Option<Closure>,
    /// Who let this generation go on outside of its windows.
    pub(super) overridden: Option<Act>,
    /// When a unit that waits goes on by itself, in epoch milliseconds: a retry, the end of a wait.
    pub(super) timers: BTreeSet<(i64, Unit)>,
    /// Steps without a final status, in the main part and in `finally`.
    pub(super) open: [usize; 2],
    pub(super) held: BTreeSet<Unit>,
    /// The first step that failed for good in this generation.
    pub(super) failure: Option<u32>,
    /// Units whose rows changed since [`RunState::take_touched`].
    pub(super) touched: BTreeSet<Unit>,
}

#[derive(Debug, Clone)]
pub struct StepState {
    /// Needs that are not satisfied yet.
    pub(super) unmet: u32,
    /// The step as a unit; for a `for-each` step, what its items come to together.
    pub whole: UnitState,
    pub items: Option<ItemsState>,
}

#[derive(Debug, Clone)]
pub struct ItemsState {
    pub values: Arc<Vec<Value>>,
    pub units: Slots<UnitState>,
    /// The next item that has not entered the window.
    pub(super) next: u32,
    /// Items ready, running, waiting or in backoff.
    pub(super) open: u32,
    pub(super) failed: u32,
    /// What they were made from runs again: they may be others now.
    pub(super) stale: bool,
}

#[derive(Debug, Clone, Default)]
pub struct UnitState {
    pub status: StepStatus,
    /// Starts counted against `retry.attempts` in this generation.
    pub(super) tries: u32,
    pub(super) voided: u32,
    pub attempts: Vec<Attempt>,
    /// Of a `runbook` step: the runs it was, in order.
    pub children: Vec<Child>,
    /// Its last child is to go on, in that child's next generation.
    pub(super) carries_on: bool,
    pub outputs: Outputs,
    pub error: Option<String>,
    /// Of its timer, in epoch milliseconds.
    pub(super) due_at: Option<i64>,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    /// Skipped by its condition or by a person: those who need it go on.
    pub(super) passed_over: bool,
    /// Who wants to go on without it. Outlasts a resume.
    pub skip: Option<Act>,
    /// The parts of a step or item, once they have come up; a part itself has none.
    pub(super) check: Option<Box<UnitState>>,
    pub(super) undo: Option<Box<UnitState>>,
    /// It succeeded and can be taken back.
    pub(super) armed: Option<Box<Armed>>,
}

/// One start of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub no: u32,
    pub generation: u32,
    pub claim: ClaimId,
    /// Whose supervisor owns its processes. Never changes.
    pub session: SessionId,
    /// Who waits for it now.
    pub watched_by: SessionId,
    pub boot: String,
    /// On whose machine; `None` where there is one only.
    pub place: Option<Place>,
    pub status: AttemptStatus,
    pub claimed_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub error: Option<String>,
    pub log: LogDigest,
}

/// What follows from the needs of a runbook, computed once.
#[derive(Debug)]
pub struct Graph {
    pub dependents: Vec<Vec<u32>>,
    /// Every step after those it needs.
    pub(super) order: Vec<u32>,
    /// Who may start which step.
    pub(super) classes: Classes,
    index: BTreeMap<String, u32>,
}

impl Graph {
    fn new(runbook: &Runbook) -> Graph {
        let mut dependents = vec![Vec::new(); runbook.steps.len()];
        for (step, spec) in runbook.steps.iter().enumerate() {
            for need in &spec.needs {
                dependents[*need].push(step as u32);
            }
        }
        let index = runbook.steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i as u32)).collect();
        let order = sorted(runbook, &dependents);
        Graph { dependents, order, classes: Classes::new(runbook), index }
    }
}

/// Every step after those it needs.
fn sorted(runbook: &Runbook, dependents: &[Vec<u32>]) -> Vec<u32> {
    let mut unmet: Vec<usize> = runbook.steps.iter().map(|step| step.needs.len()).collect();
    let mut order: Vec<u32> = (0..unmet.len() as u32).filter(|step| unmet[*step as usize] == 0).collect();
    let mut next = 0;
    while let Some(step) = order.get(next).copied() {
        next += 1;
        for dependent in &dependents[step as usize] {
            unmet[*dependent as usize] -= 1;
            if unmet[*dependent as usize] == 0 {
                order.push(*dependent);
            }
        }
    }
    order
}

impl RunState {
    /// The state before the first event.
    pub fn new(id: RunId, runbook: Arc<Runbook>) -> RunState {
        let steps = runbook
            .steps
            .iter()
            .map(|step| StepState { unmet: step.needs.len() as u32, whole: UnitState::default(), items: None })
            .collect();
        let open = [runbook.main_len, runbook.steps.len() - runbook.main_len];
        RunState {
            id,
            graph: Arc::new(Graph::new(&runbook)),
            runbook,
            seq: 0,
            name: String::new(),
            definition: String::new(),
            plan: String::new(),
            planned: None,
            params: Map::new(),
            trigger: String::new(),
            key: None,
            parent: None,
            actor: String::new(),
            requester: Vec::new(),
            seed: 0,
            zone: Tz::UTC,
            group: None,
            priority: Priority::Normal,
            tick: None,
            given: BTreeMap::new(),
            permit_at: None,
            status: RunStatus::Queued,
            phase: Phase::Main,
            generation: 1,
            created_at: 0,
            started_at: None,
            finished_at: None,
            outputs: Outputs::new(),
            error: None,
            missed: BTreeSet::new(),
            measured: Vec::new(),
            stop: None,
            cancel: None,
            paused: None,
            paused_with_parent: false,
            unpaused: None,
            resumed: None,
            resolved: BTreeMap::new(),
            left_out: None,
            finally_failed: false,
            rollback: Rollback::default(),
            steps,
            due: BTreeSet::new(),
            ready: Ready::default(),
            live: BTreeMap::new(),
            children: BTreeMap::new(),
            tend_since: 0,
            arrived: BTreeSet::new(),
            approvals: BTreeMap::new(),
            asked: BTreeSet::new(),
            closure: None,
            overridden: None,
            timers: BTreeSet::new(),
            open,
            held: BTreeSet::new(),
            failure: None,
            touched: BTreeSet::new(),
        }
    }

    pub fn spec(&self, step: u32) -> &Step {
        &self.runbook.steps[step as usize]
    }

    pub fn step(&self, step: u32) -> &StepState {
        &self.steps[step as usize]
    }

    pub fn steps(&self) -> &[StepState] {
        &self.steps
    }

    /// The unit's own state; `None` for an item or a part that does not exist (yet).
    pub fn unit(&self, unit: Unit) -> Option<&UnitState> {
        let step = self.steps.get(unit.step as usize)?;
        let owner = match unit.item {
            None => &step.whole,
            Some(item) => step.items.as_ref()?.units.get(item as usize)?,
        };
        owner.part(unit.part)
    }

    /// `upgrade`, `upgrade[3]`, `upgrade[3].undo`.
    pub fn unit_name(&self, unit: Unit) -> String {
        unit.name(&self.spec(unit.step).id)
    }

    pub fn unit_named(&self, name: &str) -> Option<Unit> {
        let (step, item, part) = split_unit_name(name)?;
        let unit = Unit { step: *self.graph.index.get(step)?, item, part };
        self.unit(unit).is_some().then_some(unit)
    }

    pub fn step_named(&self, id: &str) -> Option<u32> {
        self.graph.index.get(id).copied()
    }

    /// Running attempts: claim and unit.
    pub fn live(&self) -> &BTreeMap<ClaimId, Unit> {
        &self.live
    }

    /// Children that are waited for, and the units that do.
    pub fn children(&self) -> &BTreeMap<RunId, Unit> {
        &self.children
    }

    pub fn held(&self) -> &BTreeSet<Unit> {
        &self.held
    }

    /// The attempt that has this claim, with its unit, if it is running.
    pub fn live_attempt(&self, claim: &ClaimId) -> Option<(Unit, &Attempt)> {
        let unit = *self.live.get(claim)?;
        let attempt = self.unit(unit)?.attempts.iter().rev().find(|attempt| attempt.claim == *claim)?;
        Some((unit, attempt))
    }

    /// The parameters as they may be seen: sensitive ones are only named.
    pub fn shown_params(&self) -> Map<String, Value> {
        shown(&self.runbook, &self.params)
    }

    /// Which item of its list a unit is, where that may be seen.
    pub fn shown_item(&self, unit: Unit) -> Option<Value> {
        let secret = || self.runbook.is_secret(self.spec(unit.step), &Reference::Item);
        item_value(self, unit).filter(|_| !secret())
    }

    /// An event as it may be seen: the record holds every value.
    pub fn shown_event(&self, event: &Event) -> Event {
        let mut event = event.clone();
        match &mut event {
            Event::RunCreated { params, .. } => *params = self.shown_params(),
            Event::ItemsExpanded { step, items } => {
                let spec = self.step_named(step).map(|step| self.spec(step));
                if spec.is_some_and(|spec| self.runbook.is_secret(spec, &Reference::Item)) {
                    items.fill(Value::String(HIDDEN.to_owned()));
                }
            }
            _ => {}
        }
        event
    }

    /// What the run comes to if nothing more happens; `finally` steps see it as `run.status`.
    pub fn final_status(&self) -> RunStatus {
        match &self.stop {
            Some(StopCause::Failed { .. }) => RunStatus::Failed,
            Some(StopCause::Cancelled) => RunStatus::Cancelled,
            Some(StopCause::TimedOut) => RunStatus::TimedOut,
            Some(StopCause::Busy { .. }) => match self.group.as_ref().map(|group| group.when_busy) {
                Some(WhenBusy::Fail) => RunStatus::Failed,
                _ => RunStatus::Cancelled,
            },
            None if self.finally_failed => RunStatus::Failed,
            None => RunStatus::Succeeded,
        }
    }

    /// What it has of its group. One that nothing can start in, because it is paused or waits for a person, keeps nobody
    /// waiting who came later.
    pub fn permit(&self) -> Option<Permit> {
        self.group.as_ref()?;
        match self.permit_at {
            Some(_) => Some(Permit::Holds),
            None => (self.paused.is_none() && self.startable().next().is_some()).then_some(Permit::Waits),
        }
    }

    /// Whether it came to its end, or to a stop, before anything of this generation could execute.
    pub(super) fn was_kept_out(&self) -> bool {
        let left = matches!(self.stop, Some(StopCause::Busy { .. } | StopCause::Cancelled));
        left && self.group.is_some() && self.permit_at.is_none()
    }

    pub fn max_parallel(&self) -> u32 {
        self.runbook.max_parallel.map_or(limits::PARALLEL_DEFAULT, |n| n.get()) + u32::from(mutated!(ParallelTooWide))
    }

    /// When the run as a whole times out, in epoch milliseconds.
    pub fn deadline(&self) -> Option<i64> {
        let timeout = i64::try_from(self.runbook.timeout?.as_millis()).unwrap_or(i64::MAX);
        Some(self.started_at?.saturating_add(timeout))
    }

    /// The units whose rows changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<Unit> {
        std::mem::take(&mut self.touched)
    }

    /// Whether those who need this step may go on.
    pub(super) fn satisfies(&self, step: u32) -> bool {
        let whole = &self.step(step).whole;
        match whole.status {
            StepStatus::Succeeded => true,
            StepStatus::Skipped => whole.passed_over && !mutated!(SkipSatisfiesNobody),
            StepStatus::Failed | StepStatus::TimedOut | StepStatus::Lost => self.spec(step).allow_failure,
            _ => false,
        }
    }

    /// Where a run stands that is not at its end.
    pub(super) fn standing(&self) -> RunStatus {
        match (&self.paused, &self.stop, self.started_at) {
            (Some(_), ..) => RunStatus::Paused,
            _ if self.phase == Phase::RollingBack => RunStatus::RollingBack,
            (_, Some(_), _) => RunStatus::Stopping,
            (_, _, Some(_)) => RunStatus::Running,
            (_, _, None) => RunStatus::Queued,
        }
    }

    /// Whether the items of a step have to be found out before it can start.
    pub(super) fn lacks_items(&self, step: u32) -> bool {
        self.spec(step).for_each.is_some() && self.step(step).items.as_ref().is_none_or(|items| items.stale)
    }

    /// Whether new work of this section may start.
    pub(super) fn is_open(&self, section: usize) -> bool {
        match section {
            0 => self.phase == Phase::Main && self.stop.is_none(),
            _ => self.phase == Phase::Finally && !self.cancel.as_ref().is_some_and(|cancel| cancel.force),
        }
    }

    pub(super) fn section(&self, step: u32) -> usize {
        usize::from(self.runbook.is_finally(step as usize))
    }
}

impl UnitState {
    /// When it is tried again, in epoch milliseconds, while it waits for that.
    pub fn retry_at(&self) -> Option<i64> {
        self.due_at.filter(|_| self.status == StepStatus::Backoff)
    }

    /// When its wait ends by itself, in epoch milliseconds.
    pub fn waits_until(&self) -> Option<i64> {
        self.due_at.filter(|_| self.status == StepStatus::Waiting)
    }

    /// Who wants to go on without it, as long as its turn has not come: perhaps in the next generation.
    pub fn to_be_skipped(&self) -> Option<&Act> {
        self.skip.as_ref().filter(|_| !self.passed_over)
    }
}

impl RunStatus {
    pub fn is_terminal(self) -> bool {
        matches!(self, RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Queued => "queued",
            RunStatus::Running => "running",
            RunStatus::Paused => "paused",
            RunStatus::Stopping => "stopping",
            RunStatus::RollingBack => "rolling_back",
            RunStatus::Succeeded => "succeeded",
            RunStatus::Failed => "failed",
            RunStatus::Cancelled => "cancelled",
            RunStatus::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl StepStatus {
    pub fn is_terminal(self) -> bool {
        use StepStatus::*;
        matches!(self, Succeeded | Failed | TimedOut | Lost | Skipped | Cancelled | Undone)
    }

    /// Failed, timed out or lost.
    pub fn is_failure(self) -> bool {
        matches!(self, StepStatus::Failed | StepStatus::TimedOut | StepStatus::Lost)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Pending => "pending",
            StepStatus::Ready => "ready",
            StepStatus::Running => "running",
            StepStatus::Backoff => "backoff",
            StepStatus::Waiting => "waiting",
            StepStatus::Held => "held",
            StepStatus::Succeeded => "succeeded",
            StepStatus::Failed => "failed",
            StepStatus::TimedOut => "timed_out",
            StepStatus::Lost => "lost",
            StepStatus::Skipped => "skipped",
            StepStatus::Cancelled => "cancelled",
            StepStatus::Undone => "undone",
        }
    }
}

impl AttemptStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            AttemptStatus::Running => "running",
            AttemptStatus::Succeeded => "succeeded",
            AttemptStatus::Failed => "failed",
            AttemptStatus::TimedOut => "timed_out",
            AttemptStatus::Cancelled => "cancelled",
            AttemptStatus::Lost => "lost",
            AttemptStatus::NeverStarted => "never_started",
        }
    }
}
