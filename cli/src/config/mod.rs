//! What is set, and where each value comes from: built in, `runward.toml`, the environment, flags, in rising order.
//!
//! [`table`] says every setting once; [`parse`] holds a file against it; [`mod@file`] finds and trusts the file. Read
//! once per command, before anything else; nothing here is global.

pub mod connections;
mod database;
mod file;
mod named;
mod notify;
mod parse;
mod redis;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::failure::Failure;
pub use database::DatabaseUrl;
use table::Takes;
pub use table::{Level, Log, LogFormat, SETTINGS, Setting, Settings, concurrency, label, listen};

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub log_level: Option<String>,
}

/// A configuration file that somebody named.
pub struct Named {
    path: PathBuf,
}

#[derive(Debug, Clone, Default)]
pub struct Config {
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
    connections: BTreeMap<String, Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment,
    Flag,
}

pub const NAMED_BY: &str = "RUNWARD_CONFIG";

/// Everything that is set; every problem at once.
pub fn load(flags: &Flags) -> Result<Config, Failure> {
    let mut config = Config::default();
    let from_file = from_file(&mut config, flags);
    let mut problems = Vec::new();
    from_environment(&mut config, &mut problems);
    from_flags(&mut config, flags, &mut problems);
    match (from_file, problems.is_empty()) {
        (Ok(()), true) => Ok(config),
        (Ok(()), false) => Err(Failure::usage(problems.join("\n")).help("correct it or unset it")),
        (Err(failure), _) => Err(failure.also(&problems)),
    }
}

/// What is left of a configuration that has problems: for looking at the rest of the machine all the same.
pub fn what_is_right(flags: &Flags) -> Config {
    let mut config = Config::default();
    let _ = from_file(&mut config, flags); // told by `load`
    from_environment(&mut config, &mut Vec::new());
    from_flags(&mut config, flags, &mut Vec::new());
    config
}

impl Config {
    pub fn origin(&self, setting: &Setting) -> Origin {
        self.origins.get(setting.key).cloned().unwrap_or(Origin::Default)
    }

    /// Where a connection comes from.
    pub fn connection_origin(&self, name: &str) -> Origin {
        self.connections.get(name).cloned().unwrap_or(Origin::Default)
    }

    fn set(&mut self, setting: &'static Setting, texts: &[String], origin: Origin) -> Result<(), String> {
        (setting.read)(&mut self.settings, texts)?;
        self.origins.insert(setting.key, origin);
        Ok(())
    }
}

fn from_file(config: &mut Config, flags: &Flags) -> Result<(), Failure> {
    let named = flags.config.clone().or_else(|| variable(NAMED_BY).map(PathBuf::from)).map(|path| Named { path });
    let Some((path, named)) = file::find(named) else { return Ok(()) };
    let read = file::read(&path, named)?;
    for entry in &read.entries {
        let origin = Origin::File { path: read.path.clone(), line: read.line(entry.at) };
        // The parser has checked it already.
        config.set(entry.setting, &entry.texts, origin).map_err(Failure::usage)?;
    }
    for written in &read.connections {
        let origin = Origin::File { path: read.path.clone(), line: read.line(written.at) };
        config.connections.insert(written.name.clone(), origin);
        config.settings.connections.insert(written.name.clone(), written.connection.clone());
    }
    config.settings.notify = read.notify;
    config.file = Some(read.path);
    Ok(())
}

fn from_environment(config: &mut Config, problems: &mut Vec<String>) {
    for setting in SETTINGS {
        let Some(text) = variable(setting.env) else { continue };
        let texts: Result<Vec<String>, String> = match text.into_string() {
            Ok(text) => Ok(match setting.takes {
                Takes::Paths => several(&text, ':'),
                Takes::Labels | Takes::Networks => several(&text, ','),
                _ => vec![text],
            }),
            Err(_) => Err("it is not UTF-8".to_owned()),
        };
        let set = texts.and_then(|texts| config.set(setting, &texts, Origin::Environment));
        problems.extend(set.err().map(|message| format!("{}: {message}", setting.env)));
    }
    let (said, wrong) = connections::from_environment(&mut config.settings.connections, std::env::vars_os());
    config.connections.extend(said.into_iter().map(|name| (name, Origin::Environment)));
    problems.extend(wrong);
}

fn several(text: &str, between: char) -> Vec<String> {
    text.split(between).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn from_flags(config: &mut Config, flags: &Flags, problems: &mut Vec<String>) {
    let state = flags.state.as_ref().map(|path| path.to_str().map(str::to_owned).ok_or("it is not UTF-8".to_owned()));
    let given = [("--state", state), ("--log-level", flags.log_level.clone().map(Ok))];
    for (flag, text) in given {
        let (Some(text), Some(setting)) = (text, SETTINGS.iter().find(|setting| setting.flag == Some(flag))) else {
            continue;
        };
        let set = text.and_then(|text| config.set(setting, &[text], Origin::Flag));
        problems.extend(set.err().map(|message| format!("{flag}: {message}")));
    }
}

/// A variable that is set to nothing is not set: that is how CI and shells clear one.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
