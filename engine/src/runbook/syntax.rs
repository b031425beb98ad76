//! The forms a text can be asked to have: ids, labels, cron, time zones, windows, dates, paths.

use std::sync::OnceLock;

use regex::Regex;

use super::report::{did_you_mean, quoted};
use crate::limits;
use crate::schedule::{cron::Cron, window};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// No form at all.
    Free,
    /// Names of steps, parameters, schedules; at most `NAME_CHARS_MAX` long.
    Id,
    /// Names of outputs and secrets.
    Name,
    /// The `name:` of a runbook.
    Title,
    /// Names of environment variables.
    Variable,
    Label,
    /// An interpreter: a program's name or path.
    Program,
    Mode,
    /// `user` or `user:group`, by name or number.
    Owner,
    /// The name of an HTTP header.
    Header,
    Date,
    /// A path inside the runbook's folder, or a glob of such.
    Inside,
    Regex,
    Cron,
    Zone,
    Window,
}

/// What is wrong with a text, and what to write instead.
pub type Complaint = (String, Option<String>);

pub const DURATION_PATTERN: &str = r"^\s*(([0-9]+\.?[0-9]*|\.[0-9]+)(ms|s|m|h|d|w)\s*)+$";

impl Syntax {
    /// The form as a regular expression, where one says it all or most of it. Part of the JSON Schema.
    pub fn pattern(self) -> Option<&'static str> {
        match self {
            Syntax::Id => Some("^[a-z][a-z0-9_]*$"),
            Syntax::Name | Syntax::Variable => Some("^[A-Za-z_][A-Za-z0-9_]*$"),
            Syntax::Label => Some("^[A-Za-z0-9][A-Za-z0-9._-]*$"),
            Syntax::Program => Some(r"^[A-Za-z0-9_./+-]+$"),
            Syntax::Mode => Some("^0?[0-7]{3}$"),
            Syntax::Owner => Some(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$"),
            Syntax::Header => Some(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"),
            Syntax::Date => Some(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
            Syntax::Free
            | Syntax::Title
            | Syntax::Inside
            | Syntax::Regex
            | Syntax::Cron
            | Syntax::Zone
            | Syntax::Window => None,
        }
    }

    /// What [`Syntax::pattern`] demands, in words.
    fn demand(self) -> &'static str {
        match self {
            Syntax::Id => "lower-case letters, digits and `_`, a letter first",
            Syntax::Name | Syntax::Variable => "letters, digits and `_`, no digit first",
            Syntax::Label => "letters, digits, `.`, `_` and `-`",
            Syntax::Program => "the name or path of a program, without arguments",
            Syntax::Owner => "a user or `user:group`, by name or number",
            Syntax::Header => "the name of a header: letters, digits and `-`",
            Syntax::Mode => "an octal mode such as `0644`",
            Syntax::Date => "a date such as `2026-12-20`",
            _ => "another form",
        }
    }

    /// Whether the text has the form that the JSON Schema knows.
    pub fn fits(self, text: &str) -> bool {
        self.pattern().is_none_or(|pattern| compiled(self, pattern).is_match(text))
    }

    /// Everything that is asked of the text, with a fix where one can be guessed.
    pub fn check(self, text: &str) -> Result<(), Complaint> {
        if matches!(self, Syntax::Id | Syntax::Name) && text.chars().count() > limits::NAME_CHARS_MAX {
            let message =
                format!("`{}` is too long: a name has at most {} characters", quoted(text), limits::NAME_CHARS_MAX);
            return Err((message, Some("choose a shorter name; `description` and `name` are for people".into())));
        }
        if !self.fits(text) {
            let fix = self.fixed(text).map(|fixed| format!("write `{fixed}`"));
            return Err((format!("`{text}` must be {}", self.demand()), fix));
        }
        match self {
            Syntax::Variable if text.starts_with("RUNWARD_") => Err((
                format!("`{text}`: names that begin with RUNWARD_ belong to runward"),
                Some("choose another name".into()),
            )),
            Syntax::Date => text
                .parse::<chrono::NaiveDate>()
                .map(drop)
                .map_err(|_| (format!("`{text}` is no date of the calendar"), None)),
            Syntax::Inside => inside(text),
            Syntax::Title => title(text),
            Syntax::Regex => Regex::new(text).map(drop).map_err(|error| {
                let reason = error.to_string();
                (
                    format!(
                        "`{text}` is no regular expression: {}",
                        reason.lines().last().unwrap_or_default().trim_start_matches("error: ")
                    ),
                    None,
                )
            }),
            Syntax::Cron => Cron::parse(text).map(drop).map_err(|error| (error.to_string(), error.help())),
            Syntax::Zone => zone(text),
            Syntax::Window => window::Window::parse(text).map(drop),
            _ => Ok(()),
        }
    }

    fn fixed(self, text: &str) -> Option<String> {
        let candidate: String = match self {
            Syntax::Id => text.trim().to_lowercase().replace(['-', ' ', '.'], "_"),
            Syntax::Name | Syntax::Variable => text.trim().replace(['-', ' ', '.'], "_"),
            _ => return None,
        };
        (candidate.len() <= 64 && self.fits(&candidate)).then_some(candidate)
    }
}

/// An IANA time zone.
pub fn zone(text: &str) -> Result<(), Complaint> {
    match text.parse::<chrono_tz::Tz>() {
        Ok(_) => Ok(()),
        Err(_) => {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let help = did_you_mean(text, names)
                .unwrap_or_else(|| "write an IANA name such as `Europe/Berlin` or `UTC`".into());
            Err((format!("`{text}` is not a time zone"), Some(help)))
        }
    }
}

/// A runbook's name stands in listings, addresses and paths of listings: `db/pg-minor-upgrade`.
fn title(text: &str) -> Result<(), Complaint> {
    let complaint = if text.trim().is_empty() {
        "the name of a runbook cannot be empty".to_owned()
    } else if text.chars().count() > limits::RUNBOOK_NAME_CHARS_MAX {
        format!(
            "`{}` is too long: the name of a runbook has at most {} characters",
            quoted(text),
            limits::RUNBOOK_NAME_CHARS_MAX
        )
    } else if text.chars().any(char::is_control) {
        format!("`{}`: control characters cannot stand in the name of a runbook", quoted(text))
    } else if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        format!("`{}`: the name of a runbook does not begin with `/` and has no `..` in it", quoted(text))
    } else {
        return Ok(());
    };
    Err((complaint, Some("write for example `pg-minor-upgrade` or `db/upgrade`, or leave it out".into())))
}

