//! What `sql` steps must not do on a real server: change what they cannot tell of, leave something behind, change a value.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use runward_services::{Cluster, Ground, Pooler, Postgres, Proxy, Reaches, Target};
use serde_json::json;

use crate::harness::{Scene, step_of, wait};
use crate::sql::{ask, with_postgres};

#[test]
fn what_cannot_be_told_is_not_committed() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    postgres.sql("app", "create table t (n int)");
    for (value, why) in [
        ("(repeat('[', 90) || repeat(']', 90))::jsonb", "nested more than 64 deep"),
        ("'12345678901234567890123'::jsonb", "more digits than can be kept"),
    ] {
        let query = format!("query: |\n  insert into t values (1);\n  select {value} as doc");
        let (step, _) = ask(&scene, 1, "{}", &query);
        assert!(step["error"].as_str().unwrap().contains(why), "{step}");
    }
    assert_eq!(postgres.sql("app", "select count(*) from t"), "0");
}

#[test]
fn nothing_stays_on_the_server_and_bytes_in_a_list_are_bytes() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    let query = "query: |\n  select ${{ params.b }}::bytea[];\n  select ${{ params.b }}::bytea[] as bytes, sum(n)::numeric as sum, \
                 (select count(*) from pg_prepared_statements where not from_sql) as left_behind from generate_series(1, 3) as n\nexpect: {rows: 1}";
    let (step, _) = ask(&scene, 0, "{b: {type: list, default: ['a\\b', 'x']}}", query);
    assert_eq!(
        step["outputs"]["rows"],
        json!([{"bytes": ["\\x615c62", "\\x78"], "sum": "6", "left_behind": 0}]),
        "{step}"
    );
}

#[test]
fn through_a_pooler_of_transactions_nothing_of_a_step_stays_for_whoever_comes_next() {
    let postgres = Postgres::start();
    postgres.database("app");
    postgres.sql("app", "create table t (n int)");
    let (pooler, scene) = (Pooler::before(&postgres), Scene::new());
    scene.file("runward.toml", format!("[connections.app]\nurl = \"{}\"\n", pooler.url("app")));
    let settings =
        "select name || setting from pg_settings where name like 'tcp_keep%' or name like '%timeout' order by 1";
    let before = pooler.sql("app", settings);
    for n in 1..=3 {
        let query = "query: |\n  insert into t values (${{ params.n }});\n  select 0.1::float8 + 0.2 as sum, n from t order by n desc";
        let (step, _) = ask(&scene, 0, &format!("{{n: {{type: int, default: {n}}}}}"), query);
        assert_eq!(step["outputs"]["rows"][0], json!({"sum": 0.1 + 0.2, "n": n}), "{step}");
    }
    let (step, _) = ask(&scene, 1, "{}", "query: select 1 / count(*) from t where n > 7");
    assert!(step["error"].as_str().unwrap().contains("division by zero"), "{step}");
    assert_eq!(pooler.sql("app", "select count(*) from pg_prepared_statements"), "0");
    assert_eq!(pooler.sql("app", settings), before);
}

#[test]
fn after_a_failover_nobody_claims_to_know_what_became_of_a_commit() {
    let (scene, ground) = (Scene::new(), Ground::new());
    let primary = ground.cluster("primary", 7001, &[]);
    primary.sql("postgres", "create table t (n int)");
    let standby = primary.standby(ground.path("standby"), 7002);
    let socket = |of: &Cluster| ground.path(&format!(".s.PGSQL.{}", of.port()));
    let leads = scene.path("leads");
    symlink(socket(&primary), &leads).unwrap();
    let proxy = Proxy::to(Target::Unix(leads.clone()));
    let url = format!("postgres://{}@{}/postgres", Cluster::superuser(), proxy.address());
    scene.file("runward.toml", format!("[connections.app]\nurl = \"{url}\"\n"));
    let query = "{connection: app, query: 'insert into t values (1)'}";
    scene.file("one.yaml", format!("name: one\nsteps:\n  - {{id: ask, sql: {query}}}\n"));
    // It commits where the standby does not hear of it, and nobody hears of it.
    standby.stop("fast");
    proxy.refuse_from("COMMIT", Reaches::TheServer);
    let mut run = scene.start(&["run", "one.yaml"]);
    wait("its COMMIT", || proxy.cuts() == 1 && primary.sql("postgres", "select count(*) from t") == "1");
    primary.stop("immediate");
    standby.start();
    let mut promote = Cluster::program("pg_ctl");
    assert!(promote.args(["promote", "-w", "-D"]).arg(standby.data()).output().unwrap().status.success());
    std::fs::remove_file(&leads).unwrap();
    symlink(socket(&standby), &leads).unwrap();
    proxy.accept();
    assert_eq!(run.wait().unwrap().code(), Some(8), "{}", scene.read("started.out"));
    let step = step_of(&scene.last(), "ask");
    let error = step["error"].as_str().unwrap_or_default();
    assert!(step["status"] == "lost" && error.contains("another server answers there now"), "{step}");
}

#[test]
fn a_server_that_says_nothing_or_hangs_up_is_told_as_that() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    scene.file(
        "runward.toml",
        format!("[connections.app]\nurl = \"postgres://ops@127.0.0.1:{port}/app?sslmode=disable\"\n"),
    );
    scene.file("q.yaml", "steps:\n  - {id: a, timeout: 1s, sql: {connection: app, query: select 1}}\n");
    let error = || {
        scene.expect(1, &["run", "q.yaml"]);
        step_of(&scene.last(), "a")["error"].as_str().unwrap().to_owned()
    };
    // The system takes the connection, and nobody answers.
    let told = error();
    assert!(
        told.starts_with("timed out after ") && told.contains("app: it was ended before the database had answered"),
        "{told}"
    );
    // What reads the first words and hangs up, like a server that is closing.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    let told = error();
    assert!(told.starts_with("app: the server hung up: its own log says why"), "{told}");
}
