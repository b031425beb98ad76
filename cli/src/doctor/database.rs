//! The database of a cluster, beyond that it is there: the way to it, who has a copy, and whether it still has everything.

use runward_store::fleet::{Fleet, Session};
use runward_store::timeline::{Next, Timeline};
use runward_store::{Line, PostgresLedger, Standbys};

use super::check::Check;
use super::cluster::some;
use crate::text;

pub async fn look(ledger: &PostgresLedger) -> [Check; 2] {
    let line = match ledger.line().await {
        Ok(line) => judge_line(line),
        Err(error) => Check::unknown("database line", error.to_string()),
    };
    let standbys = match ledger.standbys().await {
        Ok(standbys) => judge_standbys(&standbys),
        Err(error) => Check::unknown("standbys", error.to_string()),
    };
    [line, standbys]
}

fn judge_line(line: Line) -> Check {
    const NAME: &str = "database line";
    match line {
        Line::Local => Check::ok(NAME, "does not leave this machine"),
        Line::Encrypted => Check::ok(NAME, "encrypted"),
        Line::Clear => {
            let fix = "add `?sslmode=verify-full` to the database URL, and `&sslrootcert=/path/ca.pem` for a private authority";
            Check::warn(NAME, "not encrypted: whoever is on the way reads and changes what is recorded", fix)
        }
    }
}

fn judge_standbys(standbys: &Standbys) -> Check {
    const NAME: &str = "standbys";
    let count = text::count(standbys.streaming, "standby");
    match (standbys.streaming, standbys.waited_for) {
        (0, _) => Check::ok(NAME, "none streams"),
        (_, true) => Check::ok(NAME, format!("{count}, synchronous: a failover keeps what was acknowledged")),
        (_, false) => Check::warn(
            NAME,
            format!("{count}, asynchronous: a failover can take back what was acknowledged"),
            "set `synchronous_standby_names`, and `synchronous_commit` to `on` or more: else a failover waits for every worker, \
             and for you where one is gone",
        ),
    }
}

/// Whether steps may start on this database.
pub async fn timeline(ledger: &PostgresLedger, sessions: &[Session]) -> Check {
    match ledger.timeline().await {
        Ok(Some(timeline)) => judge_timeline(&timeline, sessions),
        Ok(None) => Check::ok("timeline", "none of its own: it is a standby"),
        Err(error) => Check::unknown("timeline", error.to_string()),
    }
}

fn judge_timeline(timeline: &Timeline, sessions: &[Session]) -> Check {
    let current = &timeline.current;
    if timeline.is_open() {
        return Check::ok("timeline", format!("{current}, as it was left"));
    }
    let says = "the database was promoted or restored and may lack what was acknowledged: no step starts";
    let (why, fix) = match timeline.next(None, sessions, true) {
        Next::WaitFor(missing) => (
            format!(
                "the journals of {} are not compared with it yet",
                some(missing.iter().map(|it| it.new.host.clone()))
            ),
            "start `runward worker` there, with the same state folder; if that host is gone for good, look what its steps did, \
             then `runward db accept --reason WHY`",
        ),
        Next::AskAbout(strange) => (
            some(strange.iter().map(|it| {
                format!("on {} {} in runs that are not on the record, or over", it.host, started(it.unheld))
            })),
            "the logs of those workers name them; look what they did, so that nobody starts it again, then \
             `runward db accept --reason WHY`",
        ),
        _ => ("every worker has compared its journals with it".to_owned(), "it goes on by itself within seconds"),
    };
    Check::fail("timeline", format!("{says}\n{why}"), fix)
}

fn started(count: u64) -> String {
    format!("{} started", if count == 1 { "1 step has".to_owned() } else { format!("{count} steps have") })
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn what_others_can_read_and_what_a_failover_can_take_back_is_told() {
        assert_eq!(judge_line(Line::Clear).verdict, Verdict::Warn);
        assert_eq!(judge_line(Line::Local).verdict, Verdict::Ok);
        let of = |streaming, waited_for| judge_standbys(&Standbys { streaming, waited_for });
        assert_eq!([of(0, false), of(2, true)].map(|check| check.verdict), [Verdict::Ok, Verdict::Ok]);
        assert!(of(2, false).says.starts_with("2 standbys, asynchronous"), "{}", of(2, false).says);
    }
}
