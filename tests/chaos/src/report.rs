//! What is printed in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Plan;
use crate::effects::{Effects, Word};
use crate::nemesis::{Fault, Faults};
use crate::people::People;
use crate::record::Record;

#[derive(Debug)]
pub struct Report {
    pub violations: Vec<String>,
    /// Processes killed with -9; members that stood still; restarts of Postgres; Redis emptied.
    pub kills: u32,
    pub freezes: u32,
    pub restarts: u32,
    pub flushes: u32,
    /// How often the disk of a host was full, that of Postgres was, and a point of the program was hit.
    pub full: u32,
    pub starved: u32,
    pub points: u32,
    lines: Vec<(&'static str, String)>,
}

impl Report {
    #[allow(clippy::too_many_arguments, reason = "everything there is to tell")]
    pub fn new(
        plan: &Plan,
        took: Duration,
        healed: Duration,
        faults: &Faults,
        people: &People,
        record: &Record,
        effects: &Effects,
        violations: Vec<String>,
    ) -> Report {
        let kinds = ["attempt_adopted", "attempt_voided", "attempt_lost", "late_result", "child_started"];
        let of_kind = |kind| format!("{kind} {}", record.kinds.get(kind).copied().unwrap_or(0));
        let began = effects.all.iter().filter(|effect| effect.word == Word::Start).count();
        let lines = vec![
            ("seed", format!("{}, pace 1/{}", plan.seed, plan.pace)),
            ("took", format!("{} s, healed in {} s", took.as_secs(), healed.as_secs())),
            ("faults", words(&faults.counts)),
            ("points", format!("{} were hit", faults.points)),
            ("kill -9", faults.kills.to_string()),
            ("people", format!("{}, {} triggers without an answer", words(&people.acts), people.unanswered.len())),
            ("runs", format!("{}: {}", record.runs.len(), words(&record.by_status()))),
            ("attempts", format!("{}: {}", record.attempts.len(), words(&record.attempts_by_status()))),
            ("events", kinds.map(of_kind).join(", ")),
            ("effects", format!("{} lines, {began} starts", effects.all.len())),
            ("violations", violations.len().to_string()),
        ];
        let count = |these: &[Fault]| these.iter().filter_map(|fault| faults.counts.get(fault)).sum();
        Report {
            kills: faults.kills,
            freezes: count(&[Fault::FreezeWorker, Fault::FreezeHost, Fault::FreezeServer]),
            restarts: count(&[Fault::RestartPostgres]),
            flushes: count(&[Fault::FlushRedis, Fault::RestartRedis]),
            full: count(&[Fault::FullDisk]),
            starved: count(&[Fault::FullPostgres]),
            points: faults.points,
            violations,
            lines,
        }
    }
}

fn words<K: fmt::Debug>(counts: &BTreeMap<K, u32>) -> String {
    counts.iter().map(|(name, count)| format!("{name:?} {count}").replace('"', "")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.lines {
            writeln!(out, "{name:<11}{value}")?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(out, "VIOLATION  {violation}"))
    }
}
