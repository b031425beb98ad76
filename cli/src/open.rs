//! What every command that touches runs needs: where they are kept, the ledger, and which run is meant.
//!
//! Here is decided, once, whether that is this machine or a cluster.

use std::path::PathBuf;
use std::sync::Arc;

use runward_engine::run::{ClaimId, RunId, RunState, SessionId, Unit};
use runward_engine::runbook::model::Runbook;
use runward_store::{Ledger, LedgerError, Outbox, PrunedRun, RunQuery, SqliteLedger, Timetable};
use runward_workers::home::{DriverLock, DriverLockError, Home};
use runward_workers::reach::Reach;
use runward_workers::reach::connections::Connections;
use uuid::Uuid;

use crate::actor::actor;
use crate::cluster::Cluster;
use crate::config::{Config, Settings};
use crate::drivers::{Driver, Drivers};
use crate::failure::Failure;
use crate::text;

pub struct Opened {
    pub place: Place,
    pub settings: Settings,
    /// The configuration file in force, for a process that goes on in the background.
    pub config: Option<PathBuf>,
}

pub enum Place {
    /// This machine: a ledger in the state folder, and a process for each run.
    Here(Here),
    /// A database that many machines use; their workers carry the runs on.
    Cluster(Cluster),
}

pub struct Here {
    pub home: Home,
    pub ledger: Arc<SqliteLedger>,
}

/// What somebody has to have who begins something in a run.
pub enum Seat<'a> {
    /// The right to drive it, which one process has.
    Driver(&'a Home, DriverLock),
    /// In a cluster nobody needs one: the workers drive, and whoever begins something looks on.
    Onlooker,
}

/// Opens the ledger: the database that is configured, or that of the state folder.
pub async fn open(config: &Config) -> Result<Opened, Failure> {
    let place = match &config.settings.database {
        Some(database) => Place::Cluster(Cluster::open(database.whole(), &config.settings).await?),
        None => Place::Here(open_here(config).await?),
    };
    Ok(Opened { place, settings: config.settings.clone(), config: config.file.clone() })
}

/// Opens the state folder and the ledger in it.
pub async fn open_here(config: &Config) -> Result<Here, Failure> {
    if let Some(database) = &config.settings.database {
        let message = format!("this command is about the folders of one machine; the ledger is {}", database.place());
        return Err(Failure::usage(message).help(
            "to use it on the state folder of this machine, take `database.url` out of the configuration, or `unset \
             RUNWARD_DATABASE_URL`",
        ));
    }
    let home = home(&config.settings)?;
    let ledger = Arc::new(SqliteLedger::open(&home.ledger()).await?);
    Ok(Here { home, ledger })
}

impl Opened {
    pub fn ledger(&self) -> &dyn Ledger {
        match &self.place {
            Place::Here(here) => &*here.ledger,
            Place::Cluster(cluster) => &*cluster.ledger,
        }
    }

    /// The same ledger, as those know it who fire schedules.
    pub fn timetable(&self) -> &dyn Timetable {
        match &self.place {
            Place::Here(here) => &*here.ledger,
            Place::Cluster(cluster) => &*cluster.ledger,
        }
    }

    /// The same ledger, as those know it who tell people.
    pub fn outbox(&self) -> Arc<dyn Outbox> {
        match &self.place {
            Place::Here(here) => Arc::clone(&here.ledger) as Arc<dyn Outbox>,
            Place::Cluster(cluster) => Arc::clone(&cluster.ledger) as Arc<dyn Outbox>,
        }
    }

