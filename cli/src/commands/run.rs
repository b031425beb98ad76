//! `runward run`: checks, records, drives.

use std::collections::BTreeSet;

use runward_engine::run::group::Priority;
use runward_engine::run::{RunId, RunState, Verdict};
use runward_engine::runbook::model::Runbook;
use runward_store::{LedgerError, NewRun, RunQuery};
use runward_workers::home::DriverLockError;
use serde_json::{Map, Value};

use super::drive::{named, refuse_unseen_report};
use super::follow::{Followed, Stake, follow, show_end};
use super::plan::saved::{SavedPlan, another_run};
use super::{begin, override_window, params, preview, resume};
use crate::actor::actor;
use crate::args::{CommandIdArgs, PriorityName, ResumeArgs, RunArgs, RunFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, Seat, new_run, new_seed, open, system_zone, zone_name};
use crate::runbook_file::{
    As, Pinned, all, locate, pin, refuse_one_database, refuse_unbuilt, refuse_unknown_connections,
};
use crate::text;
use crate::view::{Showing, words};

pub async fn run(config: &Config, args: RunArgs) -> Result<i32, Failure> {
    let folders = &config.settings.runbooks;
    let plan = args.plan.as_deref().map(SavedPlan::read).transpose()?;
    let runbook = args.runbook.clone().or_else(|| plan.as_ref().map(SavedPlan::runbook)).unwrap_or_default();
    let is_drill = args.drill || plan.as_ref().is_some_and(SavedPlan::is_drill);
    let file = As::drill(is_drill).load(&locate(&runbook, folders)?, folders)?;
    refuse_unbuilt(&file)?;
    refuse_unknown_connections(&file, &config.settings)?;
    if is_drill {
        refuse_one_database(&file, &config.settings.connections)?;
    }
    let showing = Showing { file: Some(file.path.clone()), ..Showing::of(&args.showing)? };
    refuse_unseen_report(args.detach, &showing)?;
    let params = match &plan {
        Some(plan) => plan.params(&file, &args.params)?,
        None => params::resolve(&file.runbook, &args.params, true)?.params,
    };
    let group = runward_engine::plan::group(&file.runbook, &params)
        .map_err(|message| Failure::usage(message).help("nothing was started; give parameters that name a group"))?;
    let Pinned { definition, called, blobs } = pin(&file)?;
    if args.check {
        return preview::check(&file, &params, showing.format);
    }
    if args.fail_if_closed {
        refuse_closed(&file.runbook)?;
    }
    let opened = open(config).await?;
    if let Some(plan) = &plan {
        // What a key names already was checked when it started, and may have changed what the plan looked at.
        if !names_a_run(&opened, args.key.as_deref()).await? {
            plan.check(&file, &definition, &params, opened.ledger()).await?;
        }
    }
    let new = NewRun {
        id: new_run(),
        definition,
        called,
        blobs,
        params,
        trigger: "cli".to_owned(),
        group,
        priority: match args.priority {
            PriorityName::High => Priority::High,
            PriorityName::Normal => Priority::Normal,
            PriorityName::Low => Priority::Low,
        },
        queued_max: config.settings.queued_max,
        key: args.key.clone(),
        parent: None,
        seed: new_seed(),
        actor: actor(),
        planned: plan.as_ref().map(SavedPlan::planned),
        only_after: plan.as_ref().map(SavedPlan::last_run),
        zone: system_zone(all(&file).into_iter().map(|file| &file.runbook)),
        requester: crate::person::requester(),
        tick: None,
    };
    let asked = Asked { name: file.name.clone(), definition: new.definition.hash(), params: new.params.clone() };
    // Before the run exists nobody can drive it; the lock is taken first, so that nobody else ever does.
    let fresh = new.id.clone();
    let seat = opened.seat(&fresh)?;
    let triggered = match opened.ledger().trigger(new).await {
        Ok(triggered) => triggered,
        Err(error) => {
            seat.forget(&fresh);
            return Err(moved_on(error));
        }
    };
    let mut view = triggered.view;
    if triggered.created {
        tracing::info!(run = %view.state.id, name = view.state.name, "recorded");
    }
    if !triggered.created {
        seat.forget(&fresh);
        same_job(&view.state, &asked)?;
        if let Some(args) = tried_again(&view.state, &args) {
            eprintln!("the run of this key is over; this try resumes it, once");
            return resume::carry_on(&opened, &view.state.id, &args, showing).await;
        }
        return existing(&opened, &view.state, args.detach, showing).await;
    }
    if let Some(reason) = args.reason {
        override_window::record(&opened, &mut view, reason).await?;
    }
    opened.tell(&view.state).await;
    begin::go(&opened, seat, view, args.detach, showing).await
}

async fn names_a_run(opened: &Opened, key: Option<&str>) -> Result<bool, Failure> {
    let Some(key) = key else { return Ok(false) };
    let query = RunQuery { key: Some(key.to_owned()), limit: Some(1), ..RunQuery::default() };
    Ok(!opened.ledger().runs(&query).await?.is_empty())
}

