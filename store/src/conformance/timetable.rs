//! Schedules and ticks: the promises of a ledger about who fires what, once (RELIABILITY.md I6).

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use runward_engine::run::event::Outcome as Ended;
use runward_engine::run::group::Group;
use runward_engine::run::{HomeId, RunId};
use runward_engine::runbook::model::WhenBusy;
use runward_engine::schedule::entry::{Dst, Missed, Overlap, Schedule, Tick, TickRef};
use serde_json::Map;
use tokio::task::JoinSet;

use super::{accept, claim, finished, new_run, prune, settle};
use crate::administration::{AdminEvent, SkippedTicks};
use crate::check;
use crate::error::LedgerError;
use crate::ledger::{NewRun, RunQuery};
use crate::timetable::{Decided, Decision, Entry, Order, Outcome, Standing, Timetable, WAITING_MAX, Waiting};

/// Generates one test for each promise. `$make` is an async function that gives a fresh `Arc<dyn Timetable>`.
#[macro_export]
macro_rules! timetable_conformance {
    ($make:path) => {
        $crate::timetable_conformance!(
            @each $make:
            a_tick_is_a_run_that_says_which_tick_it_was,
            a_schedule_begins_when_it_becomes_known,
            a_tick_is_decided_once_whoever_asks_again,
            nothing_is_fired_before_its_time,
            a_schedule_that_is_not_as_it_is_posted_fires_nothing,
            an_edited_schedule_begins_anew_and_so_does_one_that_comes_back,
            what_two_homes_fire_is_one_schedule,
            a_tick_is_skipped_while_a_run_of_its_schedule_lives,
            ticks_that_queue_run_one_after_the_other,
            no_more_ticks_queue_than_are_allowed,
            a_tick_that_cancels_supersedes_those_that_wait,
            ticks_of_one_batch_supersede_each_other,
            what_waits_elsewhere_keeps_nobody_waiting,
            runs_may_overlap_where_that_is_allowed,
            what_waits_ends_with_its_schedule,
            a_disabled_schedule_skips_and_says_who_wanted_it,
            many_are_skipped_at_once_and_once,
            a_full_group_skips_the_tick,
            what_was_skipped_is_on_the_record,
            the_cursor_never_goes_back,
            a_broken_runbook_is_posted_with_its_trouble,
            old_ticks_are_pruned_after_their_runs_and_stay_decided,
            of_many_who_decide_one_tick_one_does,
            of_many_ticks_at_once_one_runs,
            many_servers_decide_everything_once,
            many_post_and_decide_at_once
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

type Table = Arc<dyn Timetable>;

const MANY: usize = 8;

fn home(name: &str) -> HomeId {
    HomeId(name.to_owned())
}

/// `suite/ID`, every minute.
fn entry(id: &str, overlap: Overlap) -> Entry {
    let schedule = Schedule {
        id: id.to_owned(),
        cron: "* * * * *".to_owned(),
        timezone: Some("UTC".to_owned()),
        dst: Dst::default(),
        missed: Missed::All,
        within_ms: 3_600_000,
        overlap,
        drill: false,
        severity: None,
        jitter_ms: 0,
        with: Map::new(),
    };
    Entry { name: format!("suite/{id}"), schedule, broken: None }
}

fn tick(at: i64) -> Tick {
    Tick { at, nominal: format!("{at:015}"), zone: "UTC".to_owned(), fold: 0 }
}

/// Ticks that came after the schedule became known: the clock is waited for.
async fn come(ledger: &dyn Timetable, since: i64, n: i64) -> Vec<Tick> {
    while ledger.now().await.unwrap() <= since + n {
        tokio::task::yield_now().await;
    }
    (1..=n).map(|n| tick(since + n)).collect()
}

async fn post(ledger: &dyn Timetable, name: &str, entries: &[Entry]) -> Vec<Standing> {
    ledger.post(&home(name), &format!("host of {name}"), entries, "server").await.unwrap()
}

/// A schedule that is posted by the home `a`, with ticks that came since.
async fn posted(ledger: &dyn Timetable, overlap: Overlap, ticks: i64) -> (Entry, Vec<Tick>) {
    let entry = entry("1", overlap);
    let since = post(ledger, "a", std::slice::from_ref(&entry)).await[0].cursor;
    (entry, come(ledger, since, ticks).await)
}

fn fire(entry: &Entry, tick: &Tick, run: &str) -> Order {
    let new = Box::new(NewRun { trigger: "schedule".into(), ..new_run(run, None) });
    Order { entry: entry.clone(), decision: Decision::Fire { tick: tick.clone(), new } }
}

fn skip(entry: &Entry, tick: &Tick, reason: &str) -> Order {
    Order { entry: entry.clone(), decision: Decision::Skip { tick: tick.clone(), reason: reason.to_owned() } }
}

fn skip_many(entry: &Entry, ticks: &[Tick], reason: &str) -> Order {
    let (first, last) = (ticks[0].clone(), ticks[ticks.len() - 1].clone());
    let decision = Decision::SkipMany { first, last, count: ticks.len() as u64, reason: reason.to_owned() };
    Order { entry: entry.clone(), decision }
}

async fn decide(ledger: &dyn Timetable, orders: Vec<Order>) -> Vec<Decided> {
    ledger.decide(&home("a"), orders, "server").await.unwrap()
}

async fn one(ledger: &dyn Timetable, order: Order) -> Decided {
    decide(ledger, vec![order]).await.remove(0)
}

fn runs(run: &str) -> Decided {
    Decided::Now(Outcome::Run { run: run.into() })
}

fn waits(run: &str) -> Decided {
    Decided::Now(Outcome::Waits { run: run.into() })
}

fn skipped(reason: &str) -> Decided {
    Decided::Now(Outcome::Skipped { reason: reason.to_owned(), count: 1 })
}

/// Every step of a run succeeds.
async fn ends(ledger: &dyn Timetable, run: &str) {
    let mut view = ledger.load(&run.into()).await.unwrap();
    for n in 0..3 {
        let id = format!("{run}-{n}");
        accept(ledger, &mut view, claim(n, &id)).await;
        accept(ledger, &mut view, settle(&id, Ended::Succeeded)).await;
    }
    assert!(view.state.finished_at.is_some());
}

async fn sound(ledger: &dyn Timetable) {
    for row in ledger.runs(&RunQuery::default()).await.unwrap() {
        assert_eq!(check::run(ledger, &row.id).await.unwrap().differences, Vec::<String>::new());
    }
    ledger.administration().await.unwrap();
}

async fn on_record(ledger: &dyn Timetable) -> Vec<SkippedTicks> {
    let entries = ledger.administration().await.unwrap().into_iter();
    entries
        .flat_map(|entry| match entry.event {
            AdminEvent::TicksSkipped { ticks } => ticks,
            _ => Vec::new(),
        })
        .collect()
}

async fn waiting(ledger: &dyn Timetable) -> Vec<(i64, String, bool)> {
    let waiting = ledger.waiting(&home("a")).await.unwrap();
    waiting.into_iter().map(|Waiting { tick, run, over, .. }| (tick.at, run.0, over)).collect()
}

pub async fn a_tick_is_a_run_that_says_which_tick_it_was(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Skip, 1).await;
    assert_eq!(ledger.undecided(&[(entry.clone(), ticks[0].clone())]).await.unwrap(), [true]);
    assert_eq!(one(&*ledger, fire(&entry, &ticks[0], "run-1")).await, runs("run-1"));
    assert_eq!(ledger.undecided(&[(entry.clone(), ticks[0].clone())]).await.unwrap(), [false]);
    let view = ledger.load(&"run-1".into()).await.unwrap();
    let tick = TickRef { schedule: "suite/1".into(), key: ticks[0].key(), at: ticks[0].at };
    assert_eq!(view.state.tick, Some(tick));
    assert_eq!(ledger.rows(&"run-1".into()).await.unwrap().0.schedule.as_deref(), Some("suite/1"));
    assert_eq!(ledger.unfinished().await.unwrap(), [RunId::from("run-1")]);
    let rows = ledger.ticks(Some("suite/1"), 9).await.unwrap();
    assert_eq!(rows, ledger.ticks(None, 9).await.unwrap());
    assert_eq!((&rows[0].tick, &rows[0].outcome), (&ticks[0], &Outcome::Run { run: "run-1".into() }));
    assert_eq!(ledger.schedules().await.unwrap()[0].last.as_ref(), Some(&rows[0]));
    sound(&*ledger).await;
    ends(&*ledger, "run-1").await;
    assert_eq!(ledger.unfinished().await.unwrap(), []);
    assert!(ledger.administration().await.unwrap().is_empty(), "a run is on its own record");
}

pub async fn a_schedule_begins_when_it_becomes_known(ledger: Table) {
    let before = tick(ledger.now().await.unwrap() - 1);
    let (entry, _) = posted(&*ledger, Overlap::Skip, 1).await;
    assert_eq!(one(&*ledger, fire(&entry, &before, "run-1")).await, Decided::Passed);
    assert!(ledger.runs(&RunQuery::default()).await.unwrap().is_empty());
    let cursor = ledger.posted(&home("a")).await.unwrap()[0].cursor;
    let again = post(&*ledger, "a", std::slice::from_ref(&entry)).await;
    assert_eq!(again[0].cursor, cursor, "what is posted already goes on");
    assert_eq!(again[0].entry, entry);
    assert_eq!(ledger.posted(&home("b")).await.unwrap(), []);
}

pub async fn a_tick_is_decided_once_whoever_asks_again(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Allow, 2).await;
    assert_eq!(one(&*ledger, fire(&entry, &ticks[0], "run-1")).await, runs("run-1"));
    let again = one(&*ledger, fire(&entry, &ticks[0], "run-1")).await;
    assert_eq!(again, runs("run-1"), "whoever asks for the same run gets it");
    let run = Outcome::Run { run: "run-1".into() };
    assert_eq!(one(&*ledger, fire(&entry, &ticks[0], "run-2")).await, Decided::Before(run.clone()));
    assert_eq!(one(&*ledger, skip(&entry, &ticks[0], "late")).await, Decided::Before(run));
    assert_eq!(one(&*ledger, skip(&entry, &ticks[1], "late")).await, skipped("late"));
    let late = Outcome::Skipped { reason: "late".into(), count: 1 };
    assert_eq!(one(&*ledger, fire(&entry, &ticks[1], "run-3")).await, Decided::Before(late.clone()));
    let both = vec![fire(&entry, &ticks[1], "run-4"), skip(&entry, &ticks[1], "later")];
    assert_eq!(decide(&*ledger, both).await, [Decided::Before(late.clone()), Decided::Before(late)]);
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 1);
    assert_eq!(on_record(&*ledger).await.len(), 1);
}

