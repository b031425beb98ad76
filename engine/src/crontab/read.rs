//! The lines of a crontab, as Vixie cron reads them.
//!
//! A setting (`NAME = value`) holds for the lines below it. In the user form a line is five fields or a nickname, and a
//! command; in the system form (`/etc/crontab`, `/etc/cron.d`) the user stands before the command.

use serde::Serialize;

use super::command;
use crate::runbook::syntax::{Syntax, zone};
use crate::schedule::cron::Cron;

/// Whose crontab it is, and how its lines are written.
#[derive(Debug, Clone)]
pub struct Form {
    pub system: bool,
    /// In the system form only lines of this user are taken.
    pub user: String,
}

#[derive(Debug, Default)]
pub struct Import {
    pub jobs: Vec<Job>,
    pub left_out: Vec<LeftOut>,
    /// Where the mail went.
    pub mailed: Vec<Mailed>,
}

/// A line that starts something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Counted from 1.
    pub line: usize,
    /// As it is written.
    pub text: String,
    /// Five fields, or a nickname.
    pub cron: String,
    pub zone: Option<String>,
    pub shell: String,
    pub command: String,
    pub input: Option<String>,
    /// What the crontab sets; `PATH` always.
    pub env: Vec<(String, String)>,
    /// `HOME`, where the crontab sets it.
    pub home: Option<String>,
    /// The comment right above it.
    pub about: Option<String>,
    /// Whom its output was mailed to, where the crontab says so.
    pub mailto: Option<String>,
}

/// A line that says something that a runbook cannot say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub line: usize,
    pub text: String,
    pub reason: String,
    pub help: Option<String>,
    /// Of another user, and so nothing is wrong with it.
    pub other_user: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mailed {
    pub line: usize,
    pub to: String,
}

/// What cron gives a job whose crontab says nothing.
const PATH: &str = "/usr/bin:/bin";
const SHELL: &str = "/bin/sh";

pub fn read(crontab: &[u8], form: &Form) -> Import {
    let mut import = Import::default();
    let mut above = Above::default();
    for (index, bytes) in crontab.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start_matches([' ', '\t']);
        if text.is_empty() {
            above.about.clear();
        } else if let Some(comment) = text.strip_prefix('#') {
            above.comment(comment, form);
        } else {
            let about = std::mem::take(&mut above.about);
            let read = match std::str::from_utf8(bytes) {
                Err(_) => Err(("it is not UTF-8, which a runbook is".to_owned(), Some("write it in UTF-8".to_owned()))),
                Ok(_) if bytes.contains(&0) => Err(("a byte of it is zero, where cron ends the line".to_owned(), None)),
                Ok(_) => above.line(line, text, about, form, &mut import),
            };
            if let Err((reason, help)) = read {
                import.left_out.push(LeftOut { line, text: text.to_owned(), reason, help, other_user: false });
            }
        }
    }
    import
}

/// What the lines above have said.
#[derive(Debug, Default)]
struct Above {
    settings: Vec<(String, String)>,
    /// The line of a `CRON_TZ` that is no zone.
    no_zone: Option<usize>,
    about: Vec<String>,
}

/// Why a line is left out, and what to do about it.
type Trouble = (String, Option<String>);

impl Above {
    /// A job that was commented out, and the legend of the fields, say nothing about the next job.
    fn comment(&mut self, comment: &str, form: &Form) {
        let words: Vec<&str> = comment.trim_matches('#').split_whitespace().collect();
        let legend = words.first().is_some_and(|word| *word == "m") && words.get(1).is_some_and(|word| *word == "h");
        let drawing = words.iter().any(|word| *word == "|" || word.starts_with(".--") || word.starts_with("*  "));
        if legend || drawing || entry(comment.trim_start(), form).is_ok() {
            self.about.clear();
        } else if !words.is_empty() {
            self.about.push(words.join(" "));
        }
    }

