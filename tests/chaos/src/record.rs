//! What runward says happened: its rows and events, read from the database without runward.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::effects::Start;

#[derive(Debug, Default)]
pub struct Record {
    pub runs: BTreeMap<String, Value>,
    pub attempts: BTreeMap<Start, Value>,
    /// How many events of each kind there are.
    pub kinds: BTreeMap<String, u64>,
    /// What `runward audit verify` said, if it was not content.
    pub tampered: Option<String>,
    /// Runs in which a person has said what becomes of a step.
    pub resolved: BTreeSet<String>,
    /// Rows that tell of work, although nothing is left to do.
    pub left_ready: Vec<String>,
}

impl Record {
    pub fn read(cluster: &Cluster) -> Record {
        let lines = |sql: &str| -> Vec<Value> {
            let text = cluster.ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            text.lines().map(|line| serde_json::from_str(line).expect("Postgres makes JSON")).collect()
        };
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let runs = lines("SELECT row_to_json(runs) FROM runs");
        let attempts = lines("SELECT row_to_json(attempts) FROM attempts");
        let start = |row: &Value| Start {
            run: text(row, "run_id"),
            unit: text(row, "unit"),
            number: row["attempt"].as_u64().unwrap_or_default(),
        };
        let kinds = lines("SELECT json_build_object('kind', kind, 'count', count(*)) FROM events GROUP BY kind");
        let verified = cluster.say(&["audit", "verify"]);
        let said =
            format!("{}{}", String::from_utf8_lossy(&verified.stdout), String::from_utf8_lossy(&verified.stderr));
        let resolved = "SELECT DISTINCT run_id FROM events WHERE kind = 'unit_resolved'";
        let left =
            "SELECT run_id || ' ' || call FROM ready JOIN runs ON runs.id = run_id WHERE finished_at IS NOT NULL";
        Record {
            runs: runs.into_iter().map(|row| (text(&row, "id"), row)).collect(),
            attempts: attempts.into_iter().map(|row| (start(&row), row)).collect(),
            kinds: kinds.iter().map(|row| (text(row, "kind"), row["count"].as_u64().unwrap_or_default())).collect(),
            tampered: (!verified.status.success()).then_some(said),
            resolved: cluster.ask(resolved).unwrap_or_default().lines().map(str::to_owned).collect(),
            left_ready: cluster.ask(left).unwrap_or_default().lines().map(str::to_owned).collect(),
        }
    }

    pub fn runbook(&self, run: &str) -> &str {
        self.runs.get(run).and_then(|row| row["name"].as_str()).unwrap_or_default()
    }

    pub fn by_status(&self) -> BTreeMap<&str, u32> {
        count(self.runs.values())
    }

    pub fn attempts_by_status(&self) -> BTreeMap<&str, u32> {
        count(self.attempts.values())
    }
}

fn count<'a>(rows: impl Iterator<Item = &'a Value>) -> BTreeMap<&'a str, u32> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row["status"].as_str().unwrap_or_default()).or_default() += 1;
    }
    counts
}
