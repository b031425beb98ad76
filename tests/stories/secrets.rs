//! Secrets: where they come from, who receives them, and what is said when they are not there.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::json;

use crate::harness::{Done, Scene, Terminal, finish, kill_9, step_of, wait};

/// With a key of its own, and not that of whoever runs the tests.
fn scene(runbook: &str) -> Scene {
    let scene = Scene::new();
    scene.file("s.yaml", runbook);
    scene
}

fn runward(scene: &Scene, args: &[&str], env: &[(&str, &str)]) -> Done {
    let mut command = scene.runward();
    command.env("RUNWARD_SECRETS_KEY_FILE", scene.path("secrets.key"));
    finish(command.args(args).envs(env.iter().copied()))
}

fn private(scene: &Scene, name: &str, text: &str, mode: u32) -> String {
    let path = scene.file(name, text);
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

/// `runward secret set NAME`, with the value on standard input.
fn set(scene: &Scene, name: &str, value: &str) -> Done {
    let mut command = scene.runward();
    command.env("RUNWARD_SECRETS_KEY_FILE", scene.path("secrets.key"));
    command.args(["secret", "set", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        stdout_bytes: output.stdout,
    }
}

#[test]
fn a_step_receives_the_secrets_that_it_names_and_no_others() {
    let scene = Scene::new();
    let file = private(&scene, "token", "from a file\n", 0o400);
    scene.file(
        "s.yaml",
        format!(
            "secrets: {{A: {{env: OURS}}, B: {{file: '{file}'}}, C: {{exec: [sh, -c, 'echo from $WHO']}}, D: {{sealed: d}}}}
steps:
  - id: all
    secrets: [A, B, C, D]
    run: printf '%s\\n' \"$A\" \"$B\" \"$C\" \"$D\" \"${{OURS-none}}\" \"${{RUNWARD_SECRETS_KEY_FILE-none}}\" > all
  - id: one
    secrets: [A]
    run: printf '%s\\n' \"$A\" \"${{B-none}}\" \"${{C-none}}\" > one; echo \"got $A\"
  - id: none
    run: env > none
"
        ),
    );
    assert_eq!(set(&scene, "d", "from the sealed file\n").code, 0);
    let done = runward(&scene, &["run", "s.yaml"], &[("OURS", "from the environment"), ("WHO", "a program")]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let run = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    let wrote = |name: &str| scene.read(&format!("state/runs/{run}/files/{name}"));
    assert_eq!(wrote("all"), "from the environment\nfrom a file\nfrom a program\nfrom the sealed file\nnone\nnone\n");
    assert_eq!(wrote("one"), "from the environment\nnone\nnone\n");
    assert!(!wrote("none").contains("from "), "{}", wrote("none"));
    assert!(done.stdout.contains("got ***"), "{}", done.stdout);
    let plan = runward(&scene, &["plan", "s.yaml"], &[]).stdout;
    for words in ["A: the secret from the environment variable OURS", "D: the secret from the sealed secret d"] {
        assert!(plan.contains(words), "{plan}");
    }
}

#[test]
fn a_secret_as_a_file_is_there_for_the_step_alone_and_gone_after_it() {
    let scene = scene(
        "secrets: {KEY: {env: OURS}}
steps:
  - id: use
    secrets: [{file: KEY}]
    outputs: {path: string}
    run: |
      test \"$(stat -c %a \"$KEY\")\" = 400
      test \"$(stat -c %a \"$(dirname \"$KEY\")\")\" = 700
      cmp \"$KEY\" <(printf 'line one\\nline two\\n')
      cat \"$KEY\"
      echo \"path=$KEY\" >> \"$RUNWARD_OUTPUT\"
",
    );
    let done = runward(&scene, &["run", "s.yaml"], &[("OURS", "line one\nline two\n")]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("***") && !done.stdout.contains("line one"), "{}", done.stdout);
    let path = step_of(&scene.last(), "use")["outputs"]["path"].as_str().unwrap().to_owned();
    assert!(path.contains("/attempts/") && !fs::exists(&path).unwrap(), "{path}");
}

#[test]
fn a_secret_that_is_not_there_fails_the_step_before_it_starts_and_says_what_to_do() {
    let scene = Scene::new();
    let open = private(&scene, "open", "opensesame", 0o644);
    for (provider, words) in [
        ("env: NOT_SET".to_owned(), "from the environment variable NOT_SET: it is not set"),
        (format!("file: '{open}'"), "others may reach it (mode 0644): `chmod o=` it"),
        ("file: /nowhere/key".to_owned(), "from the file /nowhere/key: it does not exist on this machine"),
        (
            "exec: [sh, -c, 'echo opensesame; echo no lease for opensesame >&2; exit 2']".to_owned(),
            "from the program sh: it ended with exit code 2: no lease for ***",
        ),
        ("exec: [no-such-vault]".to_owned(), "there is no program no-such-vault on this machine"),
        ("sealed: missing".to_owned(), "there is no sealed secret missing"),
    ] {
        let runbook =
            format!("secrets: {{S: {{{provider}}}}}\nsteps:\n  - {{id: a, secrets: [S], run: touch started}}\n");
        scene.file("s.yaml", runbook);
        let done = runward(&scene, &["run", "s.yaml"], &[]);
        assert_eq!(done.code, 1, "{provider}: {}{}", done.stdout, done.stderr);
        let step = step_of(&scene.last(), "a");
        let error = step["error"].as_str().unwrap_or_default();
        assert!(error.contains("the secret S cannot be had") && error.contains(words), "{provider}: {step}");
        let all = format!("{}{}{}", done.stdout, done.stderr, scene.expect(0, &["show", "last", "--events"]).stdout);
        assert!(!all.contains("opensesame"), "{all}");
        let run = scene.last()["run"]["id"].as_str().unwrap().to_owned();
        assert!(!scene.path(&format!("state/runs/{run}/files/started")).exists());
    }
}

#[test]
fn a_secret_that_comes_late_is_had_by_the_next_try() {
    let scene = scene(
        "params: {dir: {type: path, required: true}}
secrets: {S: {exec: [sh, -c, 'test -e ../../../../late && echo opensesame']}}
steps:
  - id: a
    secrets: [S]
    retry: {attempts: 50, delay: 100ms, backoff: 1, jitter: none}
    env: {DIR: '${{ params.dir }}'}
    run: echo \"$S\" > \"$DIR/got\"; echo start >> \"$DIR/starts\"
",
    );
    let mut driver = scene.start(&["run", "s.yaml", "-p", &scene.dir()]);
    wait("two tries", || {
        scene.runs_recorded() > 0 && scene.last()["attempts"].as_array().is_some_and(|tries| tries.len() > 2)
    });
    scene.file("late", "");
    assert!(driver.wait().unwrap().success());
    assert_eq!((scene.read("got").as_str(), scene.read("starts").as_str()), ("opensesame\n", "start\n"));
}

#[test]
fn probe_and_undo_receive_the_secrets_of_their_step() {
    let scene = scene(
        "params: {dir: {type: path, required: true}}
secrets: {S: {env: OURS}}
defaults: {env: {DIR: '${{ params.dir }}'}}
steps:
  - id: a
    secrets: [S]
    check: echo \"check $S\" >> \"$DIR/seen\"; exit 1
    run: echo \"run $S\" >> \"$DIR/seen\"
    undo: echo \"undo $S\" >> \"$DIR/seen\"; echo \"taking back $S\"
  - run: exit 3
",
    );
    let done = runward(&scene, &["run", "s.yaml", "-p", &scene.dir()], &[("OURS", "opensesame")]);
    assert_eq!(done.code, 6, "{}{}", done.stdout, done.stderr);
    assert_eq!(scene.read("seen"), "check opensesame\nrun opensesame\nundo opensesame\n");
    assert!(scene.expect(0, &["logs", "last"]).stdout.contains("taking back ***"));
}

#[test]
fn a_step_goes_on_being_masked_when_its_driver_is_killed() {
    let scene = scene(
        "params: {dir: {type: path, required: true}}
secrets: {S: {env: OURS}, F: {env: OURS}}
steps:
  - id: slow
    secrets: [S, {file: F}]
    env: {DIR: '${{ params.dir }}'}
    run: |
      echo \"path=$F\" >> \"$RUNWARD_OUTPUT\"
      printf 'before %s, and the first half of it: opens' \"$S\"
      echo start >> \"$DIR/effects\"
      until test -e \"$DIR/go\"; do sleep 0.05; done
      printf 'esame\\nafter %s\\n' \"$S\"
      echo \"word=$S\" >> \"$RUNWARD_OUTPUT\"
",
    );
    let mut command = scene.runward();
    command.args(["run", "s.yaml", "-p", &scene.dir()]).env("OURS", "opensesame");
    let mut driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    scene.wait_for("effects", "start");
    kill_9(&mut driver);
    // Whoever goes on does not know the secret.
    let mut resumed = scene.start(&["resume", "last"]);
    scene.wait_for("started.out", "still runs");
    scene.file("go", "");
    assert!(resumed.wait().unwrap().success(), "{}", scene.read("started.out"));
    assert_eq!(scene.read("effects"), "start\n");
    let logs = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    assert_eq!(logs, "before ***, and the first half of it: ***\nafter ***\n");
    let outputs = step_of(&scene.last(), "slow")["outputs"].clone();
    assert_eq!(outputs["word"], "***");
    assert!(!fs::exists(outputs["path"].as_str().unwrap()).unwrap(), "{outputs}");
}

#[test]
fn files_with_secrets_do_not_outlive_a_step_that_is_killed_with_its_supervisor() {
    let scene = scene(
        "params: {dir: {type: path, required: true}}
secrets: {F: {env: OURS}}
steps:
  - id: slow
    secrets: [{file: F}]
    env: {DIR: '${{ params.dir }}'}
    run: echo \"$F\" > \"$DIR/path\"; echo \"x=$(cat \"$F\")\" > \"$RUNWARD_OUTPUT\"; echo $PPID > \"$DIR/subreaper\"; sleep 600
",
    );
    let mut command = scene.runward();
    command.args(["run", "s.yaml", "-p", &scene.dir()]).env("OURS", "opensesame");
    let mut driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    scene.wait_for("subreaper", "\n");
    let path = scene.read("path").trim().to_owned();
    assert!(fs::exists(&path).unwrap(), "{path}");
    let subreaper: i32 = scene.read("subreaper").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(subreaper), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(8));
    assert!(!fs::exists(&path).unwrap(), "{path}");
    assert!(!finds(&scene, "opensesame"), "something of it is left in the state folder");
}

/// Whether a file of the state folder holds this text.
fn finds(scene: &Scene, text: &str) -> bool {
    let found = std::process::Command::new("grep").args(["-rqF", text]).arg(scene.path("state")).status().unwrap();
    found.success()
}

#[test]
fn secrets_are_sealed_listed_rotated_and_removed_and_the_record_says_who() {
    let scene = Scene::new();
    let first = set(&scene, "db", "opensesame\n");
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.stdout.contains("made the key") && first.stdout.contains("sealed db"), "{}", first.stdout);
    assert_eq!(fs::metadata(scene.path("secrets.key")).unwrap().permissions().mode() & 0o777, 0o400);
    assert!(set(&scene, "db", "closesesame").stdout.contains("replaced db"));
    let doctor = |args: &[(&str, &str)]| runward(&scene, &["doctor"], args).stdout;
    assert!(doctor(&[]).contains("1 secret sealed, and the key opens the file"), "{}", doctor(&[]));
    let gone = scene.path("nowhere").display().to_string();
    let gone = doctor(&[("RUNWARD_SECRETS_KEY_FILE", &gone)]);
    assert!(gone.contains("their key is not here"), "{gone}");
    let before = scene.read("secrets.key");
    let rotated = runward(&scene, &["secret", "rotate"], &[]);
    assert!(rotated.code == 0 && rotated.stdout.contains("1 secret sealed under a new key"), "{}", rotated.stderr);
    assert_ne!(scene.read("secrets.key"), before);
    let list = runward(&scene, &["secret", "list", "--format", "json"], &[]).stdout;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list["proven"], &list["secrets"][0]["name"]), (&json!(true), &json!("db")));
    assert!(list["secrets"][0]["by"].as_str().unwrap().contains('@'), "{list}");
    assert!(!finds(&scene, "sesame"), "a value is readable in the state folder");
    assert_eq!(runward(&scene, &["secret", "rm", "db"], &[]).code, 0);
    let gone = runward(&scene, &["secret", "rm", "db"], &[]);
    assert!(gone.code == 2 && gone.stderr.contains("no sealed secret db"), "{}", gone.stderr);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn what_is_wrong_with_the_sealed_file_is_named() {
    let scene = Scene::new();
    set(&scene, "db", "opensesame");
    let said = |args: &[&str]| {
        let done = runward(&scene, args, &[]);
        assert_eq!(done.code, 2, "{}{}", done.stdout, done.stderr);
        done.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let sealed = scene.read("state/secrets.sealed");
    scene.file("state/secrets.sealed", sealed.replacen('@', "#", 1));
    assert!(said(&["secret", "list"]).contains("was changed by somebody without the key"));
    scene.file("state/secrets.sealed", &sealed[..sealed.len() / 2]);
    assert!(said(&["secret", "list"]).contains("is no file of sealed secrets"));
    scene.file("state/secrets.sealed", &sealed);
    fs::set_permissions(scene.path("secrets.key"), Permissions::from_mode(0o644)).unwrap();
    assert!(said(&["secret", "list"]).contains("(mode 0644)"));
    fs::remove_file(scene.path("secrets.key")).unwrap();
    private(&scene, "secrets.key", &"ab".repeat(32), 0o400);
    assert!(said(&["secret", "list"]).contains("was sealed with another key"));
    fs::remove_file(scene.path("secrets.key")).unwrap();
    assert!(said(&["secret", "rotate"]).contains("there is no key for the sealed secrets"));
    assert!(said(&["secret", "set", "db=x"]).contains("does not belong on the command line"));
    assert!(said(&["secret", "set", "db"]).contains("nothing was given for db"));
}

#[test]
fn a_person_types_a_secret_twice_and_sees_nothing_of_it() {
    let scene = Scene::new();
    let mut command = scene.runward();
    command.env("RUNWARD_SECRETS_KEY_FILE", scene.path("secrets.key")).args(["secret", "set", "db"]);
    let mut terminal = Terminal::start(&command);
    terminal.answer("db (not shown): ", "opensesame\r");
    terminal.answer("once more): ", "opensesam\r");
    let (code, screen) = terminal.end();
    assert!(code == 2 && screen.contains("two different values") && !screen.contains("sesam"), "{screen}");
    let mut terminal = Terminal::start(&command);
    terminal.answer("db (not shown): ", "opensesame\r");
    terminal.answer("once more): ", "opensesame\r");
    let (code, screen) = terminal.end();
    assert!(code == 0 && screen.contains("sealed db") && !screen.contains("sesam"), "{screen}");
}

#[test]
fn a_runbook_with_secrets_that_cannot_be_meant_is_refused() {
    let scene = Scene::new();
    for (runbook, words) in [
        ("secrets: {A: {file: token}}\nsteps:\n  - {run: a, secrets: [A]}", "must be an absolute path"),
        ("secrets: {A: {env: X}}\nsteps:\n  - {run: a, secrets: [A, {file: A}]}", "receives the secret `A` twice"),
        ("secrets: {A: {env: X}}\nsteps:\n  - {run: a, secrets: [A], env: {A: b}}", "of this step's `env` as well"),
        ("secrets: {RUNWARD_X: {env: X}}\nsteps:\n  - {run: a, secrets: [RUNWARD_X]}", "belong to runward"),
        ("secrets: {A: {env: X}}\nsteps:\n  - {run: a, secrets: [{file: B}]}", "`B` is not a secret of this runbook"),
        ("secrets: {A: {exec: vault kv get x}}\nsteps:\n  - {run: a, secrets: [A]}", "exec"),
        ("secrets: {A: {env: X}}\nsteps:\n  - {http: {url: 'http://h'}, secrets: [A]}", "let a `run` step do it"),
    ] {
        scene.file("s.yaml", format!("{runbook}\n"));
        let done = scene.expect(2, &["validate", "s.yaml"]);
        let said = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words) || done.stdout.contains(words), "{runbook}\n{}{}", done.stdout, done.stderr);
    }
}

