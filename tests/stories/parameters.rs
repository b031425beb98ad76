//! Where the values of a run come from: the environment, files, flags, and a person who is asked.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Done, Scene, Terminal, finish};

const BOOK: &str = "\
params:
  env: {type: string, enum: [staging, prod], required: true, description: where to deploy}
  version: {type: string, pattern: '\\d+\\.\\d+', default: '1.0'}
  nodes: {type: list, default: [db1]}
steps:
  - run: echo ${{ params.env }} ${{ params.version }} ${{ params.nodes | join(sep=\"+\") }}
";

const SECRET: &str = "\
params:
  env: {type: string, enum: [staging, prod], required: true, description: 部署到哪里}
  word: {type: string, required: true, sensitive: true, min: 4}
  out: {type: path, default: ./x}
steps:
  - {run: 'printf %s \"$WORD\" > \"$OUT\"', env: {WORD: '${{ params.word }}', OUT: '${{ params.out }}', X: '${{ params.env }}'}}
";

fn scene(book: &str) -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", book);
    scene
}

fn with_env(scene: &Scene, args: &[&str], env: &[(&str, &str)]) -> Done {
    finish(scene.runward().args(args).envs(env.iter().copied()))
}

fn params(scene: &Scene) -> Value {
    scene.last()["run"]["params"].clone()
}

#[test]
fn the_environment_gives_parameters_a_file_beats_it_and_the_command_line_beats_both() {
    let scene = scene(BOOK);
    let env = [("RUNWARD_PARAM_ENV", "prod"), ("RUNWARD_PARAM_VERSION", "2.0"), ("RUNWARD_PARAM_NODES", "a,b")];
    assert_eq!(with_env(&scene, &["run", "book.yaml"], &env).code, 0);
    assert_eq!(params(&scene), json!({"env": "prod", "version": "2.0", "nodes": ["a", "b"]}));
    scene.file("p.yaml", "version: '3.0'\nnodes: [c]\n");
    let args = ["run", "book.yaml", "--params-file", "p.yaml", "-p", "nodes=d"];
    assert_eq!(with_env(&scene, &args, &env).code, 0);
    assert_eq!(params(&scene), json!({"env": "prod", "version": "3.0", "nodes": ["d"]}));
    let plan = with_env(&scene, &["plan", "book.yaml", "--params-file", "p.yaml", "-p", "nodes=d"], &env);
    for line in ["env = \"prod\"  (RUNWARD_PARAM_ENV)", "version = \"3.0\"  (p.yaml)", "nodes = [\"d\"]  (-p)"] {
        assert!(plan.stdout.contains(line), "{line}: {}", plan.stdout);
    }
}

#[test]
fn a_variable_for_other_runbooks_is_no_mistake_but_a_misspelt_one_is_told() {
    let scene = scene(BOOK);
    let env = [("RUNWARD_PARAM_ENV", "prod"), ("RUNWARD_PARAM_REGION", "eu"), ("RUNWARD_PARAM_version", "9.9")];
    let plan = with_env(&scene, &["plan", "book.yaml"], &env);
    assert!(plan.stdout.contains("RUNWARD_PARAM_REGION names no parameter of this runbook"), "{}", plan.stdout);
    assert_eq!(with_env(&scene, &["run", "book.yaml"], &env).code, 0);
    assert_eq!(params(&scene)["version"], "1.0", "names are upper case");
    let done = with_env(&scene, &["run", "book.yaml"], &[("RUNWARD_PARAM_ENW", "prod")]);
    assert_eq!(done.code, 2);
    for word in [
        "`env` (where to deploy) is required",
        "RUNWARD_PARAM_ENW names no parameter",
        "did you mean `RUNWARD_PARAM_ENV`?",
    ] {
        assert!(done.stderr.replace("\n  │ ", " ").contains(word), "{word}: {}", done.stderr);
    }
    let done = with_env(&scene, &["run", "book.yaml"], &[("RUNWARD_PARAM_ENV", "production")]);
    assert!(done.stderr.contains("not one of staging, prod"), "{}", done.stderr);
}

#[test]
fn parameters_come_from_standard_input_where_nobody_else_can_read_them() {
    let scene = scene(SECRET);
    let out = format!("out={}", scene.path("got").display());
    let mut child = scene
        .runward()
        .args(["run", "book.yaml", "-p", &out, "--params-file", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("env: prod\nword: 秘密hunter2\n".as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !said.contains("warning"), "{said}");
    assert_eq!(scene.read("got"), "秘密hunter2");
}

#[test]
fn a_sensitive_value_on_the_command_line_is_warned_of_and_never_repeated() {
    let scene = scene(SECRET);
    let done = scene.expect(2, &["run", "book.yaml", "-p", "env=prod", "-p", "word=hu7"]);
    assert!(done.stderr.contains("warning: `-p word=...`"), "{}", done.stderr);
    assert!(done.stderr.contains("RUNWARD_PARAM_WORD"), "{}", done.stderr);
    assert!(!done.stderr.contains("hu7"), "{}", done.stderr);
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn without_a_terminal_everything_that_is_missing_is_named_at_once() {
    let scene = scene(SECRET);
    let done = scene.expect(2, &["run", "book.yaml"]);
    for word in ["`env` (部署到哪里)", "-p env=VALUE", "RUNWARD_PARAM_ENV", "RUNWARD_PARAM_WORD", "--params-file"]
    {
        assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
    }
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn a_person_at_a_terminal_is_asked_until_the_answer_fits() {
    let scene = scene(SECRET);
    let out = format!("out={}", scene.path("got").display());
    let mut terminal = Terminal::start(scene.runward().args(["run", "book.yaml", "-p", &out]));
    terminal.answer("env (string: staging or prod): ", "prodd\n");
    terminal.answer("`prodd` is not one of staging, prod", "prod\n");
    terminal.answer("not shown): ", "abc\r");
    // One too many, taken back, and a whole character of three bytes.
    terminal.answer("its value is not what it takes", "hunter2密x\u{7f}\u{7f}\r");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("部署到哪里"), "{screen}");
    assert!(!screen.contains("hunter2") && !screen.contains("abc"), "{screen}");
    assert_eq!(scene.read("got"), "hunter2");
    assert_eq!(params(&scene)["env"], "prod");
}

#[test]
fn whoever_leaves_while_being_asked_leaves_nothing_behind() {
    for (shown, key) in [
        ("env (string: staging or prod): ", "\u{3}"),
        ("env (string: staging or prod): ", "\u{4}"),
        ("not shown): ", "\u{3}"),
        ("not shown): ", "\u{4}"),
    ] {
        let scene = scene(SECRET);
        let mut args = vec!["run", "book.yaml"];
        args.extend(if shown.starts_with("not") { &["-p", "env=prod"] as &[&str] } else { &[] });
        // The shell says how the terminal was left.
        let command = format!("trap : INT; \"$0\" {}; echo code $?; stty -a | grep -o ' .\\?echo '", args.join(" "));
        let runward = scene.runward();
        let mut shell = std::process::Command::new("bash");
        shell.current_dir(scene.path("")).args(["-c", &command]).arg(runward.get_program());
        for (name, value) in runward.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut terminal = Terminal::start(&shell);
        terminal.answer(shown, key);
        let (_, screen) = terminal.end();
        let code = if key == "\u{3}" { "code 130" } else { "code 2" };
        assert!(screen.contains(code), "{shown:?} {key:?}: {screen}");
        assert!(screen.contains(" echo "), "the terminal shows again what is typed: {screen}");
        assert!(!scene.path("state").exists(), "nothing was recorded");
    }
}

#[test]
fn a_job_of_ci_is_never_asked_although_it_may_have_a_terminal() {
    let scene = scene(SECRET);
    let (code, screen) = Terminal::start(scene.runward().args(["run", "book.yaml"]).env("CI", "true")).end();
    assert_eq!(code, 2, "{screen}");
    assert!(screen.contains("is required"), "{screen}");
}
