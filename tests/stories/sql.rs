//! `sql` steps on a real Postgres and real SQLite files: what arrives, what comes back, what is undone.

use std::process::Command;

use runward_services::{Postgres, Proxy, Reaches, Signal};
use serde_json::{Value, json};

use crate::harness::{Done, Scene, finish, kill_9, step_of, wait};

/// A scene with a database `app` that is configured as the connection `app`.
pub fn with_postgres(postgres: &Postgres) -> Scene {
    let scene = Scene::new();
    scene.file("runward.toml", format!("[connections.app]\nurl = \"{}\"\n", postgres.database("app")));
    scene
}

fn with_sqlite() -> Scene {
    let scene = Scene::new();
    scene.file("runward.toml", "[connections.app]\nurl = \"sqlite:app.db?mode=rwc\"\n");
    scene
}

/// What the file says now.
fn sqlite(scene: &Scene, sql: &str) -> String {
    let done = Command::new("sqlite3").arg(scene.path("app.db")).arg(sql).output().expect("sqlite3 can be started");
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim_end().to_owned()
}

/// A runbook of one step `ask` with this query.
fn one(params: &str, sql: &str) -> String {
    format!(
        "name: one\nparams: {params}\nsteps:\n  - id: ask\n    sql:\n      connection: app\n      {}\n",
        sql.replace('\n', "\n      ")
    )
}

pub fn ask(scene: &Scene, code: i32, params: &str, sql: &str) -> (Value, Done) {
    scene.file("one.yaml", one(params, sql));
    let done = scene.expect(code, &["run", "one.yaml"]);
    (step_of(&scene.last(), "ask"), done)
}

#[test]
fn values_are_bound_by_the_type_of_their_place_and_rows_come_back_with_theirs() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    postgres.sql(
        "app",
        "create type mood as enum ('ok', 'bad'); create table t (id int primary key, at timestamptz, who uuid, doc jsonb, up bool, \
         price numeric(10,2), tags text[], mood mood, raw bytea, note text)",
    );
    let params = "{id: {type: int, default: 7}, at: {default: '2026-11-22 02:30:00+01'}, who: {default: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'}, \
                  doc: {type: map, default: {a: [1, null]}}, tags: {type: list, default: ['a\"b', 'NULL', 'c\\d']}, note: {default: \"it's; -- $1 \\\\ 备\"}}";
    let (step, _) = ask(
        &scene,
        0,
        params,
        "query: |\n  insert into t values (${{ params.id }}, ${{ params.at }}, ${{ params.who }}, ${{ params.doc }}, ${{ params.id > 3 }}, 1.10,\n    \
         ${{ params.tags }}, ${{ 'ok' }}, ${{ params.note }}, ${{ params.note }});\n  select *, id::bigint as big, 0.5::float8 as half, null as nothing from t where id = ${{ params.id }}\n    \
         and tags = ${{ params.tags }} and who = any(${{ [params.who] }})\nexpect: {rows: 1, value: '${{ params.id }}'}",
    );
    assert_eq!(
        step["outputs"]["rows"],
        json!([{
            "id": 7, "at": "2026-11-22T01:30:00Z", "who": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "doc": {"a": [1, null]}, "up": true,
            "price": "1.10", "tags": ["a\"b", "NULL", "c\\d"], "mood": "ok", "raw": "\\x697427733b202d2d202431205c20e5a487",
            "note": "it's; -- $1 \\ 备", "big": 7, "half": 0.5, "nothing": null,
        }])
    );
    assert_eq!(
        (&step["outputs"]["row_count"], &step["outputs"]["value"], &step["outputs"]["truncated"]),
        (&json!(1), &json!(7), &json!(false))
    );
    assert_eq!(postgres.sql("app", "select note from t"), "it's; -- $1 \\ 备");
}

#[test]
fn sqlite_binds_and_reads_what_it_stores() {
    let scene = with_sqlite();
    let params =
        "{n: {type: int, default: 9007199254740993}, t: {default: \"it's; ?1 备\"}, l: {type: list, default: [1, 3]}}";
    let (step, done) = ask(
        &scene,
        0,
        params,
        "query: |\n  create table t (n integer, f real, t text, b blob, z, up bool);\n  insert into t values (${{ params.n }}, ${{ 0.5 }}, ${{ params.t }}, x'00ff', null, ${{ true }}), (1, 1, 'x', null, 2, 0);\n  \
         select * from t where t = ${{ params.t }} or n in (select value from json_each(${{ params.l | json }}))\nexpect: {rows: 2}",
    );
    assert_eq!(
        step["outputs"]["rows"],
        json!([
            {"n": 9_007_199_254_740_993_i64, "f": 0.5, "t": "it's; ?1 备", "b": "\\x00ff", "z": null, "up": 1},
            {"n": 1, "f": 1.0, "t": "x", "b": null, "z": 2, "up": 0},
        ])
    );
    assert!(done.stdout.contains("statement 2: 2 rows in "), "{}", done.stdout);
    assert_eq!(sqlite(&scene, "select count(*) from t"), "2");
}

