//! `runward worker`, and `runward server` in a cluster: this process as a member of it, until it is asked to end.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use runward_store::{LedgerError, PostgresLedger, Trouble};
use runward_workers::care::anchor::Anchoring;
use runward_workers::outbox::Scope;
use runward_workers::scheduler::Scheduling;
use runward_workers::supervisor::journal;
use runward_workers::worker::{self, Hands, Member, Pace, Stop, Unusable, queue_of};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::actor::actor;
use crate::args::{MemberArgs, WorkerArgs};
use crate::config::{Config, DatabaseUrl, Settings};
use crate::failure::{EXIT_LEDGER, Failure};
use crate::open::{home, new_claim, new_session, zone_name};
use crate::timetable::Timetable;
use crate::{letters, refusal, text};

/// Between two tries to reach a database that is away.
const AGAIN: Duration = Duration::from_secs(2);

pub async fn worker(config: &Config, args: WorkerArgs) -> Result<i32, Failure> {
    let configured = &config.settings.worker;
    let labels = match args.labels.is_empty() {
        true => configured.labels.clone(),
        false => args.labels.into_iter().collect(),
    };
    let concurrency = args.concurrency.unwrap_or(configured.concurrency);
    let concurrency = NonZeroUsize::try_from(concurrency).expect("this is no machine of 16 bits");
    let hands = Hands { labels, concurrency };
    member(config, args.member, Some(hands), args.drain_timeout).await
}

pub(super) async fn member(
    config: &Config,
    args: MemberArgs,
    hands: Option<Hands>,
    drain_timeout: Duration,
) -> Result<i32, Failure> {
    let settings = &config.settings;
    let Some(database) = &settings.database else {
        return Err(Failure::usage("a cluster needs a ledger in Postgres: no `database.url` is configured").help(
            "set RUNWARD_DATABASE_URL=postgres://USER:PASSWORD@HOST/DATABASE, or `database.url` in runward.toml; on one \
             machine `runward run` needs no worker",
        ));
    };
    let queue = match &settings.redis {
        Some(redis) => Some(queue_of(redis.address().map_err(|error| Failure::usage(format!("redis.url: {error}")))?)),
        None => None,
    };
    let home = home(settings)?;
    let boot = boot()?;
    let (say, mut stop) = watch::channel(Stop::No);
    listen_to_signals(say)?;
    let ledger = tokio::select! {
        ledger = reach(database) => ledger?,
        _ = stop.wait_for(|stop| *stop > Stop::No) => return Ok(0),
    };
    let ledger = Arc::new(ledger);
    let scheduling = hands.is_none().then(|| scheduling(ledger.clone(), settings));
    let is_server = hands.is_none();
    let postman = hands.is_none().then(|| letters::postman(ledger.clone(), settings, &home, Scope::All));
    let member = Member {
        home,
        ledger,
        queue,
        hands,
        host: args.name.unwrap_or_else(host),
        supervisor: PathBuf::from("/proc/self/exe"),
        actor: actor(),
        boot,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        new_session,
        new_claim,
        log_bytes_max: settings.log_bytes_max,
        pace: Pace::in_force(),
        drain_timeout,
        listen: args.listen.or(settings.worker.listen),
        anchoring: is_server.then(|| anchoring(settings)).flatten(),
    };
    worker::run(member, scheduling, postman, stop).await?;
    Ok(0)
}

/// Where a server notes how far the record has come.
pub(super) fn anchoring(settings: &Settings) -> Option<Anchoring> {
    let file = settings.audit.anchors.clone()?;
    Some(Anchoring { file, every: settings.audit.anchor_every })
}

/// The ledger, as soon as it is there. What no waiting mends is said at once.
async fn reach(database: &DatabaseUrl) -> Result<PostgresLedger, Failure> {
    let mut told = false;
    loop {
        match PostgresLedger::open(database.whole()).await {
            Ok(ledger) => return Ok(ledger),
            Err(LedgerError::Server(error)) if error.trouble == Trouble::Unreachable => {
                if !told {
                    warn!("{error}; it is tried again until it is there");
                    told = true;
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The first one asks for an orderly end, the second one for an end.
pub(super) fn listen_to_signals(say: watch::Sender<Stop>) -> Result<(), Failure> {
    let cannot = |error| Failure::new(EXIT_LEDGER, format!("signals cannot be listened to: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    tokio::spawn(async move {
        for stop in [Stop::Drain, Stop::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!("asked to end");
            let _ = say.send(stop); // it is over already
        }
        std::future::pending::<()>().await;
    });
    Ok(())
}

/// What tells this start of the machine from others.
pub(super) fn boot() -> Result<String, Failure> {
    journal::boot_id().map_err(|error| {
        Failure::new(EXIT_LEDGER, format!("/proc/sys/kernel/random/boot_id cannot be read: {error}"))
            .help("runward needs a mounted /proc")
    })
}

/// Fires the schedules of the runbooks that are configured.
pub(super) fn scheduling(timetable: Arc<dyn runward_store::Timetable>, settings: &Settings) -> Scheduling {
    let zone = zone_name().parse().unwrap_or(Tz::UTC);
    Scheduling { timetable, runbooks: Box::new(Timetable::of(settings)), zone, pace: Pace::in_force() }
}

pub fn host() -> String {
    nix::unistd::gethostname().ok().map(|host| host.to_string_lossy().into_owned()).unwrap_or_default()
}

impl From<Unusable> for Failure {
    fn from(error: Unusable) -> Failure {
        match error {
            Unusable::Home(error) => error.into(),
            Unusable::Taken { folder, holder } => Failure::usage(format!(
                "a server or worker lives in the state folder {} already: {}",
                text::safe(&folder.display().to_string()),
                refusal::holder(&holder)
            ))
            .help(
                "there is one for each state folder: end that one, or give this one a folder of its own with --state",
            ),
            Unusable::Twin { .. } => Failure::usage(error.to_string()).help(
                "a state folder is never copied: give whoever has the copy an empty folder of its own (--state), and keep it \
                 out of images of machines; `runward workers` says who is there",
            ),
            Unusable::Listen { .. } => {
                Failure::usage(error.to_string()).help("name an address of this host and a free port with --listen")
            }
        }
    }
}