pub async fn nothing_is_fired_before_its_time(ledger: Table) {
    let (entry, _) = posted(&*ledger, Overlap::Skip, 1).await;
    let hour = tick(ledger.now().await.unwrap() + 3_600_000);
    for order in
        [fire(&entry, &hour, "run-1"), skip(&entry, &hour, "x"), skip_many(&entry, std::slice::from_ref(&hour), "x")]
    {
        match one(&*ledger, order).await {
            Decided::Early(more) => assert!((3_000_000..=3_600_000).contains(&more), "{more}"),
            other => panic!("{other:?}"),
        }
    }
    let mut late = entry.clone();
    late.schedule.jitter_ms = 3_600_000;
    let since = post(&*ledger, "a", std::slice::from_ref(&late)).await[0].cursor;
    let now = come(&*ledger, since, 1).await.remove(0);
    let offset = late.schedule.offset(&late.name);
    assert!(offset > 60_000, "the name of the suite has its part of the jitter");
    assert!(matches!(one(&*ledger, fire(&late, &now, "run-1")).await, Decided::Early(more) if more <= offset));
}

pub async fn a_schedule_that_is_not_as_it_is_posted_fires_nothing(ledger: Table) {
    let (mut entry, ticks) = posted(&*ledger, Overlap::Skip, 1).await;
    let stranger = ledger.decide(&home("b"), vec![fire(&entry, &ticks[0], "run-1")], "server").await.unwrap();
    assert_eq!(stranger, [Decided::Changed]);
    entry.schedule.cron = "0 0 * * *".to_owned();
    assert_eq!(one(&*ledger, fire(&entry, &ticks[0], "run-1")).await, Decided::Changed);
    entry.name = "suite/2".to_owned();
    assert_eq!(one(&*ledger, fire(&entry, &ticks[0], "run-1")).await, Decided::Changed);
    assert!(ledger.runs(&RunQuery::default()).await.unwrap().is_empty());
}

