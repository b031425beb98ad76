//! What has to be true afterwards, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use crate::effects::{Effects, Start, Word};
use crate::nemesis::Faults;
use crate::people::People;
use crate::record::Record;

/// Starts that a unit of these runbooks may have in one generation; one, where nothing is said.
const RETRIES: [(&str, &str, u64); 3] = [("fan", "each", 6), ("again", "flaky", 20), ("again", "long", 10)];

/// Every violation, in words.
pub fn check(record: &Record, effects: &Effects, people: &People, faults: &Faults, open: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(people.complaints.iter().cloned());
    found.extend(open.iter().map(|run| format!("run {run} did not come to an end ({})", record.runbook(run))));
    found.extend(record.tampered.iter().map(|said| format!("the record does not verify: {said}")));
    found.extend(record.left_ready.iter().map(|row| format!("`{row}` is announced, and its run is over")));
    found.extend(effects.torn.iter().map(|line| format!("a torn line: {line}")));
    found.extend(triggers(record, people));
    found.extend(attempts(record, effects));
    found.extend(starts(record, effects));
    found.extend(overlaps(effects, faults));
    found.extend(groups(record, effects, faults));
    found
}

/// An acknowledged trigger is exactly one run; a key never names two.
fn triggers(record: &Record, people: &People) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, row) in &record.runs {
        if let Some(key) = row["key"].as_str() {
            by_key.entry(key).or_default().push(id);
        }
    }
    for (key, id) in &people.acknowledged {
        match by_key.get(key.as_str()).map(Vec::as_slice) {
            Some([one]) if *one == id => {}
            other => found.push(format!("{key} was acknowledged as {id}, and is {other:?}")),
        }
    }
    let known: BTreeSet<&str> = people.acknowledged.keys().chain(&people.unanswered).map(String::as_str).collect();
    found.extend(by_key.keys().filter(|key| !known.contains(*key)).map(|key| format!("nobody asked for {key}")));
    found
}

/// What is on the record of an attempt is what it did.
fn attempts(record: &Record, effects: &Effects) -> Vec<String> {
    let mut found = Vec::new();
    for (start, row) in &record.attempts {
        let (began, ended) = (effects.count(start, Word::Start), effects.count(start, Word::End));
        let status = row["status"].as_str().unwrap_or_default();
        let fits = match status {
            "succeeded" => began == 1 && ended == 1,
            "never_started" => began == 0,
            "running" => false,
            _ => began <= 1,
        };
        if !fits {
            found.push(format!("{start:?} is {status}, and it began {began} times and ended {ended} times"));
        }
    }
    let unknown = effects.starts.keys().filter(|start| !record.attempts.contains_key(start));
    found.extend(unknown.map(|start| format!("{start:?} began, and no attempt is on the record")));
    found
}

/// No unit starts more often than it may in one generation.
fn starts(record: &Record, effects: &Effects) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str, u64), u64> = BTreeMap::new();
    for effect in effects.all.iter().filter(|effect| effect.word == Word::Start) {
        let Start { run, unit, .. } = &effect.start;
        *counts.entry((run, unit, effect.generation)).or_default() += 1;
    }
    let mut found = Vec::new();
    for ((run, unit, generation), count) in counts {
        let step = unit.split(['[', '.']).next().unwrap_or_default();
        let of = RETRIES.iter().find(|(name, id, _)| *name == record.runbook(run) && *id == step);
        let most = of.map_or(1, |(_, _, most)| *most);
        if count > most {
            found.push(format!("{unit} of run {run} began {count} times in generation {generation}, {most} at most"));
        }
    }
    found
}

/// A unit never runs twice at a time: nothing of one start comes after the beginning of the next. A host that stood still
/// as a whole may come back for a moment; then its number is the smaller one.
fn overlaps(effects: &Effects, faults: &Faults) -> Vec<String> {
    let mut newest: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut found = Vec::new();
    for effect in &effects.all {
        let Start { run, unit, number } = &effect.start;
        let newest = newest.entry((run, unit)).or_insert(*number);
        if *number >= *newest {
            *newest = *number;
        } else if !faults.frozen.contains(effect.host.as_str()) {
            let word = effect.word;
            found.push(format!("{word:?} of {unit} {number} of run {run} came after {newest} had begun"));
        }
    }
    found
}

