//! What a runbook is called that was a line of a crontab: after the program it runs.

use std::collections::{HashMap, HashSet};

use super::read::Job;

/// Programs that say nothing about what is done.
const CARRIERS: &[&str] = &[
    "bash",
    "cd",
    "chronic",
    "dash",
    "env",
    "exec",
    "export",
    "flock",
    "ionice",
    "ksh",
    "nice",
    "node",
    "nohup",
    "perl",
    "php",
    "python",
    "python3",
    "ruby",
    "run-parts",
    "sh",
    "source",
    "ssh",
    "sudo",
    "test",
    "timeout",
    "time",
    "zsh",
];
const CHARS_MAX: usize = 40;

/// One for each job, none twice.
pub fn names(jobs: &[Job]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut unique = |job: &Job| {
        let base = base(&job.command).unwrap_or_else(|| format!("line-{}", job.line));
        loop {
            let n = last.entry(base.clone()).or_default();
            *n += 1;
            let name = if *n == 1 { base.clone() } else { format!("{base}-{n}") };
            if taken.insert(name.clone()) {
                return name;
            }
        }
    };
    jobs.iter().map(&mut unique).collect()
}

/// `backup` of `cd /srv && FORCE=1 /usr/local/bin/backup.sh --all`.
fn base(command: &str) -> Option<String> {
    let words = command.split([' ', '\t', ';', '&', '|', '(', ')', '<', '>', '"', '\'']);
    let mut after_cd = false;
    let programs = words.filter(|word| {
        let folder = std::mem::replace(&mut after_cd, *word == "cd");
        !folder && !word.is_empty() && !word.starts_with(['-', '$', '[', '!', '{']) && !word.contains('=')
    });
    programs.filter_map(slug).find(|name| !CARRIERS.contains(&name.as_str()))
}

fn slug(word: &str) -> Option<String> {
    let file = word.rsplit('/').next().unwrap_or(word);
    let stem = match file.rsplit_once('.') {
        Some((stem, "sh" | "bash" | "py" | "pl" | "php" | "rb" | "js")) => stem,
        _ => file,
    };
    let lower = stem.to_ascii_lowercase();
    let dashed: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = dashed.trim_matches('-').chars().take(CHARS_MAX).collect();
    name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let crontab =
            ["job", "job-2", "job", "job", "$A", "line-5"].map(|command| format!("* * * * * {command}\n")).concat();
        let form = crate::crontab::Form { system: false, user: String::new() };
        let names = names(&crate::crontab::read(crontab.as_bytes(), &form).jobs);
        assert_eq!(names, ["job", "job-2", "job-3", "job-4", "line-5", "line-5-2"]);
    }

    #[test]
    fn a_runbook_is_called_after_the_program() {
        for (command, name) in [
            ("/usr/local/bin/backup.sh --all", "backup"),
            ("cd /srv/shop && FORCE=1 ./Clean_Up.py", "clean-up"),
            ("/usr/bin/flock -n /var/lock/x /opt/sync", "x"),
            ("cd / && run-parts --report /etc/cron.hourly", "cron-hourly"),
            ("[ -x /usr/bin/certbot ] && certbot renew", "certbot"),
            ("/bin/sh /root/job.sh", "job"),
            (". ./env && ./x.sh 'a b'", "x"),
        ] {
            assert_eq!(base(command).as_deref(), Some(name), "{command}");
        }
        assert_eq!(base("$CMD"), None);
    }
}
