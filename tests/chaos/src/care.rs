//! What is done to the ledger itself, again and again until it works: who does it is hit in the middle.

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, DATABASE};

const WORKS_IN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// Columns, indexes, constraints and triggers.
const SCHEMA: &str = "\
    SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) AS it \
      FROM information_schema.columns WHERE table_schema = 'public' \
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
    UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint \
      WHERE connamespace = 'public'::regnamespace \
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal \
    ORDER BY it";

/// A database that was migrated in several goes is as one that was in one.
pub fn migrate(cluster: &Cluster, over: &AtomicBool) -> Vec<String> {
    let mut found = Vec::new();
    for number in 0.. {
        let database = format!("migrated{number}");
        cluster.ask(&format!("CREATE DATABASE {database}")).expect("a database");
        found.extend(until_done("db migrate", || cluster.say_to(&database, &["db", "migrate"])));
        let schemas = [DATABASE, &database].map(|name| cluster.ask_of(name, SCHEMA));
        if schemas[0] != schemas[1] {
            found.push(format!("{database} is not as {DATABASE} after it was migrated: {schemas:?}"));
        }
        if over.load(Ordering::Relaxed) {
            return found;
        }
    }
    found
}

/// A run that was pruned is gone, and so is everything that it has left on the hosts.
pub fn prune(cluster: &Cluster, over: &AtomicBool) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let effects = format!("effects={}", cluster.effects().display());
        let start = ["run", &cluster.runbook("chain"), "--detach", "-p", &effects];
        found.extend(until_done("run", || cluster.say(&start)));
        found.extend(until("a run did not end", || none(cluster, "SELECT id FROM runs WHERE finished_at IS NULL")));
        found.extend(until_done("db prune", || cluster.say(&["db", "prune", "--keep", "0"])));
        if !none(cluster, "SELECT id FROM runs") {
            found.push("what was pruned is still there".to_owned());
        }
        found.extend(until_done("audit verify", || cluster.say(&["audit", "verify"])));
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    for member in &cluster.members {
        member.signal(Signal::SIGKILL);
        member.start(cluster);
    }
    found.extend(until("the folder of a pruned run stays", || cluster.members.iter().all(|member| member.is_tidy())));
    found
}

fn none(cluster: &Cluster, sql: &str) -> bool {
    cluster.ask(sql).is_ok_and(|rows| rows.trim().is_empty())
}

fn until(what: &str, is_so: impl Fn() -> bool) -> Option<String> {
    let give_up = Instant::now() + WORKS_IN;
    while !is_so() {
        if Instant::now() > give_up {
            return Some(what.to_owned());
        }
        std::thread::sleep(PAUSE);
    }
    None
}

fn until_done(what: &str, done: impl Fn() -> Output) -> Option<String> {
    let last = std::cell::RefCell::new(None);
    let failed = until(what, || {
        let done = done();
        let is_done = done.status.success();
        *last.borrow_mut() = Some(done);
        is_done
    });
    failed.map(|what| format!("`{what}` does not work again: {:?}", last.take()))
}