    fn line(
        &mut self,
        line: usize,
        text: &str,
        about: Vec<String>,
        form: &Form,
        import: &mut Import,
    ) -> Result<(), Trouble> {
        if let Some((name, value)) = setting(text) {
            return self.set(line, name, value, import);
        }
        let Entry { cron, user, command } = entry(text, form)?;
        if let Some(user) = user.filter(|user| *user != form.user) {
            let reason = format!("it is run by {user}, and this imports the lines of {}", form.user);
            let help = format!("import it as {user}, for a server that {user} runs; or with `--user {user}`");
            let text = text.to_owned();
            import.left_out.push(LeftOut { line, text, reason, help: Some(help), other_user: true });
            return Ok(());
        }
        if let Some(line) = self.no_zone {
            return Err((format!("the time zone of line {line} is not known"), None));
        }
        import.jobs.push(self.job(line, text, cron, command, about));
        Ok(())
    }

    fn set(&mut self, line: usize, name: String, value: String, import: &mut Import) -> Result<(), Trouble> {
        if name == "CRON_TZ" {
            self.no_zone = None;
            if !value.is_empty()
                && let Err((message, help)) = zone(&value)
            {
                self.no_zone = Some(line);
                return Err((message, help));
            }
        } else {
            Syntax::Variable.check(&name)?;
        }
        if name == "MAILTO" && !value.is_empty() {
            import.mailed.push(Mailed { line, to: value.clone() });
        }
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value));
        Ok(())
    }

    fn job(&self, line: usize, text: &str, cron: String, command: &str, about: Vec<String>) -> Job {
        let set = |name: &str| self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let (command, input) = command::split(command);
        let mut env: Vec<(String, String)> =
            self.settings.iter().filter(|(name, _)| name != "CRON_TZ").cloned().collect();
        if set("PATH").is_none() {
            env.insert(0, ("PATH".to_owned(), PATH.to_owned()));
        }
        Job {
            line,
            text: text.to_owned(),
            cron,
            zone: set("CRON_TZ").filter(|zone| !zone.is_empty()),
            shell: set("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| SHELL.to_owned()),
            command,
            input,
            env,
            home: set("HOME").filter(|home| !home.is_empty()),
            about: (!about.is_empty()).then(|| about.join(" ")),
            mailto: set("MAILTO").filter(|to| !to.is_empty()),
        }
    }
}

/// `NAME = value`: both may stand in quotes, and only quotes keep the spaces around the value.
fn setting(text: &str) -> Option<(String, String)> {
    let (name, rest) = match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].split_once(quote)?,
        _ => text.split_at(text.find([' ', '\t', '='])?),
    };
    let value = rest.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_matches([' ', '\t']);
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some((name.to_owned(), quoted.unwrap_or(value).to_owned()))
}

struct Entry<'t> {
    cron: String,
    user: Option<&'t str>,
    command: &'t str,
}

fn entry<'t>(text: &'t str, form: &Form) -> Result<Entry<'t>, Trouble> {
    let mut rest = text;
    let mut fields = Vec::new();
    for _ in 0..if text.starts_with('@') { 1 } else { 5 } {
        fields.push(word(&mut rest));
    }
    let cron = fields.join(" ");
    if cron == "@reboot" {
        let help = "a service of systemd can do it: `ExecStart=runward run NAME`";
        return Err(("`@reboot` is no time, and a schedule is one".to_owned(), Some(help.to_owned())));
    }
    Cron::parse(&cron).map_err(|error| (error.to_string(), error.help()))?;
    let user = form.system.then(|| word(&mut rest));
    match rest.is_empty() {
        true => Err(("it has no command".to_owned(), None)),
        false => Ok(Entry { cron, user, command: rest }),
    }
}

/// The first word, which is then gone, with the spaces after it.
fn word<'t>(rest: &mut &'t str) -> &'t str {
    let (word, after) = rest.split_at(rest.find([' ', '\t']).unwrap_or(rest.len()));
    *rest = after.trim_start_matches([' ', '\t']);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRONTAB: &str = "\
# m h  dom mon dow   command

