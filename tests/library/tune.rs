//! Indexes made while everybody works, and settings that are taken back where they cannot be.

use std::process::{Child, Command, Stdio};

use crate::dumps::Place;
use crate::harness::wait;
use crate::operator::Run;

const INDEXES: &str = r#"[
    {"name": "experiments_status", "table": "experiments", "columns": ["status"]},
    {"name": "events_of_user", "table": "events", "columns": ["user_id", "experiment_id"]},
    {"name": "assignments_of_user", "table": "user_assignments", "columns": ["user_id"]}]"#;

impl Place {
    fn with_events() -> Place {
        let place = Place::new();
        place.app(
            "create table experiments (id int, status text); create table user_assignments (user_id int, experiment_id int);
             create table events (user_id int, experiment_id int, at timestamptz default now());
             insert into experiments select n, 'status ' || n from generate_series(1, 20000) n;
             insert into user_assignments select n, n % 7 from generate_series(1, 20000) n;
             insert into events select n % 5000, n % 17 from generate_series(1, 50000) n",
        );
        place
    }

    fn tune(&self, code: i32, more: &[(&str, &str)]) -> Run {
        self.run(code, "tune_postgres", more)
    }

    fn plan(&self, query: &str) -> String {
        self.app(&format!("explain {query}"))
    }

    fn indexes(&self) -> String {
        self.app("select string_agg(indexname, ' ' order by indexname) from pg_indexes where schemaname = 'public'")
    }

    /// Somebody who has begun to write to a table, and is not done.
    fn writer(&self) -> Child {
        let mut command = Command::new("psql");
        command.args(["-XqU", "runward", "-d", "app", "-h"]).arg(self.postgres.folder());
        let mut writer = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(writer.stdin.as_mut().unwrap(), b"begin; insert into events values (-1, -1);\n")
            .unwrap();
        wait("the transaction to begin", || {
            self.app("select count(*) from pg_stat_activity where state = 'idle in transaction'") == "1"
        });
        writer
    }

    /// Whether somebody else can write meanwhile.
    fn others_write(&self) -> bool {
        self.postgres.ask("app", "set lock_timeout = '2s'; insert into events values (-2, -2)").is_ok()
    }

    fn builds(&self) -> bool {
        self.app("select count(*) from pg_stat_activity where query ilike 'create index%' and wait_event_type = 'Lock'")
            == "1"
    }
}

fn commit(mut writer: Child) {
    drop(writer.stdin.take());
    writer.wait().unwrap();
}

#[test]
fn indexes_are_made_while_everybody_writes_and_are_used() {
    let place = Place::with_events();
    assert!(place.plan("select * from events where user_id = 7 and experiment_id = 7").contains("Seq Scan"));

    // As the guides have it, one transaction that is open is enough to hold up every write.
    let writer = place.writer();
    let mut psql = Command::new("psql");
    psql.args(["-XqU", "runward", "-d", "app", "-c", "create index guides on events (at)", "-h"]);
    let mut guides = psql.arg(place.postgres.folder()).stderr(Stdio::null()).spawn().unwrap();
    wait("it to wait", || place.builds());
    assert!(!place.others_write(), "everybody waits behind CREATE INDEX");
    place.app("select pg_cancel_backend(pid) from pg_stat_activity where query ilike 'create index%'");
    guides.wait().unwrap();

    let params = place.params(&[("indexes", INDEXES)]);
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (mut driver, name) = place.operator.start("tune_postgres", &params);
    wait("the build to wait for the writer", || place.builds());
    assert!(place.others_write(), "nobody else waits");
    commit(writer);
    assert!(driver.wait().unwrap().success());
    let run = place.operator.look(&name);

    for (query, index) in [
        ("select * from experiments where status = 'status 7'", "experiments_status"),
        ("select * from events where user_id = 7 and experiment_id = 7", "events_of_user"),
        ("select * from user_assignments where user_id = 7", "assignments_of_user"),
    ] {
        assert!(place.plan(query).contains(index), "{}", place.plan(query));
    }
    assert_eq!(run.output("indexes", "used"), "[true,true,true]");
    place.operator.saw("S0-21 S1-28 S3-24", &run, "indexes");
    let again = place.tune(0, &[("indexes", INDEXES)]);
    assert_eq!(again.output("indexes", "made"), "[false,false,false]", "once is enough");
}

