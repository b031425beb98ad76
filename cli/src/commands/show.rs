//! `runward show`: what one run did.

use runward_engine::run::group::{Member, Permit, Priority};
use runward_engine::run::rows::{self, AttemptRow, RunRow, StepRow};
use runward_engine::run::{RolledBack, RunState, Verdict};
use runward_store::StoredEvent;
use runward_store::outbox::{NoticeQuery, NoticeRow};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

use super::drive::DRIVER_LOG;
use super::{print_json, print_line};
use crate::args::{Format, ShowArgs};
use crate::cluster::{Members, waits_for_worker};
use crate::config::Config;
use crate::drivers::{Driver, Drivers};
use crate::failure::Failure;
use crate::letters;
use crate::open::{Opened, find_run, open};
use crate::refusal::act;
use crate::text;
use crate::view::{self, eta, plain, words};

/// Runs before it in its group that are looked into.
const HOLDERS_READ: usize = 5;
/// Notifications in the text.
const TOLD_MAX: usize = 10;

pub async fn run(config: &Config, args: &ShowArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    // From the events, verified against their hashes: this is what an auditor reads.
    let view = opened.ledger().load(&id).await?;
    let (run, steps, attempts) = rows::all(&view.state);
    let mut events = opened.ledger().events(&id, 0).await?;
    for event in &mut events {
        event.recorded.event = view.state.shown_event(&event.recorded.event);
    }
    let verdict = Verdict::of(&view.state);
    let driver = &opened.driver(&id);
    let cluster = match opened.cluster().filter(|_| run.finished_at.is_none()) {
        Some(cluster) => Some(cluster.members().await?),
        None => None,
    };
    let lacks = cluster.as_ref().map(|members| members.lacks(&view.state)).unwrap_or_default();
    let unheard = |row: &&AttemptRow| cluster.as_ref().is_some_and(|members| members.unheard(&row.watched_by));
    let unreachable: BTreeSet<&str> =
        attempts.iter().filter(|row| row.status == "running").filter(unheard).map(|row| row.claim.as_str()).collect();
    let members = match &view.state.group {
        Some(group) => opened.ledger().group(&group.name).await?,
        None => Vec::new(),
    };
    let told = opened.outbox().notices(&NoticeQuery { run: Some(id.clone()), ..NoticeQuery::default() }).await?;
    match args.format {
        Format::Json => print_json(&json!({
            "run": run,
            "verdict": verdict,
            "exit_code": verdict.exit_code(),
            "driver_pid": driver.pid(),
            "paused": view.state.paused,
            "group": view.state.group.as_ref().map(|group| json!({
                "name": group.name, "limit": group.limit, "when_busy": group.when_busy, "members": members,
            })),
            "waits_for_labels": lacks,
            "unreachable": unreachable,
            "drill": view.state.runbook.is_drill,
            "tick": view.state.tick,
            "plan": view.state.plan,
            "planned": view.state.planned,
            "outputs": view.state.outputs,
            "error": view.state.error,
            "objectives": view.state.standings(),
            "children": children(&view.state),
            "steps": steps,
            "items": items(&view.state),
            "in_place": rows::owners(&view.state).filter(|unit| view.state.found_in_place(*unit))
                .map(|unit| view.state.unit_name(unit)).collect::<Vec<_>>(),
            "attempts": attempts,
            "notifications": told,
            "events": events.iter().map(event_json).collect::<Vec<_>>(),
        })),
        Format::Text => {
            header(&opened, &run, driver, verdict, &view.state);
            in_group(&opened, &view.state, &members);
            if let (Some(Permit::Waits), Some(there)) = (view.state.permit(), &cluster) {
                stuck_before_it(&opened, there, &members).await?.iter().for_each(|line| print_line(line));
            }
            if verdict == Verdict::Unfinished && driver.is_there() {
                let forecast = eta::forecast(opened.ledger(), &view.state).await;
                let left = forecast.and_then(|forecast| eta::left(&forecast, &view.state, text::now()));
                left.iter().for_each(|left| print_line(&format!("to come     {left}")));
            }
            print_line("");
            let mut by_unit: BTreeMap<&str, Vec<&AttemptRow>> = BTreeMap::new();
            attempts.iter().for_each(|attempt| by_unit.entry(&attempt.unit).or_default().push(attempt));
            let mut rows = steps.iter().peekable();
            for (position, spec) in view.state.runbook.steps.iter().enumerate() {
                if rows.peek().is_none_or(|row| row.position as usize != position) {
                    print_line(&format!("  {} {:<24} {}", words::symbol("pending"), spec.id, "pending"));
                    to_be_skipped(&view.state, &spec.id);
                }
                while let Some(row) = rows.next_if(|row| row.position as usize == position) {
                    step(&view.state, row, by_unit.get(row.unit.as_str()).into_iter().flatten().copied(), &unreachable);
                    to_be_skipped(&view.state, &row.unit);
                    its_runs(&view.state, &row.unit);
                }
            }
            if args.events {
                print_line("");
                events.iter().for_each(|event| print_line(&event_line(event)));
            }
            people_told(&told);
            asking(&view.state);
            lacks.iter().for_each(|labels| print_line(&format!("\n{}", waits_for_worker(labels))));
            next(&opened, &run, driver, verdict, &view.state);
        }
    }
    Ok(0)
}

