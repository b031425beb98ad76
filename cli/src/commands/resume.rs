//! `runward resume`: carries on a run that lost its driver, or tries again what did not succeed.

use runward_engine::run::{Command, Event, RunId, StepStatus};
use runward_store::RunView;

use super::begin::{self, Wheel};
use super::drive::refuse_unseen_report;
use super::give;
use crate::actor::actor;
use crate::args::{ResumeArgs, RunFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, find_run, open, refuse_child};
use crate::refusal::refused;
use crate::text;
use crate::view::Showing;

pub async fn run(config: &Config, args: &ResumeArgs) -> Result<i32, Failure> {
    let showing = Showing::of(&args.showing)?;
    refuse_unseen_report(args.detach, &showing)?;
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    carry_on(&opened, &id, args, showing).await
}

/// Whatever `args` call the run, it is this one.
pub(super) async fn carry_on(opened: &Opened, id: &RunId, args: &ResumeArgs, showing: Showing) -> Result<i32, Failure> {
    match begin::take(opened, id, &args.id).await? {
        Wheel::Given(mut view) => {
            let resume = resume(&view, args)?;
            give::again(opened, &mut view, resume, &args.id, args.detach, showing).await
        }
        Wheel::Mine(seat, mut view) => {
            refuse_child(opened, &view.state).await?;
            if view.state.is_at_rest() || args.from.is_some() || args.id.command_id.is_some() {
                again(opened, &mut view, args, showing.format).await?;
            }
            begin::go(opened, seat, view, args.detach, showing).await
        }
        Wheel::Taken(view, taken) => {
            refuse_child(opened, &view.state).await?;
            let goes_on = !view.state.is_at_rest() && args.from.is_none();
            match args.id.command_id.is_some() && goes_on {
                true => join(opened, view, args, showing).await,
                false => Err(taken.into()),
            }
        }
    }
}

/// What is asked for with an id is done, by whoever drives the run: it is on the record, and watched to its end.
async fn join(opened: &Opened, mut view: RunView, args: &ResumeArgs, showing: Showing) -> Result<i32, Failure> {
    let resume = resume(&view, args)?;
    give::again(opened, &mut view, resume, &args.id, args.detach, showing).await
}

fn resume(view: &RunView, args: &ResumeArgs) -> Result<Command, Failure> {
    let from = match &args.from {
        None => None,
        Some(id) => Some(crate::open::find_step(&view.state, id)?),
    };
    Ok(Command::Resume { from, reason: args.reason.clone() })
}

/// Begins the next generation, and says what is done a second time.
async fn again(opened: &Opened, view: &mut RunView, args: &ResumeArgs, format: RunFormat) -> Result<(), Failure> {
    let had_succeeded: Vec<bool> =
        view.state.steps().iter().map(|step| step.whole.status == StepStatus::Succeeded).collect();
    let mut once = Some(give::with_id(resume(view, args)?, &args.id));
    let mut committed = opened.ledger().commit(view, &mut |_| once.take(), &actor()).await?;
    if let Some(Err(reject)) = committed.replies.pop() {
        return Err(refused(reject, &view.state.id));
    }
    opened.tell(&view.state).await;
    let resumed = committed.news.iter().find_map(|recorded| match &recorded.event {
        Event::RunResumed { reset, from, .. } => Some((reset, from)),
        _ => None,
    });
    if let Some((reset, from)) = resumed
        && format != RunFormat::Json
    {
        let twice = |id: &&String| view.state.step_named(id).is_some_and(|step| had_succeeded[step as usize]);
        let all: Vec<&str> = reset.iter().map(String::as_str).collect();
        let twice: Vec<&str> = reset.iter().filter(twice).map(String::as_str).collect();
        let and = if twice.is_empty() { String::new() } else { format!("; had succeeded: {}", names(&twice)) };
        match from {
            Some(from) => {
                eprintln!("{}", text::safe(&format!("from {from} on, what runs again: {}{and}", names(&all))))
            }
            None if twice.is_empty() => {}
            None => {
                let what = "what followed a step that was taken back runs again";
                eprintln!("{}", text::safe(&format!("{what}: {}", names(&twice))));
            }
        }
    }
    Ok(())
}

fn names(all: &[&str]) -> String {
    const SHOWN: usize = 20;
    let rest = all.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", all[..all.len().min(SHOWN)].join(", "))
}
