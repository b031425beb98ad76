//! Anchors: how far the record had come at a moment, noted where whoever can write the ledger cannot.
//!
//! A chain of hashes tells that a row was changed. It cannot tell that its end was cut off, that a run is gone with everything of
//! it, or that all of it was written again: for that somebody has to have seen it before. An anchor is one line of JSON with the
//! last event of each run that went on since the anchor before it, and the last entry of the ledger's own record; each line has
//! the hash of the one before it. Where the lines are kept is not decided here.

use std::collections::BTreeMap;

use runward_engine::plan::definition::hex;
use runward_engine::run::RunId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::administration::AdminEntry;
use crate::chain::GENESIS;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// The last event of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub seq: u64,
    pub hash: String,
}

/// Stored for ever: it may gain optional fields, but never change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// From 1.
    pub anchor: u64,
    /// By the clock of the machine that wrote it, in epoch milliseconds.
    pub at: i64,
    /// Runs that went on since the anchor before this one.
    pub runs: BTreeMap<RunId, Head>,
    /// The ledger's own record.
    pub record: Head,
    /// SHA-256 of the line before, without its end; of the first one 64 zeros.
    pub previous: String,
}

/// How far a ledger has come.
#[derive(Debug, Clone)]
pub struct Heads {
    pub runs: BTreeMap<RunId, Head>,
    pub record: Head,
    /// The last event of the runs that were removed by the rules.
    pub pruned: BTreeMap<RunId, Head>,
}

impl Heads {
    pub async fn of(ledger: &dyn Ledger) -> Result<Heads, LedgerError> {
        // The runs first: what is pruned in between is in both, and what begins in between in neither.
        let runs = ledger.heads().await?;
        let entries = ledger.administration().await?;
        let pruned = entries.iter().flat_map(|entry| entry.event.pruned());
        let pruned = pruned.map(|run| (run.id.clone(), Head { seq: run.events, hash: run.head.clone() })).collect();
        Ok(Heads { runs, record: record(&entries), pruned })
    }
}

/// Where the ledger's own record ends.
fn record(entries: &[AdminEntry]) -> Head {
    let last = entries.last().map(|entry| Head { seq: entry.seq, hash: entry.hash.clone() });
    last.unwrap_or_else(|| Head { seq: 0, hash: GENESIS.to_owned() })
}

/// What a file of anchors says, taken together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchors {
    /// The newest word on each run, and in which line.
    runs: BTreeMap<RunId, (Head, usize)>,
    record: Option<(Head, usize)>,
    last: Option<(u64, String)>,
    /// Where the lines do not fit each other.
    pub broken: Vec<String>,
}