/// Who was told what of the run, and how far that has come.
fn people_told(told: &[NoticeRow]) {
    let of = |row: &NoticeRow| {
        let what = match &row.notice.step {
            Some(step) => format!("{} {}", row.notice.kind.as_str(), text::safe(step)),
            None => row.notice.kind.as_str().to_owned(),
        };
        row.deliveries
            .iter()
            .map(move |it| format!("told        {what}: {}", letters::progress(it)))
            .collect::<Vec<_>>()
    };
    let lines: Vec<String> = told.iter().rev().flat_map(of).collect();
    if !lines.is_empty() {
        print_line("");
    }
    lines.iter().take(TOLD_MAX).for_each(|line| print_line(line));
    if lines.len() > TOLD_MAX {
        print_line(&format!("            and {} more: `runward notify list --run`", lines.len() - TOLD_MAX));
    }
}

fn header(opened: &Opened, run: &RunRow, driver: &Driver, verdict: Verdict, state_of: &RunState) {
    let state = match (verdict, driver) {
        (Verdict::Unfinished, Driver::Process(holder)) => {
            format!("{}, driven by process {}", run.status, text::safe(&holder.pid))
        }
        (Verdict::Unfinished, Driver::Nobody) => format!("{}, and nobody drives it", run.status),
        (Verdict::Unknown, _) => format!("{}, the outcome of a step is unknown", run.status),
        _ => run.status.clone(),
    };
    print_line(&format!("run         {}", run.id));
    print_line(&format!("runbook     {} ({})", run.name, &run.definition[..12.min(run.definition.len())]));
    print_line(&format!("status      {state}"));
    if state_of.runbook.is_drill {
        print_line("drill       with scratch values, secrets and connections in place of the real ones");
    }
    if run.rollback != RolledBack::None {
        print_line(&format!("rollback    {}", run.rollback.as_str()));
    }
    if let Some(paused) = &state_of.paused {
        print_line(&format!("paused      by {}", act(paused)));
    }
    print_line(&format!("by          {} through {}", run.actor, run.trigger));
    if let Some(tick) = &state_of.tick {
        print_line(&format!("schedule    {}, tick {}", tick.schedule, tick.key));
    }
    print_line(&format!("created     {}", text::time(run.created_at)));
    print_line(&format!("plan        {}", plan(state_of)));
    if let Some(finished) = run.finished_at {
        print_line(&format!(
            "finished    {} after {}",
            text::time(finished),
            text::took(run.started_at.or(Some(run.created_at)), Some(finished))
        ));
    }
    view::objectives::lines(state_of).iter().for_each(|line| print_line(&format!("objective   {line}")));
    if run.generation > 1 {
        print_line(&format!("generation  {}", run.generation));
    }
    for (name, value) in &run.params {
        print_line(&format!("param       {name} = {}", text::safe(&value.to_string())));
    }
    if let (Some(parent), Some(step)) = (&run.parent, &run.parent_step) {
        print_line(&format!("step        `{step}` of run {parent}"));
    }
    if let Some(home) = opened.home() {
        print_line(&format!("folder      {}", home.run(&run.id).display()));
    }
}

/// The group whose runs it must not overlap with, and how it stands there.
fn in_group(opened: &Opened, state: &RunState, members: &[Member]) {
    let Some(group) = &state.group else { return };
    let runs = if group.limit.get() == 1 { "1 run" } else { &format!("{} runs", group.limit) };
    let standing = match state.permit_at {
        Some(at) => format!("; this one holds a permit since {}", text::time(at)),
        None => String::new(),
    };
    print_line(&format!("group       {}, at most {runs} at once{standing}", text::safe(&group.name)));
    if state.priority != Priority::Normal {
        print_line(&format!("priority    {}", state.priority.as_str()));
    }
    view::group::lines(&opened.drivers(), state, members).iter().for_each(|line| print_line(line));
}