SHELL = /bin/bash
MAILTO=\"ops@example.com\"
 PATH = '/usr/local/bin:/bin'

# Nightly backup.
#
# Keep it before the sync
30 2 * * *\t/usr/local/bin/backup.sh  --all
#0 3 * * * old-job
@hourly cd /tmp && ./x
CRON_TZ=Europe/Berlin
MAILTO=
0 9 * * Mon-Fri mail -s hi ops%Good morning
@reboot start
0 25 * * * never
1x=2
0 0 * * *
";

    fn imported(text: &str, system: bool) -> Import {
        read(text.as_bytes(), &Form { system, user: "deploy".to_owned() })
    }

    #[test]
    fn a_crontab_is_read_as_cron_reads_it() {
        let import = imported(CRONTAB, false);
        let [backup, hourly, mail] = &import.jobs[..] else { panic!("{import:#?}") };
        assert_eq!((backup.line, backup.cron.as_str()), (10, "30 2 * * *"));
        assert_eq!(backup.command, "/usr/local/bin/backup.sh  --all");
        assert_eq!(backup.about.as_deref(), Some("Nightly backup. Keep it before the sync"));
        assert_eq!((backup.shell.as_str(), backup.mailto.as_deref()), ("/bin/bash", Some("ops@example.com")));
        assert!(backup.env.contains(&("PATH".to_owned(), "/usr/local/bin:/bin".to_owned())), "{:?}", backup.env);
        assert_eq!((hourly.cron.as_str(), hourly.about.as_deref(), hourly.zone.as_deref()), ("@hourly", None, None));
        assert_eq!((mail.zone.as_deref(), mail.mailto.as_deref()), (Some("Europe/Berlin"), None));
        assert_eq!(mail.input.as_deref(), Some("Good morning\n"));
        let left_out: Vec<(usize, &str)> =
            import.left_out.iter().map(|left_out| (left_out.line, left_out.reason.as_str())).collect();
        assert_eq!(left_out.len(), 4, "{left_out:#?}");
        assert_eq!(left_out[0].0, 16);
        assert_eq!(left_out[1], (17, "hour `25`: must be 0 to 23"));
        assert!(left_out[2].1.starts_with("`1x` must be letters"), "{left_out:?}");
        assert_eq!(left_out[3], (19, "it has no command"));
    }

    #[test]
    fn the_system_form_names_a_user() {
        let import = imported("17 * * * * deploy cd / && run\n25 6 * * * root rotate\n* * * * * deploy\n", true);
        assert_eq!(import.jobs.len(), 1);
        assert_eq!(import.jobs[0].command, "cd / && run");
        assert!(import.left_out[0].other_user && !import.left_out[1].other_user);
    }

    #[test]
    fn a_zone_that_is_none_leaves_out_what_depends_on_it() {
        let import = imported("CRON_TZ=Europe/Berlni\n* * * * * a\nCRON_TZ=\n* * * * * b\n", false);
        assert_eq!(import.jobs.len(), 1);
        assert_eq!(import.left_out.iter().map(|left_out| left_out.line).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_no_program_can_be_given_is_left_out() {
        let import = imported("* * * * * a\0b\n* * * * * c\n", false);
        assert_eq!((import.jobs.len(), import.left_out[0].line), (1, 1));
    }

    #[test]
    fn settings_are_told_from_jobs() {
        let set = |text| setting(text).map(|(name, value)| format!("{name}={value}"));
        assert_eq!(set("A=b c ").as_deref(), Some("A=b c"));
        assert_eq!(set("A = \" b \"").as_deref(), Some("A= b "));
        assert_eq!(set("\"A\"=b=c").as_deref(), Some("A=b=c"));
        assert_eq!(set("A=").as_deref(), Some("A="));
        assert_eq!(set("* * * * * A=b c"), None);
        assert_eq!(set("@daily A=b c"), None);
        assert_eq!(set("0 = 1 2 3 x").as_deref(), Some("0=1 2 3 x"), "as cron does");
    }
}
