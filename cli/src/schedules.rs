//! What is known of schedules: by the ledger, which servers tell, and by the files of this machine. Read once, and judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use runward_engine::run::RunId;
use runward_engine::run::rows::RunRow;
use runward_engine::runbook::report::did_you_mean;
use runward_engine::schedule::due::Course;
use runward_engine::schedule::entry::{Schedule, Tick};
use runward_engine::schedule::words::words;
use runward_engine::units::format_duration;
use runward_store::timetable::{Disabled, Entry, Outcome, Post, TickRow};
use runward_store::{LedgerError, RunQuery};
use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, open, zone_name};
use crate::servers::Servers;
use crate::text;
use crate::timetable::Timetable;
use crate::view::words::{short, symbol};

/// Runs that are looked through for how a tick ended, the newest.
const RUNS_READ: u32 = 1000;

/// A clock that is so far behind what it showed was set back.
const CLOCK_BACK_MS: i64 = 60_000;

/// A schedule, by one definition of it.
pub struct Known {
    pub name: String,
    pub schedule: Schedule,
    /// `None`: only the files of this machine have it.
    pub taken_up: Option<TakenUp>,
    /// Why the files of this machine cannot be run, where no server has said that.
    broken_here: Option<String>,
    course: Option<Course>,
}

/// What the ledger has of it.
pub struct TakenUp {
    pub cursor: i64,
    pub disabled: Option<Disabled>,
    pub posts: Vec<Post>,
    pub last: Option<TickRow>,
}

pub struct Facts {
    pub opened: Opened,
    /// The ledger's clock.
    pub now: i64,
    pub known: Vec<Known>,
    pub servers: Servers,
    /// Runbooks of this machine that cannot be read, and what is wrong with them.
    pub unreadable: Vec<String>,
    runs: BTreeMap<RunId, RunRow>,
}

impl Facts {
    pub async fn gather(config: &Config) -> Result<Facts, Failure> {
        Facts::of(open(config).await?).await
    }

    async fn of(opened: Opened) -> Result<Facts, Failure> {
        let timetable = opened.timetable();
        let (now, rows) = (timetable.now().await?, timetable.schedules().await?);
        let zone = zone_name().parse().unwrap_or(Tz::UTC);
        let in_ledger = rows.into_iter().map(|row| {
            let (posts, last, standing) = (row.posts, row.last, row.standing);
            let taken_up = TakenUp { cursor: standing.cursor, disabled: standing.disabled, posts, last };
            Known::new(standing.entry, Some(taken_up), zone)
        });
        let mut known: Vec<Known> = in_ledger.collect();
        let survey = Timetable::of(&opened.settings).survey(&[]);
        let unreadable = survey.unread.iter().filter_map(not_known).collect();
        let new: Vec<Entry> =
            survey.entries.into_iter().filter(|entry| !known.iter().any(|it| it.name == entry.name)).collect();
        known.extend(new.into_iter().map(|entry| Known::new(entry, None, zone)));
        known.sort_by(|a, b| a.name.cmp(&b.name));
        let servers = Servers::of(&opened).await?;
        let runs = ended(&opened).await?;
        Ok(Facts { opened, now, known, servers, unreadable, runs })
    }

    /// Every definition that the ledger has of this schedule; that of the files where it has none.
    pub fn named(&self, name: &str) -> Result<Vec<&Known>, Failure> {
        let found: Vec<&Known> = self.known.iter().filter(|it| it.name == name).collect();
        if found.is_empty() { Err(unknown(name, self.known.iter().map(|it| it.name.as_str()))) } else { Ok(found) }
    }

