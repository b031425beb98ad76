//! Schedules that nobody fires, or not as they should be.

use super::check::Check;
use crate::config::Config;
use crate::schedules::Facts;
use crate::text;

/// Named one by one; the rest is counted.
const NAMED: usize = 5;

pub async fn schedules(config: &Config) -> Check {
    match Facts::gather(config).await {
        Ok(facts) => judge(&facts),
        Err(failure) => Check::unknown("schedules", failure.summary()),
    }
}

fn judge(facts: &Facts) -> Check {
    let count = text::count(facts.known.len() as u64, "schedule");
    if facts.known.is_empty() {
        return Check::ok("schedules", "none");
    }
    if facts.servers.none() {
        let fix = "`runward server`, as a service that is always there, fires them; `runward schedules` lists them";
        return Check::warn("schedules", format!("{count}, and no server is there: nothing is fired"), fix);
    }
    let is_due = |known: &&crate::schedules::Known| facts.state(known) != "disabled";
    let remarks: Vec<String> = facts.known.iter().filter(is_due).flat_map(|known| facts.remarks(known)).collect();
    if remarks.is_empty() {
        let next = facts.known.iter().filter(is_due).filter_map(|known| known.next(facts.now, 1).pop());
        let next = next.map(|(_, due)| due).min().map(|due| format!(", the next at {}", text::time(due)));
        return Check::ok("schedules", format!("{count}{}", next.unwrap_or_default()));
    }
    let more = remarks.len().saturating_sub(NAMED);
    let named = remarks.iter().take(NAMED).cloned().chain((more > 0).then(|| format!("and {more} more")));
    let says = format!("{count}\n{}", named.collect::<Vec<_>>().join("\n"));
    Check::warn("schedules", says, "`runward schedules` lists them, `runward schedules show NAME` has all of one")
}
