//! Tens of thousands of values that mean harm, through shells, programs, databases and requests: each arrives byte for
//! byte, or is refused; no table is dropped, and no canary runs.

use std::fs;
use std::process::Command;

use percent_encoding::percent_decode_str;
use runward_services::Postgres;
use serde_json::{Value, json};

use crate::harness::Scene;
use crate::http_server::{Server, reply};

/// Values of one run, and runs.
const VALUES: usize = 2_000;
const RUNS: u64 = 9;
/// Values that have a step, a connection and a statement of their own.
const SINGLE: usize = 150;

const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "\\",
    "\\'",
    "\\\\",
    "`",
    ";",
    "--",
    "/*",
    "*/",
    "$1",
    "$$",
    "$a$",
    "?1",
    "?",
    ":x",
    "@x",
    "%s",
    "%",
    "_",
    "\n",
    "\r\n",
    "\t",
    "\u{1}",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "e\u{301}",
    "备份",
    "😀",
    "\u{10fffd}",
    "{",
    "}",
    "[",
    "]",
    ",",
    "NULL",
    "null",
    "\\N",
    "\\x00",
    "{{",
    "${{ params.x }}",
    "); drop table t; --",
    "'; drop table t; --",
    "' or '1'='1",
    "E'\\''",
    "0x41",
    " ",
    "a",
    "Z",
    "0",
    "&",
    "<script>",
    "#",
    "../",
    "%00",
    "%0d%0a",
    "+",
    "=",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned;",
    "\n touch pwned\n",
    "$((1+1))",
    "${HOME}",
    "*",
    "~",
    "!!",
    "-n",
];

/// The same ones for the same seed.
fn values(seed: u64, many: usize) -> Vec<String> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    (0..many).map(|_| (0..=next(6)).map(|_| PIECES[next(PIECES.len())]).collect()).collect()
}

