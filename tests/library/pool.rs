//! A standby, and a pool before it and its primary: reads and writes here, reads alone there.

use std::fs;
use std::process::Command;

use runward_services::{Cluster, Ground};

use crate::dumps::keep_secret;
use crate::harness::{Done, finish, wait};
use crate::operator::{Operator, Run};

const PASSWORD: &str = "the password of app";
const LETS_IN: &str = "local all runward trust\nlocal replication runward trust\nlocal all all scram-sha-256\n";

struct Pool {
    operator: Operator,
    ground: Ground,
    primary: Cluster,
    /// Of the pool.
    port: String,
}

impl Pool {
    fn new() -> Pool {
        let (operator, ground) = (Operator::new(), Ground::new());
        let primary = ground.cluster("primary", 7001, &[]);
        primary.sql("postgres", &format!("create role app login password '{PASSWORD}'"));
        primary.sql("postgres", "create database app owner app");
        fs::write(primary.data().join("pg_hba.conf"), LETS_IN).unwrap();
        primary.sql("postgres", "select pg_reload_conf()");
        keep_secret(&operator, "pgpass", &format!("*:*:*:app:{PASSWORD}\n"));
        let pool = Pool { operator, ground, primary, port: crate::rcluster::free(1)[0].to_string() };
        pool.app("app", "create table items (n int)").unwrap_or_default();
        pool.primary.sql("app", "create table items (n int); alter table items owner to app");
        pool
    }

    fn run(&self, code: i32, runbook: &str, own: &[(&str, &str)], more: &[(&str, &str)]) -> Run {
        let (folder, owner) = (self.ground.folder().display().to_string(), Cluster::owner());
        let words = |word: &str| word.replace('@', &folder);
        let all = own.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).chain(more);
        let all: Vec<(&str, String)> = all.map(|(name, value)| (*name, words(value))).collect();
        let mut params: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        params.extend([("as", owner.as_str()), ("user", Cluster::superuser())]);
        self.operator.expect(code, runbook, &params)
    }

    fn standby(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let own = [("host", "@"), ("port", "7001"), ("into", "@/standby"), ("standby_port", "7002"), ("sockets", "@")];
        self.run(code, "pg_standby", &own, more)
    }

    fn pool(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let own = [
            ("folder", "@/pool"),
            ("primary_host", "@"),
            ("primary_port", "7001"),
            ("reader_host", "@"),
            ("reader_port", "7002"),
            ("users", "app"),
            ("listen", self.port.as_str()),
            ("address", "127.0.0.1"),
            ("pool", "3"),
            ("overflow", "1"),
        ];
        self.run(code, "pg_pool", &own, more)
    }

    /// SQL as the service, through the pool.
    fn app(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new("psql");
        psql.env("PGPASSWORD", PASSWORD).args(["-XAtqU", "app", "-p", &self.port, "-d", database, "-c", sql, "-h"]);
        let done = finish(psql.arg(self.ground.path("pool")));
        if done.code == 0 { Ok(done.stdout.trim_end().to_owned()) } else { Err(done.stderr) }
    }

    /// `SHOW` of the pool's console.
    fn shows(&self, what: &str, key: &str) -> String {
        let mut psql = Cluster::program("psql");
        psql.args(["-XAtqU", "pgbouncer", "-d", "pgbouncer", "-p", &self.port, "-c", &format!("show {what}"), "-h"]);
        let done = finish(psql.arg(self.ground.path("pool")));
        let line = done.stdout.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split('|').nth(1).unwrap_or_default().to_owned()
    }

    /// Sixty clients at the same time, who wait for each answer: the server itself takes forty.
    fn crowd(&self, port: &str, host: &str) -> Done {
        let script = self.operator.scene.file("read.sql", "select count(*) from items; select pg_sleep(0.01);\n");
        let mut command = Command::new(Cluster::program("pgbench").get_args().last().unwrap());
        command
            .env("PGPASSWORD", PASSWORD)
            .args(["-n", "-c", "60", "-j", "2", "-t", "5", "-U", "app", "-p", port, "-h", host]);
        finish(command.arg("-f").arg(script).arg("app"))
    }
}

