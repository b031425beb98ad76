//! The care of a database: what is looked at every day, what is put in order every week and month.

use std::fs;
use std::process::{Command, Stdio};

use crate::dumps::Place;
use crate::harness::{finish, repository, wait};
use crate::operator::Run;

impl Place {
    fn care(&self, code: i32, runbook: &str, more: &[(&str, &str)]) -> Run {
        let dumps = self.target().display().to_string();
        let host = self.postgres.folder().display().to_string();
        let own = match runbook {
            "maintenance_daily" => vec![("dumps", dumps.as_str())],
            "maintenance_weekly" => vec![("dumps", dumps.as_str()), ("scratch_host", &host)],
            _ => vec![],
        };
        self.run(code, runbook, &own.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// A session that begins a transaction and stays in it.
    fn idle_in_transaction(&self) -> std::process::Child {
        let mut command = Command::new("psql");
        command.args(["-U", "runward", "-d", "app", "-h"]).arg(self.postgres.folder());
        let mut session = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(session.stdin.as_mut().unwrap(), b"begin; lock table items;\n").unwrap();
        wait("the transaction to begin", || {
            self.app("select count(*) from pg_stat_activity where state = 'idle in transaction'") == "1"
        });
        session
    }
}

#[test]
fn every_morning_it_is_said_what_is_wrong() {
    let place = Place::new();
    place
        .app("create table items (n int, text text); insert into items select n, 'x' from generate_series(1, 20000) n");
    place.app("alter table items set (autovacuum_enabled = false)");
    place.app("delete from items where n % 2 = 0");

    // Everything that is wrong at once, and the care is taken nevertheless.
    let mut session = place.idle_in_transaction();
    let bad = place.care(1, "maintenance_daily", &[("max_query", "1ms"), ("max_connections_percent", "1")]);
    for wrong in ["connections are in use", "transactions take too long", "there is no dump of app"] {
        assert!(bad.text.contains(wrong), "{wrong}: {}", bad.text);
    }
    assert_eq!((bad.status("judge"), bad.status("vacuum")), ("failed".into(), "succeeded".into()));
    drop(session.stdin.take());
    session.wait().unwrap();

    place.backup(0, &[]);
    place.app("delete from items where n % 3 = 0");
    wait("the statistics to know", || place.app("select n_dead_tup > 1000 from pg_stat_user_tables") == "t");
    let good = place.care(0, "maintenance_daily", &[]);
    let clean =
        "select n_dead_tup = 0 and last_vacuum is not null and last_analyze is not null from pg_stat_user_tables";
    wait("the statistics to know", || place.app(clean) == "t");
    assert_eq!(good.output("vacuum", "tables"), "1");
    place.operator.saw("S3-26", &good, "vacuum");
    assert_eq!(good.output("connections", "limit"), place.app("show max_connections"));
    place.operator.saw("S2-42", &good, "connections");
    assert_eq!(good.output("queries", "long"), "0");
    assert_eq!((bad.output("queries", "long"), good.status("queries")), ("1".into(), "succeeded".into()));
    place.operator.saw("S2-42", &good, "queries");
    let bytes: u64 = place.app("select pg_database_size('app')").parse().unwrap();
    assert!(good.output("space", "bytes").parse::<u64>().unwrap().abs_diff(bytes) < bytes / 2);
    place.operator.saw("S2-42", &good, "space");
    place.operator.saw("S2-42", &good, "backup");
}

#[test]
fn every_week_the_backup_is_proved_and_expired_rows_go() {
    let place = Place::new();
    place.app(
        "create table events (n int, created_at timestamptz); create table \"odd name\" (created_at timestamptz);
         insert into events select n, now() - n * interval '1 day' from generate_series(1, 200) n; -- the 90th is a moment too old
         insert into \"odd name\" select now() - interval '1 year'",
    );
    place.backup(0, &[]);
    let week = place.care(
        0,
        "maintenance_weekly",
        &[("expire", r#"{"events": "90 days", "\"odd name\"": "30 days"}"#), ("batch", "7")],
    );
    assert_eq!(place.app("select count(*), min(now() - created_at) < interval '2 days' from events"), "89|t");
    assert_eq!(place.app("select count(*) from \"odd name\""), "0");
    assert_eq!(week.output("expire", "deleted"), "112");
    place.operator.saw("S1-28", &week, "expire");
    assert!(week.text.contains("backup/compare | 2 tables have their rows and their checksums"), "{}", week.text);
    place.operator.saw("S3-56", &week, "backup");
    wait("the statistics to know", || {
        place.app("select count(*) from pg_stat_user_tables where last_vacuum is not null and last_analyze is not null")
            == "2"
    });
    place.operator.saw("S0-21 S3-26", &week, "vacuum");

    let typo = place.care(1, "maintenance_weekly", &[("expire", r#"{"evnts": "90 days"}"#)]);
    assert!(typo.text.contains("there is no table evnts"), "{}", typo.text);
    place.app("create table \"without a time\" (n int, created_at text)");
    let undated = r#"{"events": "1 day", "\"without a time\"": "90 days"}"#;
    let refused = place.care(1, "maintenance_weekly", &[("expire", undated)]);
    assert!(refused.text.contains("has no column created_at with a time: nothing was deleted"), "{}", refused.text);
    assert_eq!(place.app("select count(*) from events"), "89", "of no table");
    let hostile = r#"{"events; drop table events": "90 days"}"#;
    place.care(1, "maintenance_weekly", &[("expire", hostile)]);
    assert_eq!(place.app("select count(*) from events"), "89");

    // In a partitioned table the same place in each partition is another row; and what has no unit is not guessed at.
    place.app(
        "create table parts (n int, created_at timestamptz) partition by range (created_at);
         create table p1 partition of parts for values from (minvalue) to ('2020-01-01');
         create table p2 partition of parts for values from ('2020-01-01') to (maxvalue);
         insert into parts select n, '2019-01-01' from generate_series(1, 10) n;
         insert into parts select n, now() from generate_series(1, 10) n",
    );
    for after in ["90", "\"90\"", "\"3 m\"", "\"-1 day\""] {
        let refused = place.care(1, "maintenance_weekly", &[("expire", &format!("{{\"parts\": {after}}}"))]);
        assert!(refused.text.contains("say it as '90 days'"), "{after}: {}", refused.text);
    }
    place.care(0, "maintenance_weekly", &[("expire", r#"{"parts": "90 days"}"#)]);
    assert_eq!(place.app("select count(*), min(created_at) > now() - interval '1 day' from parts"), "10|t");
}

#[test]
fn every_month_indexes_are_rebuilt_and_partitions_made() {
    let place = Place::new();
    place.app(
        "create table events (at date, n int) partition by range (at);
         create table items (n int, text text); create index items_text on items (text);
         insert into items select n, md5(n::text) from generate_series(1, 60000) n;
         delete from items where n > 3000",
    );
    place.app("vacuum analyze items");
    // An earlier rebuild was cut off, and left what it had.
    place.app(
        "create table words (word text); insert into words values ('one');
         create function own(word text) returns text immutable language plpgsql as $$ begin
           if current_setting('own.fails', true) = 'on' then raise 'cut off'; end if; return word; end $$;
         create index words_own on words (own(word)); alter database app set own.fails = 'on'",
    );
    place.postgres.ask("app", "reindex index concurrently words_own").unwrap_err();
    place.app("alter database app reset own.fails");
    let left =
        || place.app("select string_agg(relname, ' ' order by relname) from pg_class where relname ~ '^words_own'");
    assert_eq!(left(), "words_own words_own_ccnew");
    let size = || place.app("select pg_relation_size('items_text')").parse::<u64>().unwrap();
    let before = size();
    let sizes = place.operator.scene.path("sizes/app.tsv").display().to_string();
    let params = [("partitioned", "events"), ("sizes", sizes.as_str())];
    let month = place.care(0, "maintenance_monthly", &params);
    let partition = place.app("select 'events' || to_char(now() + interval '1 month', '_YYYY_MM')");
    place.app("insert into events select date_trunc('month', now() + interval '1 month')::date");
    assert_eq!(place.app(&format!("select count(*) from {partition}")), "1");
    place.operator.saw("S3-25", &month, "partitions");
    assert!(size() * 4 < before, "{before} bytes, now {}", size());
    assert_eq!((month.output("reindex", "rebuilt").as_str(), left().as_str()), ("1", "words_own"));
    place.operator.saw("S3-26", &month, "reindex");
    assert_eq!(fs::read_to_string(&sizes).unwrap().lines().count(), 1);

    let again = place.care(0, "maintenance_monthly", &params);
    assert_eq!(again.output("reindex", "rebuilt"), "0", "once is enough");
    assert_eq!(fs::read_to_string(&sizes).unwrap().lines().count(), 2);
}

#[test]
fn the_schedules_are_those_of_their_names() {
    let place = Place::new();
    for (name, due) in [
        ("maintenance_daily/morning", "at 06:15 every day"),
        ("maintenance_weekly/sunday", "at 04:00 on Sunday"),
        ("maintenance_monthly/first", "at 05:00 on day 1 of the month"),
        ("maintenance_quarterly/quarterly", "`0 4 2 1,4,7,10 *`"),
        ("maintenance_yearly/yearly", "at 10:00 on day 1 of January"),
        ("dr_drill/quarterly", "`0 10 1 4,7,10 *`"),
        ("backup_files/nightly", "at 02:45 every day"),
    ] {
        let shown = finish(place.operator.scene.runward().current_dir(repository()).args(["schedules", "show", name]));
        assert!(shown.stdout.contains(due), "{name}: {}{}", shown.stdout, shown.stderr);
    }
}
