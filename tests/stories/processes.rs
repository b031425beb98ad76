//! A step is a tree of processes with a world of its own: nothing leaks in, nothing is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;

use crate::harness::{Scene, finish, is_alive, step_of, wait};

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

fn book(dir: &str) -> [&str; 4] {
    ["run", "book.yaml", "-p", dir]
}

fn pid(scene: &Scene, name: &str) -> u32 {
    scene.read(name).trim().parse().unwrap_or_else(|_| panic!("{name} holds a process id"))
}

/// Starts a grandchild in a session of its own that cannot be asked to end, and writes down its id.
const DEAF_GRANDCHILD: &str = "setsid bash -c 'trap \"\" TERM HUP INT; echo $$ > \"$DIR/NAME.tmp\"; mv \"$DIR/NAME.tmp\" \"$DIR/NAME\"; while :; do sleep 0.1; done' > /dev/null 2>&1 < /dev/null &";

fn block(text: &str) -> String {
    text.lines().map(|line| format!("      {line}\n")).collect()
}

fn beside(top: &str) -> Scene {
    let deaf = |name: &str| DEAF_GRANDCHILD.replace("NAME", name);
    scene(&format!(
        "steps:\n  - id: hangs\n{top}    grace: 200ms\n    run: |\n{}  - id: beside\n    needs: []\n    run: |\n{}",
        block(&format!("{}\nexec sleep 600", deaf("doomed"))),
        block(&format!(
            "{}\nuntil test -e \"$DIR/look\"; do sleep 0.02; done\nkill -0 \"$(cat \"$DIR/spared\")\"\necho unharmed > \"$DIR/beside\"",
            deaf("spared")
        )),
    ))
}

/// Timeouts for a step that has to come to something first: the next one where a busy machine gave it no turn in time.
const TIMEOUTS: [&str; 4] = ["300ms", "3s", "30s", "5m"];

#[test]
fn a_timeout_ends_the_whole_tree_of_its_step_and_no_other() {
    let came_to_it = TIMEOUTS.iter().any(|timeout| {
        let scene = beside(&format!("    timeout: {timeout}\n    allow-failure: true\n"));
        let dir = scene.dir();
        let driver = scene.start(&book(&dir));
        scene.wait_for("started.out", "hangs timed out");
        wait("the other step", || scene.path("spared").exists());
        let doomed = scene.path("doomed").exists();
        one_tree_ended(&scene, driver, doomed);
        doomed
    });
    assert!(came_to_it, "its grandchild never had its turn");
}

fn one_tree_ended(scene: &Scene, mut driver: Child, doomed: bool) {
    assert!(!doomed || !is_alive(pid(scene, "doomed")), "a grandchild outlived the timeout");
    assert!(is_alive(pid(scene, "spared")), "a grandchild of another step was hit");
    scene.file("look", "");
    assert!(driver.wait().unwrap().success(), "{}", scene.read("started.out"));
    assert_eq!(scene.read("beside"), "unharmed\n");
    let show = scene.last();
    assert_eq!(
        (&step_of(&show, "hangs")["status"], &step_of(&show, "beside")["status"]),
        (&"timed_out".into(), &"succeeded".into())
    );
    assert!(!is_alive(pid(scene, "spared")), "orphans go with their step");
}

#[test]
fn a_cancel_ends_every_process_of_every_step() {
    let scene = beside("");
    let dir = scene.dir();
    let mut driver = scene.start(&book(&dir));
    wait("both grandchildren", || scene.path("doomed").exists() && scene.path("spared").exists());
    scene.expect(0, &["cancel", "last", "--force"]);
    assert_eq!(driver.wait().unwrap().code(), Some(4));
    for name in ["doomed", "spared"] {
        assert!(!is_alive(pid(&scene, name)), "{name}");
    }
}

#[test]
fn a_step_gets_its_grace_to_end_by_itself() {
    let came_to_it = TIMEOUTS.iter().any(|timeout| {
        let scene = scene(&format!(
            "steps:\n  - id: polite\n    timeout: {timeout}\n    grace: 1m\n    run: |\n      \
             trap 'echo tidied > \"$DIR/tidied\"; exit 0' TERM\n      touch \"$DIR/ready\"\n      while :; do sleep 0.05; done\n",
        ));
        let dir = scene.dir();
        scene.expect(1, &book(&dir));
        assert_eq!(step_of(&scene.last(), "polite")["status"], "timed_out");
        let ready = scene.path("ready").exists();
        assert!(!ready || scene.read("tidied") == "tidied\n");
        ready
    });
    assert!(came_to_it, "it was never ready");
}

