//! Where runs can go on is announced in the very transaction that makes it so.

use std::num::NonZeroU32;
use std::time::Duration;

use runward_engine::run::event::Outcome;
use runward_engine::run::group::Group;
use runward_engine::run::place::{ANY, ENGINE};
use runward_engine::run::{Command, Reject, RunId, RunStatus, Unit};
use runward_engine::runbook::model::WhenBusy;
use runward_services::{Proxy, Reaches};
use runward_store::conformance::new_run;
use runward_store::fleet::Ready;
use runward_store::{Fleet, Ledger, NewRun, PostgresLedger, check};

use super::{accept, claim, process, ready, says, settle};

fn run_of(id: &str, source: String) -> NewRun {
    let mut new = new_run(id, None);
    new.definition.source = source;
    new.params.clear();
    new
}

/// Steps for workers with different labels, at most four at once.
fn labelled(id: &str, steps: u32) -> NewRun {
    let labels = ["[db]", "[gpu, db]", "[]"];
    let step = |n: u32| format!("  - {{id: s{n}, needs: [], runs-on: {}, run: x}}\n", labels[n as usize % 3]);
    run_of(id, format!("max-parallel: 4\nsteps:\n{}", (0..steps).map(step).collect::<String>()))
}

async fn announced(ledger: &PostgresLedger, run: &str) -> Vec<String> {
    ledger.announced(&run.into()).await.unwrap().unwrap().calls.into_keys().collect()
}

async fn consistent(ledger: &PostgresLedger, run: &str) {
    assert_eq!(check::run(ledger, &run.into()).await.unwrap().differences, Vec::<String>::new());
}

fn skip(step: u32) -> Command {
    Command::Skip { unit: Unit::step(step), reason: "not now".to_owned() }
}

async fn due(ledger: &PostgresLedger, call: &str) -> Vec<Ready> {
    ledger.ready(&[call.to_owned()], 100).await.unwrap()
}

fn runs(ready: &[Ready]) -> Vec<&str> {
    ready.iter().map(|ready| ready.run.0.as_str()).collect()
}

#[tokio::test]
async fn a_step_is_announced_under_its_label_from_the_trigger_to_its_claim() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let steps = "steps:\n  - {id: a, runs-on: [linux, db], run: x}\n  - {id: b, run: x}\n";
    let mut view = ledger.trigger(run_of("run-1", steps.to_owned())).await.unwrap().view;
    assert_eq!(announced(&ledger, "run-1").await, ["db"]);
    assert_eq!(runs(&due(&ledger, "db").await), ["run-1"]);
    assert!(due(&ledger, "linux").await.is_empty() && due(&ledger, ANY).await.is_empty());
    accept(&ledger, &mut view, claim(0, "c0", "h1")).await;
    assert_eq!(announced(&ledger, "run-1").await, [""; 0]);
    accept(&ledger, &mut view, settle("c0")).await;
    assert_eq!(announced(&ledger, "run-1").await, [ANY]);
    accept(&ledger, &mut view, claim(1, "c1", "h1")).await;
    accept(&ledger, &mut view, settle("c1")).await;
    assert_eq!((view.state.status, announced(&ledger, "run-1").await.len()), (RunStatus::Succeeded, 0));
}

#[tokio::test]
async fn the_oldest_run_comes_first_and_a_timer_when_it_is_due() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    for id in ["run-1", "run-2", "run-3"] {
        ledger.trigger(run_of(id, "steps:\n  - {id: a, run: x}\n".to_owned())).await.unwrap();
    }
    assert_eq!(runs(&due(&ledger, ANY).await), ["run-1", "run-2", "run-3"]);
    assert_eq!(runs(&ledger.ready(&[ANY.to_owned()], 2).await.unwrap()), ["run-1", "run-2"]);
    let retry =
        "steps:\n  - {id: a, run: x, retry: {attempts: 2, delay: 1h, max-delay: 1h, jitter: none}}\n".to_owned();
    let mut view = ledger.trigger(run_of("run-4", retry)).await.unwrap().view;
    accept(&ledger, &mut view, claim(0, "c0", "h1")).await;
    let Command::Settle { claim, mut report } = settle("c0") else { unreachable!() };
    report.outcome = Outcome::Failed { code: Some(1), signal: None };
    accept(&ledger, &mut view, Command::Settle { claim, report }).await;
    let later = ledger.announced(&"run-4".into()).await.unwrap().unwrap();
    let (call, since) = later.calls.first_key_value().unwrap();
    assert!(call == ENGINE && *since > later.at, "{later:?}");
    assert!(due(&ledger, ENGINE).await.is_empty());
    consistent(&ledger, "run-4").await;
}

#[tokio::test]
async fn what_was_put_off_comes_up_with_whatever_is_recorded_or_when_somebody_stirs_it() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let mut view = ledger.trigger(grouped("run-1", 1)).await.unwrap().view;
    let day = Duration::from_secs(60 * 60 * 24);
    let looked = due(&ledger, ENGINE).await.remove(0);
    ledger.put_off(&looked, day).await.unwrap();
    assert!(due(&ledger, ENGINE).await.is_empty());
    accept(&ledger, &mut view, skip(1)).await;
    let again = due(&ledger, ENGINE).await.remove(0);
    ledger.put_off(&again, day).await.unwrap();
    assert!(due(&ledger, ENGINE).await.is_empty());
    ledger.stir(&"run-1".into()).await.unwrap();
    let stirred = due(&ledger, ENGINE).await.remove(0);
    // Whoever looked before something happened does not put it off.
    accept(&ledger, &mut view, skip(2)).await;
    ledger.put_off(&stirred, day).await.unwrap();
    let before = due(&ledger, ENGINE).await.remove(0);
    ledger.stir(&"run-1".into()).await.unwrap();
    ledger.put_off(&before, day).await.unwrap();
    assert_eq!(runs(&due(&ledger, ENGINE).await), ["run-1"]);
}

