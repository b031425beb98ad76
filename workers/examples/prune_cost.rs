//! What a pruning costs, and what it costs a run under way: 5,000 finished runs with their folders, and another process
//! that commits all the time. Run with `cargo run --release -p runward-workers --example prune_cost [FOLDER]`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runward_engine::plan::Definition;
use runward_engine::retention::Retention;
use runward_engine::run::command::Report;
use runward_engine::run::event::{LogDigest, Outcome};
use runward_engine::run::{ClaimId, Command, RunId, RunState, SessionId, Unit};
use runward_store::{Ledger, NewRun, SqliteLedger, command};
use runward_workers::care::prune::Pruner;
use runward_workers::care::sizes::sizes;
use runward_workers::home::Home;

const RUNS: usize = 5_000;
type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcomes<()> {
    let root: PathBuf = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into).join("runward-prune-cost");
    let home = Home::open(&root)?;
    let ledger = SqliteLedger::open(&home.ledger()).await?;
    let since = Instant::now();
    for n in 0..RUNS {
        finished(&home, &ledger, n).await?;
    }
    println!("{RUNS} runs made in {:?}", since.elapsed());
    println!("before: {:?}", sizes(&home));

    let quiet =
        while_somebody_commits(&home.ledger(), RUNS, async { std::thread::sleep(Duration::from_secs(5)) }).await?;
    println!("commits of another process, alone:   {}", summary(quiet));
    let since = Instant::now();
    let pruner = Pruner { home: Some(&home), ledger: &ledger, actor: "bench".into(), only_look: false };
    let busy = while_somebody_commits(&home.ledger(), RUNS + 1, async {
        let done = pruner.prune(Retention { older_than_ms: None, keep: Some(20) }, 1_000_000).await.expect("a pruning");
        println!("{} runs pruned in {:?}", done.pruned.len(), since.elapsed());
        let since = Instant::now();
        println!("{} bytes of the ledger given back in {:?}", ledger.reclaim().await.expect("room"), since.elapsed());
    })
    .await?;
    println!("commits of another process, pruning: {}", summary(busy));
    println!("after: {:?}", sizes(&home));
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

fn new_run(n: usize) -> NewRun {
    let source = "steps:\n  - {id: a, run: echo}\n  - {id: b, run: echo}\n  - {id: c, run: echo}\n".to_owned();
    NewRun {
        id: RunId(format!("0190-run-{n:06}")),
        definition: Definition {
            drill: false,
            name: "nightly".into(),
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
        key: Some(format!("key-{n}")),
        parent: None,
        seed: 1,
        actor: "bench".into(),
        planned: None,
        only_after: None,
        zone: None,
        requester: Vec::new(),
        tick: None,
    }
}

/// A run at its end, with a folder such as a run leaves.
async fn finished(home: &Home, ledger: &SqliteLedger, n: usize) -> Outcomes<()> {
    let mut view = ledger.trigger(new_run(n)).await?.view;
    let run = view.state.id.clone();
    let mut commands = Vec::new();
    for step in 0..3 {
        let claim = ClaimId(format!("claim-{n}-{step}"));
        let dir = home.attempt(&run, &claim);
        std::fs::create_dir_all(&dir)?;
        for file in [dir.with_extension("started"), dir.join("log.000000")] {
            std::fs::write(file, [b'x'; 400])?;
        }
        let (session, boot) = (SessionId("s".into()), "b".into());
        commands.push(Command::Claim { unit: Unit::step(step), claim: claim.clone(), session, boot, place: None });
        commands.push(Command::Settle { claim, report: Box::new(succeeded()) });
    }
    std::fs::create_dir_all(home.workspace(&run))?;
    let mut next = |_: &RunState| (!commands.is_empty()).then(|| commands.remove(0));
    ledger.commit(&mut view, &mut next, "bench").await?;
    assert!(view.state.status.is_terminal());
    Ok(())
}

fn succeeded() -> Report {
    Report {
        outcome: Outcome::Succeeded,
        outputs: Default::default(),
        error: None,
        log: LogDigest::default(),
        started_at: Some(1),
        ended_at: Some(2),
        orphans: Vec::new(),
    }
}

/// How long each commit took of somebody with a connection of his own, as a driver has.
async fn while_somebody_commits(path: &Path, n: usize, work: impl Future<Output = ()>) -> Outcomes<Vec<Duration>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (path, stopped) = (path.to_owned(), Arc::clone(&stop));
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(commit_until(&path, n, &stopped))
    });
    work.await;
    stop.store(true, Ordering::SeqCst);
    Ok(thread.join().expect("the other one ends"))
}

async fn commit_until(path: &Path, n: usize, stop: &AtomicBool) -> Vec<Duration> {
    let ledger = SqliteLedger::open(path).await.expect("the ledger");
    let mut view = ledger.trigger(new_run(n)).await.expect("a run").view;
    let claim = ClaimId(format!("claim-{n}"));
    let start = Command::Claim {
        unit: Unit::step(0),
        claim: claim.clone(),
        session: "s".into(),
        boot: "b".into(),
        place: None,
    };
    command(&ledger, &mut view, start, "bench").await.expect("a commit").expect("a claim");
    let mut times = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let adopt = Command::Adopt { claim: claim.clone(), session: SessionId(times.len().to_string()) };
        let since = Instant::now();
        command(&ledger, &mut view, adopt, "bench").await.expect("a commit").expect("a change");
        times.push(since.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("{} commits, median {:?}, 99 % {:?}, longest {:?}", times.len(), at(0.5), at(0.99), at(1.0))
}
