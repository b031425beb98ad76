//! The cluster: its database, its queue, who is there, and what waits for somebody who is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use runward_engine::run::place::{ANY, ENGINE};
use runward_engine::units::{format_duration, format_size};
use runward_store::fleet::{Attended, Fleet, Session};
use runward_store::{Ledger, LedgerError, PostgresLedger, RunQuery, ServerHealth, ServerStatus};
use runward_workers::queue::redis::{RedisStatus, examine};
use runward_workers::worker::PREFIX;

use super::check::Check;
use super::database;
use crate::cluster::{Cluster, Members, waits_for_worker};
use crate::config::{DatabaseUrl, Settings};
use crate::failure::Failure;
use crate::text;
use crate::view::words;

/// Runs that are looked into, the newest: each is read whole.
const RUNS_READ: u32 = 200;
/// Named one by one; the rest is counted.
const NAMED: usize = 5;
/// Clocks further apart make the times on the record hard to compare.
const SKEW_MAX: Duration = Duration::from_secs(2);
/// A transaction that is open for longer keeps the server from cleaning up.
const TRANSACTION_LONG: Duration = Duration::from_secs(300);

/// Everything there is to say about it.
pub async fn examine_cluster(database: &DatabaseUrl, settings: &Settings) -> Vec<Check> {
    let status = PostgresLedger::status(database.whole()).await;
    let ready = status.as_ref().is_ok_and(|status| status.refusal().is_none());
    let mut checks = vec![judge_postgres(&database.place(), status)];
    let cluster = match ready {
        true => Cluster::open(database.whole(), settings).await.map_err(|failure| failure.summary().to_owned()),
        false => Err("the database is not ready".to_owned()),
    };
    let members = match &cluster {
        Ok(cluster) => {
            checks.extend(server(cluster).await);
            cluster.members().await.map_err(|error| error.to_string())
        }
        Err(why) => Err(why.clone()),
    };
    let labels: BTreeSet<String> = members
        .iter()
        .flat_map(|members| members.sessions.iter().flat_map(|session| session.new.labels.iter().cloned()))
        .chain([ANY.to_owned(), ENGINE.to_owned()])
        .collect();
    checks.push(redis(settings, &labels.into_iter().collect::<Vec<_>>()).await);
    match (&cluster, &members) {
        (Ok(cluster), Ok(members)) => {
            checks.push(judge_workers(members));
            checks.push(database::timeline(&cluster.ledger, &members.sessions).await);
            checks.extend(waiting(cluster, members).await);
        }
        (_, Err(why)) | (Err(why), _) => checks.push(Check::unknown("workers", why)),
    }
    checks
}

fn judge_postgres(place: &str, status: Result<ServerStatus, LedgerError>) -> Check {
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            return Check::fail("postgres", error.to_string(), error.help().unwrap_or("see the server's log"));
        }
    };
    if let Some(refusal) = status.refusal() {
        return Check::fail("postgres", refusal.to_string(), refusal.help());
    }
    let says = format!("{place}: version {}, schema {}", status.version, status.schema);
    if status.read_only {
        let fix = "on a standby nothing can be recorded: name the primary in the database URL; on the primary, take back \
                   what `SHOW default_transaction_read_only` says";
        return Check::fail("postgres", format!("{says}, read-only"), fix);
    }
    match status.acknowledges_early {
        true => Check::ok("postgres", format!("{says}; `synchronous_commit = off` is overruled by runward")),
        false => Check::ok("postgres", says),
    }
}

/// How the server is, beyond that it is there.
async fn server(cluster: &Cluster) -> Vec<Check> {
    let before = text::now();
    let clock = match cluster.ledger.now().await {
        Ok(now) => judge_clock(before, now, text::now()),
        Err(error) => Check::unknown("database clock", error.to_string()),
    };
    let load = match cluster.ledger.health().await {
        Ok(health) => judge_health(&health),
        Err(error) => Check::unknown("database load", error.to_string()),
    };
    let [line, standbys] = database::look(&cluster.ledger).await;
    vec![clock, load, line, standbys]
}

/// The server was asked between two looks at the clock of this host.
fn judge_clock(before: i64, server: i64, after: i64) -> Check {
    let apart = (before - server).max(server - after).max(0);
    let says = match apart {
        0 => "the same as here".to_owned(),
        ms if server < before => format!("{ms} ms behind this host"),
        ms => format!("{ms} ms ahead of this host"),
    };
    match Duration::from_millis(apart as u64) > SKEW_MAX {
        true => Check::warn(
            "database clock",
            says,
            "let NTP keep both clocks; nothing is decided by this host's, but times here and there do not fit",
        ),
        false => Check::ok("database clock", says),
    }
}

