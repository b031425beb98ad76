//! Stories of output on its way, with a real Postgres and real spools.

use runward_engine::plan::Definition;
use runward_engine::run::command::Report;
use runward_engine::run::event::{LogDigest, Outcome};
use runward_engine::run::outputs::Outputs;
use runward_engine::run::place::Place;
use runward_engine::run::{ClaimId, Command, HomeId, RunId, Unit};
use runward_services::{Postgres, Proxy, Signal};
use runward_store::{Fleet, Ledger, NewRun, PostgresLedger, RunView, command};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

use super::*;
use crate::home::Home;
use crate::supervisor::journal;
use crate::supervisor::log::{LogItem, LogReader};
use crate::supervisor::spool::{Spool, Stream};

const LIMIT: u64 = 1 << 20;

/// A worker's home with one attempt that is claimed, and a database that is reached through a line that may break.
struct Scene {
    postgres: Postgres,
    proxy: Proxy,
    _dir: TempDir,
    home: Home,
    fleet: Arc<PostgresLedger>,
    view: RunView,
    run: RunId,
    claim: ClaimId,
}

impl Scene {
    async fn new() -> Scene {
        let postgres = Postgres::start();
        let url = postgres.database("runward");
        PostgresLedger::migrate(&url).await.unwrap();
        let proxy = Proxy::to(postgres.target());
        let fleet = Arc::new(PostgresLedger::open(&postgres.url_through(&proxy, "runward")).await.unwrap());
        let dir = TempDir::new().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let view = fleet.trigger(new_run()).await.unwrap().view;
        let (run, claim) = (view.state.id.clone(), ClaimId::from("claim-1"));
        let mut scene = Scene { postgres, proxy, _dir: dir, home, fleet, view, run, claim };
        let place = Some(Place { home: id(), host: "h".to_owned() });
        let (unit, claim) = (Unit::step(0), scene.claim.clone());
        scene.says(Command::Claim { unit, claim, session: "s".into(), boot: "b".into(), place }).await;
        std::fs::create_dir_all(scene.home.attempts(&scene.run)).unwrap();
        scene
    }

    async fn says(&mut self, wanted: Command) {
        command(&*self.fleet, &mut self.view, wanted, "tester").await.unwrap().unwrap();
    }

    async fn settles(&mut self) {
        let report = Report {
            outcome: Outcome::Succeeded,
            outputs: Outputs::new(),
            error: None,
            log: LogDigest::default(),
            started_at: None,
            ended_at: None,
            orphans: Vec::new(),
        };
        self.says(Command::Settle { claim: self.claim.clone(), report: Box::new(report) }).await;
    }

    /// The attempt lives until this is dropped.
    fn starts(&self) -> journal::Started {
        let dir = self.home.attempt(&self.run, &self.claim);
        journal::open(&dir).unwrap();
        journal::start(&dir).unwrap().unwrap()
    }

    fn spool(&self, limit: u64) -> Spool {
        Spool::new(&self.home.attempt(&self.run, &self.claim), limit)
    }

    /// A worker begins to ship.
    fn shipper(&self) -> Shipper {
        Shipper::new(self.home.clone(), id(), self.fleet())
    }

    fn fleet(&self) -> Arc<dyn Fleet> {
        Arc::clone(&self.fleet) as Arc<dyn Fleet>
    }

    fn remote(&self) -> Remote {
        Remote::new(self.fleet(), self.run.clone(), self.claim.clone())
    }

