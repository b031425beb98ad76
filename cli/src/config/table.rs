//! Every setting there is, said once. The file, the environment, the flags, `runward config show` and the page
//! docs/configuration.md all come from this table; a key that is not in it is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use runward_engine::limits;
use runward_engine::runbook::syntax::Syntax;
use runward_engine::units::{format_duration, format_size, parse_duration, parse_size};
use runward_workers::outbox::Directory;
use runward_workers::reach::Http;
use runward_workers::reach::addresses::Network;
use runward_workers::reach::connections::Connection;
use serde_json::{Value, json};

use super::database::DatabaseUrl;
use super::redis::RedisUrl;
use crate::open::{default_key_file, default_root};

/// What is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// None: the place of the XDG specification.
    pub state: Option<PathBuf>,
    /// None: the ledger is a file in the state folder.
    pub database: Option<DatabaseUrl>,
    /// None: no hints, and steps start at the pace of the sweepers.
    pub redis: Option<RedisUrl>,
    pub worker: Worker,
    /// Where runbooks are looked up by name, in order; never empty.
    pub runbooks: Vec<PathBuf>,
    pub secrets: Secrets,
    pub audit: Audit,
    /// Databases that `sql` steps name.
    pub connections: BTreeMap<String, Connection>,
    /// What requests of steps may do.
    pub http: Http,
    pub log: Log,
    pub retention: Retention,
    /// Output kept of one attempt, in bytes.
    pub log_bytes_max: u64,
    /// Runs that may wait for one concurrency group.
    pub queued_max: u32,
    /// Who is told what. Only the file says so: there is no variable and no flag for it.
    pub notify: Directory,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
    /// None: standard error.
    pub file: Option<PathBuf>,
}

/// How `runward worker` works where its flags say nothing, and where it and `runward server` say how they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    pub labels: BTreeSet<String>,
    /// Steps it carries out at once.
    pub concurrency: NonZeroU32,
    /// None: nowhere.
    pub listen: Option<SocketAddr>,
}

/// The sealed secrets of this machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Secrets {
    /// None: in the state folder.
    pub file: Option<PathBuf>,
    /// None: the place of the XDG specification.
    pub key_file: Option<PathBuf>,
}

/// Anchors of the record ([`runward_workers::care::anchor`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// None: nowhere.
    pub anchors: Option<PathBuf>,
    pub anchor_every: Duration,
}

/// What `runward db prune` leaves alone where its flags say nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retention {
    pub older_than: Option<Duration>,
    pub keep: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        LEVELS[self as usize]
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            state: None,
            database: None,
            redis: None,
            worker: Worker { labels: BTreeSet::new(), concurrency: CONCURRENCY, listen: None },
            runbooks: vec![PathBuf::from("runbooks")],
            secrets: Secrets::default(),
            audit: Audit { anchors: None, anchor_every: ANCHOR_EVERY },
            connections: BTreeMap::new(),
            http: Http::default(),
            log: Log { level: Level::Warn, format: LogFormat::Text, file: None },
            retention: Retention::default(),
            log_bytes_max: limits::LOG_BYTES_MAX,
            queued_max: limits::QUEUED_MAX,
            notify: Directory::default(),
        }
    }
}

/// What a setting takes, as it is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A file or folder; relative to the file it is written in, elsewhere to the current folder.
    Path,
    /// One or a list of them; in the environment separated by `:`.
    Paths,
    /// It may hold a password.
    Url,
    /// One or a list of them; in the environment separated by `,`.
    Labels,
    /// One or a list of them; in the environment separated by `,`.
    Networks,
    /// Where something listens, as `127.0.0.1:8080`.
    Address,
    Choice(&'static [&'static str]),
    Duration,
    Size,
    Count,
}

