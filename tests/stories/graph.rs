//! The graph of a runbook and of a run: as text, and as pictures that other programs can read.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::Scene;

/// Names that mean something to whatever reads the picture.
const HOSTILE: &str = r##"name: 发布
steps:
  - {id: backup, run: 'true'}
  - {id: end, name: "a \"quoted\" [x] {y} <b>&amp; `t` $ # %%{init: 1}%% \\N --> -- | \n subgraph", run: 'true'}
  - {id: class, needs: [backup], name: "\x1b[31mred\x1b[0m\u202e反", run: 'true', if: 'run.name != "</text>"'}
  - {id: join, needs: [end, class], for-each: [a, b], run: 'true', retry: {attempts: 3}, allow-failure: true}
finally:
  - {id: tell, run: 'true', if: failure()}
"##;

fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", HOSTILE);
    scene
}

/// What another program makes of this text on its standard input, or what it complains about.
fn fed(program: &str, args: &[&str], text: &str) -> String {
    let mut command = Command::new(program);
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && complaint.is_empty(), "{program}: {complaint}\n{text}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_text_shows_what_can_run_at_the_same_time_and_what_waits() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "steps:\n  - {id: dump, run: 'true'}\n  - {id: assets, run: 'true', needs: []}\n  \
         - {id: upload, run: 'true', needs: [dump, assets], if: 'run.generation == 1'}\n  - {id: verify, run: 'true'}\n\
         finally:\n  - {id: tidy, run: 'true'}\n",
    );
    let text = scene.expect(0, &["graph", "book.yaml"]).stdout;
    let wanted = "book: 5 steps, up to 2 at a time; those of one layer do not wait for each other\n\n    \
                  1 ┬─ dump\n      └─ assets\n    2 ── upload  if run.generation == 1\n    3 ── verify\n\
                  finally, whatever happened\n    1 ── tidy\n";
    assert_eq!(text, wanted);
}

#[test]
fn the_graph_of_a_run_says_how_each_step_stands() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "steps:\n  - {id: each, for-each: [0, 1, 0], run: 'exit ${{ item }}', stop-after-failures: 9}\n  - {id: after, run: 'true'}\n",
    );
    scene.expect(1, &["run", "book.yaml"]);
    let text = scene.expect(0, &["graph", "last"]).stdout;
    assert!(text.contains("✗ each ") && text.contains("3/3 items, 1 failed") && text.contains("− after"), "{text}");
    for format in ["mermaid", "dot", "svg"] {
        let picture = scene.expect(0, &["graph", "last", "--format", format]).stdout;
        assert!(picture.contains("3/3 items, 1 failed") && picture.contains("skipped"), "{picture}");
    }
    let by_id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    assert_eq!(scene.expect(0, &["graph", &by_id[by_id.len() - 12..]]).stdout, text);
}

#[test]
fn graphviz_draws_what_dot_is_given_whatever_the_names_are() {
    let scene = scene();
    let plain = fed("dot", &["-Tplain"], &scene.expect(0, &["graph", "book.yaml", "--format", "dot"]).stdout);
    assert_eq!(plain.lines().filter(|line| line.starts_with("node ")).count(), 5, "{plain}");
    // backup -> end, class; end, class -> join; and the one to `finally`.
    assert_eq!(plain.lines().filter(|line| line.starts_with("edge ")).count(), 5, "{plain}");
    let drawn = fed("dot", &["-Tsvg"], &scene.expect(0, &["graph", "book.yaml", "--format", "dot"]).stdout);
    assert!(drawn.contains("[x] {y} &lt;b&gt;&amp;amp; `t`"), "{drawn}");
}

#[test]
fn the_svg_is_one_document_that_shows_every_name_as_it_was_written() {
    let scene = scene();
    let svg = scene.expect(0, &["graph", "book.yaml", "--format", "svg"]).stdout;
    assert!(!svg.contains("<script") && !svg.contains("href"), "{svg}");
    let read = "import sys, xml.etree.ElementTree as x\n\
                t = x.fromstring(sys.stdin.buffer.read())\n\
                print('\\n'.join(e.text or '' for e in t.iter() if e.tag.endswith('title')))";
    let titles = fed("python3", &["-c", read], &svg);
    assert!(
        titles.contains("发布") && titles.contains(r#"a "quoted" [x] {y} <b>&amp; `t` $ # %%{init: 1}%% \N --> -- |"#),
        "{titles}"
    );
    assert!(titles.contains(r#"if run.name != "</text>""#), "{titles}");
    assert!(titles.contains("red\u{fffd}反"), "no colours and no turned text: {titles:?}");
}

#[test]
fn no_name_means_anything_to_mermaid() {
    let text = scene().expect(0, &["graph", "book.yaml", "--format", "mermaid"]).stdout;
    let labels =
        text.lines().filter_map(|line| line.trim().split_once("[\"")).map(|(id, rest)| (id, rest.strip_suffix("\"]")));
    let mut found = 0;
    for (id, label) in labels {
        found += 1;
        let label = label.expect("one label a line").replace("<br/>", "");
        let plain = |c: char| c.is_alphanumeric() || " _-.,/#;".contains(c);
        assert!(label.chars().all(plain) && !id.contains("end"), "{label}");
    }
    assert_eq!(found, 6, "five steps and the part of `finally`: {text}");
    assert!(text.starts_with("flowchart TD\n") && text.contains("\n  s0 --> s1\n"), "{text}");
}

#[test]
fn what_is_neither_a_runbook_nor_a_run_is_said_with_what_to_do() {
    let scene = scene();
    let nothing = scene.expect(2, &["graph", "nothing"]).stderr;
    assert!(nothing.contains("`nothing` does not exist") && nothing.contains("go to the one that has it"), "{nothing}");
    let no_run = scene.expect(2, &["graph", "0123abcd"]).stderr;
    assert!(no_run.contains("no run has the id `0123abcd`"), "{no_run}");
    let steps: String = (0..2001).map(|n| format!("  - {{id: s{n}, run: 'true'}}\n")).collect();
    scene.file("long.yaml", format!("steps:\n{steps}"));
    let long = scene.expect(2, &["graph", "long.yaml", "--format", "svg"]).stderr;
    assert!(long.contains("2001 steps are too many for one picture") && long.contains("--format text"), "{long}");
    assert_eq!(scene.expect(0, &["graph", "long.yaml"]).stdout.lines().count(), 2003);
}
