//! Plain lines: for pipes, cron and CI. No colours, nothing that is overwritten.

use runward_engine::run::approval::Decision;
use runward_engine::run::event::{StopCause, Then};
use runward_engine::run::objectives::Objective;
use runward_engine::run::{Event, Outcome, Part, Recorded, RolledBack, RunState, StepStatus, Unit, Verdict};
use runward_engine::runbook::model::Orphans;
use runward_engine::units::{format_duration, format_size};

use super::out::To;
use super::tail::{Tail, Tails};
use super::{objectives, waits, words};
use crate::drivers::Drivers;
use crate::graph::Tally;
use crate::text;

/// Output shown of one attempt; all of it is kept.
const SHOWN_BYTES_MAX: u64 = 256 * 1024;

pub struct Plain {
    quiet: bool,
    to: To,
    short: String,
}

impl Plain {
    pub fn new(quiet: bool, to: To) -> Plain {
        Plain { quiet, to, short: String::new() }
    }

    pub fn say(&self, lines: &str) {
        super::say(self.to, lines);
    }

    pub fn begin(&mut self, state: &RunState) {
        self.short = words::short(&state.id.0).to_owned();
        self.say(&beginning(state));
        waits::already(state).iter().for_each(|line| self.say(line));
        if let Some(paused) = &state.paused {
            self.say(&on_pause(&paused.by, paused.reason.as_ref()));
        }
    }

    pub fn tick(&mut self, tails: &mut Tails) {
        if !self.quiet {
            tails.iter_mut().for_each(|tail| self.echo(tail, false));
        }
    }

    pub fn changed(&mut self, state: &RunState, news: &[Recorded], tails: &mut Tails) {
        let place = tails.place(state);
        let put = |recorded: &Recorded, line: String| placed(&place, &recorded.event, line);
        for recorded in news {
            match &recorded.event {
                Event::AttemptClaimed { unit, claim, .. } => {
                    if !self.quiet {
                        self.say(&put(recorded, note(state, recorded).unwrap_or_default()));
                    }
                    tails.add(state, claim, unit.clone(), recorded.at);
                }
                Event::AttemptSettled { claim, .. }
                | Event::AttemptLost { claim, .. }
                | Event::AttemptVoided { claim, .. } => {
                    let failed = !matches!(&recorded.event, Event::AttemptSettled { outcome, .. } if outcome.is_fine());
                    let silent = matches!(&recorded.event, Event::AttemptSettled { log, .. } if log.bytes == 0);
                    let since = self.finish(tails.take(claim), failed, silent);
                    if failed || !self.quiet {
                        self.say(&put(recorded, sentence(state, recorded, since)));
                    }
                }
                Event::AttemptAdopted { unit, claim, .. } => {
                    self.say(&put(recorded, note(state, recorded).unwrap_or_default()));
                    let since = state.live_attempt(claim).map_or(recorded.at, |(_, attempt)| attempt.claimed_at);
                    if tails.take(claim).is_none() || state.live().contains_key(claim) {
                        tails.add(state, claim, unit.clone(), since);
                    }
                }
                Event::FinallyStarted | Event::StepSkipped { .. } | Event::ItemsExpanded { .. } if self.quiet => {}
                _ => {
                    if let Some(line) = note(state, recorded) {
                        self.say(&put(recorded, line));
                    }
                }
            }
        }
    }