    /// The state folder, where it is the place of the runs.
    pub fn home(&self) -> Option<&Home> {
        match &self.place {
            Place::Here(here) => Some(&here.home),
            Place::Cluster(_) => None,
        }
    }

    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.place {
            Place::Here(_) => None,
            Place::Cluster(cluster) => Some(cluster),
        }
    }

    /// Something was recorded in this run. On this machine its driver looks by itself.
    pub async fn tell(&self, state: &RunState) {
        if let Some(cluster) = self.cluster() {
            cluster.tell(state).await;
        }
    }

    pub fn drivers(&self) -> Drivers {
        self.home().map_or(Drivers::Workers, |home| Drivers::Of(home.clone()))
    }

    /// Who carries a run on now.
    pub fn driver(&self, run: &RunId) -> Driver {
        self.drivers().of(run)
    }

    /// Takes the right to begin something in a run.
    pub fn seat(&self, run: &RunId) -> Result<Seat<'_>, DriverLockError> {
        match &self.place {
            Place::Here(here) => Ok(Seat::Driver(&here.home, DriverLock::take(&here.home, run, &actor())?)),
            Place::Cluster(_) => Ok(Seat::Onlooker),
        }
    }

    /// What the database itself complains about.
    pub async fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        match &self.place {
            Place::Here(here) => here.ledger.integrity().await,
            Place::Cluster(cluster) => cluster.ledger.integrity().await,
        }
    }
}

impl Seat<'_> {
    /// Nothing came of the run.
    pub fn forget(self, run: &RunId) {
        if let Seat::Driver(home, lock) = self {
            drop(lock);
            home.forget(run);
        }
    }
}

pub fn home(settings: &Settings) -> Result<Home, Failure> {
    let root = match &settings.state {
        Some(root) => root.clone(),
        None => default_root().ok_or_else(|| {
            Failure::usage("there is no place for the ledger: neither XDG_STATE_HOME nor HOME is set")
                .help("name a folder with --state DIR or RUNWARD_STATE, or as `state` in runward.toml")
        })?,
    };
    let key_file = settings.secrets.key_file.clone().or_else(default_key_file);
    let reach = Reach { connections: Connections(settings.connections.clone()), http: settings.http.clone() };
    Ok(Home::open(&root)?.with_sealed(settings.secrets.file.clone(), key_file).with_reach(reach))
}

/// `$XDG_CONFIG_HOME/runward/secrets.key`, by default in `~/.config`: not where the secrets are, whose copies are worth
/// nothing without it.
pub fn default_key_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("runward/secrets.key"))
}

/// `$XDG_STATE_HOME/runward`, by default `~/.local/state/runward` (XDG Base Directory Specification).
pub fn default_root() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("runward"))
}

pub fn new_run() -> RunId {
    RunId(Uuid::now_v7().to_string())
}

pub fn new_claim() -> ClaimId {
    ClaimId(Uuid::now_v7().to_string())
}

pub fn new_session() -> SessionId {
    SessionId(Uuid::now_v7().to_string())
}

/// Jitter is drawn from it.
pub fn new_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

/// The zone of this machine, where the runbook names times without one: the run keeps it. Without a name it is UTC.
pub fn system_zone<'a>(mut runbooks: impl Iterator<Item = &'a Runbook>) -> Option<String> {
    runbooks.any(Runbook::reads_system_zone).then(zone_name)
}

/// `Europe/Berlin`.
pub fn zone_name() -> String {
    let set = std::env::var("TZ").ok().map(|zone| zone.trim_start_matches(':').to_owned());
    let named = set.filter(|zone| zone.parse::<chrono_tz::Tz>().is_ok());
    named.or_else(|| iana_time_zone::get_timezone().ok()).unwrap_or_else(|| "UTC".to_owned())
}

/// Stands before the key of a run, where one is named.
const BY_KEY: &str = "key:";

/// The run somebody means by an id, the beginning or end of one, by the key it was started with, or `last`.
pub async fn find_run(ledger: &dyn Ledger, text: &str) -> Result<RunId, Failure> {
    if text == "last" {
        let newest = ledger.runs(&RunQuery { limit: Some(1), without_children: true, ..RunQuery::default() }).await?;
        let newest = newest.into_iter().next();
        return newest.map(|row| row.id).ok_or_else(|| Failure::usage("there are no runs yet"));
    }
    if let Some(key) = text.strip_prefix(BY_KEY) {
        let found = ledger.runs(&RunQuery { key: Some(key.to_owned()), ..RunQuery::default() }).await?;
        let found = found.into_iter().next().map(|row| row.id);
        return found.ok_or_else(|| {
            Failure::usage(format!("no run was started with the key `{key}`"))
                .help("`runward runs` lists the runs; a run has the key that `runward run --key` gave it")
        });
    }
    if text.len() < 4 {
        return Err(Failure::usage(format!(
            "`{text}` is too short to name a run: give at least 4 characters of its id"
        )));
    }
    let mut found = ledger.find(text).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(no_run(ledger, text).await?),
        n => Err(Failure::usage(format!("{n} runs have an id that begins or ends with `{text}`"))
            .help("give more characters: the last ones differ most")),
    }
}

