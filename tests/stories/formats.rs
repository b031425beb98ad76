//! What programs and CI systems read of a run.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Done, Scene, finish, repository, wait};

/// A runbook with everything in it that a report has to survive.
const BOOK: &str = r#"name: "备份, 100%: <db> | `x`"
params:
  dir: {type: path, required: true}
  env: {type: string, default: "a\nb"}
  token: {type: string, sensitive: true, default: opensesame}
defaults: {env: {DIR: "${{ params.dir }}"}}
steps:
  - id: loud
    run: |
      echo "::error::not mine ${{ params.env }}"
      echo "::add-mask::e"
      echo "  ::set-output name=x::y"
      echo "a ##[error]old form"
      echo "::stop-commands::mine"
      echo "::endgroup::"
      printf '\000\013\033[31mred\033[0m ]]> <&> \377\n'
  - id: each
    needs: [loud]
    for-each: [a, b, c, d]
    # Each waits until all of them print.
    run: |
      touch "$DIR/here-$RUNWARD_STEP"
      until [ "$(find "$DIR" -name 'here-*' | wc -l)" = 4 ]; do sleep 0.01; done
      for n in 1 2 3 4 5; do echo "of ${{ item }}: $n"; sleep 0.005; done
  - id: soft
    needs: [loud]
    allow-failure: true
    env: {TOKEN: "${{ params.token }}"}
    run: exit 3
  - id: flaky
    needs: [loud]
    retry: {attempts: 2, delay: 10ms}
    run: test "$RUNWARD_ATTEMPT" = 2
  - id: bad
    needs: [each, soft, flaky]
    run: |
      echo "the reason, 50%: here"

      exit 7
  - id: never
    run: "true"
finally:
  - id: clean
    run: echo cleaned
"#;

fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("repo/ops/book.yaml", BOOK);
    scene
}

impl Scene {
    fn report(&self, format: &str, more: &[&str]) -> Done {
        let dir = self.dir();
        let args = ["run", "repo/ops/book.yaml", "-p", &dir, "--format", format];
        let mut command = self.runward();
        command.args(args).args(more);
        command.env("GITHUB_WORKSPACE", self.path("repo")).env("GITHUB_STEP_SUMMARY", self.path("summary.md"));
        finish(&mut command)
    }
}

/// What a GitHub runner would carry out, and what it would only show, group by group.
#[derive(Default, Debug)]
struct Runner {
    commands: Vec<(String, String, String)>,
    groups: Vec<(String, Vec<String>)>,
}

/// Reads a log with the rules of the runner: `stop-commands` ends all of them until its token comes.
fn run_by_github(log: &str) -> Runner {
    let (mut runner, mut token, mut open) = (Runner::default(), None::<String>, false);
    for line in log.lines() {
        let command = line.trim_start().strip_prefix("::").and_then(|rest| rest.split_once("::"));
        match (&token, command) {
            (Some(stopped), Some((word, ""))) if word == stopped => token = None,
            (None, Some((head, message))) => {
                let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
                match name {
                    "stop-commands" => token = Some(message.to_owned()),
                    "group" => (open, _) = (true, runner.groups.push((message.to_owned(), Vec::new()))),
                    "endgroup" => open = false,
                    _ => runner.commands.push((name.to_owned(), properties.to_owned(), message.to_owned())),
                }
            }
            _ => {
                assert!(token.is_some() || !line.contains("##["), "an old command: {line}");
                if let (true, Some((_, lines))) = (open, runner.groups.last_mut()) {
                    lines.push(line.to_owned());
                }
            }
        }
    }
    assert!(token.is_none() && !open, "everything that was opened is closed");
    runner
}

#[test]
fn github_shows_a_group_for_each_attempt_and_obeys_nothing_that_a_step_prints() {
    let scene = scene();
    scene.file("summary.md", "before\n");
    let done = scene.report("github", &[]);
    assert_eq!(done.code, 1, "{}{}", done.stdout, done.stderr);
    let runner = run_by_github(&done.stdout);
    let title = |title: &str| runner.groups.iter().filter(|group| group.0.starts_with(title)).count();
    assert_eq!(
        (title("loud (succeeded, "), title("flaky (failed, "), title("flaky (succeeded, attempt 2, ")),
        (1, 1, 1)
    );
    for item in ["a", "b", "c", "d"] {
        let wanted: Vec<String> = (1..6).map(|n| format!("of {item}: {n}")).collect();
        assert!(runner.groups.iter().any(|group| group.1 == wanted), "of {item} in one piece:\n{}", done.stdout);
    }
    let line = |text: &str| BOOK.lines().position(|line| line.contains(text)).unwrap() + 1;
    let place = |id: &str, to: &str| format!("file=ops/book.yaml,line={},col=5,endLine={}", line(id), line(to));
    let title = |id: &str| format!("title=备份%2C 100%25%3A <db> | `x` / {id}");
    let kinds: Vec<(&str, String)> = runner.commands.iter().map(|found| (found.0.as_str(), found.1.clone())).collect();
    let soft = format!("{},{}", place("id: soft", "run: exit 3"), title("soft"));
    let bad = format!("{},{}", place("id: bad", "exit 7"), title("bad"));
    assert_eq!(kinds, [("warning", soft), ("error", bad)], "{}", done.stdout);
    assert!(runner.commands[1].2.ends_with("exit code 7%0Athe reason, 50%25: here"), "{:?}", runner.commands);

    let summary = scene.read("summary.md");
    assert!(summary.starts_with("before\n### ✗ 备份, 100%: &lt;db&gt; \\| \\`x\\` failed after "), "{summary}");
    assert!(
        summary.contains("\n| bad | ✗ failed | 1 | ") && summary.contains("\n| flaky | ✓ succeeded | 2 | "),
        "{summary}"
    );
    assert!(summary.contains("| never | − skipped |") && summary.contains("exit code 1."), "{summary}");
    assert!(summary.contains("runward resume"), "{summary}");
    assert!(!format!("{}{summary}", done.stdout).contains("opensesame"));
}

