//! Commits of many runs at the same time: they share statements, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runward_engine::run::{Command, Reject, RunStatus};
use runward_services::Postgres;
use runward_store::conformance::new_run;
use runward_store::{Ledger, PostgresLedger, RunView, check, command};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use super::{claim, settle};

const RUNS: usize = 24;

/// Runs of one step each, and a ledger that has heard the clock.
async fn runs(name: &str) -> (Postgres, String, Arc<PostgresLedger>, Vec<RunView>) {
    let (postgres, url) = super::ready().await;
    let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
    let views = more(&ledger, name).await;
    (postgres, url, ledger, views)
}

async fn more(ledger: &PostgresLedger, name: &str) -> Vec<RunView> {
    let mut views = Vec::new();
    for n in 0..RUNS {
        let mut new = new_run(&format!("{name}-{n:02}"), None);
        new.definition.source = "steps: [{id: a, run: x}]\n".to_owned();
        new.params.clear();
        views.push(ledger.trigger(new).await.unwrap().view);
    }
    command(ledger, &mut views[0], Command::Pause { reason: None }, "tester").await.unwrap().unwrap();
    command(ledger, &mut views[0], Command::Unpause, "tester").await.unwrap().unwrap();
    views
}

/// What one has said, and what came of it.
struct Said {
    view: RunView,
    reply: Result<(), Reject>,
    took: Duration,
}

/// Each says one thing, all at once.
async fn all_say(ledger: &Arc<PostgresLedger>, views: Vec<RunView>, says: fn(usize, &RunView) -> Command) -> Vec<Said> {
    let began = Instant::now();
    let mut saying = JoinSet::new();
    for (n, mut view) in views.into_iter().enumerate() {
        let ledger = Arc::clone(ledger);
        saying.spawn(async move {
            let wanted = says(n, &view);
            let reply = command(&*ledger, &mut view, wanted, "tester").await.unwrap();
            (n, Said { view, reply, took: began.elapsed() })
        });
    }
    let mut said = saying.join_all().await;
    said.sort_by_key(|(n, _)| *n);
    said.into_iter().map(|(_, said)| said).collect()
}

fn claims(n: usize, view: &RunView) -> Command {
    claim(0, &format!("c-{}-{n}", view.state.id), "s")
}

fn settles(n: usize, view: &RunView) -> Command {
    settle(&format!("c-{}-{n}", view.state.id))
}

fn accepted(said: Vec<Said>) -> Vec<RunView> {
    said.into_iter().map(|said| said.reply.map(|()| said.view).unwrap()).collect()
}

/// How many transactions have written events of this kind in runs of this name.
fn transactions(postgres: &Postgres, kind: &str, name: &str) -> usize {
    let sql = format!("SELECT count(DISTINCT xmin::text) FROM events WHERE kind = '{kind}' AND run_id LIKE '{name}-%'");
    postgres.sql("runward", &sql).parse().unwrap()
}

#[tokio::test]
async fn what_many_record_at_once_goes_in_a_few_statements_and_is_whole() {
    let (postgres, _, ledger, begun) = runs("run").await;
    let claimed = accepted(all_say(&ledger, begun, claims).await);
    let ended = accepted(all_say(&ledger, claimed, settles).await);
    let written = transactions(&postgres, "attempt_claimed", "run");
    assert!(written < RUNS / 2, "{written} transactions");
    for view in &ended {
        let read = ledger.load(&view.state.id).await.unwrap();
        assert_eq!((read.state.status, &read.head), (RunStatus::Succeeded, &view.head));
        assert_eq!(read.state.step(0).whole.attempts.len(), 1);
        assert_eq!(check::run(&*ledger, &view.state.id).await.unwrap().differences, Vec::<String>::new());
    }
    assert_eq!(postgres.sql("runward", "SELECT count(*) FROM ready"), "0");
}

/// One has moved on, somebody is at one for a while, and of one there are two.
#[tokio::test]
async fn whoever_cannot_go_along_goes_alone_and_keeps_nobody_waiting() {
    const HELD: Duration = Duration::from_millis(1_500);
    const MOVED: usize = 3;
    const OCCUPIED: usize = 7;
    const TWICE: usize = 11;
    let (postgres, url, ledger, mut begun) = runs("run").await;
    begun.push(begun[TWICE].clone());
    let mut other = begun[MOVED].clone();
    command(&*ledger, &mut other, Command::Pause { reason: None }, "other").await.unwrap().unwrap();
    let occupied = begun[OCCUPIED].state.id.clone();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut holder).await.unwrap();
    sqlx::query("SELECT FROM runs WHERE id = $1 FOR UPDATE").bind(&occupied.0).execute(&mut holder).await.unwrap();
    let holding = tokio::spawn(async move {
        tokio::time::sleep(HELD).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    });
    let said = all_say(&ledger, begun, claims).await;
    holding.await.unwrap();
    assert!(said[OCCUPIED].reply.is_ok() && said[OCCUPIED].took >= HELD);
    assert!(said[MOVED].reply.is_err(), "it is paused");
    assert!(said[TWICE].reply.is_ok() != said[RUNS].reply.is_ok(), "one of the two is first");
    for (n, said) in said.iter().enumerate().filter(|(n, _)| ![MOVED, OCCUPIED, TWICE, RUNS].contains(n)) {
        assert!(said.reply.is_ok() && said.took < HELD, "{n} took {:?}", said.took);
    }
    let written = transactions(&postgres, "attempt_claimed", "run");
    assert!(written < RUNS / 2, "{written} transactions");
    for said in &said[..RUNS] {
        let attempts = ledger.load(&said.view.state.id).await.unwrap().state.step(0).whole.attempts.len();
        assert_eq!(attempts, usize::from(said.view.state.id != other.state.id));
    }
}

/// Two are lost: one while the others are being decided, one together with them, and they follow it.
#[tokio::test]
async fn that_a_runbook_is_well_again_is_told_once_and_after_what_was_wrong() {
    let (postgres, _, ledger, begun) = runs("turn-0").await;
    let mut views = begun;
    for turn in 1..20 {
        let claimed = accepted(all_say(&ledger, views, claims).await);
        let end = |n: usize, view: &RunView| match (n, view.state.id.0.starts_with("turn-0-")) {
            (0, true) | (1, false) => lose(n, view),
            (0, false) => Command::Pause { reason: None },
            _ => settles(n, view),
        };
        accepted(all_say(&ledger, claimed, end).await);
        let name = format!("turn-{}", turn - 1);
        let sql = format!("SELECT string_agg(kind, ' ' ORDER BY kind) FROM notices WHERE run_id LIKE '{name}-%'");
        let told = postgres.sql("runward", &sql);
        let written = transactions(&postgres, "run_finished", &name);
        // Beside each other, where this machine was slow, they do not know of each other.
        assert!(told.starts_with("lost recovered") && told.matches("recovered").count() < written, "{told}: {written}");
        if turn > 1 && written == 2 {
            return assert_eq!(told, "lost recovered");
        }
        views = more(&ledger, &format!("turn-{turn}")).await;
    }
    panic!("they never went in two statements");
}

fn lose(n: usize, view: &RunView) -> Command {
    Command::Lose { claim: format!("c-{}-{n}", view.state.id).as_str().into(), evidence: "x".into(), with: None }
}
