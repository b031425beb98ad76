//! A ledger in Postgres, seen through the binary: made ready, read, and never by its password.

use std::fs;
use std::process::Command;

use runward_services::{Postgres, Proxy, Signal};
use runward_store::{Ledger, PostgresLedger, conformance::new_run};

use crate::harness::{Done, Scene, finish};

fn on(scene: &Scene, url: &str, args: &[&str]) -> Done {
    let mut command: Command = scene.runward();
    command.env("RUNWARD_DATABASE_URL", url).args(args);
    finish(&mut command)
}

fn triggered(url: &str, id: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = PostgresLedger::open(url).await.unwrap();
        ledger.trigger(new_run(id, None)).await.unwrap();
    });
}

#[test]
fn a_database_is_made_ready_once_and_read_from_anywhere() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let url = postgres.database("runward");
    let unready = on(&scene, &url, &["db", "status"]);
    assert_eq!(unready.code, 1, "{}", unready.stderr);
    assert!(
        unready.stdout.contains("Postgres 1") && unready.stdout.contains("`runward db migrate`"),
        "{}",
        unready.stdout
    );
    let early = on(&scene, &url, &["runs"]);
    assert_eq!(early.code, 9);
    assert!(early.stderr.contains("is not ready") && early.stderr.contains("runward db migrate"), "{}", early.stderr);
    for _ in 0..2 {
        let ready = on(&scene, &url, &["db", "migrate"]);
        assert_eq!(ready.code, 0, "{}", ready.stderr);
        assert!(ready.stdout.contains("/runward is ready: schema "), "{}", ready.stdout);
    }
    triggered(&url, "018f-0001");
    let status = on(&scene, &url, &["db", "status"]);
    assert!(status.code == 0 && status.stdout.contains("1: 1 queued"), "{}{}", status.stdout, status.stderr);
    let runs = on(&scene, &url, &["runs"]).stdout;
    assert!(runs.contains("018f-0001") && runs.contains("suite") && !runs.contains("no driver"), "{runs}");
    let verified = on(&scene, &url, &["audit", "verify"]);
    assert!(verified.code == 0 && verified.stdout.starts_with("1 run, "), "{}{}", verified.stdout, verified.stderr);
    postgres.sql("runward", "ALTER TABLE events DISABLE TRIGGER ALL; UPDATE events SET actor = 'nobody'");
    assert_eq!(on(&scene, &url, &["audit", "verify"]).code, 1);
}

#[test]
fn a_password_is_never_shown() {
    let (scene, mut postgres) = (Scene::new(), Postgres::start());
    postgres.database("runward");
    let proxy = Proxy::to(postgres.target());
    let url = format!("postgres://runward:s3cret@{}/runward", proxy.address());
    let wrong =
        [url.replace("postgres:", "postgers:"), url.replace("/runward", "/runward?pasword=s3cret"), url.clone()];
    let mut said = String::new();
    for url in &wrong {
        let file =
            scene.file("runward.toml", format!("stat = 1\n[database]\nurl = \"{url}\"\nurll = 2\n[log]\nlevel = 7\n"));
        for args in [&["config", "show"][..], &["db", "status"], &["db", "migrate"], &["runs"], &["doctor"]] {
            let in_file = Command::new("cat").arg(&file).output().unwrap();
            assert!(String::from_utf8_lossy(&in_file.stdout).contains("s3cret"));
            let mut command = scene.runward();
            finish_into(&mut said, command.env("RUNWARD_LOG", "debug").args(args));
        }
        fs::write(&file, format!("[database]\nurl = \"{url}\"\n")).unwrap();
        for args in [&["config", "show"][..], &["config", "show", "--format", "json"], &["db", "status"], &["runs"]] {
            finish_into(&mut said, scene.runward().args(args));
        }
    }
    postgres.stop(Signal::Kill);
    finish_into(&mut said, scene.runward().env("RUNWARD_LOG", "debug").args(["db", "migrate"]));
    assert!(said.contains(&format!("runward@{}/runward", proxy.address())), "{said}");
    assert!(said.contains("cannot be reached") && said.contains("pg_isready"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

fn finish_into(said: &mut String, command: &mut Command) {
    let done = finish(command);
    said.push_str(&done.stdout);
    said.push_str(&done.stderr);
}