/// The run that is nobody's step, and that this one is carried on with: itself, mostly.
pub async fn top(opened: &Opened, state: &RunState) -> Result<RunState, Failure> {
    let mut top = state.clone();
    while let Some(above) = &top.parent {
        top = opened.ledger().load(&above.run).await?.state;
    }
    Ok(top)
}

/// A run that is a step of another one begins a generation only with that: else the two would say different things.
pub async fn refuse_child(opened: &Opened, state: &RunState) -> Result<(), Failure> {
    let Some(parent) = &state.parent else { return Ok(()) };
    let top = top(opened, state).await?.id;
    let message = format!("run {} is the step `{}` of run {}", state.id, parent.step, parent.run);
    let short = crate::view::words::short(&top.0);
    Err(Failure::usage(message).help(match opened.driver(&top) {
        Driver::Process(holder) => format!(
            "{} drives both: `runward logs -f {short}` follows them, `runward cancel {short}` stops them",
            crate::refusal::holder(&holder)
        ),
        Driver::Workers | Driver::Nobody => format!("`runward resume {short}` carries both on"),
    }))
}

/// A step of the run, or an item of one, by its name.
pub fn find_unit(state: &RunState, name: &str) -> Result<Unit, Failure> {
    if let Some(unit) = state.unit_named(name) {
        return Ok(unit);
    }
    let (owner, part) = name.split_once('.').map_or((name, None), |(owner, part)| (owner, Some(part)));
    let step = state.step_named(owner.split_once('[').map_or(owner, |(step, _)| step));
    let Some(step) = step else { return Err(no_step(state, name)) };
    let id = &state.spec(step).id;
    if let (Some(part), Some(_)) = (part, state.unit_named(owner)) {
        let known = matches!(part, "undo" | "check");
        let help = if known { format!("`{owner}` has had no {part} yet") } else { "parts: .undo, .check".to_owned() };
        return Err(Failure::usage(format!("this run has no step `{name}`")).help(help));
    }
    let help = match &state.step(step).items {
        Some(items) if !items.units.is_empty() => format!("its items are {id}[0] to {id}[{}]", items.units.len() - 1),
        Some(_) => format!("`{id}` has no items"),
        None if state.spec(step).for_each.is_some() => format!("its items are not known yet; the whole step is `{id}`"),
        None => format!("`{id}` has no `for-each`: name it without the item"),
    };
    Err(Failure::usage(format!("this run has no step `{name}`")).help(help))
}

/// A step of the run by its id.
pub fn find_step(state: &RunState, id: &str) -> Result<u32, Failure> {
    state.step_named(id).ok_or_else(|| no_step(state, id))
}

fn no_step(state: &RunState, name: &str) -> Failure {
    const SHOWN: usize = 20;
    let all = &state.runbook.steps;
    let ids: Vec<&str> = all.iter().take(SHOWN).map(|step| step.id.as_str()).collect();
    let more = if all.len() > SHOWN { ", ..." } else { "" };
    Failure::usage(format!("this run has no step `{name}`")).help(format!("its steps: {}{more}", ids.join(", ")))
}

/// Nothing has this id now. Something may have had it.
async fn no_run(ledger: &dyn Ledger, text: &str) -> Result<Failure, Failure> {
    let record = ledger.administration().await?;
    let removed = record.iter().flat_map(|entry| entry.event.pruned().iter().map(move |run| (entry, run)));
    let named = |run: &PrunedRun| run.id.0.starts_with(text) || run.id.0.ends_with(text);
    Ok(match removed.into_iter().find(|(_, run)| named(run)) {
        Some((entry, run)) => Failure::usage(format!(
            "run {} of `{}`, which {}, was pruned at {} by {}",
            run.id,
            run.name,
            run.status,
            text::time(entry.at),
            entry.actor
        ))
        .help("its last hash is on the record: `runward audit verify --format json`"),
        None => Failure::usage(format!("no run has the id `{text}`")).help("`runward runs` lists the runs"),
    })
}
