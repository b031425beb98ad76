//! What steps print is kept as it was, can be followed while it grows, and never fills a disk or a memory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Scene, children, finish, kill_9, step_of, wait};

fn scene(steps: &str) -> Scene {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        format!(
            "params: {{dir: {{type: path, required: true}}}}\ndefaults: {{env: {{DIR: '${{{{ params.dir }}}}'}}}}\n{steps}"
        ),
    );
    scene
}

#[test]
fn five_megabytes_of_noise_come_back_byte_for_byte() {
    let scene = scene(
        "steps:\n  - id: noise\n    run: 'head -c 5000000 /dev/urandom | tee \"$DIR/noise\"; echo to the side >&2'\n",
    );
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "-q"]);
    let kept = scene.expect(0, &["logs", "last", "noise", "--raw", "--stdout"]).stdout_bytes;
    assert!(kept == fs::read(scene.path("noise")).unwrap(), "{} bytes differ from what was printed", kept.len());
    let both = scene.expect(0, &["logs", "last", "--raw"]).stdout_bytes;
    assert_eq!(both.len(), kept.len() + "to the side\n".len());
    assert_eq!(scene.last()["attempts"][0]["log_bytes"], both.len());
}

#[test]
fn both_streams_are_kept_and_told_apart() {
    let scene = scene("steps:\n  - run: 'echo out; echo err >&2'\n");
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    let text = scene.expect(0, &["logs", "last"]).stdout;
    assert!(text.contains("step_1 | out") && text.contains("step_1 | err"), "{text}");
    assert_eq!(scene.expect(0, &["logs", "last", "--raw", "--stdout"]).stdout, "out\n");
    let json = scene.expect(0, &["logs", "last", "--format", "json"]).stdout;
    let streams: Vec<String> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["stream"].to_string())
        .collect();
    assert_eq!(streams.len(), 2, "{json}");
    assert_ne!(streams[0], streams[1], "{json}");
}

/// The most memory a process ever held, in KiB.
fn memory_peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[test]
fn two_hundred_megabytes_keep_their_head_and_tail_and_little_memory() {
    const PRINTED: usize = 200_000_000;
    const KEPT: usize = 128 * 1024 * 1024;
    let scene = scene(&format!(
        "steps:\n  - id: floods\n    run: |\n      echo head-of-it\n      \
         head -c {} /dev/zero | tr '\\0' x\n      echo; echo tail-of-it\n      touch \"$DIR/printed\"\n      \
         until test -e \"$DIR/go\"; do sleep 0.05; done\n",
        PRINTED - "head-of-it\n\ntail-of-it\n".len()
    ));
    let mut driver = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    wait("all output", || scene.path("printed").exists());
    let supervisors = children(driver.id());
    assert!(!supervisors.is_empty());
    for pid in supervisors.iter().copied().chain([driver.id()]) {
        let peak = memory_peak(pid);
        assert!(peak > 0 && peak < 64 * 1024, "process {pid} held {peak} KiB");
    }
    scene.file("go", "");
    assert!(driver.wait().unwrap().success(), "{}", scene.read("started.out"));

    let attempt = scene.last()["attempts"][0].clone();
    let dropped = attempt["log_dropped"].as_u64().unwrap() as usize;
    assert_eq!(attempt["log_bytes"], PRINTED);
    assert!(dropped >= PRINTED - KEPT, "no more than the limit is kept: {dropped} dropped");
    assert!(dropped < PRINTED - KEPT + 4 * 1024 * 1024, "about the limit is kept: {dropped} dropped");

    let raw = scene.expect(0, &["logs", "last", "--raw"]).stdout_bytes;
    let marker = format!("\n[runward: {dropped} bytes were not kept]\n");
    assert!(raw.starts_with(b"head-of-it\nxxxx") && raw.ends_with(b"xxxx\ntail-of-it\n"));
    assert_eq!(raw.len(), PRINTED - dropped + marker.len(), "the marker names exactly what is missing");
    let text = &raw[raw.len() / 4..raw.len() / 4 * 3];
    let found = text.windows(marker.len()).filter(|window| *window == marker.as_bytes()).count();
    assert_eq!(found, 1, "one marker, between head and tail");
}

#[test]
fn a_line_without_end_does_not_fill_the_memory_of_its_reader() {
    let scene = scene("steps:\n  - run: 'head -c 50000000 /dev/zero | tr \"\\0\" x'\n");
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "-q"]);
    // 32 MiB would not hold the line.
    let mut limited = std::process::Command::new("bash");
    let binary = env!("CARGO_BIN_EXE_runward");
    limited.args(["-c", &format!("ulimit -d 32768; exec '{binary}' logs last | wc -c")]);
    limited.env("RUNWARD_STATE", scene.path("state"));
    let done = finish(&mut limited);
    let shown: usize = done.stdout.trim().parse().unwrap_or(0);
    assert!(shown > 50_000_000, "{shown} bytes shown: {}", done.stderr);
}

#[test]
fn a_log_can_be_followed_while_it_grows_and_ends_with_the_run() {
    let scene = scene(
        "steps:\n  - {id: one, run: 'echo first; until test -e \"$DIR/go\"; do sleep 0.02; done; echo second'}\n  \
         - {id: two, run: echo third}\n",
    );
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--detach"]);
    let mut follower =
        scene.runward().args(["logs", "-f", "last"]).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().expect("a line while the step still runs");
    assert!(first.contains("one | first"), "{first}");
    assert!(!scene.path("go").exists(), "seen before the step could end");
    scene.file("go", "");
    let rest: Vec<String> = lines.collect();
    assert!(rest.len() == 2 && rest[0].contains("one | second") && rest[1].contains("two | third"), "{rest:?}");
    assert!(follower.wait().unwrap().success());
}

