//! Is the service well, and is the machine big enough?

use std::fs;
use std::process::Command;

use runward_services::Signal;

use crate::harness::finish;
use crate::operator::{Operator, Run};
use crate::place::Place;

#[test]
fn health_is_asked_of_the_process_and_of_what_it_stands_on() {
    let mut place = Place::serving();
    let url = place.stack.url();
    let ask = |place: &Place, code: i32, more: &[(&str, &str)]| -> Run {
        let own = [("url", url.as_str())];
        place.operator.expect(code, "health", &[&own[..], more].concat())
    };
    place.stack.get("/items");
    let well = ask(&place, 0, &[("version", "1.0.0")]);
    let (status, body) = place.stack.get("/health");
    let said: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, said["status"].as_str(), said["version"].as_str()), (200, Some("ok"), Some("1.0.0")));
    assert!(said["timestamp"].as_str().unwrap().contains('T'), "{body}");
    place.saw("S1-11 S4-28", &well, "process");
    assert_eq!(place.stack.get("/ready").0, 200);
    place.saw("S4-29", &well, "ready");
    let (_, metrics) = place.stack.get("/metrics");
    for metric in ["requests_total{", "request_seconds_bucket{", "\nitems 1.0"] {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    place.saw("S2-40 S4-21", &well, "metrics");
    ask(&place, 1, &[("version", "2.0.0")]);

    // What it has is what the database and the disk have.
    let post = |path: &str| finish(Command::new("curl").args(["-sf", "--data", "12345", &format!("{url}{path}")])).code;
    assert_eq!((post("/items?name=second"), post("/upload"), post("/upload")), (0, 0, 0));
    let told = ask(&place, 0, &[("stats", "true")]);
    let stats: serde_json::Value = serde_json::from_str(&told.output("stats", "body")).unwrap();
    assert_eq!(stats["items"].to_string(), place.stack.sql("select count(*) from items"));
    place.saw("S1-12", &told, "stats");
    assert_eq!(told.output("files", "body"), r#"{"files":2,"bytes":10}"#);
    let uploads = fs::read_dir(place.stack.path("uploads")).unwrap().flatten();
    assert_eq!(uploads.map(|file| file.metadata().unwrap().len()).sum::<u64>(), 10);
    place.saw("S1-12", &told, "files");

    place.stack.redis.stop(Signal::Kill);
    let broken = ask(&place, 1, &[]);
    let (status, body) = place.stack.get("/ready");
    assert_eq!(status, 503);
    assert!(body.contains("\"redis\":false") && body.contains("\"database\":true"), "{body}");
    assert_eq!(broken.status("process"), "succeeded", "the process itself is well");
    place.saw("S4-29", &broken, "ready");
}

const GIB: u64 = 1 << 30;

/// What is missing here of what a guide asks for, found out without runward.
fn lacks(cores: u64, memory: u64, disk: u64) -> bool {
    let number =
        |command: &mut Command| finish(command).stdout.split_whitespace().last().unwrap().parse::<u64>().unwrap();
    let has_cores = number(&mut Command::new("nproc"));
    let has_memory =
        fs::read_to_string("/proc/meminfo").unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    let has_disk = number(Command::new("df").args(["--output=size", "--block-size=1", "/"]));
    has_cores < cores || has_memory * 1024 < memory * GIB * 93 / 100 || has_disk < disk * GIB * 93 / 100
}

#[test]
fn a_machine_is_held_against_what_each_guide_asks_for() {
    let operator = Operator::new();
    let guides = [
        ("S0-01", 1, 1, 1, r#"{"python3": "3.10", "psql": "13"}"#, r#"{"node": "18", "redis-server": "6"}"#),
        ("S1-01", 4, 8, 50, r#"{"python3": "3.9", "psql": "12", "redis-server": "6"}"#, r#"{"nginx": "1.18"}"#),
        ("S2-07", 2, 4, 50, "{}", "{}"),
        (
            "S3-01",
            4,
            8,
            100,
            r#"{"python3": "3.11", "psql": "15", "redis-server": "7"}"#,
            r#"{"node": "18", "docker": "24"}"#,
        ),
        ("S4-01", 4, 8, 50, r#"{"python3": "3.9"}"#, "{}"),
    ];
    for (row, cores, memory, disk, programs, optional) in guides {
        let sizes = [cores.to_string(), format!("{memory}GiB"), format!("{disk}GiB")];
        let [cores_asked, memory_asked, disk_asked] = sizes;
        let params = [("cores", cores_asked.as_str()), ("memory", &memory_asked), ("disk", &disk_asked)];
        let params = [&params[..], &[("programs", programs), ("optional", optional)]].concat();
        let too_small = lacks(cores, memory, disk);
        let run = operator.expect(i32::from(too_small), "host_preflight", &params);
        let nproc = finish(&mut Command::new("nproc")).stdout;
        assert_eq!(run.output("measure", "cores"), nproc.trim());
        operator.saw(row, &run, "measure");
        operator.saw(row, &run, "judge");
    }

    let old = operator.expect(
        1,
        "host_preflight",
        &[("programs", r#"{"psql": "99", "no-such-program": "1"}"#), ("cores", "1000")],
    );
    for said in ["cores, 1000 are needed", "99 or newer is needed", "no-such-program is missing"] {
        assert!(old.text.contains(said), "{said}: {}", old.text);
    }
}