#[test]
fn github_format_works_anywhere_and_never_writes_more_than_github_takes() {
    let scene = scene();
    let mut command = scene.runward();
    command.args(["run", "repo/ops/book.yaml", "-p", &scene.dir(), "--format", "github", "--quiet"]);
    command.env_remove("GITHUB_WORKSPACE").env_remove("GITHUB_STEP_SUMMARY");
    let done = finish(&mut command);
    let runner = run_by_github(&done.stdout);
    assert_eq!((done.code, runner.commands.len()), (1, 2), "{}", done.stdout);
    assert!(runner.groups.iter().all(|group| group.0.contains("failed")), "{:?}", runner.groups);

    let steps: String = (0..300).map(|n| format!("  - {{id: s{n}, run: 'true', needs: []}}\n")).collect();
    scene.file(
        "repo/ops/book.yaml",
        format!("params: {{dir: {{}}}}\nsteps:\n  - run: echo ${{{{ params.dir }}}}\n{steps}"),
    );
    scene.file("summary.md", "x".repeat(1024 * 1024 - 8192));
    assert_eq!(scene.report("github", &[]).code, 0);
    let summary = scene.read("summary.md");
    assert!(summary.len() <= 1024 * 1024 && summary.contains("rows are left out"), "{}", summary.len());
    assert!(summary.ends_with("exit code 0.\n\n"));
    scene.file("summary.md", "x".repeat(1024 * 1024));
    let full = scene.report("github", &[]);
    assert!(full.code == 0 && full.stdout.contains("cannot be written"), "{}", full.stdout);
}

