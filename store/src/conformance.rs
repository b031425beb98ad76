//! The suite every ledger passes: the same named tests, generated for each by [`ledger_conformance!`](crate::ledger_conformance).

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use runward_engine::plan::definition::{PinnedFile, sha256};
use runward_engine::plan::{Definition, plan_hash};
use runward_engine::retention::Retention;
use runward_engine::run::command::Report;
use runward_engine::run::event::{LogDigest, Outcome};
use runward_engine::run::outputs::Outputs;
use runward_engine::run::rows::AttemptRow;
use runward_engine::run::{Command, Reject, RunId, RunStatus, Unit};
use serde_json::{Map, json};

mod groups;
mod outbox;
mod races;
mod senders;
mod timetable;

pub use groups::*;
pub use outbox::*;
pub use races::*;
pub use senders::*;
pub use timetable::*;

use crate::administration::{AdminEvent, PrunedRun};
use crate::anchor::Head;
use crate::check;
use crate::error::LedgerError;
use crate::ledger::{LastRun, Ledger, NewRun, RunQuery, command};

/// A runbook of two steps that follow each other, and one in `finally`.
const SOURCE: &str = "params: {who: {type: string}}\nsteps:\n  - id: a\n    run: echo ${{ params.who }}\n  \
                      - id: b\n    run: \"true\"\nfinally:\n  - id: z\n    run: \"true\"\n";

/// Generates one test for each promise. `$make` is an async function that gives a fresh `Arc<dyn Ledger>`.
#[macro_export]
macro_rules! ledger_conformance {
    ($make:path) => {
        $crate::ledger_conformance!(
            @each $make:
            a_trigger_is_a_run_that_can_be_loaded,
            a_repeated_key_is_the_same_run,
            a_commit_is_seen_by_every_other_view,
            commands_meet_what_others_recorded_meanwhile,
            a_refused_command_changes_nothing_and_stops_no_other,
            a_commit_with_nothing_to_record_records_nothing,
            rows_are_what_the_events_say_at_every_step,
            a_commit_of_any_size_is_one_commit,
            what_operators_did_is_in_the_rows,
            events_are_gapless_and_chained,
            runs_are_listed_newest_first,
            a_run_is_found_by_either_end_of_its_id,
            what_is_unknown_is_an_error_that_names_it,
            files_are_kept_by_content,
            a_run_knows_the_hash_of_its_plan,
            the_past_is_that_of_the_newest_runs_that_succeeded,
            a_run_that_is_only_wanted_after_another_is_refused_after_a_newer_one,
            a_group_takes_no_more_runs_than_its_limit,
            nothing_is_claimed_without_the_permit,
            whoever_does_not_wait_ends_at_once,
            a_run_that_nobody_drives_is_passed_over,
            who_is_paused_or_cancelled_keeps_nobody_waiting,
            priority_goes_before_age,
            a_full_queue_refuses_the_next,
            a_pruned_run_is_gone_and_on_the_record,
            the_key_of_a_pruned_run_stays_taken,
            a_run_that_lives_or_moved_on_is_not_pruned,
            what_only_pruned_runs_used_goes_with_them,
            of_many_triggers_with_one_key_one_is_the_run,
            of_many_claims_of_a_step_one_is_accepted,
            of_many_who_start_only_if_nobody_did_one_starts,
            a_group_is_never_overfull_whoever_asks_at_once,
            what_a_new_run_needs_stays_while_others_prune,
            a_run_is_pruned_once_however_many_want_it,
            whatever_a_program_prints_can_be_recorded
        );
    };
    (@each $make:path: $($name:ident),+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::conformance::$name($make().await).await;
            }
        )+
    };
}

/// A run of a small runbook with a pinned file.
pub fn new_run(id: &str, key: Option<&str>) -> NewRun {
    let script = b"echo pinned".to_vec();
    let file = PinnedFile { path: "x.sh".into(), sha256: sha256(&script), bytes: 11, executable: true };
    NewRun {
        id: RunId(id.to_owned()),
        definition: Definition {
            drill: false,
            name: "suite".into(),
            path: "/runbooks/suite.yaml".into(),
            source: SOURCE.into(),
            files: vec![file],
            runbooks: Vec::new(),
        },
        called: Vec::new(),
        blobs: vec![(sha256(&script), script)],
        params: Map::from_iter([("who".to_owned(), json!("备份 'x'\n"))]),
        trigger: "test".into(),
        group: None,
        priority: Default::default(),
        queued_max: 10_000,
        key: key.map(str::to_owned),
        parent: None,
        seed: 42,
        actor: "tester".into(),
        planned: None,
        only_after: None,
        zone: None,
        requester: Vec::new(),
        tick: None,
    }
}