#[test]
fn what_cannot_be_meant_is_refused_when_the_file_is_checked() {
    for (sql, why) in [
        ("query: select '${{ params.x }}'", "inside a quoted text"),
        ("query: select * from ${{ params.x }}", "a value cannot be one"),
        ("query: 'select 1; commit; select ${{ params.x }}'", "runward itself begins and ends"),
        ("query: select ${{ params.y }}, ${{ params.x }}", "not a parameter"),
        ("query: select ${{ params.x }}\ntimeout: 20m", "the step times out after"),
        ("query: select ${{ params.x }}\nexpct: 1", "did you mean `expect`"),
        ("query: select ${{ params.x }}\nexpect: {rows: -1}", "rows"),
        ("qery: select ${{ params.x }}", "did you mean `query`"),
    ] {
        let scene = Scene::new();
        scene.file("one.yaml", one("{x: {default: a}}", sql));
        let done = scene.expect(2, &["validate", "one.yaml"]);
        assert!(done.stderr.contains(why) && done.stderr.contains("one.yaml:"), "{sql}:\n{}", done.stderr);
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_name_and_nothing_is_changed() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    postgres.sql("app", "create table t (n int, k text unique)");
    let params = "{x: {default: abc}, l: {type: list, default: [1]}, m: {type: map, default: {a: 1}}}";
    for (query, why) in [
        (
            "select * from t where n = ${{ params.x }}",
            "the value of `params.x` does not fit its place, which takes integer: invalid input syntax",
        ),
        ("select * from t where n in (${{ params.l }})", "write `= any("),
        ("select * from t where k = ${{ params.m }}", "write `${{ ... | json }}`"),
        ("selct ${{ params.x }}", "syntax error at or near \"selct\" [42601]"),
        ("select * from t where k = ${{ params.x }} and\\n  nope = 1", "in its line 2"),
        ("select * from nowhere where k = ${{ params.x }}", "\"nowhere\" does not exist"),
        ("insert into t values (1, 'a'), (2, 'a')", "(k)=(a) already exists"),
        ("insert into t values (1, 'a'); insert into t values ('x', 'b')", "statement 2: invalid input syntax"),
        ("select 1 as a, 2 as a", "two columns are called `a`"),
        ("select '(1,2)'::point", "write `...::text as point`"),
        ("vacuum", "let a `run` step do it with `psql`"),
        ("select interval ${{ params.x }}", "$1 is `${{ params.x }}`"),
    ] {
        scene.file("one.yaml", format!("params: {params}\nsteps:\n  - {{id: ask, sql: {{connection: app, query: \"{}\"}}}}\n  - run: echo ${{{{ params.x }}}} ${{{{ params.l | json }}}} ${{{{ params.m | json }}}}\n", query.replace('"', "\\\"")));
        let done = scene.expect(1, &["run", "one.yaml"]);
        assert!(done.stdout.contains(why), "{query}: {}", done.stdout);
    }
    assert_eq!(postgres.sql("app", "select count(*) from t"), "0");
}

#[test]
fn what_was_expected_and_did_not_come_is_rolled_back() {
    let postgres = Postgres::start();
    let (server, file) = (with_postgres(&postgres), with_sqlite());
    postgres.sql("app", "create table t (n int); insert into t values (1), (2), (3)");
    sqlite(&file, "create table t (n int); insert into t values (1), (2), (3)");
    for scene in [&server, &file] {
        let (_, done) = ask(scene, 1, "{}", "query: delete from t where n > 1\nexpect: {rows: 1}");
        assert!(
            done.stdout.contains("expected 1 row, got 2 rows: rolled back, nothing was changed"),
            "{}",
            done.stdout
        );
        let (_, done) = ask(scene, 1, "{}", "query: delete from t; select count(*) from t\nexpect: {value: 1}");
        assert!(done.stdout.contains("expected the value 1, got 0"), "{}", done.stdout);
        let (step, _) = ask(scene, 0, "{}", "query: delete from t where n > 1\nexpect: {rows: 2}");
        assert_eq!(step["outputs"]["row_count"], 2);
    }
    assert_eq!((postgres.sql("app", "select n from t"), sqlite(&file, "select n from t")), ("1".into(), "1".into()));
}

#[test]
fn a_read_only_step_changes_nothing_whatever_it_tries() {
    let postgres = Postgres::start();
    let (server, file) = (with_postgres(&postgres), with_sqlite());
    postgres.sql("app", "create table t (n int)");
    sqlite(&file, "create table t (n int)");
    for query in [
        "insert into t values (1)",
        "set transaction read write; insert into t values (1)",
        "set transaction_read_only = off; insert into t values (1)",
    ] {
        let (_, done) = ask(&server, 1, "{}", &format!("query: {query}\nread-only: true"));
        assert!(done.stdout.contains("read-"), "{}", done.stdout);
    }
    for query in ["insert into t values (1)", "pragma query_only = off; insert into t values (1)"] {
        let (_, done) = ask(&file, 1, "{}", &format!("query: {query}\nread-only: true"));
        assert!(done.stdout.contains("the step or its connection is read-only"), "{}", done.stdout);
    }
    let (step, _) = ask(&file, 0, "{}", "query: select count(*) from t\nread-only: true");
    assert_eq!(step["outputs"]["value"], 0);
    assert_eq!(postgres.sql("app", "select count(*) from t"), "0");
}

#[test]
fn a_statement_that_takes_too_long_is_cancelled_in_the_database() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    postgres.sql("app", "create table t (n int)");
    let (_, done) = ask(&scene, 1, "{}", "query: insert into t values (1); select pg_sleep(600)\ntimeout: 2s");
    assert!(
        done.stdout.contains("the statement took longer than 2.0 s and was cancelled, nothing was changed"),
        "{}",
        done.stdout
    );
    assert_eq!(postgres.sql("app", "select count(*) from t"), "0");
    assert_eq!(sleepers(&postgres), "0");
    let file = with_sqlite();
    let (_, done) = ask(&file, 1, "{}", &format!("query: create table t (n int); {ENDLESS}\ntimeout: 2s"));
    assert!(done.stdout.contains("the statement took longer than 2.0 s"), "{}", done.stdout);
    assert_eq!(sqlite(&file, "select count(*) from sqlite_schema"), "0");
}