impl Takes {
    pub fn words(self) -> String {
        match self {
            Takes::Path => "path".to_owned(),
            Takes::Paths => "path, or list of paths".to_owned(),
            Takes::Url => "URL".to_owned(),
            Takes::Labels => "label, or list of labels".to_owned(),
            Takes::Networks => "network, or list of networks".to_owned(),
            Takes::Address => "address and port".to_owned(),
            Takes::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Takes::Duration => "duration".to_owned(),
            Takes::Size => "size".to_owned(),
            Takes::Count => "number".to_owned(),
        }
    }
}

pub struct Setting {
    /// As it stands in the file: `log.level` is `level` under `[log]`.
    pub key: &'static str,
    pub env: &'static str,
    pub flag: Option<&'static str>,
    pub takes: Takes,
    /// In words, where it is not a plain value.
    pub default: &'static str,
    pub about: &'static str,
    /// Takes texts: one, or for [`Takes::Paths`] and [`Takes::Labels`] any number but none. Says what is wrong with them.
    pub read: fn(&mut Settings, &[String]) -> Result<(), String>,
    pub show: fn(&Settings) -> Value,
}

const CONCURRENCY: NonZeroU32 = NonZeroU32::new(16).expect("it is not 0");
/// Each running step is two processes and more.
const CONCURRENCY_MAX: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not 0");
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug"];
const PRIVATE: &[&str] = &["allow", "deny"];
const FORMATS: &[&str] = &["text", "json"];

pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "state",
        env: "RUNWARD_STATE",
        flag: Some("--state"),
        takes: Takes::Path,
        default: "`$XDG_STATE_HOME/runward`, else `~/.local/state/runward`",
        about: "Folder that holds the ledger and the runs",
        read: |settings, texts| path(texts).map(|path| settings.state = Some(path)),
        show: |settings| json!(settings.state.clone().or_else(default_root)),
    },
    Setting {
        key: "database.url",
        env: "RUNWARD_DATABASE_URL",
        flag: None,
        takes: Takes::Url,
        default: "none: a file in the state folder",
        about: "Postgres that holds the ledger, as `postgres://user:password@host:port/database`; never shown with its password",
        read: |settings, texts| {
            settings.database = Some(DatabaseUrl::new(one(texts)?));
            Ok(())
        },
        show: |settings| json!(settings.database.as_ref().map(DatabaseUrl::place)),
    },
    Setting {
        key: "redis.url",
        env: "RUNWARD_REDIS_URL",
        flag: None,
        takes: Takes::Url,
        default: "none: steps start at the pace of the sweeper",
        about: "Redis that tells workers at once of what is ready, as `redis://user:password@host:port`; never shown with its password",
        read: |settings, texts| {
            settings.redis = Some(RedisUrl::new(one(texts)?));
            Ok(())
        },
        show: |settings| json!(settings.redis.as_ref().map(RedisUrl::place)),
    },
    Setting {
        key: "worker.labels",
        env: "RUNWARD_WORKER_LABELS",
        flag: Some("--labels"),
        takes: Takes::Labels,
        default: "none: steps without `runs-on`",
        about: "What this host is or has: its worker takes the steps whose `runs-on` asks for nothing else",
        read: |settings, texts| labels(texts).map(|labels| settings.worker.labels = labels),
        show: |settings| json!(settings.worker.labels),
    },
    Setting {
        key: "worker.concurrency",
        env: "RUNWARD_WORKER_CONCURRENCY",
        flag: Some("--concurrency"),
        takes: Takes::Count,
        default: "`16`",
        about: "Steps that the worker of this host carries out at once",
        read: |settings, texts| concurrency(one(texts)?).map(|count| settings.worker.concurrency = count),
        show: |settings| json!(settings.worker.concurrency),
    },
    Setting {
        key: "worker.listen",
        env: "RUNWARD_WORKER_LISTEN",
        flag: Some("--listen"),
        takes: Takes::Address,
        default: "none: nowhere",
        about: "Where worker and server answer `/healthz` and `/readyz`, such as `127.0.0.1:9180`",
        read: |settings, texts| listen(one(texts)?).map(|address| settings.worker.listen = Some(address)),
        show: |settings| json!(settings.worker.listen.map(|address| address.to_string())),
    },
    Setting {
        key: "runbooks",
        env: "RUNWARD_RUNBOOKS",
        flag: None,
        takes: Takes::Paths,
        default: "`runbooks`",
        about: "Folders in which runbooks are looked up by name, the first match wins",
        read: |settings, texts| paths(texts).map(|paths| settings.runbooks = paths),
        show: |settings| json!(settings.runbooks),
    },
    Setting {
        key: "secrets.file",
        env: "RUNWARD_SECRETS_FILE",
        flag: None,
        takes: Takes::Path,
        default: "`secrets.sealed` in the state folder",
        about: "File of the sealed secrets of this machine",
        read: |settings, texts| path(texts).map(|path| settings.secrets.file = Some(path)),
        show: |settings| json!(settings.secrets.file),
    },
    Setting {
        key: "secrets.key-file",
        env: "RUNWARD_SECRETS_KEY_FILE",
        flag: None,
        takes: Takes::Path,
        default: "`$XDG_CONFIG_HOME/runward/secrets.key`, else `~/.config/runward/secrets.key`",
        about: "File of the key of the sealed secrets, which nobody else may read; the key itself can be in `RUNWARD_SECRETS_KEY`",
        read: |settings, texts| path(texts).map(|path| settings.secrets.key_file = Some(path)),
        show: |settings| json!(settings.secrets.key_file.clone().or_else(default_key_file)),
    },
    Setting {
        key: "audit.anchors",
        env: "RUNWARD_AUDIT_ANCHORS",
        flag: None,
        takes: Takes::Path,
        default: "none: nowhere",
        about: "File to which `runward server` and `runward audit anchor` add how far the record has come",
        read: |settings, texts| path(texts).map(|path| settings.audit.anchors = Some(path)),
        show: |settings| json!(settings.audit.anchors),
    },
    Setting {
        key: "audit.anchor-every",
        env: "RUNWARD_AUDIT_ANCHOR_EVERY",
        flag: None,
        takes: Takes::Duration,
        default: "`1h`",
        about: "How often `runward server` does so",
        read: |settings, texts| {
            let every = parse_duration(one(texts)?).map_err(|error| error.to_string())?;
            if every < ANCHOR_EVERY_MIN {
                return Err(format!("it is too often: at least {}", format_duration(ANCHOR_EVERY_MIN)));
            }
            settings.audit.anchor_every = every;
            Ok(())
        },
        show: |settings| json!(format_duration(settings.audit.anchor_every)),
    },
    Setting {
        key: "http.private",
        env: "RUNWARD_HTTP_PRIVATE",
        flag: None,
        takes: Takes::Choice(PRIVATE),
        default: "`allow`",
        about: "Whether `http` steps may ask this machine and private networks",
        read: |settings, texts| choice(PRIVATE, texts).map(|at| settings.http.addresses.public_only = at == 1),
        show: |settings| json!(PRIVATE[usize::from(settings.http.addresses.public_only)]),
    },
    Setting {
        key: "http.allow",
        env: "RUNWARD_HTTP_ALLOW",
        flag: None,
        takes: Takes::Networks,
        default: "none",
        about: "Networks that `http` steps may ask although they are closed otherwise, such as `10.0.0.0/8`",
        read: |settings, texts| networks(texts).map(|networks| settings.http.addresses.allow = networks),
        show: |settings| json!(settings.http.addresses.allow),
    },
    Setting {
        key: "http.deny",
        env: "RUNWARD_HTTP_DENY",
        flag: None,
        takes: Takes::Networks,
        default: "none",
        about: "Networks that `http` steps never ask; link-local addresses and others where clouds keep their keys are closed in any case",
        read: |settings, texts| networks(texts).map(|networks| settings.http.addresses.deny = networks),
        show: |settings| json!(settings.http.addresses.deny),
    },
    Setting {
        key: "http.ca-file",
        env: "RUNWARD_HTTP_CA_FILE",
        flag: None,
        takes: Takes::Path,
        default: "none",
        about: "Authorities that `http` steps trust besides those of the system, as PEM",
        read: |settings, texts| path(texts).map(|path| settings.http.ca_file = Some(path)),
        show: |settings| json!(settings.http.ca_file),
    },
    Setting {
        key: "http.certificate",
        env: "RUNWARD_HTTP_CERTIFICATE",
        flag: None,
        takes: Takes::Path,
        default: "none",
        about: "Certificate that `http` steps show to servers that ask for one, as PEM; it needs `http.key`",
        read: |settings, texts| path(texts).map(|path| settings.http.certificate = Some(path)),
        show: |settings| json!(settings.http.certificate),
    },
    Setting {
        key: "http.key",
        env: "RUNWARD_HTTP_KEY",
        flag: None,
        takes: Takes::Path,
        default: "none",
        about: "Its key, a file that nobody else may read",
        read: |settings, texts| path(texts).map(|path| settings.http.key = Some(path)),
        show: |settings| json!(settings.http.key),
    },
    Setting {
        key: "log.level",
        env: "RUNWARD_LOG",
        flag: Some("--log-level"),
        takes: Takes::Choice(LEVELS),
        default: "`warn`",
        about: "How much runward says about its own work",
        read: |settings, texts| {
            let levels = [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug];
            choice(LEVELS, texts).map(|at| settings.log.level = levels[at])
        },
        show: |settings| json!(settings.log.level.as_str()),
    },
    Setting {
        key: "log.format",
        env: "RUNWARD_LOG_FORMAT",
        flag: None,
        takes: Takes::Choice(FORMATS),
        default: "`text`",
        about: "Lines for people, or one JSON object a line",
        read: |settings, texts| {
            choice(FORMATS, texts).map(|at| settings.log.format = [LogFormat::Text, LogFormat::Json][at])
        },
        show: |settings| json!(FORMATS[settings.log.format as usize]),
    },
    Setting {
        key: "log.file",
        env: "RUNWARD_LOG_FILE",
        flag: None,
        takes: Takes::Path,
        default: "standard error",
        about: "File the log is appended to",
        read: |settings, texts| path(texts).map(|path| settings.log.file = Some(path)),
        show: |settings| json!(settings.log.file),
    },
    Setting {
        key: "retention.older-than",
        env: "RUNWARD_RETENTION_OLDER_THAN",
        flag: None,
        takes: Takes::Duration,
        default: "none",
        about: "`runward db prune` removes only runs that ended longer ago, where it is not told by a flag",
        read: |settings, texts| {
            let duration = parse_duration(one(texts)?).map_err(|error| error.to_string())?;
            settings.retention.older_than = Some(duration);
            Ok(())
        },
        show: |settings| json!(settings.retention.older_than.map(format_duration)),
    },
    Setting {
        key: "retention.keep",
        env: "RUNWARD_RETENTION_KEEP",
        flag: None,
        takes: Takes::Count,
        default: "none",
        about: "`runward db prune` keeps so many of the runs of each runbook that ended last, where it is not told by a flag",
        read: |settings, texts| {
            settings.retention.keep = Some(count(texts)?);
            Ok(())
        },
        show: |settings| json!(settings.retention.keep),
    },
    Setting {
        key: "limits.log-bytes",
        env: "RUNWARD_LIMITS_LOG_BYTES",
        flag: None,
        takes: Takes::Size,
        default: "`128MiB`",
        about: "Output kept of one attempt; beyond it the head and the tail are kept, half each",
        read: |settings, texts| {
            let bytes = parse_size(one(texts)?).map_err(|error| error.to_string())?;
            if bytes < LOG_BYTES_MIN {
                return Err(format!("{} is too little: at least {}", format_size(bytes), format_size(LOG_BYTES_MIN)));
            }
            settings.log_bytes_max = bytes;
            Ok(())
        },
        show: |settings| json!(format_size(settings.log_bytes_max)),
    },
    Setting {
        key: "limits.queued-runs",
        env: "RUNWARD_LIMITS_QUEUED_RUNS",
        flag: None,
        takes: Takes::Count,
        default: "`10000`",
        about: "Runs that wait for one concurrency group; the next one is refused",
        read: |settings, texts| count(texts).map(|count| settings.queued_max = count),
        show: |settings| json!(settings.queued_max),
    },
];