pub async fn an_edited_schedule_begins_anew_and_so_does_one_that_comes_back(ledger: Table) {
    let (first, ticks) = posted(&*ledger, Overlap::Skip, 2).await;
    let since = ledger.posted(&home("a")).await.unwrap()[0].cursor;
    let mut edited = first.clone();
    edited.schedule.cron = "*/2 * * * *".to_owned();
    let standing = post(&*ledger, "a", std::slice::from_ref(&edited)).await;
    assert_eq!(standing.len(), 1, "{standing:?}");
    assert!(standing[0].entry == edited && standing[0].cursor > since + 2, "{standing:?}");
    assert_eq!(one(&*ledger, fire(&edited, &ticks[1], "run-1")).await, Decided::Passed);
    assert_eq!(one(&*ledger, fire(&first, &ticks[1], "run-1")).await, Decided::Changed);
    post(&*ledger, "a", &[]).await;
    assert!(ledger.schedules().await.unwrap().is_empty());
    let back = post(&*ledger, "a", std::slice::from_ref(&first)).await;
    assert!(back[0].cursor >= standing[0].cursor);
    assert_eq!(one(&*ledger, fire(&first, &ticks[1], "run-1")).await, Decided::Passed);
}

pub async fn what_two_homes_fire_is_one_schedule(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Allow, 1).await;
    let both = post(&*ledger, "b", std::slice::from_ref(&entry)).await;
    assert_eq!(both, ledger.posted(&home("a")).await.unwrap(), "the second goes on where the first is");
    assert_eq!(one(&*ledger, fire(&entry, &ticks[0], "run-1")).await, runs("run-1"));
    let other = ledger.decide(&home("b"), vec![fire(&entry, &ticks[0], "run-2")], "server").await.unwrap();
    assert_eq!(other, [Decided::Before(Outcome::Run { run: "run-1".into() })]);
    let rows = ledger.schedules().await.unwrap();
    assert_eq!(rows.len(), 1);
    let hosts: Vec<&str> = rows[0].posts.iter().map(|post| post.host.as_str()).collect();
    assert_eq!(hosts, ["host of a", "host of b"]);
    post(&*ledger, "a", &[]).await;
    assert_eq!(ledger.posted(&home("b")).await.unwrap()[0].cursor, both[0].cursor, "it is still fired");
    let mut other = entry.clone();
    other.schedule.cron = "0 * * * *".to_owned();
    post(&*ledger, "a", std::slice::from_ref(&other)).await;
    assert_eq!(ledger.schedules().await.unwrap().len(), 2, "their files differ");
}

