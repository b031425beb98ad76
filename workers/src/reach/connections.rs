//! Databases, by the names that runbooks call them.
//!
//! Where a name leads and with which password is known here, on the machine that runs the step, and asked anew for each
//! start. To know before changing anything: a password goes to the step as a secret and stands in nothing else, and what goes
//! wrong never repeats a URL that may hold one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use runward_engine::runbook::secrets::{Form, Provider};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::secrets::find::{Place, fit, one};
use crate::secrets::{Given, Value};

/// The environment variable in which a step of ours finds the password of its connection.
pub const PASSWORD: &str = "RUNWARD_CONNECTION_PASSWORD";

/// What a URL may say after its `?`. sqlx passes over what it does not know.
const PARAMETERS: [&str; 10] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "dbname", "user", "password", "application_name"];

/// All of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Connections(pub BTreeMap<String, Connection>);

/// A database that `sql` steps name.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    pub url: Source,
    pub password: Option<Provider>,
    /// No step may change anything there.
    pub read_only: bool,
}

/// Where a URL comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// As it stands in the configuration, without a password.
    Plain(String),
    Secret(Provider),
}

/// Where a step is to connect. Without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub connection: String,
    pub address: Address,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    Postgres { url: String, place: String },
    Sqlite { path: PathBuf, create: bool },
}

/// A URL, taken apart.
#[derive(Debug)]
pub struct Parsed {
    pub address: Address,
    pub password: Option<Value>,
    pub read_only: bool,
}

impl Connections {
    /// Where the connection leads now, and its password. Blocks for as long as a program takes that knows a secret.
    pub fn target(&self, name: &str, place: &Place) -> Result<(Target, Option<Given>), String> {
        let connection = self.0.get(name).ok_or_else(|| not_configured(name))?;
        let told = |what: &str, why: String| format!("the {what} of the connection `{name}` {why}");
        let secret = |what: &str, provider: &Provider| {
            one(provider, place).map_err(|why| told(what, format!("cannot be had from {provider}: {why}")))
        };
        let url = match &connection.url {
            Source::Plain(url) => url.clone(),
            Source::Secret(provider) => {
                let value = secret("URL", provider)?;
                String::from_utf8(value.line().to_vec()).map_err(|_| told("URL", "is not UTF-8".to_owned()))?
            }
        };
        let parsed = parse(&url).map_err(|why| told("URL", why))?;
        let password = match &connection.password {
            Some(provider) => Some(secret("password", provider)?),
            None => match parsed.password {
                Some(value) => Some(
                    fit(value, "", Form::Variable)
                        .map_err(|why| told("URL", format!("has a password that cannot be used: {why}")))?,
                ),
                None => None,
            },
        };
        let read_only = connection.read_only || parsed.read_only;
        let target = Target { connection: name.to_owned(), address: parsed.address, read_only };
        let given = |value| Given { name: PASSWORD.to_owned(), form: Form::Variable, value };
        Ok((target, password.map(given)))
    }
}

/// What to do about a connection that this machine does not know.
pub fn not_configured(name: &str) -> String {
    format!(
        "the connection `{name}` is not configured on this machine: add `[connections.{name}]` with a `url` to its \
         runward.toml, or set {}",
        variable(name, "URL")
    )
}

/// The environment variable that says something about a connection.
pub fn variable(name: &str, what: &str) -> String {
    format!("RUNWARD_CONNECTIONS_{}_{what}", name.to_ascii_uppercase())
}

impl Connection {
    /// Whether both are one database, as far as that is written: host, port and name, or the file. What else a machine is
    /// called, by its name server or behind a pooler, nobody knows here.
    pub fn is_where(&self, other: &Connection) -> bool {
        match (&self.url, &other.url) {
            (Source::Plain(one), Source::Plain(other)) => match (parse(one), parse(other)) {
                (Ok(one), Ok(other)) => one.address.identity() == other.address.identity(),
                _ => false,
            },
            (Source::Secret(one), Source::Secret(other)) => one == other,
            _ => false,
        }
    }
}

