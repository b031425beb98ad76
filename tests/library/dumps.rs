//! Dumps of Postgres: made, proved, restored, and everything that goes wrong on the way.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use runward_services::Postgres;

use crate::harness::{finish, processes, repository, wait};
use crate::operator::{Operator, Run};

const PASSWORD: &str = "correct horse battery";
const DAY: Duration = Duration::from_secs(86_400);

/// A server that asks for a password, the database `app`, and a folder for its dumps.
pub struct Place {
    pub operator: Operator,
    pub postgres: Postgres,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { operator: Operator::new(), postgres: Postgres::start() };
        let hba = place.postgres.folder().join("data/pg_hba.conf");
        fs::write(hba, "local all runward trust\nlocal all all scram-sha-256\n").unwrap();
        place.sql("postgres", "select pg_reload_conf()");
        place.sql("postgres", &format!("create role ops superuser login password '{PASSWORD}'"));
        place.sql("postgres", "create database app");
        keep_secret(&place.operator, "pgpass", &format!("*:*:*:*:{PASSWORD}\n"));
        place
    }

    /// 100,000 rows, a table whose name and columns are a trap, and one without rows.
    fn with_rows() -> Place {
        let place = Place::new();
        place.app(
            "create table events (id bigserial primary key, who text, at timestamptz, cost numeric(12, 4), share float8, raw bytea, about jsonb);
             insert into events (who, at, cost, share, raw, about)
               select 'user ' || n % 997, timestamptz '2026-01-01' + n * interval '17 s', n / 7.0, n / 3.0::float8,
                 decode(md5(n::text), 'hex'), jsonb_build_object('n', n, 'text', E'a \"b\" \\\\ \\n備')
               from generate_series(1, 100000) n;
             create table \"it's; drop\ttable\" (runward text, \"t\" text);
             insert into \"it's; drop\ttable\" values ('it''s', E'a\\tb'), (null, '');
             create table nothing (id int)",
        );
        place
    }

    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.postgres.sql(database, sql)
    }

    pub fn app(&self, sql: &str) -> String {
        self.sql("app", sql)
    }

    pub fn target(&self) -> PathBuf {
        self.operator.scene.path("dumps")
    }

    /// How the runbooks reach the server, and what else they are given.
    pub fn params(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let host = self.postgres.folder().display().to_string();
        let given = |name: &str| more.iter().any(|(other, _)| *other == name);
        let own = [("host", host.as_str()), ("user", "ops")].into_iter().filter(|(name, _)| !given(name));
        own.chain(more.iter().copied()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub fn run(&self, code: i32, runbook: &str, more: &[(&str, &str)]) -> Run {
        let params = self.params(more);
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.operator.expect(code, runbook, &params)
    }

    pub fn backup(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let target = self.target().display().to_string();
        let more: Vec<_> = [("target", target.as_str())].into_iter().chain(more.iter().copied()).collect();
        self.run(code, "backup_full", &more)
    }

    fn restore(&self, code: i32, dump: &str, database: &str, more: &[(&str, &str)]) -> Run {
        let more: Vec<_> = [("dump", dump), ("database", database)].into_iter().chain(more.iter().copied()).collect();
        self.run(code, "restore_logical", &more)
    }

    /// Every name in the folder of the dumps.
    fn names(&self) -> Vec<String> {
        names(&self.target())
    }

    fn databases(&self) -> String {
        self.sql(
            "postgres",
            "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate",
        )
    }
}

/// Seals a secret, with a key of this scene.
pub fn keep_secret(operator: &Operator, name: &str, value: &str) {
    let scene = &operator.scene;
    scene.file("runward.toml", format!("[secrets]\nkey-file = \"{}\"\n", scene.path("secrets.key").display()));
    let value = File::open(scene.file("a secret", value)).unwrap();
    let done = finish(scene.runward().args(["secret", "set", name]).stdin(value));
    assert_eq!(done.code, 0, "{}", done.stderr);
    fs::remove_file(scene.path("a secret")).unwrap();
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn digest(path: &Path) -> Vec<u8> {
    Command::new("sha256sum").stdin(File::open(path).unwrap()).output().unwrap().stdout
}

/// What a script of a shell without `pipefail`, as in many a guide, ends with.
fn as_in_the_guides(script: &str, place: &Place) -> i32 {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(place.operator.scene.path(""));
    finish(command.env("PGHOST", place.postgres.folder()).env("PGUSER", "runward")).code
}

#[test]
fn a_dump_of_100_000_rows_comes_back_row_by_row() {
    let place = Place::with_rows();
    let checksums = "select count(*), md5(string_agg(e::text, '|' order by id)), sum(cost) from events e";
    let (before, odd) = (place.app(checksums), "select * from \"it's; drop\ttable\" order by 2");

    let made = place.backup(0, &[]);
    let dump = made.output("publish", "dump");
    let name = dump.rsplit('/').next().unwrap().to_owned();
    let beside = ["", ".sha256", ".tables"].map(|end| format!("{name}{end}"));
    assert_eq!(place.names(), beside, "the dump, its companions, and nothing else");
    let text = Command::new("gzip").arg("-dc").arg(&dump).output().unwrap();
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("CREATE TABLE public.events") && text.contains("PostgreSQL database dump complete"));
    assert_eq!(text.lines().filter(|line| line.contains("user 5")).count(), 11_111, "the rows are in it");
    for step in ["dump", "publish", "verify"] {
        let rows = match step {
            "dump" => "S0-18 S3-33 S3-34",
            "publish" => "S2-26 S3-35",
            _ => "S2-29",
        };
        place.operator.saw(rows, &made, step);
    }
    assert_eq!((made.output("dump", "rows"), made.output("dump", "tables")), ("100002".into(), "3".into()));
    assert!(!made.text.contains(PASSWORD) && !made.show.to_string().contains(PASSWORD));

    let restored = place.restore(0, &dump, "copy", &[]);
    assert_eq!(place.sql("copy", checksums), before);
    assert_eq!(place.sql("copy", odd), place.app(odd));
    assert_eq!(place.sql("copy", "select count(*) from nothing"), "0");
    assert_eq!(place.databases(), "app copy postgres");
    place.operator.saw("S0-20 S3-36 S3-37", &restored, "load");
    place.operator.saw("S2-30 S2-31", &restored, "compare");

    let refused = place.restore(1, &dump, "copy", &[]);
    assert!(refused.text.contains("there is a database copy already"), "{}", refused.text);

    // In place of a database that people are connected to: it is renamed.
    place.app("delete from events");
    let replaced = place.restore(0, &dump, "app", &[("replace", "true")]);
    assert_eq!(place.app(checksums), before);
    let old = replaced.output("name", "before");
    assert_eq!(place.sql(&old, "select count(*) from events"), "0", "what was there is kept");
}

#[test]
fn a_restored_database_sorts_as_the_one_before() {
    let place = Place::new();
    place.sql("postgres", "drop database app");
    let like = "create database app template template0 encoding utf8 locale_provider icu icu_locale 'de-u-co-phonebk'";
    place.sql("postgres", like);
    place.app("create table words (word text); insert into words values ('Ofen'), ('Öl'), ('Odem')");
    let sorted = "select string_agg(word, ' ' order by word) from words";
    assert_eq!(place.app(sorted), "Odem Öl Ofen", "as in a telephone book");
    let dump = place.backup(0, &[]).output("publish", "dump");
    place.restore(0, &dump, "app", &[("replace", "true")]);
    assert_eq!(place.app(sorted), "Odem Öl Ofen");
}

#[test]
fn the_newest_dump_is_proved_by_restoring_it() {
    let place = Place::with_rows();
    let target = place.target().display().to_string();
    let from = [("from", target.as_str())];
    fs::create_dir(place.target()).unwrap();
    assert!(place.run(1, "backup_verify", &from).text.contains("there is no dump of app"));

    let made = place.backup(0, &[]);
    let proved = place.run(0, "backup_verify", &from);
    assert_eq!((proved.output("compare", "rows"), proved.output("compare", "tables")), ("100002".into(), "3".into()));
    assert_eq!(place.databases(), "app postgres", "the copy is gone");
    place.operator.saw("S2-29 S2-31 S2-32 S3-56", &proved, "compare");

    // A dump that is whole, but lacks a row that was in the database.
    let dump = PathBuf::from(made.output("publish", "dump"));
    let shorter = format!(
        "gzip -dc '{0}' | grep -v 'user 5.*備' | gzip > x && mv x '{0}' &&
         cd '{1}' && sha256sum * | grep -v sha256$ > ../x && mv ../x '{0}.sha256'",
        dump.display(),
        target
    );
    assert_eq!(as_in_the_guides(&shorter, &place), 0);
    let wrong = place.run(1, "backup_verify", &from);
    assert!(wrong.text.contains("what was restored is not what was dumped"), "{}", wrong.text);
    assert_eq!(place.databases(), "app postgres");

    // Nobody noticed that no new ones are made.
    File::options().write(true).open(&dump).unwrap().set_modified(SystemTime::now() - 2 * DAY).unwrap();
    let old = place.run(1, "backup_verify", &from);
    assert!(old.text.contains("48 h old: does the backup still run?"), "{}", old.text);
}

#[test]
fn a_damaged_dump_is_refused_and_errors_inside_are_not_swallowed() {
    let place = Place::with_rows();
    let dump = PathBuf::from(place.backup(0, &[]).output("publish", "dump"));
    let (path, whole) = (dump.display().to_string(), fs::read(&dump).unwrap());
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, why) in [(&flipped[..], "damaged or cut short"), (&whole[..whole.len() / 2], "damaged or cut short")] {
        fs::write(&dump, bytes).unwrap();
        let refused = place.restore(1, &path, "copy", &[]);
        assert!(refused.text.contains(why), "{}", refused.text);
        assert_eq!(refused.status("load"), "skipped", "nothing was begun");
    }

    // An error inside, with checksums that are right: psql alone reads on and ends with 0.
    let wrong = "printf '%s\\n' 'create table first (id int);' 'insert into no_such_table values (1);' \
                 'create table last (id int);' '-- PostgreSQL database dump complete' > wrong.sql";
    assert_eq!(as_in_the_guides(wrong, &place), 0);
    place.sql("postgres", "create database guide");
    let guide = "gzip -c wrong.sql > g.gz; gunzip -c g.gz | psql -d guide > /dev/null 2> errors";
    assert_eq!(as_in_the_guides(guide, &place), 0, "the guides' way says that all is well");
    assert!(place.operator.scene.read("errors").contains("no_such_table"));
    assert_eq!(place.sql("guide", "select to_regclass('first') is not null and to_regclass('last') is not null"), "t");

    let replaced = format!(
        "gzip -c wrong.sql > '{path}' && cd '{}' && sha256sum * | grep -v sha256$ > ../x && mv ../x '{path}.sha256'",
        place.target().display()
    );
    assert_eq!(as_in_the_guides(&replaced, &place), 0);
    let failed = place.restore(1, &path, "copy", &[]);
    assert!(failed.text.contains("no_such_table") && failed.text.contains("nothing of it is kept"), "{}", failed.text);
    assert_eq!(place.databases(), "app guide postgres", "nothing is left of it");
}

