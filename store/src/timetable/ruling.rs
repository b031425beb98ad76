//! What becomes of orders, given what the ledger knows. Every ledger asks here, in the transaction and under the locks in
//! which it then writes what comes out: so all of them rule alike, and nothing is decided on what may have changed.

use std::collections::BTreeMap;

use runward_engine::mutated;
use runward_engine::run::group::{Member, Permit};
use runward_engine::run::{Notice, RunId, notice};
use runward_engine::runbook::notify::Severity;
use runward_engine::schedule::due::is_missed;
use runward_engine::schedule::entry::{Overlap, Schedule, Tick, TickRef};

use super::{Decided, Decision, Disabled, Entry, Order, Outcome, TickRow, WAITING_MAX};
use crate::administration::SkippedTicks;
use crate::ledger::{NewRun, RunView};

/// Of a reason, which may be what is wrong with a file.
const REASON_CHARS_MAX: usize = 1_000;

/// What is known of a schedule.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    /// What this home posts under the name, and up to when its ticks are decided.
    pub posted: Option<(String, i64)>,
    pub disabled: Option<Disabled>,
    /// What became of ticks, by their key: of those that are asked for, if anything.
    pub ticks: BTreeMap<String, Outcome>,
    /// Where rows lie within what is to be skipped as many: some `at` of each such range, if there is one.
    pub taken: Vec<i64>,
    /// The oldest first, each with the run that it waits for, and the spec that it is a tick of.
    pub waiting: Vec<(Tick, RunId, String)>,
    /// The newest run of the schedule that is not at its end.
    pub unfinished: Option<RunId>,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub now: i64,
    pub sheets: BTreeMap<String, Sheet>,
    /// Runs that wait for a permit of each group that a new run asks for.
    pub queued: BTreeMap<String, usize>,
}

/// What is to be written, and the answers.
#[derive(Default)]
pub(crate) struct Ruling {
    pub answers: Vec<Decided>,
    pub runs: Vec<(NewRun, RunView)>,
    /// New, or in the place of one that waits; with the schedule's spec.
    pub rows: Vec<(TickRow, String)>,
    pub skipped: Vec<SkippedTicks>,
    /// Of each schedule of which ticks were missed.
    pub notices: Vec<Notice>,
    /// Up to when the ticks of an entry are decided by now: its name, its spec, epoch milliseconds.
    pub passed: Vec<(String, String, i64)>,
}

pub(crate) fn rule(mut facts: Facts, orders: Vec<Order>) -> Ruling {
    let mut ruling = Ruling::default();
    let severities: BTreeMap<String, Severity> =
        orders.iter().map(|it| (it.entry.name.clone(), it.entry.schedule.severity.unwrap_or_default())).collect();
    for Order { entry, decision } in orders {
        let answer = facts.rule(&mut ruling, &entry, decision);
        ruling.answers.push(answer);
    }
    ruling.notices = missed(&ruling.skipped, &severities, facts.now);
    ruling
}

/// One notice a schedule, however many of its ticks were missed: it names the last one.
fn missed(skipped: &[SkippedTicks], severities: &BTreeMap<String, Severity>, now: i64) -> Vec<Notice> {
    let mut of: BTreeMap<&str, (&SkippedTicks, u64)> = BTreeMap::new();
    for ticks in skipped.iter().filter(|ticks| is_missed(&ticks.reason)) {
        let (last, count) = of.entry(&ticks.schedule).or_insert((ticks, 0));
        *count += ticks.count;
        *last = if ticks.at >= last.at { ticks } else { *last };
    }
    let severity = |name: &str| severities.get(name).copied().unwrap_or_default();
    of.into_iter()
        .map(|(name, (last, count))| notice::missed(name, severity(name), &last.key, count, &last.reason, now))
        .collect()
}

/// Ticks that waited for a run of a schedule that nobody fires any more.
pub(crate) fn abandon(now: i64, waiting: Vec<(String, Tick, String)>) -> Ruling {
    let mut ruling = Ruling::default();
    for (schedule, tick, spec) in waiting {
        let outcome = skipped("the schedule was changed or removed while it waited".to_owned());
        ruling.write(now, (schedule, spec), tick, None, outcome);
    }
    ruling
}

