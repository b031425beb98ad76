//! What one transition of a run of ten thousand writes, counted by the file itself: rows and bytes a table by triggers, and
//! pages by the length of the write-ahead log. Here the first hundred are held against the middle and the last.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runward_engine::plan::Definition;
use runward_engine::run::command::Report;
use runward_engine::run::event::{LogDigest, Outcome};
use runward_engine::run::outputs::Outputs;
use runward_engine::run::todo::todo;
use runward_engine::run::{ClaimId, Command, RunState, RunStatus};
use runward_store::{Ledger, NewRun, RunView, SqliteLedger};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

const MANY: u32 = 10_000;
/// Transitions measured one by one, at each place.
const SAMPLE: u32 = 40;
/// Transitions of one commit between the places.
const STRIDE: u32 = 250;
/// A commit may write a page more at the end: the tree over ten thousand rows is a level higher than over a hundred.
const FRAMES_MORE: u64 = 2;
/// The number of an item has up to two digits more at the end; so often a table's row holds its name.
const DIGITS: i64 = 2 * 4;

/// No row holds what grows with the run.
const ROW_BYTES_MAX: i64 = 1024;

const TABLES: [&str; 4] = ["runs", "events", "steps", "attempts"];
const PAGE: u64 = 4096;

/// What one commit wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    /// Rows and bytes of text, a table.
    tables: BTreeMap<String, (i64, i64)>,
    /// Pages in the write-ahead log, with the one that holds the counts.
    frames: u64,
}

struct Scene {
    _dir: TempDir,
    path: PathBuf,
    ledger: SqliteLedger,
    view: RunView,
    /// Another connection: it counts.
    counts: SqliteConnection,
    claims: u32,
}

fn new_run(source: String) -> NewRun {
    NewRun {
        id: "019aa7c1-5b1e-7d3a-9c11-0a2b3c4d5e6f".into(),
        definition: Definition {
            drill: false,
            name: "many".into(),
            path: String::new(),
            source,
            files: Vec::new(),
            runbooks: Vec::new(),
        },
        called: Vec::new(),
        blobs: Vec::new(),
        params: Default::default(),
        trigger: "test".into(),
        group: None,
        priority: Default::default(),
        queued_max: 10_000,
        key: None,
        parent: None,
        seed: 1,
        actor: "tester".into(),
        planned: None,
        only_after: None,
        zone: None,
        requester: Vec::new(),
        tick: None,
    }
}

