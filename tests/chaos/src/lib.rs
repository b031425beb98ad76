//! A real cluster on one machine, and everything that happens to it: workers, servers, Postgres and Redis are killed,
//! frozen and cut off while people start, approve, cancel and resume runs. Afterwards the record of runward is compared
//! with what its steps left in a file of their own, which runward never reads.
//!
//! Which faults come when follows from the seed; what they hit is real, so no two runs are the same.
//!
//! - [`cluster`]: the processes; [`leftovers`]: none; [`nemesis`]: what is done to them; [`people`]: who uses runward meanwhile
//! - [`directed`]: each point at which a death hurts most, hit on purpose; [`points`], [`receiver`],
//!   [`care`]: what it needs
//! - [`effects`], [`record`]: what happened, and what runward says; [`check`]: whether both fit

pub mod care;
pub mod check;
pub mod cluster;
pub mod directed;
pub mod effects;
pub mod leftovers;
pub mod nemesis;
pub mod people;
pub mod points;
pub mod receiver;
pub mod record;
pub mod report;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster::Cluster;
use nemesis::Nemesis;
use people::People;
pub use report::Report;

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program.
    pub runward: PathBuf,
    pub seed: u64,
    /// Faults come for so long.
    pub lasts: Duration,
    /// The times of leases are divided by this, so that hosts are lost within seconds.
    pub pace: u32,
}

/// How long the cluster may take to bring everything to its end when it is whole again.
const HEALS_IN: Duration = Duration::from_secs(300);

pub fn run(plan: &Plan) -> Report {
    let cluster = Cluster::start(plan);
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let (faults, people) = std::thread::scope(|scope| {
        let triggers = scope.spawn(|| People::new(&cluster, plan.seed).start_runs(&over));
        let operators = scope.spawn(|| People::new(&cluster, plan.seed + 1).operate(&over));
        let faults = Nemesis::new(&cluster, plan).rage();
        over.store(true, Ordering::Relaxed);
        let mut people = triggers.join().expect("who starts runs");
        people.merge(operators.join().expect("who operates"));
        (faults, people)
    });
    cluster.heal();
    let healing = Instant::now();
    let open = People::new(&cluster, plan.seed + 2).until_nothing_is_open(HEALS_IN);
    let record = record::Record::read(&cluster);
    let effects = effects::Effects::read(&cluster.effects());
    let violations = check::check(&record, &effects, &people, &faults, &open);
    let report = Report::new(plan, began.elapsed(), healing.elapsed(), &faults, &people, &record, &effects, violations);
    if !report.violations.is_empty() {
        cluster.keep();
    }
    cluster.end();
    report
}
