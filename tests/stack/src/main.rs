//! `cargo run -p runward-library -- up`: the demo service, until the end of the input or ctrl-C, with a first release in service.
//! `... -- coverage`: writes runbooks/COVERAGE.md from what the tests saw; `coverage --check` says whether the tests of CI saw all
//! that the page says of them, `coverage --check-long` whether the others did.

use std::fs;
use std::io::{Read, Write};
use std::process::ExitCode;

use runward_library::evidence::{self, Sighting};
use runward_library::{Stack, coverage, repository, rows};

fn main() -> std::io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["up"] => up(),
        ["coverage"] => write(),
        ["coverage", "--check"] => check(false),
        ["coverage", "--check-long"] => check(true),
        _ => {
            eprintln!("usage: runward-library up | coverage [--check | --check-long]");
            Ok(ExitCode::from(2))
        }
    }
}

fn up() -> std::io::Result<ExitCode> {
    let stack = Stack::start();
    stack.first_release();
    for (name, value) in stack.variables() {
        println!("export {name}='{value}'");
    }
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(ExitCode::SUCCESS)
}

/// What the tests saw that have run here; of the others, what the page says already and is still true.
fn write() -> std::io::Result<ExitCode> {
    let page = repository().join("runbooks/COVERAGE.md");
    let rows = rows::all();
    let mut seen = evidence::all(&evidence::folder())?;
    let ran: Vec<String> = seen.iter().map(|it| it.test.clone()).collect();
    let before = coverage::read(&fs::read_to_string(&page).unwrap_or_default());
    seen.extend(before.into_iter().filter(|it| !ran.contains(&it.test)));
    let tests = coverage::tests();
    seen.retain(|it| coverage::mistakes(std::slice::from_ref(it), &rows, &tests).is_empty());
    seen.sort();
    fs::write(&page, coverage::write(&rows, &seen, &tests))?;
    println!("{}: {} rows are executed", page.display(), executed(&seen));
    Ok(ExitCode::SUCCESS)
}

/// After a run of all tests of a tier: the page says nothing of them that they did not see.
fn check(long: bool) -> std::io::Result<ExitCode> {
    let said = coverage::read(&fs::read_to_string(repository().join("runbooks/COVERAGE.md"))?);
    let seen = evidence::all(&evidence::folder())?;
    let others: Vec<String> =
        coverage::tests().into_iter().filter(|test| test.long != long).map(|test| test.name).collect();
    let unseen: Vec<&Sighting> = said.iter().filter(|it| !others.contains(&it.test) && !seen.contains(it)).collect();
    for it in &unseen {
        eprintln!(
            "error: COVERAGE.md: {}: no test saw `{}` {} {} in {}",
            it.row, it.runbook, it.step, it.status, it.test
        );
    }
    // Nothing is printed where all is well: what CI prints last is the summary of the tests.
    Ok(if unseen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn executed(seen: &[Sighting]) -> usize {
    let mut rows: Vec<&str> = seen.iter().map(|it| it.row.as_str()).collect();
    rows.sort_unstable();
    rows.dedup();
    rows.len()
}
