//! A database that breaks while commands are given: what was asked for happens once, and whoever asked is told the truth.

use runward_services::{Postgres, Proxy, Reaches};

use crate::cluster_cli::{Host, TWO, host};
use crate::harness::{Scene, finish};

/// To its end: a BEGIN says READ COMMITTED.
const COMMIT: &[u8] = b"COMMIT\0";

fn through<'a>(scene: &'a Scene, postgres: &Postgres, proxy: &Proxy) -> (Host<'a>, Host<'a>) {
    let direct = host(scene, postgres);
    let url = postgres.url_through(proxy, "runward");
    (direct, Host { scene, url })
}

#[test]
fn a_run_whose_commit_was_not_answered_is_recorded_once() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let proxy = Proxy::to(postgres.target());
    let (direct, host) = through(&scene, &postgres, &proxy);
    scene.file("two.yaml", TWO);
    for (reaches, runs) in [(Reaches::TheServer, 1), (Reaches::Nobody, 2)] {
        proxy.cut_at(COMMIT, reaches);
        host.expect(0, &["run", "two.yaml", "--detach"]);
        assert_eq!(direct.json(&["runs"]).as_array().map(Vec::len), Some(runs), "{reaches:?}");
    }
    assert_eq!(proxy.cuts(), 2);
}

#[test]
fn a_run_that_nobody_knows_to_be_recorded_is_said_to_be_so_and_its_key_settles_it() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let proxy = Proxy::to(postgres.target());
    let (direct, host) = through(&scene, &postgres, &proxy);
    scene.file("two.yaml", TWO);
    proxy.refuse_from(COMMIT, Reaches::TheServer);
    let unknown = host.run(&["run", "two.yaml", "--detach", "--key", "night-7"]);
    assert_eq!(unknown.code, 9, "{}", unknown.stderr);
    for words in ["did not answer", "may be recorded, or not", "--key"] {
        assert!(unknown.stderr.contains(words), "{words}: {}", unknown.stderr);
    }
    proxy.accept();
    let again = host.expect(0, &["run", "two.yaml", "--detach", "--key", "night-7"]);
    assert!(again.stderr.contains("nothing is started twice"), "{}", again.stderr);
    assert_eq!(direct.json(&["runs"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_database_that_cannot_be_written_is_told_before_anything_is_promised() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    host.expect(0, &["run", "two.yaml", "--detach"]);
    postgres.sql("runward", "ALTER DATABASE runward SET default_transaction_read_only = on");
    let refused = host.expect(9, &["run", "two.yaml", "--detach"]);
    assert!(refused.stderr.contains("cannot be written") && refused.stderr.contains("primary"), "{}", refused.stderr);
    assert_eq!(host.json(&["runs"]).as_array().map(Vec::len), Some(1), "reading works");
    let doctor = host.expect(1, &["doctor"]).stdout;
    assert!(doctor.contains("read-only"), "{doctor}");
}

#[test]
fn a_database_of_a_newer_runward_is_left_alone() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    postgres.sql(
        "runward",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, '', 0)",
    );
    for args in [&["run", "two.yaml"][..], &["show", "last"], &["workers"], &["db", "migrate"]] {
        let refused = host.expect(9, args);
        assert!(refused.stderr.contains("newer runward"), "{args:?}: {}", refused.stderr);
    }
    let doctor = host.expect(1, &["doctor"]).stdout;
    assert!(doctor.contains("FAIL  postgres") && doctor.contains("?     workers"), "{doctor}");
}

#[test]
fn a_redis_that_is_away_or_misnamed_keeps_no_run_from_being_recorded() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    let mut away = host.command(&["run", "two.yaml", "--detach"]);
    let done = finish(away.env("RUNWARD_REDIS_URL", "redis://ops:s3cret@127.0.0.1:1"));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stderr, "", "whoever gives a command need not know of it");
    let mut doctor = host.command(&["doctor"]);
    let doctor = finish(doctor.env("RUNWARD_REDIS_URL", "redis://ops:s3cret@127.0.0.1:1"));
    assert!(doctor.stdout.contains("no run needs it"), "{}", doctor.stdout);
    let mut wrong = host.command(&["run", "two.yaml", "--detach"]);
    let wrong = finish(wrong.env("RUNWARD_REDIS_URL", "rediss//ops:s3cret@h"));
    assert!(wrong.code == 2 && wrong.stderr.contains("RUNWARD_REDIS_URL"), "{}", wrong.stderr);
    assert!(![&doctor.stdout, &doctor.stderr, &wrong.stderr].iter().any(|said| said.contains("s3cret")));
}
