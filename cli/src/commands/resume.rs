//! `runward resume`: carries on a run that lost its driver, or tries again what did not succeed.

use runward_engine::run::{Command, Event, StepStatus};
use runward_store::{Ledger, LedgerError, RunView};
use runward_workers::home::DriverLock;

use super::drive::{detach, drive, refuse_unseen_report};
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
    let id = find_run(&opened.ledger, &args.run).await?;
    let mut known = opened.ledger.load(&id).await?;
    if give::is_known(&known, &args.id) {
        let resume = resume(&known, args)?;
        return give::again(&opened, &mut known, resume, &args.id, args.detach, showing).await;
    }
    let lock = match DriverLock::take(&opened.home, &id) {
        Ok(lock) => lock,
        Err(taken) => {
            refuse_child(&opened, &known.state).await?;
            return Err(taken.into());
        }
    };
    let mut view = match opened.ledger.load(&id).await {
        // Pruned in between: taking the lock has made its folder again.
        Err(error @ LedgerError::NoSuchRun(_)) => {
            opened.home.forget(&id);
            return Err(error.into());
        }
        loaded => loaded?,
    };
    refuse_child(&opened, &view.state).await?;
    if view.state.status.is_terminal() || view.state.asks_for_rollback() || args.from.is_some() {
        again(&opened, &mut view, args, showing.format).await?;
    }
    if args.detach {
        drop(lock);
        return detach(&opened, &id, showing.format);
    }
    drive(&opened, lock, view, showing).await
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
    let mut committed = opened.ledger.commit(view, &mut |_| once.take(), &actor()).await?;
    if let Some(Err(reject)) = committed.replies.pop() {
        return Err(refused(reject, &view.state.id));
    }
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
