//! Events into state: total, deterministic, and O(1 + out-degree) but for the once-a-generation passes of creating,
//! stopping and resuming a run. An event that does not fit is ignored, so that a fold never fails.

use std::sync::Arc;

use chrono_tz::Tz;
use serde_json::Value;

use super::acts::{Act, Cancel, Resolved};
use super::approval;
use super::child;
use super::command::Resolution;
use super::event::{Event, Outcome, Recorded, StopCause, Then};
use super::given::Given;
use super::hours::Closure;
use super::ids::{ClaimId, Part, Unit};
use super::place::Place;
use super::progress::{
    begins, close, drop_timer, end_unit, make_ready, set_timer, skip_unit, start_units, touch, unblock_roots, unit_mut,
};
use super::state::{Attempt, AttemptStatus, ItemsState, Phase, RunState, RunStatus, StepStatus, UnitState};
use super::{again, calls, check, gates, rollback};
use crate::mutated;
use crate::plan::plan_hash;

pub fn apply(state: &mut RunState, record: &Recorded) {
    state.seq = record.seq;
    let at = record.at;
    if calls::is_for_children(&record.event) {
        state.tend_since = at;
    }
    match &record.event {
        Event::RunCreated {
            name,
            definition,
            params,
            trigger,
            key,
            seed,
            plan,
            planned,
            parent,
            zone,
            requester,
            group,
            priority,
            tick,
        } => {
            state.name.clone_from(name);
            state.definition.clone_from(definition);
            state.params.clone_from(params);
            state.trigger.clone_from(trigger);
            state.key.clone_from(key);
            state.parent.clone_from(parent);
            state.seed = *seed;
            state.group.clone_from(group);
            state.priority = *priority;
            state.tick.clone_from(tick);
            let open = || plan_hash(name, definition, &state.runbook, params, None);
            state.plan = plan.clone().unwrap_or_else(open);
            state.planned.clone_from(planned);
            state.zone = zone.as_ref().and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
            state.actor.clone_from(&record.actor);
            state.requester = match &requester[..] {
                [] => vec![record.actor.split('@').next().unwrap_or_default().to_owned()],
                names => names.to_vec(),
            };
            state.created_at = at;
            unblock_roots(state, 0, at);
        }
        Event::CommandGiven { id, asked, already } => {
            let (id, asked, by, already) = (id.clone(), asked.clone(), record.actor.clone(), already.clone());
            state.given.insert(id.clone(), Given { id, asked, by, at, already });
        }
        Event::PermitTaken { .. } => state.permit_at = Some(at),
        Event::StepReady { step } => with_step(state, step, |state, step| {
            state.due.remove(&step);
            start_units(state, step, at);
        }),
        Event::StepSkipped { step, .. } => with_step(state, step, |state, step| {
            state.due.remove(&step);
            state.steps[step as usize].whole.passed_over = true;
            end_unit(state, Unit::step(step), StepStatus::Skipped, at);
        }),
        Event::ItemsExpanded { step, items } => with_step(state, step, |state, step| {
            state.due.remove(&step);
            expand(state, step, items, at);
            start_units(state, step, at);
        }),
        Event::UnitFailed { unit, error } => with_unit(state, unit, |state, unit| {
            state.due.remove(&unit.step);
            unit_mut(state, unit).error = Some(error.clone());
            end_unit(state, unit, StepStatus::Failed, at);
        }),
        Event::AttemptClaimed { unit, attempt, claim, session, boot, home, host } => {
            with_unit(state, unit, |state, unit| {
                state.delist(unit);
                state.live.insert(claim.clone(), unit);
                state.started_at.get_or_insert(at);
                if state.status == RunStatus::Queued {
                    state.status = RunStatus::Running;
                }
                let generation = state.generation;
                begins(state, unit, at);
                check::shows(state, unit, StepStatus::Running);
                let unit = touch(state, unit);
                unit.status = StepStatus::Running;
                unit.started_at.get_or_insert(at);
                unit.error = None;
                unit.due_at = None;
                unit.tries += 1;
                unit.attempts.push(Attempt {
                    no: *attempt,
                    generation,
                    claim: claim.clone(),
                    session: session.clone(),
                    watched_by: session.clone(),
                    boot: boot.clone(),
                    place: home.clone().map(|home| Place { home, host: host.clone().unwrap_or_default() }),
                    status: AttemptStatus::Running,
                    claimed_at: at,
                    started_at: None,
                    ended_at: None,
                    code: None,
                    signal: None,
                    error: None,
                    log: Default::default(),
                });
            })
        }
        Event::AttemptAdopted { unit, claim, session } => with_unit(state, unit, |state, unit| {
            if let Some(attempt) = attempt_mut(state, unit, claim) {
                attempt.watched_by = session.clone();
            }
        }),
        Event::AttemptSettled { unit, claim, outcome, then, outputs, error, log, started_at, ended_at, .. } => {
            with_unit(state, unit, |state, unit| {
                let Some(attempt) = attempt_mut(state, unit, claim) else { return };
                attempt.status = attempt_status(outcome);
                attempt.started_at = *started_at;
                attempt.ended_at = Some(ended_at.unwrap_or(at));
                if let Outcome::Failed { code, signal } = outcome {
                    (attempt.code, attempt.signal) = (*code, *signal);
                } else if let Some(in_place) = check::answer(outcome) {
                    attempt.code = Some(i32::from(!in_place));
                }
                attempt.error.clone_from(error);
                attempt.log = log.clone();
                let ran = *outcome != Outcome::NotStarted;
                unit_mut(state, unit).error.clone_from(error);
                if *outcome == Outcome::Succeeded {
                    unit_mut(state, unit).outputs.clone_from(outputs);
                }
                // A result that waited in the journal ended when it ended, not when it was heard of.
                conclude(state, unit, claim, step_status(outcome), *then, ended_at.unwrap_or(at), ran);
            })
        }
        Event::AttemptVoided { unit, claim } => with_unit(state, unit, |state, unit| {
            let Some(attempt) = attempt_mut(state, unit, claim) else { return };
            attempt.status = AttemptStatus::NeverStarted;
            attempt.ended_at = Some(at);
            state.live.remove(claim);
            let unit_state = touch(state, unit);
            unit_state.tries = unit_state.tries.saturating_sub(1);
            unit_state.voided += 1;
            make_ready(state, unit, at);
        }),
        Event::AttemptLost { unit, claim, evidence, then } => with_unit(state, unit, |state, unit| {
            let Some(attempt) = attempt_mut(state, unit, claim) else { return };
            attempt.status = AttemptStatus::Lost;
            attempt.ended_at = Some(at);
            attempt.error = Some(evidence.clone());
            unit_mut(state, unit).error = Some(evidence.clone());
            conclude(state, unit, claim, StepStatus::Lost, *then, at, true);
        }),
        Event::LateResult { .. } => {}
        Event::ChildStarted { unit, child, number, generation, .. } => with_unit(state, unit, |state, unit| {
            child::started(state, unit, child, *number, *generation, at);
        }),
        Event::ChildTimedOut { unit, child } => with_unit(state, unit, |state, unit| {
            child::timed_out(state, unit, child);
        }),
        Event::ChildSettled { unit, child, generation, status, then, outputs, error, rejected } => {
            with_unit(state, unit, |state, unit| {
                if child::settled(state, unit, child, *generation, *status, *rejected) {
                    if *generation > 0 {
                        rollback::disarm(state, unit);
                    }
                    let unit_state = unit_mut(state, unit);
                    unit_state.outputs.clone_from(outputs);
                    unit_state.error.clone_from(error);
                    settle(state, unit, *status, *then, at);
                }
            });
        }
        Event::RetryDue { unit, .. } => with_unit(state, unit, |state, unit| {
            drop_timer(state, unit);
            make_ready(state, unit, at);
        }),
        Event::WaitStarted { unit, until, generation } => with_unit(state, unit, |state, unit| {
            if *generation == state.generation {
                gates::wait(state, unit, at);
                set_timer(state, unit, *until);
            }
        }),
        Event::WaitEnded { unit, generation } => with_unit(state, unit, |state, unit| {
            if *generation == state.generation && unit_mut(state, unit).status == StepStatus::Waiting {
                drop_timer(state, unit);
                end_unit(state, unit, StepStatus::Succeeded, at);
            }
        }),
        Event::ApprovalRequested { unit, generation, plan, deadline, .. } => with_unit(state, unit, |state, unit| {
            if *generation == state.generation {
                approval::asked(state, unit, plan, *deadline, at);
            }
        }),
        Event::ApprovalDecided { unit, generation, decision, person, comment, .. } => {
            with_unit(state, unit, |state, unit| {
                if *generation == state.generation {
                    approval::decided(state, unit, *decision, person, act(record, comment.as_ref()));
                }
            });
        }
        Event::ApprovalExpired { unit, generation } => with_unit(state, unit, |state, unit| {
            if *generation == state.generation {
                approval::expired(state, unit, at);
            }
        }),
        Event::Notified { unit, generation, .. } => with_unit(state, unit, |state, unit| {
            if *generation == state.generation && state.arrived.contains(&unit) {
                gates::told(state, unit, at);
            }
        }),
        Event::WindowClosed { until, because } => {
            state.closure = Some(Closure { until: *until, because: because.clone(), since: at });
        }
        Event::WindowOpened => state.closure = None,
        Event::WindowOverridden { reason } => {
            state.closure = None;
            state.overridden = Some(act(record, Some(reason)));
        }
        Event::CancelRequested { force, rollback, reason } => {
            let before = state.cancel.take();
            let (again, rollback) = (before.is_some(), *rollback || before.is_some_and(|before| before.rollback));
            state.cancel = Some(Cancel { act: act(record, reason.as_ref()), force: *force, rollback });
            state.paused = None;
            state.rollback.asked = false;
            state.status = state.standing();
            match state.phase {
                Phase::RollingBack if again || *force => rollback::stop(state, at),
                Phase::Finally => close(state, 1, StepStatus::Cancelled, at),
                _ => {}
            }
        }
        Event::RunStopping { because } => {
            state.stop = Some(because.clone());
            state.closure = None;
            state.status = state.standing();
            let unstarted = match because {
                StopCause::Failed { .. } => StepStatus::Skipped,
                StopCause::Cancelled | StopCause::TimedOut | StopCause::Busy { .. } => StepStatus::Cancelled,
            };
            close(state, 0, unstarted, at);
        }
        Event::RollbackAsked => state.rollback.asked = true,
        Event::RollbackRequested { generation, only, reason } => {
            again::take_back(state, *generation, only.as_deref(), at);
            state.resumed = Some(act(record, reason.as_ref()));
        }
        Event::RollbackStarted { order } => {
            let order: Vec<Unit> = order.iter().filter_map(|name| state.unit_named(name)).collect();
            rollback::begin(state, &order, at);
            state.status = state.standing();
        }
        Event::RollbackFinished { .. } => rollback::end(state),
        Event::FinallyStarted => {
            state.phase = Phase::Finally;
            state.status = state.standing();
            // What was cancelled was the main part; a cancel from here on means `finally`.
            if let Some(cancel) = &mut state.cancel {
                cancel.force = false;
            }
            unblock_roots(state, 1, at);
        }
        Event::ObjectiveMissed { objective, .. } => {
            state.missed.insert(*objective);
        }
        Event::ObjectivesMeasured { measured } => state.measured.clone_from(measured),
        Event::RunFinished { status, outputs, error } => {
            state.outputs.clone_from(outputs);
            state.error.clone_from(error);
            if state.phase == Phase::Main && state.open[1] > 0 {
                close(state, 1, StepStatus::Cancelled, at);
            }
            if !mutated!(PermitKept) {
                state.permit_at = None;
            }
            state.status = *status;
            state.phase = Phase::Done;
            state.paused = None;
            state.finished_at = Some(at);
        }
        Event::RunPaused { reason, with_parent } => {
            state.paused = Some(act(record, reason.as_ref()));
            state.paused_with_parent = *with_parent;
            state.status = state.standing();
        }
        Event::RunUnpaused => {
            state.paused = None;
            state.unpaused = Some(act(record, None));
            state.status = state.standing();
        }
        Event::SkipRequested { unit, reason } => with_unit(state, unit, |state, unit| {
            touch(state, unit).skip = Some(act(record, Some(reason)));
        }),
        Event::SkipDue { unit } => with_unit(state, unit, |state, unit| skip_unit(state, unit, at)),
        Event::RunResumed { generation, reset, from, only, reason } => {
            again::begin(state, *generation, reset, from.as_deref(), only.as_deref(), at);
            state.resumed = Some(act(record, reason.as_ref()));
        }
        Event::UnitResolved { unit, resolution, reason } => with_unit(state, unit, |state, unit| {
            let word = Resolved { resolution: *resolution, act: act(record, reason.as_ref()) };
            state.resolved.insert(unit, word);
            if unit.part == Part::Undo {
                return resolve_undo(state, unit, *resolution, reason.as_ref());
            }
            state.held.remove(&unit);
            let starts = state.starts_max(unit);
            let unit_state = touch(state, unit);
            // A person allows exactly one more start, whatever `retry` says.
            unit_state.tries = (starts - 1).saturating_sub(u32::from(mutated!(ResolveAllowsTwo)));
            match resolution {
                Resolution::Succeeded => unit_state.error = None,
                Resolution::Failed => unit_state.error = reason.clone().or(unit_state.error.take()),
                Resolution::Retry => {}
            }
            match resolution {
                Resolution::Succeeded => end_unit(state, unit, StepStatus::Succeeded, at),
                Resolution::Failed => end_unit(state, unit, StepStatus::Failed, at),
                Resolution::Retry => make_ready(state, unit, at),
            }
        }),
    }
}