/// Somebody else was faster than the plan.
fn moved_on(error: LedgerError) -> Failure {
    let LedgerError::MovedOn { newest } = error else { return error.into() };
    let short = words::short(&newest.id.0);
    Failure::usage(format!(
        "`{}` moved on since it was planned, and nothing was started:\n- {}",
        newest.name,
        another_run(&newest)
    ))
    .help(format!("look at it: `runward show {short}`; then plan again, and look at what differs"))
}

/// For a caller that does not wait: a closed window is an answer, and nothing has happened.
fn refuse_closed(runbook: &Runbook) -> Result<(), Failure> {
    let zone = zone_name().parse().unwrap_or(chrono_tz::Tz::UTC);
    let Some(closed) = runbook.windows.closed(text::now(), zone) else { return Ok(()) };
    let until = closed.until.map_or("it never opens".to_owned(), |at| format!("it opens at {}", text::time(at)));
    let message = format!("the window is closed, {}: {until}", text::safe(&closed.because));
    Err(Failure::new(EXIT_CLOSED, message).help(
        "nothing was started; without --fail-if-closed the run waits, with --override-window --reason WHY it does not",
    ))
}

/// A closed window, or a busy group.
const EXIT_CLOSED: i32 = 5;

/// What a call with a key asks for, to be compared with what the key already names.
struct Asked {
    name: String,
    definition: String,
    params: Map<String, Value>,
}

/// A key names one job. Another job under the same key is a mistake of the caller, never silently the first one.
fn same_job(state: &RunState, asked: &Asked) -> Result<(), Failure> {
    let differs = if state.name != asked.name {
        format!("of the runbook `{}`", state.name)
    } else if state.params != asked.params {
        let names: BTreeSet<&String> = state.params.keys().chain(asked.params.keys()).collect();
        let other = names.into_iter().filter(|name| state.params.get(*name) != asked.params.get(*name));
        format!("with other parameters: {}", other.map(String::as_str).collect::<Vec<_>>().join(", "))
    } else if state.definition != asked.definition {
        "and its runbook, or a file it names, was changed since".to_owned()
    } else {
        return Ok(());
    };
    let (key, id) = (state.key.as_deref().unwrap_or_default(), &state.id);
    Err(Failure::usage(format!("the key `{key}` belongs to run {id}, {differs}"))
        .help("nothing was started. A new job needs a new key: use a new key, or repeat the call exactly as it was"))
}

/// How a run of this key is resumed by a call that is not its first try. What nobody knows the end of is for people to say.
fn tried_again(state: &RunState, args: &RunArgs) -> Option<ResumeArgs> {
    let nth = args.nth_try.filter(|nth| *nth > 1)?;
    let (id, known) = (format!("try {nth}"), state.given.contains_key(&format!("try {nth}")));
    let again = matches!(
        Verdict::of(state),
        Verdict::Failed
            | Verdict::TimedOut
            | Verdict::Rejected
            | Verdict::Cancelled
            | Verdict::Busy
            | Verdict::RolledBack
    );
    (known || again).then(|| ResumeArgs {
        run: state.id.0.clone(),
        from: None,
        reason: Some(format!("try {nth} of the job")),
        detach: args.detach,
        showing: args.showing.clone(),
        id: CommandIdArgs { command_id: Some(id) },
    })
}

/// The run that a key already named: shown if it is over, carried on if nobody does, else watched to its end.
async fn existing(opened: &Opened, state: &RunState, detached: bool, showing: Showing) -> Result<i32, Failure> {
    let (id, key) = (&state.id, state.key.as_deref().unwrap_or_default());
    if showing.format != RunFormat::Json {
        eprintln!("the key `{}` names run {id}: nothing is started twice", text::safe(key));
    }
    carry_on(opened, id, detached, showing).await
}

/// A run that somebody else may drive: shown if it is over, carried on if nobody does, else watched to its end.
pub(super) async fn carry_on(opened: &Opened, id: &RunId, detached: bool, showing: Showing) -> Result<i32, Failure> {
    loop {
        let seat = match opened.seat(id) {
            Ok(seat) => Some(seat),
            Err(DriverLockError::Taken { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let view = opened.ledger().load(id).await?;
        let over = view.state.status.is_terminal();
        match seat {
            Some(seat @ Seat::Driver(..)) if !over => return begin::go(opened, seat, view, detached, showing).await,
            _ if detached => {
                named(id, showing.format, None);
                return Ok(0);
            }
            _ if over => return show_end(opened, &view.state, showing).await,
            _ => match follow(opened, view, showing.clone(), Stake::None).await? {
                Followed::Ended(code) => return Ok(code),
                Followed::Abandoned => eprintln!("its driver is gone: this process carries it on"),
            },
        }
    }
}