impl Address {
    /// The same for every way to write it, whoever logs in.
    fn identity(&self) -> String {
        match self {
            Address::Sqlite { path, .. } => {
                let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
                let new = || Some(folder?.join(path.file_name()?));
                path.canonicalize().ok().or_else(new).unwrap_or_else(|| path.clone()).display().to_string()
            }
            Address::Postgres { url, place } => {
                let Ok(url) = Url::parse(url) else { return place.clone() };
                let said = url.query_pairs().find(|(key, _)| key == "port").map(|(_, port)| port.into_owned());
                let port =
                    said.or_else(|| url.port().map(|port| port.to_string())).unwrap_or_else(|| "5432".to_owned());
                // `user@host[:port]/database`, where the host may be a folder.
                let (user, rest) = place.rsplit_once('@').unwrap_or(("", place));
                let (host, database) = rest.rsplit_once('/').unwrap_or((rest, ""));
                let host = host.strip_suffix(&format!(":{port}")).unwrap_or(host).to_ascii_lowercase();
                let host = match host.trim_end_matches('.') {
                    "" | "127.0.0.1" | "[::1]" | "::1" | "/run/postgresql" | "/var/run/postgresql" => "localhost",
                    other => other,
                };
                let database = if database.is_empty() { user } else { database };
                format!("{host}:{port}/{database}")
            }
        }
    }

    /// For people.
    pub fn place(&self) -> String {
        match self {
            Address::Postgres { place, .. } => place.clone(),
            Address::Sqlite { path, .. } => path.display().to_string(),
        }
    }
}

/// Reads the URL of a database. What is wrong begins with a verb, and repeats nothing of it.
pub fn parse(url: &str) -> Result<Parsed, String> {
    if let Some(rest) = url.strip_prefix("sqlite:") {
        return sqlite(rest);
    }
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("begins neither with `postgres://` nor with `sqlite:`".to_owned());
    }
    postgres(url)
}

fn sqlite(rest: &str) -> Result<Parsed, String> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, mode) = rest.split_once('?').unwrap_or((rest, "mode=rw"));
    if path.is_empty() || path == ":memory:" {
        return Err("names no file: write `sqlite:/srv/app/app.db`".to_owned());
    }
    let (read_only, create) = match mode {
        "mode=rw" => (false, false),
        "mode=ro" => (true, false),
        "mode=rwc" => (false, true),
        _ => return Err("has after its `?` something else than `mode=ro`, `mode=rw` or `mode=rwc`".to_owned()),
    };
    let path = percent_decode_str(path).decode_utf8().map_err(|_| "is not UTF-8".to_owned())?;
    Ok(Parsed { address: Address::Sqlite { path: PathBuf::from(&*path), create }, password: None, read_only })
}

fn postgres(url: &str) -> Result<Parsed, String> {
    let mut url = Url::parse(url).map_err(|error| format!("is no URL ({error})"))?;
    let decoded = |text: &str| Value::new(percent_decode_str(text).collect());
    let mut password = url.password().map(decoded);
    let mut kept = Vec::new();
    for (key, value) in url.query_pairs().into_owned() {
        match key.as_str() {
            "password" => password = Some(Value::new(value.into_bytes())),
            known if PARAMETERS.contains(&known) => kept.push((key, value)),
            unknown => return Err(format!("has a parameter `{}`, which means nothing here", name_of(unknown))),
        }
    }
    let _ = url.set_password(None); // a URL without a host has none
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(&kept);
    }
    let said = |key: &str| kept.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    let user = said("user").unwrap_or_else(|| percent_decode_str(url.username()).decode_utf8_lossy().into_owned());
    let host = said("host").or_else(|| url.host_str().map(str::to_owned)).unwrap_or_default();
    let port = said("port").or_else(|| url.port().map(|port| port.to_string()));
    let port = port.filter(|_| !host.starts_with('/')).map(|port| format!(":{port}")).unwrap_or_default();
    let database = said("dbname").unwrap_or_else(|| url.path().trim_start_matches('/').to_owned());
    let place = format!("{user}@{host}{port}/{database}");
    Ok(Parsed { address: Address::Postgres { url: url.to_string(), place }, password, read_only: false })
}

