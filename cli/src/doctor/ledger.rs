//! The ledger: whether it opens, is whole, and can be written. Looked at without creating or migrating anything.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use runward_engine::units::format_size;
use runward_store::{Examined, LedgerError, examine};

use super::check::Check;

/// A larger ledger is not read through here.
const QUICK_BYTES_MAX: u64 = 256 << 20;

/// The check, and whether the ledger can be asked about its runs.
pub async fn ledger(path: &Path) -> (Check, bool) {
    let Ok(meta) = path.metadata() else {
        return (Check::ok("ledger", "none yet: the first run makes it"), false);
    };
    let examined = examine(path, QUICK_BYTES_MAX).await;
    let usable = examined.as_ref().is_ok_and(|found| found.schema == found.schema_known && found.writable.is_ok());
    let others = holders(meta.ino(), &std::fs::read_to_string("/proc/locks").unwrap_or_default(), std::process::id());
    (judge(meta.len(), examined, &others), usable)
}

fn judge(bytes: u64, examined: Result<Examined, LedgerError>, others: &[String]) -> Check {
    let found = match examined {
        Ok(found) => found,
        Err(error) => return of_error(&error, others),
    };
    if let Some(first) = found.complaints.iter().flatten().next() {
        let fix = "keep the file for analysis and put a backup in its place; `runward db check` says more";
        return Check::fail("ledger", format!("it is damaged: {first}"), fix);
    }
    if let Err(error) = &found.writable {
        return of_error(error, others);
    }
    let says = format!("{}, schema {}, {}", format_size(bytes), found.schema, found.journal_mode);
    match (found.schema.cmp(&found.schema_known), found.journal_mode.as_str()) {
        (std::cmp::Ordering::Greater, _) => Check::fail(
            "ledger",
            format!("{says}: written by a newer runward, this one knows schema {}", found.schema_known),
            "use the newer runward, or name another state folder with --state",
        ),
        (std::cmp::Ordering::Less, _) => {
            let known = found.schema_known;
            Check::ok("ledger", format!("{says}: the next command brings it to schema {known}"))
        }
        (_, "wal") => match found.complaints {
            Some(_) => Check::ok("ledger", format!("{says}, whole")),
            None => {
                Check::ok("ledger", format!("{says}; too large for a quick look: `runward db check` reads all of it"))
            }
        },
        (_, mode) => Check::warn(
            "ledger",
            format!("{says}: its journal is `{mode}`, so writers and readers wait for each other"),
            "something changed it: with no run under way, `sqlite3 ledger.db 'PRAGMA journal_mode=WAL'`",
        ),
    }
}

fn of_error(error: &LedgerError, others: &[String]) -> Check {
    let help = error.help().unwrap_or("see what the kernel's log (`dmesg`) says");
    match error {
        LedgerError::Busy { .. } => {
            let who = if others.is_empty() { "another process".to_owned() } else { others.join(", ") };
            let fix = "if it stays: look what that process does; every command waits for it";
            Check::warn("ledger", format!("it is being written by {who}"), fix)
        }
        error => Check::fail("ledger", error.to_string(), help),
    }
}

/// Processes that hold a lock on this file, by /proc/locks: `1: POSIX ADVISORY WRITE 4711 08:01:131 0 EOF`.
fn holders(inode: u64, locks: &str, me: u32) -> Vec<String> {
    let end = format!(":{inode}");
    let lines = locks.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "->").collect();
        let (pid, place) = (words.get(4)?.parse::<u32>().ok()?, words.get(5)?);
        (place.ends_with(&end) && pid != me).then(|| format!("process {pid}"))
    });
    let mut found: Vec<String> = lines.collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    fn found(schema: i64) -> Examined {
        Examined { schema, schema_known: 2, journal_mode: "wal".into(), complaints: Some(Vec::new()), writable: Ok(()) }
    }

    #[test]
    fn each_state_of_the_file_has_its_verdict() {
        let verdict = |examined| judge(4096, examined, &["process 7".to_owned()]);
        assert_eq!(verdict(Ok(found(2))).verdict, Verdict::Ok);
        assert!(verdict(Ok(found(1))).says.contains("brings it to schema 2"));
        assert_eq!(verdict(Ok(found(3))).verdict, Verdict::Fail);
        let damaged = Examined { complaints: Some(vec!["row 3 missing".into()]), ..found(2) };
        assert!(verdict(Ok(damaged)).says.contains("row 3 missing"));
        let large = Examined { complaints: None, ..found(2) };
        assert!(verdict(Ok(large)).says.contains("too large"));
        let busy = Examined { writable: Err(LedgerError::Busy { path: "x".into(), seconds: 60 }), ..found(2) };
        let busy = verdict(Ok(busy));
        assert_eq!((busy.verdict, busy.says.as_str()), (Verdict::Warn, "it is being written by process 7"));
        let delete = Examined { journal_mode: "delete".into(), ..found(2) };
        assert_eq!(verdict(Ok(delete)).verdict, Verdict::Warn);
        assert_eq!(verdict(Err(LedgerError::Full { path: "x".into() })).verdict, Verdict::Fail);
    }

    #[test]
    fn whoever_holds_the_file_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 4711 08:01:131 0 EOF\n1: -> POSIX ADVISORY WRITE 4712 08:01:131 0 EOF\n\
                     2: FLOCK ADVISORY WRITE 9 08:01:1131 0 EOF\n3: POSIX ADVISORY READ 5 08:01:131 0 EOF\n";
        assert_eq!(holders(131, locks, 5), ["process 4711", "process 4712"]);
    }
}
