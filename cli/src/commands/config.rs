//! `runward config show`: every setting, its value, and where the value comes from.

use serde_json::{Value, json};

use super::{print_json, print_line};
use crate::args::{ConfigCommand, Format};
use crate::config::{Config, Origin, SETTINGS, Setting, connections};
use crate::failure::Failure;
use crate::text;

pub fn run(config: &Config, command: &ConfigCommand) -> Result<i32, Failure> {
    let ConfigCommand::Show { format } = command;
    match format {
        Format::Json => print_json(&json!({
            "file": config.file,
            "settings": SETTINGS.iter().map(|setting| row(config, setting)).collect::<Vec<_>>(),
            "connections": config.settings.connections.iter().map(|(name, connection)| json!({
                "name": name,
                "is": connections::shown_json(connection),
                "from": from(&config.connection_origin(name), &connections::variable(name), None),
            })).collect::<Vec<_>>(),
        })),
        Format::Text => table(config),
    }
    Ok(0)
}

fn table(config: &Config) {
    match &config.file {
        Some(file) => print_line(&format!("file  {}\n", file.display())),
        None => print_line("file  none: no runward.toml here or above, and no /etc/runward/runward.toml\n"),
    }
    let settings = SETTINGS.iter().map(|setting| {
        let value = text::safe(&words(&(setting.show)(&config.settings)));
        [setting.key.to_owned(), value, origin(&config.origin(setting), setting.env, setting.flag)]
    });
    let connections = config.settings.connections.iter().map(|(name, connection)| {
        let origin = origin(&config.connection_origin(name), &connections::variable(name), None);
        [format!("connections.{name}"), text::safe(&connections::shown(connection)).to_string(), origin]
    });
    let rows: Vec<[String; 3]> = settings.chain(connections).collect();
    let width = rows.iter().map(|row| unicode_width::UnicodeWidthStr::width(&*row[1])).max().unwrap_or(0).min(48);
    for [key, value, origin] in rows {
        let gap = width.saturating_sub(unicode_width::UnicodeWidthStr::width(&*value));
        print_line(&format!("{key:<22} {value}{}  {origin}", " ".repeat(gap)));
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(":"),
        other => other.to_string(),
    }
}

fn origin(origin: &Origin, env: &str, flag: Option<&str>) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File { path, line } => format!("{}:{line}", path.display()),
        Origin::Environment => env.to_owned(),
        Origin::Flag => flag.unwrap_or_default().to_owned(),
    }
}

fn from(origin: &Origin, env: &str, flag: Option<&str>) -> Value {
    match origin {
        Origin::Default => json!({"is": "default"}),
        Origin::File { path, line } => json!({"is": "file", "file": path, "line": line}),
        Origin::Environment => json!({"is": "environment", "name": env}),
        Origin::Flag => json!({"is": "flag", "name": flag}),
    }
}

fn row(config: &Config, setting: &Setting) -> Value {
    let from = from(&config.origin(setting), setting.env, setting.flag);
    json!({
        "key": setting.key,
        "value": (setting.show)(&config.settings),
        "from": from,
        "env": setting.env,
        "flag": setting.flag,
        "takes": setting.takes.words(),
        "default": setting.default,
        "about": setting.about,
    })
}