/// What a person says about an undo that failed.
fn resolve_undo(state: &mut RunState, undo: Unit, resolution: Resolution, reason: Option<&String>) {
    let unit = touch(state, undo);
    match resolution {
        Resolution::Succeeded => {
            (unit.status, unit.error) = (StepStatus::Succeeded, None);
            rollback::taken_back(state, undo.owner());
        }
        Resolution::Failed => {
            unit.error = reason.cloned().or(unit.error.take());
            rollback::stands(state, undo.owner());
        }
        Resolution::Retry => {}
    }
}

fn act(record: &Recorded, reason: Option<&String>) -> Act {
    Act { by: record.actor.clone(), at: record.at, reason: reason.cloned() }
}

/// A `for-each` step knows its items. Units of earlier items keep their place, so that their attempts stay known.
fn expand(state: &mut RunState, step: u32, values: &[Value], at: i64) {
    let mut units = state.steps[step as usize].items.take().map(|items| items.units).unwrap_or_default();
    for (n, unit) in units.iter_mut().enumerate().skip(values.len()) {
        unit.status = StepStatus::Skipped;
        unit.ended_at = Some(at);
        unit.passed_over = true;
        unit.error = Some("no longer among the items".to_owned());
        state.touched.insert(Unit::item(step, n as u32));
    }
    let count = units.len().max(values.len());
    units.resize(count, UnitState::default());
    let values = Arc::new(values.to_vec());
    state.steps[step as usize].items = Some(ItemsState { values, units, next: 0, open: 0, failed: 0, stale: false });
}