/// A report as Python reads it, after it was held to the rules of the schema.
pub fn junit(scene: &Scene, file: &str) -> Value {
    let rules = repository().join("tests/files/junit_rules.py");
    let done = finish(std::process::Command::new("python3").arg(rules).arg(scene.path(file)));
    assert_eq!(done.code, 0, "{}\n{}", done.stderr, scene.read(file));
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn a_junit_report_has_a_case_for_each_step_and_is_what_ci_systems_read() {
    let scene = scene();
    let done = scene.report("junit", &["--report", "report.xml"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("▶ loud") && done.stderr.contains("runward resume"), "{}", done.stderr);
    assert_eq!(done.stdout, scene.read("report.xml"), "the same on standard output");
    let report = junit(&scene, "report.xml");
    let cases = report["cases"].as_object().unwrap();
    let names: Vec<&String> = cases.keys().collect();
    let wanted = ["bad", "clean", "each[0]", "each[1]", "each[2]", "each[3]", "flaky", "loud", "never", "soft"];
    assert_eq!(names, wanted, "items are cases, the step above them is not");
    assert_eq!(
        (&report["suite"]["failures"], &report["suite"]["errors"], &report["suite"]["skipped"]),
        (&json!("1"), &json!("0"), &json!("2"))
    );
    assert_eq!(cases["bad"]["failure"]["message"], "failed: exit code 7");
    assert!(cases["soft"]["skipped"]["message"].as_str().unwrap().contains("allowed"));
    assert!(cases["loud"]["system-out"]["text"].as_str().unwrap().contains("␀␋red ]]> <&> \u{fffd}"), "{report}");
    let properties = &report["properties"];
    assert_eq!((&properties["param.token"], &properties["runward.exit_code"]), (&json!("(sensitive)"), &json!("1")));
    assert_eq!(properties["runward.run"], scene.last()["run"]["id"]);
}

#[test]
fn a_run_that_ends_without_a_failed_step_is_not_green() {
    let scene = Scene::new();
    scene.file("x.yaml", "steps:\n  - id: a\n    run: touch ../../../../here; sleep 600\n  - id: b\n    run: 'true'\n");
    let mut child = scene.start(&["run", "x.yaml", "--report", "r.xml"]);
    wait("the step", || scene.path("here").exists());
    scene.expect(0, &["cancel", "last"]);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let report = junit(&scene, "r.xml");
    assert_eq!(report["suite"]["errors"], "1", "{report}");
    assert_eq!(report["cases"]["the run"]["error"]["type"], "cancelled");
}

#[test]
fn a_report_that_cannot_be_written_is_found_out_before_anything_starts() {
    let scene = Scene::new();
    scene.file("x.yaml", "steps:\n  - run: 'true'\n");
    for report in ["nowhere/r.xml", "."] {
        let done = scene.expect(2, &["run", "x.yaml", "--report", report]);
        assert!(done.stderr.contains("cannot be written"), "{}", done.stderr);
    }
    let done = scene.expect(2, &["run", "x.yaml", "--detach", "--format", "junit"]);
    assert!(done.stderr.contains("not with --detach"), "{}", done.stderr);
    assert_eq!(scene.runs_recorded(), 0);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A stream is whole: its first line says what it is, events are numbered without a gap, the last line says how it ended.
fn whole(stream: &[Value]) {
    let (first, last) = (&stream[0], stream.last().unwrap());
    assert_eq!((&first["runward"], &first["version"]), (&json!("events"), &json!(1)));
    for (n, line) in stream[1..stream.len() - 1].iter().enumerate() {
        assert_eq!(line["seq"], n + 1, "{line}");
    }
    assert!(last["exit_code"].is_i64() && last["verdict"].is_string(), "{last}");
    assert!(stream.iter().all(|line| line["run"] == first["run"]));
}

#[test]
fn the_stream_of_events_is_the_whole_record_whoever_watches() {
    let scene = scene();
    let done = scene.report("json", &["--key", "k"]);
    let stream = lines(&done.stdout);
    assert_eq!(done.code, 1);
    whole(&stream);
    assert_eq!(stream.last().unwrap()["exit_code"], 1);
    assert!(!done.stdout.contains("opensesame"));
    assert_eq!(done.stdout, scene.report("json", &["--key", "k"]).stdout, "the same, when it is over");
    let shown: Vec<Value> =
        scene.last()["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    let told: Vec<Value> = stream[1..stream.len() - 1].iter().map(|line| line["event"].clone()).collect();
    assert_eq!(shown, told, "what show says, too");
    scene.expect(2, &["resume", "0000000000"]);
    let resumed = finish(scene.runward().args(["resume", "last", "--format", "json"]));
    whole(&lines(&resumed.stdout));
    assert_eq!(lines(&resumed.stdout)[0]["generation"], 2);

    let detached = scene.report("json", &["--key", "other", "--detach"]);
    let said = lines(&detached.stdout);
    assert_eq!((said.len(), &said[0]["detached"], &said[0]["version"]), (1, &json!(true), &json!(1)));
    assert!(said[0]["driver_pid"].is_u64());
    whole(&lines(&scene.report("json", &["--key", "other"]).stdout));
}

/// The variants of an enum of the engine with their fields, in the names of their JSON.
fn variants(source: &str, name: &str) -> Vec<(String, Vec<String>)> {
    let body = source.split(&format!("pub enum {name} {{\n")).nth(1).unwrap().split("\n}\n").next().unwrap();
    let snake = |name: &str| {
        let mut out = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !out.is_empty() {
                out.push('_');
            }
            out.extend(c.to_lowercase());
        }
        out
    };
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in body.lines() {
        let text = line.trim();
        if text.starts_with("//") || text.starts_with("#[") || text.starts_with('}') || text.is_empty() {
            continue;
        }
        let (head, rest) = text.split_at(text.find([' ', ',', ':', '(']).unwrap_or(text.len()));
        if line.starts_with("    ") && !line.starts_with("     ") {
            let inline = rest.trim().trim_start_matches('{').trim_end_matches([',', '}', ' ']);
            let fields = inline.split(", ").filter_map(|field| Some(field.split_once(':')?.0.trim().to_owned()));
            found.push((snake(head), fields.collect()));
        } else {
            found.last_mut().unwrap().1.push(head.to_owned());
        }
    }
    found
}

#[test]
fn every_event_is_documented_with_its_fields() {
    let read = |path| fs::read_to_string(repository().join(path)).unwrap();
    let source = read("engine/src/run/event.rs") + &read("store/src/administration.rs");
    let page = fs::read_to_string(repository().join("docs/reference/events.md")).unwrap();
    let all = ["Event", "Outcome", "Then", "StopCause", "AdminEvent"];
    let mut documented = Vec::new();
    for (name, (kind, fields)) in
        all.iter().flat_map(|name| variants(&source, name).into_iter().map(move |one| (name, one)))
    {
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&format!("| `{kind}` |"))).collect();
        assert!(!rows.is_empty(), "docs/reference/events.md has no row `| `{kind}` | ...` for {name}");
        for field in &fields {
            let named = rows.iter().any(|row| row.contains(&format!("`{field}`")));
            assert!(named, "docs/reference/events.md: the row of `{kind}` does not name `{field}`");
        }
        documented.push(kind);
    }
    assert!(documented.len() > 20, "{documented:?}");
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')) {
        assert!(documented.iter().any(|kind| kind == row.0), "{} is documented, and does not exist", row.0);
    }
}
