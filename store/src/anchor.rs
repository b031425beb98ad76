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
    /// The hashes of the ledger's own record, in order.
    pub record: Vec<String>,
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
        Ok(Heads { runs, record: entries.iter().map(|entry| entry.hash.clone()).collect(), pruned })
    }

    fn end_of_record(&self) -> Head {
        let hash = self.record.last().cloned().unwrap_or_else(|| GENESIS.to_owned());
        Head { seq: self.record.len() as u64, hash }
    }
}

/// What a file of anchors says, taken together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchors {
    /// Every word on each run, and in which line: a later one proves nothing of an earlier one, whoever wrote it.
    runs: BTreeMap<RunId, Vec<(Head, usize)>>,
    record: Vec<(Head, usize)>,
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
            let seen = self.runs.entry(run.clone()).or_default();
            if let Some((_, at)) = seen.iter().find(|(before, _)| before.seq == head.seq && before.hash != head.hash) {
                self.broken.push(format!("lines {at} and {line} differ in event {} of run {run}", head.seq));
            }
            seen.push((head, line));
        }
        self.record.push((anchor.record, line));
        self.last = Some((anchor.anchor, digest(text)));
    }

    /// Of one run alone.
    pub fn of_run(mut self, run: &RunId) -> Anchors {
        self.runs.retain(|id, _| id == run);
        self.record.clear();
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
        let known = |run: &RunId| self.runs.get(run).and_then(|seen| newest(seen));
        let runs = heads.runs.iter().filter(|(run, head)| known(run) != Some(head));
        let runs: BTreeMap<RunId, Head> = runs.map(|(run, head)| (run.clone(), head.clone())).collect();
        let record = heads.end_of_record();
        let same = newest(&self.record) == Some(&record);
        if runs.is_empty() && same {
            return None;
        }
        let (number, previous) = self.last.clone().unwrap_or((0, GENESIS.to_owned()));
        Some(Anchor { anchor: number + 1, at, runs, record, previous })
    }

    /// Where the ledger cannot have grown out of what was anchored, as far as its heads tell.
    pub fn contradicted(&self, heads: &Heads) -> Vec<String> {
        let mut found = Vec::new();
        for (run, seen) in &self.runs {
            found.extend(seen.iter().filter_map(|(anchored, line)| wrong(run, anchored, *line, heads)).next());
        }
        for (anchored, line) in self.record.iter().filter(|(head, _)| head.seq > 0) {
            let at = usize::try_from(anchored.seq - 1).unwrap_or(usize::MAX);
            let seen = format!("line {line} of the anchors has seen its entry {}", anchored.seq);
            match heads.record.get(at) {
                Some(hash) if *hash == anchored.hash => continue,
                Some(_) => {
                    found.push(format!("the ledger's own record was written again: {seen}, and it was another one"))
                }
                None => {
                    found.push(format!("the ledger's own record was cut: it has {}, and {seen}", heads.record.len()))
                }
            }
            break;
        }
        found
    }

    /// Where a run that has gone on since is not what was anchored of it. `all`: also of runs that were anchored since.
    pub async fn grown_wrong(&self, ledger: &dyn Ledger, heads: &Heads, all: bool) -> Result<Vec<String>, LedgerError> {
        let mut found = Vec::new();
        for (run, seen) in &self.runs {
            let Some(head) = heads.runs.get(run) else { continue };
            let grown = newest(seen).is_some_and(|newest| newest.seq < head.seq);
            let before: Vec<&(Head, usize)> = seen.iter().filter(|(anchored, _)| anchored.seq < head.seq).collect();
            let Some(first) = before.iter().map(|(anchored, _)| anchored.seq).min().filter(|_| all || grown) else {
                continue;
            };
            let events = match ledger.events(run, first.saturating_sub(1)).await {
                Ok(events) => events,
                Err(error) if error.is_about_one_run() => continue, // told where its events are checked
                Err(error) => return Err(error),
            };
            if events.is_empty() && !ledger.heads().await?.contains_key(run) {
                continue; // pruned just now
            }
            let has = |anchored: &Head| {
                events.iter().any(|event| event.recorded.seq == anchored.seq && event.hash == anchored.hash)
            };
            if let Some((anchored, line)) = before.into_iter().find(|(anchored, _)| !has(anchored)) {
                let seq = anchored.seq;
                found.push(format!("run {run}, event {seq}: it is not what line {line} of the anchors has seen"));
            }
        }
        Ok(found)
    }

    /// Everything that is not as it was seen.
    pub async fn check(&self, ledger: &dyn Ledger) -> Result<Vec<String>, LedgerError> {
        let heads = Heads::of(ledger).await?;
        Ok([self.contradicted(&heads), self.grown_wrong(ledger, &heads, true).await?].concat())
    }
}

