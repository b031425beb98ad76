//! Steps that no worker carries out: how they begin when their turn has come, and when their waiting is over.
//!
//! Whoever has to wait is [`Waiting`](StepStatus::Waiting). When a wait ends is decided once, as it begins, and is on the
//! record: no restart, no clock that was set and no edited file changes it.

use std::time::Duration;

use super::approval;
use super::event::Event;
use super::follow::shown;
use super::ids::Unit;
use super::progress::{begins, end_unit, touch};
use super::state::{RunState, StepStatus};
use super::values;
use crate::bind::Template;
use crate::limits;
use crate::runbook::model::{Action, Wait};
use crate::schedule::moment;
use crate::units::format_duration;

/// Whether something begins by itself now. A pause holds it back; what waits already goes on waiting.
pub(super) fn may_begin(state: &RunState) -> bool {
    state.paused.is_none() && !state.arrived.is_empty()
}

/// How those begin whose turn has come. Each of them leaves the list of those that have arrived.
pub(super) fn begin(state: &RunState, now: i64) -> Vec<Event> {
    state.arrived.iter().flat_map(|unit| begin_one(state, *unit, now)).collect()
}

fn begin_one(state: &RunState, unit: Unit, now: i64) -> Vec<Event> {
    let name = state.unit_name(unit);
    let failed = |error: String| vec![Event::UnitFailed { unit: name.clone(), error }];
    match &state.spec(unit.step).action {
        Action::Wait(wait) => match until(state, unit, wait, now) {
            Err(error) => failed(error),
            Ok(until) => {
                let started = Event::WaitStarted { unit: name.clone(), until, generation: state.generation };
                let ended = (until <= now).then_some(Event::WaitEnded { unit: name, generation: state.generation });
                std::iter::once(started).chain(ended).collect()
            }
        },
        Action::Approve(approve) => vec![approval::ask(state, unit, approve, now)],
        Action::Notify(notify) => match render(state, unit, "notify.text", &notify.text) {
            Err(error) => failed(error),
            Ok(text) => vec![Event::Notified {
                unit: name,
                generation: state.generation,
                channel: notify.channel.clone(),
                text: fit(text),
            }],
        },
        _ => failed("nothing begins this kind of step".to_owned()),
    }
}

/// What ends the waiting of a unit whose time has come.
pub(super) fn over(state: &RunState, unit: Unit) -> Option<Event> {
    match state.spec(unit.step).action {
        Action::Wait(_) => Some(Event::WaitEnded { unit: state.unit_name(unit), generation: state.generation }),
        Action::Approve(_) => Some(approval::expire(state, unit)),
        _ => None,
    }
}

/// What a unit had to say is on its way: whether it arrives is no business of the run.
pub(super) fn told(state: &mut RunState, unit: Unit, at: i64) {
    begins(state, unit, at);
    let told = touch(state, unit);
    told.started_at.get_or_insert(at);
    told.error = None;
    end_unit(state, unit, StepStatus::Succeeded, at);
}

/// A unit waits from now on.
pub(super) fn wait(state: &mut RunState, unit: Unit, at: i64) {
    state.arrived.remove(&unit);
    begins(state, unit, at);
    let unit = touch(state, unit);
    unit.status = StepStatus::Waiting;
    unit.started_at.get_or_insert(at);
    unit.error = None;
}

/// When a wait ends, in epoch milliseconds.
fn until(state: &RunState, unit: Unit, wait: &Wait, now: i64) -> Result<i64, String> {
    let until = match wait {
        Wait::For(duration) => now.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        Wait::Until(template) => {
            let text = render(state, unit, "wait.until", template)?;
            moment::parse(&text, now).map_err(|(message, help)| match help {
                Some(help) => format!("`wait.until`: {message}; {help}"),
                None => format!("`wait.until`: {message}"),
            })?
        }
        Wait::Window(window) => {
            window.opens(now, state.zone).ok_or_else(|| "`wait.window`: this window never opens".to_owned())?
        }
    };
    if until.saturating_sub(now) > limits::WAIT_MS_MAX as i64 {
        let (until, most) = (moment::shown(until), format_duration(Duration::from_millis(limits::WAIT_MS_MAX)));
        return Err(format!("this wait would end at {until}, and at most {most} are possible"));
    }
    Ok(until)
}

/// `key`: where the text stands.
fn render(state: &RunState, unit: Unit, key: &str, template: &Template) -> Result<String, String> {
    let context = values::context(state, unit, values::references(template));
    template.render(&context).map_err(|error| {
        let secret = template.expressions().find(|(it, _)| state.runbook.reads_secret(state.spec(unit.step), it));
        let error = match secret {
            Some((expression, _)) => shown(state, unit.step, expression, error),
            None => error,
        };
        format!("`{key}`: {error}")
    })
}

/// As much of a text as a notice holds.
fn fit(text: String) -> String {
    let max = limits::NOTICE_TEXT_BYTES_MAX;
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max);
    format!("{}\n(cut: {} of {} bytes)", &text[..end], end, text.len())
}

/// What a run waits for above all, in words: people before times, and of times the next.
pub(super) fn waits(state: &RunState) -> Option<String> {
    if let Some(unit) = state.asked().next() {
        return Some(format!("{}: approval by {}", state.unit_name(unit), state.who_is_asked(unit)?));
    }
    if let Some(closure) = state.closure() {
        let until = closure.until.map_or("for ever".to_owned(), |at| format!("until {}", moment::shown(at)));
        return Some(format!("window: closed {until}, {}", closure.because));
    }
    let (at, unit) = *state.timers.first()?;
    let waiting = state.unit(unit).is_some_and(|unit| unit.status == StepStatus::Waiting);
    waiting.then(|| format!("{}: until {}", state.unit_name(unit), moment::shown(at)))
}
