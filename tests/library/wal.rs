//! Base backups and the archive of what was written since; any moment of it can be brought back.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use runward_services::{Cluster, Ground};

use crate::dumps::{keep_secret, names};
use crate::harness::repository;
use crate::operator::{Operator, Run};

/// A Postgres that archives, and where the runbooks put its backups.
pub struct Archived {
    pub operator: Operator,
    pub ground: Ground,
    pub primary: Cluster,
}

impl Archived {
    pub fn new() -> Archived {
        let (operator, ground) = (Operator::new(), Ground::new());
        keep_secret(&operator, "pgpass", "# none\n");
        for name in ["backup", "backup/wal", "new"] {
            ground.make(name);
        }
        let program = ground.path("archive_wal.sh");
        fs::copy(repository().join("runbooks/lib/archive_wal.sh"), &program).unwrap();
        Cluster::own(&program);
        let archive =
            format!("archive_command = '{} \"%p\" \"%f\" {}'", program.display(), ground.path("backup/wal").display());
        let primary = ground.cluster("primary", 7001, &["archive_mode = on", &archive]);
        primary.sql("postgres", "create database app");
        primary.sql("app", "create table items (n int primary key, text text)");
        Archived { operator, ground, primary }
    }

    pub fn insert(&self, from: u32, to: u32) {
        self.primary
            .sql("app", &format!("insert into items select n, 'item ' || n from generate_series({from}, {to}) n"));
    }

    pub fn backup(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let own = [("host", self.ground.folder()), ("target", &*self.ground.path("backup"))];
        let own = own.map(|(name, path)| (name, path.display().to_string()));
        let mut params: Vec<(&str, &str)> = own.iter().map(|(name, path)| (*name, path.as_str())).collect();
        params.extend([("port", "7001"), ("user", Cluster::superuser())]);
        params.extend(more);
        self.operator.expect(code, "backup_incremental", &params)
    }

    /// What every runbook that makes a new server is given.
    pub fn anew(&self, into: &Path) -> Vec<(String, String)> {
        let paths = [("from", &*self.ground.path("backup")), ("into", into), ("sockets", self.ground.folder())];
        let paths = paths.map(|(name, path)| (name.to_owned(), path.display().to_string()));
        let words = [("port", "7002".to_owned()), ("user", Cluster::superuser().to_owned()), ("as", Cluster::owner())];
        paths.into_iter().chain(words.map(|(name, word)| (name.to_owned(), word))).collect()
    }

    fn restore(&self, code: i32, at: &str) -> Run {
        let params = self.anew(&self.restored().0);
        let params = params.iter().map(|(name, value)| (&**name, &**value)).chain([("at", at)]);
        self.operator.expect(code, "restore_pitr", &params.collect::<Vec<_>>())
    }

    fn restored(&self) -> (PathBuf, Cluster) {
        (self.ground.path("new/server"), self.ground.attach("new/server", 7002))
    }
}

#[test]
fn rows_that_were_deleted_a_minute_ago_come_back() {
    let place = Archived::new();
    place.insert(1, 1000);
    let base = place.backup(0, &[]);
    assert_eq!(names(&place.ground.path("backup/base")).len(), 1);
    assert!(PathBuf::from(base.output("base", "base")).join("backup_manifest").exists());

    place.insert(1001, 2000);
    let at = place.primary.sql("app", "select clock_timestamp()");
    place.primary.sql("app", "delete from items where n > 500");
    let hourly = place.backup(0, &[]);
    assert_eq!(hourly.status("base"), "skipped", "the base is young enough");
    let segment = hourly.output("archive", "segment");
    assert!(place.ground.path("backup/wal").join(&segment).exists());
    place.operator.saw("S2-27", &hourly, "archive");
    assert_eq!(hourly.status("chain"), "succeeded");

    let run = place.restore(0, &at);
    let (_, restored) = place.restored();
    assert_eq!(
        restored.sql("app", "select count(*), max(n) from items"),
        "2000|2000",
        "rows of the base and later ones"
    );
    assert_eq!(place.primary.sql("app", "select count(*) from items"), "500", "the server that runs is not touched");
    place.operator.saw("S2-30", &run, "replay");
    restored.sql("app", "insert into items values (9999, 'it is a server as any other')");
    place.operator.saw("S2-31", &run, "verify");
    assert_eq!(restored.sql("app", "show archive_mode"), "off", "it never writes into the archive it came from");

    // As any server it can be stopped and started, and does not begin to replay again.
    restored.stop("fast");
    restored.start();
    assert_eq!(restored.sql("app", "select count(*) from items"), "2001");
    let again = place.restore(1, &at);
    assert!(again.text.contains("is there already"), "{}", again.text);
}

