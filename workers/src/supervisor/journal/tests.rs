//! The journal on a real disk, with threads that race for it.

use std::fs::OpenOptions;
use std::io::Write;

use super::rules::{line, shortened};
use super::*;
use crate::supervisor::spool::LogSummary;

fn attempt() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("claim");
    open(&dir).unwrap();
    (folder, dir)
}

fn result(boot: &str) -> AttemptResult {
    AttemptResult {
        boot: boot.into(),
        end: End::Exited { code: 0 },
        started_at_ms: 1,
        ended_at_ms: 2,
        cpu_ms: None,
        max_rss_kib: None,
        log: LogSummary::default(),
        orphans: vec![Orphan { pid: 1, command: "two\nlines".into() }],
        unkillable: Vec::new(),
    }
}

#[test]
fn whoever_decides_first_wins_and_the_other_side_learns_of_it() {
    let ((_a, void_first), (_b, start_first)) = (attempt(), attempt());
    assert_eq!(read_mark(&void_first).unwrap(), None);
    assert_eq!(try_void(&void_first).unwrap(), Mark::Void);
    assert_eq!(start(&void_first).unwrap().unwrap_err(), Mark::Void);
    let started = start(&start_first).unwrap().unwrap();
    assert_eq!(start(&start_first).unwrap().unwrap_err(), Mark::Started);
    assert_eq!(try_void(&start_first).unwrap(), Mark::Started);
    drop(started);
    assert_eq!(start(&start_first).unwrap().unwrap_err(), Mark::Started, "dead is not never");
    assert_eq!(read_mark(&start_first).unwrap(), Some(Mark::Started));
    assert_eq!(fs::read_dir(start_first.parent().unwrap()).unwrap().count(), 1, "one file in all");
}

#[test]
fn of_many_who_want_to_start_one_does() {
    for _ in 0..200 {
        let (_folder, dir) = attempt();
        let won: Vec<Option<Started>> = std::thread::scope(|scope| {
            let starters: Vec<_> = (0..4).map(|_| scope.spawn(|| start(&dir).unwrap().ok())).collect();
            let voider = scope.spawn(|| try_void(&dir).unwrap());
            let won = starters.into_iter().map(|starter| starter.join().unwrap()).collect();
            voider.join().unwrap();
            won
        });
        let starts = won.iter().flatten().count();
        let expected = if read_mark(&dir).unwrap() == Some(Mark::Started) { 1 } else { 0 };
        assert_eq!(starts, expected);
    }
}

#[test]
fn whoever_looks_while_it_is_decided_finds_it() {
    for round in 0..400 {
        let (_folder, dir) = attempt();
        std::thread::scope(|scope| {
            let looker = scope.spawn(|| while read_mark(&dir).unwrap().is_none() {});
            let _ = if round % 2 == 0 { start(&dir).map(drop) } else { try_void(&dir).map(|_| ()) };
            looker.join().unwrap();
        });
    }
}

#[test]
fn the_lock_tells_the_living_from_the_dead() {
    let (_folder, dir) = attempt();
    assert!(!is_alive(&dir).unwrap());
    let started = start(&dir).unwrap().unwrap();
    assert!(is_alive(&dir).unwrap());
    assert!(!wait_until_dead(&dir, Duration::from_millis(1)).unwrap());
    drop(started);
    assert!(wait_until_dead(&dir, Duration::ZERO).unwrap());
}

#[test]
fn a_result_is_whole_or_not_there() {
    let (_folder, dir) = attempt();
    assert_eq!(read_result(&dir, "b").unwrap(), None, "claimed");
    let _started = start(&dir).unwrap().unwrap();
    assert_eq!(read_result(&dir, "b").unwrap(), None, "started");
    let mut torn = OpenOptions::new().append(true).open(lock_path(&dir)).unwrap();
    torn.write_all(b"\n{\"boot\":\"b\",").unwrap();
    assert_eq!(read_result(&dir, "b").unwrap(), None, "torn");
    write_result(&dir, &result("b")).unwrap();
    assert_eq!(read_result(&dir, "b").unwrap(), Some(result("b")));
    assert_eq!(read_result(&dir, "next boot").unwrap(), None);
    let mut many = result("b");
    many.orphans = vec![Orphan { pid: 7, command: "x".repeat(256) }; 100];
    write_result(&dir, &many).unwrap();
    assert_eq!(read_result(&dir, "b").unwrap(), Some(many.clone()), "longer than what was reserved");
    let longest = Orphan { pid: i32::MAX, command: "\u{1}".repeat(256) };
    (many.orphans, many.unkillable) = (vec![longest.clone(); 100], vec![longest; 100]);
    assert!(
        (line(&shortened(many)).unwrap().len() as u64) < rules::BYTES_RESERVED - 64,
        "fits where nothing else does"
    );
    fs::remove_file(lock_path(&dir)).unwrap();
    assert!(matches!(read_result(&dir, "b"), Err(JournalError::Gone { .. })));
    assert!(matches!(write_result(&dir, &result("b")), Err(JournalError::Io { .. })), "nothing comes back");
}