#[test]
fn every_attempt_has_its_own_log() {
    let scene = scene(
        "steps:\n  - id: flaky\n    run: 'echo try $RUNWARD_ATTEMPT; test $RUNWARD_ATTEMPT -eq 3'\n    \
         retry: {attempts: 3, delay: 10ms}\n",
    );
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    assert_eq!(scene.expect(0, &["logs", "last", "flaky", "--attempt", "2", "--raw"]).stdout, "try 2\n");
    assert_eq!(scene.expect(0, &["logs", "last", "flaky", "--raw"]).stdout, "try 3\n");
    assert_eq!(scene.expect(0, &["logs", "last", "--raw"]).stdout, "try 1\ntry 2\ntry 3\n");
    let unknown = scene.expect(2, &["logs", "last", "flakey"]);
    assert!(unknown.stderr.contains("its steps: flaky"), "{}", unknown.stderr);
}

#[test]
fn one_item_of_a_for_each_can_be_read() {
    let scene = scene("steps:\n  - {id: each, for-each: [a, b], run: 'echo for ${{ item }}'}\n");
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    assert_eq!(scene.expect(0, &["logs", "last", "each[1]", "--raw"]).stdout, "for b\n");
}

#[test]
fn output_cannot_drive_the_terminal_of_whoever_reads_it() {
    let scene = scene(
        "steps:\n  - run: 'printf \"\\033]0;title\\007\\033[2Jback\\rspace\\033[31m red\\n\"; printf \"备份\\377\\n\"; exit 1'\n",
    );
    let done = scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    let logs = scene.expect(0, &["logs", "last"]);
    for text in [&done.stdout, &done.stderr, &logs.stdout] {
        let unseen = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(unseen, None, "{text:?}");
    }
    assert!(logs.stdout.contains("备份") && logs.stdout.contains("␛]0;title␇"), "{}", logs.stdout);
    let raw = scene.expect(0, &["logs", "last", "--raw"]).stdout_bytes;
    assert_eq!(raw, b"\x1b]0;title\x07\x1b[2Jback\rspace\x1b[31m red\n\xe5\xa4\x87\xe4\xbb\xbd\xff\n");
}

#[test]
fn the_output_of_a_step_whose_driver_was_killed_is_complete() {
    let scene = scene(
        "steps:\n  - id: counts\n    run: |\n      n=0\n      echo begin; touch \"$DIR/began\"\n      \
         until test -e \"$DIR/go\"; do n=$((n+1)); echo $n; sleep 0.01; done\n      echo $n > \"$DIR/n\"\n",
    );
    let mut driver = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    wait("the step", || scene.path("began").exists());
    kill_9(&mut driver);
    let mut resumed = scene.start(&["resume", "last"]);
    scene.wait_for("started.out", "still runs");
    scene.file("go", "");
    assert!(resumed.wait().unwrap().success());
    let n: usize = scene.read("n").trim().parse().unwrap();
    let wanted: String = std::iter::once("begin\n".to_owned()).chain((1..=n).map(|n| format!("{n}\n"))).collect();
    assert_eq!(scene.expect(0, &["logs", "last", "--raw"]).stdout, wanted);
    assert_eq!(step_of(&scene.last(), "counts")["attempts"], 1);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scene = scene("steps:\n  - run: 'seq 1 200000'\n");
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "-q"]);
    let mut piped = std::process::Command::new("bash");
    let binary = env!("CARGO_BIN_EXE_runward");
    piped.args(["-o", "pipefail", "-c", &format!("'{binary}' logs last --raw | head -n 1")]);
    piped.env("RUNWARD_STATE", scene.path("state"));
    let done = finish(&mut piped);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "1\n", ""));
}

#[test]
fn a_run_shows_the_output_as_it_happens_or_keeps_quiet() {
    let scene = scene("steps:\n  - run: echo here it is\n");
    let loud = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    assert!(loud.stdout.contains("step_1 | here it is"), "{}", loud.stdout);
    let quiet = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "-q"]);
    assert!(!quiet.stdout.contains("here it is"), "{}", quiet.stdout);
}

#[test]
fn an_item_is_called_by_its_value_wherever_its_number_alone_would_say_little() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {pins: {type: list, sensitive: true, default: [opensesame]}}\nsteps:\n  \
         - {id: ping, for-each: [web1, \"web 9\\e[2J\", 7], stop-after-failures: 9, allow-failure: true, run: \"[[ $RUNWARD_STEP != 'ping[1]' ]]\"}\n  \
         - {id: pin, for-each: \"${{ params.pins }}\", run: \"true\"}\n",
    );
    let run = scene.run(&["run", "book.yaml"]);
    let said = format!("{}{}", run.stdout, run.stderr);
    for line in ["▶ ping[0] (web1)", "✓ ping[0] (web1) succeeded", "✗ ping[1] (web 9) failed", "ping[2] (7)"] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    let show = scene.expect(0, &["show", "last"]).stdout;
    assert!(show.contains("✗ ping[1] (web 9)") && show.contains("pin[0] "), "{show}");
    let items = &scene.last()["items"];
    assert_eq!((&items["ping[0]"], &items["ping[2]"], &items["pin[0]"]), (&json!("web1"), &json!("7"), &Value::Null));
    assert!(!(said + &show).contains("opensesame"));
}