    /// What came of a tick, in a few words.
    pub fn came_to(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Run { run } => match self.runs.get(run) {
                Some(row) => format!("{} {} {}", symbol(&row.status), short(&run.0), row.status.replace('_', " ")),
                None => format!("run {}", short(&run.0)),
            },
            Outcome::Skipped { reason, count: 0 | 1 } => format!("− skipped: {}", text::safe(reason)),
            Outcome::Skipped { reason, count } => format!("− {count} ticks skipped: {}", text::safe(reason)),
            Outcome::Waits { run } => format!("◦ waits for the end of run {}", short(&run.0)),
        }
    }

    pub fn run_status(&self, outcome: &Outcome) -> Option<&str> {
        match outcome {
            Outcome::Run { run } => self.runs.get(run).map(|row| row.status.as_str()),
            _ => None,
        }
    }

    /// Whether a server is there that fires it as it is.
    pub fn fires(&self, known: &Known) -> bool {
        let posts = known.taken_up.iter().flat_map(|it| &it.posts);
        posts.filter(|post| post.broken.is_none()).any(|post| self.servers.hears(&post.home))
    }

    /// In one word.
    pub fn state(&self, known: &Known) -> &'static str {
        match &known.taken_up {
            None => "new",
            Some(it) if it.disabled.is_some() => "disabled",
            Some(_) if self.fires(known) => "fires",
            Some(it) if it.posts.iter().any(|post| post.broken.is_some() && self.servers.hears(&post.home)) => "broken",
            Some(_) => "unattended",
        }
    }

    /// Everything that somebody should know of it, and what to do.
    pub fn remarks(&self, known: &Known) -> Vec<String> {
        let name = &known.name;
        let Some(taken_up) = &known.taken_up else {
            let broken = known.broken_here.as_ref().map(|why| format!("{name} is broken: {}", text::safe(why)));
            let new = format!("{name}: no server has taken it up; one with this runbook in its folders does");
            return broken.into_iter().chain((!self.servers.none()).then_some(new)).collect();
        };
        let mut remarks = Vec::new();
        if let Some(disabled) = &taken_up.disabled {
            remarks.push(format!(
                "{name} is disabled, by {} at {}: {}; `runward schedules enable {name} --reason WHY`",
                text::safe(&disabled.by),
                text::time(disabled.at),
                text::safe(&disabled.reason)
            ));
        }
        for post in taken_up.posts.iter().filter(|post| self.servers.hears(&post.home)) {
            if let Some(why) = &post.broken {
                let (host, why) = (text::safe(&post.host), text::safe(why));
                remarks.push(format!("{name} is broken on {host}, and its ticks are skipped there: {why}"));
            }
        }
        let others: Vec<&Known> = self.known.iter().filter(|it| it.name == *name).collect();
        if others.len() > 1 && std::ptr::eq(others[0], known) {
            let one = |it: &&Known| format!("`{}` on {}", text::safe(&it.schedule.cron), it.hosts());
            let all: Vec<String> = others.iter().map(one).collect();
            remarks.push(format!(
                "{name} is not the same everywhere: {}; each fires its own, so give all servers the same files",
                all.join(", ")
            ));
        }
        if !self.servers.none() && !taken_up.posts.iter().any(|post| self.servers.hears(&post.home)) {
            remarks.push(format!("{name}: nobody fires it; its server on {} is not there", known.hosts()));
        }
        let ahead = taken_up.cursor.saturating_sub(self.now);
        if ahead > CLOCK_BACK_MS {
            let ahead = format_duration(Duration::from_millis(ahead.unsigned_abs()));
            remarks.push(format!(
                "{name} has been decided up to {ahead} from now: the clock was set back; nothing fires until it is there again"
            ));
        }
        if let Err(error) = words(&known.schedule.cron) {
            remarks.push(format!("{name} cannot be understood by this version of runward: {error}"));
        }
        remarks
    }

    pub fn json(&self, known: &Known) -> Value {
        let schedule = &known.schedule;
        let next = known.next(self.now, 1).pop();
        let posts = known.taken_up.iter().flat_map(|it| &it.posts);
        let servers: Vec<Value> = posts
            .map(|post| {
                json!({"host": post.host, "since": post.at, "broken": post.broken, "there": self.servers.hears(&post.home)})
            })
            .collect();
        json!({
            "schedule": known.name, "state": self.state(known), "cron": schedule.cron, "timezone": schedule.timezone,
            "words": known.when(), "dst": schedule.dst, "missed": schedule.missed, "within_ms": schedule.within_ms,
            "overlap": schedule.overlap, "jitter_ms": schedule.jitter_ms, "spec": schedule.spec(),
            "next": next.map(|(tick, due)| next_json(&tick, due)),
            "disabled": known.taken_up.as_ref().and_then(|it| it.disabled.as_ref()),
            "last": known.taken_up.as_ref().and_then(|it| it.last.as_ref()).map(|row| self.tick_json(row)),
            "decided_until": known.taken_up.as_ref().map(|it| it.cursor),
            "servers": servers, "remarks": self.remarks(known),
        })
    }

    pub fn tick_json(&self, row: &TickRow) -> Value {
        let mut all = serde_json::to_value(row).expect("what is printed is plain data: its JSON cannot fail");
        if let Some(all) = all.as_object_mut() {
            all.insert("key".to_owned(), row.tick.key().into());
            all.insert("run_status".to_owned(), self.run_status(&row.outcome).into());
        }
        all
    }
}