fn grouped(id: &str, limit: u32) -> NewRun {
    let steps = "steps:\n  - {id: a, run: x}\n  - {id: b, run: x}\n  - {id: c, run: x}\n".to_owned();
    let group = Group { name: "db".into(), limit: NonZeroU32::new(limit).unwrap(), when_busy: WhenBusy::Queue };
    NewRun { group: Some(group), ..run_of(id, steps) }
}

#[tokio::test]
async fn a_permit_that_is_given_back_wakes_as_many_as_it_lets_in_by_their_turn() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let mut views = Vec::new();
    for id in ["run-1", "run-2", "run-3", "run-4"] {
        views.push(ledger.trigger(grouped(id, 1)).await.unwrap().view);
    }
    let enter = || Command::Enter { passing: Default::default() };
    accept(&ledger, &mut views[0], enter()).await;
    for view in &mut views[1..] {
        let busy = says(&ledger, view, enter()).await.unwrap();
        assert!(matches!(busy, Err(Reject::GroupBusy { .. })), "{busy:?}");
    }
    let waiting = due(&ledger, ENGINE).await;
    assert_eq!(runs(&waiting), ["run-2", "run-3", "run-4"]);
    for ready in &waiting {
        ledger.put_off(ready, Duration::from_secs(3_600)).await.unwrap();
    }
    accept(&ledger, &mut views[0], Command::Cancel { force: false, rollback: false, reason: None }).await;
    assert_eq!(views[0].state.status, RunStatus::Cancelled);
    assert_eq!(runs(&due(&ledger, ENGINE).await), ["run-2"]);
    // So does one that leaves the queue.
    accept(&ledger, &mut views[1], Command::Cancel { force: false, rollback: false, reason: None }).await;
    assert_eq!(runs(&due(&ledger, ENGINE).await), ["run-3"]);
}

#[tokio::test]
async fn what_is_announced_is_what_the_events_call_for_however_many_write() {
    const STEPS: u32 = 24;
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let ids = ["run-1", "run-2", "run-3"];
    for id in ids {
        ledger.trigger(labelled(id, STEPS)).await.unwrap();
    }
    let workers: Vec<_> = (0..5)
        .map(|worker: usize| {
            let url = url.clone();
            process(async move || {
                let ledger = PostgresLedger::open(&url).await.unwrap();
                let mut views = Vec::new();
                for id in ids {
                    views.push(ledger.load(&id.into()).await.unwrap());
                }
                for step in 0..STEPS {
                    for run in 0..ids.len() {
                        let view = &mut views[(run + worker) % ids.len()];
                        let id = format!("{}-{worker}-{step}", view.state.id);
                        if says(&ledger, view, claim(step, &id, "h")).await.unwrap().is_ok() {
                            consistent(&ledger, &view.state.id.0).await;
                            accept(&ledger, view, settle(&id)).await;
                        }
                        consistent(&ledger, &view.state.id.0).await;
                        ledger.stir(&view.state.id).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    for id in ids {
        // A step that found no room was left by whoever tried it.
        let mut view = ledger.load(&id.into()).await.unwrap();
        for step in 0..STEPS {
            let id = format!("{id}-last-{step}");
            if says(&ledger, &mut view, claim(step, &id, "h")).await.unwrap().is_ok() {
                accept(&ledger, &mut view, settle(&id)).await;
            }
        }
        assert_eq!(view.state.status, RunStatus::Succeeded);
        consistent(&ledger, id).await;
        assert!(announced(&ledger, id).await.is_empty());
    }
}

#[tokio::test]
async fn a_commit_that_was_not_answered_announces_what_it_recorded_and_nothing_else() {
    let (postgres, _) = ready().await;
    let proxy = Proxy::to(postgres.target());
    let open = async || PostgresLedger::open(&postgres.url_through(&proxy, "runward")).await.unwrap();
    for (run, reaches, left) in [("run-1", Reaches::TheServer, 0), ("run-2", Reaches::Nobody, 1)] {
        let ledger = open().await;
        let steps = "steps:\n  - {id: a, run: x}\n".to_owned();
        let mut view = ledger.trigger(run_of(run, steps)).await.unwrap().view;
        proxy.cut_at(&b"COMMIT\0"[..], reaches);
        says(&ledger, &mut view, claim(0, "c1", "h")).await.unwrap_err();
        consistent(&ledger, run).await;
        assert_eq!(announced(&ledger, run).await.len(), left);
    }
    let ledger = open().await;
    proxy.cut_at(&b"COMMIT\0"[..], Reaches::TheServer);
    ledger.trigger(run_of("run-3", "steps:\n  - {id: a, run: x}\n".to_owned())).await.unwrap();
    assert_eq!(announced(&ledger, "run-3").await, [ANY]);
    assert_eq!(proxy.cuts(), 3);
}

#[tokio::test]
async fn an_audit_finds_a_run_that_nobody_is_told_of() {
    let (postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let run = RunId::from("run-1");
    ledger.trigger(new_run("run-1", None)).await.unwrap();
    consistent(&ledger, "run-1").await;
    for change in [
        "UPDATE ready SET since = 4102444800000",
        "DELETE FROM ready",
        "INSERT INTO ready VALUES ('run-1', '*', 0), ('run-1', 'db', 0)",
    ] {
        postgres.sql("runward", change);
        let found = check::run(&ledger, &run).await.unwrap().differences;
        assert!(found.len() == 1 && found[0].contains("announces"), "{change}: {found:?}");
    }
}
