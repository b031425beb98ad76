//! What steps did to the world: the lines of the file that they wrote, in the order in which they were written.

use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Start,
    Tick,
    End,
}

/// One start of one unit: its run, its name, and its number among the starts of this unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start {
    pub run: String,
    pub unit: String,
    pub number: u64,
}

#[derive(Debug, Clone)]
pub struct Effect {
    pub word: Word,
    pub start: Start,
    pub generation: u64,
    /// The host, by the folder in which the step worked.
    pub host: String,
}

#[derive(Debug, Default)]
pub struct Effects {
    pub all: Vec<Effect>,
    /// Where the lines of each start are.
    pub starts: BTreeMap<Start, Vec<usize>>,
    /// Lines that are none of ours.
    pub torn: Vec<String>,
}

impl Effects {
    pub fn read(path: &Path) -> Effects {
        let mut effects = Effects::default();
        for line in std::fs::read_to_string(path).expect("the file of effects").lines() {
            match parse(line) {
                Some(effect) => {
                    effects.starts.entry(effect.start.clone()).or_default().push(effects.all.len());
                    effects.all.push(effect);
                }
                None => effects.torn.push(line.to_owned()),
            }
        }
        effects
    }

    pub fn count(&self, start: &Start, word: Word) -> usize {
        self.starts.get(start).into_iter().flatten().filter(|at| self.all[**at].word == word).count()
    }
}

fn parse(line: &str) -> Option<Effect> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[word, run, unit, generation, number, workspace] = words.as_slice() else { return None };
    let word = match word {
        "start" => Word::Start,
        "tick" => Word::Tick,
        "end" => Word::End,
        _ => return None,
    };
    let host = workspace.split('/').find(|part| part.starts_with("host"))?.to_owned();
    let start = Start { run: run.to_owned(), unit: unit.to_owned(), number: number.parse().ok()? };
    Some(Effect { word, start, generation: generation.parse().ok()?, host })
}
