//! Who keeps a run from starting that must not overlap with others, and what to do about it.

use runward_engine::run::group::{Group, Member, Permit, Standing};
use runward_engine::run::{RunId, RunState};

use super::words;
use crate::drivers::Drivers;
use crate::text;

/// Holders named one by one; the rest is counted.
const NAMED: usize = 5;

/// In which group a run waits, at which place, and behind whom. Empty where it does not wait.
pub fn lines(drivers: &Drivers, state: &RunState, members: &[Member]) -> Vec<String> {
    let (Some(group), Some(Permit::Waits)) = (&state.group, state.permit()) else { return Vec::new() };
    let standing = Standing::new(members, &state.id, state.priority);
    let place = match standing.before.len() {
        0 => "it is next".to_owned(),
        1 => "1 run is before it".to_owned(),
        n => format!("{n} runs are before it"),
    };
    let busy = busy(group, standing.holders.len());
    let mut lines = vec![match group.when_busy.waits() {
        true => format!("‖ waits for {busy}; {place}"),
        false => format!("! {busy}"),
    }];
    lines.extend(holders(drivers, members, &state.id));
    lines
}

fn busy(group: &Group, holders: usize) -> String {
    let runs = if group.limit.get() == 1 { "run" } else { "runs" };
    format!("the group `{}`, which has {holders} of {} {runs}", text::safe(&group.name), group.limit)
}

/// Those that hold a permit, one a line.
fn holders(drivers: &Drivers, members: &[Member], but: &RunId) -> Vec<String> {
    let holders: Vec<&Member> =
        members.iter().filter(|member| member.permit == Permit::Holds && member.run != *but).collect();
    let mut lines: Vec<String> = holders.iter().take(NAMED).map(|member| holder(drivers, member)).collect();
    if holders.len() > NAMED {
        lines.push(format!("  and {} more", holders.len() - NAMED));
    }
    lines
}

fn holder(drivers: &Drivers, member: &Member) -> String {
    let short = words::short(&member.run.0);
    let (name, since) = (text::safe(&member.name), text::time(member.since));
    let driven = || drivers.of(&member.run).is_there();
    let help = match member.status.as_str() {
        _ if member.held => format!("; a step of it is held: `runward show {short}` says which"),
        "paused" => format!("; it is paused: `runward unpause {short}` lets it go on"),
        _ if !driven() => {
            format!("; nobody drives it: `runward resume {short}` carries it on, `runward cancel {short}` stops it")
        }
        _ => String::new(),
    };
    format!("  held by run {short} of {name}, by {} since {since}{help}", member.actor)
}