/// As JSON that is YAML, too: what nobody sees is written as an escape.
fn written(values: &[String]) -> String {
    let text = json!({ "values": values }).to_string();
    let unseen = |c: char| c == '\u{7f}' || ('\u{80}'..'\u{a0}').contains(&c) || matches!(c, '\u{202e}' | '\u{feff}');
    text.chars().map(|c| if unseen(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// Runs `x.yaml` with a list of values.
fn run_with(scene: &Scene, values: &[String]) {
    scene.file("values.yaml", written(values));
    scene.expect(0, &["run", "x.yaml", "--params-file", "values.yaml"]);
}

const PARAMS: &str = "params: {values: {type: list, required: true}}\n";

/// Each value in a statement of its own.
fn singly(insert: &str) -> String {
    format!(
        "{PARAMS}steps:\n  - for-each: ${{{{ params.values }}}}\n    max-parallel: 4\n    sql: {{connection: app, query: \"{insert}\", expect: {{rows: 1}}}}\n"
    )
}

fn all_arrive(scene: &Scene, together: &str, single: &str, kept: impl Fn() -> String) {
    for seed in 0..RUNS {
        let values = values(seed, VALUES);
        scene.file("x.yaml", format!("{PARAMS}steps:\n  - sql: {{connection: app, query: \"delete from t; {together}\", expect: {{rows: {VALUES}}}}}\n"));
        run_with(scene, &values);
        let kept: Vec<String> = serde_json::from_str(&kept()).unwrap();
        assert!(kept == values, "seed {seed}: {:?}", kept.iter().zip(&values).find(|(kept, value)| kept != value));
    }
    let values = values(RUNS, SINGLE);
    scene.file("x.yaml", format!("{PARAMS}steps:\n  - sql: {{connection: app, query: 'delete from t where ${{{{ params.values | length }}}} > 0'}}\n"));
    run_with(scene, &values);
    scene.file("x.yaml", singly(single));
    run_with(scene, &values);
    let kept: Vec<String> = serde_json::from_str(&kept()).unwrap();
    assert_eq!(kept, values);
    println!("{} values, each byte for byte, in a table", RUNS as usize * VALUES + SINGLE);
}

/// What was put down, each with a NUL behind it.
fn arrived(scene: &Scene, name: &str) -> Vec<String> {
    let text = fs::read(scene.path(name)).unwrap();
    let mut values: Vec<String> =
        text.split(|byte| *byte == 0).map(|it| String::from_utf8(it.to_vec()).unwrap()).collect();
    assert_eq!(values.pop().as_deref(), Some(""));
    values
}

#[test]
fn every_value_arrives_in_a_shell_and_in_a_program_as_it_is() {
    let scene = Scene::new();
    let print = scene.file("print", "#!/bin/sh\nfor a; do printf '%s\\0' \"$a\"; done > \"$OUT\"\n");
    let value = |n: usize| format!("${{{{ params.values[{n}] }}}}");
    // In every kind of quotes, which are part of the words of a shell and not of a value.
    let puts: String = (0..VALUES)
        .map(|n| match n % 3 {
            0 => format!("      put {}\n", value(n)),
            1 => format!("      put \"{}\"\n", value(n)),
            _ => format!("      put '{}'\n", value(n)),
        })
        .collect();
    let arguments: String = (0..VALUES).map(|n| format!("      - {}\n", value(n))).collect();
    let script = |shell: &str| {
        format!(
            "  - id: {shell}\n    shell: {shell}\n    run: |\n      exec > '{}'\n      put() {{ printf '%s\\0' \"$1\"; }}\n{puts}",
            scene.path(shell).display()
        )
    };
    scene.file(
        "x.yaml",
        format!(
            "{PARAMS}steps:\n{}{}  - id: program\n    env: {{OUT: '{}'}}\n    cmd:\n      - sh\n      - {}\n{arguments}",
            script("bash"),
            script("sh"),
            scene.path("program").display(),
            print.display()
        ),
    );
    for seed in 0..RUNS {
        let values = values(seed, VALUES);
        run_with(&scene, &values);
        for name in ["bash", "sh", "program"] {
            let arrived = arrived(&scene, name);
            let other = arrived.iter().zip(&values).find(|(arrived, value)| arrived != value);
            assert!(arrived == values, "seed {seed}, {name}: {other:?}");
        }
    }
    println!("{} values, each byte for byte, in bash, in sh and in a program", 3 * RUNS as usize * VALUES);
    let pwned = Command::new("find").arg(scene.path(".")).args(["-name", "pwned"]).output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&pwned), "");
}

#[test]
fn every_value_arrives_in_postgres_as_it_is() {
    let postgres = Postgres::start();
    let scene = Scene::new();
    scene.file("runward.toml", format!("[connections.app]\nurl = \"{}\"\n", postgres.database("app")));
    postgres.sql("app", "create table t (n bigint primary key, v text)");
    all_arrive(
        &scene,
        "insert into t select n, v from unnest(${{ params.values }}::text[]) with ordinality as u(v, n)",
        "insert into t values (${{ index }}, ${{ item }})",
        || postgres.sql("app", "select json_agg(v order by n) from t"),
    );
}

#[test]
fn every_value_arrives_in_sqlite_as_it_is() {
    let scene = Scene::new();
    scene.file("runward.toml", "[connections.app]\nurl = \"sqlite:app.db\"\n");
    let sqlite = |sql: &str| {
        let done = Command::new("sqlite3").arg(scene.path("app.db")).arg(sql).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    sqlite("create table t (n int primary key, v text)");
    all_arrive(
        &scene,
        "insert into t select key, value from json_each(${{ params.values | json }})",
        "insert into t values (${{ index }}, ${{ item }})",
        || sqlite("select json_group_array(v) from (select v from t order by n)"),
    );
}

#[test]
fn every_value_arrives_at_a_server_as_it_is() {
    let server = Server::start(|_, stream| reply(stream, "200 OK", "", ""));
    let scene = Scene::new();
    let base = server.base();
    for seed in 0..RUNS {
        let values = values(seed, VALUES);
        scene.file(
            "x.yaml",
            format!(
                "{PARAMS}steps:\n  - http: {{url: '{base}/', method: POST, json: {{v: '${{{{ params.values }}}}'}}}}\n"
            ),
        );
        run_with(&scene, &values);
        let body: Value = serde_json::from_str(&server.asked().pop().unwrap().body).unwrap();
        assert!(body == json!({ "v": values }), "seed {seed}");
    }
    let before = server.asked().len();
    let values = values(RUNS, SINGLE);
    scene.file(
        "x.yaml",
        format!("{PARAMS}steps:\n  - for-each: ${{{{ params.values }}}}\n    max-parallel: 1\n    http: {{url: '{base}/?q=${{{{ item }}}}&n=${{{{ index }}}}', method: POST, body: '${{{{ item }}}}'}}\n"),
    );
    run_with(&scene, &values);
    for (n, (asked, value)) in server.asked().iter().skip(before).zip(&values).enumerate() {
        let query = asked.line.split_once("?q=").unwrap().1;
        let (encoded, rest) = query.split_once('&').unwrap();
        assert_eq!(percent_decode_str(encoded).decode_utf8().unwrap(), *value);
        assert_eq!((rest, &asked.body), (format!("n={n} HTTP/1.1").as_str(), value));
    }
    assert_eq!(server.asked().len() - before, SINGLE);
    println!("{} values, each byte for byte, at a server", RUNS as usize * VALUES + SINGLE);
}

#[test]
fn what_no_place_can_hold_is_refused_before_anything_starts() {
    let server = Server::start(|_, stream| reply(stream, "200 OK", "", ""));
    let scene = Scene::new();
    scene.file("runward.toml", "[connections.app]\nurl = \"sqlite:app.db?mode=rwc\"\n");
    for (code, step, value, why) in [
        (2, "sql: {connection: app, query: 'select ${{ params.values | first }}'}", "a\0b".to_owned(), "NUL byte"),
        (
            1,
            "sql: {connection: app, query: 'select ${{ params.values | first }}'}",
            "x".repeat(130_000),
            "one value may have 122880",
        ),
        (
            1,
            "http: {url: 'BASE/', headers: {X-A: '${{ params.values | first }}'}}",
            "a\r\nX-B: c".to_owned(),
            "line break",
        ),
        (
            1,
            "http: {url: 'BASE/', headers: {X-A: '${{ params.values | first }}'}}",
            "a\u{7f}".to_owned(),
            "control character",
        ),
    ] {
        let step = step.replace("BASE", &server.base());
        scene.file("x.yaml", format!("{PARAMS}steps:\n  - id: a\n    {step}\n"));
        scene.file("values.yaml", written(&[value]));
        let done = scene.expect(code, &["run", "x.yaml", "--params-file", "values.yaml"]);
        assert!((done.stdout + &done.stderr).contains(why), "{step}");
        if code == 1 {
            assert_eq!(crate::harness::step_of(&scene.last(), "a")["attempts"], 0);
        }
    }
    assert!(server.asked().is_empty());
}
