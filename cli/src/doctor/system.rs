//! The machine: /proc, limits, the clock, what text is shown in.

use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::check::Check;
use super::program::on_path;
use super::steps::said;

pub fn proc() -> Check {
    let boot = runward_workers::supervisor::journal::boot_id().map_err(|error| error.to_string());
    let mounts = std::fs::read_to_string("/proc/mounts").map_err(|error| error.to_string());
    judge_proc(&boot, &mounts, nix::unistd::Uid::effective().is_root())
}

fn judge_proc(boot: &Result<String, String>, mounts: &Result<String, String>, root: bool) -> Check {
    let (boot, mounts) = match (boot, mounts) {
        (Ok(boot), Ok(mounts)) => (boot, mounts),
        (Err(error), _) | (_, Err(error)) => {
            let fix = "mount -t proc proc /proc, or start the container with it";
            return Check::fail("proc", format!("/proc cannot be read: {error}"), fix);
        }
    };
    let hides = mounts.lines().any(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let hidden = |option: &str| option.strip_prefix("hidepid=").is_some_and(|n| n != "0" && n != "off");
        words.get(1) == Some(&"/proc") && words.get(3).is_some_and(|options| options.split(',').any(hidden))
    });
    match hides && !root {
        true => Check::warn(
            "proc",
            "/proc hides the processes of others (hidepid): what a step starts through sudo cannot be found and ended",
            "put this user into the group that `gid=` of the mount names, or avoid sudo in steps",
        ),
        false => Check::ok("proc", format!("mounted, boot {}", boot.split('-').next().unwrap_or(boot))),
    }
}

pub fn limits() -> Check {
    let soft = |resource| getrlimit(resource).ok().map(|(soft, _)| soft);
    match (soft(Resource::RLIMIT_NOFILE), soft(Resource::RLIMIT_NPROC), soft(Resource::RLIMIT_FSIZE)) {
        (Some(files), Some(processes), Some(size)) => judge_limits(files, processes, size),
        _ => Check::unknown("limits", "getrlimit fails"),
    }
}

/// Sixteen steps at once need a few hundred of each.
const FILES_LOW: u64 = 512;
const PROCESSES_LOW: u64 = 256;
const FILE_BYTES_LOW: u64 = 1 << 30;

fn judge_limits(files: u64, processes: u64, file_bytes: u64) -> Check {
    let low = [
        (files, FILES_LOW, "open files", "ulimit -n"),
        (processes, PROCESSES_LOW, "processes", "ulimit -u"),
        (file_bytes, FILE_BYTES_LOW, "bytes a file", "ulimit -f"),
    ];
    let low: Vec<_> = low.into_iter().filter(|(have, want, ..)| have < want).collect();
    if low.is_empty() {
        let shown = |n: u64| if n == RLIM_INFINITY { "unlimited".to_owned() } else { n.to_string() };
        return Check::ok("limits", format!("open files {}, processes {}", shown(files), shown(processes)));
    }
    let says: Vec<String> = low.iter().map(|(have, _, what, _)| format!("only {have} {what}")).collect();
    let fixes: Vec<String> = low.iter().map(|(_, want, _, how)| format!("{how} {want}")).collect();
    let fix =
        format!("raise them: {} (for good: /etc/security/limits.conf, or Limit... of the unit)", fixes.join(", "));
    Check::warn("limits", says.join(", "), fix)
}

pub fn cgroup() -> Check {
    let Ok(own) = std::fs::read_to_string("/proc/self/cgroup") else {
        return Check::unknown("cgroup", "/proc/self/cgroup cannot be read");
    };
    let v2 = own.lines().find_map(|line| line.strip_prefix("0::"));
    let delegated = v2.is_some_and(|path| {
        let folder = format!("/sys/fs/cgroup{path}");
        nix::unistd::access(Path::new(&folder), nix::unistd::AccessFlags::W_OK).is_ok()
    });
    Check::ok(
        "cgroup",
        match (v2, delegated) {
            (Some(_), true) => "version 2, delegated to this user; not needed, steps are followed without",
            (Some(_), false) => "version 2, not delegated; not needed, steps are followed without",
            (None, _) => "version 1; not needed, steps are followed without",
        },
    )
}

pub fn clock() -> Check {
    let synchronised = match on_path("timedatectl") {
        Some(program) => said(&program, &["show", "-p", "NTPSynchronized", "--value"]).ok(),
        None => None,
    };
    let from_flag = Path::new("/run/systemd/timesync/synchronized").exists().then(|| "yes".to_owned());
    let zone = std::env::var("TZ").ok().filter(|zone| !zone.is_empty());
    let zones = Path::new("/usr/share/zoneinfo");
    let zone_known = zone.as_ref().is_none_or(|zone| {
        let name = zone.trim_start_matches(':');
        name == "UTC" || name.contains(|c: char| c.is_ascii_digit()) || zones.join(name).exists()
    });
    judge_clock(&chrono::Local::now(), synchronised.or(from_flag).as_deref(), zone.filter(|_| !zone_known).as_deref())
}

