//! The servers and the proxy do what tests of others rely on.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use runward_services::{Postgres, Proxy, Reaches, Redis, Signal, Target};

/// Waits for what has to happen; the test runner says when it never does.
fn until(mut happened: impl FnMut() -> bool) {
    while !happened() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_postgres_keeps_what_it_has_through_a_crash() {
    let mut postgres = Postgres::start();
    postgres.database("shop");
    postgres.sql("shop", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    assert_eq!(postgres.sql("shop", "SHOW fsync"), "on");
    for signal in [Signal::Interrupt, Signal::Quit, Signal::Kill] {
        postgres.stop(signal);
        assert!(postgres.ask("shop", "SELECT 1").is_err());
        postgres.start_again();
        assert_eq!(postgres.sql("shop", "SELECT n FROM t"), "7");
    }
}

#[test]
fn a_postgres_comes_up_again_while_a_process_of_the_one_before_is_still_ending() {
    let mut postgres = Postgres::start();
    let writer = postgres.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'");
    let tell = |signal: &str| assert!(Command::new("kill").args(["-s", signal, &writer]).status().unwrap().success());
    tell("STOP");
    postgres.stop(Signal::Kill);
    std::thread::scope(|scope| {
        let refused = postgres.folder().join("log");
        let tell = &tell;
        scope.spawn(move || {
            until(|| std::fs::read_to_string(&refused).unwrap().contains("is still in use"));
            tell("CONT");
        });
        postgres.start_again();
    });
    assert_eq!(postgres.sql("postgres", "SELECT 1"), "1");
}

#[test]
fn a_redis_freezes_and_comes_back_empty() {
    let mut redis = Redis::start_with(&["--maxmemory", "4mb"]);
    redis.command(&["set", "a", "1"]);
    assert_eq!(redis.command(&["config", "get", "maxmemory"]), "maxmemory\n4194304");
    let proxy = Proxy::to(redis.target());
    redis.freeze();
    let mut line = TcpStream::connect(proxy.address()).unwrap();
    line.write_all(b"PING\r\n").unwrap();
    redis.thaw();
    let mut answer = [0; 7];
    line.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    redis.stop(Signal::Kill);
    redis.start_again();
    assert_eq!(redis.command(&["get", "a"]), "");
}

#[test]
fn servers_are_gone_with_a_test_that_is_killed() {
    let mut test = Command::new(env!("CARGO_BIN_EXE_runward-services"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.take(3).last().unwrap();
    let (processes, folder) = said.strip_prefix("# processes ").unwrap().split_once(", in ").unwrap();
    let mut left: Vec<PathBuf> = processes.split(' ').map(|process| Path::new("/proc").join(process)).collect();
    left.push(folder.into());
    assert!(left.iter().all(|path| path.exists()), "{said}");
    test.kill().unwrap();
    test.wait().unwrap();
    until(|| left.iter().all(|path| !path.exists()));
}

/// Says everything back, and what it heard of each connection when that is over.
fn echo() -> (Proxy, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::to(Target::Tcp(listener.local_addr().unwrap()));
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for mut line in listener.incoming().flatten() {
            let (mut all, mut piece) = (Vec::new(), [0; 100]);
            while let Ok(read @ 1..) = line.read(&mut piece) {
                all.extend(&piece[..read]);
                let _ = line.write_all(&piece[..read]);
            }
            tell.send(all).unwrap();
        }
    });
    (proxy, heard)
}

fn says(proxy: &Proxy, words: &[u8]) -> TcpStream {
    let mut line = TcpStream::connect(proxy.address()).unwrap();
    line.write_all(words).unwrap();
    line
}

fn hears(line: &mut TcpStream, words: &[u8]) {
    let mut answer = vec![0; words.len()];
    line.read_exact(&mut answer).unwrap();
    assert_eq!(answer, words);
}

fn is_over(mut line: TcpStream) -> bool {
    matches!(line.read(&mut [0; 1]), Ok(0) | Err(_))
}

#[test]
fn a_line_can_be_cut_and_refused() {
    let (proxy, _heard) = echo();
    let mut line = says(&proxy, b"one");
    hears(&mut line, b"one");
    proxy.cut();
    assert!(is_over(line));
    hears(&mut says(&proxy, b"two"), b"two");
    proxy.refuse();
    assert!(is_over(TcpStream::connect(proxy.address()).unwrap()));
    proxy.accept();
    hears(&mut says(&proxy, b"three"), b"three");
}

#[test]
fn a_half_open_line_passes_nothing_until_it_is_thawed() {
    let (proxy, heard) = echo();
    let mut line = says(&proxy, b"one");
    hears(&mut line, b"one");
    proxy.freeze();
    line.write_all(b" two").unwrap();
    let mut another = says(&proxy, b"three");
    line.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(line.read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    line.set_read_timeout(None).unwrap();
    proxy.thaw();
    hears(&mut line, b" two");
    drop(line);
    hears(&mut another, b"three");
    assert_eq!(heard.recv().unwrap(), b"one two");
}

#[test]
fn words_that_cut_the_line_reach_the_server_or_nobody() {
    let (proxy, heard) = echo();
    for (reaches, server_hears) in [(Reaches::TheServer, &b"begin COMMIT"[..]), (Reaches::Nobody, b"begin COM")] {
        proxy.cut_at("COMMIT", reaches);
        let mut line = says(&proxy, b"begin COM");
        hears(&mut line, b"begin COM");
        line.write_all(b"MIT").unwrap();
        assert!(is_over(line), "the answer is swallowed");
        assert_eq!(heard.recv().unwrap(), server_hears);
    }
    assert_eq!(proxy.cuts(), 2);
    hears(&mut says(&proxy, b"COMMIT"), b"COMMIT");
}

#[test]
fn a_slow_line_passes_everything() {
    let (proxy, _heard) = echo();
    proxy.delay(Duration::from_millis(1));
    proxy.throttle(Some(100_000));
    let words: Vec<u8> = (0..5_000_u32).map(|n| n as u8).collect();
    hears(&mut says(&proxy, &words), &words);
}
