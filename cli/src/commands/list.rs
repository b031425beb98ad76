//! `runward list`: the runbooks of a folder.

use serde_json::json;

use super::{print_json, print_line};
use crate::args::{Format, ListArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::runbook_file;

pub fn run(config: &Config, args: &ListArgs) -> Result<i32, Failure> {
    let folders = args.folder.as_ref().map_or(&config.settings.runbooks[..], std::slice::from_ref);
    let mut paths = Vec::new();
    for folder in folders {
        paths.extend(runbook_file::below(folder)?);
    }
    let names = &config.settings.runbooks;
    let loaded: Vec<_> = paths.iter().map(|path| (path, runbook_file::load(path, names))).collect();
    match args.format {
        Format::Json => {
            let rows: Vec<_> = loaded
                .iter()
                .map(|(path, file)| match file {
                    Ok(file) => json!({
                        "name": file.name, "file": path, "description": file.runbook.description, "valid": true,
                        "steps": file.runbook.steps.len(),
                    }),
                    Err(failure) => json!({"file": path, "valid": false, "findings": failure.findings()}),
                })
                .collect();
            print_json(&rows);
        }
        Format::Text if loaded.is_empty() => {
            let looked: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            print_line(&format!("no runbooks in {}; `runward new NAME` writes one", looked.join(", ")));
        }
        Format::Text => {
            for (path, file) in &loaded {
                match file {
                    Ok(file) => {
                        let about = file.runbook.description.as_deref().unwrap_or("").lines().next().unwrap_or("");
                        print_line(&format!(
                            "{:<28} {:>3} steps  {}",
                            file.name,
                            file.runbook.steps.len(),
                            crate::text::safe(about)
                        ));
                    }
                    Err(failure) => print_line(&format!(
                        "{:<28} INVALID    {} (runward validate {})",
                        path.display(),
                        failure.summary(),
                        path.display()
                    )),
                }
            }
        }
    }
    Ok(0)
}
