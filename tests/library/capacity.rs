//! How it grows, when it is full, and what makes room.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::finish;
use crate::operator::Run;
use crate::place::Place;

const DAY: u64 = 86_400;

fn grow(place: &Place, code: i32, more: &[(&str, &str)]) -> Run {
    let folder = place.stack.path("uploads").display().to_string();
    let (record, database) = (place.operator.scene.path("capacity.tsv").display().to_string(), place.stack.database());
    let own = [("folder", folder.as_str()), ("record", &record), ("database", &database)];
    place.operator.expect(code, "capacity", &[&own[..], more].concat())
}

/// What is used on the disk, in bytes.
fn used(path: &Path) -> u64 {
    let done = finish(Command::new("du").args(["-s", "--block-size=1"]).arg(path));
    done.stdout.split_whitespace().next().unwrap().parse().unwrap()
}

fn age(path: &Path, days: u64) {
    let when = SystemTime::now() - Duration::from_secs(days * DAY + 60);
    fs::File::options().append(true).open(path).unwrap().set_modified(when).unwrap();
}

#[test]
fn the_day_the_disk_is_full_is_told_before() {
    let place = Place::serving();
    let first = grow(&place, 0, &[]);
    assert_eq!(first.output("predict", "days"), "unknown");
    let bytes: u64 = place.stack.sql("select pg_database_size('app')").parse().unwrap();
    assert!(first.output("measure", "database").parse::<u64>().unwrap().abs_diff(bytes) < bytes / 2);
    assert_eq!(first.output("measure", "folder"), used(&place.stack.path("uploads")).to_string());

    // What was measured 10 and 5 days ago: a gibibyte a day more, and a folder that does not grow.
    let record = place.operator.scene.path("capacity.tsv");
    let text = fs::read_to_string(&record).unwrap();
    let (now, used): (u64, u64) = {
        let line: Vec<&str> = text.lines().find(|line| line.contains("\tdisk:")).unwrap().split('\t').collect();
        (line[0].parse().unwrap(), line[2].parse().unwrap())
    };
    let gib = 1u64 << 30;
    let size = first.output("measure", "disk_full").parse::<u64>().unwrap();
    let what = place.stack.path("uploads").display().to_string();
    let earlier = |days: u64| format!("{}\tdisk:{what}\t{}\n", now - days * DAY, used.saturating_sub(days * gib));
    fs::write(&record, format!("{}{}{text}", earlier(10), earlier(5))).unwrap();
    let days = size.saturating_sub(used) / gib;
    let limit = (days + 5).to_string();
    let late = grow(&place, 1, &[("warn_days", &limit)]);
    let told: u64 = late.text.split(" is full in ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(told.abs_diff(days) <= 2, "{told}, not {days}");
    place.operator.saw("S2-51", &late, "predict");
    let in_time = grow(&place, 0, &[("warn_days", &days.saturating_sub(5).to_string())]);
    let a_day: u64 = in_time.output("predict", "disk_a_day").parse().unwrap();
    assert!(a_day.abs_diff(gib) < gib / 10, "{a_day}");
    assert_eq!(in_time.show["outputs"]["full_in_days"], in_time.output("predict", "days"));
    place.operator.saw("S2-51", &in_time, "predict");
}

#[test]
fn room_is_made_and_nothing_is_lost() {
    let place = Place::serving();
    let (hot, cold, temporary) = (place.stack.path("uploads"), place.stack.path("cold"), place.stack.path("tmp/mine"));
    for folder in [&cold, &temporary, &hot.join("deep")] {
        fs::create_dir_all(folder).unwrap();
    }
    let much = "the same line again and again\n".repeat(50_000);
    for name in ["one", "two", "it's; a \"name\"\nof two lines"] {
        fs::write(hot.join(name), &much).unwrap();
    }
    fs::write(hot.join("deep/old"), &much).unwrap();
    age(&hot.join("deep/old"), 100);
    fs::write(temporary.join("old"), "x").unwrap();
    age(&temporary.join("old"), 8);
    fs::write(temporary.join("new"), "x").unwrap();

    let before = used(&hot);
    let [to, waste] = [&cold, &temporary].map(|path| path.display().to_string());
    let room = [("reclaim", "true"), ("cold", to.as_str()), ("temporary", &waste)];
    let made = grow(&place, 0, &room);
    assert!(used(&hot) * 3 < before, "{before}, then {}", used(&hot));
    assert_eq!((made.output("cool", "moved"), made.output("temporary", "deleted")), ("1".into(), "1".into()));
    assert!(!hot.join("deep/old").exists() && temporary.join("new").exists() && !temporary.join("old").exists());
    let back = finish(Command::new("zstd").args(["-dcq"]).arg(cold.join("deep/old.zst"))).stdout;
    assert!(back == much, "what is cold can be read");
    assert!(fs::metadata(cold.join("deep/old.zst")).unwrap().len() * 10 < much.len() as u64);
    for name in ["one", "two", "it's; a \"name\"\nof two lines"] {
        assert!(fs::read_to_string(hot.join(name)).unwrap() == much, "{name}");
    }
    place.operator.saw("S2-55", &made, "dedupe");

    // A folder too far up is no folder of temporary files.
    let up = place.stack.folder().display().to_string();
    let refused = grow(&place, 1, &[("reclaim", "true"), ("temporary", &up), ("temporary_days", "3650")]);
    assert!(refused.text.contains("where all that is old would be deleted"), "{}", refused.text);

    // A name that is taken in the cold folder: nothing is overwritten, nothing deleted.
    fs::write(hot.join("deep/old"), "another one").unwrap();
    age(&hot.join("deep/old"), 100);
    let taken = grow(&place, 1, &room);
    assert!(taken.text.contains("old.zst is there already"), "{}", taken.text);
    assert_eq!(fs::read_to_string(hot.join("deep/old")).unwrap(), "another one");
    let inside = hot.join("deep").display().to_string();
    let refused = grow(&place, 1, &[("reclaim", "true"), ("cold", &inside)]);
    assert!(refused.text.contains("what is cold would be hot again"), "{}", refused.text);
}