#[test]
fn a_dump_that_is_killed_in_the_middle_fails_and_the_one_before_stands() {
    let place = Place::with_rows();
    let first = PathBuf::from(place.backup(0, &[]).output("publish", "dump"));
    let (before, stood) = (place.names(), digest(&first));

    // The pipe stands still in the middle, and when pg_dump is dead, gzip ends well with what it had.
    let scene = &place.operator.scene;
    let (reached, go_on) = (scene.path("reached"), scene.path("go on"));
    let gzip = format!(
        "#!/bin/sh\ncase \"$*\" in *d*|-t*) PATH=${{PATH#*:}} exec gzip \"$@\" ;; esac\nPATH=${{PATH#*:}}\n\
         {{ head -c 300000; : > '{}'; while [ ! -e '{}' ]; do sleep 0.05; done; cat; }} | gzip \"$@\"\n",
        reached.display(),
        go_on.display()
    );
    let tools = scene.file("tools/gzip", gzip);
    fs::set_permissions(&tools, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", scene.path("tools").display(), std::env::var("PATH").unwrap());

    let params = place.params(&[("target", place.target().to_str().unwrap())]);
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (mut command, key) = place.operator.command("backup_full", &params);
    let mut backup = command.env("PATH", &path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait("the dump to be under way", || reached.exists());
    let dumps = processes().into_iter().filter(|pid| is_dump(*pid, place.postgres.folder()));
    let killed = dumps.map(|pid| nix::sys::signal::kill(pid_of(pid), nix::sys::signal::Signal::SIGKILL).unwrap());
    assert_eq!(killed.count(), 1);
    fs::write(&go_on, "").unwrap();
    assert_eq!(backup.wait().unwrap().code(), Some(1));
    let run = place.operator.look(&key);
    assert_eq!(run.status("dump"), "failed");
    let said = finish(scene.runward().args(["logs", &key, "dump"]));
    assert!((said.stdout + &said.stderr).contains("ended with the exit codes 137 0"), "gzip was content");
    assert_eq!(
        (place.names(), digest(&first)),
        (before, stood),
        "the dump of before stands, and there is nothing else"
    );
    assert_eq!(run.status("clean"), "succeeded");

    assert_eq!(as_in_the_guides("pg_dump no_such_database 2> why | gzip > guide.sql.gz", &place), 0, "the guides' way");
    assert!(scene.read("why").contains("no_such_database"));
}

/// A pg_dump that asks this server.
fn is_dump(pid: u32, host: &Path) -> bool {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let host = format!("PGHOST={}", host.display()).into_bytes();
    read("comm").starts_with(b"pg_dump") && read("environ").split(|byte| *byte == 0).any(|it| it == host)
}

fn pid_of(pid: u32) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(pid.try_into().unwrap())
}

#[test]
fn a_disk_that_takes_no_more_leaves_the_old_dump() {
    let place = Place::new();
    place.app("create table big (x bytea); insert into big values ('small')");
    let first = PathBuf::from(place.backup(0, &[]).output("publish", "dump"));
    let (before, stood) = (place.names(), digest(&first));
    // 11 MB that cannot be compressed, where a file may have 9.
    place.app(
        "insert into big select decode(string_agg(md5(n::text || m::text), ''), 'hex')
         from generate_series(1, 700) n, generate_series(1, 1000) m group by n",
    );
    let params = place.params(&[("target", place.target().to_str().unwrap())]);
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (command, key) = place.operator.command("backup_full", &params);
    let mut limited = Command::new("prlimit");
    limited.arg("--fsize=9000000").arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().unwrap());
    command.get_envs().for_each(|(name, value)| match value {
        Some(value) => drop(limited.env(name, value)),
        None => drop(limited.env_remove(name)),
    });
    let done = finish(&mut limited);
    assert_eq!(done.code, 1, "{}{}", done.stdout, done.stderr);
    assert_eq!(place.operator.look(&key).status("dump"), "failed");
    assert_eq!((place.names(), digest(&first)), (before, stood), "the old one stands, and nothing half");
}