#[test]
fn what_a_finished_step_left_behind_is_ended_and_named() {
    let scene = scene(&format!(
        "steps:\n  - id: starts\n    run: |\n{}",
        block(&format!(
            "{}\nuntil test -s \"$DIR/left\"; do sleep 0.02; done",
            DEAF_GRANDCHILD.replace("NAME", "left")
        ))
    ));
    let dir = scene.dir();
    let done = scene.expect(0, &book(&dir));
    let left = pid(&scene, "left");
    assert!(!is_alive(left));
    assert!(done.stdout.contains(&format!("left a process behind: {left}")), "{}", done.stdout);
    let logs = scene.expect(0, &["logs", "last"]).stdout;
    assert!(
        logs.contains("orphans: leave") || done.stdout.contains("orphans: leave"),
        "the way out: {logs}{}",
        done.stdout
    );
}

#[test]
fn a_daemon_may_stay_where_the_step_says_so() {
    let scene = scene(&format!(
        "steps:\n  - id: starts\n    orphans: leave\n    run: |\n{}  - {{id: uses, run: 'kill -0 \"$(cat \"$DIR/left\")\"'}}\n",
        block(&format!(
            "{}\nuntil test -s \"$DIR/left\"; do sleep 0.02; done",
            DEAF_GRANDCHILD.replace("NAME", "left")
        ))
    ));
    let dir = scene.dir();
    scene.expect(0, &book(&dir));
    let left = pid(&scene, "left");
    let alive = is_alive(left);
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(left as i32), nix::sys::signal::Signal::SIGKILL);
    assert!(alive, "it was to stay");
}

