//! The live picture of `runward run`, as a person sees it in a terminal of eighty columns and twenty-four lines.

use crate::harness::{Scene, wait};
use crate::screen::Terminal;

/// Sixty steps, three at a time; the twenty-first fails, and may. After the thirtieth they wait for a file `go`.
fn sixty() -> Scene {
    let step = |n: usize| match n {
        20 => "  - {id: s20, needs: [s17], run: 'echo boom; exit 3', allow-failure: true}\n".to_owned(),
        n if n < 3 => format!("  - {{id: s{n}, needs: [], run: 'sleep 0.05'}}\n"),
        30..33 => {
            format!("  - {{id: s{n}, needs: [s{}], run: 'until test -e \"$DIR/go\"; do sleep 0.05; done'}}\n", n - 3)
        }
        n => format!("  - {{id: s{n}, needs: [s{}], run: 'sleep 0.05'}}\n", n - 3),
    };
    let scene = Scene::new();
    let steps: String = (0..60).map(step).collect();
    let top = "name: 六十步\nparams: {dir: {required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\n";
    scene.file("book.yaml", format!("{top}steps:\n{steps}"));
    scene
}

#[test]
fn a_picture_taller_than_the_screen_leaves_no_copy_of_itself_and_eats_nothing() {
    let scene = sixty();
    let terminal = scene.terminal(80, 24, &[("NO_COLOR", "1")]);
    terminal.types(&format!("seq 1 40; runward run book.yaml -p {}", scene.dir()));
    let during = terminal.shows("30/60 running");
    assert!(
        during.contains("六十步  ") && during.contains("more to come") && during.contains("Ctrl-C cancels"),
        "{during}"
    );
    scene.file("go", "");
    terminal.shows("六十步 succeeded");
    let all = terminal.scrollback();
    let lines: Vec<&str> = all.lines().map(str::trim_end).collect();
    for n in 1..=40 {
        assert!(lines.contains(&n.to_string().as_str()), "the line {n} from before is still there: {all}");
    }
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("/60 running"), count("Ctrl-C cancels"), count("more to come")), (0, 0, 0), "{all}");
    assert_eq!((count("s20 │ boom"), count("✗ s20 failed")), (1, 1), "{all}");
    for n in (0..60).filter(|n| *n != 20) {
        assert_eq!(count(&format!("✓ s{n} ")), 1, "s{n}: {all}");
    }
}

/// A picture of three lines, the middle one long, below the numbers from 1 to 30. It ends when there is a file `go`.
fn three_lines() -> (Scene, Terminal) {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "name: resized\nparams: {dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\nsteps:\n  \
         - id: talks\n    run: 'echo a line that is a good deal longer than forty columns; until test -e \"$DIR/go\"; do sleep 0.05; done'\n",
    );
    // Not at the top of the screen: there tmux keeps what it breaks into rows, whoever wrote it.
    let terminal = scene.terminal(80, 24, &[("NO_COLOR", "1")]);
    terminal.types(&format!("seq 1 30; runward run book.yaml -p {}", scene.dir()));
    terminal.shows("longer than forty");
    (scene, terminal)
}

/// Waits until there is one picture, and it does or does not show this.
fn one_picture(terminal: &Terminal, shows: bool, text: &str) {
    wait(&format!("one picture, {text:?} shown: {shows}"), || {
        let screen = terminal.screen();
        screen.contains(text) == shows && screen.matches("0/1 running").count() == 1
    });
}

fn ends_in_its_place(scene: &Scene, terminal: &Terminal) {
    scene.file("go", "");
    terminal.shows("resized succeeded");
    let all = terminal.scrollback();
    assert_eq!(all.matches("talks").count(), 1, "{all}");
    assert!(!all.contains("running"), "{all}");
    for n in 1..=30 {
        assert!(all.lines().any(|line| line.trim_end() == n.to_string()), "the line {n} from before: {all}");
    }
}

#[test]
fn a_terminal_that_is_resized_meanwhile_keeps_one_picture() {
    let (scene, terminal) = three_lines();
    terminal.resize(40, 24);
    one_picture(&terminal, false, "longer than forty");
    terminal.resize(100, 30);
    one_picture(&terminal, true, "longer than forty");
    terminal.resize(60, 30);
    one_picture(&terminal, false, "forty columns");
    ends_in_its_place(&scene, &terminal);
}

#[test]
fn a_hundred_items_are_one_line_and_the_lines_do_not_come_and_go() {
    let items: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        format!(
            "params: {{dir: {{type: path, required: true}}}}\ndefaults: {{env: {{DIR: '${{{{ params.dir }}}}'}}}}\nsteps:\n  \
             - {{id: each, for-each: [{}], stop-after-failures: 9, allow-failure: true,\n     \
             run: 'test ${{{{ index }}}} != 7; test ${{{{ index }}}} -lt 90 || until test -e \"$DIR/go\"; do sleep 0.05; done'}}\n  \
             - {{id: after, run: 'true'}}\n",
            items.join(", ")
        ),
    );
    let terminal = scene.terminal(80, 24, &[("NO_COLOR", "1")]);
    terminal.types(&format!("clear; runward run book.yaml -p {}", scene.dir()));
    let during = terminal.shows("90/100 items, 1 failed");
    let picture: Vec<&str> = during.lines().skip_while(|line| !line.contains("0/2 running")).collect();
    assert!(
        picture[1].contains("each ") && picture[2].contains("✗ each[7]") && picture[3].contains("· after"),
        "{during}"
    );
    assert_eq!(during.matches("each[").count(), 2, "the failed one, what it was, and nothing that runs: {during}");
    scene.file("go", "");
    terminal.shows("book succeeded");
}

#[test]
fn progress_bars_and_colours_of_a_step_are_one_line_that_stands_still() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\nsteps:\n  - id: loads\n    run: |\n      \
         printf '\\033[2J\\033[31m10%%\\r20%%\\r\\033[32m30%%\\033[0m of it all'\n      \
         until test -e \"$DIR/go\"; do sleep 0.05; done\n",
    );
    let terminal = scene.terminal(80, 24, &[("NO_COLOR", "1")]);
    terminal.types(&format!("clear; runward run book.yaml -p {}", scene.dir()));
    let during = terminal.shows("30% of it all");
    assert!(!during.contains("10%") && !during.contains("20%"), "{during}");
    scene.file("go", "");
    terminal.shows("book succeeded");
}

#[test]
fn without_utf8_the_picture_is_ascii() {
    let scene = Scene::new();
    scene.file("book.yaml", "name: 备份\nsteps:\n  - {id: one, run: 'echo 完成; exit 1'}\n");
    let terminal = scene.terminal(80, 24, &[("LC_ALL", "C")]);
    terminal.types("runward run book.yaml");
    let end = terminal.shows("?? failed");
    assert!(end.is_ascii() && end.contains("one | ??") && end.contains("x one failed"), "{end}");
}