pub fn next_json(tick: &Tick, due: i64) -> Value {
    json!({"key": tick.key(), "at": tick.at, "due": due})
}

impl Known {
    fn new(entry: Entry, taken_up: Option<TakenUp>, system: Tz) -> Known {
        let course = Course::new(&entry.name, &entry.schedule, system).ok();
        Known { name: entry.name, schedule: entry.schedule, taken_up, broken_here: entry.broken, course }
    }

    /// The next ticks, each with the moment at which it comes due.
    pub fn next(&self, now: i64, count: usize) -> Vec<(Tick, i64)> {
        let Some(course) = &self.course else { return Vec::new() };
        let decided = self.taken_up.as_ref().map_or(now, |it| it.cursor.max(now));
        let offset = self.schedule.offset(&self.name);
        let first = course.times().next(decided.saturating_sub(offset));
        let ticks = std::iter::successors(first, |tick| course.times().next(tick.at));
        ticks.take(count).map(|tick| (tick.clone(), course.due_at(&tick))).collect()
    }

    /// `at 02:30 on Saturday, Europe/Berlin`.
    pub fn when(&self) -> String {
        let says = words(&self.schedule.cron).unwrap_or_else(|_| format!("`{}`", self.schedule.cron));
        let zone = match (&self.schedule.timezone, &self.course) {
            (Some(zone), _) => zone.clone(),
            (None, Some(course)) => course.times().zone().name().to_owned(),
            (None, None) => "the system's zone".to_owned(),
        };
        text::safe(&format!("{says}, {zone}"))
    }

    pub fn hosts(&self) -> String {
        let posts = self.taken_up.iter().flat_map(|it| &it.posts);
        let hosts: BTreeSet<&str> = posts.map(|post| post.host.as_str()).collect();
        text::safe(&hosts.into_iter().collect::<Vec<_>>().join(", "))
    }
}

async fn ended(opened: &Opened) -> Result<BTreeMap<RunId, RunRow>, LedgerError> {
    let query = RunQuery { limit: Some(RUNS_READ), without_children: true, ..RunQuery::default() };
    let rows = opened.ledger().runs(&query).await?;
    Ok(rows.into_iter().filter(|row| row.schedule.is_some()).map(|row| (row.id.clone(), row)).collect())
}

pub fn unknown<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Failure {
    let names: BTreeSet<&str> = names.collect();
    let failure = Failure::usage(format!("there is no schedule `{}`", text::safe(name)));
    // Half of a name is more often forgotten than mistyped.
    let of_it = |it: &&&str| it.rsplit_once('/').is_some_and(|(runbook, id)| runbook == name || id == name);
    let parts: Vec<&str> = names.iter().filter(of_it).copied().collect();
    let near = did_you_mean(name, names.iter().copied()).or_else(|| {
        let of_id = |it: &&&str| it.rsplit_once('/').is_some_and(|(_, id)| did_you_mean(name, [id]).is_some());
        names.iter().find(of_id).map(|near| format!("did you mean `{near}`?"))
    });
    failure.help(match (parts.is_empty(), near) {
        (false, _) => format!("a schedule is named RUNBOOK/ID: {}", parts.join(", ")),
        (true, Some(near)) => near,
        (true, None) => "`runward schedules` lists them".to_owned(),
    })
}

/// What is not known of a file of this machine; that a folder is not there is no news to whoever has none.
fn not_known((path, why): (&PathBuf, &String)) -> Option<String> {
    let file = text::safe(&path.display().to_string());
    path.is_file()
        .then(|| format!("{file}: {why}: no schedule of it can be fired by its text; `runward validate {file}`"))
}
