//! What waits for somebody: runs without a driver, held steps, supervisors of another build, runbooks that are wrong.

use std::path::{Path, PathBuf};

use runward_engine::units::format_size;
use runward_store::{Ledger, RunQuery, SqliteLedger};
use runward_workers::care::sizes::sizes;
use runward_workers::home::{DriverLock, Home};
use runward_workers::supervisor::client::Supervisor;

use super::check::Check;
use super::program::same_file;
use crate::config::{Config, Origin};
use crate::runbook_file::{self, below};
use crate::view::words;

/// Named one by one; the rest is counted.
const NAMED: usize = 5;

/// A run that is not at its end.
struct Unfinished {
    id: String,
    name: String,
    held: bool,
    driven: bool,
    created_at: i64,
}

/// Runs that wait, and whether the clock agrees with them. `None`: there is no ledger that can be asked.
pub async fn waiting(home: &Home) -> Check {
    let unfinished = match unfinished(home).await {
        Ok(unfinished) => unfinished,
        Err(error) => return Check::unknown("runs", error),
    };
    judge_runs(&unfinished, chrono::Utc::now().timestamp_millis())
}

async fn unfinished(home: &Home) -> Result<Vec<Unfinished>, String> {
    let ledger = SqliteLedger::open(&home.ledger()).await.map_err(|error| error.to_string())?;
    let query = RunQuery { unfinished: true, without_children: true, limit: Some(1_000), ..RunQuery::default() };
    let rows = ledger.runs(&query).await.map_err(|error| error.to_string())?;
    let run = |row: runward_engine::run::rows::RunRow| Unfinished {
        driven: DriverLock::holder(home, &row.id).is_some(),
        id: row.id.0,
        name: row.name,
        held: row.held,
        created_at: row.created_at,
    };
    Ok(rows.into_iter().map(run).collect())
}

fn judge_runs(unfinished: &[Unfinished], now: i64) -> Check {
    const AHEAD_MS: i64 = 60_000;
    if let Some(run) = unfinished.iter().find(|run| run.created_at > now + AHEAD_MS) {
        let says = format!("run {} was created in the future: the clock was set back", words::short(&run.id));
        return Check::warn("runs", says, "look at the clock, and let NTP keep it");
    }
    let held: Vec<&Unfinished> = unfinished.iter().filter(|run| run.held).collect();
    let left: Vec<&Unfinished> = unfinished.iter().filter(|run| !run.held && !run.driven).collect();
    if held.is_empty() && left.is_empty() {
        return Check::ok(
            "runs",
            match unfinished.len() {
                0 => "none waits for anybody".to_owned(),
                n => format!("{n} under way, none waits for anybody"),
            },
        );
    }
    let advice = |runs: &[&Unfinished], how: &dyn Fn(&str) -> String| -> Vec<String> {
        let named = runs.iter().take(NAMED).map(|run| format!("{} ({})", how(words::short(&run.id)), run.name));
        let more = runs.len().saturating_sub(NAMED);
        named.chain((more > 0).then(|| format!("and {more} more: `runward runs --unfinished`"))).collect()
    };
    let mut fixes = advice(&held, &|id| format!("runward show {id}, then runward resolve {id} STEP --as ..."));
    fixes.extend(advice(&left, &|id| format!("runward resume {id}")));
    let says = format!("{} held, {} without a driver", held.len(), left.len());
    Check::warn("runs", says, fixes.join("\n"))
}

/// Supervisors that live. Those of another build go on until their steps end, and then end by themselves.
pub fn supervisors(home: &Home) -> Check {
    let folders = std::fs::read_dir(home.root().join("supervisors")).into_iter().flatten().flatten();
    let alive: Vec<u32> = folders.filter_map(|entry| Supervisor::process(&entry.path())).collect();
    let other = |pid: &u32| !same_file(Path::new(&format!("/proc/{pid}/exe")), Path::new("/proc/self/exe"));
    judge_supervisors(alive.len(), &alive.iter().copied().filter(other).collect::<Vec<_>>())
}

