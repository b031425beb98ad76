//! It answers, and it is slow: since when, and why.

use std::fs;
use std::process::{Command, Stdio};

use crate::daily_logs::served;
use crate::harness::{finish, wait};
use crate::place::Place;

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_slow_service_is_looked_into_from_outside_and_nothing_is_changed() {
    let place = served("1");
    let [root, bin] = [place.stack.folder().to_owned(), place.stack.bin()].map(|path| path.display().to_string());
    let (database, log) = (place.stack.database(), place.stack.postgres.folder().join("log").display().to_string());
    let own = [("root", root.as_str()), ("bin", &bin), ("database", &database), ("postgres_log", &log)];
    let own = [&own[..], &[("seconds", "4"), ("slow_ms", "300")]].concat();
    // A line of its own code takes most of its time.
    let main = place.stack.path("current/app/main.py");
    let text = fs::read_to_string(&main).unwrap();
    let line = "    log.debug(\"the newest items are asked for\")\n";
    assert!(text.contains(line));
    fs::write(&main, text.replace(line, "    for n in range(1_000_000):\n        n * n\n")).unwrap();
    place.stack.supervisorctl(&["restart", "api"]);
    wait("it to serve again", || place.stack.get("/items").0 == 200);
    let threshold = || place.stack.sql("show log_min_duration_statement");
    assert_eq!(threshold(), "-1");

    // Somebody waits for an answer, many ask, and a statement takes its time.
    let url = place.stack.url();
    let mut waiting = Command::new("curl").args(["-s", &format!("{url}/wait")]).stdout(Stdio::null()).spawn().unwrap();
    let wrk = ["-t1", "-c2", "-d2h", &format!("{url}/items")];
    let mut load = Command::new("wrk").args(wrk).stdout(Stdio::null()).spawn().unwrap();
    let (mut child, name) = place.operator.start("triage_slow", &own);
    let said = || (1..9).map(|n| place.operator.scene.read(&format!("{n}.out"))).collect::<String>();
    wait("the processes to be looked into", || said().contains("processes | process "));
    assert_eq!(threshold(), "300ms");
    place.stack.sql("select pg_sleep(0.5)");
    fs::write(place.stack.path("current/go"), "").unwrap();
    assert!(child.wait().unwrap().success(), "{}", said());
    load.kill().unwrap();
    load.wait().unwrap();
    waiting.wait().unwrap();
    let run = place.operator.look(&name);
    let said = said();

    assert!(said.contains("wait (app/main.py"), "the function that hangs is named: {said}");
    let busiest = run.output("processes", "busiest");
    assert!(busiest.starts_with("listed (app/main.py"), "{busiest}: {said}");
    let processes = finish(Command::new("pgrep").args(["-P", &parent(&place)])).stdout.lines().count() + 1;
    assert_eq!(run.output("processes", "processes"), processes.to_string());
    place.saw("S3-31", &run, "processes");
    assert!(said.contains("statements | ") && said.contains("pg_sleep(0.5)"), "{said}");
    place.saw("S3-31", &run, "statements");
    let idle: u32 = run.output("machine", "idle_percent").parse().unwrap();
    assert!(idle <= 100 && said.contains("%util"), "{said}");
    place.saw("S3-31", &run, "machine");
    let lines = fs::read_to_string(place.stack.path("log/app.log")).unwrap();
    let slow = |line: &&str| line.contains("\"path\": \"/wait\"");
    let slowest: serde_json::Value = serde_json::from_str(lines.lines().find(slow).unwrap()).unwrap();
    assert!(said.contains(&format!("{} ms\t200\tGET /wait", slowest["duration_ms"])), "{said}");
    assert_eq!(threshold(), "-1", "the database logs what it did before");

    // The other half of it: an answer may take so long, and no longer.
    fs::remove_file(place.stack.path("current/go")).unwrap();
    let limits = [("url", url.as_str()), ("database", &database), ("timeout_seconds", "1"), ("workers", "1")];
    place.run(0, "production", &limits);
    assert_eq!(place.stack.get("/wait").0, 504);
    place.run(0, "production", &[&limits[..2], &[("workers", "1")]].concat());
    let mut patient = Command::new("curl").args(["-sf", &format!("{url}/wait")]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2)); // longer than what was too long before
    fs::write(place.stack.path("current/go"), "").unwrap();
    assert!(patient.wait().unwrap().success());
    place.saw("S4-35", &run, "requests");

    let nowhere = place.operator.expect(1, "triage_slow", &[&own[..3], &[("postgres_log", "/nowhere")]].concat());
    assert!(nowhere.text.contains("cannot read /nowhere, the log of Postgres"), "{}", nowhere.text);
    assert_eq!(threshold(), "-1");
}

/// The first process of the API.
fn parent(place: &Place) -> String {
    let status = place.stack.supervisorctl(&["status", "api"]);
    status.split("pid ").nth(1).unwrap().split(',').next().unwrap().to_owned()
}

#[test]
fn a_service_that_got_slower_is_told_and_a_measurement_that_is_worthless_is_not_kept() {
    let place = Place::serving();
    let (url, record) = (place.stack.url(), place.operator.scene.path("baseline.tsv"));
    let kept = record.display().to_string();
    let own = [("url", url.as_str()), ("record", &kept), ("seconds", "1"), ("rounds", "1"), ("connections", "2")];
    let measure =
        |code: i32, more: &[(&str, &str)]| place.operator.expect(code, "baseline", &[&own[..], more].concat());
    let lines = || fs::read_to_string(&record).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();

    let first = measure(0, &[]);
    let requests = |line: &str| line.split('\t').nth(2).unwrap().parse::<f64>().unwrap();
    let answered = place.stack.log("nginx-access").lines().filter(|line| line.contains("GET /items")).count() as f64;
    let told: f64 = first.output("measure", "requests").parse().unwrap();
    // One second of wrk, and what nginx counted meanwhile.
    assert!(told > 1.0 && answered > told * 0.5 && answered < told * 3.0, "{told}, {answered}");
    assert_eq!(requests(&lines()[0]), told);
    // How much this machine has to do besides is not what this is about.
    let patient = [("slower_percent", "95"), ("latency_percent", "10000")];
    let again = measure(0, &patient);
    assert_eq!((again.output("compare", "measured"), lines().len()), ("1".into(), 2));
    place.saw("S3-58", &again, "compare");

    // It was a hundred times as fast once.
    let before = lines()[0].replace(&format!("\t{}\t", lines()[0].split('\t').nth(2).unwrap()), "\t1000000.00\t");
    fs::write(&record, format!("{before}\n{before}\n")).unwrap();
    let slower = measure(1, &[]);
    assert!(slower.text.contains("more than 25 % fewer than"), "{}", slower.text);
    assert_eq!(lines().len(), 2, "what is worse is no baseline");
    place.saw("S3-58", &slower, "compare");
    measure(0, &[("accept", "true")]);
    let after = measure(0, &patient);
    assert_eq!(after.output("compare", "measured"), "1", "what was accepted is where it begins anew");

    // Errors are fast.
    fs::write(&record, "").unwrap();
    let refused = measure(1, &[("path", "/articles")]);
    assert!(refused.text.contains("does not answer with 200"), "{}", refused.text);
    assert!(lines().is_empty());
}