const ENDLESS: &str = "with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c";

/// Servers' processes that still sleep for us.
fn sleepers(postgres: &Postgres) -> String {
    postgres.sql(
        "postgres",
        "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and wait_event = 'PgSleep'",
    )
}

#[test]
fn a_cancelled_step_leaves_no_query_behind_and_nothing_done() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    postgres.sql("app", "create table t (n int)");
    scene.file("one.yaml", one("{}", "query: insert into t values (1); select pg_sleep(600)"));
    let mut run = scene.start(&["run", "one.yaml"]);
    wait("the query runs", || sleepers(&postgres) == "1");
    scene.expect(0, &["cancel", "last"]);
    run.wait().unwrap();
    assert_eq!(sleepers(&postgres), "0");
    assert_eq!(postgres.sql("app", "select count(*) from t"), "0");
    assert_eq!(step_of(&scene.last(), "ask")["status"], "cancelled");
    let log = scene.expect(0, &["logs", "last", "ask", "--raw"]).stdout;
    assert!(log.contains("the statement was cancelled"), "{log}");
}

/// `kill -9` of the program that carries the step out.
fn kill_step(scene: &Scene) {
    let step = crate::harness::processes().into_iter().find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("__step") && line.contains(&*scene.path("").to_string_lossy())
    });
    let step = nix::unistd::Pid::from_raw(step.unwrap() as i32);
    nix::sys::signal::kill(step, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_step_that_is_killed_leaves_no_query_behind() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    scene.file("one.yaml", one("{}", "query: select pg_sleep(600)"));
    let mut run = scene.start(&["run", "one.yaml"]);
    wait("the query runs", || sleepers(&postgres) == "1");
    kill_step(&scene);
    assert_eq!(run.wait().unwrap().code(), Some(1));
    wait("the server has noticed", || sleepers(&postgres) == "0");
}