fn claim(unit: u32, claim: &str) -> Command {
    Command::Claim { unit: Unit::step(unit), claim: claim.into(), session: "s".into(), boot: "b".into(), place: None }
}

fn settle(claim: &str, outcome: Outcome) -> Command {
    let report = Report {
        outcome,
        outputs: Outputs::from([("file".to_owned(), json!("/tmp/x"))]),
        error: None,
        log: LogDigest { bytes: 3, dropped: 0, sha256: sha256(b"abc") },
        started_at: Some(5),
        ended_at: Some(6),
        orphans: vec!["17 sleep".into()],
    };
    Command::Settle { claim: claim.into(), report: Box::new(report) }
}

async fn accept(ledger: &dyn Ledger, view: &mut crate::RunView, wanted: Command) {
    command(ledger, view, wanted, "tester").await.unwrap().unwrap();
}

pub async fn a_trigger_is_a_run_that_can_be_loaded(ledger: Arc<dyn Ledger>) {
    let triggered = ledger.trigger(new_run("run-1", None)).await.unwrap();
    assert!(triggered.created);
    let loaded = ledger.load(&"run-1".into()).await.unwrap();
    assert_eq!((loaded.state.seq, &loaded.head), (triggered.view.state.seq, &triggered.view.head));
    assert_eq!(loaded.state.params["who"], "备份 'x'\n");
    assert_eq!(loaded.state.status, RunStatus::Queued);
}

pub async fn a_repeated_key_is_the_same_run(ledger: Arc<dyn Ledger>) {
    let first = ledger.trigger(new_run("run-1", Some("nightly"))).await.unwrap();
    let second = ledger.trigger(new_run("run-2", Some("nightly"))).await.unwrap();
    assert!(first.created && !second.created);
    assert_eq!(second.view.state.id, "run-1".into());
    assert!(matches!(ledger.load(&"run-2".into()).await, Err(LedgerError::NoSuchRun(_))));
}

pub async fn a_commit_is_seen_by_every_other_view(ledger: Arc<dyn Ledger>) {
    let mut mine = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let mut yours = ledger.load(&"run-1".into()).await.unwrap();
    accept(&*ledger, &mut mine, claim(0, "c1")).await;
    let news = ledger.refresh(&mut yours).await.unwrap();
    assert_eq!(news.len(), 1);
    assert_eq!((yours.state.seq, yours.head.clone()), (mine.state.seq, mine.head.clone()));
    assert!(ledger.refresh(&mut yours).await.unwrap().is_empty());
}

pub async fn commands_meet_what_others_recorded_meanwhile(ledger: Arc<dyn Ledger>) {
    let mut mine = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let mut yours = ledger.load(&"run-1".into()).await.unwrap();
    accept(&*ledger, &mut mine, claim(0, "c1")).await;
    let refused = command(&*ledger, &mut yours, claim(0, "c2"), "tester").await.unwrap();
    assert!(matches!(refused, Err(Reject::NotReady { .. })), "{refused:?}");
    accept(&*ledger, &mut yours, settle("c1", Outcome::Succeeded)).await;
    let news = ledger.refresh(&mut mine).await.unwrap();
    assert_eq!(news.len(), 1);
    assert_eq!(mine.state.step(0).whole.outputs["file"], "/tmp/x");
}

pub async fn a_refused_command_changes_nothing_and_stops_no_other(ledger: Arc<dyn Ledger>) {
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let mut commands = vec![claim(0, "c1"), claim(1, "c2"), settle("c1", Outcome::Succeeded), claim(1, "c3")];
    let mut next = |_: &runward_engine::run::RunState| (!commands.is_empty()).then(|| commands.remove(0));
    let committed = ledger.commit(&mut view, &mut next, "tester").await.unwrap();
    let accepted: Vec<bool> = committed.replies.iter().map(Result::is_ok).collect();
    assert_eq!(accepted, [true, false, true, true]);
    assert_eq!(committed.news.len(), 3);
    let loaded = ledger.load(&"run-1".into()).await.unwrap();
    assert_eq!((loaded.state.seq, loaded.head), (view.state.seq, view.head));
}

