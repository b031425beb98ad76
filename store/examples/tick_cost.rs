//! What ticks cost: `cargo run --release -p runward-store --example tick_cost`
//!
//! 500 schedules come due at one minute, in a file and on a server of its own with four connections: all become runs; then,
//! while these live, all are skipped, which is one place on the ledger's own record for everybody; then three servers at once.

use std::sync::Arc;
use std::time::Instant;

use runward_engine::run::HomeId;
use runward_engine::schedule::entry::{Dst, Missed, Overlap, Schedule, Tick};
use runward_services::Postgres;
use runward_store::conformance::new_run;
use runward_store::timetable::{DECIDED_AT_ONCE, Decided, Decision, Entry, Order};
use runward_store::{PostgresLedger, SqliteLedger, Timetable};
use tokio::task::JoinSet;

const SCHEDULES: usize = 500;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn entry(n: usize) -> Entry {
    let schedule = Schedule {
        id: n.to_string(),
        cron: "* * * * *".to_owned(),
        timezone: None,
        dst: Dst::default(),
        missed: Missed::Latest,
        within_ms: 60_000,
        overlap: Overlap::Skip,
        drill: false,
        severity: None,
        jitter_ms: 0,
        with: serde_json::Map::new(),
    };
    Entry { name: format!("bench/{n}"), schedule, broken: None }
}

fn home(server: usize) -> HomeId {
    HomeId(format!("home-{server}"))
}

/// Everything that is due at `at`, in batches side by side. How many were decided here.
async fn minute(ledger: Arc<dyn Timetable>, server: usize, mut entries: Vec<Entry>, at: i64) -> Result<usize, Failure> {
    entries.rotate_left(server * SCHEDULES / 3);
    let mut batches = JoinSet::new();
    for batch in entries.chunks(DECIDED_AT_ONCE) {
        let (ledger, batch) = (Arc::clone(&ledger), batch.to_vec());
        batches.spawn(async move {
            let order = |entry: &Entry| {
                let tick = Tick { at, nominal: at.to_string(), zone: "UTC".to_owned(), fold: 0 };
                let mut new = new_run(&format!("{at}-{}-{server}", entry.schedule.id), None);
                new.definition.name = format!("bench-{}", entry.schedule.id);
                Order { entry: entry.clone(), decision: Decision::Fire { tick, new: Box::new(new) } }
            };
            let decided = ledger.decide(&home(server), batch.iter().map(order).collect(), "bench").await?;
            let passed: Vec<(Entry, i64)> = batch.into_iter().map(|entry| (entry, at)).collect();
            ledger.passed(&passed).await?;
            Ok::<_, Failure>(decided.iter().filter(|one| matches!(one, Decided::Now(_))).count())
        });
    }
    let mut mine = 0;
    while let Some(done) = batches.join_next().await {
        mine += done??;
    }
    Ok(mine)
}

async fn measure(what: &str, ledgers: &[Arc<dyn Timetable>]) -> Result<(), Failure> {
    let entries: Vec<Entry> = (0..SCHEDULES).map(entry).collect();
    let mut since = 0;
    for server in 0..3 {
        since = ledgers[0].post(&home(server), "h", &entries, "bench").await?[0].cursor;
    }
    while ledgers[0].now().await? <= since + 4 {
        tokio::task::yield_now().await;
    }
    for (n, case) in [(1, "500 runs"), (2, "500 skips"), (3, "500 skips again")] {
        let began = Instant::now();
        let mine = minute(Arc::clone(&ledgers[0]), 0, entries.clone(), since + n).await?;
        println!("{what}, {case}: {mine} decided in {:?}", began.elapsed());
    }
    let (began, mut servers) = (Instant::now(), JoinSet::new());
    for (server, ledger) in ledgers.iter().enumerate() {
        servers.spawn(minute(Arc::clone(ledger), server, entries.clone(), since + 4));
    }
    let mut decided = Vec::new();
    while let Some(done) = servers.join_next().await {
        decided.push(done??);
    }
    println!("{what}, {} servers: {decided:?} decided in {:?}", ledgers.len(), began.elapsed());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::TempDir::new()?;
    let file: Arc<dyn Timetable> = Arc::new(SqliteLedger::open(&dir.path().join("ledger.db")).await?);
    measure("SQLite", &[file]).await?;
    let postgres = Postgres::start();
    let url = postgres.database("bench");
    PostgresLedger::migrate(&url).await?;
    let mut ledgers: Vec<Arc<dyn Timetable>> = Vec::new();
    for _ in 0..3 {
        ledgers.push(Arc::new(PostgresLedger::open(&url).await?));
    }
    measure("Postgres", &ledgers).await
}