    /// The rest of an attempt's output; returns when it began.
    fn finish(&self, tail: Option<Tail>, failed: bool, silent: bool) -> Option<i64> {
        let mut tail = tail?;
        if silent {
            return Some(tail.since);
        }
        if self.quiet {
            if failed {
                tail.lines(true, |_| {});
                tail.last.iter().for_each(|line| self.say(&format!("{} | {line}", tail.unit)));
            }
        } else {
            self.echo(&mut tail, true);
        }
        Some(tail.since)
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub fn end(&mut self, state: &RunState, verdict: Verdict, drivers: &Drivers) {
        ending(state, verdict, drivers).iter().for_each(|line| self.say(line));
    }

    fn echo(&self, tail: &mut Tail, whole: bool) {
        let (unit, short) = (tail.unit.clone(), &self.short);
        let mut shown = tail.shown;
        tail.lines(whole, |line| {
            let before = shown;
            shown += line.len() as u64 + 1;
            if shown <= SHOWN_BYTES_MAX {
                self.say(&format!("{unit} | {line}"));
            } else if before <= SHOWN_BYTES_MAX {
                let limit = format_size(SHOWN_BYTES_MAX);
                self.say(&format!("{unit} | [more than {limit}: runward logs {short} {unit} shows the rest]"));
            }
        });
        tail.shown = shown;
    }
}

/// A line about a run that is a step: it says of which.
pub fn placed(place: &str, event: &Event, line: String) -> String {
    let Some((mark, rest)) = line.split_once(' ').filter(|_| !place.is_empty()) else { return line };
    match event.unit() {
        Some(unit) if rest.starts_with(unit) => format!("{mark} {place}{rest}"),
        _ => format!("{mark} {}: {rest}", place.trim_end_matches('/')),
    }
}

/// Which run this is.
pub fn beginning(state: &RunState) -> String {
    let again = if state.generation > 1 { format!(", generation {}", state.generation) } else { String::new() };
    let planned = match &state.planned {
        Some(saved) => format!(", plan {} saved at {}", &state.plan[..12.min(state.plan.len())], text::time(saved.at)),
        None => String::new(),
    };
    format!("{}: run {}{again}{planned}", state.name, state.id)
}

/// What happened, where a line says it all: nothing of the end of an attempt, see [`sentence`].
pub fn note(state: &RunState, recorded: &Recorded) -> Option<String> {
    Some(match &recorded.event {
        Event::AttemptClaimed { unit, attempt: 1, .. } => format!("▶ {unit}{}", words::item_named(state, unit)),
        Event::AttemptClaimed { unit, attempt, .. } => {
            format!("▶ {unit}{}, attempt {attempt}", words::item_named(state, unit))
        }
        Event::AttemptAdopted { unit, .. } => format!("▶ {unit} still runs, and is watched from here on"),
        Event::UnitFailed { unit, error } => format!("✗ {unit} did not start: {}", text::safe(error)),
        Event::ChildStarted { unit, child, generation, .. } => {
            let again = if *generation > 1 { format!(", generation {generation}") } else { String::new() };
            format!("▶ {unit}: run {child}{again}")
        }
        Event::ChildTimedOut { unit, .. } => format!("! {unit}: its time is over, and its run is stopped"),
        Event::ChildSettled { unit, status, error, then, .. } => {
            let (symbol, word) = (words::symbol(status.as_str()), status.as_str().replace('_', " "));
            let why = error.as_ref().map(|error| format!(": {}", text::safe(error))).unwrap_or_default();
            format!("{symbol} {unit} {word}{why}{}", next(*then, recorded.at))
        }
        Event::RunFinished { error: Some(error), .. } => format!("✗ what it hands back: {}", text::safe(error)),
        Event::StepSkipped { step, condition } => format!("− {step} skipped: `{condition}` does not hold"),
        Event::ItemsExpanded { step, items } => format!("▶ {step}: {} items", items.len()),
        Event::CancelRequested { force, rollback, reason } => {
            let how = if *force { "cancelled at once" } else { "cancelled" };
            let how = if *rollback { format!("{how}, to be taken back,") } else { how.to_owned() };
            let why = reason.as_ref().map(|reason| format!(": {}", text::safe(reason))).unwrap_or_default();
            format!("! {how} by {}{why}", recorded.actor)
        }
        Event::RunPaused { reason, with_parent: true } => {
            let why = reason.as_ref().map(|reason| format!(": {}", text::safe(reason))).unwrap_or_default();
            format!("‖ paused by {}{why}", recorded.actor)
        }
        Event::RunPaused { reason, with_parent: false } => on_pause(&recorded.actor, reason.as_ref()),
        Event::RunUnpaused => format!("▶ unpaused by {}", recorded.actor),
        Event::WaitStarted { unit, until, .. } => {
            format!("◦ {unit} waits until {}", waits::moment(*until, recorded.at))
        }
        Event::WaitEnded { unit, .. } => format!("✓ {unit}: its wait is over"),
        Event::ApprovalRequested { unit, plan, deadline, by, count, .. } => {
            let who = if by.is_empty() { "anybody".to_owned() } else { text::safe(&by.join(" or ")) };
            let until = waits::moment(*deadline, recorded.at);
            format!("◦ {unit} asks for approval of plan {}: {who}, {count} of them, until {until}", waits::plan(plan))
        }
        Event::ApprovalDecided { unit, decision, person, comment, .. } => {
            let why = comment.as_ref().map(|comment| format!(": {}", text::safe(comment))).unwrap_or_default();
            match decision {
                Decision::Approved => format!("✓ {unit} approved by {person}, from {}{why}", recorded.actor),
                Decision::Rejected => format!("✗ {unit} rejected by {person}, from {}{why}", recorded.actor),
            }
        }
        Event::Notified { unit, channel, .. } => format!("✓ {unit}: queued for channel {}", text::safe(channel)),
        Event::ApprovalExpired { unit, .. } => format!("✗ {unit} was not approved in time"),
        Event::WindowClosed { until, because } => waits::closed(*until, because, recorded.at),
        Event::WindowOpened => "▶ the window is open".to_owned(),
        Event::WindowOverridden { reason } => {
            format!("! outside of its windows, by {}: {}", recorded.actor, text::safe(reason))
        }
        Event::SkipRequested { unit, reason } => {
            format!("− {unit} is to be skipped, by {}: {}", recorded.actor, text::safe(reason))
        }
        Event::SkipDue { unit } => format!("− {unit} skipped"),
        Event::RetryDue { unit, reason: Some(reason) } => {
            format!("↻ {unit} starts now, by {}: {}", recorded.actor, text::safe(reason))
        }
        Event::RunStopping { because: StopCause::Busy { group, .. } } => {
            format!("! the group `{}` has no room, and this run does not wait", text::safe(group))
        }
        Event::RunStopping { because: StopCause::TimedOut } => "! the run's time is over".to_owned(),
        Event::RollbackAsked => "‖ what was done can be taken back: somebody has to say whether".to_owned(),
        Event::RollbackRequested { only, reason, .. } => {
            let what = only.as_ref().map(|unit| format!(" of {unit}")).unwrap_or_default();
            let why = reason.as_ref().map(|reason| format!(": {}", text::safe(reason))).unwrap_or_default();
            format!("↩ rollback{what} asked for by {}{why}", recorded.actor)
        }
        Event::RollbackStarted { order } => format!("↩ rolling back: {}", some(order)),
        Event::RollbackFinished { left, .. } if left.is_empty() => "↩ rolled back".to_owned(),
        Event::RollbackFinished { left, .. } => format!("✗ not taken back: {}", some(left)),
        Event::FinallyStarted => "▶ finally".to_owned(),
        Event::ObjectiveMissed { objective: Objective::Rto, limit_ms, .. } if !state.status.is_terminal() => {
            format!("! rto {} is over, and the run goes on", objectives::duration(*limit_ms))
        }
        Event::LateResult { unit, .. } => format!("? {unit}: a result came after it was given up"),
        _ => return None,
    })
}

/// Names, as many as a line can take.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", names[..names.len() - more].join(", "))
}