pub async fn a_tick_is_skipped_while_a_run_of_its_schedule_lives(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Skip, 4).await;
    assert_eq!(one(&*ledger, fire(&entry, &ticks[0], "run-1")).await, runs("run-1"));
    assert_eq!(one(&*ledger, fire(&entry, &ticks[1], "run-2")).await, skipped("run run-1 still runs"));
    ledger.trigger(new_run("by-hand", None)).await.unwrap();
    ends(&*ledger, "run-1").await;
    let both = decide(&*ledger, vec![fire(&entry, &ticks[2], "run-3"), fire(&entry, &ticks[3], "run-4")]).await;
    assert_eq!(both, [runs("run-3"), skipped("run run-3 still runs")], "the second sees the first");
    sound(&*ledger).await;
}

pub async fn ticks_that_queue_run_one_after_the_other(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Queue, 4).await;
    let order = |n: usize| fire(&entry, &ticks[n], &format!("run-{n}"));
    assert_eq!(one(&*ledger, order(0)).await, runs("run-0"));
    assert_eq!(decide(&*ledger, vec![order(1), order(2)]).await, [waits("run-0"), waits("run-0")]);
    assert_eq!(one(&*ledger, order(1)).await, Decided::Before(Outcome::Waits { run: "run-0".into() }));
    let at = |n: usize| ticks[n].at;
    assert_eq!(waiting(&*ledger).await, [(at(1), "run-0".into(), false), (at(2), "run-0".into(), false)]);
    ends(&*ledger, "run-0").await;
    assert_eq!(waiting(&*ledger).await, [(at(1), "run-0".into(), true), (at(2), "run-0".into(), true)]);
    assert!(matches!(one(&*ledger, order(3)).await, Decided::Now(Outcome::Waits { .. })), "the older ones go first");
    assert!(matches!(one(&*ledger, order(2)).await, Decided::Before(Outcome::Waits { .. })));
    assert_eq!(decide(&*ledger, vec![order(1), order(2)]).await, [runs("run-1"), waits("run-1")]);
    assert_eq!(waiting(&*ledger).await, [(at(2), "run-1".into(), false), (at(3), "run-1".into(), false)]);
    ends(&*ledger, "run-1").await;
    assert_eq!(one(&*ledger, order(2)).await, runs("run-2"));
    ends(&*ledger, "run-2").await;
    assert_eq!(one(&*ledger, order(3)).await, runs("run-3"));
    assert_eq!(waiting(&*ledger).await, []);
    assert!(on_record(&*ledger).await.is_empty());
    sound(&*ledger).await;
}

pub async fn no_more_ticks_queue_than_are_allowed(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Queue, WAITING_MAX as i64 + 2).await;
    let orders = ticks.iter().enumerate().map(|(n, tick)| fire(&entry, tick, &format!("run-{n}")));
    let decided = decide(&*ledger, orders.collect()).await;
    assert_eq!(decided[0], runs("run-0"));
    assert!(decided[1..=WAITING_MAX].iter().all(|one| *one == waits("run-0")), "{decided:?}");
    assert_eq!(decided[WAITING_MAX + 1], skipped("10 ticks wait for a run of this schedule already"));
    assert_eq!(waiting(&*ledger).await.len(), WAITING_MAX);
}

pub async fn a_tick_that_cancels_supersedes_those_that_wait(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::CancelRunning, 4).await;
    let order = |n: usize| fire(&entry, &ticks[n], &format!("run-{n}"));
    assert_eq!(one(&*ledger, order(0)).await, runs("run-0"));
    assert_eq!(one(&*ledger, order(1)).await, waits("run-0"));
    assert_eq!(one(&*ledger, order(2)).await, waits("run-0"));
    assert_eq!(waiting(&*ledger).await, [(ticks[2].at, "run-0".into(), false)]);
    let superseded = format!("superseded by {}", ticks[2].key());
    assert_eq!(on_record(&*ledger).await[0].reason, superseded);
    let again = Outcome::Skipped { reason: superseded, count: 1 };
    assert_eq!(one(&*ledger, order(1)).await, Decided::Before(again));
    ends(&*ledger, "run-0").await;
    assert_eq!(one(&*ledger, order(2)).await, runs("run-2"));
    assert_eq!(one(&*ledger, order(3)).await, waits("run-2"));
    sound(&*ledger).await;
}