#[test]
fn dumps_are_deleted_after_seven_times_24_hours_and_not_on_the_eighth_day() {
    let place = Place::new();
    place.app("create table few (id int)");
    fs::create_dir(place.target()).unwrap();
    let now = SystemTime::now();
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600);
    let others = ["app-notes.sql.gz", "app-20260101T000000Z.sql", "app_other-20260101T000000Z.sql.gz"];
    let old = "app-20260101T000000Z.sql.gz";
    let young = "app-20260102T000000Z.sql.gz";
    for (name, age) in others.iter().map(|name| (*name, 1000)).chain([(old, 7 * 24 + 1), (young, 7 * 24 - 1)]) {
        for file in [name.to_owned(), format!("{name}.sha256")] {
            let file = File::create(place.target().join(file)).unwrap();
            file.set_modified(now - hours(age)).unwrap();
        }
    }
    let guide = format!("find '{}' -name '{old}' -mtime +7 | grep -c . > found", place.target().display());
    assert_eq!(as_in_the_guides(&guide, &place), 1, "the guides' way finds nothing on the eighth day");

    let run = place.backup(0, &[]);
    let names = place.names();
    assert!(!names.iter().any(|name| name.starts_with(old)), "{names:?}");
    assert!(
        names.contains(&format!("{young}.sha256")) && others.iter().all(|name| names.contains(&(*name).to_owned()))
    );
    place.operator.saw("S0-19", &run, "prune");

    thread::sleep(Duration::from_secs(1)); // a dump is named by its second, and none takes the place of another
    let few = place.backup(0, &[("keep_count", "1")]);
    let left: Vec<_> =
        place.names().into_iter().filter(|name| name.ends_with("Z.sql.gz") && !name.contains("other")).collect();
    assert_eq!(left, [few.output("publish", "file")]);
}

#[test]
fn whoever_may_not_read_everything_makes_no_dump() {
    let place = Place::with_rows();
    place.sql("postgres", &format!("create role weak login password '{PASSWORD}'"));
    let refused = place.backup(1, &[("user", "weak")]);
    assert!(refused.text.contains("may not read 3 tables: grant pg_read_all_data"), "{}", refused.text);
    assert!(place.names().is_empty());
    place.sql("postgres", "grant pg_read_all_data to weak");
    place.backup(0, &[("user", "weak")]);

    keep_secret(&place.operator, "pgpass", "*:*:*:*:wrong one\n");
    let refused = place.backup(1, &[]);
    assert!(refused.text.contains("cannot be reached as ops"), "{}", refused.text);
}

#[test]
fn it_is_made_every_night_by_its_schedule() {
    let place = Place::new();
    let listed = finish(place.operator.scene.runward().current_dir(repository()).args([
        "schedules",
        "show",
        "backup_full/nightly",
    ]));
    assert!(listed.stdout.contains("at 01:30 every day"), "{}{}", listed.stdout, listed.stderr);
}
