//! Runs that must not overlap: the promises of a ledger about permits (RELIABILITY.md I14).

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use runward_engine::run::event::Outcome;
use runward_engine::run::group::{Group, Member, Permit, Priority};
use runward_engine::run::{Command, Reject, RunId, RunState, RunStatus, Verdict};
use runward_engine::runbook::model::WhenBusy;

use super::{accept, claim, new_run, settle};
use crate::check;
use crate::error::LedgerError;
use crate::ledger::{Ledger, NewRun, RunView, command};

const GROUP: &str = "pg-prod 备份";

fn of_group(id: &str, limit: u32, when_busy: WhenBusy) -> NewRun {
    let group = Group { name: GROUP.into(), limit: NonZeroU32::new(limit).unwrap(), when_busy };
    NewRun { group: Some(group), ..new_run(id, None) }
}

fn enter(passing: &[&str]) -> Command {
    Command::Enter { passing: passing.iter().map(|id| RunId::from(*id)).collect() }
}

/// Asks for a permit, and what came of it.
async fn asks(ledger: &dyn Ledger, view: &mut RunView, passing: &[&str]) -> Result<(), Reject> {
    let reply = command(ledger, view, enter(passing), "tester").await.unwrap();
    consistent(ledger, view).await;
    reply
}

async fn consistent(ledger: &dyn Ledger, view: &RunView) {
    let checked = check::run(ledger, &view.state.id).await.unwrap();
    assert_eq!(checked.differences, Vec::<String>::new());
    assert_eq!(checked.run.head, view.head);
}

async fn queue(ledger: &dyn Ledger, ids: &[&str], limit: u32) -> Vec<RunView> {
    let mut views = Vec::new();
    for id in ids {
        views.push(ledger.trigger(of_group(id, limit, WhenBusy::Queue)).await.unwrap().view);
    }
    views
}

/// Who holds a permit, and who waits.
async fn standing(ledger: &dyn Ledger) -> (Vec<String>, Vec<String>) {
    let members = ledger.group(GROUP).await.unwrap();
    let of = |permit| {
        let found = members.iter().filter(|member: &&Member| member.permit == permit);
        found.map(|member| member.run.0.clone()).collect()
    };
    (of(Permit::Holds), of(Permit::Waits))
}

/// Every step succeeds.
async fn ends(ledger: &dyn Ledger, view: &mut RunView) {
    for n in 0..3 {
        let id = format!("{}-{n}", view.state.id);
        accept(ledger, view, claim(n, &id)).await;
        accept(ledger, view, settle(&id, Outcome::Succeeded)).await;
    }
    assert_eq!(view.state.status, RunStatus::Succeeded);
}

pub async fn a_group_takes_no_more_runs_than_its_limit(ledger: Arc<dyn Ledger>) {
    let mut views = queue(&*ledger, &["run-1", "run-2", "run-3", "run-4"], 2).await;
    for view in views.iter_mut().rev().take(2) {
        let busy = asks(&*ledger, view, &[]).await;
        assert!(matches!(busy, Err(Reject::GroupBusy { limit: 2, .. })), "who came first goes first: {busy:?}");
    }
    asks(&*ledger, &mut views[1], &[]).await.unwrap();
    asks(&*ledger, &mut views[0], &[]).await.unwrap();
    asks(&*ledger, &mut views[0], &[]).await.unwrap();
    assert!(asks(&*ledger, &mut views[2], &["run-4"]).await.is_err());
    let (mut holders, waiting) = standing(&*ledger).await;
    holders.sort();
    assert_eq!(
        (holders.as_slice(), waiting.as_slice()),
        (&["run-1", "run-2"].map(String::from)[..], &["run-3", "run-4"].map(String::from)[..])
    );
    ends(&*ledger, &mut views[0]).await;
    assert!(asks(&*ledger, &mut views[3], &[]).await.is_err(), "it is the turn of run-3");
    asks(&*ledger, &mut views[2], &[]).await.unwrap();
    ends(&*ledger, &mut views[2]).await;
    ends(&*ledger, &mut views[1]).await;
    asks(&*ledger, &mut views[3], &[]).await.unwrap();
    ends(&*ledger, &mut views[3]).await;
    assert_eq!(standing(&*ledger).await, (vec![], vec![]));
}

pub async fn nothing_is_claimed_without_the_permit(ledger: Arc<dyn Ledger>) {
    let mut views = queue(&*ledger, &["run-1", "run-2"], 1).await;
    let refused = command(&*ledger, &mut views[0], claim(0, "c1"), "tester").await.unwrap();
    assert!(matches!(refused, Err(Reject::NoPermit { .. })), "{refused:?}");
    for (view, taken) in views.iter_mut().zip([true, false]) {
        let mut commands = vec![claim(0, &format!("{}-0", view.state.id)), enter(&[])];
        let committed = ledger.commit(view, &mut |_: &RunState| commands.pop(), "tester").await.unwrap();
        assert!(committed.replies.iter().all(|reply| reply.is_ok() == taken), "both or none: {:?}", committed.replies);
        assert_eq!(view.state.live().len(), usize::from(taken));
        consistent(&*ledger, view).await;
    }
    // Neither a pause nor a failed step gives it back: only the end does.
    let failed = Outcome::Failed { code: Some(1), signal: None };
    accept(&*ledger, &mut views[0], Command::Pause { reason: None }).await;
    accept(&*ledger, &mut views[0], settle("run-1-0", failed)).await;
    assert!(asks(&*ledger, &mut views[1], &["run-1"]).await.is_err(), "a holder cannot be passed over");
    accept(&*ledger, &mut views[0], Command::Unpause).await;
    accept(&*ledger, &mut views[0], claim(2, "c3")).await;
    accept(&*ledger, &mut views[0], settle("c3", Outcome::Succeeded)).await;
    asks(&*ledger, &mut views[1], &[]).await.unwrap();
    accept(&*ledger, &mut views[0], Command::Resume { from: None, reason: None }).await;
    assert!(asks(&*ledger, &mut views[0], &[]).await.is_err(), "the next generation asks again");
    assert_eq!(standing(&*ledger).await, (vec!["run-2".into()], vec!["run-1".into()]));
}