const ANCHOR_EVERY: Duration = Duration::from_secs(3600);
/// Each time the ledger is asked where every run of it ends.
const ANCHOR_EVERY_MIN: Duration = Duration::from_secs(1);

/// Less of a step's output explains nothing.
const LOG_BYTES_MIN: u64 = 64 * 1024;

fn one(texts: &[String]) -> Result<&str, String> {
    match texts {
        [text] if !text.is_empty() => Ok(text),
        [_] => Err("it is empty".to_owned()),
        _ => Err("it takes one value".to_owned()),
    }
}

fn count(texts: &[String]) -> Result<u32, String> {
    let text = one(texts)?;
    text.parse().map_err(|_| format!("`{text}` is not a number from 0 to {}", u32::MAX))
}

/// Steps that a worker carries out at once.
pub fn concurrency(text: &str) -> Result<NonZeroU32, String> {
    let count = text.parse().ok().filter(|count: &NonZeroU32| *count <= CONCURRENCY_MAX);
    count.ok_or_else(|| format!("`{text}` is not a number from 1 to {CONCURRENCY_MAX}"))
}

/// Where something listens. A name is not looked up: it can mean another place tomorrow.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address and a port: write 127.0.0.1:9180, or 0.0.0.0:9180 to let other hosts ask")
    })
}