/// What was taken back, what was not, and what cannot be.
pub fn taken_back(state: &RunState) -> Vec<String> {
    let left: Vec<String> = state.not_taken_back().iter().map(|unit| state.unit_name(*unit)).collect();
    let lasting: Vec<String> = state.irreversible_done().iter().map(|step| state.spec(*step).id.clone()).collect();
    let mut lines = Vec::new();
    if state.rolled_back() == RolledBack::Partial {
        lines.push(format!("  not taken back: {}", some(&left)));
    }
    if !lasting.is_empty() && (state.rolled_back() != RolledBack::None || state.asks_for_rollback()) {
        lines.push(format!("  cannot be taken back: {}", some(&lasting)));
    }
    lines
}

/// Who keeps the run from going on, and how it does.
pub fn on_pause(by: &str, reason: Option<&String>) -> String {
    let why = reason.map(|reason| format!(": {}", text::safe(reason))).unwrap_or_default();
    format!("‖ paused by {by}{why}; nothing new starts until `runward unpause`")
}

/// How it ended, and what to do next.
pub fn ending(state: &RunState, verdict: Verdict, drivers: &Drivers) -> Vec<String> {
    let took = text::took(state.started_at.or(Some(state.created_at)), state.finished_at);
    let after = if took.is_empty() { String::new() } else { format!(" after {took}") };
    let symbol = words::symbol(symbol_of(verdict));
    let mut lines = vec![format!("{symbol} {} {}{after}", state.name, words::ended(state, verdict))];
    lines.extend(summary(state));
    lines.extend(taken_back(state));
    if state.finished_at.is_some() {
        lines.extend(objectives::lines(state).iter().map(|line| format!("  {line}")));
    }
    if verdict != Verdict::Succeeded {
        lines.push(format!("  {}", advice(state, verdict, drivers)));
    }
    lines
}