pub async fn a_commit_with_nothing_to_record_records_nothing(ledger: Arc<dyn Ledger>) {
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let before = (view.state.seq, view.head.clone());
    accept(&*ledger, &mut view, Command::Wake).await;
    assert_eq!((view.state.seq, view.head.clone()), before);
    assert!(!view.stale);
}

pub async fn rows_are_what_the_events_say_at_every_step(ledger: Arc<dyn Ledger>) {
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let failed = Outcome::Failed { code: Some(7), signal: None };
    let story = [
        claim(0, "c1"),
        Command::Adopt { claim: "c1".into(), session: "s2".into() },
        settle("c1", Outcome::Succeeded),
        claim(1, "c2"),
        Command::Void { claim: "c2".into() },
        claim(1, "c3"),
        settle("c3", failed),
        claim(2, "c4"),
        settle("c4", Outcome::Succeeded),
        Command::Resume { from: None, reason: None },
        claim(1, "c5"),
        Command::Cancel { force: false, rollback: false, reason: Some("enough".into()) },
        settle("c5", Outcome::Killed),
        claim(2, "c6"),
        settle("c6", Outcome::Succeeded),
    ];
    for (n, wanted) in story.into_iter().enumerate() {
        accept(&*ledger, &mut view, wanted).await;
        let checked = check::run(&*ledger, &"run-1".into()).await.unwrap();
        assert_eq!(checked.differences, Vec::<String>::new(), "after command {n}");
        assert_eq!(checked.run.head, view.head);
    }
    assert_eq!(view.state.status, RunStatus::Cancelled);
}

pub async fn a_commit_of_any_size_is_one_commit(ledger: Arc<dyn Ledger>) {
    const STEPS: u32 = 1_201;
    let source =
        (0..STEPS).fold("steps:\n".to_owned(), |text, n| text + &format!("  - {{id: s{n}, needs: [], run: x}}\n"));
    let mut new = new_run("run-1", None);
    new.definition.source = format!("max-parallel: {STEPS}\n{source}");
    new.params.clear();
    let mut view = ledger.trigger(new).await.unwrap().view;
    let mut claims: Vec<Command> = (0..STEPS).rev().map(|n| claim(n, &format!("c{n}"))).collect();
    let committed = ledger.commit(&mut view, &mut |_| claims.pop(), "tester").await.unwrap();
    assert_eq!(committed.replies.len(), STEPS as usize);
    assert!(committed.replies.iter().all(Result::is_ok), "{:?}", committed.replies.iter().find(|reply| reply.is_err()));
    let (_, steps, attempts) = ledger.rows(&"run-1".into()).await.unwrap();
    assert_eq!((steps.len(), attempts.len()), (STEPS as usize, STEPS as usize));
    assert_eq!(check::run(&*ledger, &"run-1".into()).await.unwrap().differences, Vec::<String>::new());
}

pub async fn what_operators_did_is_in_the_rows(ledger: Arc<dyn Ledger>) {
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let failed = Outcome::Failed { code: Some(7), signal: None };
    let skip = |unit: u32| Command::Skip { unit: Unit::step(unit), reason: "不需要".into() };
    let story = [
        (Command::Pause { reason: Some("failover".into()) }, "paused"),
        (Command::Unpause, "queued"),
        (claim(0, "c1"), "running"),
        (Command::Pause { reason: None }, "paused"),
        (settle("c1", failed.clone()), "paused"),
        (Command::Unpause, "stopping"),
        (claim(2, "c2"), "stopping"),
        (settle("c2", Outcome::Succeeded), "failed"),
        (Command::Retry { unit: Unit::step(0), reason: Some("mended".into()) }, "queued"),
        (skip(1), "queued"),
        (claim(0, "c3"), "running"),
        (settle("c3", Outcome::Succeeded), "running"),
        (claim(2, "c4"), "running"),
        (settle("c4", failed), "failed"),
        (Command::Resume { from: Some(0), reason: None }, "queued"),
        (Command::Cancel { force: false, rollback: false, reason: None }, "stopping"),
        (skip(2), "cancelled"),
    ];
    for (n, (wanted, status)) in story.into_iter().enumerate() {
        accept(&*ledger, &mut view, wanted).await;
        let (run, ..) = ledger.rows(&"run-1".into()).await.unwrap();
        assert_eq!(run.status, status, "after command {n}");
        let checked = check::run(&*ledger, &"run-1".into()).await.unwrap();
        assert_eq!(checked.differences, Vec::<String>::new(), "after command {n}");
    }
}

