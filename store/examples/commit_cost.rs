//! What one commit of a chain costs: settle a step and claim the next, beside a bare fsynced write of the same folder.
//! Run with `cargo run --release -p runward-store --example commit_cost [FOLDER | postgres://...]`; `cargo run -p
//! runward-services` gives a Postgres to measure.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use runward_engine::plan::Definition;
use runward_engine::run::command::Report;
use runward_engine::run::event::{LogDigest, Outcome};
use runward_engine::run::outputs::Outputs;
use runward_engine::run::place::Place;
use runward_engine::run::{ClaimId, Command, RunId, RunState, Unit};
use runward_store::{Ledger, NewRun, PostgresLedger, SqliteLedger};

const STEPS: u32 = 400;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let of = std::env::args().nth(1);
    let url = of.clone().filter(|of| of.starts_with("postgres://"));
    let folder = of.filter(|_| url.is_none()).map_or_else(std::env::temp_dir, Into::into);
    // On Postgres as a member of a cluster does it.
    let place = url.as_ref().map(|_| Place { home: "home".into(), host: "host".into() });
    let dir = folder.join("runward-commit-cost");
    std::fs::create_dir_all(&dir)?;
    let ledger: Box<dyn Ledger> = match url {
        Some(url) => {
            PostgresLedger::migrate(&url).await?;
            Box::new(PostgresLedger::open(&url).await?)
        }
        None => Box::new(SqliteLedger::open(&dir.join("ledger.db")).await?),
    };
    let mut source = String::from("steps:\n");
    for n in 0..STEPS {
        writeln!(source, "  - {{id: s{n}, run: \"true\"}}")?;
    }
    let new = NewRun {
        id: RunId(format!("run-{}", std::process::id())),
        definition: Definition {
            drill: false,
            name: "chain".into(),
            path: String::new(),
            source,
            files: Vec::new(),
            runbooks: Vec::new(),
        },
        called: Vec::new(),
        blobs: Vec::new(),
        params: Default::default(),
        trigger: "bench".into(),
        group: None,
        priority: Default::default(),
        queued_max: 10_000,
        key: None,
        parent: None,
        seed: 1,
        actor: "bench".into(),
        planned: None,
        only_after: None,
        zone: None,
        requester: Vec::new(),
        tick: None,
    };
    let mut view = ledger.trigger(new).await?.view;
    let mut floor = std::fs::File::create(dir.join("floor"))?;
    let (mut commits, mut writes) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        let report = Report {
            outcome: Outcome::Succeeded,
            outputs: Outputs::new(),
            error: None,
            log: LogDigest::default(),
            started_at: Some(1),
            ended_at: Some(2),
            orphans: Vec::new(),
        };
        let claim = |n: u32| ClaimId(format!("claim-{n}"));
        let mut commands = Vec::new();
        if step > 0 {
            commands.push(Command::Settle { claim: claim(step - 1), report: Box::new(report) });
        }
        let unit = Unit::step(step);
        commands.push(Command::Claim {
            unit,
            claim: claim(step),
            session: "s".into(),
            boot: "b".into(),
            place: place.clone(),
        });
        let start = Instant::now();
        let mut next = |_: &RunState| (!commands.is_empty()).then(|| commands.remove(0));
        ledger.commit(&mut view, &mut next, "bench").await?;
        commits.push(start.elapsed());
        let start = Instant::now();
        floor.write_all(&[0; 4096])?;
        floor.sync_data()?;
        writes.push(start.elapsed());
    }
    println!("commit (settle + claim)  median {:?}", median(commits));
    println!("4 KiB write + fdatasync  median {:?}", median(writes));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
