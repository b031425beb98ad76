//! What `runbooks/COVERAGE.md` says is true, as far as it can be known without running everything.

use std::collections::BTreeSet;
use std::fs;

use runward_library::covers::Covers;
use runward_library::{coverage, rows};

use crate::harness::{Scene, finish, repository};

/// The names of the runbooks.
fn runbooks() -> Vec<String> {
    let entries = fs::read_dir(repository().join("runbooks")).unwrap().flatten().map(|entry| entry.path());
    let runbooks = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    runbooks.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_page_says_only_what_can_be_true() {
    let page = fs::read_to_string(repository().join("runbooks/COVERAGE.md")).unwrap();
    let (rows, seen, tests) = (rows::all(), coverage::read(&page), coverage::tests());
    let mistakes = coverage::mistakes(&seen, &rows, &tests);
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(
        coverage::write(&rows, &seen, &tests) == page,
        "it is not as written: `cargo run -p runward-library -- coverage` writes the page"
    );
}

#[test]
fn steps_name_only_rows_that_exist() {
    let rows: BTreeSet<String> = rows::all().into_iter().map(|row| row.id).collect();
    for runbook in runbooks() {
        let covers = Covers::of(&runbook).unwrap();
        let unknown: Vec<&str> = covers.rows().filter(|row| !rows.contains(*row)).collect();
        assert!(unknown.is_empty(), "{runbook} covers {unknown:?}, which is no row");
    }
}

#[test]
fn what_stands_at_the_top_of_a_runbook_can_be_typed() {
    let scene = Scene::new();
    let mut tried = 0;
    for runbook in runbooks() {
        let text = fs::read_to_string(repository().join(format!("runbooks/{runbook}.yaml"))).unwrap();
        let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix('#')).collect();
        let head = head.join("\n").replace("\\\n", "");
        // The plan of it asks for the same parameters, and does nothing. `...` stands for what everybody has of their own.
        let typed = head.lines().filter_map(|line| line.find("runward run runbooks/").map(|at| &line[at..]));
        for line in typed.filter(|line| !line.contains("...")) {
            let plan = line.replace("runward run", "runward plan").replace("--stay ", "").replace("--check ", "");
            let runward = scene.runward();
            let mut command = std::process::Command::new("bash");
            command.args(["-c", &format!("runward() {{ \"$0\" \"$@\"; }}; {plan}")]).arg(runward.get_program());
            for (name, value) in runward.get_envs() {
                value.map(|value| command.env(name, value));
            }
            let done = finish(command.current_dir(repository()));
            assert_eq!(done.code, 0, "{runbook}: {line}\n{}{}", done.stdout, done.stderr);
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn no_address_of_a_database_brings_a_password_onto_the_record() {
    let scene = Scene::new();
    let mut refused = Vec::new();
    for runbook in runbooks() {
        let file = repository().join(format!("runbooks/{runbook}.yaml"));
        if !fs::read_to_string(&file).unwrap().contains("\n  database:") {
            continue;
        }
        for address in ["postgres://app:hunter2@db1/app", "host=db1 password=hunter2"] {
            let done = scene.run(&["plan", file.to_str().unwrap(), "-p", &format!("database={address}")]);
            assert_eq!(done.code, 2, "{runbook}: {}{}", done.stdout, done.stderr);
            assert!(done.stderr.contains("as a whole does not match"), "{runbook}: {}", done.stderr);
        }
        refused.push(runbook);
    }
    assert!(refused.len() > 15, "{refused:?}");
}