/// Every text that is written is measured, whatever statement writes it.
async fn count_what_is_written(connection: &mut SqliteConnection) {
    let mut sql =
        "CREATE TABLE counted (name TEXT PRIMARY KEY, wrote INTEGER NOT NULL, bytes INTEGER NOT NULL);".to_owned();
    for table in TABLES {
        sql += &format!("INSERT INTO counted VALUES ('{table}', 0, 0);");
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1) WHERE type = 'TEXT'")
            .bind(table)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let bytes: Vec<String> =
            columns.iter().map(|name| format!("coalesce(length(CAST(NEW.{name} AS BLOB)), 0)")).collect();
        for event in ["INSERT", "UPDATE"] {
            sql += &format!(
                "CREATE TRIGGER counted_{table}_{event} AFTER {event} ON {table} BEGIN UPDATE counted \
                 SET wrote = wrote + 1, bytes = bytes + {} WHERE name = '{table}'; END;",
                bytes.join(" + ")
            );
        }
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

fn log_bytes(path: &Path) -> u64 {
    std::fs::metadata(path.with_extension("db-wal")).unwrap().len()
}

impl Scene {
    async fn new(source: String) -> Scene {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = dir.path().join("ledger.db");
        let ledger = SqliteLedger::open(&path).await.unwrap();
        let view = ledger.trigger(new_run(source)).await.unwrap().view;
        let mut counts = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        count_what_is_written(&mut counts).await;
        Scene { _dir: dir, path, ledger, view, counts, claims: 0 }
    }

    /// What ends is settled and what can start is claimed, so often, in one commit.
    async fn go_on(&mut self, transitions: u32, outcome: &Outcome) {
        let (claims, mut left, mut settles) = (&mut self.claims, transitions, true);
        let mut next = |state: &RunState| loop {
            if left == 0 {
                return None;
            }
            if std::mem::take(&mut settles)
                && let Some(claim) = state.live().keys().next().cloned()
            {
                return Some(Command::Settle { claim, report: Box::new(report(outcome)) });
            }
            let ready = todo(state).claims;
            if ready.len() < 2 {
                (left, settles) = (left - 1, true);
            }
            if let Some(unit) = ready.first() {
                *claims += 1;
                let claim = ClaimId(format!("019aa7c1-5b1e-7d3a-9c11-{claims:012}"));
                return Some(Command::Claim {
                    unit: *unit,
                    claim,
                    session: "session".into(),
                    boot: "boot".into(),
                    place: None,
                });
            }
        };
        let committed = self.ledger.commit(&mut self.view, &mut next, "tester").await.unwrap();
        assert!(committed.replies.iter().all(Result::is_ok), "{:?}", committed.replies);
    }

    async fn counted(&mut self) -> BTreeMap<String, (i64, i64)> {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT name, wrote, bytes FROM counted").fetch_all(&mut self.counts).await.unwrap();
        rows.into_iter().map(|(name, wrote, bytes)| (name, (wrote, bytes))).collect()
    }

    /// What one transition writes.
    async fn measure(&mut self, outcome: &Outcome) -> Written {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut self.counts).await.unwrap();
        assert_eq!(log_bytes(&self.path), 0, "nobody else has the file open");
        let before = self.counted().await;
        self.go_on(1, outcome).await;
        let frames = log_bytes(&self.path).saturating_sub(32) / (PAGE + 24);
        let after = self.counted().await;
        let tables = after.into_iter().map(|(name, (wrote, bytes))| {
            let (wrote_before, bytes_before) = before[&name];
            (name, (wrote - wrote_before, bytes - bytes_before))
        });
        Written { tables: tables.collect(), frames }
    }

    async fn sample(&mut self, outcome: &Outcome) -> Vec<Written> {
        let mut sample = Vec::new();
        for _ in 0..SAMPLE {
            sample.push(self.measure(outcome).await);
        }
        sample
    }

    /// Ten thousand transitions; the first ones, some in the middle and the last ones write the same.
    async fn writes_the_same(&mut self, outcome: &Outcome) {
        let mut samples = Vec::new();
        self.go_on(SAMPLE, outcome).await;
        let mut done = SAMPLE;
        for place in [SAMPLE, MANY / 2, MANY - 2 * SAMPLE] {
            while done < place {
                let stride = STRIDE.min(place - done);
                self.go_on(stride, outcome).await;
                done += stride;
            }
            samples.push(self.sample(outcome).await);
            done += SAMPLE;
        }
        self.go_on(MANY - done, outcome).await;
        let [first, later @ ..] = &samples[..] else { panic!("no samples") };
        println!("first {:?}\nlast {:?}", first[0], later.last().unwrap()[0]);
        for sample in later {
            assert!(median(sample) <= median(first) + FRAMES_MORE, "pages: {first:#?} and then {sample:#?}");
            for (name, (rows, bytes)) in sample.iter().flat_map(|written| &written.tables) {
                let (rows_first, bytes_first) = first[0].tables[name];
                assert!(*bytes <= ROW_BYTES_MAX * rows, "bytes of {name}: {sample:#?}");
                assert_eq!(*rows, rows_first, "rows of {name}: {:?} and then {sample:#?}", first[0]);
                assert!(*bytes <= bytes_first + DIGITS * rows, "bytes of {name}: {:?} and then {sample:#?}", first[0]);
            }
        }
    }
}

/// Pages of the log that a transition writes.
fn median(sample: &[Written]) -> u64 {
    let mut frames: Vec<u64> = sample.iter().map(|written| written.frames).collect();
    frames.sort_unstable();
    frames[frames.len() / 2]
}

fn report(outcome: &Outcome) -> Report {
    Report {
        outcome: outcome.clone(),
        outputs: Outputs::from([("file".to_owned(), "/srv/dump".into())]),
        error: None,
        log: LogDigest { bytes: 3, dropped: 0, sha256: "0".repeat(64) },
        started_at: Some(1),
        ended_at: Some(2),
        orphans: Vec::new(),
    }
}

#[tokio::test]
async fn a_step_of_a_chain_writes_as_much_at_the_end_as_at_the_start() {
    let steps: String = (0..MANY).map(|n| format!("  - {{id: s{n:05}, run: \"true\"}}\n")).collect();
    let mut scene = Scene::new(format!("steps:\n{steps}")).await;
    scene.go_on(1, &Outcome::Succeeded).await;
    scene.writes_the_same(&Outcome::Succeeded).await;
    assert_eq!(scene.view.state.status, RunStatus::Succeeded);
}

#[tokio::test]
async fn an_item_and_its_undo_write_as_much_at_the_end_as_at_the_start() {
    let items: Vec<String> = (0..MANY).map(|n| format!("i{n:05}")).collect();
    let mut scene = Scene::new(format!(
        "steps:\n  - id: each\n    for-each: [{}]\n    max-parallel: 4\n    run: 'echo ${{{{ item }}}}'\n    \
         outputs: {{file: path}}\n    undo: \"true\"\n  - {{id: fails, run: \"true\"}}\n",
        items.join(", ")
    ))
    .await;
    scene.go_on(1, &Outcome::Succeeded).await;
    scene.writes_the_same(&Outcome::Succeeded).await;
    let failed = Outcome::Failed { code: Some(1), signal: None };
    scene.go_on(1, &failed).await;
    assert_eq!(scene.view.state.status, RunStatus::RollingBack);
    scene.writes_the_same(&Outcome::Succeeded).await;
    assert_eq!(scene.view.state.status, RunStatus::Failed);
}