/// A path or glob that cannot leave the runbook's folder.
fn inside(text: &str) -> Result<(), Complaint> {
    if text.trim().is_empty() {
        return Err(("a path is missing here".into(), None));
    }
    if text.starts_with(['/', '~']) {
        return Err((
            format!("`{text}` must be relative to the runbook's folder"),
            Some("only files of that folder are pinned with the runbook".into()),
        ));
    }
    if text.split(['/', '\\']).any(|part| part == "..") {
        return Err((
            format!("`{text}` leaves the runbook's folder"),
            Some("only files of that folder are pinned with the runbook".into()),
        ));
    }
    Ok(())
}

fn compiled(syntax: Syntax, pattern: &'static str) -> &'static Regex {
    static COMPILED: [OnceLock<Regex>; 32] = [const { OnceLock::new() }; 32];
    COMPILED[syntax as usize].get_or_init(|| Regex::new(pattern).expect("a pattern of the table compiles (tested)"))
}

/// Whether the text has the form of a duration, as far as the JSON Schema knows it.
pub fn is_duration(text: &str) -> bool {
    static COMPILED: OnceLock<Regex> = OnceLock::new();
    COMPILED.get_or_init(|| Regex::new(DURATION_PATTERN).expect("the pattern compiles (tested)")).is_match(text)
}