#[test]
fn what_is_broken_is_made_anew_and_what_is_another_index_is_left_alone() {
    let place = Place::with_events();
    // A build that waits for a writer, and is cancelled.
    let writer = place.writer();
    let mut psql = Command::new("psql");
    let sql = "create index concurrently events_of_user on events (user_id, experiment_id)";
    psql.args(["-XqU", "runward", "-d", "app", "-c", sql, "-h"]).arg(place.postgres.folder());
    let mut cut_off = psql.stderr(Stdio::null()).spawn().unwrap();
    wait("it to wait", || place.builds());
    place.app("select pg_cancel_backend(pid) from pg_stat_activity where query ilike 'create index%'");
    cut_off.wait().unwrap();
    commit(writer);
    let valid = "select indisvalid from pg_index where indexrelid = 'events_of_user'::regclass";
    assert_eq!(place.app(valid), "f", "`if not exists` would take this for the index");
    place.tune(0, &[("indexes", INDEXES)]);
    assert_eq!(place.app(valid), "t");

    // Another index of that name; the one that this run made before goes again, with the settings.
    let indexes = r#"[{"name": "events_at", "table": "events", "columns": ["at"]},
                      {"name": "experiments_status", "table": "events", "columns": ["at"]}]"#;
    let before = place.indexes();
    place.app("create index concurrently taken on experiments (id)");
    let refused = place.tune(
        6,
        &[(
            "indexes",
            &indexes.replace("experiments_status", "taken").replace(
                "\"table\": \"events\", \"columns\": [\"at\"]}]",
                "\"table\": \"experiments\", \"columns\": [\"status\"]}]",
            ),
        )],
    );
    assert!(refused.text.contains("that is another one"), "{}", refused.text);
    place.app("drop index taken");
    assert_eq!(place.indexes(), before, "nothing of it is left");

    for (indexes, why) in [
        (r#"[{"name": "x", "table": "evnts", "columns": ["at"]}]"#, "there is no table evnts"),
        (r#"[{"name": "x", "table": "events", "columns": ["when"]}]"#, "has no column when"),
        (r#"[{"name": "x", "table": "events; drop table events", "columns": ["at"]}]"#, "invalid name syntax"),
    ] {
        let refused = place.tune(1, &[("indexes", indexes)]);
        assert!(refused.text.contains(why), "{}", refused.text);
    }
}

#[test]
fn settings_are_in_force_or_as_they_were() {
    let place = Place::with_events();
    place.app("alter system set work_mem = '3MB'");
    let run = place.tune(0, &[("settings", r#"{"work_mem": "16MB", "random_page_cost": "1.1"}"#)]);
    assert_eq!((place.app("show work_mem"), place.app("show random_page_cost")), ("16MB".into(), "1.1".into()));
    place.operator.saw("S2-53", &run, "settings");

    let refused = place.tune(1, &[("settings", r#"{"work_mem": "1MB", "shared_buffers": "1GB"}"#)]);
    assert!(refused.text.contains("shared_buffers takes a restart"), "{}", refused.text);
    let failed = place.tune(1, &[("settings", r#"{"maintenance_work_mem": "32MB", "work_mem": "lots"}"#)]);
    assert!(failed.text.contains("all of them are as before"), "{}", failed.text);
    assert_eq!((place.app("show work_mem"), place.app("show maintenance_work_mem")), ("16MB".into(), "64MB".into()));

    // In force for nobody who matters: the role has one of its own.
    place.app("alter role ops set work_mem = '7MB'");
    let taken_back = place.tune(6, &[("settings", r#"{"work_mem": "5MB"}"#)]);
    assert!(taken_back.text.contains("a setting of its own"), "{}", taken_back.text);
    assert_eq!(place.app("show work_mem"), "16MB");

    // A list of names is no name with a comma in it, and back it is what it was.
    place.tune(0, &[("settings", r#"{"search_path": "\"$user\", app, public", "temp_tablespaces": ""}"#)]);
    assert_eq!(place.app("show search_path"), "\"$user\", app, public");
    place.tune(0, &[("settings", r#"{"session_preload_libraries": "auto_explain, plpgsql"}"#)]);
    assert_eq!(place.app("show session_preload_libraries"), "auto_explain, plpgsql");
    let refused = place.tune(6, &[("settings", r#"{"search_path": "app", "work_mem": "5MB"}"#)]);
    assert!(refused.text.contains("a setting of its own"), "{}", refused.text);
    assert_eq!(place.app("show search_path"), "\"$user\", app, public");

    // With a library that is not there nobody could connect any more, not even who takes it back.
    let locked = place.tune(1, &[("settings", r#"{"session_preload_libraries": "auto_explian"}"#)]);
    assert!(locked.text.contains("nobody could connect any more"), "{}", locked.text);
    assert_eq!(place.app("show session_preload_libraries"), "auto_explain, plpgsql");
}