pub async fn ticks_of_one_batch_supersede_each_other(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::CancelRunning, 4).await;
    let order = |n: usize| fire(&entry, &ticks[n], &format!("run-{n}"));
    assert_eq!(one(&*ledger, order(0)).await, runs("run-0"));
    assert_eq!(decide(&*ledger, vec![order(1), order(2), order(3)]).await, vec![waits("run-0"); 3]);
    assert_eq!(waiting(&*ledger).await, [(ticks[3].at, "run-0".into(), false)]);
    let skipped: Vec<String> = on_record(&*ledger).await.into_iter().map(|one| one.key).collect();
    assert_eq!(skipped, [ticks[1].key(), ticks[2].key()]);
    assert_eq!(ledger.ticks(None, 9).await.unwrap().len(), 4);
}

/// The host of the one home is gone for ever, and with it the old text of the schedule.
pub async fn what_waits_elsewhere_keeps_nobody_waiting(ledger: Table) {
    for overlap in [Overlap::Queue, Overlap::CancelRunning] {
        let gone = entry(&format!("{overlap:?}"), overlap);
        let since = post(&*ledger, "a", std::slice::from_ref(&gone)).await[0].cursor;
        let ticks = come(&*ledger, since, 2).await;
        let old = format!("old-{overlap:?}");
        decide(&*ledger, vec![fire(&gone, &ticks[0], &old), fire(&gone, &ticks[1], "never")]).await;
        let mut edited = gone.clone();
        edited.schedule.cron = "0 * * * *".to_owned();
        let since = post(&*ledger, "b", std::slice::from_ref(&edited)).await[0].cursor;
        ends(&*ledger, &old).await;
        let tick = come(&*ledger, since, 1).await.remove(0);
        let new = format!("new-{overlap:?}");
        let decided = ledger.decide(&home("b"), vec![fire(&edited, &tick, &new)], "server").await.unwrap();
        assert_eq!(decided, [runs(&new)]);
    }
}

pub async fn runs_may_overlap_where_that_is_allowed(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Allow, 3).await;
    let orders = ticks.iter().enumerate().map(|(n, tick)| fire(&entry, tick, &format!("run-{n}")));
    assert_eq!(decide(&*ledger, orders.collect()).await, [runs("run-0"), runs("run-1"), runs("run-2")]);
    assert_eq!(ledger.unfinished().await.unwrap().len(), 3);
}

pub async fn what_waits_ends_with_its_schedule(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Queue, 2).await;
    decide(&*ledger, vec![fire(&entry, &ticks[0], "run-0"), fire(&entry, &ticks[1], "run-1")]).await;
    post(&*ledger, "b", std::slice::from_ref(&entry)).await;
    post(&*ledger, "a", &[]).await;
    assert!(on_record(&*ledger).await.is_empty(), "somebody else still fires it");
    post(&*ledger, "b", &[]).await;
    let skipped = on_record(&*ledger).await;
    assert_eq!((skipped.len(), skipped[0].key.as_str()), (1, ticks[1].key().as_str()));
    assert!(skipped[0].reason.contains("changed or removed"), "{skipped:?}");
    post(&*ledger, "a", std::slice::from_ref(&entry)).await;
    ends(&*ledger, "run-0").await;
    assert!(matches!(one(&*ledger, fire(&entry, &ticks[1], "run-1")).await, Decided::Before(Outcome::Skipped { .. })));
    assert_eq!(waiting(&*ledger).await, []);
}

