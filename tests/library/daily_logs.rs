//! Logs: rotated while they are written, kept for as long as was said, and without anybody's number in them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::harness::finish;
use crate::operator::Run;
use crate::place::Place;

const PHONE: &str = "13912345678";
const CARD: &str = "11010519491231002X";

/// The API under its supervisor, behind nginx.
pub fn served(workers: &str) -> Place {
    let place = Place::empty();
    place.stack.release("1.0.0");
    place.stack.migrate("1.0.0");
    place.stack.link("releases/1.0.0", "current");
    place.stack.link("api.sock", "run/live.sock");
    place.run(0, "deploy_supervisor", &[("workers", workers), ("celery_concurrency", "1")]);
    place
}

/// Runs it with `root` alone.
fn care(place: &Place, code: i32, more: &[(&str, &str)]) -> Run {
    let root = place.stack.folder().display().to_string();
    std::thread::sleep(Duration::from_millis(1100)); // two rotations of one second would give the same name
    place.operator.expect(code, "logs", &[&[("root", root.as_str())], more].concat())
}

/// Somebody who adds `count` items, one after the other.
fn writer(place: &Place, name: &str, count: usize) -> Child {
    let script = format!(
        "for n in $(seq {count}); do curl -sf -o /dev/null -X POST '{}/items?name={name}-'$n || exit 1; done",
        place.stack.url()
    );
    Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap()
}

/// All lines of a log, whatever file they are in by now.
fn lines(place: &Place, log: &str, pattern: &str) -> usize {
    let script =
        format!("zcat -f '{}'/{log}* | grep -oE '{pattern}' | sort -u | wc -l", place.stack.path("log").display());
    finish(Command::new("bash").args(["-c", &script])).stdout.trim().parse().unwrap()
}

fn names(folder: &Path, begins: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let all = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = all.filter(|name| name.starts_with(begins)).collect();
    names.sort();
    names
}

/// A rotated log of so many days ago, compressed.
fn rotated(folder: &Path, name: &str, days: u64) {
    fs::create_dir_all(folder).unwrap();
    let file = folder.join(name.trim_end_matches(".gz"));
    fs::write(&file, format!("{name}\n")).unwrap();
    assert_eq!(finish(Command::new("gzip").arg(&file)).code, 0);
    let when = SystemTime::now() - Duration::from_secs(days * 86_400);
    fs::File::options().append(true).open(folder.join(name)).unwrap().set_modified(when).unwrap();
}

#[test]
fn logs_are_rotated_kept_and_archived_and_no_line_is_lost() {
    let place = served("2");
    let (log, archive) = (place.stack.path("log"), place.stack.path("log-archive"));
    // 35 files of the last days, one that is too old, and one in the archive whose time is over.
    for n in 0..35 {
        rotated(&log, &format!("app.log-20260101-0000{n:02}.gz"), 1);
    }
    rotated(&log, "app.log-20250101-000000.gz", 31);
    rotated(&archive, "app.log-20240101-000000.gz", 366);

    let mut requests = writer(&place, "line", 300);
    let mut last = None;
    for _ in 0..3 {
        last = Some(care(&place, 0, &[("force", "true")]));
    }
    assert!(requests.wait().unwrap().success());
    let last = last.unwrap();
    assert_eq!(lines(&place, "app.log", "a new item: line-[0-9]+"), 300);
    assert_eq!(lines(&place, "api.log", "a new item: line-[0-9]+"), 300, "the console has them, too");
    let posts = format!("zcat -f '{}'/nginx-access.log* | grep -c 'POST /items '", log.display());
    assert_eq!(finish(Command::new("bash").args(["-c", &posts])).stdout.trim(), "300");
    // After the last rotation the service writes to the new file, and still in its form.
    assert!(writer(&place, "after", 1).wait().unwrap().success());
    let newest = fs::read_to_string(log.join("app.log")).unwrap();
    assert!(newest.contains("a new item: after-1"), "{newest}");
    assert!(newest.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{newest}");
    place.saw("S0-17", &last, "shape");

    // 30 of each stay, the newest one is not compressed yet, and all that went is in the archive.
    let kept = names(&log, "app.log-");
    assert_eq!(kept.len(), 30, "{kept:?}");
    assert_eq!(kept.iter().filter(|name| !name.ends_with(".gz")).count(), 1, "{kept:?}");
    let archived = names(&archive, "app.log-");
    for n in 0..35 {
        assert!(archived.contains(&format!("app.log-20260101-0000{n:02}.gz")), "{n}: {archived:?}");
    }
    assert!(archived.contains(&"app.log-20250101-000000.gz".to_owned()), "{archived:?}");
    assert!(!archived.contains(&"app.log-20240101-000000.gz".to_owned()), "{archived:?}");

    let again = care(&place, 0, &[]);
    assert_eq!(again.output("rotate", "rotated"), "0", "once a day is enough");
}

#[test]
fn a_number_of_a_person_is_masked_and_one_that_is_not_is_named_by_its_line() {
    let place = served("1");
    let url = format!("{}/items?name=call-{PHONE}-or-{CARD}", place.stack.url());
    assert_eq!(finish(Command::new("curl").args(["-sf", "-X", "POST", &url])).code, 0);
    let read = |name: &str| fs::read_to_string(place.stack.path("log").join(name)).unwrap();
    let well = care(&place, 0, &[]);
    assert!(read("app.log").contains("a new item: call-[phone]-or-[id]"), "{}", read("app.log"));
    for log in ["app.log", "api.log", "nginx-access.log"] {
        let text = read(log);
        assert!(!text.contains(PHONE) && !text.contains(CARD), "{log}: {text}");
    }
    place.saw("S4-26", &well, "masked");

    // Somebody prints instead of logging.
    let app = place.stack.path("log/app.log");
    let line = read("app.log").lines().count() + 1;
    // Somebody else does so two thousand times.
    fs::write(&app, format!("{}call {PHONE} now\n{}", read("app.log"), "again\n".repeat(2000))).unwrap();
    let bad = care(&place, 1, &[("force", "true")]);
    let said = format!("app.log has a telephone or identity number in the lines: {line}");
    assert!(bad.text.contains(&said) && !bad.text.contains(PHONE), "{}", bad.text);
    assert!(bad.text.contains(&format!("no JSON with time, level and message: {line}")), "{}", bad.text);
    place.saw("S4-26", &bad, "masked");
    place.saw("S0-17", &bad, "shape");
    assert_eq!(bad.status("rotate"), "succeeded", "the disk does not fill because of it");

    // A program whose log could not be opened anew keeps its file.
    fs::write(place.stack.path("run/nginx.pid"), std::process::id().to_string()).unwrap();
    let refused = care(&place, 1, &[("force", "true")]);
    assert!(refused.text.contains("which is not nginx"), "{}", refused.text);
    assert_eq!(refused.status("rotate"), "skipped");
}
