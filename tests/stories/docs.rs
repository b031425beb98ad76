//! What README and docs show is true.

use std::fs;
use std::path::{Path, PathBuf};

use runward_library::Stack;
use runward_services::{Postgres, Redis};

use crate::book::{self, What};
use crate::harness::{Scene, repository};
use crate::ssh_hosts::Hosts;

/// README and every page below docs.
fn pages() -> Vec<PathBuf> {
    fn below(folder: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => below(&path, pages),
                false => pages.extend(path.extension().is_some_and(|end| end == "md").then_some(path)),
            }
        }
    }
    let mut pages = vec![repository().join("README.md")];
    below(&repository().join("docs"), &mut pages);
    pages.sort();
    pages
}

/// `docs/tutorial.md`
fn name(page: &Path) -> String {
    page.strip_prefix(repository()).unwrap().display().to_string()
}

/// One test a page, so that they run side by side.
macro_rules! pages_that_are_executed {
    ($($test:ident: $page:literal,)+) => {
        const EXECUTED: &[&str] = &[$($page),+];
        $(
            #[test]
            fn $test() {
                book::execute($page);
            }
        )+
    };
}

pages_that_are_executed! {
    the_readme_does_what_it_says: "README.md",
    the_tutorial_ends_where_it_says: "docs/tutorial.md",
    how_to_install: "docs/how-to/install.md",
    how_to_back_up: "docs/how-to/backup.md",
    how_to_deploy: "docs/how-to/deploy.md",
    how_to_resume: "docs/how-to/resume.md",
    how_to_get_unstuck: "docs/how-to/stuck.md",
    how_to_audit: "docs/how-to/audit.md",
    how_to_prune_and_check: "docs/how-to/care.md",
    how_to_replace_a_file: "docs/how-to/files.md",
    how_to_pass_values: "docs/how-to/values.md",
    how_to_print_a_lot: "docs/how-to/large-output.md",
    how_to_keep_secrets: "docs/how-to/secrets.md",
    how_to_ask_a_database: "docs/how-to/sql.md",
    how_to_be_told: "docs/how-to/notifications.md",
    how_to_drill: "docs/how-to/drills.md",
    how_to_plan_agree_and_run: "docs/how-to/plan.md",
    how_to_call_a_runbook: "docs/how-to/call.md",
    how_to_run_in_ci: "docs/ci.md",
    how_schedules_work: "docs/schedules.md",
    running_does_what_it_says: "docs/running.md",
    watching_does_what_it_says: "docs/watching.md",
    the_format_does_what_it_says: "docs/runbook-format.md",
}

const HOSTS: &str = "docs/how-to/ssh.md";

#[test]
fn how_to_run_steps_on_other_machines() {
    let scene = Scene::new();
    let _hosts = Hosts::new(&scene, &["db1", "db2", "db3"]);
    book::execute_with(HOSTS, &[("TEST_SSH", &scene.path("bin").display().to_string())]);
}

const LIBRARY: &str = "docs/how-to/library.md";

#[test]
fn how_to_use_the_runbooks_that_come_with_it() {
    let stack = Stack::start();
    stack.first_release();
    let variables = stack.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    book::execute_with(LIBRARY, &variables);
}

const CLUSTER: &str = "docs/how-to/cluster.md";

#[test]
fn how_to_get_to_a_cluster() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (database, hints) = (postgres.database("runward"), redis.url());
    book::execute_with(CLUSTER, &[("RUNWARD_DATABASE_URL", &database), ("RUNWARD_REDIS_URL", &hints)]);
}

/// Blocks that no test executes. Each has its reason on the page; a new one needs a very good one.
const NOT_EXECUTED_MAX: usize = 5;

#[test]
fn every_page_with_commands_is_executed() {
    let mut passed_over = 0;
    for page in pages() {
        let pieces = book::read(&fs::read_to_string(&page).unwrap());
        let commands = pieces.iter().any(|piece| matches!(piece.what, What::Script { .. } | What::Command { .. }));
        assert!(
            !commands
                || [CLUSTER, HOSTS, LIBRARY].contains(&name(&page).as_str())
                || EXECUTED.contains(&name(&page).as_str()),
            "nobody executes {}",
            name(&page)
        );
        for piece in pieces {
            if let What::NotExecuted { reason } = piece.what {
                assert!(reason.len() > 20, "{}:{}: a reason, please", name(&page), piece.line);
                passed_over += 1;
            }
        }
    }
    assert!(passed_over <= NOT_EXECUTED_MAX, "{passed_over} blocks are not executed");
}