impl Anchors {
    /// A line that is no anchor is passed over: one that was not written to its end, in a crash or on a full disk. If it was
    /// one, the line after it does not follow.
    pub fn read(text: &str) -> Anchors {
        let mut anchors = Anchors::default();
        for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
            match serde_json::from_str(text) {
                Ok(anchor) => anchors.hear(anchor, text, line),
                Err(_) if text.trim_start().starts_with('{') || text.trim().is_empty() => {}
                Err(_) => anchors.broken.push(format!("line {line} is no anchor")),
            }
        }
        anchors
    }

    fn hear(&mut self, anchor: Anchor, text: &str, line: usize) {
        let (number, previous) = self.last.clone().unwrap_or((0, GENESIS.to_owned()));
        // One that was made for itself has everything in it, and follows any other.
        let alone = anchor.previous == GENESIS && anchor.anchor == 1;
        if !alone && (anchor.previous != previous || anchor.anchor != number + 1) {
            self.broken.push(format!("line {line} does not follow the anchor before it: one was changed or removed"));
        }
        for (run, head) in anchor.runs {
            if let Some((before, at)) = self.runs.get(&run).filter(|(before, _)| !is_after(before, &head)) {
                let what = format!("line {line} has {} of run {run}, line {at} had {}", words(&head), words(before));
                self.broken.push(what);
                continue;
            }
            self.runs.insert(run, (head, line));
        }
        match &self.record {
            Some((before, at)) if !is_after(before, &anchor.record) => self.broken.push(format!(
                "line {line} has {} of the ledger's own record, line {at} had {}",
                words(&anchor.record),
                words(before)
            )),
            _ => self.record = Some((anchor.record, line)),
        }
        self.last = Some((anchor.anchor, digest(text)));
    }

    /// Of one run alone.
    pub fn of_run(mut self, run: &RunId) -> Anchors {
        self.runs.retain(|id, _| id == run);
        self.record = None;
        self
    }

    /// How many runs it has.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.last.as_ref().map_or(0, |(number, _)| *number)
    }

    /// The line to add; none if nothing has gone on since the last one.
    pub fn next(&self, heads: &Heads, at: i64) -> Option<Anchor> {
        let known = |run: &RunId| self.runs.get(run).map(|(head, _)| head);
        let runs = heads.runs.iter().filter(|(run, head)| known(run) != Some(head));
        let runs: BTreeMap<RunId, Head> = runs.map(|(run, head)| (run.clone(), head.clone())).collect();
        let same = self.record.as_ref().is_some_and(|(head, _)| *head == heads.record);
        if runs.is_empty() && same {
            return None;
        }
        let (number, previous) = self.last.clone().unwrap_or((0, GENESIS.to_owned()));
        Some(Anchor { anchor: number + 1, at, runs, record: heads.record.clone(), previous })
    }

    /// Where the ledger cannot have grown out of what was anchored, as far as its heads tell.
    pub fn contradicted(&self, heads: &Heads) -> Vec<String> {
        let mut found = Vec::new();
        for (run, (anchored, line)) in &self.runs {
            let seen = format!("line {line} of the anchors has {} of it", words(anchored));
            match (heads.runs.get(run), heads.pruned.get(run)) {
                (Some(head), _) if is_after(anchored, head) => {}
                (Some(head), _) if head.seq < anchored.seq => {
                    found.push(format!("run {run}: its end was cut off: it has {}, and {seen}", words(head)));
                }
                (Some(_), _) => found.push(format!("run {run}, event {}: it was written again: {seen}", anchored.seq)),
                (None, Some(head)) if is_after(anchored, head) => {}
                (None, Some(head)) => {
                    found.push(format!("run {run}: it was pruned with {}, and {seen}", words(head)));
                }
                (None, None) => found.push(format!("run {run} is gone, and no pruning says so: {seen}")),
            }
        }
        if let Some((anchored, line)) = &self.record
            && !is_after(anchored, &heads.record)
        {
            let seen = format!("line {line} of the anchors has {} of it", words(anchored));
            found.push(format!(
                "the ledger's own record was cut or changed: it has {}, and {seen}",
                words(&heads.record)
            ));
        }
        found
    }

    /// The same, and whether what was anchored is still what it was where the ledger has gone on since.
    pub async fn check(&self, ledger: &dyn Ledger) -> Result<Vec<String>, LedgerError> {
        let heads = Heads::of(ledger).await?;
        let mut found = self.contradicted(&heads);
        for (run, (anchored, line)) in &self.runs {
            if heads.runs.get(run).is_none_or(|head| head.seq <= anchored.seq) {
                continue;
            }
            let events = match ledger.events(run, anchored.seq.saturating_sub(1)).await {
                Ok(events) => events,
                Err(error) if error.is_about_one_run() => continue, // told where its events are checked
                Err(error) => return Err(error),
            };
            if events.is_empty() && !ledger.heads().await?.contains_key(run) {
                continue; // pruned just now
            }
            if events.first().is_none_or(|event| event.hash != anchored.hash) {
                let seq = anchored.seq;
                found.push(format!("run {run}, event {seq}: it is not what line {line} of the anchors has seen"));
            }
        }
        if let Some((anchored, line)) = self.record.as_ref().filter(|(head, _)| head.seq > 0) {
            let entries = ledger.administration().await?;
            let entry = usize::try_from(anchored.seq - 1).ok().and_then(|at| entries.get(at));
            if entry.is_some_and(|entry| entry.hash != anchored.hash && heads.record.seq > anchored.seq) {
                let seq = anchored.seq;
                found.push(format!(
                    "the ledger's own record, entry {seq}: it is not what line {line} of the anchors has seen"
                ));
            }
        }
        Ok(found)
    }
}

impl Anchor {
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("an anchor is plain data: its JSON cannot fail")
    }
}

/// Whether a chain that was here can be there now.
fn is_after(before: &Head, now: &Head) -> bool {
    now.seq > before.seq || now == before
}

fn words(head: &Head) -> String {
    match head.seq {
        1 => "1 event".to_owned(),
        n => format!("{n} events"),
    }
}