pub async fn events_are_gapless_and_chained(ledger: Arc<dyn Ledger>) {
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    accept(&*ledger, &mut view, claim(0, "c1")).await;
    accept(&*ledger, &mut view, settle("c1", Outcome::Succeeded)).await;
    let events = ledger.events(&"run-1".into(), 0).await.unwrap();
    let seqs: Vec<u64> = events.iter().map(|event| event.recorded.seq).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap().hash, view.head);
    let head = Head { seq: view.state.seq, hash: view.head.clone() };
    assert_eq!(ledger.heads().await.unwrap(), [("run-1".into(), head)].into());
    let tail = ledger.events(&"run-1".into(), 2).await.unwrap();
    assert_eq!(tail, events[2..]);
}

pub async fn runs_are_listed_newest_first(ledger: Arc<dyn Ledger>) {
    for id in ["run-1", "run-2", "run-3"] {
        ledger.trigger(new_run(id, None)).await.unwrap();
    }
    let mut view = ledger.load(&"run-2".into()).await.unwrap();
    accept(&*ledger, &mut view, Command::Cancel { force: false, rollback: false, reason: None }).await;
    accept(&*ledger, &mut view, claim(2, "c1")).await;
    accept(&*ledger, &mut view, settle("c1", Outcome::Succeeded)).await;
    let ids = |rows: Vec<runward_engine::run::rows::RunRow>| rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>();
    assert_eq!(ids(ledger.runs(&RunQuery::default()).await.unwrap()), ["run-3", "run-2", "run-1"]);
    let unfinished = RunQuery { unfinished: true, ..RunQuery::default() };
    assert_eq!(ids(ledger.runs(&unfinished).await.unwrap()), ["run-3", "run-1"]);
    let one = RunQuery { limit: Some(1), name: Some("suite".into()), ..RunQuery::default() };
    assert_eq!(ids(ledger.runs(&one).await.unwrap()), ["run-3"]);
    let other = RunQuery { name: Some("other".into()), ..RunQuery::default() };
    assert!(ledger.runs(&other).await.unwrap().is_empty());
}

pub async fn a_run_is_found_by_either_end_of_its_id(ledger: Arc<dyn Ledger>) {
    ledger.trigger(new_run("aaaa-bbbb", None)).await.unwrap();
    ledger.trigger(new_run("aaaa-cccc", None)).await.unwrap();
    assert_eq!(ledger.find("bbbb").await.unwrap(), ["aaaa-bbbb".into()]);
    assert_eq!(ledger.find("aaaa").await.unwrap().len(), 2);
    assert!(ledger.find("a-b").await.unwrap().is_empty());
    assert!(ledger.find("%").await.unwrap().is_empty());
}

pub async fn what_is_unknown_is_an_error_that_names_it(ledger: Arc<dyn Ledger>) {
    assert!(matches!(ledger.load(&"nope".into()).await, Err(LedgerError::NoSuchRun(id)) if id.0 == "nope"));
    assert!(matches!(ledger.rows(&"nope".into()).await, Err(LedgerError::NoSuchRun(_))));
    assert!(matches!(ledger.definition("nope").await, Err(LedgerError::NoSuchDefinition(_))));
    assert!(matches!(ledger.blob("nope").await, Err(LedgerError::NoSuchDefinition(_))));
}

pub async fn files_are_kept_by_content(ledger: Arc<dyn Ledger>) {
    let view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    ledger.trigger(new_run("run-2", None)).await.unwrap();
    let definition = ledger.definition(&view.state.definition).await.unwrap();
    assert_eq!(definition.source, SOURCE);
    assert_eq!(ledger.blob(&definition.files[0].sha256).await.unwrap(), b"echo pinned");
}