fn judge_supervisors(alive: usize, others: &[u32]) -> Check {
    match (alive, others) {
        (0, _) => Check::ok("supervisors", "none is needed now"),
        (n, []) => Check::ok("supervisors", format!("{n} alive, of this build")),
        (n, others) => {
            let pids: Vec<String> = others.iter().map(u32::to_string).collect();
            let says = format!("{n} alive, {} of another build of runward (process {})", others.len(), pids.join(", "));
            Check::warn(
                "supervisors",
                says,
                "nothing to do: each ends with its last step; `runward runs --unfinished` shows which",
            )
        }
    }
}

pub fn runbooks(config: &Config) -> Check {
    let configured = crate::config::SETTINGS.iter().find(|setting| setting.key == "runbooks");
    let wanted = configured.is_some_and(|setting| config.origin(setting) != Origin::Default);
    let folders = &config.settings.runbooks;
    let missing: Vec<String> =
        folders.iter().filter(|folder| !folder.is_dir()).map(|folder| folder.display().to_string()).collect();
    if !missing.is_empty() {
        return match wanted {
            true => {
                Check::warn("runbooks", format!("no folder {}", missing.join(", ")), "make it, or correct `runbooks`")
            }
            false => Check::ok("runbooks", "no folder ./runbooks here; `runward init` makes one"),
        };
    }
    let files: Result<Vec<Vec<PathBuf>>, _> = folders.iter().map(|folder| below(folder)).collect();
    let files: Vec<PathBuf> = match files {
        Ok(files) => files.concat(),
        Err(failure) => return Check::unknown("runbooks", failure.summary()),
    };
    let wrong = files.iter().filter(|file| runbook_file::load(file, folders).is_err());
    judge_runbooks(files.len(), &wrong.map(|file| file.display().to_string()).collect::<Vec<_>>())
}

fn judge_runbooks(all: usize, wrong: &[String]) -> Check {
    if wrong.is_empty() {
        return Check::ok("runbooks", format!("{all}, all valid"));
    }
    let named = wrong.iter().take(NAMED).cloned().collect::<Vec<_>>().join(" ");
    Check::warn("runbooks", format!("{} of {all} are not valid", wrong.len()), format!("runward validate {named}"))
}

/// More than this beside the ledger deserves a thought.
const KEPT_BYTES_MUCH: u64 = 20 << 30;

pub fn kept(home: &Home) -> Check {
    let sizes = sizes(home);
    judge_kept(sizes.logs + sizes.journals + sizes.files + sizes.workspaces, sizes.folders)
}

fn judge_kept(bytes: u64, runs: u64) -> Check {
    let says = format!("{} in the folders of {runs} runs", format_size(bytes));
    match bytes > KEPT_BYTES_MUCH {
        true => Check::warn(
            "output kept",
            says,
            "`runward db prune --older-than 90d --keep 20 --dry-run` says what could go",
        ),
        false => Check::ok("output kept", says),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    fn run(held: bool, driven: bool) -> Unfinished {
        Unfinished { id: "0190-aaaa-bbbb".into(), name: "deploy".into(), held, driven, created_at: 1_000 }
    }

    #[test]
    fn a_run_that_waits_is_named_with_what_carries_it_on() {
        assert_eq!(judge_runs(&[], 0).verdict, Verdict::Ok);
        assert_eq!(judge_runs(&[run(false, true)], 1_000).says, "1 under way, none waits for anybody");
        let waits = judge_runs(&[run(true, false), run(false, false)], 1_000);
        assert_eq!(waits.says, "1 held, 1 without a driver");
        let fix = waits.fix.unwrap();
        assert!(fix.contains("runward resolve bbbb STEP") && fix.contains("runward resume bbbb (deploy)"), "{fix}");
        let many: Vec<_> = (0..20).map(|_| run(false, false)).collect();
        assert!(judge_runs(&many, 1_000).fix.unwrap().contains("and 15 more"));
        assert!(judge_runs(&[run(false, true)], -100_000).says.contains("set back"));
    }

    #[test]
    fn the_rest_is_judged_by_its_numbers() {
        assert_eq!(judge_supervisors(2, &[]).verdict, Verdict::Ok);
        assert!(judge_supervisors(2, &[7]).says.contains("process 7"));
        assert_eq!(judge_runbooks(3, &[]).says, "3, all valid");
        assert_eq!(judge_runbooks(3, &["a.yaml".into()]).fix.as_deref(), Some("runward validate a.yaml"));
        assert_eq!(judge_kept(KEPT_BYTES_MUCH + 1, 2).verdict, Verdict::Warn);
    }
}
