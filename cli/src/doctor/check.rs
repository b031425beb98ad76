//! What one look of the doctor comes to: a value, which is judged here and printed elsewhere.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It works, but something will hurt one day.
    Warn,
    /// Runs cannot work like this.
    Fail,
    /// It could not be looked at.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub verdict: Verdict,
    /// What was found.
    pub says: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, says: impl Into<String>) -> Check {
        Check { name, verdict: Verdict::Ok, says: says.into(), fix: None }
    }

    pub fn warn(name: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, verdict: Verdict::Warn, says: says.into(), fix: Some(fix.into()) }
    }

    pub fn fail(name: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, verdict: Verdict::Fail, says: says.into(), fix: Some(fix.into()) }
    }

    pub fn unknown(name: &'static str, why: impl Into<String>) -> Check {
        Check { name, verdict: Verdict::Unknown, says: format!("cannot be checked: {}", why.into()), fix: None }
    }
}