/// What is wrong with a run of which this was seen.
fn wrong(run: &RunId, anchored: &Head, line: usize, heads: &Heads) -> Option<String> {
    let seen = format!("line {line} of the anchors has {} of it", words(anchored));
    match (heads.runs.get(run), heads.pruned.get(run)) {
        (Some(head), _) if is_after(anchored, head) => None,
        (Some(head), _) if head.seq < anchored.seq => {
            Some(format!("run {run}: its end was cut off: it has {}, and {seen}", words(head)))
        }
        (Some(_), _) => Some(format!("run {run}, event {}: it was written again: {seen}", anchored.seq)),
        (None, Some(head)) if is_after(anchored, head) => None,
        (None, Some(head)) => Some(format!("run {run}: it was pruned with {}, and {seen}", words(head))),
        (None, None) => Some(format!("run {run} is gone, and no pruning says so: {seen}")),
    }
}

fn newest(seen: &[(Head, usize)]) -> Option<&Head> {
    seen.iter().map(|(head, _)| head).max_by_key(|head| head.seq)
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

    fn heads(runs: &[(&str, Head)], record: &[&str]) -> Heads {
        let runs = runs.iter().map(|(run, head)| (RunId((*run).to_owned()), head.clone())).collect();
        Heads { runs, record: record.iter().map(|hash| (*hash).to_owned()).collect(), pruned: BTreeMap::new() }
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
        let first = heads(&[("a", head(3, "x")), ("b", head(1, "y"))], &[]);
        let then = heads(&[("a", head(3, "x")), ("b", head(5, "z"))], &[]);
        let text = file(&[first, then.clone(), then.clone()]);
        let lines: Vec<Anchor> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line.runs.len()).collect::<Vec<_>>(), [2, 1]);
        let anchors = Anchors::read(&text);
        assert_eq!((anchors.count(), &anchors.broken), (2, &vec![]));
        assert_eq!(anchors.contradicted(&then), Vec::<String>::new());
    }

    #[test]
    fn what_was_cut_removed_or_written_again_is_found() {
        let was = heads(&[("a", head(3, "x"))], &["q", "r"]);
        let anchors = Anchors::read(&file(&[was]));
        let found = |runs: &[(&str, Head)], record: &[&str]| anchors.contradicted(&heads(runs, record)).join("; ");
        assert!(found(&[("a", head(2, "w"))], &["q", "r"]).contains("cut off"));
        assert!(found(&[("a", head(3, "other"))], &["q", "r"]).contains("event 3: it was written again"));
        assert!(found(&[], &["q", "r"]).contains("run a is gone"));
        assert!(found(&[("a", head(3, "x"))], &["q"]).contains("own record was cut"));
        assert!(found(&[("a", head(3, "x"))], &["q", "other"]).contains("own record was written again"));
        assert_eq!(found(&[("a", head(4, "y")), ("b", head(1, "z"))], &["q", "r", "s"]), "");
        let pruned = |seq, hash| Heads {
            pruned: BTreeMap::from([(RunId("a".to_owned()), head(seq, hash))]),
            ..heads(&[], &["q", "r", "s"])
        };
        assert_eq!(anchors.contradicted(&pruned(7, "end")), Vec::<String>::new());
        assert!(anchors.contradicted(&pruned(2, "w"))[0].contains("pruned with 2 events"));
    }

    #[test]
    fn every_line_that_is_changed_or_removed_from_between_is_noticed() {
        let all: Vec<Heads> =
            (1..=4).map(|n| heads(&[("a", head(n, &format!("h{n}")))], &["r"; 4][..n as usize])).collect();
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
