//! `runward watch`, as a person sees it in a terminal of eighty columns and twenty-four lines.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Scene, is_alive, kill_9, wait};

/// A step that waits for the file `go`, with something to see before it.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "name: 数据库升级\nparams: {dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\n\
         steps:\n  - {id: backup, run: 'echo 备份完成'}\n  \
         - {id: waits, run: 'printf \"10%%\\r20%%\\nlast words\\n\"; until test -e \"$DIR/go\" || ! test -e \"$DIR\"; do sleep 0.05; done'}\n\
         finally:\n  - {id: tell, run: 'true'}\n",
    );
    scene
}

fn detach(scene: &Scene) -> String {
    let id = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--detach"]).stdout;
    id.trim().rsplit('-').next().unwrap().to_owned()
}

#[test]
fn a_run_in_the_background_is_watched_to_its_end() {
    let scene = scene();
    let short = detach(&scene);
    let terminal = scene.terminal(80, 24, &[]);
    terminal.types("runward watch");
    let list = terminal.shows("1/3");
    assert!(list.contains("▶ running    数据库升级") || list.contains(">▶ running"), "{list}");
    terminal.press(&["Enter"]);
    let run = terminal.shows("driven by process");
    assert!(run.contains(&format!("数据库升级  ▶ running  {short}  1/3 steps")), "{run}");
    assert!(run.contains("✓ backup") && run.contains(">── ▶ waits") && run.contains("· tell"), "{run}");
    let output = terminal.shows("last words");
    assert!(output.contains("20%") && !output.contains("10%"), "{output}");
    terminal.press(&["Up", "Enter"]);
    terminal.shows("备份完成");
    terminal.press(&["q"]);
    scene.file("go", "");
    let end = terminal.shows("succeeded, exit code 0");
    assert!(end.contains("3/3 steps") && end.contains("✓ tell"), "{end}");
    terminal.press(&["q"]);
    terminal.shows("exit 0");
    terminal.press(&["q"]);
    let after = terminal.shows("$ runward watch");
    assert!(!after.contains("数据库升级"), "the screen is as it was: {after}");
}

#[test]
fn leaving_does_not_touch_the_run_and_the_terminal_is_as_it_was() {
    let scene = scene();
    detach(&scene);
    let terminal = scene.terminal(80, 24, &[]);
    for leave in ["C-c", "TERM"] {
        terminal.types("runward watch last; echo left with $?; stty -a | grep -o '.icanon .*iexten'");
        terminal.shows("last words");
        if leave == "TERM" {
            let watcher = watcher(&scene);
            kill(Pid::from_raw(watcher as i32), Signal::SIGTERM).unwrap();
            terminal.shows("left with 143\n icanon iexten");
        } else {
            terminal.press(&[leave]);
            terminal.shows("left with 0\n icanon iexten");
        }
        terminal.types("clear");
        wait("a clear screen", || !terminal.screen().contains("left with"));
    }
    terminal.types("runward watch last");
    terminal.shows("last words");
    terminal.press(&["C-z"]);
    terminal.shows("Stopped");
    terminal.types("fg");
    terminal.shows("last words");
    terminal.press(&["q"]);
    scene.file("go", "");
    wait("the end of the run", || scene.last()["run"]["status"] == "succeeded");
}

/// The process that watches this scene.
fn watcher(scene: &Scene) -> u32 {
    let state = format!("RUNWARD_STATE={}", scene.path("state").display());
    let is_ours = |pid: &u32| {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (command, env) = (read("cmdline"), read("environ"));
        command.split(|byte| *byte == 0).nth(1) == Some(b"watch")
            && env.split(|byte| *byte == 0).any(|line| line == state.as_bytes())
    };
    crate::harness::processes().into_iter().find(is_ours).expect("somebody watches")
}

#[test]
fn a_run_whose_driver_was_killed_says_that_nobody_drives_it() {
    let scene = scene();
    let mut driver = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "last words");
    let terminal = scene.terminal(80, 24, &[]);
    terminal.types("runward watch last");
    terminal.shows(&format!("driven by process {}", driver.id()));
    kill_9(&mut driver);
    terminal.shows("nobody drives this run, its step goes on: runward resume");
    scene.file("go", "");
    let screen = terminal.shows("nobody drives this run: runward resume");
    assert!(screen.contains("▶ waits"), "its end is not known to the ledger yet: {screen}");
    terminal.press(&["c", "y"]);
    let end = terminal.shows("exit code");
    assert!(end.contains("✓ tell") || end.contains("✓ waits"), "a driver was started for the cancel: {end}");
}

