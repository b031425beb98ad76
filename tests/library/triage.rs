//! Two in the morning: one run says what is broken, and nothing else.

use std::fs;
use std::process::Command;

use runward_services::Signal;

use crate::harness::{finish, wait};
use crate::operator::Run;
use crate::place::Place;

fn triage(place: &Place, code: i32, more: &[(&str, &str)]) -> Run {
    let (url, database) = (place.stack.url(), place.stack.database());
    let redis = place.stack.redis.socket().display().to_string();
    let own = [("url", url.as_str()), ("database", &database), ("redis_socket", &redis)];
    // How full this machine is today is not what these tests are about.
    let machine = [("disk_percent_max", "100"), ("memory_percent_max", "100")];
    let machine = if more.contains(&("disk_percent_max", "1")) { &[][..] } else { &machine[..] };
    place.run(code, "triage", &[&own[..], machine, more].concat())
}

/// What it says is broken; nothing where all is well.
fn broken(run: &Run) -> String {
    let said = run.text.split("error: broken: ").nth(1).and_then(|rest| rest.split(';').next());
    said.unwrap_or_default().to_owned()
}

#[test]
fn triage_names_what_is_broken_and_nothing_else() {
    let mut place = Place::serving();
    place.stack.link("api.sock", "run/live.sock");
    place.run(0, "deploy_supervisor", &[("workers", "1"), ("celery_concurrency", "1")]);

    // Errors in the logs are counted.
    fs::write(place.stack.path("log/other.log"), "a fine day\nERROR the sky fell\nTraceback (most recent call last)\n")
        .unwrap();
    let well = triage(&place, 0, &[]);
    assert_eq!(broken(&well), "");
    let counted: usize = well.output("logs", "errors").parse().unwrap();
    assert_eq!(counted, 2, "{}", well.text);
    assert!(well.text.contains("ERROR the sky fell"), "{}", well.text);
    place.saw("S3-32", &well, "logs");
    let cores = finish(&mut Command::new("nproc")).stdout;
    assert_eq!(well.output("host", "cores"), cores.trim());
    place.saw("S2-41", &well, "host");
    place.saw("S2-41", &well, "disk");
    assert_eq!(well.output("queue", "workers"), "1");

    // The worker is gone, and tasks wait.
    place.stack.supervisorctl(&["stop", "worker"]);
    let waiting = || place.stack.redis.command(&["llen", "celery"]).parse::<u32>().unwrap();
    wait("tasks to wait", || waiting() > 1);
    let stuck = triage(&place, 1, &[]);
    assert_eq!(broken(&stuck), "queue");
    assert!(stuck.text.contains("no worker answers"), "{}", stuck.text);
    let seen = stuck.text.split("queue | waiting=").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let seen: u32 = seen.parse().unwrap();
    assert!(seen > 1 && seen <= waiting(), "{seen}");
    place.saw("S1-31", &stuck, "queue");
    place.stack.supervisorctl(&["start", "worker"]);

    // Somebody holds a lock, and somebody waits for it.
    let holder = Psql::start(&place, "begin; lock table items; select pg_sleep(600)");
    let blocked = Psql::start(&place, "select count(*) from items");
    let locks = "select count(*) from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0";
    let long = format!("{locks} and now() - query_start > interval '2 s'");
    wait("a statement to be blocked for a while", || place.stack.sql(&long) != "0");
    let locked = triage(&place, 1, &[("long_seconds", "1")]);
    let named = broken(&locked);
    assert!(named.contains("database"), "{named}");
    assert!(locked.text.contains("pg_sleep(600)") && locked.text.contains("wait for a lock"), "{}", locked.text);
    place.saw("S0-13 S3-29", &locked, "database");
    drop((holder, blocked));
    place.stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()");
    wait("nobody to be blocked", || place.stack.sql(locks) == "0");

    // A full disk and little memory, as far as this run is concerned.
    let full = triage(&place, 1, &[("disk_percent_max", "1"), ("memory_percent_max", "1")]);
    assert_eq!(broken(&full), "disk host");
    assert!(full.text.contains("of the memory is in use"), "{}", full.text);
    place.saw("S1-32", &full, "disk");
    place.saw("S1-34 S4-34", &full, "host");

    // Redis and Postgres are gone: they are named, with what stands on them.
    place.stack.redis.stop(Signal::Kill);
    place.stack.postgres.stop(Signal::Quit);
    let gone = triage(&place, 1, &[]);
    let named = broken(&gone);
    for part in ["service", "database", "redis", "queue"] {
        assert!(named.contains(part), "{part}: {named}");
    }
    assert!(gone.text.contains("the database does not answer"), "{}", gone.text);
    place.saw("S1-33", &gone, "database");
    place.saw("S3-30", &gone, "redis");
    place.saw("S1-43", &gone, "service");
}

/// A statement that somebody waits for.
struct Psql(std::process::Child);

impl Psql {
    fn start(place: &Place, sql: &str) -> Psql {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-d", &place.stack.database(), "-c", sql]).stdout(std::process::Stdio::null());
        Psql(psql.stderr(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