pub async fn a_run_knows_the_hash_of_its_plan(ledger: Arc<dyn Ledger>) {
    let source = SOURCE.replace("{type: string}", "{type: string, sensitive: true}");
    let seal = ledger.seal().await.unwrap();
    assert_eq!(ledger.seal().await.unwrap(), seal, "the key of a ledger stays");
    let mut hashes = Vec::new();
    for (id, who) in [("run-1", "0000"), ("run-2", "0001"), ("run-3", "0000")] {
        let mut new = new_run(id, None);
        new.definition.source = source.clone();
        new.params.insert("who".to_owned(), json!(who));
        let (name, hash, params) = (new.definition.name.clone(), new.definition.hash(), new.params.clone());
        let state = ledger.trigger(new).await.unwrap().view.state;
        assert_eq!(state.plan, plan_hash(&name, &hash, &state.runbook, &params, Some(&seal)), "as before it ran");
        assert_eq!(ledger.load(&state.id).await.unwrap().state.plan, state.plan);
        hashes.push(state.plan);
    }
    assert!(hashes[0] == hashes[2] && hashes[0] != hashes[1], "{hashes:?}");
}

pub async fn the_past_is_that_of_the_newest_runs_that_succeeded(ledger: Arc<dyn Ledger>) {
    assert_eq!(ledger.past("suite", 20).await.unwrap(), []);
    for id in ["run-1", "run-2", "run-3"] {
        let mut view = ledger.trigger(new_run(id, None)).await.unwrap().view;
        for n in 0..3 {
            accept(&*ledger, &mut view, claim(n, &format!("{id}-{n}"))).await;
            accept(&*ledger, &mut view, settle(&format!("{id}-{n}"), Outcome::Succeeded)).await;
        }
    }
    let mut failing = ledger.trigger(new_run("run-4", None)).await.unwrap().view;
    accept(&*ledger, &mut failing, claim(0, "run-4-a")).await;
    accept(&*ledger, &mut failing, settle("run-4-a", Outcome::Failed { code: Some(1), signal: None })).await;
    let succeeded =
        ledger.runs(&RunQuery::default()).await.unwrap().into_iter().filter(|run| run.status == "succeeded");
    let mut expected = Vec::new();
    for run in succeeded.take(2) {
        let (_, _, attempts) = ledger.rows(&run.id).await.unwrap();
        let took = |row: &AttemptRow| (row.ended_at.unwrap() - row.started_at.unwrap_or(row.claimed_at)).max(0) as u64;
        let mut attempts: Vec<_> = attempts.iter().map(|row| (row.unit.clone(), took(row))).collect();
        attempts.sort();
        expected.push((attempts, (run.finished_at.unwrap() - run.started_at.unwrap()) as u64));
    }
    let past = ledger.past("suite", 2).await.unwrap();
    let past = past.into_iter().map(|mut run| {
        run.attempts.sort();
        (run.attempts, run.took_ms)
    });
    assert_eq!(past.collect::<Vec<_>>(), expected);
    assert_eq!(ledger.past("suite", 20).await.unwrap().len(), 3);
    assert_eq!(ledger.past("another", 20).await.unwrap(), []);
}

pub async fn a_run_that_is_only_wanted_after_another_is_refused_after_a_newer_one(ledger: Arc<dyn Ledger>) {
    let newest = async || {
        let query = RunQuery { name: Some("suite".into()), limit: Some(1), ..RunQuery::default() };
        LastRun::of(ledger.runs(&query).await.unwrap().first())
    };
    let after =
        |id: &str, key: Option<&str>, last: &LastRun| NewRun { only_after: Some(last.clone()), ..new_run(id, key) };
    let refused = async |new: NewRun| match ledger.trigger(new).await {
        Err(LedgerError::MovedOn { newest }) => newest.id.0,
        other => panic!("{other:?}"),
    };
    let none = newest().await;
    let mut view = ledger.trigger(after("run-2", Some("k"), &none)).await.unwrap().view;
    assert_eq!(refused(after("run-3", None, &none)).await, "run-2");
    let again = ledger.trigger(after("run-3", Some("k"), &none)).await.unwrap();
    assert!(!again.created, "a repeated call is the same run, whatever happened since");
    let seen = newest().await;
    accept(&*ledger, &mut view, claim(0, "c1")).await;
    assert_eq!(refused(after("run-3", None, &seen)).await, "run-2", "it went on since");
    let third = ledger.trigger(after("run-3", None, &newest().await)).await.unwrap().view;
    assert!(third.state.plan == view.state.plan, "what it waits for is no part of what it does");
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 2);
    let pruned = LastRun(Some(("run-9".into(), 5)));
    ledger.trigger(after("run-4", None, &pruned)).await.expect("what was pruned since has changed nothing");
}