fn judge_health(health: &ServerHealth) -> Check {
    let (used, most) = (health.connections, health.connections_max);
    let says = format!("{used} of {most} connections");
    let since = Duration::from_millis(health.oldest_transaction_ms);
    if since > TRANSACTION_LONG {
        let who = health.oldest_transaction_of.as_deref().unwrap_or("somebody");
        let says = format!("{says}; a transaction of {who} is open for {}", format_duration(since));
        let fix = "end it (`SELECT pg_terminate_backend(PROCESS)`): as long as it is open nothing is cleaned up, and \
                   every look for what is ready takes longer";
        return Check::warn("database load", says, fix);
    }
    if used * 10 > most * 9 {
        let fix = "raise `max_connections`: each worker, server and command takes up to five";
        return Check::warn("database load", says, fix);
    }
    match health.checksums {
        true => Check::ok("database load", format!("{says}, with checksums")),
        false => Check::ok("database load", format!("{says}, without checksums (`pg_checksums --enable` adds them)")),
    }
}

async fn redis(settings: &Settings, labels: &[String]) -> Check {
    let Some(url) = &settings.redis else {
        return Check::ok("redis", "none configured: steps start within seconds, at the pace of the sweepers");
    };
    match url.address() {
        Ok(address) => judge_redis(&url.place(), examine(&address, PREFIX, labels).await),
        Err(error) => {
            Check::fail("redis", error.to_string(), "correct `redis.url` or RUNWARD_REDIS_URL, or take it out")
        }
    }
}

/// A Redis where there is no cluster: whoever wrote it takes this host for a part of one, and its runs are nowhere else.
pub fn redis_alone(settings: &Settings) -> Option<Check> {
    let url = settings.redis.as_ref()?;
    let says =
        format!("{} is configured, and no database: this host is in no cluster, its runs stay here", url.place());
    Some(Check::warn(
        "redis",
        says,
        "set `database.url` or RUNWARD_DATABASE_URL as on the other hosts, or take the Redis out",
    ))
}

fn judge_redis(place: &str, status: Result<RedisStatus, String>) -> Check {
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            let fix = "no run needs it: until it is back, steps start within seconds instead of at once";
            return Check::warn("redis", error, fix);
        }
    };
    let waiting: u64 = status.waiting.iter().map(|(_, count)| count).sum();
    let hints = text::count(waiting, "hint");
    let Some(server) = status.server else {
        return Check::ok("redis", format!("{place}: {hints} waiting; this user may not ask for more"));
    };
    let memory = format_size(server.memory_bytes);
    let says = format!("{place}: version {}, {memory} of memory, {hints} waiting", server.version);
    if server.replica {
        let fix = "let `redis.url` or RUNWARD_REDIS_URL name the primary: until then steps start within seconds instead of at once";
        return Check::warn("redis", format!("{says}; it is a replica, which takes no hints"), fix);
    }
    let full = server.memory_bytes_max > 0 && server.memory_bytes * 10 > server.memory_bytes_max * 9;
    if full {
        let most = format_size(server.memory_bytes_max);
        let fix = "raise its `maxmemory`, or give runward a Redis of its own: its hints take a few megabytes at most";
        return Check::warn("redis", format!("{says}; it may have {most}"), fix);
    }
    Check::ok("redis", says)
}

fn judge_workers(members: &Members) -> Check {
    let of = |session: &Session| match &session.new.labels[..] {
        _ if session.new.concurrency == 0 => format!("{} (server)", session.new.host),
        [] => session.new.host.clone(),
        labels => format!("{} ({})", session.new.host, labels.join(",")),
    };
    let there: Vec<String> = members.sessions.iter().filter(|it| members.is_there(it)).map(of).collect();
    let silent: Vec<&Session> = members
        .sessions
        .iter()
        .filter(|it| it.end.is_none() && !members.is_there(it) && !members.is_replaced(it))
        .collect();
    let workers = members.workers().count();
    if !silent.is_empty() {
        let named = |it: &&Session| {
            format!("{} (process {}), for {}", it.new.host, it.new.pid, format_duration(members.silence(it)))
        };
        let none = if workers == 0 { "none takes steps: nothing starts; " } else { "" };
        let says = format!("{none}silent: {}", some(silent.iter().map(named)));
        let fix = "look at that host: its network, its clock, its load; `runward worker` started again there takes its \
                   steps back at once";
        return Check::warn("workers", says, fix);
    }
    if workers == 0 {
        let fix = "start one: `runward worker`, on any host with this configuration";
        return Check::warn("workers", "none takes steps: nothing starts", fix);
    }
    let versions: BTreeSet<&str> = members.workers().map(|it| it.new.version.as_str()).collect();
    let versions = match versions.len() {
        0 | 1 => String::new(),
        _ => format!("; of versions {}", versions.into_iter().collect::<Vec<_>>().join(", ")),
    };
    Check::ok("workers", format!("{}{versions}", some(there.into_iter())))
}

