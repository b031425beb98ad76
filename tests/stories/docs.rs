//! What README and docs show is true.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Scene, repository};

/// README and every page below docs.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![repository().join("README.md")];
    for entry in fs::read_dir(repository().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        pages.extend(path.extension().is_some_and(|end| end == "md").then_some(path));
    }
    pages
}

/// The fenced blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn every_runbook_in_the_docs_is_valid() {
    let mut checked = 0;
    for page in pages() {
        for block in blocks(&fs::read_to_string(&page).unwrap(), "yaml") {
            if !block.starts_with("name:") {
                continue; // a piece of one
            }
            let scene = Scene::new();
            scene.file("x.yaml", &block);
            let done = scene.run(&["validate", "x.yaml"]);
            assert_eq!(done.code, 0, "{}:\n{block}\n{}", page.display(), done.stderr);
            checked += 1;
        }
    }
    assert!(checked >= 2, "{checked} runbooks found");
}

#[test]
fn every_subcommand_in_the_docs_exists() {
    let scene = Scene::new();
    let help = scene.expect(0, &["--help"]).stdout;
    let commands: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "sh") {
            for line in block.lines().filter_map(|line| line.trim().strip_prefix("runward ")) {
                let word = line.split(' ').next().unwrap_or("");
                assert!(commands.contains(&word) || word.starts_with('-'), "{}: runward {line}", page.display());
            }
        }
    }
}

#[test]
fn the_first_command_of_the_readme_ends_with_a_verified_archive() {
    let script = fs::read_to_string(repository().join("try.sh")).unwrap();
    assert!(script.contains("run runbooks/backup_files.yaml -p source=docs -p target=backups"));
    let scene = Scene::new();
    let target = format!("target={}", scene.path("backups").display());
    let mut command = scene.runward();
    command.current_dir(repository()).args(["run", "runbooks/backup_files.yaml", "-p", "source=docs", "-p", &target]);
    let done = crate::harness::finish(&mut command);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("the restored copy equals the source"), "{}", done.stdout);
    let archives = fs::read_dir(scene.path("backups")).unwrap();
    let names: Vec<String> = archives.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.ends_with(".tar.gz")), "{names:?}");
}

#[test]
fn every_runbook_that_comes_with_it_is_valid() {
    let scene = Scene::new();
    let mut command = scene.runward();
    let list = crate::harness::finish(command.current_dir(repository()).args(["list", "--format", "json"]));
    let rows: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert!(rows.as_array().is_some_and(|rows| rows.len() >= 2));
    assert!(rows.as_array().unwrap().iter().all(|row| row["valid"] == true), "{}", list.stdout);
}
