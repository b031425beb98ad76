//! One run, written down for somebody who was not there.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Scene, finish};
use crate::trouble::with_ledger;

const CHANGE: &str = r#"
name: change
description: Turn the switch
severity: P1
params: {dir: {type: path, required: true}, to: {type: string, default: "on"}}
steps:
  - id: agree
    approve: {by: [bob], not: requester}
  - id: turn
    run: echo ${{ params.to }} >> ${{ params.dir }}/switch; echo "state=${{ params.to }}" >> "$RUNWARD_OUTPUT"
    undo: echo off >> ${{ params.dir }}/switch
  - id: never
    if: params.to == "sideways"
    run: exit 9
  - id: verify
    run: grep -sqx good ${{ params.dir }}/verdict || { echo "no verdict yet"; exit 4; }
"#;

fn by(scene: &Scene, person: &str, code: i32, args: &[&str]) {
    let done = finish(scene.runward().env("SUDO_USER", person).args(args));
    assert_eq!(done.code, code, "{person} {args:?}\n{}\n{}", done.stdout, done.stderr);
}

/// Asked for by alice, agreed to by bob, failed and taken back, then resumed by carol once the world was right.
fn changed() -> Scene {
    let scene = Scene::new();
    scene.file("change.yaml", CHANGE);
    by(&scene, "alice", 8, &["run", "change.yaml", "-p", &scene.dir()]);
    by(&scene, "bob", 0, &["approve", "last", "--comment", "ticket 4711"]);
    by(&scene, "alice", 6, &["resume", "last"]);
    scene.file("verdict", "good\n");
    by(&scene, "carol", 8, &["resume", "last", "--from", "agree", "--reason", "the verdict is there now"]);
    by(&scene, "bob", 0, &["approve", "last"]);
    by(&scene, "carol", 0, &["resume", "last"]);
    scene
}

fn report(scene: &Scene, format: &str) -> String {
    scene.expect(0, &["report", "last", "--format", format]).stdout
}

/// What a renderer of Markdown makes of it.
fn rendered(markdown: &str) -> String {
    let mut command = Command::new("cmark-gfm");
    command.args(["--unsafe", "-e", "table", "-e", "autolink", "-e", "strikethrough", "-e", "tasklist"]);
    piped(&mut command, markdown)
}

fn piped(command: &mut Command, text: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap()
}

/// The elements and attributes of a document, and all of its text, as a parser sees them; and whether each row of each table
/// is as wide as its head.
fn parsed(html: &str) -> Value {
    const PARSER: &str = r#"
import html.parser, json, sys
class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attrs, self.text, self.code, self.widths, self.inside = set(), set(), [], [], [], []
    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attrs.update(tag + "." + name for name, _ in attrs)
        if tag in ("code", "pre"): self.code.append("")
        if tag == "table": self.widths.append([])
        if tag == "tr": self.widths[-1].append(0)
        if tag in ("td", "th"): self.widths[-1][-1] += 1
        self.inside.append(tag)
    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag: pass
    def handle_data(self, data):
        self.text.append(data)
        if self.code and ("code" in self.inside or "pre" in self.inside): self.code[-1] += data
reader = Reader()
reader.feed(sys.stdin.read())
print(json.dumps({"tags": sorted(reader.tags), "attrs": sorted(reader.attrs), "text": "".join(reader.text),
                  "code": reader.code, "even": all(len(set(rows)) == 1 for rows in reader.widths)}))
"#;
    serde_json::from_str(&piped(Command::new("python3").args(["-c", PARSER]), html)).unwrap()
}

