//! `runward approve` and `reject`: what somebody says about the plan that a run waits with.

use runward_engine::run::approval::Decision;
use runward_engine::run::{Command, RunState, StepStatus, Unit};
use runward_store::{Ledger, RunView};
use runward_workers::home::DriverLock;
use serde_json::json;

use super::drive::start_driver;
use super::{print_json, print_line};
use crate::actor::actor;
use crate::args::{ApproveArgs, Format, RejectArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, find_run, find_unit, open};
use crate::person;
use crate::refusal::refused;
use crate::text;
use crate::view::words;

pub async fn approve(config: &Config, args: ApproveArgs) -> Result<i32, Failure> {
    let ApproveArgs { run, step, plan, comment, resume, format } = args;
    decide(config, Asked { decision: Decision::Approved, run, step, plan, comment, resume, format }).await
}

pub async fn reject(config: &Config, args: RejectArgs) -> Result<i32, Failure> {
    let RejectArgs { run, step, plan, comment, resume, format } = args;
    let comment = Some(comment);
    decide(config, Asked { decision: Decision::Rejected, run, step, plan, comment, resume, format }).await
}

struct Asked {
    decision: Decision,
    run: String,
    step: Option<String>,
    plan: Option<String>,
    comment: Option<String>,
    resume: bool,
    format: Format,
}

async fn decide(config: &Config, asked: Asked) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(&opened.ledger, &asked.run).await?;
    let mut view = opened.ledger.load(&id).await?;
    let unit = which(&view.state, asked.step.as_deref())?;
    same_plan(&view.state, asked.plan.as_deref())?;
    say(&opened, &mut view, unit, &asked).await?;
    let state = &view.state;
    let mut driver = DriverLock::holder(&opened.home, &id);
    let settled = state.unit(unit).is_some_and(|unit| unit.status != StepStatus::Waiting);
    let over = state.status.is_terminal();
    if asked.resume && settled && !over && driver.is_none() {
        driver = Some(start_driver(&opened, &id)?.to_string());
    }
    match asked.format {
        Format::Json => print_json(&json!({
            "run": id, "step": state.unit_name(unit), "decision": asked.decision, "plan": state.plan,
            "status": state.unit(unit).map(|unit| unit.status), "driver_pid": driver,
        })),
        Format::Text => print_line(&said(state, unit, asked.decision, driver.is_some())),
    }
    Ok(0)
}

/// A deadline that has passed is taken note of first: whoever comes too late is told so.
async fn say(opened: &Opened, view: &mut RunView, unit: Unit, asked: &Asked) -> Result<(), Failure> {
    let decide = Command::Decide {
        unit,
        decision: asked.decision,
        person: person::person(&opened.home),
        plan: view.state.plan.clone(),
        generation: view.state.generation,
        comment: asked.comment.clone(),
    };
    let mut commands = vec![decide, Command::Wake];
    let mut committed = opened.ledger.commit(view, &mut |_| commands.pop(), &actor()).await?;
    match committed.replies.pop() {
        Some(Err(reject)) => Err(refused(reject, &view.state.id)),
        _ => Ok(()),
    }
}

/// The step that is meant: the only one that asks, or asked last, where none is named.
fn which(state: &RunState, step: Option<&str>) -> Result<Unit, Failure> {
    if let Some(step) = step {
        return find_unit(state, step);
    }
    let short = words::short(&state.id.0);
    let asking: Vec<Unit> = state.asked().collect();
    match (&asking[..], state.settled()) {
        ([unit], _) => Ok(*unit),
        // Somebody was faster: the refusal says who.
        ([], Some(unit)) => Ok(unit),
        ([], None) => {
            Err(Failure::usage(format!("nothing in run {short} asks for approval now; it is {}", state.status))
                .help(format!("`runward show {short}` says where it stands")))
        }
        (several, _) => {
            let names: Vec<String> = several.iter().map(|unit| state.unit_name(*unit)).collect();
            Err(Failure::usage(format!("several steps of run {short} ask for approval: {}", names.join(", ")))
                .help("name the one you mean"))
        }
    }
}

fn same_plan(state: &RunState, seen: Option<&str>) -> Result<(), Failure> {
    let Some(seen) = seen.filter(|seen| !state.plan.starts_with(seen)) else { return Ok(()) };
    Err(Failure::usage(format!(
        "the plan of this run is {}, not {seen}: what you have seen is not what would run",
        state.plan
    ))
    .help(format!("look at it: `runward show {}`; nothing was decided", words::short(&state.id.0))))
}

fn said(state: &RunState, unit: Unit, decision: Decision, driven: bool) -> String {
    let (step, short) = (state.unit_name(unit), words::short(&state.id.0));
    let word = match decision {
        Decision::Approved => "approved",
        Decision::Rejected => "rejected",
    };
    let what = format!("{word} {step} of {} (run {short})\n  plan {}", text::safe(&state.name), state.plan);
    let waits = state.unit(unit).is_some_and(|unit| unit.status == StepStatus::Waiting);
    let next = match (waits, state.status.is_terminal(), driven) {
        (true, ..) => format!("more have to agree: {}", text::safe(&state.who_is_asked(unit).unwrap_or_default())),
        (false, true, _) => format!("the run is {}", state.status),
        (false, false, true) => "the run goes on".to_owned(),
        (false, false, false) => format!("nobody drives the run: `runward resume {short}` carries it on"),
    };
    format!("{what}\n  {next}")
}