#[test]
fn the_death_of_the_driver_is_none_of_the_step() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    postgres.sql("app", "create table t (n int); create table go (n int)");
    let query = "query: |\n  insert into t values (1);\n  do $$ begin while not exists (select 1 from go) loop perform pg_sleep(0.02); end loop; end $$";
    scene.file("one.yaml", one("{}", query));
    let mut run = scene.start(&["run", "one.yaml"]);
    let waits = "select count(*) from pg_stat_activity where application_name = 'runward ask' and state = 'active'";
    wait("it waits", || postgres.sql("postgres", waits) == "1");
    kill_9(&mut run);
    postgres.sql("app", "insert into go values (1)");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(postgres.sql("app", "select count(*) from t"), "1");
    assert_eq!(step_of(&scene.last(), "ask")["attempts"], 1);
}

/// A database whose COMMIT takes for ever: a trigger runs in it, and waits there.
fn slow_to_commit(postgres: &Postgres) {
    postgres.sql(
        "app",
        "create table t (n int); create function hold() returns trigger language plpgsql as $$ begin perform pg_sleep(600); return null; end \
         $$; create constraint trigger late after insert on t deferrable initially deferred for each row execute function hold()",
    );
}

fn commits(postgres: &Postgres) -> bool {
    let sql = "select count(*) from pg_stat_activity where query = 'COMMIT' and state = 'active'";
    postgres.sql("postgres", sql) == "1"
}

#[test]
fn a_commit_that_nobody_answers_is_lost_and_not_failed() {
    let mut postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    slow_to_commit(&postgres);
    // As long as the step has time the server is asked.
    let text = one("{}", "query: insert into t values (1)");
    scene.file("one.yaml", text.replace("  - id: ask\n", "  - id: ask\n    timeout: 30s\n"));
    let mut run = scene.start(&["run", "one.yaml"]);
    wait("it commits", || commits(&postgres));
    postgres.stop(Signal::Kill);
    assert_eq!(run.wait().unwrap().code(), Some(8));
    let step = step_of(&scene.last(), "ask");
    assert_eq!(step["status"], "lost", "{step}");
    assert!(step["error"].as_str().unwrap().contains("whether it is committed is not known"), "{step}");
}

#[test]
fn a_server_that_comes_back_says_what_became_of_a_commit() {
    let mut postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    slow_to_commit(&postgres);
    scene.file("one.yaml", one("{}", "query: insert into t values (1)"));
    let mut run = scene.start(&["run", "one.yaml"]);
    wait("it commits", || commits(&postgres));
    postgres.stop(Signal::Quit);
    postgres.start_again();
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let step = step_of(&scene.last(), "ask");
    assert_eq!(step["status"], "failed", "{step}");
    assert_eq!(postgres.sql("app", "select count(*) from t"), "0");
    assert!(step["error"].as_str().unwrap().contains("nothing was changed"), "{step}");
}

#[test]
fn a_commit_whose_answer_is_lost_on_its_way_is_asked_about() {
    let postgres = Postgres::start();
    postgres.database("app");
    postgres.sql("app", "create table t (n int)");
    let proxy = Proxy::to(postgres.target());
    let scene = Scene::new();
    scene.file("runward.toml", format!("[connections.app]\nurl = \"{}\"\n", postgres.url_through(&proxy, "app")));
    for (reaches, code, rows) in [(Reaches::TheServer, 0, "1"), (Reaches::Nobody, 1, "1")] {
        proxy.cut_at("COMMIT", reaches);
        let (step, done) = ask(&scene, code, "{}", "query: insert into t values (1)");
        assert!(done.stdout.contains("it is asked what became of it"), "{}", done.stdout);
        assert_eq!(postgres.sql("app", "select count(*) from t"), rows, "{step}");
    }
    assert_eq!(proxy.cuts(), 2);
}

#[test]
fn who_dies_while_it_commits_is_lost_too() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    slow_to_commit(&postgres);
    scene.file("one.yaml", one("{}", "query: insert into t values (1)"));
    let mut run = scene.start(&["run", "one.yaml"]);
    wait("it commits", || commits(&postgres));
    kill_step(&scene);
    assert_eq!(run.wait().unwrap().code(), Some(8));
    let step = step_of(&scene.last(), "ask");
    assert_eq!(step["status"], "lost", "{step}");
    assert!(step["error"].as_str().unwrap().contains("it died while it committed"), "{step}");
}

