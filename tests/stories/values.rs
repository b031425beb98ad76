//! Values are bound, never spliced: they arrive as they are, of the type that was declared, or the step does not start.

use crate::harness::{Scene, step_of};

/// Text that would do something, were it ever read as code.
const NASTY: &str = "$(touch pwned) `touch pwned`; touch pwned & \"touch pwned\" 'touch pwned' | * ? ~ \\ ${HOME} 备份 {{ x }}\n-n --\tend ";

/// `show` writes the bytes of each of its arguments, one after the other, to the file named first.
const SHOW: &str =
    "#!/usr/bin/env bash\nout=$1; shift\nfor word in \"$@\"; do printf '<%s>' \"$word\"; done > \"$out\"\n";

fn scene(runbook: &str) -> Scene {
    let scene = Scene::new();
    scene.file("show", SHOW);
    scene.file("book.yaml", runbook);
    scene
}

fn no_canary(scene: &Scene) {
    fn search(folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            assert_ne!(entry.file_name(), "pwned", "a value became code: {}", entry.path().display());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                search(&entry.path());
            }
        }
    }
    search(&scene.path(""));
}

#[test]
fn a_parameter_arrives_as_it_is_in_bash_sh_and_argv() {
    let scene = scene(
        "params: {dir: {type: path, required: true}, name: {type: string, required: true}}\n\
         files: [show]\n\
         defaults: {env: {DIR: '${{ params.dir }}'}}\n\
         steps:\n  \
         - run: bash ./show \"$DIR/bash\" ${{ params.name }} \"a ${{ params.name }} b\" 'c ${{ params.name }} d'\n  \
         - run: bash ./show \"$DIR/sh\" ${{ params.name }} \"a ${{ params.name }} b\" 'c ${{ params.name }} d'\n    \
           shell: sh\n  \
         - cmd: [bash, ./show, '${{ params.dir }}/cmd', '${{ params.name }}', 'a ${{ params.name }} b']\n  \
         - run: bash ./show \"$DIR/env\" \"$NAME\"\n    \
           env: {NAME: '${{ params.name }}'}\n  \
         - run: |\n      \
             cat > \"$DIR/here\" <<END\n      \
             a ${{ params.name }} b\n      \
             END\n  \
         - run: bash ./show \"$DIR/inner\" \"$(printf '%s.' ${{ params.name }})\"\n",
    );
    let name = format!("name={NASTY}");
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "-p", &name]);
    let three = format!("<{NASTY}><a {NASTY} b><c {NASTY} d>");
    assert_eq!(scene.read("bash"), three);
    assert_eq!(scene.read("sh"), three);
    assert_eq!(scene.read("cmd"), format!("<{NASTY}><a {NASTY} b>"));
    assert_eq!(scene.read("env"), format!("<{NASTY}>"));
    assert_eq!(scene.read("here"), format!("a {NASTY} b\n"));
    assert_eq!(scene.read("inner"), format!("<{NASTY}.>"));
    no_canary(&scene);
}

#[test]
fn an_output_arrives_as_it_is() {
    let scene = scene(
        "params: {dir: {type: path, required: true}, name: {type: string, required: true}}\n\
         files: [show]\n\
         defaults: {env: {DIR: '${{ params.dir }}'}}\n\
         steps:\n  \
         - id: says\n    \
           run: printf 'text<<END\\n%s\\nEND\\n' ${{ params.name }} >> \"$RUNWARD_OUTPUT\"\n  \
         - run: bash ./show \"$DIR/bash\" ${{ steps.says.outputs.text }}\n  \
         - {run: 'bash ./show \"$DIR/sh\" ${{ steps.says.outputs.text }}', shell: sh}\n  \
         - cmd: [bash, ./show, '${{ params.dir }}/cmd', '${{ steps.says.outputs.text }}']\n",
    );
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "-p", &format!("name={NASTY}")]);
    for place in ["bash", "sh", "cmd"] {
        assert_eq!(scene.read(place), format!("<{NASTY}>"), "{place}");
    }
    assert_eq!(step_of(&scene.last(), "says")["outputs"]["text"], NASTY);
    no_canary(&scene);
}