    async fn arrived(&self, bytes: u64) {
        while self.fleet.shipped(&self.run, &self.claim).await.map_or(0, |shipped| shipped.to) < bytes {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn complete(&self) {
        while !self.fleet.shipped(&self.run, &self.claim).await.is_ok_and(|shipped| shipped.complete) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn id() -> HomeId {
    HomeId::from("home-1")
}

fn new_run() -> NewRun {
    NewRun {
        id: RunId::from("run-1"),
        definition: Definition {
            drill: false,
            name: "prints".into(),
            path: String::new(),
            source: "steps:\n  - {id: a, run: x}\n".to_owned(),
            files: Vec::new(),
            runbooks: Vec::new(),
        },
        called: Vec::new(),
        blobs: Vec::new(),
        params: Default::default(),
        trigger: "test".into(),
        group: None,
        priority: Default::default(),
        queued_max: 10,
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

/// Everything up to the current end: bytes where there are some, and how many are missing.
async fn read(remote: &mut Remote) -> (Vec<u8>, u64) {
    let (mut all, mut missing) = (Vec::new(), 0);
    while let Some(item) = remote.next().await.unwrap() {
        match item {
            LogItem::Chunk { bytes, .. } => all.extend(bytes),
            LogItem::Gap { bytes } => missing += bytes,
        }
    }
    (all, missing)
}

fn text(of: usize) -> Vec<u8> {
    (0..of).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn what_a_step_prints_is_followed_elsewhere_and_ends_with_it() {
    let mut scene = Scene::new().await;
    let (shipper, mut remote, mut spool) = (scene.shipper(), scene.remote(), scene.spool(LIMIT));
    shipper.watch(&scene.run, &scene.claim);
    for word in ["one ", "two "] {
        spool.append(Stream::Out, word.as_bytes());
        loop {
            let (said, _) = read(&mut remote).await;
            if !said.is_empty() {
                assert_eq!(said, word.as_bytes());
                break;
            }
        }
        assert!(!remote.is_whole().await.unwrap());
    }
    spool.append(Stream::Err, b"three");
    scene.settles().await;
    shipper.settled(&scene.run, &scene.claim, true);
    shipper.drained().await;
    let read_here: Vec<_> = LogReader::open(&scene.home.attempt(&scene.run, &scene.claim)).unwrap().flatten().collect();
    let mut again = scene.remote();
    for item in read_here {
        assert_eq!(again.next().await.unwrap(), Some(item), "the same items as beside the spool");
    }
    assert!(again.next().await.unwrap().is_none() && again.is_whole().await.unwrap());
    assert_eq!(again.offset(), 13);
    let mut last = scene.remote();
    assert_eq!((last.skip_to_last(7).await.unwrap(), read(&mut last).await.0), (6, b"o three".to_vec()));
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_when_the_worker_dies_and_the_line_breaks() {
    let mut scene = Scene::new().await;
    let (wanted, mut spool) = (text(900_000), scene.spool(8 * LIMIT));
    let first = scene.shipper();
    first.watch(&scene.run, &scene.claim);
    for (n, piece) in wanted.chunks(100_000).enumerate().take(5) {
        spool.append(Stream::Out, piece);
        scene.proxy.cut();
        scene.arrived(n as u64 * 50_000).await;
    }
    drop(first);
    for piece in wanted.chunks(100_000).skip(5) {
        spool.append(Stream::Err, piece);
    }
    scene.settles().await;
    // The next worker in this home is told nothing.
    let _second = scene.shipper();
    scene.complete().await;
    assert!(read(&mut scene.remote()).await == (wanted, 0));
}

#[tokio::test]
async fn output_waits_here_while_the_ledger_is_away() {
    let mut scene = Scene::new().await;
    let (shipper, alive) = (scene.shipper(), scene.starts());
    shipper.watch(&scene.run, &scene.claim);
    scene.postgres.stop(Signal::Quit);
    scene.spool(LIMIT).append(Stream::Out, b"while you were away");
    drop(alive);
    scene.postgres.start_again();
    scene.settles().await;
    shipper.settled(&scene.run, &scene.claim, true);
    shipper.drained().await;
    assert!(!scene.remote().is_whole().await.unwrap(), "it is there, and not read yet");
    assert_eq!(read(&mut scene.remote()).await.0, b"while you were away");
}

#[tokio::test]
async fn the_ledger_keeps_no_more_of_an_attempt_than_its_spool() {
    let mut scene = Scene::new().await;
    let (shipper, mut spool) = (scene.shipper(), scene.spool(LIMIT));
    shipper.watch(&scene.run, &scene.claim);
    let wanted = text(5 << 20);
    for (n, piece) in wanted.chunks(200_000).enumerate() {
        spool.append(Stream::Out, piece);
        scene.arrived(n as u64 * 200_000 + 1).await;
    }
    scene.settles().await;
    shipper.settled(&scene.run, &scene.claim, true);
    shipper.drained().await;
    let stored = scene.postgres.sql("runward", "SELECT sum(length(frames)) FROM log_parts").parse::<u64>().unwrap();
    assert!(stored > LIMIT / 2 && stored <= LIMIT + runward_store::fleet::LOG_PART_BYTES_MAX as u64, "{stored}");
    let mut at = 0;
    let mut remote = scene.remote();
    while let Some(item) = remote.next().await.unwrap() {
        match item {
            LogItem::Gap { bytes } => at += bytes as usize,
            LogItem::Chunk { bytes, .. } => {
                assert!(wanted[at..].starts_with(&bytes));
                at += bytes.len();
            }
        }
    }
    assert_eq!((at, remote.is_whole().await.unwrap()), (wanted.len(), true));
}

#[tokio::test]
async fn what_a_step_prints_after_it_was_given_up_is_shipped_too() {
    let mut scene = Scene::new().await;
    let (alive, shipper, mut spool) = (scene.starts(), scene.shipper(), scene.spool(LIMIT));
    scene.settles().await;
    shipper.settled(&scene.run, &scene.claim, true);
    spool.append(Stream::Out, b"still ");
    scene.arrived(6).await;
    assert!(!scene.fleet.shipped(&scene.run, &scene.claim).await.unwrap().complete);
    spool.append(Stream::Out, b"here");
    drop(alive);
    shipper.drained().await;
    assert_eq!(read(&mut scene.remote()).await.0, b"still here");
}

#[tokio::test]
async fn an_attempt_that_printed_nothing_is_complete_and_one_that_is_damaged_up_to_there() {
    let mut scene = Scene::new().await;
    scene.settles().await;
    let shipper = scene.shipper();
    scene.complete().await;
    assert_eq!(read(&mut scene.remote()).await, (Vec::new(), 0));
    drop(shipper);
    let mut other = Scene::new().await;
    let mut spool = other.spool(LIMIT);
    spool.append(Stream::Out, b"readable");
    let segment = other.home.attempt(&other.run, &other.claim).join("log.000000");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend([0xff; 40]);
    std::fs::write(&segment, bytes).unwrap();
    other.settles().await;
    let _shipper = other.shipper();
    other.complete().await;
    assert_eq!(read(&mut other.remote()).await.0, b"readable");
}
