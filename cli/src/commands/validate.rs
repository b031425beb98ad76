//! `runward validate`: every problem of every file at once.

use serde_json::json;

use super::{print_json, print_line};
use crate::args::{Format, ValidateArgs};
use crate::config::Config;
use crate::failure::{EXIT_USAGE, Failure};
use crate::{runbook_file, text};

pub fn run(config: &Config, args: &ValidateArgs) -> Result<i32, Failure> {
    let folders = &config.settings.runbooks;
    let mut code = 0;
    let mut results = Vec::new();
    for text in &args.runbooks {
        let checked = runbook_file::locate(text, folders).and_then(|path| runbook_file::load(&path, folders));
        match (checked, args.format) {
            (Ok(file), Format::Text) => {
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
            (Ok(file), Format::Json) => {
                let unbuilt: Vec<&str> = file.runbook.unbuilt.iter().map(|unbuilt| unbuilt.path.as_str()).collect();
                results.push(
                    json!({"file": file.path, "name": file.name, "valid": true, "findings": [], "unbuilt": unbuilt}),
                );
            }
            (Err(failure), Format::Text) => {
                code = EXIT_USAGE;
                failure.print();
            }
            (Err(failure), Format::Json) => {
                code = EXIT_USAGE;
                results.push(json!({"file": text, "valid": false, "findings": failure.findings()}));
            }
        }
    }
    if args.format == Format::Json {
        print_json(&results);
    }
    Ok(code)
}