fn with_step(state: &mut RunState, id: &str, f: impl FnOnce(&mut RunState, u32)) {
    if let Some(step) = state.step_named(id) {
        f(state, step);
    }
}

fn with_unit(state: &mut RunState, name: &str, f: impl FnOnce(&mut RunState, Unit)) {
    if let Some(unit) = state.unit_named(name) {
        f(state, unit);
    }
}

fn attempt_mut<'a>(state: &'a mut RunState, unit: Unit, claim: &ClaimId) -> Option<&'a mut Attempt> {
    touch(state, unit).attempts.iter_mut().rev().find(|attempt| attempt.claim == *claim)
}

fn attempt_status(outcome: &Outcome) -> AttemptStatus {
    match outcome {
        Outcome::Succeeded | Outcome::NotInPlace => AttemptStatus::Succeeded,
        Outcome::Failed { .. } | Outcome::NotStarted => AttemptStatus::Failed,
        Outcome::TimedOut => AttemptStatus::TimedOut,
        Outcome::Killed => AttemptStatus::Cancelled,
        Outcome::Interrupted => AttemptStatus::Lost,
    }
}

fn step_status(outcome: &Outcome) -> StepStatus {
    match outcome {
        Outcome::Succeeded | Outcome::NotInPlace => StepStatus::Succeeded,
        Outcome::Failed { .. } | Outcome::NotStarted => StepStatus::Failed,
        Outcome::TimedOut => StepStatus::TimedOut,
        Outcome::Killed => StepStatus::Cancelled,
        Outcome::Interrupted => StepStatus::Lost,
    }
}

/// A running attempt came to an end.
fn conclude(state: &mut RunState, unit: Unit, claim: &ClaimId, status: StepStatus, then: Then, at: i64, ran: bool) {
    state.live.remove(claim);
    if unit.part == Part::Step && ran {
        rollback::disarm(state, unit);
    }
    settle(state, unit, status, then, at);
}

/// What a unit did came to an end.
fn settle(state: &mut RunState, unit: Unit, status: StepStatus, then: Then, at: i64) {
    match then {
        Then::Stand => end_unit(state, unit, status, at),
        Then::Retry { at } => {
            let unit_state = touch(state, unit);
            unit_state.status = StepStatus::Backoff;
            check::shows(state, unit, StepStatus::Ready);
            set_timer(state, unit, at);
        }
        Then::Check => check::ask(state, unit),
        Then::Hold => {
            touch(state, unit).status = StepStatus::Held;
            state.held.insert(unit);
        }
    }
}