/// Runs that hold a permit and cannot go on themselves: what they wait for is what all behind them wait for.
async fn stuck_before_it(opened: &Opened, there: &Members, members: &[Member]) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for holder in members.iter().filter(|member| member.permit == Permit::Holds).take(HOLDERS_READ) {
        let short = words::short(&holder.run.0);
        let state = opened.ledger().load(&holder.run).await?.state;
        for labels in there.lacks(&state) {
            lines.push(format!("  run {short} {}; or `runward cancel {short}`", waits_for_worker(&labels)));
        }
    }
    Ok(lines)
}

/// Its hash, and who saved it if it was started from a saved one.
fn plan(state: &RunState) -> String {
    match &state.planned {
        Some(saved) => format!("{}, saved by {} at {}", state.plan, text::safe(&saved.by), text::time(saved.at)),
        None => state.plan.clone(),
    }
}

/// Which item of its list each unit is, by its name, where that may be seen.
fn items(state: &RunState) -> BTreeMap<String, serde_json::Value> {
    rows::units(state).filter_map(|unit| Some((state.unit_name(unit), state.shown_item(unit)?))).collect()
}

/// The runs that its `runbook` steps were.
fn children(state: &RunState) -> Vec<serde_json::Value> {
    let of = |unit| {
        let children = state.unit(unit).map(|found| &found.children[..]).unwrap_or_default();
        children.iter().map(move |child| {
            let (run, status) = (&child.run, child.status.map(|status| status.as_str()));
            json!({"unit": state.unit_name(unit), "run": run, "number": child.number, "generation": child.generation,
                   "came_to": status})
        })
    };
    rows::units(state).flat_map(of).collect()
}

fn its_runs(state: &RunState, unit: &str) {
    let found = state.unit_named(unit).and_then(|unit| state.unit(unit));
    for child in found.map(|found| &found.children[..]).unwrap_or_default() {
        let status = child.status.map_or_else(|| "it waits for it".to_owned(), |it| it.as_str().replace('_', " "));
        print_line(&format!("      run {}: {status}", child.run));
    }
}

/// Somebody wants to go on without it, and its turn has not come.
fn to_be_skipped(state: &RunState, unit: &str) {
    let found = state.unit_named(unit).and_then(|unit| state.unit(unit));
    if let Some(skip) = found.and_then(|found| found.to_be_skipped()) {
        print_line(&format!("      to be skipped: by {}", act(skip)));
    }
}

fn step<'a>(
    state: &RunState,
    row: &StepRow,
    attempts: impl Iterator<Item = &'a AttemptRow>,
    unreachable: &BTreeSet<&str>,
) {
    let took = text::took(row.started_at, row.ended_at);
    let probed = || state.unit_named(&row.unit).and_then(|unit| plain::probed(state, unit));
    let error =
        row.error.as_deref().or_else(probed).map(|error| format!("  {}", text::safe(error))).unwrap_or_default();
    let name = format!("{}{}", row.unit, words::item_named(state, &row.unit));
    print_line(&format!("  {} {name:<24} {:<10} {took:>9}{error}", words::symbol(&row.status), row.status));
    for (name, value) in &row.outputs {
        print_line(&format!("      {name} = {}", text::safe(&value.to_string())));
    }
    for attempt in attempts {
        let mut line = format!("      attempt {}", attempt.attempt);
        if attempt.generation > 1 {
            line += &format!(" (generation {})", attempt.generation);
        }
        line += &format!(": {}", attempt.status.replace('_', " "));
        if let Some(code) = attempt.code.filter(|code| *code != 0) {
            line += &format!(", exit code {code}");
        }
        if let Some(signal) = attempt.signal {
            line += &format!(", signal {signal}");
        }
        line += &format!(", {}", text::time(attempt.claimed_at));
        if let Some(why) = attempt.error.as_ref().filter(|_| attempt.status == "lost") {
            line += &format!(", lost: {}", text::safe(why));
        }
        if let Some(host) = &attempt.host {
            line += &format!(", on {}", text::safe(host));
        }
        if unreachable.contains(attempt.claim.as_str()) {
            line += ", unreachable: nothing is heard of its worker";
        }
        if attempt.watched_by != attempt.session {
            line += if attempt.host.is_some() { ", adopted by a later worker" } else { ", adopted by a later driver" };
        }
        if attempt.log_bytes > 0 {
            line += &format!(", {} of output", runward_engine::units::format_size(attempt.log_bytes));
        }
        if attempt.log_dropped > 0 {
            line += &format!(" ({} not kept)", runward_engine::units::format_size(attempt.log_dropped));
        }
        print_line(&line);
    }
}