impl Facts {
    pub(crate) fn queue(&mut self, group: &str, members: &[Member]) {
        let waiting = members.iter().filter(|member| member.permit == Permit::Waits).count();
        self.queued.insert(group.to_owned(), waiting);
    }

    fn rule(&mut self, ruling: &mut Ruling, entry: &Entry, decision: Decision) -> Decided {
        let Some(sheet) = self.sheets.get_mut(&entry.name) else { return Decided::Changed };
        let spec = entry.schedule.spec();
        let cursor = match &sheet.posted {
            Some((posted, cursor)) if *posted == spec => *cursor,
            _ => return Decided::Changed,
        };
        let last = decision.tick();
        let due = |tick: &Tick| tick.at + entry.schedule.offset(&entry.name);
        if due(last) > self.now && !mutated!(TickTooEarly) {
            return Decided::Early(due(last) - self.now);
        }
        let before = sheet.ticks.get(&last.key()).filter(|_| !mutated!(TickWithoutKey)).cloned();
        match (&decision, before.clone()) {
            (Decision::SkipMany { count, .. }, Some(Outcome::Skipped { reason, count: all })) if all == *count => {
                return Decided::Before(Outcome::Skipped { reason, count: all });
            }
            (Decision::SkipMany { .. }, None) | (_, Some(Outcome::Waits { .. })) => {}
            (Decision::SkipMany { .. }, Some(_)) => return Decided::Changed,
            (decision, Some(done)) => return decision.answer(done),
            (_, None) => {}
        }
        if before.is_none() && due(last) <= cursor {
            return Decided::Passed;
        }
        if let Decision::SkipMany { first, last, .. } = &decision
            && (due(first) <= cursor || sheet.taken.iter().any(|at| (first.at..=last.at).contains(at)))
        {
            return Decided::Changed;
        }
        let place = (entry.name.clone(), spec);
        let tick = last.clone();
        let mut from = None;
        let outcome = match decision {
            Decision::Skip { reason, .. } => skipped(reason),
            Decision::SkipMany { first, last, count, reason } => {
                sheet.posted = Some((place.1.clone(), due(&last)));
                ruling.passed.push((place.0.clone(), place.1.clone(), due(&last)));
                from = Some(first.key());
                Outcome::Skipped { reason: plain(&reason), count }
            }
            Decision::Fire { new, .. } => {
                let outcome = sheet.fire(ruling, &place, &entry.schedule, &tick, &new.id, self.now);
                match outcome {
                    Outcome::Run { .. } => begin(ruling, &mut self.queued, &place.0, &tick, *new),
                    other => other,
                }
            }
        };
        sheet.note(&tick, &place.1, &outcome);
        match before {
            Some(waits) if waits == outcome => return Decided::Before(outcome),
            _ => ruling.write(self.now, place, tick, from, outcome.clone()),
        }
        Decided::Now(outcome)
    }
}

impl Sheet {
    /// What becomes of a tick that is to be a run.
    fn fire(
        &mut self,
        ruling: &mut Ruling,
        place: &(String, String),
        schedule: &Schedule,
        tick: &Tick,
        run: &RunId,
        now: i64,
    ) -> Outcome {
        if let Some(disabled) = self.disabled.as_ref().filter(|_| !mutated!(DisabledFires)) {
            return skipped(format!("disabled by {}: {}", disabled.by, disabled.reason));
        }
        // What another text of the schedule left waiting is none of its business.
        let waiting: Vec<(Tick, RunId)> = self
            .waiting
            .iter()
            .filter(|(.., spec)| *spec == place.1)
            .map(|(tick, run, _)| (tick.clone(), run.clone()))
            .collect();
        let in_its_way = self.unfinished.clone().filter(|_| !mutated!(OverlapUnseen));
        let starts = Outcome::Run { run: run.clone() };
        match (schedule.overlap, in_its_way) {
            (Overlap::Allow, _) => starts,
            (Overlap::Skip, None) => starts,
            (Overlap::Skip, Some(run)) => skipped(format!("run {run} still runs")),
            (Overlap::Queue, in_its_way) => {
                let older = waiting.iter().find(|(waits, _)| waits < tick).map(|(_, run)| run.clone());
                let known = waiting.iter().any(|(waits, _)| waits == tick);
                match in_its_way.or(older) {
                    None => starts,
                    Some(_) if !known && waiting.len() >= WAITING_MAX => {
                        skipped(format!("{WAITING_MAX} ticks wait for a run of this schedule already"))
                    }
                    Some(run) => Outcome::Waits { run },
                }
            }
            (Overlap::CancelRunning, in_its_way) => {
                if let Some((newer, _)) = waiting.iter().find(|(waits, _)| waits > tick) {
                    return skipped(format!("superseded by {}", newer.key()));
                }
                for (older, _) in waiting.into_iter().filter(|(older, _)| older != tick) {
                    let outcome = skipped(format!("superseded by {}", tick.key()));
                    self.note(&older, &place.1, &outcome);
                    ruling.write(now, place.clone(), older, None, outcome);
                }
                in_its_way.map_or(starts, |run| Outcome::Waits { run })
            }
        }
    }

