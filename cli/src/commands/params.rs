//! The parameters of a run. In rising order: the default, `RUNWARD_PARAM_NAME` in the environment, a file, `-p`; and
//! what is still missing then, a person at a terminal is asked for.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use runward_engine::plan::params::{self, Given, ParamError, VARIABLE_PREFIX};
use runward_engine::runbook::model::Runbook;
use runward_engine::runbook::report::did_you_mean;
use serde_json::{Map, Value};

use crate::args::ParamArgs;
use crate::ask;
use crate::failure::Failure;

pub struct Resolved {
    pub params: Map<String, Value>,
    /// Where those that were given come from, for people.
    pub from: BTreeMap<String, String>,
    /// Variables that look like parameters and name none of this runbook.
    pub ignored: Vec<String>,
}

/// `may_ask`: whether a missing one may be asked for.
pub fn resolve(runbook: &Runbook, args: &ParamArgs, may_ask: bool) -> Result<Resolved, Failure> {
    let (mut given, mut from, mut problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut give = |name: &str, value: Given, origin: String| {
        given.insert(name.to_owned(), value);
        from.insert(name.to_owned(), origin);
    };
    let environment = Environment::of(runbook);
    for (name, value) in environment.given {
        let variable = params::variable(&name);
        match value {
            Some(text) => give(&name, Given::Text(text), variable),
            None => problems.push(format!("{variable} is not UTF-8")),
        }
    }
    if let Some(file) = &args.params_file {
        let shown = if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() };
        from_file(file)?.into_iter().for_each(|(name, value)| give(&name, Given::Value(value), shown.clone()));
    }
    for (n, (name, _)) in args.params.iter().enumerate() {
        if args.params[..n].iter().any(|(other, _)| other == name) {
            problems.push(format!("the parameter `{name}` is given twice"));
        }
    }
    for (name, value) in &args.params {
        give(name, Given::Text(value.clone()), "-p".to_owned());
    }
    warn_of_sensitive(runbook, args);
    let absolute = |path: &str| std::path::absolute(path).map_or(path.to_owned(), |path| path.display().to_string());
    // Nobody types answers for a run that cannot start.
    let errors = params::resolve(runbook, &given, &absolute).err().unwrap_or_default();
    let only_missing = problems.is_empty() && errors.iter().all(|error| matches!(error, ParamError::Missing { .. }));
    if may_ask && only_missing && !errors.is_empty() && ask::somebody_is_there() {
        for (name, answer) in ask::for_params(&params::missing(runbook, &given))? {
            given.insert(name, Given::Text(answer));
        }
    }
    match params::resolve(runbook, &given, &absolute) {
        Ok(params) if problems.is_empty() => Ok(Resolved { params, from, ignored: environment.ignored }),
        resolved => {
            problems.extend(resolved.err().into_iter().flatten().map(|error| error.to_string()));
            problems.extend(environment.ignored.iter().filter_map(|variable| misspelt(runbook, variable)));
            Err(Failure::usage(problems.join("\n")).help("`runward plan` shows the parameters of a runbook"))
        }
    }
}

/// The sensitive ones of a saved plan once more, and nothing else: what the plan says stands.
pub fn resolve_again(runbook: &Runbook, args: &ParamArgs, names: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut given: BTreeMap<String, Given> = BTreeMap::new();
    for (name, value) in Environment::of(runbook).given {
        given.extend(value.filter(|_| names.contains(&name)).map(|text| (name, Given::Text(text))));
    }
    let file = args.params_file.as_deref().map(from_file).transpose()?.unwrap_or_default();
    let file = file.into_iter().map(|(name, value)| (name, Given::Value(value)));
    let named = args.params.iter().map(|(name, value)| (name.clone(), Given::Text(value.clone())));
    let all: Vec<(String, Given)> = file.chain(named).collect();
    let settled: Vec<&str> =
        all.iter().map(|(name, _)| name.as_str()).filter(|name| !names.iter().any(|n| n == name)).collect();
    if !settled.is_empty() {
        let which = match names {
            [] => "it has no sensitive ones, so none is given".to_owned(),
            names => format!("only the sensitive ones are given again: {}", names.join(", ")),
        };
        return Err(Failure::usage(format!("the plan says already what `{}` is; {which}", settled.join("`, `")))
            .help("leave it out, or plan again with another value"));
    }
    given.extend(all);
    warn_of_sensitive(runbook, args);
    let missing = |param: &&runward_engine::runbook::model::Param| {
        names.contains(&param.name) && param.default.is_none() && !given.contains_key(&param.name)
    };
    let missing: Vec<_> = runbook.params.iter().filter(missing).collect();
    if !missing.is_empty() && ask::somebody_is_there() {
        let answers = ask::for_params(&missing)?;
        given.extend(answers.into_iter().map(|(name, answer)| (name, Given::Text(answer))));
    }
    let absolute = |path: &str| std::path::absolute(path).map_or(path.to_owned(), |path| path.display().to_string());
    params::resolve_only(runbook, names, &given, &absolute).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::usage(all.join("\n"))
            .help("sensitive values are not in a plan: each is given again, and has to be the same")
    })
}

/// `RUNWARD_PARAM_*`. CI sets them for many runbooks, so one that names no parameter of this one is no mistake.
struct Environment {
    /// None: not UTF-8.
    given: Vec<(String, Option<String>)>,
    ignored: Vec<String>,
}

impl Environment {
    fn of(runbook: &Runbook) -> Environment {
        let mut found = Environment { given: Vec::new(), ignored: Vec::new() };
        let set = std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(VARIABLE_PREFIX.as_bytes()));
        for (variable, value) in set {
            match runbook.params.iter().find(|param| *params::variable(&param.name) == *variable) {
                Some(param) => found.given.push((param.name.clone(), value.into_string().ok())),
                None => found.ignored.push(variable.to_string_lossy().into_owned()),
            }
        }
        found.ignored.sort();
        found
    }
}

fn misspelt(runbook: &Runbook, variable: &str) -> Option<String> {
    let names: Vec<String> = runbook.params.iter().map(|param| params::variable(&param.name)).collect();
    let guess = did_you_mean(variable, names.iter().map(String::as_str))?;
    Some(format!("{variable} names no parameter of this runbook: {guess}"))
}

/// Everybody on the machine sees the arguments of every process.
fn warn_of_sensitive(runbook: &Runbook, args: &ParamArgs) {
    for (name, _) in &args.params {
        if runbook.params.iter().any(|param| param.sensitive && param.name == *name) {
            let variable = params::variable(name);
            eprintln!(
                "warning: `-p {name}=...` shows a sensitive value to `ps` and to the history of the shell; \
                 use {variable}, `--params-file -`, or let yourself be asked"
            );
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn from_file(path: &Path) -> Result<BTreeMap<String, Value>, Failure> {
    let shown = if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() };
    if is_stdin(path) && std::io::stdin().is_terminal() {
        eprintln!("reading parameters from standard input, as YAML or JSON, until Ctrl-D");
    }
    let bytes =
        if is_stdin(path) { read_limited(std::io::stdin()) } else { std::fs::File::open(path).and_then(read_limited) };
    let bytes = bytes.map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    let values = runward_engine::runbook::parse_values(&bytes)
        .map_err(|report| Failure::runbook(&shown, &String::from_utf8_lossy(&bytes), &report))?;
    Ok(values.into_iter().collect())
}

/// One byte more than a document may have is enough for the parser to refuse it.
fn read_limited(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(runward_engine::limits::RUNBOOK_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