fn judge_clock(now: &chrono::DateTime<chrono::Local>, synchronised: Option<&str>, unknown_zone: Option<&str>) -> Check {
    use chrono::Datelike;
    let says = now.format("%Y-%m-%d %H:%M:%S %:z").to_string();
    if !(2024..2100).contains(&now.year()) {
        return Check::fail("clock", format!("it says {says}"), "set it: `timedatectl set-time`, or start NTP");
    }
    if let Some(zone) = unknown_zone {
        let fix = "install the package tzdata, or correct TZ";
        return Check::warn("clock", format!("{says}: the time zone TZ={zone} is not known, so times are in UTC"), fix);
    }
    match synchronised {
        Some("no") => Check::warn(
            "clock",
            format!("{says}, not synchronised"),
            "`timedatectl set-ntp true`, or start chrony: records of several machines are compared by time",
        ),
        Some(_) => Check::ok("clock", format!("{says}, synchronised")),
        None => Check::ok("clock", format!("{says}; whether it is synchronised cannot be told here")),
    }
}

pub fn text() -> Check {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    judge_text(locale.as_deref(), set("TERM").as_deref(), terminal)
}

fn judge_text(locale: Option<&str>, term: Option<&str>, terminal: bool) -> Check {
    let utf8 = locale.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    if terminal && term.is_none_or(|term| term == "dumb") {
        return Check::warn("text", "TERM is not set: runs are shown line by line", "export TERM=xterm-256color");
    }
    match (utf8, locale) {
        (true, Some(locale)) => Check::ok("text", format!("{locale}, TERM={}", term.unwrap_or("-"))),
        (_, None) if !terminal => Check::ok("text", "no terminal, no locale: output is UTF-8 in any case"),
        (_, locale) => Check::warn(
            "text",
            format!("the locale is {}, but output is UTF-8", locale.unwrap_or("not set")),
            "export LANG=C.UTF-8",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn proc_has_to_be_there_and_may_hide_others_only_from_root() {
        let ok = |text: &str| Ok(text.to_owned());
        let boot = ok("a1b2-c3");
        let plain = ok("proc /proc proc rw,nosuid 0 0\n");
        let hiding = ok("x /y ext4 hidepid=2 0 0\nproc /proc proc rw,hidepid=invisible 0 0\n");
        assert_eq!(judge_proc(&boot, &plain, false), Check::ok("proc", "mounted, boot a1b2"));
        assert_eq!(judge_proc(&boot, &hiding, false).verdict, Verdict::Warn);
        assert_eq!(judge_proc(&boot, &hiding, true).verdict, Verdict::Ok);
        assert_eq!(judge_proc(&Err("gone".into()), &plain, true).verdict, Verdict::Fail);
    }

    #[test]
    fn limits_that_are_too_low_say_how_to_raise_them() {
        assert_eq!(judge_limits(1024, RLIM_INFINITY, RLIM_INFINITY).says, "open files 1024, processes unlimited");
        let low = judge_limits(256, 100, RLIM_INFINITY);
        assert_eq!(low.says, "only 256 open files, only 100 processes");
        assert!(low.fix.is_some_and(|fix| fix.contains("ulimit -n 512, ulimit -u 256")));
        assert_eq!(judge_limits(1024, 1024, 4096).verdict, Verdict::Warn);
    }

    #[test]
    fn a_clock_that_is_wrong_or_drifts_is_told() {
        let at = |year| chrono::Local.with_ymd_and_hms(year, 6, 1, 12, 0, 0).unwrap();
        assert_eq!(judge_clock(&at(1970), Some("yes"), None).verdict, Verdict::Fail);
        assert_eq!(judge_clock(&at(2030), Some("no"), None).verdict, Verdict::Warn);
        assert_eq!(judge_clock(&at(2030), Some("yes"), Some("Mars/Olympus")).verdict, Verdict::Warn);
        assert_eq!(judge_clock(&at(2030), Some("yes"), None).verdict, Verdict::Ok);
        assert!(judge_clock(&at(2030), None, None).says.contains("cannot be told"));
    }

    #[test]
    fn a_terminal_without_utf_8_is_told() {
        assert_eq!(judge_text(Some("C.UTF-8"), Some("xterm"), true).verdict, Verdict::Ok);
        assert_eq!(judge_text(Some("C"), Some("xterm"), true).verdict, Verdict::Warn);
        assert_eq!(judge_text(None, None, false).verdict, Verdict::Ok);
        assert_eq!(judge_text(Some("de_DE.utf8"), None, true).verdict, Verdict::Warn);
    }
}