/// What may be a part of a password that was not encoded is not repeated.
fn name_of(parameter: &str) -> &str {
    let plain = parameter.len() <= 20 && parameter.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if plain { parameter } else { "..." }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::sealed::Store;

    fn place() -> Place {
        let sealed = Store { file: PathBuf::from("/nowhere"), key_file: None };
        Place { cwd: PathBuf::from("/"), sealed }
    }

    #[test]
    fn a_password_is_taken_out_of_the_url_and_handed_over_as_a_secret() {
        for url in [
            "postgres://ops:p%40ss@db:5433/app?sslmode=require",
            "postgres://ops@db:5433/app?password=p%40ss&sslmode=require",
        ] {
            let parsed = parse(url).unwrap();
            assert_eq!(parsed.password.unwrap().bytes(), b"p@ss", "{url}");
            let Address::Postgres { url, place } = parsed.address else { panic!("{url}") };
            assert_eq!(
                (url.as_str(), place.as_str()),
                ("postgres://ops@db:5433/app?sslmode=require", "ops@db:5433/app")
            );
        }
        let socket = parse("postgres:///app?host=/run/postgresql&user=ops").unwrap();
        assert_eq!(socket.address.place(), "ops@/run/postgresql/app");
    }

    #[test]
    fn one_database_is_known_however_it_is_written() {
        let written = |url: &str| Connection { url: Source::Plain(url.to_owned()), password: None, read_only: false };
        let is = |one: &str, other: &str| written(one).is_where(&written(other));
        for other in [
            "postgresql://drill@DB.example.com/app?sslmode=require",
            "postgres://db.example.com.:5432/app",
            "postgres://x?host=db.example.com&dbname=app",
            "postgres:///app?host=db.example.com&port=5432&user=x",
        ] {
            assert!(is("postgres://ops@db.example.com:5432/app", other), "{other}");
        }
        for other in ["ops@db.example.com:5433/app", "ops@db.example.com/scratch", "ops@db2.example.com/app"] {
            assert!(!is("postgres://ops@db.example.com/app", &format!("postgres://{other}")), "{other}");
        }
        assert!(is("postgres://ops@127.0.0.1/", "postgres://localhost/ops"));
        assert!(is("postgres://[::1]/app", "postgres:///app?host=/run/postgresql"));
        assert!(!is("postgres:///app?host=/srv/a", "postgres:///app?host=/srv/b"));
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("sqlite:{}/{name}", dir.path().display());
        assert!(is(&at("a.db"), &(at("./a.db") + "?mode=rwc")), "it is not there yet");
        std::fs::write(dir.path().join("a.db"), "").unwrap();
        std::os::unix::fs::symlink("a.db", dir.path().join("b.db")).unwrap();
        assert!(is(&at("a.db"), &at("b.db")) && !is(&at("a.db"), &at("c.db")));
        let secret = |name: &str| Connection { url: Source::Secret(Provider::Env(name.into())), ..written("") };
        assert!(secret("A").is_where(&secret("A")) && !secret("A").is_where(&secret("B")));
    }

    #[test]
    fn files_are_named_with_their_mode() {
        let parsed = parse("sqlite:/srv/a%20b.db?mode=ro").unwrap();
        assert!(parsed.read_only && parsed.address.place() == "/srv/a b.db");
        assert_eq!(
            parse("sqlite:///srv/a.db").unwrap().address,
            Address::Sqlite { path: "/srv/a.db".into(), create: false }
        );
        for (url, why) in
            [("sqlite::memory:", "no file"), ("sqlite:x?cache=shared", "`mode=ro`"), ("sqlite:", "no file")]
        {
            assert!(parse(url).unwrap_err().contains(why), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for url in ["mysql://u:s3cret@h/d", "s3cret", "postgres://u:s3cret@h:70000/d", "postgres://u@h/d?s3cret=1"] {
            let said = parse(url).unwrap_err();
            assert!(!said.contains("s3cret"), "{said}");
        }
        assert!(parse("postgres://u@h/d?pasword=x").unwrap_err().contains("`pasword`"));
    }

    #[test]
    fn a_connection_that_is_not_there_says_where_to_write_it() {
        let said = Connections::default().target("app", &place()).unwrap_err();
        assert!(said.contains("[connections.app]") && said.contains("RUNWARD_CONNECTIONS_APP_URL"), "{said}");
        let url = Source::Secret(Provider::Env("RUNWARD_TEST_NO_URL".into()));
        let connections =
            Connections([("app".to_owned(), Connection { url, password: None, read_only: false })].into());
        let said = connections.target("app", &place()).unwrap_err();
        assert!(
            said.starts_with("the URL of the connection `app` cannot be had from the environment variable"),
            "{said}"
        );
    }
}