/// As often as it writes, syncs, renames or removes anything.
#[test]
fn a_rotation_that_is_killed_anywhere_leaves_secrets_that_are_read() {
    let scene =
        scene("secrets: {D: {sealed: db}}\nsteps:\n  - {id: a, secrets: [D], run: 'test \"$D\" = opensesame'}\n");
    assert_eq!(set(&scene, "db", "opensesame\n").code, 0);
    let mut kills = 0;
    for call in ["rename", "fsync", "unlink"] {
        for nth in 1.. {
            let own = scene.runward();
            let mut strace = std::process::Command::new("sh");
            strace.args(["-c", "strace \"$@\"; echo \"ended $?\"", "sh", "-f", "-qq", "-o", "trace"]);
            strace.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:signal=SIGKILL:when={nth}")]);
            strace.args([own.get_program(), "secret".as_ref(), "rotate".as_ref()]).current_dir(scene.path(""));
            strace.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let rotated = finish(strace.env("RUNWARD_SECRETS_KEY_FILE", scene.path("secrets.key")));
            let read = runward(&scene, &["run", "s.yaml"], &[]);
            assert_eq!(read.code, 0, "{call} {nth}: {}{}", read.stdout, read.stderr);
            match rotated.stdout.lines().last() {
                Some("ended 137") => kills += 1,
                Some("ended 0") => break,
                _ => panic!("{call} {nth}: {}{}", rotated.stdout, rotated.stderr),
            }
        }
    }
    println!("{kills} kills inside of `secret rotate`: the secret was read after each");
    assert!(kills >= 9, "three files, each of which is written, synced and renamed: {kills}");
}

#[test]
fn a_program_that_is_not_there_gives_no_sensitive_name_away() {
    let scene = Scene::new();
    scene.file(
        "p.yaml",
        "params: {tool: {sensitive: true, required: true}}\nsteps:\n  - {id: a, cmd: ['no-such-${{ params.tool }}']}\n",
    );
    scene.file("given.yaml", "tool: opensesame\n");
    let done = scene.expect(1, &["run", "p.yaml", "--params-file", "given.yaml"]);
    assert!(done.stdout.contains("install no-such-*** on this worker"), "{}", done.stdout);
    let shown = scene.expect(0, &["show", "last", "--events"]).stdout + &scene.expect(0, &["report", "last"]).stdout;
    assert!(shown.contains("no-such-***") && !shown.contains("opensesame"), "{shown}");
    let journals =
        finish(std::process::Command::new("grep").args(["-rac", "opensesame"]).arg(scene.path("state/runs")));
    assert!(journals.stdout.lines().all(|line| line.ends_with(":0")), "{}", journals.stdout);
}