#[test]
fn reads_go_to_a_standby_that_refuses_to_write_and_many_share_few_connections() {
    let pool = Pool::new();
    let folder = pool.ground.folder().display().to_string();
    pool.primary.sql("app", "insert into items select generate_series(1, 1000)");
    let made = pool.standby(0, &[]);
    let standby = pool.ground.attach("standby", 7002);
    assert_eq!(standby.sql("app", "select count(*), pg_is_in_recovery() from items"), "1000|t");
    pool.primary.sql("app", "insert into items values (4711)");
    wait("the row to arrive", || standby.sql("app", "select count(*) from items where n = 4711") == "1");
    pool.operator.saw("S2-09", &made, "verify");

    let run = pool.pool(0, &[]);
    assert_eq!(pool.app("app", "insert into items values (7000); select pg_is_in_recovery()").as_deref(), Ok("f"));
    wait("the row to arrive", || pool.app("app_ro", "select count(*) from items where n = 7000").as_deref() == Ok("1"));
    let refused = pool.app("app_ro", "insert into items values (8000)").unwrap_err();
    assert!(refused.contains("cannot execute INSERT in a read-only transaction"), "{refused}");
    assert_eq!(pool.primary.sql("app", "select count(*) from items where n = 8000"), "0");
    pool.operator.saw("S3-47 S4-32", &run, "verify");

    let straight = pool.crowd("7001", &folder);
    assert!(straight.code != 0 && straight.stderr.contains("could not create connection"), "{}", straight.stderr);
    let pooled = pool.crowd(&pool.port, &pool.ground.path("pool").display().to_string());
    assert!(pooled.code == 0 && pooled.stdout.contains("300/300"), "{}{}", pooled.stdout, pooled.stderr);
    let connections = pool.primary.sql("app", "select count(*) from pg_stat_activity where usename = 'app'");
    assert!(
        (1..=4).contains(&connections.parse::<u32>().unwrap()),
        "{connections} connections of the server for sixty clients"
    );
    pool.operator.saw("S0-21 S1-28", &run, "verify");

    // No password is in anything that was written: what is there proves who somebody is, and logs nobody in.
    let kept = fs::read_to_string(pool.ground.path("pool/users.txt")).unwrap();
    assert!(kept.contains("SCRAM-SHA-256$") && !kept.contains(PASSWORD), "{kept}");
    assert!(!run.text.contains(PASSWORD) && !run.show.to_string().contains(PASSWORD));
    let wrong = finish(
        Command::new("psql")
            .env("PGPASSWORD", "another")
            .args(["-XU", "app", "-p", &pool.port, "-d", "app", "-c", "select 1", "-h"])
            .arg(pool.ground.path("pool")),
    );
    assert!(wrong.code != 0, "{}", wrong.stdout);

    // Other values are taken over by the pool that runs.
    let process = fs::read_to_string(pool.ground.path("pool/pgbouncer.pid")).unwrap();
    pool.pool(0, &[("pool", "2")]);
    assert_eq!(
        (
            pool.shows("config", "default_pool_size").as_str(),
            fs::read_to_string(pool.ground.path("pool/pgbouncer.pid")).unwrap()
        ),
        ("2", process)
    );
    let refused = pool.pool(1, &[("listen", "7004")]);
    assert!(refused.text.contains("only changes when it starts"), "{}", refused.text);
}

#[test]
fn what_is_not_well_is_taken_back_or_refused() {
    let pool = Pool::new();
    pool.standby(0, &[]);
    let refused = pool.pool(1, &[("reader_port", "7001")]);
    assert!(refused.text.contains("is no standby"), "{}", refused.text);
    let refused = pool.pool(1, &[("pool", "100")]);
    assert!(refused.text.contains("lower pool or overflow"), "{}", refused.text);
    pool.primary.sql("postgres", "create role without login");
    let refused = pool.pool(1, &[("users", "app,without,nobody_at_all")]);
    assert!(
        refused.text.contains("without has no password") && refused.text.contains("nobody_at_all is no role"),
        "{}",
        refused.text
    );
    assert!(!pool.ground.path("pool").exists(), "nothing was written");

    // A pool whose clients are not let in is not left standing: the secret has another password.
    keep_secret(&pool.operator, "pgpass", "*:*:*:app:wrong\n");
    let failed = pool.pool(6, &[]);
    assert!(failed.text.contains("is not let in by the pool"), "{}", failed.text);
    assert!(!pool.ground.path("pool/pgbouncer.ini").exists() && pool.app("app", "select 1").is_err());
    keep_secret(&pool.operator, "pgpass", &format!("*:*:*:app:{PASSWORD}\n"));
    pool.pool(0, &[]);
    keep_secret(&pool.operator, "pgpass", "*:*:*:app:wrong\n");
    pool.pool(6, &[("pool", "2")]);
    assert_eq!(pool.shows("config", "default_pool_size"), "3", "back to what it was");
    assert_eq!(pool.app("app", "select 1").as_deref(), Ok("1"));

    // A standby that cannot come up leaves neither a folder nor a slot, which would fill the disk of the primary.
    let taken = pool.standby(1, &[("into", "@/another"), ("standby_port", "7005")]);
    assert!(taken.text.contains("has a slot standby already"), "{}", taken.text);
    let failed = pool.standby(6, &[("into", "@/another"), ("standby_port", "7001"), ("slot", "another")]);
    assert_eq!(failed.status("slot"), "undone", "{}", failed.text);
    assert!(!pool.ground.path("another").exists());
    assert_eq!(pool.primary.sql("postgres", "select string_agg(slot_name, ' ') from pg_replication_slots"), "standby");
    let refused = pool.standby(1, &[("slot", "third")]);
    assert!(refused.text.contains("is there already"), "{}", refused.text);
}
