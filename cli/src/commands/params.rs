//! The parameters of a run: from the command line, from a file, from a person at a terminal.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use runward_engine::plan::params::{self, Given};
use runward_engine::runbook::model::Runbook;
use serde_json::{Map, Value};

use crate::args::ParamArgs;
use crate::failure::Failure;

/// `ask`: whether a missing one may be asked for.
pub fn resolve(runbook: &Runbook, args: &ParamArgs, ask: bool) -> Result<Map<String, Value>, Failure> {
    let mut given = BTreeMap::new();
    if let Some(file) = &args.params_file {
        given.extend(from_file(file)?);
    }
    for (n, (name, _)) in args.params.iter().enumerate() {
        if args.params[..n].iter().any(|(other, _)| other == name) {
            return Err(Failure::usage(format!("the parameter `{name}` is given twice")));
        }
    }
    given.extend(args.params.iter().map(|(name, value)| (name.clone(), Given::Text(value.clone()))));
    if ask && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        for param in params::missing(runbook, &given) {
            let text = ask_for(&param.name, param.description.as_deref())?;
            given.insert(param.name.clone(), Given::Text(text));
        }
    }
    let absolute = |path: &str| std::path::absolute(path).map_or(path.to_owned(), |path| path.display().to_string());
    params::resolve(runbook, &given, &absolute).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::usage(lines.join("\n")).help("`runward plan` shows the parameters of a runbook")
    })
}

fn from_file(path: &Path) -> Result<BTreeMap<String, Given>, Failure> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    let values = runward_engine::runbook::parse_values(&bytes)
        .map_err(|report| Failure::runbook(&shown, &String::from_utf8_lossy(&bytes), &report))?;
    Ok(values.into_iter().map(|(name, value)| (name, Given::Value(value))).collect())
}

fn ask_for(name: &str, description: Option<&str>) -> Result<String, Failure> {
    let about = description.map(|text| format!(" ({text})")).unwrap_or_default();
    eprint!("{name}{about}: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    match read {
        Ok(n) if n > 0 => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
        _ => {
            Err(Failure::usage(format!("the parameter `{name}` is required"))
                .help(format!("give it with -p {name}=VALUE")))
        }
    }
}