/// The targets of the links of a page.
fn links(text: &str) -> Vec<String> {
    let outside_of_code: String = text.split("```").step_by(2).collect();
    let targets = outside_of_code.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// `5-every-night` of `## 5. Every night`, as mdBook and GitHub name it.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: char| (c.is_alphanumeric() || "-_ ".contains(c)).then_some(if c == ' ' { '-' } else { c });
    headings.map(|line| line.trim_start_matches('#').trim().to_lowercase().chars().filter_map(kept).collect()).collect()
}

#[test]
fn every_link_leads_somewhere_and_the_book_needs_nothing_outside() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let at = format!("{}: {link}", name(&page));
            let found = target.canonicalize().unwrap_or_else(|error| panic!("{at}: {error}"));
            let docs = repository().canonicalize().unwrap().join("docs");
            assert!(found.starts_with(&docs) || name(&page) == "README.md", "{at}: the book ends there");
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&found).unwrap());
                assert!(anchors.iter().any(|known| known == anchor), "{at}: {anchors:?}");
            }
        }
    }
}

#[test]
fn every_page_is_in_the_book() {
    let summary = fs::read_to_string(repository().join("docs/SUMMARY.md")).unwrap();
    let listed = links(&summary);
    for page in pages() {
        let name = name(&page);
        let Some(name) = name.strip_prefix("docs/").filter(|name| *name != "SUMMARY.md") else { continue };
        assert_eq!(listed.iter().filter(|link| *link == name).count(), 1, "{name} in docs/SUMMARY.md");
    }
    // What mdBook would refuse: a line of the list that is no link.
    for line in summary.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(line.trim_start_matches([' ', '-']).starts_with('['), "{line}");
    }
}

/// `| limit | value | meaning |` for every constant of the engine.
fn limits() -> String {
    let source = fs::read_to_string(repository().join("engine/src/limits.rs")).unwrap();
    let (mut rows, mut about) = (String::new(), Vec::new());
    for line in source.lines() {
        if let Some(words) = line.strip_prefix("/// ") {
            about.push(words);
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let (name, rest) = rest.split_once(": ").unwrap();
            let value = rest.split_once(" = ").unwrap().1.trim_end_matches(';').replace('_', "");
            let number = value.split(" * ").map(|factor| factor.parse::<u64>().unwrap()).product::<u64>();
            rows += &format!("| `{name}` | {} | {} |\n", shown(name, number), about.join(" ").trim_end_matches('.'));
            about.clear();
        }
    }
    rows
}

fn shown(name: &str, number: u64) -> String {
    match number {
        n if name.contains("_BYTES") => runward_engine::units::format_size(n),
        n if name.contains("_MS") => runward_engine::units::format_duration(std::time::Duration::from_millis(n)),
        n => n.to_string(),
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let page = fs::read_to_string(repository().join("docs/reference/limits.md")).unwrap();
    let rows: String = page.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
    let limits = limits();
    assert!(rows == limits, "docs/reference/limits.md has to have these rows:\n{limits}");
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
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "yaml") {
            let first = block.lines().find(|line| !line.starts_with('#')).unwrap_or("");
            // A piece of one, or one that shows what is refused.
            if !first.starts_with("name:") || first == "name: unsafe" {
                continue;
            }
            let scene = Scene::new();
            scene.file("x.yaml", &block);
            for file in blocks(&text, "text") {
                // What lies beside the runbook: its templates.
                if let Some(name) = file.lines().next().and_then(|line| line.strip_prefix("# file: runbooks/")) {
                    scene.file(name, &file);
                }
            }
            for file in blocks(&text, "yaml") {
                // And the runbooks that it calls by their names.
                if let Some(path) = file.lines().next().and_then(|line| line.strip_prefix("# file: ")) {
                    scene.file(path, &file);
                }
            }
            let done = scene.run(&["validate", "x.yaml"]);
            assert_eq!(done.code, 0, "{}:\n{block}\n{}", page.display(), done.stderr);
            checked += 1;
        }
    }
    assert!(checked >= 2, "{checked} runbooks found");
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

/// The page of threats names a test as `file::name`: it is there.
#[test]
fn every_test_that_the_security_page_names_exists() {
    let page = fs::read_to_string(repository().join("docs/security.md")).unwrap();
    let named: Vec<(&str, &str)> = page
        .split('`')
        .filter(|word| !word.contains(char::is_whitespace))
        .filter_map(|word| word.split_once("::"))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for (file, test) in named {
        let source = fs::read_to_string(repository().join(format!("tests/stories/{file}.rs"))).unwrap_or_default();
        assert!(source.contains(&format!("#[test]\nfn {test}() {{")), "{file}::{test} is no test");
    }
}