pub async fn a_disabled_schedule_skips_and_says_who_wanted_it(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Queue, 3).await;
    let name = entry.name.clone();
    decide(&*ledger, vec![fire(&entry, &ticks[0], "run-0"), fire(&entry, &ticks[1], "run-1")]).await;
    let disable = AdminEvent::ScheduleDisabled { schedule: name.clone(), reason: "Umbau 备份".into() };
    ledger.administer(disable.clone(), "ann").await.unwrap();
    ledger.administer(disable.clone(), "bob").await.unwrap();
    let disabled = ledger.posted(&home("a")).await.unwrap()[0].disabled.clone().unwrap();
    assert_eq!((disabled.by.as_str(), disabled.reason.as_str()), ("ann", "Umbau 备份"));
    assert_eq!(one(&*ledger, fire(&entry, &ticks[1], "run-1")).await, skipped("disabled by ann: Umbau 备份"));
    let mut edited = entry.clone();
    edited.schedule.overlap = Overlap::Allow;
    let since = post(&*ledger, "a", std::slice::from_ref(&edited)).await[0].cursor;
    let tick = come(&*ledger, since, 1).await.remove(0);
    assert_eq!(one(&*ledger, fire(&edited, &tick, "run-2")).await, skipped("disabled by ann: Umbau 备份"));
    let enable = AdminEvent::ScheduleEnabled { schedule: name, reason: "done".into() };
    ledger.administer(enable.clone(), "bob").await.unwrap();
    ledger.administer(enable.clone(), "bob").await.unwrap();
    assert_eq!(ledger.posted(&home("a")).await.unwrap()[0].disabled, None);
    let tick = come(&*ledger, tick.at, 1).await.remove(0);
    assert_eq!(one(&*ledger, fire(&edited, &tick, "run-3")).await, runs("run-3"));
    let record = ledger.administration().await.unwrap();
    let switched: Vec<&AdminEvent> = record
        .iter()
        .map(|entry| &entry.event)
        .filter(|event| !matches!(event, AdminEvent::TicksSkipped { .. }))
        .collect();
    assert_eq!(switched, [&disable, &enable], "what is so already is not noted twice");
    let unknown = AdminEvent::ScheduleDisabled { schedule: "suite/typo".into(), reason: "x".into() };
    assert!(
        matches!(ledger.administer(unknown, "ann").await, Err(LedgerError::NoSuchSchedule(name)) if name == "suite/typo")
    );
}

pub async fn many_are_skipped_at_once_and_once(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Allow, 12).await;
    let down = Decided::Now(Outcome::Skipped { reason: "no server".into(), count: 4 });
    assert_eq!(one(&*ledger, skip_many(&entry, &ticks[..4], "no server")).await, down);
    assert_eq!(ledger.posted(&home("a")).await.unwrap()[0].cursor, ticks[3].at);
    let Decided::Now(down) = down else { unreachable!() };
    assert_eq!(one(&*ledger, skip_many(&entry, &ticks[..4], "no server")).await, Decided::Before(down));
    assert_eq!(one(&*ledger, skip_many(&entry, &ticks[1..3], "no server")).await, Decided::Passed);
    assert_eq!(one(&*ledger, skip_many(&entry, &ticks[2..5], "no server")).await, Decided::Changed);
    assert_eq!(one(&*ledger, fire(&entry, &ticks[1], "run-1")).await, Decided::Passed);
    let rest = vec![skip_many(&entry, &ticks[4..5], "no server"), fire(&entry, &ticks[5], "run-5")];
    assert_eq!(decide(&*ledger, rest).await, [skipped("no server"), runs("run-5")]);
    assert_eq!(one(&*ledger, skip(&entry, &ticks[8], "late")).await, skipped("late"));
    for (from, to) in [(6, 8), (8, 9), (6, 11)] {
        let range = skip_many(&entry, &ticks[from..=to], "no server");
        assert_eq!(one(&*ledger, range).await, Decided::Changed, "{from} to {to}: somebody decided one of them");
    }
    let both = vec![skip(&entry, &ticks[10], "late"), skip_many(&entry, &ticks[9..=11], "no server")];
    assert_eq!(decide(&*ledger, both).await, [skipped("late"), Decided::Changed]);
    let record = on_record(&*ledger).await;
    let wanted = SkippedTicks {
        schedule: entry.name,
        from: Some(ticks[0].key()),
        key: ticks[3].key(),
        at: ticks[3].at,
        count: 4,
        reason: "no server".into(),
    };
    assert_eq!((record.len(), &record[0]), (4, &wanted));
}