/// The command that helps next.
pub fn advice(state: &RunState, verdict: Verdict, drivers: &Drivers) -> String {
    let short = words::short(&state.id.0);
    if let (Verdict::Busy, Some(StopCause::Busy { holders, .. })) = (verdict, &state.stop) {
        let holders: Vec<&str> = holders.iter().take(3).map(|run| words::short(&run.0)).collect();
        return format!("who was there: runward show {}; try again: runward resume {short}", holders.join(", "));
    }
    if let (Verdict::Unfinished, Some(unit)) = (verdict, state.asked().next()) {
        let step = state.unit_name(unit);
        return format!("runward approve {short} {step} (or reject){}", drivers.then(short));
    }
    match (verdict, state.held().first()) {
        (Verdict::Succeeded, _) => {
            format!("runward logs {short} (what was printed), runward show {short}")
        }
        (_, Some(unit)) => format!(
            "runward resolve {short} {} --as succeeded|failed|retry{}",
            state.unit_name(*unit),
            drivers.then(short)
        ),
        (Verdict::Unfinished, None) if !state.children().is_empty() => match drivers {
            Drivers::Of(_) => format!("then: runward resume {short}"),
            Drivers::Workers => format!("the run goes on by itself then: runward logs -f {short}"),
        },
        _ if state.asks_for_rollback() => format!(
            "take back what was done: runward rollback {short}; try again: runward resume {short}; let it stand: \
             runward cancel {short}"
        ),
        _ => match (state.undo_failed(), state.rolled_back()) {
            (Some(unit), _) => format!(
                "say what became of it: runward resolve {short} {}.undo --as succeeded|failed|retry",
                state.unit_name(unit)
            ),
            (None, RolledBack::Partial) => {
                format!("take back the rest: runward rollback {short}; or go on: runward resume {short}")
            }
            (None, RolledBack::Done) => {
                format!("what was printed: runward logs {short}; do it again: runward resume {short}")
            }
            (None, RolledBack::None) => {
                format!("what was printed: runward logs {short}; try again: runward resume {short}")
            }
        },
    }
}

pub fn symbol_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Succeeded => "succeeded",
        Verdict::Failed | Verdict::TimedOut | Verdict::Rejected => "failed",
        Verdict::Cancelled | Verdict::Busy => "cancelled",
        Verdict::RolledBack | Verdict::RollbackIncomplete => "failed",
        Verdict::Unknown | Verdict::Unfinished => "lost",
    }
}

/// The steps that did not succeed, with their reasons.
pub fn summary(state: &RunState) -> Vec<String> {
    runward_engine::run::rows::units(state).filter_map(|unit| shortfall(state, unit)).take(20).collect()
}

fn shortfall(state: &RunState, unit: Unit) -> Option<String> {
    let found = state.unit(unit)?;
    if let Some(who) = state.who_is_asked(unit).filter(|_| found.status == StepStatus::Waiting) {
        return Some(format!("  {} waits for approval: {}", state.unit_name(unit), text::safe(&who)));
    }
    let items = tally(state, unit).filter(|tally| tally.done > 0);
    let stopped = matches!(found.status, StepStatus::Skipped | StepStatus::Cancelled) && items.is_some();
    if !(found.status.is_failure() || found.status == StepStatus::Held || stopped) {
        return None;
    }
    let held = || found.is_held_by_undo().then(|| "its undo did not succeed".to_owned());
    let error = found.error.as_deref().map(text::safe).or_else(held).or(items.map(Tally::sentence));
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    let allowed = if is_allowed(state, unit) { format!(" {}", words::ALLOWED) } else { String::new() };
    let (name, item) = (state.unit_name(unit), words::item(state, unit));
    Some(format!("  {name}{item} {}{why}{allowed}", found.status.as_str().replace('_', " ")))
}