/// A run at its end, as a pruning names it.
async fn finished(ledger: &dyn Ledger, id: &str, key: Option<&str>) -> PrunedRun {
    let mut view = ledger.trigger(new_run(id, key)).await.unwrap().view;
    for n in 0..3 {
        accept(ledger, &mut view, claim(n, &format!("{id}-{n}"))).await;
        let failed = Outcome::Failed { code: Some(1), signal: None };
        accept(ledger, &mut view, settle(&format!("{id}-{n}"), if n == 1 { failed } else { Outcome::Succeeded })).await;
    }
    assert_eq!(view.state.status, RunStatus::Failed);
    PrunedRun::of(&view)
}

async fn prune(ledger: &dyn Ledger, runs: Vec<PrunedRun>) -> Vec<PrunedRun> {
    let event = AdminEvent::RunsPruned { rule: Retention { older_than_ms: None, keep: Some(0) }, runs };
    ledger.administer(event, "tester").await.unwrap().pruned().to_vec()
}

pub async fn a_pruned_run_is_gone_and_on_the_record(ledger: Arc<dyn Ledger>) {
    let (one, two) = (finished(&*ledger, "run-1", None).await, finished(&*ledger, "run-2", None).await);
    assert_eq!(prune(&*ledger, vec![one.clone()]).await, std::slice::from_ref(&one));
    assert!(matches!(ledger.load(&"run-1".into()).await, Err(LedgerError::NoSuchRun(_))));
    assert_eq!(ledger.heads().await.unwrap().into_keys().collect::<Vec<RunId>>(), ["run-2".into()]);
    assert!(!ledger.events(&"run-1".into(), 0).await.is_ok_and(|events| !events.is_empty()));
    assert_eq!(check::run(&*ledger, &"run-2".into()).await.unwrap().differences, Vec::<String>::new());
    let checked = AdminEvent::LedgerChecked { runs: 1, problems: 0 };
    ledger.administer(checked.clone(), "tester").await.unwrap();
    prune(&*ledger, vec![two.clone()]).await;
    let record = ledger.administration().await.unwrap();
    assert_eq!(record.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(record[0].event.pruned(), [one]);
    assert_eq!((&record[1].event, record[1].actor.as_str()), (&checked, "tester"));
    assert_eq!(record[2].event.pruned(), [two]);
}

pub async fn the_key_of_a_pruned_run_stays_taken(ledger: Arc<dyn Ledger>) {
    let run = finished(&*ledger, "run-1", Some("nightly")).await;
    prune(&*ledger, vec![run]).await;
    match ledger.trigger(new_run("run-2", Some("nightly"))).await {
        Err(LedgerError::KeyOfPruned { key, run }) => assert_eq!((key.as_str(), run), ("nightly", "run-1".into())),
        other => panic!("{other:?}"),
    }
    assert!(ledger.runs(&RunQuery::default()).await.unwrap().is_empty());
    assert!(ledger.trigger(new_run("run-3", Some("another"))).await.unwrap().created);
}

pub async fn a_run_that_lives_or_moved_on_is_not_pruned(ledger: Arc<dyn Ledger>) {
    let resumed = finished(&*ledger, "run-1", None).await;
    let mut view = ledger.load(&"run-1".into()).await.unwrap();
    accept(&*ledger, &mut view, Command::Resume { from: None, reason: None }).await;
    let living = ledger.trigger(new_run("run-2", None)).await.unwrap().view;
    let never = PrunedRun { id: "run-3".into(), ..resumed.clone() };
    let wanted = vec![resumed, PrunedRun::of(&view), PrunedRun::of(&living), never];
    assert_eq!(prune(&*ledger, wanted).await, []);
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 2);
    assert!(ledger.administration().await.unwrap().is_empty(), "nothing was done");
}

pub async fn what_only_pruned_runs_used_goes_with_them(ledger: Arc<dyn Ledger>) {
    let (one, two) = (finished(&*ledger, "run-1", None).await, finished(&*ledger, "run-2", None).await);
    let hash = ledger.load(&"run-1".into()).await.unwrap().state.definition;
    let file = ledger.definition(&hash).await.unwrap().files.remove(0).sha256;
    prune(&*ledger, vec![one]).await;
    assert!(ledger.definition(&hash).await.is_ok() && ledger.blob(&file).await.is_ok(), "the other run has them, too");
    prune(&*ledger, vec![two]).await;
    assert!(matches!(ledger.definition(&hash).await, Err(LedgerError::NoSuchDefinition(_))));
    assert!(matches!(ledger.blob(&file).await, Err(LedgerError::NoSuchDefinition(_))));
}