fn environment(scene: &Scene, name: &str) -> BTreeMap<String, String> {
    let pairs = fs::read(scene.path(name)).unwrap();
    let text = String::from_utf8(pairs).unwrap();
    text.split_terminator('\0').map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

#[test]
fn the_environment_of_a_step_is_what_is_promised_and_nothing_else() {
    let scene = scene(
        "steps:\n  - {id: looks, cmd: [cp, /proc/self/environ, '${{ params.dir }}/environ'], env: {GREETING: hello}}\n",
    );
    let done = finish(
        scene
            .runward()
            .args(book(&scene.dir()))
            .env("AWS_SECRET_ACCESS_KEY", "caller's secret")
            .env("RUNWARD_TOKEN", "caller's token")
            .env("RUNWARD_REDIS_URL", "redis://:secret@caller")
            .env("SSH_AUTH_SOCK", "/tmp/agent")
            .env("LD_PRELOAD", "")
            .env("BASH_ENV", "/tmp/evil")
            .env("SHELL", "/usr/bin/zsh")
            .env("LANG", "C.UTF-8")
            .env("TZ", "Europe/Berlin")
            .env("TMPDIR", "/tmp"),
    );
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let env = environment(&scene, "environ");
    let allowed = ["PATH", "HOME", "USER", "SHELL", "LANG", "TZ", "TMPDIR", "GREETING", "DIR"];
    let own = [
        "RUNWARD_RUN_ID",
        "RUNWARD_RUNBOOK",
        "RUNWARD_STEP",
        "RUNWARD_ATTEMPT",
        "RUNWARD_FENCE",
        "RUNWARD_GENERATION",
        "RUNWARD_OUTPUT",
        "RUNWARD_WORKSPACE",
    ];
    for name in env.keys() {
        assert!(allowed.contains(&name.as_str()) || own.contains(&name.as_str()), "{name} reached the step: {env:#?}");
    }
    for name in ["PATH", "HOME", "SHELL", "LANG", "TZ", "TMPDIR", "GREETING", "DIR"].iter().chain(&own) {
        assert!(env.contains_key(*name), "{name} is missing: {env:#?}");
    }
    assert_eq!((env["RUNWARD_STEP"].as_str(), env["RUNWARD_ATTEMPT"].as_str()), ("looks", "1"));
    assert_eq!((env["RUNWARD_RUNBOOK"].as_str(), env["TZ"].as_str()), ("book", "Europe/Berlin"));
    assert_eq!(env["SHELL"], "/bin/sh", "the same by hand, from cron and on a worker");
}

#[test]
fn cron_starts_it_without_any_environment_and_steps_have_a_path_and_a_home() {
    let scene = scene("steps:\n  - {id: looks, cmd: [cp, /proc/self/environ, '${{ params.dir }}/environ']}\n");
    let mut command = scene.runward();
    command.env_clear().env("RUNWARD_STATE", scene.path("state")).args(book(&scene.dir()));
    let done = finish(&mut command);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let env = environment(&scene, "environ");
    assert!(env["PATH"].contains("/usr/bin") && env["HOME"].starts_with('/'), "{env:#?}");
}

#[test]
fn steps_of_a_run_share_a_workspace_and_runs_do_not() {
    let scene = scene(
        "steps:\n  \
         - run: 'test ! -e \"$RUNWARD_WORKSPACE/dump\"; echo data > \"$RUNWARD_WORKSPACE/dump\"'\n  \
         - run: 'cat \"$RUNWARD_WORKSPACE/dump\" >> \"$DIR/seen\"; echo \"$RUNWARD_WORKSPACE\" >> \"$DIR/places\"'\n",
    );
    let dir = scene.dir();
    scene.expect(0, &book(&dir));
    scene.expect(0, &book(&dir));
    assert_eq!(scene.read("seen"), "data\ndata\n");
    let places = scene.read("places");
    let places: Vec<&str> = places.lines().collect();
    assert_ne!(places[0], places[1]);
}

#[test]
fn steps_run_in_a_copy_of_the_files_that_are_named() {
    let scene = Scene::new();
    scene.file("ops/tool.sh", "#!/bin/sh\necho tool\n");
    scene.file("ops/lib/sql/one.sql", "select 1;\n");
    scene.file("ops/lib/two.sql", "select 2;\n");
    scene.file("ops/other.txt", "not named\n");
    fs::set_permissions(scene.path("ops/tool.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    scene.file(
        "ops/book.yaml",
        "files: ['*.sh', 'lib/**/*.sql']\n\
         steps:\n  \
         - run: './tool.sh; cat lib/sql/one.sql lib/two.sql; test ! -x lib/two.sql; test ! -e other.txt; test ! -e book.yaml; pwd'\n",
    );
    scene.expect(0, &["run", "ops/book.yaml"]);
    let printed = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    assert!(printed.starts_with("tool\nselect 1;\nselect 2;\n"), "{printed}");
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    assert!(printed.trim_end().ends_with(&format!("{id}/files")), "{printed}");
}

#[test]
fn files_that_match_nothing_are_refused_before_anything_runs() {
    let scene = Scene::new();
    scene.file("book.yaml", "files: ['lib/*.sql']\nsteps:\n  - run: 'true'\n");
    let done = scene.expect(2, &["run", "book.yaml"]);
    assert!(done.stderr.contains("lib/*.sql"), "{}", done.stderr);
    scene.file("book.yaml", "steps:\n  - script: gone.sh\n");
    let done = scene.expect(2, &["run", "book.yaml"]);
    assert!(done.stderr.contains("gone.sh does not exist"), "{}", done.stderr);
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn a_folder_that_vanished_is_said_and_the_step_never_starts() {
    let scene = scene(
        "steps:\n  \
         - run: 'rmdir \"$DIR/there\"'\n  \
         - {id: works, cwd: '${{ params.dir }}/there', run: 'touch \"$DIR/effect\"'}\n",
    );
    fs::create_dir(scene.path("there")).unwrap();
    let dir = scene.dir();
    scene.expect(1, &book(&dir));
    let step = step_of(&scene.last(), "works");
    let error = step["error"].as_str().unwrap();
    assert!(error.contains("there (`cwd`) does not exist"), "{error}");
    assert_eq!(scene.last()["attempts"][1]["started_at"], serde_json::Value::Null);
    assert!(!scene.path("effect").exists());
}

#[test]
fn a_folder_that_is_a_file_is_said() {
    let scene = scene("steps:\n  - {id: works, cwd: '${{ params.dir }}/book.yaml', run: 'true'}\n");
    let dir = scene.dir();
    scene.expect(1, &book(&dir));
    let error = step_of(&scene.last(), "works")["error"].clone();
    assert!(error.as_str().unwrap().contains("is not a folder"), "{error}");
}

#[test]
fn a_shell_or_program_that_is_missing_is_named_with_what_to_do() {
    let scene = scene(
        "steps:\n  \
         - {id: shell, shell: nosuchshell, run: 'true', allow-failure: true}\n  \
         - {id: program, cmd: [nosuchprogram, '--version']}\n",
    );
    let dir = scene.dir();
    let done = scene.expect(1, &book(&dir));
    let show = scene.last();
    for (unit, name) in [("shell", "nosuchshell"), ("program", "nosuchprogram")] {
        let error = step_of(&show, unit)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(name) && error.contains("PATH"), "{error}");
        assert!(done.stdout.contains(name), "{}", done.stdout);
    }
}

#[test]
fn a_step_has_an_empty_input_no_terminal_and_no_files_of_others() {
    let scene = scene(
        "steps:\n  - id: looks\n    run: |\n      \
         cat > \"$DIR/input\"\n      \
         if true < /dev/tty; then echo tty; else echo none; fi > \"$DIR/tty\" 2>&-\n  \
         - {id: lists, cmd: [python3, -c, 'import os,sys; open(sys.argv[1],\"w\").write(\" \".join(sorted(fd for fd in os.listdir(\"/proc/self/fd\") if os.path.exists(\"/proc/self/fd/\"+fd))))', '${{ params.dir }}/fds']}\n  \
         - {id: session, run: 'cut -d \" \" -f 7 /proc/self/stat > \"$DIR/tty_nr\"'}\n",
    );
    let dir = scene.dir();
    let done = scene.run(&book(&dir));
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(scene.read("input"), "");
    assert_eq!(scene.read("tty"), "none\n");
    assert_eq!(scene.read("tty_nr"), "0\n", "no controlling terminal");
    // 3 is the file that python itself has just opened.
    assert_eq!(scene.read("fds").replace(" 3", ""), "0 1 2");
}