/// Runs of one group never mix: between two lines of one there is none of another.
fn groups(record: &Record, effects: &Effects, faults: &Faults) -> Vec<String> {
    let mut last: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
    let mut done: BTreeSet<(&str, u64)> = BTreeSet::new();
    let mut found = Vec::new();
    for effect in effects.all.iter().filter(|effect| !faults.frozen.contains(effect.host.as_str())) {
        let Some(group) = record.runs.get(&effect.start.run).and_then(|row| row["grp"].as_str()) else { continue };
        let own = (effect.start.run.as_str(), effect.generation);
        if let Some(before) = last.insert(group, own).filter(|before| *before != own) {
            done.insert(before);
        }
        if done.contains(&own) {
            found.push(format!("run {} and another one of group {group} ran at once", own.0));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Unit, number and status of an attempt.
    type Attempt = (&'static str, u64, &'static str);

    /// What is found of lines of effects and attempts of one run of this runbook.
    fn found(runbook: &str, lines: &[&str], attempts: &[Attempt]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("effects");
        std::fs::write(
            &file,
            lines.iter().map(|line| format!("{line} /x/host1/runs/r/workspace\n")).collect::<String>(),
        )
        .unwrap();
        let mut record = Record::default();
        for run in ["r", "q"] {
            record.runs.insert(run.to_owned(), json!({"name": runbook, "grp": "g", "status": "succeeded"}));
        }
        for (unit, number, status) in attempts {
            let start = Start { run: "r".to_owned(), unit: (*unit).to_owned(), number: *number };
            record.attempts.insert(start, json!({"status": status}));
        }
        check(&record, &Effects::read(&file), &People::default(), &Faults::default(), &[])
    }

    #[test]
    fn what_fits_is_let_pass() {
        let lines = ["start r a 1 1", "tick r a 1 1", "end r a 1 1", "start r b 1 1"];
        assert_eq!(found("chain", &lines, &[("a", 1, "succeeded"), ("b", 1, "lost")]), [""; 0]);
        let again = ["start r long 1 1", "start r long 1 2", "end r long 1 2"];
        assert_eq!(found("again", &again, &[("long", 1, "lost"), ("long", 2, "succeeded")]), [""; 0]);
    }

    /// Each kind of violation, as the worst bugs would show.
    #[test]
    fn what_does_not_fit_is_found() {
        let cases: [(&str, &str, &[&str], &[Attempt]); 9] = [
            (
                "one attempt began twice",
                "chain",
                &["start r a 1 1", "start r a 1 1", "end r a 1 1"],
                &[("a", 1, "succeeded")],
            ),
            (
                "a step without retry began twice",
                "chain",
                &["start r a 1 1", "start r a 1 2"],
                &[("a", 1, "lost"), ("a", 2, "lost")],
            ),
            (
                "two at once",
                "again",
                &["start r long 1 1", "start r long 1 2", "tick r long 1 1"],
                &[("long", 1, "lost"), ("long", 2, "failed")],
            ),
            ("succeeded, and never ended", "chain", &["start r a 1 1"], &[("a", 1, "succeeded")]),
            ("succeeded, and never began", "chain", &[], &[("a", 1, "succeeded")]),
            ("never started, and it did", "chain", &["start r a 1 1"], &[("a", 1, "never_started")]),
            ("not on the record", "chain", &["start r a 1 1"], &[]),
            ("still running", "chain", &["start r a 1 1"], &[("a", 1, "running")]),
            ("a torn line", "chain", &["start r"], &[]),
        ];
        for (what, runbook, lines, attempts) in cases {
            assert!(!found(runbook, lines, attempts).is_empty(), "{what}");
        }
    }

    #[test]
    fn runs_of_a_group_that_mix_are_found() {
        let lines = ["start r a 1 1", "start q a 1 1", "end r a 1 1"];
        let found = found("alone", &lines, &[("a", 1, "succeeded")]);
        assert!(found.iter().any(|one| one.contains("group g")), "{found:?}");
    }

    #[test]
    fn triggers_are_neither_lost_nor_doubled() {
        let mut people = People::default();
        people.acknowledged.insert("k".to_owned(), "r".to_owned());
        let mut record = Record::default();
        assert_eq!(triggers(&record, &people).len(), 1, "lost");
        record.runs.insert("r".to_owned(), json!({"key": "k"}));
        assert_eq!(triggers(&record, &people).len(), 0);
        record.runs.insert("q".to_owned(), json!({"key": "k"}));
        assert_eq!(triggers(&record, &people).len(), 1, "doubled");
    }
}
