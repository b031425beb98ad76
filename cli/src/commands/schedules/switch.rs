//! `runward schedules disable|enable NAME`: on the record, for every server at once.

use runward_store::timetable::Disabled;
use runward_store::{AdminEvent, LedgerError};
use serde_json::json;

use crate::actor::actor;
use crate::args::{Format, SwitchArgs};
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::Failure;
use crate::schedules::{Facts, unknown};
use crate::text;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Off,
    On,
}

pub async fn run(config: &Config, args: SwitchArgs, to: To) -> Result<i32, Failure> {
    let SwitchArgs { schedule, reason, format } = args;
    let facts = Facts::gather(config).await?;
    let known = facts.named(&schedule)?;
    let Some(before) = known.iter().find_map(|it| it.taken_up.as_ref()) else {
        return Err(Failure::usage(format!("no server has taken up the schedule `{schedule}`, and nothing fires it"))
            .help("to keep it from being fired, take it out of its runbook; once a server has it, repeat this"));
    };
    let changed = before.disabled.is_some() != (to == To::Off);
    if changed {
        let event = match to {
            To::Off => AdminEvent::ScheduleDisabled { schedule: schedule.clone(), reason },
            To::On => AdminEvent::ScheduleEnabled { schedule: schedule.clone(), reason },
        };
        match facts.opened.ledger().administer(event, &actor()).await {
            Ok(_) => {}
            Err(LedgerError::NoSuchSchedule(_)) => {
                return Err(unknown(&schedule, facts.known.iter().map(|it| it.name.as_str())));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match format {
        Format::Json => print_json(&json!({"schedule": schedule, "disabled": to == To::Off, "changed": changed})),
        Format::Text => print_line(&said(&schedule, to, changed, before.disabled.as_ref())),
    }
    Ok(0)
}

fn said(schedule: &str, to: To, changed: bool, before: Option<&Disabled>) -> String {
    match (to, changed, before) {
        (To::Off, true, _) => format!(
            "disabled {schedule}: its ticks are skipped, on every server; what runs goes on; `runward schedules enable \
             {schedule} --reason WHY` lets it fire again"
        ),
        (To::On, true, _) => {
            format!("enabled {schedule}: it fires from its next tick on; those that came meanwhile stay skipped")
        }
        (_, false, Some(was)) => format!(
            "{schedule} is already disabled, by {} at {}: {}",
            text::safe(&was.by),
            text::time(was.at),
            text::safe(&was.reason)
        ),
        (_, false, None) => format!("{schedule} is already enabled"),
    }
}