pub async fn a_full_group_skips_the_tick(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Allow, 3).await;
    let limited = |n: usize| {
        let mut order = fire(&entry, &ticks[n], &format!("run-{n}"));
        if let Decision::Fire { new, .. } = &mut order.decision {
            new.group = Some(Group { name: "db".into(), limit: NonZeroU32::MIN, when_busy: WhenBusy::Queue });
            new.queued_max = 2;
        }
        order
    };
    let decided = decide(&*ledger, (0..3).map(limited).collect()).await;
    assert_eq!(decided[..2], [runs("run-0"), runs("run-1")]);
    match &decided[2] {
        Decided::Now(Outcome::Skipped { reason, .. }) => assert!(reason.contains("`db`"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(ledger.group("db").await.unwrap().len(), 2);
    assert_eq!(on_record(&*ledger).await.len(), 1);
}

pub async fn what_was_skipped_is_on_the_record(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Skip, 3).await;
    let orders = vec![
        fire(&entry, &ticks[0], "run-0"),
        fire(&entry, &ticks[1], "run-1"),
        skip(&entry, &ticks[2], "its file\0 is \u{F0000} 坏"),
    ];
    decide(&*ledger, orders).await;
    let record = ledger.administration().await.unwrap();
    assert_eq!((record.len(), record[0].actor.as_str()), (1, "server"), "one entry for one decision");
    let skipped = on_record(&*ledger).await;
    assert_eq!((skipped[0].key.clone(), skipped[1].key.clone()), (ticks[1].key(), ticks[2].key()));
    assert!(skipped.iter().all(|one| one.from.is_none() && one.count == 1), "{skipped:?}");
    let rows = ledger.ticks(Some(&entry.name), 2).await.unwrap();
    for (row, skipped) in rows.iter().rev().zip(&skipped) {
        let Outcome::Skipped { reason, .. } = &row.outcome else { panic!("{row:?}") };
        assert_eq!((row.decided_at, reason), (record[0].at, &skipped.reason));
    }
}

pub async fn the_cursor_never_goes_back(ledger: Table) {
    let (one, _) = posted(&*ledger, Overlap::Skip, 1).await;
    let two = entry("2", Overlap::Skip);
    let since = post(&*ledger, "a", &[one.clone(), two.clone()]).await[1].cursor;
    ledger.passed(&[(one.clone(), since + 5), (two.clone(), since + 7)]).await.unwrap();
    ledger.passed(&[(two.clone(), since + 6), (one.clone(), since + 6)]).await.unwrap();
    ledger.passed(&[]).await.unwrap();
    ledger.passed(&[(entry("3", Overlap::Skip), 1)]).await.unwrap();
    let cursors: Vec<i64> = ledger.posted(&home("a")).await.unwrap().iter().map(|one| one.cursor).collect();
    assert_eq!(cursors, [since + 6, since + 7]);
    let came = come(&*ledger, since, 6).await.remove(5);
    assert_eq!(self::one(&*ledger, fire(&one, &came, "run-1")).await, Decided::Passed);
}

pub async fn a_broken_runbook_is_posted_with_its_trouble(ledger: Table) {
    let (mut entry, ticks) = posted(&*ledger, Overlap::Skip, 1).await;
    let since = ledger.posted(&home("a")).await.unwrap()[0].cursor;
    entry.broken = Some("line 3: 坏".to_owned());
    let standing = post(&*ledger, "a", std::slice::from_ref(&entry)).await;
    assert_eq!((&standing[0].entry, standing[0].cursor), (&entry, since), "it is the same schedule");
    post(&*ledger, "b", &[Entry { broken: None, ..entry.clone() }]).await;
    let row = ledger.schedules().await.unwrap().remove(0);
    let broken: Vec<bool> = row.posts.iter().map(|post| post.broken.is_some()).collect();
    assert_eq!(broken, [true, false]);
    assert_eq!(row.standing.entry.broken, entry.broken);
    assert_eq!(one(&*ledger, skip(&entry, &ticks[0], "line 3")).await, skipped("line 3"));
}

pub async fn old_ticks_are_pruned_after_their_runs_and_stay_decided(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Allow, 4).await;
    let orders = vec![fire(&entry, &ticks[0], "run-0"), skip(&entry, &ticks[1], "x"), fire(&entry, &ticks[2], "run-2")];
    decide(&*ledger, orders).await;
    let before = ledger.now().await.unwrap() + 1;
    let prune_ticks = async || {
        let event = AdminEvent::TicksPruned { before, ticks: 0 };
        match ledger.administer(event, "ann").await.unwrap() {
            AdminEvent::TicksPruned { ticks, .. } => ticks,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(prune_ticks().await, 0, "its time is not decided up to there");
    ledger.passed(&[(entry.clone(), ticks[2].at)]).await.unwrap();
    ends(&*ledger, "run-0").await;
    let over = crate::PrunedRun::of(&ledger.load(&"run-0".into()).await.unwrap());
    assert_eq!(prune(&*ledger, vec![over]).await.len(), 1);
    assert_eq!(prune_ticks().await, 2, "the skipped one, and that of the pruned run");
    assert_eq!(prune_ticks().await, 0);
    let left = ledger.ticks(None, 9).await.unwrap();
    assert_eq!(left.iter().map(|row| row.tick.at).collect::<Vec<_>>(), [ticks[2].at], "its run is there");
    for tick in &ticks[..2] {
        assert_eq!(one(&*ledger, fire(&entry, tick, "again")).await, Decided::Passed);
    }
    let kinds: Vec<&str> = ledger.administration().await.unwrap().iter().map(|entry| entry.event.kind()).collect();
    assert_eq!(kinds, ["ticks_skipped", "runs_pruned", "ticks_pruned"]);
    finished(&*ledger, "unrelated", None).await;
}

async fn all<T: 'static>(tasks: JoinSet<T>) -> Vec<T> {
    tasks.join_all().await
}

pub async fn of_many_who_decide_one_tick_one_does(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Queue, 1).await;
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let (ledger, order) = (Arc::clone(&ledger), fire(&entry, &ticks[0], &format!("run-{n}")));
        tasks.spawn(async move { one(&*ledger, order).await });
    }
    let decided = all(tasks).await;
    assert_eq!(decided.iter().filter(|one| matches!(one, Decided::Now(_))).count(), 1, "{decided:?}");
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 1);
    sound(&*ledger).await;
}

