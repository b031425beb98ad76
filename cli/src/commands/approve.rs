//! `runward approve` and `reject`: what somebody says about the plan that a run waits with.

use runward_engine::run::approval::Decision;
use runward_engine::run::given::{Given, words};
use runward_engine::run::{Command, Reject, RunState, StepStatus, Unit};
use runward_store::RunView;
use serde_json::json;

use super::below::{asking, below};
use super::drive::start_driver;
use super::give;
use super::{print_json, print_line};
use crate::actor::actor;
use crate::args::{ApproveArgs, DecideArgs, Format, RejectArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, find_run, find_unit, open, top};
use crate::person;
use crate::refusal::{act, refused};
use crate::text;
use crate::view::words;

pub async fn approve(config: &Config, args: ApproveArgs) -> Result<i32, Failure> {
    decide(config, Asked { decision: Decision::Approved, about: args.about, comment: args.comment }).await
}

pub async fn reject(config: &Config, args: RejectArgs) -> Result<i32, Failure> {
    decide(config, Asked { decision: Decision::Rejected, about: args.about, comment: Some(args.comment) }).await
}

struct Asked {
    decision: Decision,
    about: DecideArgs,
    comment: Option<String>,
}

async fn decide(config: &Config, mut asked: Asked) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let about = &asked.about;
    let id = find_run(opened.ledger(), &about.run).await?;
    let (mut view, step) = meant(&opened, opened.ledger().load(&id).await?, about.step.as_deref()).await?;
    let id = view.state.id.clone();
    asked.about.step = step;
    let about = &asked.about;
    let (unit, was) = match given_before(&opened, &view, &asked) {
        Some(found) => found,
        None => {
            let unit = which(&view.state, about.step.as_deref())?;
            same_plan(&view.state, about.plan.as_deref())?;
            (unit, say(&opened, &mut view, unit, &asked).await?)
        }
    };
    let state = &view.state;
    // A run that is a step of another one is carried on with that.
    let top = top(&opened, state).await?;
    let driver = opened.driver(&top.id);
    let (mut pid, mut driven) = (driver.pid().map(str::to_owned), driver.is_there());
    let settled = state.unit(unit).is_some_and(|unit| unit.status != StepStatus::Waiting);
    if let Some(home) = opened.home().filter(|_| about.resume && settled && !top.status.is_terminal() && !driven) {
        (pid, driven) = (Some(start_driver(&opened, home, &top.id)?.to_string()), true);
    }
    if let Some(was) = was {
        return Ok(give::repeated(&id, &was, about.format));
    }
    match about.format {
        Format::Json => print_json(&json!({
            "run": id, "step": state.unit_name(unit), "decision": asked.decision, "plan": state.plan,
            "status": state.unit(unit).map(|unit| unit.status), "driver_pid": pid,
        })),
        Format::Text => print_line(&said(state, unit, &top, asked.decision, driven)),
    }
    Ok(0)
}

fn word(opened: &Opened, state: &RunState, unit: Unit, asked: &Asked) -> Command {
    Command::Decide {
        unit,
        decision: asked.decision,
        person: person::person(opened.home()),
        plan: state.plan.clone(),
        generation: state.generation,
        comment: asked.comment.clone(),
    }
}

/// The same word with the same id, whatever is asked now where no step is named.
fn given_before(opened: &Opened, view: &RunView, asked: &Asked) -> Option<(Unit, Option<Given>)> {
    let was = view.state.given.get(asked.about.id.command_id.as_ref()?)?;
    let steps = (0..view.state.runbook.steps.len() as u32).map(Unit::step);
    let meant = |unit: &Unit| asked.about.step.as_ref().is_none_or(|step| view.state.unit_name(*unit) == *step);
    let same = |unit: &Unit| words(&view.state, &word(opened, &view.state, *unit, asked)) == was.asked;
    let unit = steps.filter(meant).find(same)?;
    Some((unit, Some(was.clone())))
}

/// A deadline that has passed is taken note of first: whoever comes too late is told so. What was given before, if it was.
async fn say(opened: &Opened, view: &mut RunView, unit: Unit, asked: &Asked) -> Result<Option<Given>, Failure> {
    let decide = give::with_id(word(opened, &view.state, unit, asked), &asked.about.id);
    let mut commands = vec![decide, Command::Wake];
    let mut committed = opened.ledger().commit(view, &mut |_| commands.pop(), &actor()).await?;
    opened.tell(&view.state).await;
    match committed.replies.pop() {
        // Two at the same moment, with one id.
        Some(Err(Reject::Repeated { was })) => Ok(Some(*was)),
        Some(Err(reject)) => Err(refused(reject, &view.state.id)),
        _ => Ok(None),
    }
}

/// The run whose step asks: this one, or one that is a step of it, named as `deploy/agree` or the only one that asks.
async fn meant(opened: &Opened, view: RunView, step: Option<&str>) -> Result<(RunView, Option<String>), Failure> {
    if let Some(step) = step {
        return below(opened, view, Some(step.to_owned())).await;
    }
    if view.state.asked().len() > 0 || view.state.children().is_empty() {
        return Ok((view, None));
    }
    let mut found = asking(opened, &view.state).await?;
    match (found.pop(), &found[..]) {
        (None, _) => Ok((view, None)),
        (Some((view, unit, _)), []) => {
            let step = view.state.unit_name(unit);
            Ok((view, Some(step)))
        }
        (Some(last), others) => {
            let names: Vec<&str> = others.iter().chain([&last]).map(|(_, _, name)| name.as_str()).collect();
            let short = words::short(&view.state.id.0);
            Err(Failure::usage(format!("several steps below run {short} ask for approval: {}", names.join(", ")))
                .help(format!("name the one you mean: `runward approve {short} {}`", names[0])))
        }
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
            let who = state.cancelled().map(|was| format!(", by {}", act(was))).unwrap_or_default();
            let message = format!("nothing in run {short} asks for approval now; it is {}{who}", state.status);
            Err(Failure::usage(message).help(format!("`runward show {short}` says where it stands")))
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

fn said(state: &RunState, unit: Unit, top: &RunState, decision: Decision, driven: bool) -> String {
    let (step, short) = (state.unit_name(unit), words::short(&state.id.0));
    let word = match decision {
        Decision::Approved => "approved",
        Decision::Rejected => "rejected",
    };
    let what = format!("{word} {step} of {} (run {short})\n  plan {}", text::safe(&state.name), state.plan);
    let waits = state.unit(unit).is_some_and(|unit| unit.status == StepStatus::Waiting);
    let next = match (waits, top.status.is_terminal(), driven) {
        (true, ..) => format!("more have to agree: {}", text::safe(&state.who_is_asked(unit).unwrap_or_default())),
        (false, true, _) => format!("the run is {}", top.status),
        (false, false, true) => "the run goes on".to_owned(),
        (false, false, false) => {
            format!("nobody drives the run: `runward resume {}` carries it on", words::short(&top.id.0))
        }
    };
    format!("{what}\n  {next}")
}
