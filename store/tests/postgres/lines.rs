//! A line that breaks at the worst moments.

use runward_engine::run::{Command, Reject, RunStatus, Unit};
use runward_services::{Postgres, Proxy, Reaches, Signal};
use runward_store::conformance::new_run;
use runward_store::{Ledger, LedgerError, PostgresLedger, RunQuery, RunView, Trouble, command};

async fn behind_a_proxy() -> (Postgres, Proxy, PostgresLedger) {
    let (postgres, _) = super::ready().await;
    let proxy = Proxy::to(postgres.target());
    let ledger = PostgresLedger::open(&postgres.url_through(&proxy, "runward")).await.unwrap();
    (postgres, proxy, ledger)
}

/// To its end: a BEGIN says READ COMMITTED.
const COMMIT: &[u8] = b"COMMIT\0";

fn claim(id: &str) -> Command {
    Command::Claim { unit: Unit::step(0), claim: id.into(), session: "s".into(), boot: "b".into(), place: None }
}

async fn claims(ledger: &PostgresLedger, view: &mut RunView, id: &str) -> Result<Result<(), Reject>, LedgerError> {
    command(ledger, view, claim(id), "tester").await
}

fn trouble<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> Trouble {
    match result {
        Err(LedgerError::Server(error)) => error.trouble,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_that_was_not_answered_is_neither_done_nor_undone_until_the_run_is_read_again() {
    let (postgres, proxy, _) = behind_a_proxy().await;
    for (run, reaches) in [("run-1", Reaches::TheServer), ("run-2", Reaches::Nobody)] {
        // The first commit of a process is made in steps.
        let ledger = PostgresLedger::open(&postgres.url_through(&proxy, "runward")).await.unwrap();
        let mut view = ledger.trigger(new_run(run, None)).await.unwrap().view;
        proxy.cut_at(COMMIT, reaches);
        assert_eq!(trouble(claims(&ledger, &mut view, "c1").await), Trouble::Unanswered);
        assert!(view.stale);
        let next = claims(&ledger, &mut view, "c2").await.unwrap();
        let taken = view.state.step(0).whole.attempts[0].claim.0.clone();
        match reaches {
            Reaches::TheServer => assert!(matches!(next, Err(Reject::NotReady { .. })) && taken == "c1", "{next:?}"),
            Reaches::Nobody => assert!(next.is_ok() && taken == "c2", "{next:?}"),
        }
    }
    assert_eq!(proxy.cuts(), 2);
}

/// Only in a claim.
const CLAIMS: &[u8] = b"\"kind\":\"attempt_claimed\"";

#[tokio::test]
async fn a_commit_in_one_trip_that_was_not_answered_is_found_or_made_again() {
    let (_postgres, proxy, ledger) = behind_a_proxy().await;
    for (run, reaches) in [("run-1", Reaches::TheServer), ("run-2", Reaches::Nobody)] {
        let mut view = ledger.trigger(new_run(run, None)).await.unwrap().view;
        command(&ledger, &mut view, Command::Pause { reason: None }, "tester").await.unwrap().unwrap();
        command(&ledger, &mut view, Command::Unpause, "tester").await.unwrap().unwrap();
        let known = view.state.seq;
        proxy.cut_at(CLAIMS, reaches);
        let mut once = Some(claim("c1"));
        let committed = ledger.commit(&mut view, &mut |_| once.take(), "tester").await.unwrap();
        assert!(matches!(committed.replies[..], [Ok(())]), "{committed:?}");
        let told: Vec<u64> = committed.news.iter().map(|recorded| recorded.seq).collect();
        assert_eq!(told, (known + 1..=view.state.seq).collect::<Vec<_>>(), "each thing once");
        let read = ledger.load(&run.into()).await.unwrap();
        assert_eq!((read.state.seq, &read.head), (view.state.seq, &view.head));
        assert_eq!(read.state.step(0).whole.attempts.len(), 1);
        assert!(claims(&ledger, &mut view, "c2").await.unwrap().is_err(), "it is taken");
    }
    assert_eq!(proxy.cuts(), 2);
}

/// A ledger that has heard the clock, with a run of which two have the same view.
async fn two_views() -> (Postgres, Proxy, PostgresLedger, RunView, RunView) {
    let (postgres, proxy, ledger) = behind_a_proxy().await;
    let mut mine = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    command(&ledger, &mut mine, Command::Pause { reason: None }, "tester").await.unwrap().unwrap();
    command(&ledger, &mut mine, Command::Unpause, "tester").await.unwrap().unwrap();
    let theirs = mine.clone();
    (postgres, proxy, ledger, mine, theirs)
}

#[tokio::test]
async fn whoever_decided_on_less_than_there_is_decides_again_and_hears_what_was_new() {
    let (_postgres, _proxy, ledger, mut mine, mut theirs) = two_views().await;
    claims(&ledger, &mut theirs, "theirs").await.unwrap().unwrap();
    let mut once = Some(Command::Pause { reason: Some("mine".into()) });
    let committed = ledger.commit(&mut mine, &mut |_| once.take(), "tester").await.unwrap();
    assert!(matches!(committed.replies[..], [Ok(())]) && !committed.again, "{committed:?}");
    let kinds: Vec<_> = committed.news.iter().map(|recorded| recorded.event.kind()).collect();
    assert_eq!(kinds, ["attempt_claimed", "run_paused"]);
    assert_eq!(ledger.load(&"run-1".into()).await.unwrap().head, mine.head);
}

#[tokio::test]
async fn a_claim_is_never_recorded_of_a_state_that_others_have_changed_since_it_was_made() {
    let (_postgres, _proxy, ledger, mut mine, mut theirs) = two_views().await;
    command(&ledger, &mut theirs, Command::Pause { reason: None }, "other").await.unwrap().unwrap();
    command(&ledger, &mut theirs, Command::Unpause, "other").await.unwrap().unwrap();
    let known = mine.state.seq;
    let mut seen = Vec::new();
    let mut once = Some(claim("c1"));
    let mut next = |state: &runward_engine::run::RunState| {
        seen.push(state.seq);
        once.take()
    };
    let committed = ledger.commit(&mut mine, &mut next, "tester").await.unwrap();
    assert!(committed.again && committed.replies.is_empty(), "{committed:?}");
    assert_eq!(seen.last(), Some(&(known + 2)), "it was asked again, of what there is");
    assert!(mine.state.step(0).whole.attempts.is_empty());
    assert!(claims(&ledger, &mut mine, "c2").await.unwrap().is_ok(), "made anew it is recorded");
}

#[tokio::test]
async fn a_later_definite_error_is_no_answer_for_an_earlier_commit() {
    let (_postgres, proxy, ledger) = behind_a_proxy().await;
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    proxy.refuse_new();
    proxy.cut_at(COMMIT, Reaches::TheServer);
    assert_eq!(trouble(claims(&ledger, &mut view, "c1").await), Trouble::Unanswered);
    assert_eq!(trouble(claims(&ledger, &mut view, "c1").await), Trouble::Unreachable);
    assert!(view.stale, "what became of the first try is still not known");
    proxy.accept();
    assert!(claims(&ledger, &mut view, "c2").await.unwrap().is_err());
    assert_eq!(view.state.step(0).whole.attempts[0].claim.0, "c1");
}

#[tokio::test]
async fn a_trigger_that_was_not_answered_is_repeated_and_is_one_run() {
    let (_postgres, proxy, ledger) = behind_a_proxy().await;
    ledger.seal().await.unwrap();
    for (n, reaches) in [Reaches::TheServer, Reaches::Nobody].into_iter().enumerate() {
        for key in [None, Some(format!("key-{n}"))] {
            let id = format!("run-{n}-{}", key.is_some());
            proxy.cut_at(COMMIT, reaches);
            let triggered = ledger.trigger(new_run(&id, key.as_deref())).await.unwrap();
            assert!(triggered.created, "whoever asked for it gets it");
            assert_eq!((triggered.view.state.id.0, triggered.view.state.status), (id, RunStatus::Queued));
        }
    }
    assert_eq!(proxy.cuts(), 4);
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_trigger_nobody_can_ask_about_any_more_says_that_nobody_knows() {
    let (_postgres, proxy, ledger) = behind_a_proxy().await;
    ledger.seal().await.unwrap();
    proxy.refuse_new();
    proxy.cut_at(COMMIT, Reaches::TheServer);
    let error = ledger.trigger(new_run("run-1", None)).await.unwrap_err();
    assert!(error.to_string().contains("run-1"), "{error}");
    assert_eq!(trouble::<()>(Err(error)), Trouble::Unanswered);
    proxy.accept();
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_line_that_breaks_before_anything_was_decided_is_not_noticed() {
    let (mut postgres, proxy, ledger) = behind_a_proxy().await;
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    proxy.cut();
    claims(&ledger, &mut view, "c1").await.unwrap().unwrap();
    proxy.cut_at("BEGIN", Reaches::Nobody);
    assert!(claims(&ledger, &mut view, "c2").await.unwrap().is_err());
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'runward'";
    assert!(postgres.sql("runward", terminate).starts_with('t'));
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 1);
    for signal in [Signal::Quit, Signal::Kill] {
        postgres.stop(signal);
        postgres.start_again();
        assert!(ledger.refresh(&mut view).await.unwrap().is_empty());
    }
    postgres.stop(Signal::Interrupt);
    assert_eq!(trouble(ledger.refresh(&mut view).await), Trouble::Unreachable);
}

#[tokio::test]
async fn a_half_open_line_is_given_up() {
    let (_postgres, proxy, ledger) = behind_a_proxy().await;
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    proxy.freeze();
    let error = claims(&ledger, &mut view, "c1").await.unwrap_err();
    assert!(error.to_string().contains("no answer for 10 s"), "{error}");
    assert!(!view.stale, "nothing was sent that could have been recorded");
    proxy.thaw();
    claims(&ledger, &mut view, "c1").await.unwrap().unwrap();
}