#[test]
fn a_moment_that_the_backups_do_not_reach_is_a_failure_and_leaves_nothing() {
    let place = Archived::new();
    let before = place.primary.sql("app", "select clock_timestamp() - interval '1 hour'");
    place.backup(0, &[]);
    place.insert(1, 10);
    place.backup(0, &[]);
    let (folder, _) = place.restored();

    let early = place.restore(1, &before);
    assert!(early.text.contains("that moment cannot be restored"), "{}", early.text);
    let late = place.primary.sql("app", "select clock_timestamp() + interval '1 hour'");
    let late = place.restore(6, &late);
    assert!(late.text.contains("recovery ended before configured recovery target was reached"), "{}", late.text);
    assert!(!folder.exists(), "what cannot be what was asked for is not kept");
    assert_eq!(late.status("lay"), "undone");

    // A file of the base that a failing disk has changed.
    let base = place.ground.path("backup/base").join(&names(&place.ground.path("backup/base"))[0]);
    let file = base.join("global/pg_filenode.map");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let damaged = place.restore(1, "");
    assert!(damaged.text.contains("is damaged"), "{}", damaged.text);
}

#[test]
fn a_gap_in_the_archive_is_found_before_somebody_needs_it() {
    let place = Archived::new();
    place.backup(0, &[]);
    for n in 1..=3 {
        place.insert(n * 100, n * 100 + 50);
        place.backup(0, &[]);
    }
    let wal = place.ground.path("backup/wal");
    let segments: Vec<String> = names(&wal).into_iter().filter(|name| name.len() == 24).collect();
    fs::remove_file(wal.join(&segments[segments.len() - 2])).unwrap();
    let gap = place.backup(1, &[]);
    assert!(gap.text.contains("are missing: nothing after the first of them can be restored"), "{}", gap.text);
    let hole = place.restore(6, "");
    assert!(hole.text.contains("and that was not restored"), "{}", hole.text);
    assert!(!place.restored().0.exists(), "never a server that is quietly older");

    // The remedy that it names: a new base.
    let mended = place.backup(1, &[("base_every", "1ms"), ("keep_bases", "1")]);
    assert_eq!(mended.status("base"), "succeeded");
}

#[test]
fn older_bases_go_with_what_only_they_need() {
    let place = Archived::new();
    let first = place.backup(0, &[]);
    place.insert(1, 5000);
    let oldest = names(&place.ground.path("backup/wal"));
    thread::sleep(Duration::from_secs(1)); // a base is named by its second
    let second = place.backup(0, &[("base_every", "1ms"), ("keep_bases", "2")]);
    // An earlier run was killed while it deleted.
    fs::create_dir_all(place.ground.path("backup/base/.partial-gone/pg_wal")).unwrap();
    let pruned = place.backup(0, &[("keep_bases", "1")]);
    assert_eq!(pruned.output("prune", "deleted"), "1");
    let kept = names(&place.ground.path("backup/base"));
    assert_eq!(kept, [second.output("base", "base").rsplit('/').next().unwrap()]);
    assert!(!PathBuf::from(first.output("base", "base")).exists());
    assert!(!place.ground.path("backup/wal").join(&oldest[0]).exists(), "and what only it needed");
    place.restore(0, "");
    assert_eq!(place.restored().1.sql("app", "select count(*) from items"), "5000");
}

#[test]
fn a_server_that_cannot_archive_is_told_of() {
    let place = Archived::new();
    place.backup(0, &[]);
    place.primary.sql("postgres", "alter system set archive_command = 'false'");
    place.primary.sql("postgres", "select pg_reload_conf()");
    place.insert(1, 10);
    let failed = place.backup(1, &[]);
    assert!(failed.text.contains("the server cannot archive"), "{}", failed.text);
}

#[test]
fn a_server_laid_out_as_debian_does_comes_back() {
    let place = Archived::new();
    // Its settings are not in its data folder, and whoever owns it is its superuser, by `peer`.
    let (owner, etc) = (Cluster::owner(), place.ground.make("etc"));
    place.primary.sql("postgres", &format!("create role {owner} superuser login"));
    place.primary.stop("fast");
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        fs::rename(place.primary.data().join(name), etc.join(name)).unwrap();
    }
    let file = |name: &str| etc.join(name).display().to_string();
    let mut settings = fs::read_to_string(file("postgresql.conf")).unwrap();
    settings += &format!(
        "data_directory = '{}'\nhba_file = '{}'\nident_file = '{}'\n",
        place.primary.data().display(),
        file("pg_hba.conf"),
        file("pg_ident.conf")
    );
    fs::write(file("postgresql.conf"), settings).unwrap();
    let start = Cluster::program("pg_ctl").args(["start", "-w", "-l", &file("log"), "-D"]).arg(&etc).output().unwrap();
    assert!(start.status.success(), "{}", String::from_utf8_lossy(&start.stderr));

    place.backup(0, &[]);
    place.insert(1, 300);
    place.backup(0, &[]);
    assert!(
        !place
            .ground
            .path("backup/base")
            .join(&names(&place.ground.path("backup/base"))[0])
            .join("postgresql.conf")
            .exists()
    );
    let params = place.anew(&place.restored().0);
    let own = params.iter().map(|(name, value)| (&**name, if name == "user" { &*owner } else { &**value }));
    let run = place.operator.expect(0, "restore_pitr", &own.collect::<Vec<_>>());
    assert_eq!(run.output("verify", "databases"), "3");
    let psql = Cluster::program("psql")
        .args(["-XAtq", "-U", &owner, "-p", "7002", "-d", "app", "-c", "select count(*) from items", "-h"])
        .arg(place.ground.folder())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&psql.stdout).trim(), "300", "{}", String::from_utf8_lossy(&psql.stderr));
}