/// What a driver without a terminal said last.
fn last_words(opened: &Opened, run: &RunRow) -> String {
    let said = opened.home().and_then(|home| std::fs::read_to_string(home.run(&run.id).join(DRIVER_LOG)).ok());
    let said = said.unwrap_or_default();
    let lines: Vec<&str> = said.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(4).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\nits driver ended with: {}", lines.into_iter().rev().collect::<Vec<_>>().join(" "))
}

/// What people are asked, and what they agree to.
fn asking(state: &RunState) {
    let short = words::short(&state.id.0);
    for unit in state.asked() {
        let (Some(who), Some(approval)) = (state.who_is_asked(unit), state.approval(unit)) else { continue };
        let (step, until) = (state.unit_name(unit), text::time(approval.deadline));
        print_line("");
        print_line(&format!("{step} asks for approval until {until}: {who}"));
        print_line(&format!("  plan {}", approval.plan));
        let voices = approval.voices.iter();
        voices.for_each(|voice| print_line(&format!("  approved by {}: {}", voice.person, act(&voice.act))));
        print_line(&format!("  `runward approve {short} {step}`, or `runward reject {short} {step} --comment WHY`"));
    }
}

fn next(opened: &Opened, run: &RunRow, driver: &Driver, verdict: Verdict, state: &RunState) {
    let paused = state.paused.is_some();
    let with_parent = state.paused_with_parent().and(state.parent.as_ref());
    let paused_at = with_parent.map_or(words::short(&run.id.0), |parent| words::short(&parent.run.0));
    let short = words::short(&run.id.0);
    let advice = match (verdict, driver, run.finished_at) {
        (Verdict::Unfinished, Driver::Nobody, _) => {
            let and = if paused { format!(", and `runward unpause {paused_at}` lets it go on") } else { String::new() };
            format!("nobody drives this run: `runward resume {short}` carries it on{and}{}", last_words(opened, run))
        }
        (Verdict::Unfinished, _, _) if paused => {
            format!("`runward unpause {paused_at}` lets it go on, `runward cancel {short}` stops it")
        }
        (Verdict::Unfinished, _, _) => {
            format!("`runward logs -f {short}` follows it, `runward cancel {short}` stops it")
        }
        _ if state.asks_for_rollback() || state.undo_failed().is_some() => {
            return told(state, verdict, &opened.drivers());
        }
        (Verdict::Unknown, _, None) => {
            format!(
                "look whether the held step took effect, then: runward resolve {short} STEP --as succeeded|failed|retry"
            )
        }
        (Verdict::Unknown, _, Some(_)) => {
            format!("look whether the lost step took effect; `runward resume {short}` starts it once more")
        }
        (Verdict::Rejected, ..) => format!("`runward resume {short}` asks again"),
        (Verdict::Failed | Verdict::TimedOut | Verdict::Cancelled, ..) => {
            format!(
                "`runward logs {short}` shows what was printed, `runward resume {short}` tries again what did not succeed"
            )
        }
        (Verdict::Busy, ..) => format!("nothing of it was executed; `runward resume {short}` asks its group again"),
        (Verdict::RolledBack | Verdict::RollbackIncomplete, ..) => return told(state, verdict, &opened.drivers()),
        (Verdict::Succeeded, ..) => return,
    };
    print_line("");
    print_line(&advice);
}

fn told(state: &RunState, verdict: Verdict, drivers: &Drivers) {
    print_line("");
    plain::taken_back(state).iter().for_each(|line| print_line(line.trim_start()));
    print_line(&plain::advice(state, verdict, drivers));
}

fn event_json(event: &StoredEvent) -> serde_json::Value {
    let recorded = &event.recorded;
    json!({"seq": recorded.seq, "at": recorded.at, "actor": recorded.actor, "event": recorded.event, "hash": event.hash})
}

fn event_line(event: &StoredEvent) -> String {
    let recorded = &event.recorded;
    let mut body = serde_json::to_value(&recorded.event).unwrap_or_default();
    if let Some(map) = body.as_object_mut() {
        map.remove("kind");
    }
    let body = text::safe(&body.to_string());
    format!(
        "{:>5}  {}  {:<16} {}  by {}",
        recorded.seq,
        text::time(recorded.at),
        recorded.event.kind(),
        body,
        recorded.actor
    )
}
