//! What follows from the state itself: conditions that can be evaluated, a failure that stops the run, the end.
//!
//! Pure, and driven by the work-lists: it never looks at steps that are not due.

use serde_json::Value;

use super::decide::items;
use super::event::{Event, StopCause};
use super::gates;
use super::ids::Unit;
use super::objectives;
use super::outputs::{self, Outputs};
use super::rollback::{self, Due, RolledBack};
use super::state::{Phase, RunState, RunStatus};
use super::values;
use crate::bind::{EvalError, Expression};
use crate::mutated;
use crate::runbook::model::Items;

/// The next events, or none when the state is at rest. Apply them all before asking again. `now` in epoch milliseconds.
pub fn follow_up(state: &RunState, now: i64) -> Vec<Event> {
    match state.phase {
        Phase::Main => {
            if let (None, Some(step)) = (&state.stop, state.failure) {
                return stop_failed(state, step);
            }
            if !state.due.is_empty() {
                return evaluate_due(state);
            }
            if gates::may_begin(state) {
                return gates::begin(state, now);
            }
            match (state.open[0], state.open[1]) {
                (0, _) if let (None, Some(step)) = (&state.stop, state.left_out) => stop_failed(state, step),
                (1, 1..) if mutated!(FinallyTooEarly) && state.paused.is_none() => vec![Event::FinallyStarted],
                (0, _) => after_main(state, now),
                _ if mutated!(RollbackTooEarly) && state.stop.is_some() && state.paused.is_none() => {
                    after_main(state, now)
                }
                _ => Vec::new(),
            }
        }
        Phase::RollingBack if !rollback::is_through(state) => Vec::new(),
        Phase::RollingBack if !rollback::is_over(state) => vec![rolled_back(state)],
        Phase::RollingBack => last(state, now),
        Phase::Finally if !state.due.is_empty() => evaluate_due(state),
        Phase::Finally if gates::may_begin(state) => gates::begin(state, now),
        Phase::Finally if state.open[1] == 0 && mutated!(FinallyTwice) => {
            std::iter::once(Event::FinallyStarted).chain(finished(state, now)).collect()
        }
        Phase::Finally if state.open[1] == 0 => finished(state, now),
        Phase::Finally | Phase::Done => Vec::new(),
    }
}

/// The end. A run that succeeds hands back its outputs; where it cannot, it has not done what it says.
fn finished(state: &RunState, now: i64) -> Vec<Event> {
    let status = state.final_status();
    let (status, outputs, error) =
        match if status == RunStatus::Succeeded { outputs::of_run(state) } else { Ok(Outputs::new()) } {
            Ok(outputs) => (status, outputs, None),
            Err(error) => (RunStatus::Failed, Outputs::new(), Some(error)),
        };
    let mut events = objectives::at_end(state, status, &outputs, now);
    events.push(Event::RunFinished { status, outputs, error });
    events
}

/// What was done is taken back, or stands.
fn after_main(state: &RunState, now: i64) -> Vec<Event> {
    match rollback::due(state) {
        Due::Nothing if state.was_kept_out() => finished(state, now),
        Due::Nothing => last(state, now),
        Due::Wait => Vec::new(),
        Due::Ask => vec![Event::RollbackAsked],
        Due::Start(_) if state.paused.is_some() => Vec::new(),
        Due::Start(order) => {
            vec![Event::RollbackStarted { order: order.into_iter().map(|unit| state.unit_name(unit)).collect() }]
        }
    }
}

/// `finally`, or the end.
fn last(state: &RunState, now: i64) -> Vec<Event> {
    match (state.open[1], &state.paused) {
        (0, _) => finished(state, now),
        (_, Some(_)) => Vec::new(),
        (_, None) => vec![Event::FinallyStarted],
    }
}

fn rolled_back(state: &RunState) -> Event {
    let left = state.not_taken_back();
    let rollback = if left.is_empty() { RolledBack::Done } else { RolledBack::Partial };
    Event::RollbackFinished { rollback, left: left.iter().map(|unit| state.unit_name(*unit)).collect() }
}

fn stop_failed(state: &RunState, step: u32) -> Vec<Event> {
    vec![Event::RunStopping { because: StopCause::Failed { step: state.spec(step).id.clone() } }]
}

fn evaluate_due(state: &RunState) -> Vec<Event> {
    state.due.iter().map(|step| evaluate(state, *step)).collect()
}

fn evaluate(state: &RunState, step: u32) -> Event {
    let spec = state.spec(step);
    let id = spec.id.clone();
    if state.step(step).whole.skip.is_some() && !mutated!(SkippedStepStarts) {
        return Event::SkipDue { unit: id };
    }
    if let Some(condition) = &spec.condition {
        let context = values::context(state, Unit::step(step), condition.expression.references.iter().map(|r| &r.0));
        match condition.evaluate(&context) {
            Ok(true) => {}
            Ok(false) => return Event::StepSkipped { step: id, condition: condition.expression.source.clone() },
            Err(error) => {
                let error = shown(state, step, &condition.expression, error);
                return Event::UnitFailed { unit: id, error: format!("`if`: {error}") };
            }
        }
    }
    match &spec.for_each {
        Some(each) if state.lacks_items(step) => match expand(state, step, &each.items) {
            Ok(items) => Event::ItemsExpanded { step: id, items },
            Err(error) => Event::UnitFailed { unit: id, error },
        },
        _ => Event::StepReady { step: id },
    }
}

/// What is wrong may repeat what was read.
pub(super) fn shown(state: &RunState, step: u32, expression: &Expression, error: EvalError) -> EvalError {
    let secret = state.runbook.reads_secret(state.spec(step), expression);
    if secret { error.discreet() } else { error }
}

fn expand(state: &RunState, step: u32, source: &Items) -> Result<Vec<Value>, String> {
    let unit = Unit::step(step);
    match source {
        Items::Expression(expression) => {
            let context = values::context(state, unit, expression.references.iter().map(|r| &r.0));
            let told = |error| format!("`for-each`: {}", shown(state, step, expression, error));
            items(expression.evaluate(&context).map_err(told)?)
        }
        Items::List(templates) => {
            let render = |template: &crate::bind::Template| {
                let context = values::context(state, unit, values::references(template));
                let secret = template.expressions().any(|(it, _)| state.runbook.reads_secret(state.spec(step), it));
                let told = |error: EvalError| if secret { error.discreet() } else { error };
                template.render(&context).map(Value::String).map_err(|error| format!("`for-each`: {}", told(error)))
            };
            items(Value::Array(templates.iter().map(render).collect::<Result<_, _>>()?))
        }
    }
}
