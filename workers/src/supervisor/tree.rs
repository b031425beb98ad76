//! The processes below a process: finding, naming and signalling all of them.
//!
//! A subreaper's descendants are exactly the processes of its attempt, whatever they did with groups and sessions,
//! because the kernel gives it every orphan below it. So nothing here remembers pids: it always looks again.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

use super::journal::{Orphan, Reported};
use super::watch::Usage;
use crate::mask::{MASKED, Mask};

/// How much of a command line is kept, in characters.
const COMMAND_CHARS_MAX: usize = 256;

/// The direct children of `pid`, zombies included.
pub(super) fn children(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => found.extend(list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw)),
            Err(_) if fs::exists(format!("/proc/self/task/{}/children", Pid::this())).is_ok_and(|there| there) => {}
            Err(_) => return children_by_scan(pid), // a kernel without CONFIG_PROC_CHILDREN
        }
    }
    found
}

/// All processes below `pid`, parents before children, zombies included.
pub(super) fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = children(pid);
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(children(parent));
        at += 1;
    }
    found
}

/// The processes below `pid` that still live, by name. Names are commands, which may hold what `mask` hides.
pub(super) fn living(pid: Pid, mask: Option<&Mask>) -> Vec<Orphan> {
    descendants(pid)
        .into_iter()
        .filter(|pid| state(*pid).is_some_and(|state| !matches!(state, 'Z' | 'X')))
        .map(|pid| describe(pid, mask))
        .collect()
}

/// Asks every process below `pid` to end: the step's own group as a group, everybody else one by one, each once.
pub(super) fn terminate(pid: Pid, group: Pid) {
    let (inside, outside): (Vec<Pid>, Vec<Pid>) =
        descendants(pid).into_iter().partition(|pid| getpgid(Some(*pid)) == Ok(group));
    for signal in [Signal::SIGTERM, Signal::SIGCONT] {
        // A group without members of ours may be somebody else's by now.
        if !inside.is_empty() {
            let _ = killpg(group, signal); // gone meanwhile: nothing to ask
        }
        for pid in &outside {
            let _ = kill(*pid, signal);
        }
    }
}

/// Kills every process below `pid` that is found. What it forks meanwhile is found by the next look.
pub(super) fn kill_below(pid: Pid) {
    for pid in descendants(pid) {
        let _ = kill(pid, Signal::SIGKILL); // gone meanwhile: as wanted
    }
}

/// A child that has died.
pub(super) struct Buried {
    pub pid: Pid,
    pub reported: Reported,
    pub usage: Usage,
}

/// Takes the body of one dead child away; `None` while all live, ECHILD when there are none. Of any signal: `waitpid` of
/// nix buries those who died of a real-time signal and then calls that an error, so that nobody misses them.
#[allow(unsafe_code)]
pub(super) fn bury_one() -> nix::Result<Option<Buried>> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live variables of the types the call writes; a zeroed rusage is a valid one.
    let (pid, usage) = unsafe {
        let pid = libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
        (Errno::result(pid)?, usage.assume_init())
    };
    if pid == 0 {
        return Ok(None);
    }
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    let usage = Usage { cpu: time(usage.ru_utime) + time(usage.ru_stime), max_rss_kib: usage.ru_maxrss.unsigned_abs() };
    let reported = if libc::WIFSIGNALED(status) {
        Reported::Signaled { signal: libc::WTERMSIG(status) }
    } else {
        Reported::Exited { code: libc::WEXITSTATUS(status) }
    };
    Ok(Some(Buried { pid: Pid::from_raw(pid), reported, usage }))
}

/// A process for people.
pub(crate) fn describe(pid: Pid, mask: Option<&Mask>) -> Orphan {
    let words = command(pid);
    let command = if words.is_empty() {
        name(pid)
    } else {
        // First hidden, then cut: what is left of a secret would not be known any more.
        mask.map_or(words.clone(), |mask| mask.hide(&words)).chars().take(COMMAND_CHARS_MAX).collect()
    };
    Orphan { pid: pid.as_raw(), command }
}

/// The same of one whose command may hold a secret that nobody here knows.
pub(super) fn describe_by_name(pid: Pid) -> Orphan {
    Orphan { pid: pid.as_raw(), command: name(pid) }
}

/// Whether a process that was described is still there, as far as what was hidden allows to say.
pub(crate) fn is_still_there(orphan: &Orphan) -> bool {
    let pid = Pid::from_raw(orphan.pid);
    let now: String = command(pid);
    if now.is_empty() || !orphan.command.contains(MASKED) {
        return describe(pid, None) == *orphan;
    }
    let mut pieces = orphan.command.split(MASKED);
    let first = pieces.next().and_then(|first| now.strip_prefix(first));
    let rest = first
        .and_then(|rest| pieces.try_fold(rest, |rest, piece| rest.find(piece).map(|at| &rest[at + piece.len()..])));
    rest.is_some()
}

fn command(pid: Pid) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ")
}

fn name(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("[{}]", name.trim_end())
}

/// The state letter of `/proc/<pid>/stat`, `None` if there is no such process.
fn state(pid: Pid) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

/// State and parent. The name before them may contain anything, so they are searched from its closing parenthesis.
fn stat(pid: Pid) -> Option<(char, Pid)> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let line = String::from_utf8_lossy(&line);
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, Pid::from_raw(fields.next()?.parse().ok()?)))
}

fn children_by_scan(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
    let parents: HashMap<Pid, Pid> = pids.filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
    parents.into_iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn both_ways_find_the_same_children_and_their_names() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        assert!(children(Pid::this()).contains(&pid));
        assert!(children_by_scan(Pid::this()).contains(&pid));
        assert!(living(Pid::this(), None).iter().any(|orphan| orphan.pid == pid.as_raw()));
        // It counts as started a moment before its words can be read.
        while describe(pid, None).command == "[sleep]" {
            std::thread::yield_now();
        }
        let hidden = describe(pid, Some(&Mask::of([&b"p 60"[..]]).unwrap()));
        assert_eq!(hidden.command, "slee***");
        assert!(is_still_there(&hidden) && !is_still_there(&Orphan { command: "*** 61".into(), ..hidden }));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(state(pid), None);
    }
}