pub async fn of_many_ticks_at_once_one_runs(ledger: Table) {
    let (entry, ticks) = posted(&*ledger, Overlap::Skip, MANY as i64).await;
    let mut tasks = JoinSet::new();
    for (n, tick) in ticks.iter().enumerate() {
        let (ledger, order) = (Arc::clone(&ledger), fire(&entry, tick, &format!("run-{n}")));
        tasks.spawn(async move { one(&*ledger, order).await });
    }
    let decided = all(tasks).await;
    let ran = decided.iter().filter(|one| matches!(one, Decided::Now(Outcome::Run { .. }))).count();
    let skipped = decided.iter().filter(|one| matches!(one, Decided::Now(Outcome::Skipped { .. }))).count();
    assert_eq!((ran, skipped), (1, MANY - 1), "{decided:?}");
    assert_eq!(on_record(&*ledger).await.len(), MANY - 1);
    sound(&*ledger).await;
}

/// Each server has its own order of the same schedules, and tells how far it is.
pub async fn many_servers_decide_everything_once(ledger: Table) {
    const SCHEDULES: usize = 10;
    let entries: Vec<Entry> = (0..SCHEDULES)
        .map(|n| entry(&format!("{n}"), [Overlap::Allow, Overlap::Skip, Overlap::Queue, Overlap::CancelRunning][n % 4]))
        .collect();
    let mut since = 0;
    for server in 0..3 {
        since = post(&*ledger, &format!("home-{server}"), &entries).await[0].cursor;
    }
    let ticks = come(&*ledger, since, 4).await;
    let mut tasks = JoinSet::new();
    for server in 0..3 {
        let (ledger, ticks, mut entries) = (Arc::clone(&ledger), ticks.clone(), entries.clone());
        tasks.spawn(async move {
            entries.rotate_left(server * 3);
            let mut decided = 0;
            for (n, tick) in ticks.iter().enumerate() {
                for batch in entries.chunks(4) {
                    let orders = batch.iter().map(|entry| {
                        let run = format!("{}-{n}-{server}", entry.name.replace('/', "-"));
                        if n == 2 { skip(entry, tick, "x") } else { fire(entry, tick, &run) }
                    });
                    let home = home(&format!("home-{server}"));
                    let answers = ledger.decide(&home, orders.collect(), "server").await.unwrap();
                    decided += answers.iter().filter(|one| matches!(one, Decided::Now(_))).count();
                    let passed: Vec<(Entry, i64)> = batch.iter().map(|entry| (entry.clone(), tick.at)).collect();
                    ledger.passed(&passed).await.unwrap();
                }
            }
            decided
        });
    }
    all(tasks).await;
    let rows = ledger.ticks(None, 1_000).await.unwrap();
    assert_eq!(rows.len(), SCHEDULES * 4);
    let ran: BTreeSet<RunId> = rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Run { run } => Some(run.clone()),
            _ => None,
        })
        .collect();
    let there: BTreeSet<RunId> =
        ledger.runs(&RunQuery::default()).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ran, there);
    let skipped = rows.iter().filter(|row| matches!(row.outcome, Outcome::Skipped { .. })).count();
    assert_eq!(on_record(&*ledger).await.len(), skipped);
    sound(&*ledger).await;
}

/// Files change while others decide.
pub async fn many_post_and_decide_at_once(ledger: Table) {
    let entries: Vec<Entry> = (0..6).map(|n| entry(&format!("{n}"), Overlap::Queue)).collect();
    let mut tasks = JoinSet::new();
    for server in 0..4_usize {
        let (ledger, entries) = (Arc::clone(&ledger), entries.clone());
        tasks.spawn(async move {
            let name = format!("home-{server}");
            for round in 0..6 {
                let mine = &entries[(server + round) % 3..];
                let standing = post(&*ledger, &name, mine).await;
                assert_eq!(standing.len(), mine.len());
                let at = ledger.now().await.unwrap();
                let order = |one: &Standing| {
                    fire(&one.entry, &tick(at), &format!("{}-{round}-{server}", one.entry.name.replace('/', "-")))
                };
                let orders: Vec<Order> = standing.iter().map(order).collect();
                ledger.decide(&home(&name), orders, "server").await.unwrap();
            }
            post(&*ledger, &name, &[]).await;
        });
    }
    all(tasks).await;
    assert!(ledger.schedules().await.unwrap().is_empty());
    let rows = ledger.ticks(None, 1_000).await.unwrap();
    assert!(rows.iter().all(|row| !matches!(row.outcome, Outcome::Waits { .. })), "nothing waits for nobody: {rows:?}");
    sound(&*ledger).await;
}