/// What does not go on, and whose output is not there.
async fn waiting(cluster: &Cluster, members: &Members) -> Vec<Check> {
    let runs = match waiting_runs(cluster, members).await {
        Ok(found) => judge_runs(&found),
        Err(error) => Check::unknown("runs", error),
    };
    let attempts = match cluster.ledger.attended().await {
        Ok(attended) => judge_attempts(&attended, members),
        Err(error) => Check::unknown("attempts", error.to_string()),
    };
    let logs = match missing_logs(cluster, members).await {
        Ok(missing) => judge_logs(&missing),
        Err(error) => Check::unknown("output", error.to_string()),
    };
    vec![runs, attempts, logs]
}

#[derive(Debug, Default)]
struct Waiting {
    unfinished: usize,
    held: Vec<String>,
    /// Labels that no worker has, with a run that asks for them.
    lacks: BTreeMap<Vec<String>, String>,
    /// Groups of which such a run keeps a permit meanwhile, with the run.
    kept: BTreeMap<String, String>,
}

async fn waiting_runs(cluster: &Cluster, members: &Members) -> Result<Waiting, String> {
    let said = |error: LedgerError| Failure::from(error).summary().to_owned();
    let query = RunQuery { unfinished: true, limit: Some(RUNS_READ), ..RunQuery::default() };
    let rows = cluster.ledger.runs(&query).await.map_err(said)?;
    let mut found = Waiting { unfinished: rows.len(), ..Waiting::default() };
    for row in rows {
        let short = words::short(&row.id.0).to_owned();
        if row.held {
            found.held.push(short.clone());
        }
        match cluster.ledger.load(&row.id).await {
            Ok(view) => {
                let lacks = members.lacks(&view.state);
                let kept = view.state.group.as_ref().filter(|_| view.state.permit_at.is_some() && !lacks.is_empty());
                found.kept.extend(kept.map(|group| (group.name.clone(), short.clone())));
                lacks.into_iter().for_each(|labels| _ = found.lacks.entry(labels).or_insert_with(|| short.clone()));
            }
            Err(error) if error.is_about_one_run() => {} // `audit verify` says what is wrong with it
            Err(error) => return Err(said(error)),
        }
    }
    Ok(found)
}

fn judge_runs(found: &Waiting) -> Check {
    let mut says = Vec::new();
    let mut fixes = Vec::new();
    for (labels, run) in &found.lacks {
        says.push(format!("run {run} {}", waits_for_worker(labels).split(';').next().unwrap_or_default()));
        fixes.push(match &labels[..] {
            [] => "runward worker".to_owned(),
            labels => format!("runward worker --labels {}", labels.join(",")),
        });
    }
    for (group, run) in &found.kept {
        says.push(format!("run {run} keeps its permit of the group `{}` meanwhile", text::safe(group)));
        fixes.push(format!("runward cancel {run}, where others of the group shall go first"));
    }
    if !found.held.is_empty() {
        says.push(format!("{} held", text::count(found.held.len() as u64, "run")));
        let each = found.held.iter().map(|id| format!("runward show {id}, then runward resolve {id} STEP --as ..."));
        fixes.extend(each.take(NAMED));
    }
    match says.is_empty() {
        true => Check::ok("runs", format!("{} under way, none waits for anybody", found.unfinished)),
        false => Check::warn("runs", says.join("\n"), fixes.join("\n")),
    }
}

fn judge_attempts(attended: &[Attended], members: &Members) -> Check {
    let left: Vec<&Attended> = attended.iter().filter(|it| members.unheard(&it.watched_by.0)).collect();
    if left.is_empty() {
        return Check::ok("attempts", format!("{} running, each with a worker that is heard", attended.len()));
    }
    let runs: BTreeSet<&str> = left.iter().map(|it| words::short(&it.run.0)).collect();
    let says = format!(
        "nothing is heard of the worker of {}, in run {}",
        text::count(left.len() as u64, "running step"),
        some(runs.into_iter().map(str::to_owned))
    );
    let fix = "start `runward worker` again on that host, with the same state folder: it takes them back. Else they are lost \
               in half a minute where they may start twice, and in about ten minutes where they may not";
    Check::warn("attempts", says, fix)
}

