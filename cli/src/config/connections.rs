//! `[connections.NAME]`: databases that `sql` steps name. A file says where they are and who knows the password, never the
//! password; the environment may say the whole URL, which is read when a step starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use runward_engine::runbook::Finding;
use runward_engine::runbook::report::{did_you_mean, quoted};
use runward_engine::runbook::secrets::Provider;
use runward_engine::runbook::syntax::Syntax;
use runward_workers::reach::connections::{Connection, Source, parse};
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

pub const SECTION: &str = "connections";
const PREFIX: &str = "RUNWARD_CONNECTIONS_";
const KEYS: [&str; 3] = ["url", "password", "read-only"];
const PROVIDERS: [&str; 4] = ["env", "file", "exec", "sealed"];

/// A connection of the file.
pub struct Written {
    pub name: String,
    pub connection: Connection,
    /// Byte of the file where it begins.
    pub at: usize,
}

/// All of them; what is wrong goes to `findings`.
pub fn read(section: &DeValue<'_>, span: Range<usize>, findings: &mut Vec<Finding>) -> Vec<Written> {
    let mut written = Vec::new();
    let DeValue::Table(section) = section else {
        findings.push(
            Finding::new(&span, "not a table", "`connections` is a table of tables")
                .help("write `[connections.app]` and below it `url = \"postgres://...\"`"),
        );
        return written;
    };
    for (key, value) in section {
        let name = key.get_ref().to_string();
        if let Err((message, help)) = Syntax::Id.check(&name) {
            findings.push(Finding::new(&key.span(), "this name", message).maybe_help(help));
            continue;
        }
        match value.get_ref() {
            DeValue::Table(table) => written.extend(one(&name, table, key.span(), findings)),
            _ => findings.push(
                Finding::new(&value.span(), "not a table", format!("`connections.{name}` is a table"))
                    .help(format!("write `[connections.{name}]` and below it `url = \"postgres://...\"`")),
            ),
        }
    }
    written
}

fn one(name: &str, table: &DeTable<'_>, at: Range<usize>, findings: &mut Vec<Finding>) -> Option<Written> {
    let before = findings.len();
    let mut connection = Connection { url: Source::Plain(String::new()), password: None, read_only: false };
    for (key, value) in table {
        let (full, span) = (format!("connections.{name}.{}", key.get_ref()), value.span());
        let done = match (key.get_ref().as_ref(), value.get_ref()) {
            ("url", DeValue::String(url)) => plain(url).map(|url| connection.url = url),
            ("url", value) => provider(value).map(|it| connection.url = Source::Secret(it)),
            ("password", DeValue::String(_)) => Err((
                "a password does not stand in this file".to_owned(),
                "write where it is: `password = {sealed = \"name\"}`, or `{env = ...}`, `{file = ...}`, `{exec = [...]}`",
            )),
            ("password", value) => provider(value).map(|it| connection.password = Some(it)),
            ("read-only", DeValue::Boolean(flag)) => {
                connection.read_only = *flag;
                Ok(())
            }
            ("read-only", _) => Err(("it is true or false".to_owned(), "write `read-only = true`")),
            (unknown, _) => {
                let help = did_you_mean(unknown, KEYS).unwrap_or_else(|| format!("there are {}", KEYS.join(", ")));
                let message = format!("there is no setting `{}`", quoted(&full));
                findings.push(Finding::new(&key.span(), "unknown", message).help(help));
                continue;
            }
        };
        if let Err((message, help)) = done {
            findings.push(Finding::new(&span, "this value", format!("`{full}`: {message}")).help(help));
        }
    }
    if !table.keys().any(|key| key.get_ref() == "url") {
        let message = format!("the connection `{name}` has no `url`");
        findings.push(
            Finding::new(&at, "no url", message)
                .help("write `url = \"postgres://user@host:5432/database\"`, or `sqlite:/path`"),
        );
    }
    (findings.len() == before).then(|| Written { name: name.to_owned(), connection, at: at.start })
}

