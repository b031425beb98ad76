//! `runward validate`: every problem of every file at once.

use std::path::PathBuf;

use serde_json::json;

use super::{print_json, print_line};
use crate::args::{CheckFormat, ValidateArgs};
use crate::config::Config;
use crate::failure::{EXIT_USAGE, Failure};
use crate::runbook_file::{As, refuse_one_database};
use crate::view::github;
use crate::{runbook_file, text};

pub fn run(config: &Config, args: &ValidateArgs) -> Result<i32, Failure> {
    let folders = &config.settings.runbooks;
    let mut code = 0;
    let mut results = Vec::new();
    for text in &args.runbooks {
        let checked = runbook_file::locate(text, folders).and_then(|path| {
            let file = runbook_file::load(&path, folders)?;
            // What it calls has to be something in a drill, too.
            match file.runbook.drill {
                Some(_) => {
                    refuse_one_database(&As::Drill.load(&path, folders)?, &config.settings.connections).map(|()| file)
                }
                None => Ok(file),
            }
        });
        match (checked, args.format) {
            (Ok(file), CheckFormat::Text | CheckFormat::Github) => {
                let unbuilt = match file.runbook.unbuilt.len() {
                    0 => String::new(),
                    _ => {
                        let keys: Vec<&str> =
                            file.runbook.unbuilt.iter().map(|unbuilt| unbuilt.path.as_str()).collect();
                        format!(" (this version cannot run it: {} not built yet)", keys.join(", "))
                    }
                };
                print_line(&format!(
                    "{}: ok, {}{unbuilt}",
                    file.path.display(),
                    text::count(file.runbook.steps.len() as u64, "step")
                ));
            }
            (Ok(file), CheckFormat::Json) => {
                let unbuilt: Vec<&str> = file.runbook.unbuilt.iter().map(|unbuilt| unbuilt.path.as_str()).collect();
                results.push(
                    json!({"file": file.path, "name": file.name, "valid": true, "findings": [], "unbuilt": unbuilt}),
                );
            }
            (Err(failure), CheckFormat::Text | CheckFormat::Github) => {
                code = EXIT_USAGE;
                if args.format == CheckFormat::Github {
                    annotate(text, &failure, folders);
                }
                failure.print();
            }
            (Err(failure), CheckFormat::Json) => {
                code = EXIT_USAGE;
                results.push(json!({"file": text, "valid": false, "findings": failure.findings()}));
            }
        }
    }
    if args.format == CheckFormat::Json {
        print_json(&results);
    }
    Ok(code)
}

/// Each problem at its place in the file; without a place at the beginning.
fn annotate(runbook: &str, failure: &Failure, folders: &[PathBuf]) {
    let file = runbook_file::locate(runbook, folders).unwrap_or_else(|_| runbook.into());
    for finding in failure.findings() {
        let words = |key: &str| finding[key].as_str().map(text::safe);
        let message = [words("message"), words("help")].into_iter().flatten().collect::<Vec<_>>().join("\n");
        let (line, column) = (finding["line"].as_u64().unwrap_or(1), finding["column"].as_u64().unwrap_or(1));
        print_line(github::problem(&file, line, column, &text::safe(runbook), &message).trim_end());
    }
}
