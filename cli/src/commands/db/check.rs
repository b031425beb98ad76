//! `runward db check`: whether everything is there and is what it was. Every problem with its place and what to do.

use runward_engine::units::format_size;
use runward_store::{AdminEvent, Ledger};
use runward_workers::care::check::{Checkup, Problem, check};

use super::super::{print_json, print_line};
use crate::actor::actor;
use crate::args::Format;
use crate::config::Config;
use crate::failure::Failure;
use crate::open::open_here;
use crate::text;
use crate::view::words;

pub async fn run(config: &Config, format: Format) -> Result<i32, Failure> {
    let opened = open_here(config).await?;
    let damage = opened.ledger.integrity().await?;
    let sound = damage.is_empty();
    let mut found = check(&opened.home, &*opened.ledger, damage).await?;
    if sound {
        let noted = AdminEvent::LedgerChecked { runs: found.runs, problems: found.problems.len() as u64 };
        if let Err(error) = opened.ledger.administer(noted, &actor()).await {
            found.problems.push(Problem {
                run: None,
                step: None,
                attempt: None,
                what: format!("this check could not be noted in the ledger: {error}"),
                help: error.help().unwrap_or("repeat the check").to_owned(),
            });
        }
    }
    match format {
        Format::Json => print_json(&found),
        Format::Text => {
            found.problems.iter().for_each(show);
            print_line(&summary(&found));
        }
    }
    Ok(i32::from(!found.problems.is_empty()))
}

fn show(problem: &Problem) {
    let mut place = match &problem.run {
        Some(run) => format!("run {}", run.0),
        None => "ledger".to_owned(),
    };
    if let Some(step) = &problem.step {
        place.push_str(&format!(", step {step}"));
    }
    if let Some(attempt) = problem.attempt {
        place.push_str(&format!(", attempt {attempt}"));
    }
    let named = |text: &str| match (&problem.run, &problem.step) {
        (Some(run), Some(step)) => text.replace("RUN", words::short(&run.0)).replace("STEP", step),
        (Some(run), None) => text.replace("RUN", words::short(&run.0)),
        _ => text.to_owned(),
    };
    print_line(&format!("{place}: {}\n  help: {}", problem.what, named(&problem.help)));
}

fn summary(found: &Checkup) -> String {
    let seen = format!(
        "{}, {}, {}, {} of output",
        text::count(found.runs, "run"),
        text::count(found.events, "event"),
        text::count(found.attempts, "attempt"),
        format_size(found.log_bytes)
    );
    match found.problems.len() {
        0 => format!("{seen}: all is well"),
        n => format!("{seen}: {}", text::count(n as u64, "problem")),
    }
}
