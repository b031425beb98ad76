//! The first hour: what people type who are new here, and what they are told.

use crate::harness::Scene;

const DEPLOY: &str =
    "params: {version: {type: string, required: true}}\nsteps: [{id: ship, run: 'echo ${{ params.version }}'}]\n";

#[test]
fn a_parameter_given_like_an_argument_or_an_option_is_shown_as_it_is_written() {
    let scene = Scene::new();
    scene.file("runbooks/deploy.yaml", DEPLOY);
    for (typed, tip) in [
        (&["version=1.0.0"] as &[&str], "`-p version=1.0.0`"),
        (&["-p", "version", "1.0.0"], "NAME=VALUE"),
        (&["1.0.0"], "`-p NAME=VALUE`"),
        (&["--version=1.0.0"], "`-p version=VALUE`"),
    ] {
        for command in ["run", "plan"] {
            let done = scene.expect(2, &[&[command, "deploy"], typed].concat());
            assert!(done.stderr.contains(tip), "{typed:?}: {}", done.stderr);
        }
    }
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn words_of_other_tools_lead_to_the_command_that_does_it_here() {
    let scene = Scene::new();
    for (typed, tip) in [
        ("stop", "`runward cancel RUN`"),
        ("status", "`runward runs`"),
        ("log", "`runward logs RUN`"),
        ("history", "`runward runs`"),
        ("start", "`runward run RUNBOOK`"),
    ] {
        let done = scene.expect(2, &[typed, "last"]);
        assert!(done.stderr.contains(tip) && done.stderr.matches("tip").count() == 1, "{}", done.stderr);
    }
}

#[test]
fn a_name_with_a_slip_and_the_wrong_folder_are_told_apart() {
    let scene = Scene::new();
    let nowhere = scene.expect(2, &["run", "deploy"]);
    assert!(nowhere.stderr.contains("there is no folder of runbooks in"), "{}", nowhere.stderr);
    scene.file("runbooks/deploy.yaml", DEPLOY);
    for typed in ["depoly", "deploy.yaml", "deploy.yml"] {
        let done = scene.expect(2, &["run", typed]);
        assert!(done.stderr.contains("did you mean `deploy`?"), "{typed}: {}", done.stderr);
    }
    std::fs::remove_file(scene.path("runbooks/deploy.yaml")).unwrap();
    let none = scene.expect(0, &["list"]);
    assert!(none.stdout.contains("no runbooks in runbooks") && none.stdout.contains("runward new"), "{}", none.stdout);
}

#[test]
fn quiet_says_nothing_about_what_goes_well() {
    let scene = Scene::new();
    let book = "steps: [{id: one, run: echo}, {id: each, for-each: [1, 2], run: echo}]\nfinally: [{id: back, if: failure(), run: echo}]\n";
    scene.file("runbooks/book.yaml", book);
    let done = scene.expect(0, &["run", "--quiet", "book"]);
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(said.lines().count(), 2, "which run it is, and how it ended: {said}");
}

#[test]
fn the_list_of_runs_fits_the_terminal_and_names_what_every_command_takes() {
    let scene = Scene::new();
    scene.file("runbooks/数据库_backup.yaml", "steps: [{run: echo}]\n");
    scene.expect(0, &["run", "数据库_backup"]);
    let id = scene.last()["id"].as_str().unwrap_or_default().to_owned();
    let short = id.rsplit('-').next().unwrap();
    let terminal = scene.terminal(80, 24, &[]);
    terminal.types("runward runs; echo over");
    let screen = terminal.shows("\nover");
    let line = screen.lines().find(|line| line.contains("backup")).unwrap();
    assert!(line.starts_with(short) && line.contains("succeeded"), "{screen}");
    assert_eq!(screen.lines().filter(|line| !line.trim().is_empty()).count(), 5, "no line wraps: {screen}");
    assert!(scene.expect(0, &["runs"]).stdout.contains(&id), "in a pipe it is whole");
}
