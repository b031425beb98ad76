//! Many at once: the promises of a ledger to those who get in each other's way.

use std::num::NonZeroU32;
use std::sync::Arc;

use runward_engine::run::event::Outcome;
use runward_engine::run::group::{Group, Permit};
use runward_engine::run::outputs::Outputs;
use runward_engine::run::{Command, Reject, RunId, RunStatus};
use runward_engine::runbook::model::WhenBusy;
use tokio::task::JoinSet;

use super::{accept, claim, finished, new_run, prune, settle};
use crate::check;
use crate::ledger::{LastRun, Ledger, NewRun, RunQuery, command};

const MANY: usize = 12;

async fn all<T: 'static>(tasks: JoinSet<T>) -> Vec<T> {
    tasks.join_all().await
}

async fn sound(ledger: &dyn Ledger) {
    let rows = ledger.runs(&RunQuery::default()).await.unwrap();
    for row in &rows {
        assert_eq!(check::run(ledger, &row.id).await.unwrap().differences, Vec::<String>::new());
    }
    assert_eq!(check::pinned(ledger, &rows).await, Vec::<String>::new());
}

pub async fn of_many_triggers_with_one_key_one_is_the_run(ledger: Arc<dyn Ledger>) {
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move { ledger.trigger(new_run(&format!("run-{n}"), Some("nightly"))).await.unwrap() });
    }
    let triggered = all(tasks).await;
    let first = triggered[0].view.state.id.clone();
    assert!(triggered.iter().all(|one| one.view.state.id == first));
    assert_eq!(triggered.iter().filter(|one| one.created).count(), 1);
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 1);
}

pub async fn of_many_claims_of_a_step_one_is_accepted(ledger: Arc<dyn Ledger>) {
    ledger.trigger(new_run("run-1", None)).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move {
            let mut view = ledger.load(&"run-1".into()).await.unwrap();
            command(&*ledger, &mut view, claim(0, &format!("c{n}")), "tester").await.unwrap()
        });
    }
    let replies = all(tasks).await;
    assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 1);
    assert!(replies.iter().all(|reply| reply.is_ok() || matches!(reply, Err(Reject::NotReady { .. }))), "{replies:?}");
    sound(&*ledger).await;
}

pub async fn of_many_who_start_only_if_nobody_did_one_starts(ledger: Arc<dyn Ledger>) {
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let ledger = Arc::clone(&ledger);
        let new = NewRun { only_after: Some(LastRun(None)), ..new_run(&format!("run-{n}"), None) };
        tasks.spawn(async move { ledger.trigger(new).await.is_ok() });
    }
    assert_eq!(all(tasks).await.into_iter().filter(|started| *started).count(), 1);
}

pub async fn a_group_is_never_overfull_whoever_asks_at_once(ledger: Arc<dyn Ledger>) {
    const LIMIT: u32 = 2;
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move {
            let group = Group { name: "db".into(), limit: NonZeroU32::new(LIMIT).unwrap(), when_busy: WhenBusy::Queue };
            let new = NewRun { group: Some(group), ..new_run(&format!("run-{n:02}"), None) };
            let mut view = ledger.trigger(new).await.unwrap().view;
            while command(&*ledger, &mut view, Command::Enter { passing: [].into() }, "tester").await.unwrap().is_err()
            {
                tokio::task::yield_now().await;
            }
            let members = ledger.group("db").await.unwrap();
            let holders = members.iter().filter(|member| member.permit == Permit::Holds).count();
            for unit in 0..3 {
                let id = format!("{n}-{unit}");
                accept(&*ledger, &mut view, claim(unit, &id)).await;
                accept(&*ledger, &mut view, settle(&id, Outcome::Succeeded)).await;
            }
            assert_eq!(view.state.status, RunStatus::Succeeded);
            holders
        });
    }
    assert!(all(tasks).await.into_iter().all(|holders| holders <= LIMIT as usize));
    assert!(ledger.group("db").await.unwrap().is_empty());
    sound(&*ledger).await;
}

pub async fn what_a_new_run_needs_stays_while_others_prune(ledger: Arc<dyn Ledger>) {
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move {
            let pruned = finished(&*ledger, &format!("old-{n}"), None).await;
            let gone = prune(&*ledger, vec![pruned.clone()]).await;
            assert_eq!(gone, [pruned]);
            ledger.trigger(new_run(&format!("new-{n}"), None)).await.unwrap();
        });
    }
    all(tasks).await;
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), MANY);
    sound(&*ledger).await;
    let record = ledger.administration().await.unwrap();
    assert_eq!(record.len(), MANY);
}

pub async fn a_run_is_pruned_once_however_many_want_it(ledger: Arc<dyn Ledger>) {
    let over = finished(&*ledger, "run-1", Some("k")).await;
    let mut tasks = JoinSet::new();
    for _ in 0..MANY {
        let (ledger, over) = (Arc::clone(&ledger), over.clone());
        tasks.spawn(async move { prune(&*ledger, vec![over]).await.len() });
    }
    assert_eq!(all(tasks).await.into_iter().sum::<usize>(), 1);
    assert_eq!(ledger.administration().await.unwrap().len(), 1);
}

pub async fn whatever_a_program_prints_can_be_recorded(ledger: Arc<dyn Ledger>) {
    let mut view = ledger.trigger(new_run("run-1", Some("k\0"))).await.unwrap().view;
    accept(&*ledger, &mut view, claim(0, "c1")).await;
    let mut said = settle("c1", Outcome::Failed { code: Some(1), signal: None });
    if let Command::Settle { report, .. } = &mut said {
        report.error = Some("no\0thing \u{F0000} \u{10FFFF} 备份 \u{1b}[0m".into());
        report.outputs = Outputs::from([("nul".to_owned(), "a\0b".into())]);
    }
    accept(&*ledger, &mut view, said).await;
    sound(&*ledger).await;
    let (_, steps, attempts) = ledger.rows(&"run-1".into()).await.unwrap();
    assert!(attempts[0].error.as_ref().is_some_and(|error| error.contains("no\0thing \u{F0000}")), "{attempts:?}");
    assert!(steps.iter().any(|step| step.error.as_ref().is_some_and(|error| error.contains('\0'))), "{steps:?}");
    let again = ledger.trigger(new_run("run-2", Some("k\0"))).await.unwrap();
    assert_eq!(again.view.state.id, RunId::from("run-1"));
}
