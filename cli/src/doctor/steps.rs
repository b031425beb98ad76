//! Whether steps can be run here: the shells are there, and a supervisor really starts, watches and buries a process.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runward_engine::runbook::model::Orphans;
use runward_workers::supervisor::client::{Event, Supervisor};
use runward_workers::supervisor::journal::{self, End};
use runward_workers::supervisor::protocol::Launch;

use super::check::Check;
use super::program::on_path;

/// Nothing asked here takes longer on a machine that is well.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn bash() -> Check {
    judge_bash(on_path("bash").map(|path| (said(&path, &["-c", "printf %s \"$BASH_VERSION\""]), path)))
}

fn judge_bash(found: Option<(Result<String, String>, PathBuf)>) -> Check {
    let needed = "most steps are bash: install it, or write `shell: sh` where that is enough";
    match found {
        None => Check::fail("bash", "it is not on PATH", needed),
        Some((Err(error), path)) => Check::fail("bash", format!("{} does not work: {error}", path.display()), needed),
        Some((Ok(version), path)) => {
            let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
            let says = format!("{version}, {}", path.display());
            match major >= 4 {
                true => Check::ok("bash", says),
                false => Check::warn(
                    "bash",
                    says,
                    "install version 4 or newer: older ones end no step at a failing pipe's first part as told",
                ),
            }
        }
    }
}

pub fn sh() -> Check {
    match on_path("sh").map(|path| said(&path, &["-c", "echo ok"])) {
        Some(Ok(said)) if said == "ok" => Check::ok("sh", "works"),
        Some(Ok(said)) => Check::fail("sh", format!("it says {said:?} instead of \"ok\""), "repair or reinstall it"),
        Some(Err(error)) => Check::fail("sh", error, "repair or reinstall it"),
        None => Check::fail("sh", "it is not on PATH", "install a POSIX shell"),
    }
}

/// What a program prints, if it ends well and in time.
pub fn said(program: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill(); // it may just have ended
                let _ = child.wait();
                return Err(format!("it did not answer within {} s", PATIENCE.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.by_ref().take(4096).read_to_string(&mut said); // no text is an answer, too
    }
    if status.success() { Ok(said.trim().to_owned()) } else { Err(format!("it ended with {status}")) }
}

/// Runs `true` as a step, in a folder below `ground`.
pub async fn supervisor(ground: &Path) -> Check {
    let fix = "a step cannot be run here: look for limits on processes (`ulimit -u`), a container that forbids prctl, \
               or a file system that is full or mounted noexec";
    match tokio::time::timeout(PATIENCE, trial(ground)).await {
        Ok(Ok(took)) => Check::ok("supervisor", format!("ran `true` as a step in {} ms", took.as_millis())),
        Ok(Err(error)) => Check::fail("supervisor", error, fix),
        Err(_) => Check::fail("supervisor", format!("`true` was not over after {} s", PATIENCE.as_secs()), fix),
    }
}

/// A folder that goes when it is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // what stays is a folder that says `doctor`
    }
}

async fn trial(ground: &Path) -> Result<Duration, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let dir = nix::unistd::mkdtemp(&ground.join(".doctor-XXXXXX"))
        .map_err(|errno| format!("no folder can be made in {}: {}", ground.display(), errno.desc()))?;
    let scratch = Scratch(std::path::absolute(dir).map_err(|error| told(&error))?);
    let boot = journal::boot_id().map_err(|error| format!("/proc/sys/kernel/random/boot_id: {error}"))?;
    let start = Instant::now();
    let mut supervisor = Supervisor::spawn(Path::new("/proc/self/exe"), &scratch.0.join("supervisor"))
        .map_err(|error| format!("no supervisor can be started: {error}"))?;
    let launch = Launch {
        attempt: "doctor".to_owned(),
        dir: scratch.0.join("attempt"),
        argv: vec!["true".to_owned()],
        env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap_or_default())],
        cwd: scratch.0.clone(),
        timeout_ms: 50_000,
        grace_ms: 1_000,
        far_ms: 0,
        orphans: Orphans::Kill,
        log_bytes_max: 64 * 1024,
        boot: boot.clone(),
        lease: None,
        secrets: Vec::new(),
        hidden: Vec::new(),
    };
    journal::open(&launch.dir).map_err(|error| told(&error))?;
    supervisor.requests.start(launch.clone()).map_err(|error| told(&error))?;
    loop {
        match supervisor.events.next_event().await {
            Event::Ended { .. } => break,
            Event::Refused { reason, .. } => return Err(format!("the supervisor refused it: {reason}")),
            Event::Gone { reason } => return Err(format!("the supervisor is gone: {reason}")),
            Event::Live { .. } => {}
        }
    }
    let took = start.elapsed();
    let result = journal::read_result(&launch.dir, &boot).map_err(|error| told(&error))?;
    match result.map(|result| result.end) {
        Some(End::Exited { code: 0 }) => Ok(took),
        Some(other) => Err(format!("`true` did not end well: {other}")),
        None => Err("it left no result".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn an_old_or_missing_bash_is_told() {
        let verdict = |found: Option<Result<&str, &str>>| {
            let found = found.map(|said| (said.map(str::to_owned).map_err(str::to_owned), PathBuf::from("/bin/bash")));
            judge_bash(found).verdict
        };
        assert_eq!(verdict(Some(Ok("5.2.15(1)-release"))), Verdict::Ok);
        assert_eq!(verdict(Some(Ok("3.2.57(1)-release"))), Verdict::Warn);
        assert_eq!(verdict(Some(Err("it ended with 1"))), Verdict::Fail);
        assert_eq!(verdict(None), Verdict::Fail);
    }

    #[test]
    fn a_program_that_fails_is_no_answer() {
        assert_eq!(said(Path::new("/bin/sh"), &["-c", "echo hello"]), Ok("hello".to_owned()));
        assert!(said(Path::new("/bin/sh"), &["-c", "exit 3"]).is_err());
        assert!(said(Path::new("/nowhere"), &[]).is_err());
    }
}