/// What a host is or has, as `runs-on` names it.
pub fn label(text: &str) -> Result<String, String> {
    match Syntax::Label.check(text) {
        Ok(()) => Ok(text.to_owned()),
        Err((message, help)) => Err(help.map_or(message.clone(), |help| format!("{message}: {help}"))),
    }
}

fn labels(texts: &[String]) -> Result<BTreeSet<String>, String> {
    if texts.is_empty() {
        return Err("it names no label".to_owned());
    }
    texts.iter().map(|text| label(text)).collect()
}

fn networks(texts: &[String]) -> Result<Vec<Network>, String> {
    if texts.is_empty() {
        return Err("it names no network".to_owned());
    }
    texts.iter().map(|text| text.parse()).collect()
}

fn path(texts: &[String]) -> Result<PathBuf, String> {
    let text = one(texts)?;
    if text == "~" || text.starts_with("~/") {
        return Err(format!("`{text}`: only a shell knows what `~` is; write the whole path"));
    }
    Ok(PathBuf::from(text))
}

fn paths(texts: &[String]) -> Result<Vec<PathBuf>, String> {
    if texts.is_empty() {
        return Err("it names no folder".to_owned());
    }
    texts.iter().map(|text| path(std::slice::from_ref(text))).collect()
}

fn choice(words: &[&str], texts: &[String]) -> Result<usize, String> {
    let text = one(texts)?;
    words.iter().position(|word| *word == text).ok_or_else(|| {
        let guess = runward_engine::runbook::report::did_you_mean(text, words.iter().copied());
        let guess = guess.map(|guess| format!(": {guess}")).unwrap_or_default();
        format!("{} is none of {}{guess}", runward_engine::runbook::report::quoted(text), words.join(", "))
    })
}

#[cfg(test)]
mod tests;
