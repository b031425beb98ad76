//! What a step prints is kept: every byte up to the limit, head and tail beyond it.

use std::process::Command;

use runward_workers::supervisor::journal::End;
use runward_workers::supervisor::log::{LogItem, LogReader};
use runward_workers::supervisor::spool::Stream;

use crate::world::*;

#[tokio::test]
async fn binary_output_is_kept_byte_by_byte_on_both_streams() {
    let mut world = World::new();
    for name in ["out", "err"] {
        let random = format!("head -c 3000000 /dev/urandom > {}", world.path(&format!("{name}.bin")).display());
        assert!(Command::new("sh").args(["-c", &random]).status().unwrap().success());
    }
    let launch = world.launch("both", "cat out.bin & cat err.bin >&2; wait");
    let result = world.run(&launch).await;
    assert_eq!((result.log.bytes, result.log.dropped, result.log.error), (6_000_000, 0, None));
    assert!(output(&launch, Stream::Out) == std::fs::read(world.path("out.bin")).unwrap());
    assert!(output(&launch, Stream::Err) == std::fs::read(world.path("err.bin")).unwrap());
}

#[tokio::test]
async fn the_hash_in_the_result_is_that_of_the_output() {
    let mut world = World::new();
    let launch = world.launch("hash", "seq 500000");
    let result = world.run(&launch).await;
    let expected = Command::new("sh").args(["-c", "seq 500000 | sha256sum"]).output().unwrap().stdout;
    assert_eq!(result.log.sha256, String::from_utf8(expected).unwrap().split_whitespace().next().unwrap());
}

#[tokio::test]
async fn a_gigabyte_keeps_head_and_tail_and_little_memory() {
    const GIB: u64 = 1 << 30;
    let mut world = World::new();
    let (pid_file, go) = (world.path("pid"), world.path("go"));
    let wait = format!("echo $PPID > {}; while [ ! -e {} ]; do sleep 0.01; done", pid_file.display(), go.display());
    let launch = world.launch("huge", &format!("printf head; head -c {} /dev/zero; printf tail; {wait}", GIB - 8));
    world.requests.start(launch.clone()).unwrap();
    let subreaper = pid_in(&pid_file);
    let peaks = [subreaper, world.supervisor_pid()].map(peak_rss_kib);
    std::fs::write(go, "").unwrap();
    let result = world.ended(&launch).await;
    assert!(peaks.iter().sum::<u64>() < 16 * 1024, "{peaks:?} KiB");
    println!("peak RSS of subreaper and supervisor: {peaks:?} KiB");

    let segment = launch.log_bytes_max / 8;
    assert_eq!((result.log.bytes, result.log.error), (GIB, None));
    assert_eq!(result.log.dropped, GIB - launch.log_bytes_max, "head and tail are whole segments");
    let (mut at, mut gaps, mut first, mut last) = (0, Vec::new(), Vec::new(), Vec::new());
    for item in LogReader::open(&launch.dir).unwrap() {
        match item.unwrap() {
            LogItem::Gap { bytes } => {
                gaps.push((at, bytes));
                at += bytes;
            }
            LogItem::Chunk { offset, bytes, .. } => {
                assert_eq!(offset, at);
                at += bytes.len() as u64;
                if first.is_empty() {
                    first = bytes.clone();
                }
                last = bytes;
            }
        }
    }
    assert_eq!((at, gaps), (GIB, vec![(4 * segment, result.log.dropped)]));
    assert!(first.starts_with(b"head") && last.ends_with(b"tail"));
    let on_disk: u64 =
        std::fs::read_dir(&launch.dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(on_disk < launch.log_bytes_max + launch.log_bytes_max / 50, "{on_disk} bytes");
}

#[tokio::test]
async fn output_can_be_followed_while_the_step_runs() {
    let mut world = World::new();
    let go = world.path("go");
    let launch =
        world.launch("follow", &format!("echo one; while [ ! -e {} ]; do sleep 0.01; done; echo two", go.display()));
    world.requests.start(launch.clone()).unwrap();
    let mut reader = LogReader::open(&launch.dir).unwrap();
    let mut next = || match until("the next line", || reader.next()).unwrap() {
        LogItem::Chunk { bytes, .. } => bytes,
        gap => panic!("{gap:?}"),
    };
    assert_eq!(next(), b"one\n");
    std::fs::write(go, "").unwrap();
    assert_eq!(next(), b"two\n");
    assert_eq!(world.ended(&launch).await.end, End::Exited { code: 0 });
}

#[tokio::test]
async fn a_full_disk_loses_output_but_neither_the_step_nor_the_count() {
    let mut world = World::new();
    let launch = world.launch("full", "head -c 1000000 /dev/zero; echo survived >&2; exit 7");
    std::os::unix::fs::symlink("/dev/full", launch.dir.join("log.000000")).unwrap();
    let result = world.run(&launch).await;
    assert_eq!(result.end, End::Exited { code: 7 });
    assert_eq!((result.log.bytes, result.log.dropped), (1_000_009, 1_000_009));
    assert!(result.log.error.is_some());
}