#[test]
fn an_item_of_a_for_each_arrives_as_it_is() {
    let scene = scene(
        "params: {dir: {type: path, required: true}, names: {type: list, required: true}}\n\
         files: [show]\n\
         defaults: {env: {DIR: '${{ params.dir }}'}}\n\
         steps:\n  \
         - id: each\n    \
           for-each: ${{ params.names }}\n    \
           run: bash ./show \"$DIR/item-\"${{ index }} ${{ item }} \"$ITEM\"\n    \
           env: {ITEM: '${{ item }}'}\n",
    );
    scene.file("params.json", serde_json::json!({"names": [NASTY, "plain", ""]}).to_string());
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--params-file", "params.json"]);
    assert_eq!(scene.read("item-0"), format!("<{NASTY}><{NASTY}>"));
    assert_eq!(scene.read("item-1"), "<plain><plain>");
    assert_eq!(scene.read("item-2"), "<><>");
    no_canary(&scene);
}

/// The step is failed, nothing of it started, and the message names the culprit.
fn never_started(scene: &Scene, unit: &str, words: &[&str]) {
    let show = scene.last();
    let step = step_of(&show, unit);
    assert_eq!(step["status"], "failed", "{show:#}");
    assert_eq!(step["attempts"], 0, "it never started: {show:#}");
    let error = step["error"].as_str().unwrap();
    for word in words {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(!scene.path("effect").exists());
}

#[test]
fn a_value_that_is_too_large_fails_the_step_before_it_starts() {
    let scene = scene(
        "params: {dir: {type: path, required: true}, big: {type: string, required: true}}\n\
         steps:\n  \
         - id: uses\n    \
           run: \"touch ${{ params.dir }}/effect; : ${{ params.big }}\"\n",
    );
    let run = |bytes: usize| {
        scene.file("params.json", serde_json::json!({"big": "x".repeat(bytes)}).to_string());
        scene.run(&["run", "book.yaml", "-p", &scene.dir(), "--params-file", "params.json"])
    };
    assert_eq!(run(121 * 1024).code, 1);
    never_started(&scene, "uses", &["params.big", "123904", "122880"]);
    let fits = run(120 * 1024);
    assert_eq!(fits.code, 0, "{}", fits.stderr);
    assert!(scene.path("effect").exists());
}

#[test]
fn parameters_that_are_too_large_together_are_refused() {
    let scene = scene("params: {big: {type: string, required: true}}\nsteps:\n  - run: ': ${{ params.big }}'\n");
    scene.file("params.json", serde_json::json!({"big": "x".repeat(257 * 1024)}).to_string());
    let done = scene.expect(2, &["run", "book.yaml", "--params-file", "params.json"]);
    assert!(done.stderr.contains("262144 are possible"), "{}", done.stderr);
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn a_value_with_a_nul_is_refused_before_a_run_exists() {
    let scene = scene(
        "params: {dir: {type: path, required: true}, name: {type: string, required: true}}\n\
         steps:\n  - id: uses\n    run: \"touch ${{ params.dir }}/effect; : ${{ params.name }}\"\n",
    );
    scene.file("params.json", r#"{"name": "a\u0000b"}"#);
    let done = scene.expect(2, &["run", "book.yaml", "-p", &scene.dir(), "--params-file", "params.json"]);
    assert!(done.stderr.contains("`name`") && done.stderr.contains("NUL"), "{}", done.stderr);
    assert_eq!(scene.runs_recorded(), 0);
    assert!(!scene.path("effect").exists());
}

#[test]
fn an_output_nobody_wrote_fails_the_step_that_reads_it_before_it_starts() {
    let scene = scene(
        "params: {dir: {type: path, required: true}}\n\
         steps:\n  \
         - {id: dump, run: 'true'}\n  \
         - id: uses\n    \
           run: \"touch ${{ params.dir }}/effect; echo ${{ steps.dump.outputs.file }}\"\n",
    );
    scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    never_started(&scene, "uses", &["steps.dump.outputs.file"]);
}

const TYPED: &str = "\
params:
  count: {type: int, min: 1, max: 5}
  force: {type: bool, default: false}
  env: {type: string, enum: [staging, prod], default: staging}
  version: {type: string, pattern: '^\\d+\\.\\d+$', default: '17.6'}
  nodes: {type: list, default: [db1]}
  labels: {type: map, default: {tier: one}}
  keep: {type: duration, default: 7d}
  most: {type: size, default: 1MiB}
  ratio: {type: float, default: 0.5}
  file: {type: path, default: ./here}
steps:
  - run: |
      printf '%s\\n' ${{ params.count | default(value=0) }} ${{ params.force }} ${{ params.env }} ${{ params.version }} \\
        ${{ params.nodes | join(sep=\"+\") }} ${{ params.labels | json }} ${{ params.keep }} ${{ params.most }} \\
        ${{ params.ratio }} ${{ params.file }}
";

#[test]
fn parameters_take_their_declared_types() {
    let scene = scene(TYPED);
    let given = [
        "count=3",
        "force=true",
        "env=prod",
        "version=18.1",
        "nodes=[\"a\", \"b\"]",
        "labels={\"tier\": \"two\"}",
        "keep=90m",
        "most=2GiB",
        "ratio=1.25",
        "file=sub/dump.sql",
    ];
    let mut args = vec!["run", "book.yaml"];
    given.iter().for_each(|pair| args.extend(["-p", pair]));
    scene.expect(0, &args);
    let params = scene.last()["run"]["params"].clone();
    assert_eq!(params["count"], 3);
    assert_eq!(params["force"], true);
    assert_eq!(params["nodes"], serde_json::json!(["a", "b"]));
    assert_eq!(params["labels"], serde_json::json!({"tier": "two"}));
    assert_eq!(params["ratio"], 1.25);
    let file = scene.path("sub/dump.sql").display().to_string();
    assert_eq!(params["file"], file.as_str(), "a path is meant from where the caller stands");
    let printed = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..6], ["3", "true", "prod", "18.1", "a+b", r#"{"tier":"two"}"#]);
    assert_eq!(lines[9], file);
}

#[test]
fn what_does_not_fit_the_declaration_is_refused_all_at_once() {
    let scene = scene(TYPED);
    let wrong = [
        ("count=six", "count"),
        ("force=maybe", "force"),
        ("env=produ", "env"),
        ("version=seventeen", "version"),
        ("keep=30", "keep"),
        ("most=big", "most"),
        ("ratio=much", "ratio"),
        ("nods=[a]", "did you mean `nodes`?"),
    ];
    let mut args = vec!["run", "book.yaml"];
    wrong.iter().for_each(|(pair, _)| args.extend(["-p", pair]));
    let report = scene.expect(2, &args).stderr;
    for (pair, word) in wrong {
        assert!(report.contains(word), "{pair}: {report}");
    }
    for (pair, bound) in [("count=0", "1"), ("count=6", "5")] {
        let report = scene.expect(2, &["run", "book.yaml", "-p", pair]).stderr;
        assert!(report.contains("count") && report.contains(bound), "{report}");
    }
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn a_parameter_of_the_command_line_wins_over_the_file() {
    let scene = scene(TYPED);
    scene.file("params.yaml", "count: 2\nenv: prod\n");
    scene.expect(0, &["run", "book.yaml", "--params-file", "params.yaml", "-p", "count=4"]);
    let params = scene.last()["run"]["params"].clone();
    assert_eq!((&params["count"], &params["env"]), (&4.into(), &"prod".into()));
}

#[test]
fn a_file_of_parameters_is_checked_like_a_runbook() {
    let scene = scene(TYPED);
    scene.file("params.yaml", "count: [1\n");
    let report = scene.expect(2, &["run", "book.yaml", "--params-file", "params.yaml"]).stderr;
    assert!(report.contains("[params.yaml:"), "{report}");
    scene.file("params.yaml", "count: many\n");
    let report = scene.expect(2, &["run", "book.yaml", "--params-file", "params.yaml"]).stderr;
    assert!(report.contains("`count`"), "{report}");
    let report = scene.expect(2, &["run", "book.yaml", "--params-file", "nowhere.yaml"]).stderr;
    assert!(report.contains("nowhere.yaml cannot be read"), "{report}");
}

#[test]
fn a_missing_parameter_is_asked_for_by_name() {
    let scene = scene(
        "params: {env: {type: string, required: true, description: where to deploy}, who: {type: string, required: true}}\n\
         steps:\n  - run: echo ${{ params.env }} ${{ params.who }}\n",
    );
    let report = scene.expect(2, &["run", "book.yaml"]).stderr;
    for word in ["-p env=VALUE", "where to deploy", "-p who=VALUE"] {
        assert!(report.contains(word), "{word}: {report}");
    }
    let report = scene.expect(2, &["run", "book.yaml", "-p", "env"]).stderr;
    assert!(report.contains("NAME=VALUE"), "{report}");
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn a_sensitive_parameter_is_never_shown() {
    let scene = scene(
        "params: {dir: {type: path, required: true}, word: {type: string, required: true, sensitive: true}}\n\
         steps:\n  \
         - id: uses\n    \
           run: \"printf '%s' ${{ params.word }} > ${{ params.dir }}/got\"\n  \
         - cmd: ['true', '${{ params.word }}']\n  \
         - {run: 'true', env: {WORD: 'x-${{ params.word }}'}}\n",
    );
    let word = "word=hunter2-open-sesame";
    let dir = scene.dir();
    let mut said = Vec::new();
    for args in [
        &["plan", "book.yaml", "-p", word, "-p", &dir] as &[&str],
        &["plan", "book.yaml", "-p", word, "-p", &dir, "--format", "json"],
        &["run", "book.yaml", "-p", word, "-p", &dir],
        &["show", "last"],
        &["show", "last", "--events"],
        &["show", "last", "--format", "json"],
        &["runs"],
        &["runs", "--format", "json"],
        &["logs", "last"],
        &["audit", "verify", "--format", "json"],
    ] {
        let done = scene.expect(0, args);
        if done.stdout.contains("hunter2") || done.stderr.contains("hunter2") {
            said.push(args.join(" "));
        }
    }
    assert_eq!(scene.read("got"), "hunter2-open-sesame");
    assert!(said.is_empty(), "said by: {said:#?}");
}

#[test]
fn places_with_no_safe_form_are_refused_with_the_way_out() {
    for (script, word) in [
        ("echo `printf ${{ params.name }}`", "backticks"),
        ("eval ${{ params.name }}", "eval"),
        ("sh -c ${{ params.name }}", "sh"),
        ("echo $(( ${{ params.name }} ))", "arithmetic"),
        ("cat <<'END'\n      ${{ params.name }}\n      END", "here-document"),
        ("${{ params.name }} now", "command"),
        ("python3 -c \"print(${{ params.name }})\"", "python3"),
    ] {
        let scene =
            scene(&format!("params: {{name: {{type: string, required: true}}}}\nsteps:\n  - run: |\n      {script}\n"));
        let report = scene.expect(2, &["run", "book.yaml", "-p", "name=$(touch pwned)"]).stderr;
        assert!(report.contains(word), "{script}: {report}");
        assert!(report.contains("help: "), "{script}: {report}");
        assert_eq!(scene.runs_recorded(), 0);
        no_canary(&scene);
    }
}

#[test]
fn a_sensitive_value_is_in_no_event_that_is_shown_and_in_no_message_about_it() {
    let scene = Scene::new();
    scene.file("t.tera", "\n{{ params.pin | int }}\n");
    scene.file(
        "x.yaml",
        "params: {pins: {type: list, sensitive: true, default: [sesame1, sesame2]}, pin: {sensitive: true, default: sesame3}}
defaults: {allow-failure: true}
steps:
  - {id: each, for-each: '${{ params.pins }}', run: 'test -n ${{ item }}'}
  - {id: number, cmd: [echo, '${{ params.pin | int }}']}
  - {id: condition, if: params.pin | int > 3, run: 'true'}
  - {id: items, for-each: '${{ params.pin | int }}', run: 'test -n ${{ item }}'}
  - {id: file, render: {template: t.tera, to: out}}
",
    );
    let run = scene.expect(0, &["run", "x.yaml", "--format", "json", "--report", "report.xml"]);
    let show = scene.expect(0, &["show", "last", "--format", "json"]);
    let events = scene.expect(0, &["show", "last", "--events"]);
    for text in [&run.stdout, &run.stderr, &show.stdout, &events.stdout, &scene.read("report.xml")] {
        assert!(!text.contains("sesame"), "{text}");
    }
    assert!(run.stdout.contains(r#""items":["(sensitive)","(sensitive)"]"#), "{}", run.stdout);
    for unit in ["number", "condition", "items", "file"] {
        let error = step_of(&scene.last(), unit)["error"].to_string();
        assert!(error.contains("reads something sensitive"), "{unit}: {error}");
    }
    assert!(step_of(&scene.last(), "file")["error"].to_string().contains("line 2"));
}