#[test]
fn a_report_says_what_was_planned_who_agreed_and_what_became_of_it() {
    let scene = changed();
    let text = parsed(&rendered(&report(&scene, "md")))["text"].as_str().unwrap().to_owned();
    for part in [
        "Run of change",
        "result: succeeded (exit code 0)",
        "generations: 2",
        "described as: Turn the switch",
        "severity: P1",
        "ticket 4711",
        "resumed it from agree",
        "the verdict is there now",
        "sudo from carol",
        "its condition does not hold: params.to == \"sideways\"",
        "turn.undo",
        "exit code 4",
        "(generation 2)",
        "4. verify",
        "grep -sqx good",
        "can be taken back",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let page = parsed(&report(&scene, "html"));
    assert!(page["text"].as_str().unwrap().contains("the verdict is there now"));
    let json: Value = serde_json::from_str(&report(&scene, "json")).unwrap();
    let said: Vec<&str> =
        json["people"].as_array().unwrap().iter().map(|said| said["what"].as_str().unwrap()).collect();
    assert_eq!(said, ["asked for it, through", "approved", "resumed it from", "approved"]);
    assert_eq!(json["approvals"][0]["answers"][0]["person"], "bob");
    assert_eq!(json["approvals"][1]["generation"], 2);
    assert_eq!(json["definition"]["sha256"], json["run"]["definition"]);
}

#[test]
fn what_a_report_proves_can_be_held_against_the_record_and_the_output() {
    let scene = changed();
    let json: Value = serde_json::from_str(&report(&scene, "json")).unwrap();
    let verified = scene.json(&["audit", "verify", "last"]);
    assert_eq!(json["record"]["head"], verified["heads"][0]["head"]);
    assert_eq!(json["record"]["events"], verified["heads"][0]["events"]);
    let failed = json["attempts"].as_array().unwrap().iter().find(|attempt| attempt["code"] == 4).unwrap();
    let raw = scene.expect(0, &["logs", "last", "verify", "--attempt", "1", "--raw"]).stdout;
    assert_eq!(raw, "no verdict yet\n");
    let digest = piped(&mut Command::new("sha256sum"), &raw);
    assert_eq!(Some(failed["log_sha256"].as_str().unwrap()), digest.split_whitespace().next());
    for format in ["md", "html"] {
        let text = report(&scene, format);
        assert!(text.contains(json["record"]["head"].as_str().unwrap()));
        assert!(text.contains(failed["log_sha256"].as_str().unwrap()));
    }
}

#[test]
fn the_same_run_gives_the_same_bytes_whoever_asks_and_where() {
    let scene = changed();
    let elsewhere = scene.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for format in ["md", "html", "json"] {
        let first = report(&scene, format);
        let mut command = scene.runward();
        command.current_dir(&elsewhere).env("TZ", "Pacific/Auckland").env("LC_ALL", "C").env("NO_COLOR", "1");
        assert_eq!(first, finish(command.args(["report", "last", "--format", format])).stdout, "{format}");
    }
}

#[test]
fn a_run_that_goes_on_has_a_report_of_how_far_it_has_come() {
    let scene = Scene::new();
    scene.file("change.yaml", CHANGE);
    by(&scene, "alice", 8, &["run", "change.yaml", "-p", &scene.dir()]);
    let text = parsed(&rendered(&report(&scene, "md")))["text"].as_str().unwrap().to_owned();
    assert!(text.contains("result: not finished (exit code 8)"), "{text}");
    assert!(text.contains("how far it has come") && text.contains("never came up"), "{text}");
}

#[test]
fn of_a_record_that_was_changed_there_is_no_report() {
    let scene = changed();
    with_ledger(
        &scene,
        "db.execute('DROP TRIGGER events_stand_update')\ndb.execute(\"UPDATE events SET actor = 'eve' WHERE kind = 'approval_decided'\")",
    );
    for format in ["md", "html", "json"] {
        let done = scene.run(&["report", "last", "--format", format]);
        assert!(done.code != 0 && done.stdout.is_empty(), "{}", done.stdout);
        assert!(done.stderr.contains("event before it, was changed"), "{}", done.stderr);
    }
}

/// What would be something in one format or the other.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "'><svg/onload=alert(1)>",
    "&lt;b&gt; &#60;b&#62; &amp;",
    "</code></pre></td></table><h1>gotcha</h1>",
    "--> ]]> <!-- <![CDATA[",
    "[click](javascript:alert(1)) ![x](http://example.com/x.png) <http://example.com>",
    "http://example.com/a www.example.com a@example.com @everyone #1",
    "| a | b |",
    "a@example.com|<b>|www.example.com|",
    "a\\|b \\\\| `| ``|``",
    "`` ` ``` <b>",
    "` <b>bold</b> `",
    "# heading",
    "- item",
    "~~struck~~ **bold** _it_ ***",
    "<!--",
    "\\",
    "`",
    " ",
];