#[test]
fn no_step_touches_a_ledger() {
    let scene = Scene::new();
    scene.file("hello.yaml", "steps:\n  - run: echo hello\n");
    scene.expect(0, &["run", "hello.yaml"]);
    let ledger = scene.path("state/ledger.db");
    std::os::unix::fs::symlink(&ledger, scene.path("innocent.db")).unwrap();
    scene.file("runward.toml", "[connections.app]\nurl = \"sqlite:innocent.db\"\n");
    let (_, done) = ask(&scene, 1, "{}", "query: delete from events");
    assert!(done.stdout.contains("this database holds a ledger of runward"), "{}", done.stdout);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn the_ledger_of_a_cluster_is_refused_by_whatever_name_it_is_reached() {
    let postgres = Postgres::start();
    let ledger = postgres.database("ledger");
    let scene = Scene::new();
    let migrated = finish(scene.runward().args(["db", "migrate"]).env("RUNWARD_DATABASE_URL", &ledger));
    assert_eq!(migrated.code, 0, "{}", migrated.stderr);
    let proxy = Proxy::to(postgres.target());
    scene.file("runward.toml", format!("[connections.app]\nurl = \"{}\"\n", postgres.url_through(&proxy, "ledger")));
    let (_, done) = ask(&scene, 1, "{}", "query: select 1");
    assert!(done.stdout.contains("this database holds a ledger of runward"), "{}", done.stdout);
}

#[test]
fn a_password_is_nowhere_but_with_the_step() {
    let postgres = Postgres::start();
    postgres.database("app");
    postgres.sql("app", "create role ops login password 'correct horse'; create table t (n text)");
    let scene = Scene::new();
    scene.file(
        "runward.toml",
        format!(
            "[connections.app]\nurl = \"{}\"\npassword = {{env = \"APP_PASSWORD\"}}\n",
            postgres.url("app").replace("user=postgres", "user=ops")
        ),
    );
    scene.file(
        "one.yaml",
        one("{}", "query: select current_setting('application_name') as it, 'correct horse' as said"),
    );
    let done = finish(scene.runward().args(["run", "one.yaml"]).env("APP_PASSWORD", "correct horse"));
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(step_of(&scene.last(), "ask")["outputs"]["rows"], json!([{"it": "runward ask", "said": "***"}]));
    let found = Command::new("grep").args(["-rc", "correct horse"]).arg(scene.path("state")).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    // The query itself says it, in the runbook and the log of what was asked: nothing else does.
    assert!(found.lines().filter(|line| !line.ends_with(":0")).all(|line| line.contains("ledger.db")), "{found}");
    let done = scene.expect(1, &["run", "one.yaml"]);
    assert!(
        done.stdout
            .contains("the password of the connection `app` cannot be had from the environment variable APP_PASSWORD"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_connection_that_is_not_configured_is_told_before_anything_starts() {
    let scene = Scene::new();
    scene.file("one.yaml", one("{}", "query: select 1"));
    let done = scene.expect(2, &["run", "one.yaml"]);
    for words in
        ["the connection `app` is not configured", "[one.yaml:4:", "[connections.app]", "RUNWARD_CONNECTIONS_APP_URL"]
    {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    assert_eq!(scene.runs_recorded(), 0);
    scene.expect(0, &["plan", "one.yaml"]);
}

#[test]
fn a_plan_shows_the_statements_and_their_values_and_nothing_sensitive() {
    let scene = Scene::new();
    let params = "{n: {type: int, default: 3}, token: {sensitive: true, default: s3cret-value}}";
    scene.file(
        "one.yaml",
        one(
            params,
            "query: update t set a = ${{ params.token }} where n = ${{ params.n }}\nexpect: {rows: 1}\ntimeout: 5s",
        ),
    );
    let plan = scene.expect(0, &["plan", "one.yaml"]).stdout;
    for line in [
        "sql on the connection app",
        "sql | update t set a = $1 where n = $2",
        "$2=3",
        "expects 1 row, else nothing is changed",
        "each statement may take 5.0 s",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    assert!(!plan.contains("s3cret-value"), "{plan}");
}

#[test]
fn the_doctor_looks_at_each_connection() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    scene.file("hello.yaml", "steps:\n  - run: echo hello\n");
    scene.expect(0, &["run", "hello.yaml"]);
    postgres.sql("app", "create role ops login");
    let url = postgres.url("app");
    let more = format!(
        "[connections.app]\nurl = \"{url}\"\n[connections.ops]\nurl = \"{}\"\n[connections.gone]\nurl = \"sqlite:gone.db\"\n",
        url.replace("user=postgres", "user=ops"),
    );
    scene.file("runward.toml", more);
    let told = scene.run(&["doctor"]).stdout;
    for words in
        ["app (", "as a superuser", "ops (", "PostgreSQL ", "gone (", "the file does not exist on this machine"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    let shown = scene.expect(0, &["config", "show"]).stdout;
    assert!(shown.contains("connections.app") && shown.contains("runward.toml:1"), "{shown}");
}
