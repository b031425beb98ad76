//! How long it still takes, where somebody watches.

use crate::harness::Scene;

/// A step that waits for the file `go`, and one after it.
fn usual() -> Scene {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\nsteps:\n  \
         - {id: waits, run: 'until test -e \"$DIR/go\"; do sleep 0.05; done'}\n  - {id: after, run: 'sleep 2'}\n",
    );
    scene.file("go", "");
    for _ in 0..2 {
        scene.expect(0, &["run", "book.yaml", "-q", "-p", &scene.dir()]);
    }
    std::fs::remove_file(scene.path("go")).unwrap();
    scene
}

#[test]
fn the_picture_says_how_much_is_left_and_which_step_is_late() {
    let scene = usual();
    let terminal = scene.terminal(100, 24, &[("NO_COLOR", "1")]);
    terminal.types(&format!("clear; runward run book.yaml -p {}", scene.dir()));
    let during = terminal.shows("longer than usual (p90");
    assert!(during.contains("left (from 2 runs)"), "{during}");
    terminal.press(&["d"]);
    terminal.shows("running in the background");
    terminal.types("clear; runward watch last");
    let during = terminal.shows("longer than usual (p90");
    assert!(during.contains("left (from 2 runs)"), "{during}");
    let show = scene.expect(0, &["show", "last"]).stdout;
    assert!(show.contains("to come     about 2s left (from 2 runs)"), "{show}");
    scene.file("go", "");
    let end = terminal.shows("succeeded, exit code 0");
    assert!(!end.contains("usual") && !end.contains("left"), "{end}");
}

#[test]
fn without_history_nothing_is_said() {
    let scene = Scene::new();
    scene.file("book.yaml", "params: {dir: {type: path, required: true}}\nsteps:\n  - {id: waits, env: {DIR: '${{ params.dir }}'}, run: 'echo here; until test -e \"$DIR/go\"; do sleep 0.05; done'}\n");
    let terminal = scene.terminal(80, 24, &[("NO_COLOR", "1")]);
    terminal.types(&format!("clear; runward run book.yaml -p {}", scene.dir()));
    let during = terminal.shows("here");
    assert!(!during.contains("left") && !during.contains("usual"), "{during}");
    scene.file("go", "");
    terminal.shows("book succeeded");
}
