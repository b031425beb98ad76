//! `runbooks/COVERAGE.md`: every row, and what executes it or why nothing does. It is written from evidence and can be read back,
//! so that a test can hold every word of it against the runbooks, the rows and the tests that exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::covers::Covers;
use crate::evidence::Sighting;
use crate::repository;
use crate::rows::Row;

const HEAD: &str = "\
# What is executed

Each row is one procedure of the five guides this project comes from. A row is *executed* when a test ran the step on real
servers, the ledger shows that the step came to what stands here, and the test saw its effect from outside runward. A plan or
a validation never counts. `./test.sh` runs what is short, `./test.sh long` the rest. Written by
`cargo run -p runward-library -- coverage` after the tests of `tests/library`; edit `rows.txt` and the tests instead.
";
/// Rows that nothing executes yet and that nothing stands in the way of.
const OPEN: &str = "open: no runbook executes it yet";

/// The page.
pub fn write(rows: &[Row], seen: &[Sighting], tests: &[Test]) -> String {
    let mut of: BTreeMap<&str, Vec<&Sighting>> = BTreeMap::new();
    seen.iter().for_each(|sighting| of.entry(&sighting.row).or_default().push(sighting));
    let count = |begins: &str| {
        let unseen = rows.iter().filter(|row| !of.contains_key(row.id.as_str()));
        unseen.filter(|row| row.label.as_deref().unwrap_or(OPEN).starts_with(begins)).count()
    };
    let mut page = format!("{HEAD}\n| of {} rows | |\n|---|---|\n", rows.len());
    let long = |it: &&Sighting| tests.iter().any(|test| test.long && test.name == it.test);
    let only_long = of.values().filter(|seen| seen.iter().all(long)).count();
    let _ = writeln!(page, "| executed | {} |", of.len());
    let _ = writeln!(page, "| of them by `./test.sh long` only | {only_long} |");
    for label in ["program", "advice only", "not executed here", "open"] {
        let _ = writeln!(page, "| {label} | {} |", count(label));
    }
    page.push_str("\n| row | procedure | how |\n|---|---|---|\n");
    for row in rows {
        let how = match of.get(row.id.as_str()) {
            Some(seen) => seen.iter().map(|it| one(it)).collect::<Vec<_>>().join("; "),
            None => row.label.clone().unwrap_or_else(|| OPEN.to_owned()),
        };
        let _ = writeln!(page, "| {} | {} | {how} |", row.id, cell(&row.title));
    }
    page
}

/// `upgrade_bluegreen` switch succeeded (bluegreen::a_full_cycle)
fn one(seen: &Sighting) -> String {
    format!("`{}` {} {} ({})", seen.runbook, seen.step, seen.status, seen.test)
}

/// What stands in a cell of a table as it is.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// The sightings a page names.
pub fn read(page: &str) -> Vec<Sighting> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.filter_map(|line| Some((line.split_once(" | ")?.0, line.rsplit_once(" | ")?.1)));
    let mut seen: Vec<Sighting> =
        cells.flat_map(|(row, how)| how.split("; ").filter_map(move |one| sighting(row, one))).collect();
    seen.sort();
    seen
}

fn sighting(row: &str, text: &str) -> Option<Sighting> {
    let (runbook, rest) = text.strip_prefix('`')?.split_once("` ")?;
    let (step, rest) = rest.split_once(' ')?;
    let (status, test) = rest.strip_suffix(')')?.split_once(" (")?;
    let own = str::to_owned;
    Some(Sighting { row: own(row), runbook: own(runbook), step: own(step), status: own(status), test: own(test) })
}

/// A test of the library.
pub struct Test {
    /// `migrate::up_and_down`
    pub name: String,
    /// It takes minutes, and only `./test.sh long` runs it.
    pub long: bool,
}

/// All of them, as their files say.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for entry in fs::read_dir(repository().join("tests/library")).expect("tests/library") {
        let path = entry.expect("tests/library can be read").path();
        let module = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let functions = text.split("#[test]").skip(1).filter_map(|rest| rest.split_once("fn "));
        tests.extend(functions.filter_map(|(attributes, rest)| {
            let name = format!("{module}::{}", rest.split_once('(')?.0);
            Some(Test { name, long: attributes.contains("#[ignore") })
        }));
    }
    tests
}

/// What is wrong with what a page claims, given the names of the tests there are.
pub fn mistakes(seen: &[Sighting], rows: &[Row], tests: &[Test]) -> Vec<String> {
    let mut runbooks: BTreeMap<&str, Result<Covers, String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for it in seen {
        let covers = runbooks.entry(&it.runbook).or_insert_with(|| Covers::of(&it.runbook));
        let covered =
            covers.as_ref().map_err(Clone::clone).and_then(|covers| covers.check(&it.row, &it.step, &it.status));
        wrong.extend(covered.err().map(|why| format!("{}: {}: {why}", it.row, it.runbook)));
        if !rows.iter().any(|row| row.id == it.row) {
            wrong.push(format!("{}: there is no such row", it.row));
        }
        if !tests.iter().any(|test| test.name == it.test) {
            wrong.push(format!("{}: there is no test {}", it.row, it.test));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, title: &str, label: Option<&str>) -> Row {
        Row { id: id.to_owned(), title: title.to_owned(), label: label.map(str::to_owned) }
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let [runbook, step, status] = ["migrate", "apply", "succeeded"].map(str::to_owned);
        let test = "migrate::up_and_down".to_owned();
        let seen = [Sighting { row: "A-1".to_owned(), runbook, step, status, test }];
        let rows = [row("A-1", "dump | gzip", None), row("A-2", "think", Some("advice only")), row("A-3", "run", None)];
        let tests = [Test { name: "migrate::up_and_down".to_owned(), long: true }];
        let page = write(&rows, &seen, &tests);
        assert_eq!(read(&page), seen);
        assert!(page.contains("| A-1 | dump \\| gzip | `migrate` apply succeeded (migrate::up_and_down) |"), "{page}");
        assert!(page.contains("| A-2 | think | advice only |") && page.contains("| A-3 | run | open"), "{page}");
        assert!(
            page.contains("| executed | 1 |\n| of them by `./test.sh long` only | 1 |")
                && page.contains("| open | 1 |"),
            "{page}"
        );
    }
}