fn digest(line: &str) -> String {
    hex(&Sha256::digest(line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64, hash: &str) -> Head {
        Head { seq, hash: hash.to_owned() }
    }

    fn heads(runs: &[(&str, Head)], record: Head) -> Heads {
        let runs = runs.iter().map(|(run, head)| (RunId((*run).to_owned()), head.clone())).collect();
        Heads { runs, record, pruned: BTreeMap::new() }
    }

    fn file(all: &[Heads]) -> String {
        let mut text = String::new();
        for (at, heads) in all.iter().enumerate() {
            let anchor = Anchors::read(&text).next(heads, at as i64);
            text += &anchor.map(|anchor| anchor.line() + "\n").unwrap_or_default();
        }
        text
    }

    #[test]
    fn a_line_has_what_went_on_since_the_one_before_it() {
        let first = heads(&[("a", head(3, "x")), ("b", head(1, "y"))], head(0, GENESIS));
        let then = heads(&[("a", head(3, "x")), ("b", head(5, "z"))], head(0, GENESIS));
        let text = file(&[first, then.clone(), then.clone()]);
        let lines: Vec<Anchor> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line.runs.len()).collect::<Vec<_>>(), [2, 1]);
        let anchors = Anchors::read(&text);
        assert_eq!((anchors.count(), &anchors.broken), (2, &vec![]));
        assert_eq!(anchors.contradicted(&then), Vec::<String>::new());
    }

    #[test]
    fn what_was_cut_removed_or_written_again_is_found() {
        let was = heads(&[("a", head(3, "x"))], head(2, "r"));
        let anchors = Anchors::read(&file(&[was]));
        let found = |runs: &[(&str, Head)], record| anchors.contradicted(&heads(runs, record)).join("; ");
        assert!(found(&[("a", head(2, "w"))], head(2, "r")).contains("cut off"));
        assert!(found(&[("a", head(3, "other"))], head(2, "r")).contains("event 3: it was written again"));
        assert!(found(&[], head(2, "r")).contains("run a is gone"));
        assert!(found(&[("a", head(3, "x"))], head(1, "q")).contains("own record was cut"));
        assert!(found(&[("a", head(3, "x"))], head(2, "other")).contains("own record was cut or changed"));
        assert_eq!(found(&[("a", head(4, "y")), ("b", head(1, "z"))], head(3, "s")), "");
        let pruned = |seq, hash| Heads {
            pruned: BTreeMap::from([(RunId("a".to_owned()), head(seq, hash))]),
            ..heads(&[], head(3, "s"))
        };
        assert_eq!(anchors.contradicted(&pruned(7, "end")), Vec::<String>::new());
        assert!(anchors.contradicted(&pruned(2, "w"))[0].contains("pruned with 2 events"));
    }

    #[test]
    fn every_line_that_is_changed_or_removed_from_between_is_noticed() {
        let all: Vec<Heads> = (1..=4).map(|n| heads(&[("a", head(n, &format!("h{n}")))], head(n, "r"))).collect();
        let text = file(&all);
        let lines: Vec<&str> = text.lines().collect();
        for at in 0..3 {
            let without: Vec<&str> =
                lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| *line).collect();
            assert!(!Anchors::read(&without.join("\n")).broken.is_empty(), "without line {}", at + 1);
            let changed: Vec<String> = lines
                .iter()
                .enumerate()
                .map(|(n, line)| if n == at { line.replace("\"at\":", "\"at\":9") } else { (*line).to_owned() })
                .collect();
            assert!(!Anchors::read(&changed.join("\n")).broken.is_empty(), "with another line {}", at + 1);
        }
        // A line that was not written to its end says nothing, and the next one follows the last whole one.
        let torn = format!("{}\n{}\n{}", lines[0], &lines[1][..40], lines[1]);
        assert_eq!(Anchors::read(&torn).broken, Vec::<String>::new());
        assert_eq!(Anchors::read(&torn).count(), 2);
        let alone: Vec<String> = all.iter().map(|it| Anchors::default().next(it, 0).unwrap().line()).collect();
        let anchors = Anchors::read(&alone.join("\n"));
        assert_eq!((anchors.broken.is_empty(), anchors.contradicted(&all[3]).len()), (true, 0));
        assert!(!anchors.contradicted(&all[2]).is_empty(), "the newest of them counts");
    }
}