/// Hosts that nobody hears, with the attempts whose output is there.
async fn missing_logs(cluster: &Cluster, members: &Members) -> Result<Vec<(String, usize)>, LedgerError> {
    let homes: BTreeMap<_, &Session> = members.sessions.iter().map(|it| (&it.new.home, it)).collect();
    let mut missing = Vec::new();
    for (home, session) in homes {
        let heard = members.sessions.iter().any(|it| it.new.home == *home && members.is_there(it));
        let left = cluster.ledger.unshipped(home).await?.into_iter().filter(|it| !it.running).count();
        if left > 0 && !heard {
            missing.push((session.new.host.clone(), left));
        }
    }
    Ok(missing)
}

fn judge_logs(missing: &[(String, usize)]) -> Check {
    if missing.is_empty() {
        return Check::ok("output", "all of what has ended is in the ledger, or on its way");
    }
    let named = missing.iter().map(|(host, count)| format!("of {} on {host}", text::count(*count as u64, "attempt")));
    let says = format!("the output {} has not arrived whole, and no worker is there to send it", some(named));
    Check::warn("output", says, "start `runward worker` there, with the same state folder: it sends the rest by itself")
}

pub(super) fn some(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", all[..all.len() - more].join(", "))
}

#[cfg(test)]
mod tests {
    use runward_engine::run::{ClaimId, RunId, SessionId};

    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn clocks_are_compared_no_more_exactly_than_they_can_be() {
        assert_eq!(judge_clock(1_000, 1_500, 2_000).says, "the same as here");
        assert_eq!(judge_clock(10_000, 9_000, 10_100).says, "1000 ms behind this host");
        let ahead = judge_clock(1_000, 9_000, 1_100);
        assert_eq!((ahead.verdict, ahead.says.as_str()), (Verdict::Warn, "7900 ms ahead of this host"));
    }

    #[test]
    fn a_server_that_cannot_clean_up_or_is_full_is_told() {
        let health = ServerHealth {
            oldest_transaction_ms: 10,
            oldest_transaction_of: None,
            connections: 10,
            connections_max: 100,
            checksums: true,
        };
        assert_eq!(judge_health(&health).verdict, Verdict::Ok);
        assert_eq!(judge_health(&ServerHealth { connections: 95, ..health.clone() }).verdict, Verdict::Warn);
        let of = Some("psql, process 7".to_owned());
        let old = ServerHealth { oldest_transaction_ms: 3_600_000, oldest_transaction_of: of, ..health };
        assert!(judge_health(&old).says.contains("psql, process 7 is open for 1h"), "{}", judge_health(&old).says);
    }

    #[test]
    fn a_redis_that_is_away_is_no_failure() {
        let away = judge_redis("redis://h", Err("Redis at redis://h refuses the connection".into()));
        assert_eq!(away.verdict, Verdict::Warn);
        let server = runward_workers::queue::redis::RedisServer { version: "7".into(), ..Default::default() };
        let status = RedisStatus { server: Some(server.clone()), waiting: vec![("db".into(), 3)] };
        assert!(judge_redis("redis://h", Ok(status.clone())).says.contains("3 hints waiting"));
        let replica = runward_workers::queue::redis::RedisServer { replica: true, ..server.clone() };
        assert!(
            judge_redis("h", Ok(RedisStatus { server: Some(replica), ..status.clone() }))
                .says
                .contains("it is a replica")
        );
        let full = runward_workers::queue::redis::RedisServer { memory_bytes: 95, memory_bytes_max: 100, ..server };
        assert_eq!(judge_redis("h", Ok(RedisStatus { server: Some(full), ..status })).verdict, Verdict::Warn);
    }

    #[test]
    fn what_waits_is_said_with_what_helps() {
        let lacks = BTreeMap::from([(vec!["db".to_owned()], "abcd".to_owned())]);
        let check = judge_runs(&Waiting { unfinished: 2, held: vec!["ef01".into()], lacks, kept: BTreeMap::new() });
        assert!(check.says.contains("run abcd waits for a worker with the label db"), "{}", check.says);
        let fix = check.fix.unwrap();
        assert!(fix.contains("runward worker --labels db") && fix.contains("runward resolve ef01"), "{fix}");
        assert_eq!(judge_runs(&Waiting::default()).verdict, Verdict::Ok);
    }

    #[test]
    fn an_attempt_of_nobody_is_told() {
        let attended = Attended {
            run: RunId("0190-abcd".into()),
            claim: ClaimId("c".into()),
            home: None,
            watched_by: SessionId("gone".into()),
        };
        let members = Members::none();
        assert!(judge_attempts(&[attended], &members).says.contains("1 running step"));
        assert_eq!(judge_attempts(&[], &members).verdict, Verdict::Ok);
        assert_eq!(judge_workers(&members).verdict, Verdict::Warn);
        assert_eq!(judge_logs(&[("db1".into(), 2)]).verdict, Verdict::Warn);
    }
}
