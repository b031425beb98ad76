//! A job -> the text of a runbook that does what cron did: the same command in the same shell, folder and environment, at the
//! same minutes, as often at once and as long as it likes.

use std::fmt::Write as _;

use super::read::Job;

/// Longer than any job of cron lasts that is looked after.
const TIMEOUT: &str = "30d";
/// Gives a command its input: `$0` is the shell, `$1` the command, `$2` the input.
const WITH_INPUT: &str = r#"printf %s "$2" | "$0" -c "$1""#;

/// `source`: where the job stood, for people. `home`: where cron ran it, if the crontab does not say so.
pub fn write(job: &Job, source: &str, home: Option<&str>) -> String {
    let mut text = format!("# Line {} of {}:\n#   {}\n", job.line, comment(source), comment(&job.text));
    if let Some(to) = &job.mailto {
        let to = comment(to);
        let _ = writeln!(
            text,
            "# cron mailed what it printed to {to}. Here `runward logs` has it; `notify` is to tell people."
        );
    }
    if let Some(about) = &job.about {
        let _ = writeln!(text, "description: {}", quoted(about));
    }
    let _ = writeln!(text, "on:\n  schedule:\n    - cron: {}", quoted(&job.cron));
    if let Some(zone) = &job.zone {
        let _ = writeln!(text, "      timezone: {}", quoted(zone));
    }
    text += "      missed: none # as with cron; `latest` makes up for a night without a server\n";
    text += "      overlap: allow # as with cron; `skip` lets one run at a time\n";
    text += "steps:\n  - id: job\n    cmd:\n";
    let plain = [job.shell.as_str(), "-c", &job.command];
    let words = match &job.input {
        None => plain.to_vec(),
        Some(input) => vec!["/bin/sh", "-c", WITH_INPUT, &job.shell, &job.command, input],
    };
    for word in words {
        let _ = writeln!(text, "      - {}", template(word));
    }
    if let Some(home) = job.home.as_deref().or(home) {
        let _ = writeln!(text, "    cwd: {}", template(home));
    }
    text += "    env:\n";
    for (name, value) in &job.env {
        let _ = writeln!(text, "      {name}: {}", template(value));
    }
    let _ = writeln!(text, "    timeout: {TIMEOUT} # cron has no limit");
    text += "    orphans: leave # as with cron\n";
    text
}

/// Text that stays as it is where `${{ }}` has a meaning.
fn template(text: &str) -> String {
    quoted(&text.replace("${{", r#"${{ "${{" }}"#))
}

/// A scalar of YAML that is this text.
fn quoted(text: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    if !text.chars().any(odd) && (text.contains(['"', '\\']) || !text.contains('\'')) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            _ if odd(c) => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            _ => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A comment is one line, and nothing in it drives a terminal.
fn comment(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