#[test]
fn a_cancel_asks_first_and_then_ends_the_run() {
    let scene = scene();
    detach(&scene);
    let terminal = scene.terminal(80, 24, &[]);
    terminal.types("runward watch last");
    terminal.shows("last words");
    terminal.press(&["c"]);
    terminal.shows("cancel 数据库升级? its steps are ended, `finally` runs  y/n");
    terminal.press(&["n"]);
    terminal.shows("nothing was cancelled");
    terminal.press(&["c"]);
    terminal.shows("y/n");
    terminal.press(&["y"]);
    let end = terminal.shows("cancelled, exit code 4; try again: runward resume");
    assert!(end.contains("− waits") && end.contains("✓ tell"), "{end}");
}

#[test]
fn the_picture_fits_whatever_the_size_of_the_terminal_becomes() {
    let scene = scene();
    detach(&scene);
    let terminal = scene.terminal(80, 24, &[]);
    terminal.types("runward watch last");
    terminal.shows("last words");
    terminal.resize(20, 5);
    wait("the small picture", || !terminal.screen().contains("last words"));
    let small = terminal.shows("waits");
    assert!(small.lines().count() <= 5 && small.starts_with("数据库升"), "{small}");
    terminal.resize(120, 40);
    let large = terminal.shows("last words");
    assert!(large.contains("driven by process") && large.contains("leaving never touches the run"), "{large}");
}

#[test]
fn without_utf8_or_colour_it_can_be_read_and_without_a_screen_it_says_what_to_use() {
    let scene = scene();
    detach(&scene);
    let terminal = scene.terminal(80, 24, &[("LC_ALL", "C"), ("NO_COLOR", "1")]);
    terminal.types("runward watch last");
    let screen = terminal.shows("last words");
    assert!(screen.is_ascii() && screen.contains("> waits") && screen.contains("+ backup"), "{screen}");
    terminal.press(&["q"]);
    // Before that, what is typed is for the watcher.
    terminal.shows("$ runward watch last");
    terminal.types("clear; TERM=dumb runward watch");
    terminal.shows("has no full screen");
    let piped = scene.expect(2, &["watch"]);
    assert!(
        piped.stderr.contains("needs a terminal") && piped.stderr.contains("runward watch RUN --format text"),
        "{}",
        piped.stderr
    );
    scene.file("go", "");
    wait("the end of the run", || scene.last()["run"]["status"] == "succeeded");
}

#[test]
fn a_watcher_ends_when_its_terminal_is_closed() {
    let scene = scene();
    detach(&scene);
    let terminal = scene.terminal(80, 24, &[]);
    terminal.types("runward watch");
    terminal.shows("1/3");
    let watcher = watcher(&scene);
    drop(terminal);
    wait("the watcher to end", || !is_alive(watcher));
    scene.file("go", "");
    wait("the end of the run", || scene.last()["run"]["status"] == "succeeded");
}

#[test]
fn one_run_whose_record_was_changed_leaves_the_others_in_sight() {
    let scene = Scene::new();
    scene.file("good.yaml", "steps:\n  - run: 'true'\n");
    scene.file("bad.yaml", "steps:\n  - run: 'exit 1'\n");
    scene.expect(1, &["run", "bad.yaml"]);
    scene.expect(0, &["run", "good.yaml"]);
    let code = "import sqlite3\ndb = sqlite3.connect('state/ledger.db')\n\
                for (name,) in db.execute(\"select name from sqlite_master where type = 'trigger'\").fetchall():\n    \
                db.execute(f'drop trigger {name}')\n\
                db.execute(\"update events set body = replace(body, '\\\"code\\\":1', '\\\"code\\\":2')\"); db.commit()";
    let done = std::process::Command::new("python3").args(["-c", code]).current_dir(scene.path(".")).status().unwrap();
    assert!(done.success());
    let terminal = scene.terminal(80, 24, &[]);
    terminal.types("runward watch");
    let list = terminal.shows("unreadable");
    assert!(list.contains("✓ succeeded  good") && list.contains("exit 0"), "{list}");
    terminal.press(&["Down", "Enter"]);
    terminal.shows(": it, or an event before it");
    terminal.press(&["Up", "Enter"]);
    terminal.shows("succeeded, exit code 0");
}