    /// Later orders of the same batch see what earlier ones came to.
    fn note(&mut self, tick: &Tick, spec: &str, outcome: &Outcome) {
        self.ticks.insert(tick.key(), outcome.clone());
        self.taken.push(tick.at);
        self.waiting.retain(|(waits, ..)| waits != tick);
        match outcome {
            Outcome::Run { run } => self.unfinished = Some(run.clone()),
            Outcome::Waits { run } => {
                self.waiting.push((tick.clone(), run.clone(), spec.to_owned()));
                self.waiting.sort();
            }
            Outcome::Skipped { .. } => {}
        }
    }
}

/// The run of a tick, unless the ledger cannot take it: then the tick is skipped, so that it is not tried for ever.
fn begin(
    ruling: &mut Ruling,
    queued: &mut BTreeMap<String, usize>,
    name: &str,
    tick: &Tick,
    mut new: NewRun,
) -> Outcome {
    let group = new.group.as_ref().filter(|group| group.when_busy.waits()).map(|group| group.name.clone());
    let waiting = group.map(|group| queued.entry(group).or_default());
    if let Some(Err(full)) = waiting.as_deref().map(|queued| new.fits_behind(*queued)) {
        return skipped(full.to_string());
    }
    let view = match RunView::empty(&new.id, &new.definition) {
        Ok(view) => view,
        Err(error) => return skipped(error.to_string()),
    };
    if let Some(queued) = waiting {
        *queued += 1;
    }
    new.tick = Some(TickRef { schedule: name.to_owned(), key: tick.key(), at: tick.at });
    let run = new.id.clone();
    ruling.runs.push((new, view));
    Outcome::Run { run }
}

impl Ruling {
    fn write(
        &mut self,
        now: i64,
        (schedule, spec): (String, String),
        tick: Tick,
        from: Option<String>,
        outcome: Outcome,
    ) {
        if let Outcome::Skipped { reason, count } = &outcome {
            let (schedule, reason, key) = (schedule.clone(), reason.clone(), tick.key());
            self.skipped.push(SkippedTicks { schedule, from, key, at: tick.at, count: *count, reason });
        }
        // What an earlier order of the batch came to is not the last word: each tick is written once.
        self.rows.retain(|(row, _)| (&row.schedule, &row.tick) != (&schedule, &tick));
        self.rows.push((TickRow { schedule, tick, decided_at: now, outcome }, spec));
    }
}

impl Decision {
    /// The one whose key is written.
    pub fn tick(&self) -> &Tick {
        match self {
            Decision::Fire { tick, .. } | Decision::Skip { tick, .. } | Decision::SkipMany { last: tick, .. } => tick,
        }
    }

    /// To one that was decided before.
    fn answer(&self, done: Outcome) -> Decided {
        match (self, &done) {
            (Decision::Fire { new, .. }, Outcome::Run { run }) if *run == new.id => Decided::Now(done),
            _ => Decided::Before(done),
        }
    }
}

fn skipped(reason: String) -> Outcome {
    Outcome::Skipped { reason: plain(&reason), count: 1 }
}

/// A reason as it is stored: the same in a column of any database and in the JSON of the record, so that both can be
/// compared.
fn plain(reason: &str) -> String {
    reason
        .chars()
        .take(REASON_CHARS_MAX)
        .map(|letter| if "\0\u{F0000}".contains(letter) { '\u{FFFD}' } else { letter })
        .collect()
}