pub async fn whoever_does_not_wait_ends_at_once(ledger: Arc<dyn Ledger>) {
    let mut first = queue(&*ledger, &["run-1"], 1).await.remove(0);
    asks(&*ledger, &mut first, &[]).await.unwrap();
    for (id, when_busy, status) in
        [("run-2", WhenBusy::Skip, RunStatus::Cancelled), ("run-3", WhenBusy::Fail, RunStatus::Failed)]
    {
        let mut view = ledger.trigger(of_group(id, 1, when_busy)).await.unwrap().view;
        asks(&*ledger, &mut view, &[]).await.unwrap();
        assert_eq!((view.state.status, Verdict::of(&view.state)), (status, Verdict::Busy));
        assert!(view.state.steps().iter().all(|step| step.whole.attempts.is_empty()));
    }
    assert_eq!(standing(&*ledger).await, (vec!["run-1".into()], vec![]));
    ends(&*ledger, &mut first).await;
    let mut alone = ledger.trigger(of_group("run-4", 1, WhenBusy::Skip)).await.unwrap().view;
    asks(&*ledger, &mut alone, &[]).await.unwrap();
    ends(&*ledger, &mut alone).await;
}

pub async fn a_run_that_nobody_drives_is_passed_over(ledger: Arc<dyn Ledger>) {
    let mut views = queue(&*ledger, &["run-1", "run-2", "run-3"], 1).await;
    assert!(asks(&*ledger, &mut views[2], &["run-1"]).await.is_err(), "run-2 is still before it");
    asks(&*ledger, &mut views[2], &["run-1", "run-2"]).await.unwrap();
    assert!(asks(&*ledger, &mut views[0], &[]).await.is_err());
    ends(&*ledger, &mut views[2]).await;
    asks(&*ledger, &mut views[0], &[]).await.unwrap();
}

pub async fn who_is_paused_or_cancelled_keeps_nobody_waiting(ledger: Arc<dyn Ledger>) {
    let mut views = queue(&*ledger, &["run-1", "run-2", "run-3"], 1).await;
    accept(&*ledger, &mut views[0], Command::Pause { reason: None }).await;
    let cancel = Command::Cancel { force: false, rollback: false, reason: Some("too late".into()) };
    accept(&*ledger, &mut views[1], cancel).await;
    assert_eq!(views[1].state.status, RunStatus::Cancelled, "nothing was begun: there is nothing to clean up");
    assert_eq!(standing(&*ledger).await, (vec![], vec!["run-3".into()]));
    asks(&*ledger, &mut views[2], &[]).await.unwrap();
    accept(&*ledger, &mut views[0], Command::Unpause).await;
    assert_eq!(standing(&*ledger).await, (vec!["run-3".into()], vec!["run-1".into()]));
}

pub async fn priority_goes_before_age(ledger: Arc<dyn Ledger>) {
    let mut views = Vec::new();
    for (id, priority) in
        [("run-1", Priority::Low), ("run-2", Priority::Normal), ("run-3", Priority::High), ("run-4", Priority::Normal)]
    {
        let new = NewRun { priority, ..of_group(id, 1, WhenBusy::Queue) };
        views.push(ledger.trigger(new).await.unwrap().view);
    }
    let turns = ["run-3", "run-2", "run-4", "run-1"];
    assert_eq!(standing(&*ledger).await.1, turns);
    for turn in turns {
        let mut taken = Vec::new();
        for view in views.iter_mut().filter(|view| !view.state.status.is_terminal()) {
            if asks(&*ledger, view, &[]).await.is_ok() {
                taken.push(view.state.id.0.clone());
            }
        }
        assert_eq!(taken, [turn]);
        let view = views.iter_mut().find(|view| view.state.id.0 == turn).unwrap();
        ends(&*ledger, view).await;
    }
    let row = ledger.rows(&"run-3".into()).await.unwrap().0;
    assert_eq!((row.group.as_deref(), row.permit, row.priority), (Some(GROUP), None, Priority::High));
}

pub async fn a_full_queue_refuses_the_next(ledger: Arc<dyn Ledger>) {
    let limited = |id: &str, when_busy| NewRun { queued_max: 2, ..of_group(id, 1, when_busy) };
    for id in ["run-1", "run-2", "run-3"] {
        let mut view = ledger.trigger(limited(id, WhenBusy::Queue)).await.unwrap().view;
        let _ = asks(&*ledger, &mut view, &[]).await;
    }
    match ledger.trigger(limited("run-4", WhenBusy::Queue)).await {
        Err(LedgerError::GroupFull { group, queued: 2, max: 2 }) => assert_eq!(group, GROUP),
        other => panic!("{other:?}"),
    }
    assert!(matches!(ledger.load(&"run-4".into()).await, Err(LedgerError::NoSuchRun(_))));
    let ids: BTreeSet<String> = ledger.group(GROUP).await.unwrap().into_iter().map(|member| member.run.0).collect();
    assert_eq!(ids.len(), 3);
    assert!(ledger.trigger(limited("run-5", WhenBusy::Skip)).await.is_ok(), "who does not wait needs no place");
}
