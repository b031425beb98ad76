//! Who uses runward meanwhile: some start runs, some approve, cancel, pause, resume and resolve them.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;

use crate::cluster::Cluster;

/// What people did, and what they were told.
#[derive(Debug, Default)]
pub struct People {
    pub acts: Acts,
    /// Keys of runs that were said to be recorded, with their ids.
    pub acknowledged: BTreeMap<String, String>,
    /// Keys of which nobody was told.
    pub unanswered: Vec<String>,
    /// Runs of which a cancel was said to be recorded.
    pub cancelled: Vec<String>,
    /// Answers that no command may give.
    pub complaints: Vec<String>,
}

/// How often each command was carried out.
pub type Acts = BTreeMap<&'static str, u32>;

const RUNBOOKS: [&str; 9] = ["chain", "chain", "fan", "again", "labels", "undo", "parent", "alone", "stray"];
/// Exit codes of commands that were given up because the cluster was away, or somebody was faster.
const EXPECTED: [i32; 7] = [0, 2, 3, 5, 8, 9, 124];

const HELD: &str = "steps.status = 'held'";
/// What was lost with its worker twice in a row is not started again by itself. Held for anything else, a run does not come to
/// its end.
const QUARANTINED: &str = "steps.status = 'held' AND steps.error LIKE '%lost with its worker twice in a row%'";

pub struct Someone<'a> {
    cluster: &'a Cluster,
    rng: Rng,
    did: People,
}

impl People {
    #[allow(clippy::new_ret_no_self, reason = "people are what someone did in the end")]
    pub fn new(cluster: &Cluster, seed: u64) -> Someone<'_> {
        Someone { cluster, rng: Rng::with_seed(seed), did: People::default() }
    }

    pub fn merge(&mut self, other: People) {
        for (act, count) in other.acts {
            *self.acts.entry(act).or_default() += count;
        }
        self.acknowledged.extend(other.acknowledged);
        self.unanswered.extend(other.unanswered);
        self.cancelled.extend(other.cancelled);
        self.complaints.extend(other.complaints);
    }
}

impl Someone<'_> {
    pub fn start_runs(mut self, over: &AtomicBool) -> People {
        for number in 0.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            self.start_run(&format!("key-{number}"));
            std::thread::sleep(Duration::from_millis(self.rng.u64(300..900)));
        }
        self.did
    }

    /// One after the other, with keys that begin so.
    pub fn start_each(mut self, keys: &str, runbooks: &[&str], over: &AtomicBool) -> People {
        for (number, name) in runbooks.iter().cycle().enumerate() {
            if over.load(Ordering::Relaxed) {
                break;
            }
            self.start(name, &format!("{keys}-{number}"));
            std::thread::sleep(Duration::from_millis(self.rng.u64(100..400)));
        }
        self.did
    }

    /// To whatever asks, and to starting again what may be.
    pub fn agree(mut self, over: &AtomicBool) -> People {
        while !over.load(Ordering::Relaxed) {
            for run in self.runs("waits LIKE '%approval%'") {
                self.say("approve", &["approve", &run, "agree", "--comment", "chaos"]);
            }
            self.resolve("retry", QUARANTINED);
            std::thread::sleep(Duration::from_millis(200));
        }
        self.did
    }

    pub fn still_open(&self) -> Vec<String> {
        self.runs("finished_at IS NULL")
    }

    fn start_run(&mut self, key: &str) {
        let name = RUNBOOKS[self.rng.usize(..RUNBOOKS.len())];
        self.start(name, key);
    }

    /// Starts a run, and asks again with the same key where nobody knows whether it is recorded.
    fn start(&mut self, name: &str, key: &str) {
        let (file, effects) = (self.cluster.runbook(name), format!("effects={}", self.cluster.effects().display()));
        let mut words = vec!["run".to_owned(), file, "--detach".to_owned(), "--key".to_owned(), key.to_owned()];
        words.extend(["-p".to_owned(), effects]);
        match name {
            "alone" => words.extend(["-p".to_owned(), format!("group=g{}", self.rng.u32(..3))]),
            "undo" if self.rng.bool() => words.extend(["-p".to_owned(), "breaks=false".to_owned()]),
            _ => {}
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for _ in 0..3 {
            if let Some(id) = self.say("run", &words) {
                self.did.acknowledged.insert(key.to_owned(), id);
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        self.did.unanswered.push(key.to_owned());
    }

    pub fn operate(mut self, over: &AtomicBool) -> People {
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(self.rng.u64(500..1500)));
            self.approve();
            match self.rng.u32(..10) {
                0 | 1 => self.change_one("status = 'running'", "cancel", &["cancel"]),
                2 => self.change_one(
                    "status IN ('failed', 'cancelled') AND generation < 3 AND parent IS NULL",
                    "resume",
                    &["resume", "--detach"],
                ),
                3 => self.change_one("status = 'running'", "pause", &["pause"]),
                4 | 5 => self.change_one("status = 'paused'", "unpause", &["unpause"]),
                6 => self.resolve("failed", HELD),
                _ => {}
            }
        }
        self.did
    }

    /// What is still open when everybody has done everything for it.
    pub fn until_nothing_is_open(mut self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        loop {
            let open = self.runs("finished_at IS NULL");
            if open.is_empty() && self.cluster.ask("SELECT 1").is_ok() || Instant::now() > until {
                return open;
            }
            self.approve();
            self.resolve("failed", HELD);
            self.change_one("status = 'paused'", "unpause", &["unpause"]);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn approve(&mut self) {
        for run in self.runs("waits LIKE '%approval%'") {
            let word = if self.rng.u32(..8) == 0 { "reject" } else { "approve" };
            self.say(word, &[word, &run, "agree", "--comment", "chaos"]);
        }
    }

    fn resolve(&mut self, word: &str, which: &str) {
        let sql = format!(
            "SELECT run_id || ' ' || unit FROM steps JOIN runs ON runs.id = run_id WHERE {which} AND finished_at IS NULL"
        );
        let held = self.cluster.ask(&sql).unwrap_or_default();
        for (run, unit) in held.lines().filter_map(|line| line.split_once(' ')) {
            self.say("resolve", &["resolve", run, unit, "--as", word, "--reason", "chaos"]);
        }
    }

    fn change_one(&mut self, which: &str, act: &'static str, words: &[&str]) {
        let runs = self.runs(which);
        if runs.is_empty() {
            return;
        }
        let run = runs[self.rng.usize(..runs.len())].clone();
        let mut all = words.to_vec();
        all.insert(1, &run);
        if self.say(act, &all).is_some() && act == "cancel" {
            self.did.cancelled.push(run);
        }
    }

    fn runs(&self, which: &str) -> Vec<String> {
        let ids = self.cluster.ask(&format!("SELECT id FROM runs WHERE {which} ORDER BY id"));
        ids.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The last word that a successful command printed.
    fn say(&mut self, act: &'static str, words: &[&str]) -> Option<String> {
        let done = self.cluster.say(words);
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let code = done.status.code().unwrap_or(-1);
        let killed = done.status.signal() == Some(Signal::SIGKILL as i32);
        if !(killed || EXPECTED.contains(&code)) || err.contains("panicked") {
            self.did.complaints.push(format!("`{}` ended with {code}: {err}", words.join(" ")));
        }
        if code != 0 {
            return None;
        }
        *self.did.acts.entry(act).or_default() += 1;
        Some(out.split_whitespace().last().unwrap_or_default().to_owned())
    }
}