/// What a probe said, of itself and of the step or item that it belongs to.
pub fn probed(state: &RunState, unit: Unit) -> Option<&'static str> {
    let found = state.unit(unit)?;
    let succeeded = found.status == StepStatus::Succeeded;
    match unit.part {
        Part::Check if succeeded => Some(match found.attempts.last()?.code {
            Some(0) => "in place",
            _ => "not in place",
        }),
        Part::Step if state.found_in_place(unit) => Some(match found.attempts.last() {
            Some(last) if last.generation == state.generation => "found in place after its start was lost",
            _ => "already in place",
        }),
        _ => None,
    }
}

/// How the items of a `for-each` stand, where the unit is the step above them.
pub fn tally(state: &RunState, unit: Unit) -> Option<Tally> {
    if unit.is_whole() { Tally::of(state, unit.step) } else { None }
}

/// Whether it failed, and the run goes on as if it had not.
pub fn is_allowed(state: &RunState, unit: Unit) -> bool {
    let failed = state.unit(unit).is_some_and(|found| found.status.is_failure());
    failed && unit.part == Part::Step && state.spec(unit.step).allow_failure
}

/// How an attempt ended, in a line.
pub fn sentence(state: &RunState, recorded: &Recorded, since: Option<i64>) -> String {
    let took = text::took(since, Some(recorded.at));
    match &recorded.event {
        Event::AttemptSettled { unit, outcome, then, error, orphans, started_at, ended_at, .. } => {
            let took = if started_at.is_some() { text::took(*started_at, *ended_at) } else { took };
            let status = match outcome {
                Outcome::NotInPlace => return format!("◦ {unit}: not in place ({took})"),
                Outcome::Succeeded => "succeeded",
                Outcome::TimedOut => "timed_out",
                Outcome::Killed => "cancelled",
                Outcome::Interrupted => "lost",
                Outcome::Failed { .. } | Outcome::NotStarted => "failed",
            };
            let why = error.as_ref().map(|error| format!(": {}", text::safe(error))).unwrap_or_default();
            let found = state.unit_named(unit).filter(|unit| unit.part == Part::Check && outcome.is_fine());
            let says = found.map_or_else(|| status.replace('_', " "), |_| "says that it is in place".to_owned());
            let item = words::item_named(state, unit);
            let mut line = format!("{} {unit}{item} {says} ({took}){why}", words::symbol(status));
            line += &next(*then, recorded.at);
            for orphan in orphans.iter().take(5) {
                line += &format!("\n  {unit} left a process behind: {}", text::safe(orphan));
            }
            let ends = |unit| state.spec(unit).orphans == Orphans::Kill;
            if !orphans.is_empty() && state.unit_named(unit).is_some_and(|unit| ends(unit.step)) {
                line += "\n  it was ended: a step that starts a daemon says `orphans: leave`";
            }
            line
        }
        Event::AttemptLost { unit, evidence, then, .. } => {
            format!("? {unit} lost: {}{}", text::safe(evidence), next(*then, recorded.at))
        }
        Event::AttemptVoided { unit, .. } => format!("↻ {unit} had never started; it starts now"),
        _ => format!("{}: {}", state.name, recorded.event.kind()),
    }
}

fn next(then: Then, now: i64) -> String {
    match then {
        Then::Stand => String::new(),
        Then::Hold => "; held until somebody resolves it".to_owned(),
        Then::Check => "; its check says whether it is done".to_owned(),
        Then::Retry { at } if at <= now => "; again at once".to_owned(),
        Then::Retry { at } => {
            let wait = std::time::Duration::from_millis(u64::try_from(at - now).unwrap_or(0));
            format!("; again in {}", format_duration(wait))
        }
    }
}
