//! The hosts that the runbooks here name, asked as a step would ask them.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::bind::{Context, host};
use runward_engine::runbook::model::{Items, Runbook, Step};
use runward_engine::units::format_duration;
use runward_workers::step::ssh::look::{Seen, look};
use serde_json::Value;
use tokio::task::JoinSet;

use super::check::Check;
use crate::config::Config;
use crate::runbook_file::{self, below};

const NAME: &str = "host";
/// Asked at the same time.
const AT_ONCE: usize = 16;
/// A clock that is further off makes a log hard to read beside another one.
const AHEAD_SECONDS_MAX: u64 = 5;

/// Each of them once; none where no runbook names any.
pub async fn hosts(config: &Config) -> Vec<Check> {
    let folders = &config.settings.runbooks;
    let files = folders.iter().filter_map(|folder| below(folder).ok()).flatten();
    let runbooks = files.filter_map(|file| runbook_file::load(&file, folders).ok());
    let names: BTreeSet<String> = runbooks.flat_map(|file| named(&file.runbook)).collect();
    let (mut names, mut looks, mut found) = (names.into_iter(), JoinSet::new(), BTreeMap::new());
    loop {
        for host in names.by_ref().take(AT_ONCE - looks.len()) {
            looks.spawn_blocking(move || (look(&host), host));
        }
        match looks.join_next().await {
            Some(Ok((seen, host))) => _ = found.insert(host.clone(), judge(&host, seen)),
            Some(Err(error)) => _ = found.insert(String::new(), Check::unknown(NAME, error.to_string())),
            None => return found.into_values().collect(),
        }
    }
}

/// As far as it is known before anything runs: what is written out, and of parameters their defaults.
fn named(runbook: &Runbook) -> BTreeSet<String> {
    let defaults = runbook.params.iter().filter_map(|param| Some((param.name.clone(), param.default.clone()?)));
    let mut known = Context::default();
    known.set("params", Value::Object(defaults.collect()));
    runbook.steps.iter().flat_map(|step| of(step, &known)).collect()
}

fn of(step: &Step, known: &Context) -> Vec<String> {
    let Some(template) = &step.host else { return Vec::new() };
    let items = match step.for_each.as_ref().map(|each| &each.items) {
        None => return host::bind(template, known).into_iter().collect(),
        Some(Items::Expression(expression)) => match expression.evaluate(known) {
            Ok(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        Some(Items::List(list)) => list.iter().filter_map(|item| item.render(known).ok()).map(Value::String).collect(),
    };
    let bound = |item: Value| {
        let mut known = known.clone();
        known.set("item", item);
        host::bind(template, &known).ok()
    };
    // Without the item it is the same host for all of them, if it is one.
    let alone = host::bind(template, known).ok();
    items.into_iter().filter_map(bound).chain(alone).collect()
}

fn judge(host: &str, seen: Result<Seen, String>) -> Check {
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => {
            return Check::fail(NAME, format!("{host}: {why}"), "steps on it fail before they start");
        }
    };
    let says = format!("{host}: a step could start there, answered in {}", format_duration(seen.took));
    if seen.ahead.unsigned_abs() > AHEAD_SECONDS_MAX {
        let way = if seen.ahead > 0 { "ahead of" } else { "behind" };
        let says = format!("{says}; its clock is {} s {way} ours", seen.ahead.unsigned_abs());
        return Check::warn(NAME, says, "let both keep the time with chrony or systemd-timesyncd");
    }
    Check::ok(NAME, says)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn hosts_are_known_from_what_is_written_and_from_defaults() {
        let text = "params: {nodes: {type: list, default: [db1, db2]}, user: {default: ops}, any: {type: string, required: true}}
steps:
  - {id: a, host: web1, run: x}
  - {id: b, host: '${{ params.user }}@web2', run: x}
  - {id: c, host: '${{ item }}', for-each: '${{ params.nodes }}', run: x}
  - {id: d, host: '${{ item }}.example.com', for-each: [a, '${{ params.user }}'], run: x}
  - {id: e, host: '${{ params.any }}', run: x}
  - {id: f, host: web1, for-each: [a, b], run: 'echo ${{ item }}'}
  - {id: g, run: x}
";
        let runbook = runward_engine::runbook::parse(text.as_bytes()).unwrap();
        let named: Vec<String> = named(&runbook).into_iter().collect();
        assert_eq!(named, ["a.example.com", "db1", "db2", "ops.example.com", "ops@web2", "web1"]);
    }

    #[test]
    fn a_clock_that_is_off_is_told() {
        let seen = |ahead| Ok(Seen { took: std::time::Duration::from_millis(3), ahead });
        assert_eq!(judge("db1", seen(2)).verdict, Verdict::Ok);
        let check = judge("db1", seen(-90));
        assert!(check.verdict == Verdict::Warn && check.says.contains("90 s behind ours"), "{check:?}");
        assert_eq!(judge("db1", Err("no".into())).verdict, Verdict::Fail);
    }
}