#[test]
fn nothing_from_outside_is_anything_but_text() {
    let scene = Scene::new();
    scene.file("h.yaml", "params: {p: {type: list, required: true}}\nsteps:\n  - id: say\n    for-each: ${{ params.p }}\n    run: printf 'v=%s\\n' ${{ item }} >> \"$RUNWARD_OUTPUT\"\n  - {id: stop, run: 'exit 1'}\n");
    let list = serde_json::to_string(HOSTILE).unwrap();
    scene.expect(1, &["run", "h.yaml", "-p", &format!("p={list}")]);
    for reason in HOSTILE.iter().filter(|reason| !reason.trim().is_empty()) {
        scene.expect(1, &["resume", "last", &format!("--reason={reason}")]);
    }
    let (markdown, html) = (rendered(&report(&scene, "md")), report(&scene, "html"));
    for (what, html, own) in [("md", &markdown, false), ("html", &html, true)] {
        let page = parsed(html);
        let tags: Vec<&str> = page["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        let known = "body code h1 h2 h3 head html li meta p pre strong style table tbody td th thead title tr ul";
        let strange: Vec<&&str> = tags.iter().filter(|tag| !known.split(' ').any(|known| known == **tag)).collect();
        assert!(strange.is_empty(), "{what}: {strange:?}");
        let attributes: Vec<&str> = page["attrs"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let known: &[&str] = match own {
            true => &["html.lang", "meta.charset", "meta.content", "meta.http-equiv"],
            false => &["code.class", "pre.lang"],
        };
        let strange: Vec<&&str> = attributes.iter().filter(|it| !known.contains(it)).collect();
        assert!(strange.is_empty(), "{what}: {strange:?}");
        assert_eq!(page["even"], true, "{what}: a value made a cell of its own");
        // A pipe of Markdown stands between two pieces of code.
        let text = page["text"].as_str().unwrap();
        let code: Vec<&str> = page["code"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        for reason in HOSTILE.iter().filter(|reason| !reason.trim().is_empty()) {
            let shown = code.contains(reason) || reason.contains('|') && text.contains(reason);
            assert!(shown, "{what}: {reason:?} is not shown as it is");
        }
    }
}

#[test]
fn what_drives_a_terminal_or_turns_text_around_is_visible() {
    let scene = Scene::new();
    scene.file("h.yaml", "steps:\n  - {id: stop, run: 'exit 1'}\n");
    scene.expect(1, &["run", "h.yaml"]);
    scene.expect(1, &["resume", "last", "--reason", "a\u{1b}]0;x\u{7}b\u{202e}c"]);
    for format in ["md", "html", "json"] {
        let text = report(&scene, format);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{format}");
        assert!(format == "json" || !text.contains('\u{202e}'), "{format}");
    }
}

#[test]
fn what_is_sensitive_is_in_no_report() {
    const CANARY: &str = "canary-5c1f0e";
    let scene = Scene::new();
    scene.file("s.yaml", "secrets: {KEY: {env: REAL_KEY}}\nparams: {p: {type: string, required: true, sensitive: true}}\nsteps:\n  - id: a\n    secrets: [KEY]\n    env: {P: \"${{ params.p }}\"}\n    run: |\n      echo \"$P $KEY\"\n      echo \"o=$P $KEY\" >> \"$RUNWARD_OUTPUT\"\n  - id: b\n    for-each: [\"${{ params.p }}\"]\n    run: echo ${{ item }}; exit 1\n");
    let given = format!("p={CANARY}");
    let mut command = scene.runward();
    command.env("REAL_KEY", "another-canary-77").args(["run", "s.yaml", "-p", &given]);
    assert_eq!(finish(&mut command).code, 1);
    for format in ["md", "html", "json"] {
        let text = report(&scene, format);
        assert!(!text.contains(CANARY) && !text.contains("another-canary-77"), "{format}: {text}");
    }
}

#[test]
fn a_run_that_called_others_names_the_end_of_their_records() {
    let scene = Scene::new();
    scene.file("child.yaml", "steps:\n  - {id: work, run: 'true'}\n");
    scene.file("parent.yaml", "steps:\n  - {id: call, runbook: child.yaml}\n");
    scene.expect(0, &["run", "parent.yaml"]);
    let json: Value = serde_json::from_str(&report(&scene, "json")).unwrap();
    let child = json["children"][0]["run"].as_str().unwrap().to_owned();
    let verified = scene.json(&["audit", "verify", &child]);
    assert_eq!(json["children"][0]["head"], verified["heads"][0]["head"]);
    assert!(report(&scene, "md").contains(&child));
    let of_child = scene.expect(0, &["report", &child]).stdout;
    assert!(of_child.contains("began it as a step of another run"), "{of_child}");
}

#[test]
fn a_run_that_is_not_there_is_said_to_be_so() {
    let scene = Scene::new();
    let done = scene.expect(2, &["report", "last"]);
    assert!(done.stdout.is_empty() && done.stderr.contains("no runs yet"), "{}", done.stderr);
    scene.file("x.yaml", "steps:\n  - {id: a, run: 'true'}\n");
    scene.expect(0, &["run", "x.yaml"]);
    let done = scene.expect(2, &["report", "nothere"]);
    assert!(done.stderr.contains("runward runs"), "{}", done.stderr);
}