type Complaint = (String, &'static str);

fn plain(url: &str) -> Result<Source, Complaint> {
    let parsed = parse(url).map_err(|why| {
        (format!("this URL {why}"), "write `postgres://user@host:5432/database`, or `sqlite:/path/to/file.db`")
    })?;
    match parsed.password {
        Some(_) => Err((
            "this URL has a password in it".to_owned(),
            "take it out, and write where it is: `password = {sealed = \"name\"}`, or `{env = ...}`, `{file = ...}`, `{exec = [...]}`",
        )),
        None => Ok(Source::Plain(url.to_owned())),
    }
}

fn provider(value: &DeValue<'_>) -> Result<Provider, Complaint> {
    const HELP: &str = "write one of `{env = \"NAME\"}`, `{file = \"/path\"}`, `{exec = [\"program\", \"argument\"]}`, `{sealed = \"name\"}`";
    let wrong = || ("it does not say where it comes from".to_owned(), HELP);
    let DeValue::Table(table) = value else { return Err(wrong()) };
    let mut entries = table.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else { return Err(wrong()) };
    let text = || value.get_ref().as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(wrong);
    match key.get_ref().as_ref() {
        "env" => text().map(Provider::Env),
        "sealed" => text().map(Provider::Sealed),
        "file" => {
            let path = text()?;
            let told = || (format!("`{path}` must be an absolute path"), "write the whole path");
            if path.starts_with('/') { Ok(Provider::File(path)) } else { Err(told()) }
        }
        "exec" => match value.get_ref() {
            DeValue::Array(items) if !items.is_empty() => {
                let argv = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
                argv.collect::<Option<Vec<_>>>().map(Provider::Exec).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        },
        other => {
            let known = did_you_mean(other, PROVIDERS).map_or_else(String::new, |guess| format!(": {guess}"));
            Err((format!("there is no provider `{}`{known}", quoted(other)), HELP))
        }
    }
}

/// A path is meant from the folder of the file.
pub fn resolve(connection: &mut Connection, folder: &Path) {
    let Source::Plain(url) = &mut connection.url else { return };
    let Some(path) = url.strip_prefix("sqlite:") else { return };
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') {
        *url = format!("sqlite:{}/{path}", folder.display());
    }
}

/// What the environment says: `RUNWARD_CONNECTIONS_APP_URL`, `..._PASSWORD`, `..._READ_ONLY`. Returns the names that it
/// says something about, and what is wrong.
pub fn from_environment(
    connections: &mut BTreeMap<String, Connection>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> (Vec<String>, Vec<String>) {
    let (mut said, mut problems) = (Vec::new(), Vec::new());
    let mut found: Vec<(String, String, String)> = variables
        .filter_map(|(variable, value)| {
            let variable = variable.into_string().ok()?;
            let rest = variable.strip_prefix(PREFIX)?;
            let what = ["_URL", "_PASSWORD", "_READ_ONLY"].into_iter().find(|what| rest.ends_with(what))?;
            let name = rest.strip_suffix(what)?.to_ascii_lowercase();
            (!value.is_empty()).then(|| (name, variable.clone(), value.to_string_lossy().into_owned()))
        })
        .collect();
    // The URL first: it may make the connection.
    found.sort_by_key(|(name, variable, _)| (name.clone(), !variable.ends_with("_URL"), variable.clone()));
    for (name, variable, value) in found {
        if let Err((message, _)) = Syntax::Id.check(&name) {
            problems.push(format!("{variable}: {message}"));
            continue;
        }
        if variable.ends_with("_URL") {
            let made = Connection { url: Source::Plain(String::new()), password: None, read_only: false };
            connections.entry(name.clone()).or_insert(made).url = Source::Secret(Provider::Env(variable.clone()));
        }
        let Some(connection) = connections.get_mut(&name) else {
            problems.push(format!(
                "{variable}: there is no connection `{name}`: set {PREFIX}{}_URL, too",
                name.to_uppercase()
            ));
            continue;
        };
        match value.as_str() {
            _ if variable.ends_with("_URL") => {}
            _ if variable.ends_with("_PASSWORD") => connection.password = Some(Provider::Env(variable)),
            "true" => connection.read_only = true,
            "false" => connection.read_only = false,
            _ => problems.push(format!("{variable}: it is `true` or `false`")),
        }
        said.push(name);
    }
    (said, problems)
}

/// The environment variable that says where a connection leads.
pub fn variable(name: &str) -> String {
    runward_workers::reach::connections::variable(name, "URL")
}

/// Whether an environment variable is about a connection.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// For people: where it leads and what it takes, without anything secret.
pub fn shown(connection: &Connection) -> String {
    let mut words = match &connection.url {
        Source::Plain(url) => parse(url).map_or_else(|_| "?".to_owned(), |parsed| parsed.address.place()),
        Source::Secret(provider) => format!("from {provider}"),
    };
    if let Some(password) = &connection.password {
        words += &format!(", password from {password}");
    }
    if connection.read_only {
        words += ", read-only";
    }
    words
}

pub fn shown_json(connection: &Connection) -> Value {
    let (url, from) = match &connection.url {
        Source::Plain(url) => (parse(url).ok().map(|parsed| parsed.address.place()), None),
        Source::Secret(provider) => (None, Some(provider.to_string())),
    };
    json!({
        "place": url,
        "url_from": from,
        "password_from": connection.password.as_ref().map(ToString::to_string),
        "read_only": connection.read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Written>, Vec<String>> {
        let table = DeTable::parse(text).unwrap();
        let (mut findings, section) = (Vec::new(), table.get_ref().get("connections").unwrap());
        let written = read(section.get_ref(), section.span(), &mut findings);
        let said = |finding: &Finding| format!("{} | {}", finding.message, finding.help.as_deref().unwrap_or(""));
        if findings.is_empty() { Ok(written) } else { Err(findings.iter().map(said).collect()) }
    }

    #[test]
    fn a_connection_says_where_and_who_knows_the_password() {
        let text = "[connections.app]\nurl = 'postgres://ops@db/app'\npassword = {sealed = 'app'}\n[connections.old]\nurl = {env = 'OLD_URL'}\nread-only = true\n\
                    [connections.local]\nurl = 'sqlite:data/app.db?mode=ro'\n";
        let mut read = read_text(text).unwrap_or_else(|said| panic!("{said:?}"));
        read.iter_mut().for_each(|written| resolve(&mut written.connection, Path::new("/srv")));
        let said: Vec<(String, String)> = read.iter().map(|it| (it.name.clone(), shown(&it.connection))).collect();
        assert_eq!(said[0], ("app".into(), "ops@db/app, password from the sealed secret app".into()));
        assert_eq!(said[1].1, "/srv/data/app.db");
        assert_eq!(said[2].1, "from the environment variable OLD_URL, read-only");
    }

    #[test]
    fn what_is_wrong_is_told_and_never_repeats_a_password() {
        for (text, why) in [
            ("connections = 3", "table of tables"),
            ("connections.app = 'x'", "is a table"),
            ("[connections.App]\nurl = 'sqlite:x'", "lower-case letters"),
            ("[connections.app]\nread-only = true", "has no `url`"),
            ("[connections.app]\nurl = 'postgres://u:s3cret@h/d'", "password in it | take it out"),
            ("[connections.app]\nurl = 'mysql://u:s3cret@h/d'", "begins neither"),
            ("[connections.app]\nurl = 'sqlite:x'\npassword = 's3cret'", "does not stand in this file"),
            ("[connections.app]\nurl = 'sqlite:x'\npasword = {env = 'X'}", "did you mean `password`"),
            ("[connections.app]\nurl = {vault = 'X'}", "no provider `vault`"),
            ("[connections.app]\nurl = {file = 'x'}", "absolute path"),
            ("[connections.app]\nurl = {env = 'X', file = '/x'}", "where it comes from"),
            ("[connections.app]\nurl = 'sqlite:x'\nread-only = 'yes'", "true or false"),
        ] {
            let said = read_text(text).err().unwrap_or_default().join("\n");
            assert!(said.contains(why) && !said.contains("s3cret"), "{text}: {said}");
        }
    }

    #[test]
    fn the_environment_wins_and_may_make_one() {
        let variables = |all: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
            all.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let mut connections = BTreeMap::new();
        let set = variables(&[
            ("RUNWARD_CONNECTIONS_APP_READ_ONLY", "true"),
            ("RUNWARD_CONNECTIONS_APP_URL", "postgres://u:s3cret@h/d"),
            ("RUNWARD_CONNECTIONS_APP_PASSWORD", "s3cret"),
        ]);
        let (said, problems) = from_environment(&mut connections, set.into_iter());
        assert!(problems.is_empty() && said.iter().all(|name| name == "app"), "{problems:?}");
        assert!(connections["app"].read_only && !shown(&connections["app"]).contains("s3cret"));
        let alone = variables(&[("RUNWARD_CONNECTIONS_X_PASSWORD", "y")]);
        let (_, problems) = from_environment(&mut BTreeMap::new(), alone.into_iter());
        assert!(problems[0].contains("RUNWARD_CONNECTIONS_X_URL"), "{problems:?}");
    }
}
