//! Reads the ledger and the logs into a [`Watch`]. Asks nobody else: a run is shown whoever drives it, or nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use runward_engine::plan::forecast::Forecast;
use runward_engine::run::rows::RunRow;
use runward_engine::run::state::Attempt;
use runward_engine::run::{ClaimId, RunId};
use runward_store::{LedgerError, RunQuery, RunView};
use runward_workers::home::Home;
use runward_workers::supervisor::journal;

use super::model::{About, Driving, Place, RunAbout, RunLine, Scroll, Watch};
use super::run_page::{RunPage, output_of};
use crate::drivers::Driver;
use crate::failure::Failure;
use crate::fetch::Fetcher;
use crate::open::Opened;
use crate::outputs::Outputs;
use crate::view::eta;
use crate::view::tail::Tail;

/// The newest runs are listed twice a second, unfinished ones further down now and then.
const LIST_EVERY: Duration = Duration::from_millis(500);
const UNFINISHED_EVERY: Duration = Duration::from_secs(2);
/// How often it is asked who drives a run: asking takes its lock for a moment.
const DRIVER_EVERY: Duration = Duration::from_secs(1);
/// A run is without a driver after so many looks: one driver may be handing it over to the next.
const MISSES_MAX: u32 = 2;
/// Finished runs in the list, and how far it grows when somebody scrolls down.
const LISTED: u32 = 100;
/// Runs read at one look, so that a list of many stays alive.
const READ_AT_ONCE: usize = 3;
const OUTPUT_LINES_MAX: usize = 20_000;
const OUTPUT_BYTES_FIRST: u64 = 1024 * 1024;

pub struct Feed<'a> {
    opened: &'a Opened,
    outputs: &'a Outputs,
    fetcher: Fetcher,
    newest: Vec<RunRow>,
    unfinished: Vec<RunRow>,
    listed: Option<Instant>,
    searched: Option<Instant>,
    /// Runs of the list that are not at their end, as far as they were on the screen.
    live: BTreeMap<RunId, RunView>,
    /// What is known of each, at its last event.
    known: BTreeMap<RunId, (u64, About)>,
    drivers: BTreeMap<RunId, Look>,
    open: Option<RunView>,
    /// Of the open run.
    forecast: Option<Forecast>,
    output: Option<(ClaimId, Tail, bool)>,
    /// All of it has arrived here: on one machine it always has.
    whole: bool,
}

/// The last time somebody asked who drives a run.
struct Look {
    at: Instant,
    driving: Driving,
    misses: u32,
}

impl Feed<'_> {
    pub fn new<'a>(opened: &'a Opened, outputs: &'a Outputs) -> Feed<'a> {
        Feed {
            opened,
            outputs,
            fetcher: Fetcher::new(opened, outputs),
            newest: Vec::new(),
            unfinished: Vec::new(),
            listed: None,
            searched: None,
            live: BTreeMap::new(),
            known: BTreeMap::new(),
            drivers: BTreeMap::new(),
            open: None,
            forecast: None,
            output: None,
            whole: true,
        }
    }

    /// Goes to the screen of this run.
    pub async fn open(&mut self, id: RunId, watch: &mut Watch) -> Result<(), Failure> {
        let view = match self.live.remove(&id) {
            Some(view) => view,
            None => self.opened.ledger().load(&id).await?,
        };
        watch.run = Some(RunPage::of(&view.state));
        self.forecast = match view.state.status.is_terminal() {
            true => None,
            false => eta::forecast(self.opened.ledger(), &view.state).await,
        };
        (watch.place, watch.scroll) = (Place::Run, Scroll::END);
        self.open = Some(view);
        self.output = None;
        watch.output.clear(None);
        self.look_at_driver(watch);
        self.follow(watch);
        Ok(())
    }

    /// Reads what is new; false if nothing is.
    pub async fn look(&mut self, watch: &mut Watch) -> Result<bool, Failure> {
        match watch.place {
            Place::Runs => self.look_at_list(watch).await,
            Place::Run | Place::Log => self.look_at_run(watch).await,
        }
    }

    async fn look_at_run(&mut self, watch: &mut Watch) -> Result<bool, Failure> {
        let Some(view) = &mut self.open else { return Ok(false) };
        let before = view.state.seq;
        self.opened.ledger().refresh(view).await?;
        let mut changed = view.state.seq != before;
        if changed && let Some(page) = &mut watch.run {
            page.update(&view.state);
        }
        if let (Some(forecast), Some(page)) = (&self.forecast, &mut watch.run) {
            changed |= page.expect(forecast, &view.state, crate::text::now());
        }
        changed |= self.look_at_driver(watch);
        self.choose_output(watch);
        self.fetch_output().await?;
        Ok(self.read_output(watch) | changed)
    }

    /// After a key: the output of what is chosen now.
    pub fn follow(&mut self, watch: &mut Watch) {
        if watch.place != Place::Runs {
            self.choose_output(watch);
            self.read_output(watch);
        }
    }

    fn look_at_driver(&mut self, watch: &mut Watch) -> bool {
        let (Some(view), Some(page)) = (&self.open, &mut watch.run) else { return false };
        if view.state.status.is_terminal() {
            return false;
        }
        let driving = asked(&mut self.drivers, self.opened, &view.state.id);
        let home = self.opened.home().filter(|_| driving == Driving::Nobody);
        let alive = |home: &Home| {
            let mut live = view.state.live().keys().map(|claim| home.attempt(&view.state.id, claim));
            live.any(|attempt| journal::is_alive(&attempt).unwrap_or(false))
        };
        let lives_on = home.is_some_and(alive);
        let changed = page.driving != driving || page.lives_on != lives_on;
        (page.driving, page.lives_on) = (driving, lives_on);
        changed
    }

    /// Opens the log of the newest attempt of the chosen row, unless it is open.
    fn choose_output(&mut self, watch: &mut Watch) {
        let (Some(view), Some(page)) = (&self.open, &watch.run) else { return };
        let chosen = page.chosen_row().and_then(|(_, row)| output_of(&view.state, row.unit));
        let attempt = |unit| -> Option<Attempt> { view.state.unit(unit)?.attempts.last().cloned() };
        let found = chosen.and_then(|unit| Some((view.state.unit_name(unit), attempt(unit)?)));
        let claim = found.as_ref().map(|(_, attempt)| &attempt.claim);
        if claim == self.output.as_ref().map(|(claim, ..)| claim) {
            return;
        }
        watch.output.clear(found.as_ref().map(|(name, attempt)| (name.clone(), attempt.no)));
        if watch.place == Place::Log {
            watch.scroll = Scroll::END;
        }
        self.whole = self.opened.cluster().is_none();
        self.output = found.map(|(name, attempt)| {
            self.fetcher.forget(&attempt.claim);
            let source = self.outputs.source(&view.state.id, &attempt.claim);
            let tail = Tail::new(source, name, attempt.claimed_at, OUTPUT_LINES_MAX, OUTPUT_BYTES_FIRST);
            (attempt.claim, tail, false)
        });
    }

    async fn fetch_output(&mut self) -> Result<(), Failure> {
        if let (Some((claim, _, false)), Some(view)) = (&self.output, &self.open) {
            self.whole = self.fetcher.is_whole(&view.state.id, claim).await?;
            self.fetcher.fetch(&view.state.id, claim, OUTPUT_BYTES_FIRST).await?;
        }
        Ok(())
    }

    fn read_output(&mut self, watch: &mut Watch) -> bool {
        let (Some((claim, tail, over)), Some(view)) = (&mut self.output, &self.open) else { return false };
        if *over {
            return false;
        }
        // What is over is read once more, and then never again.
        *over = self.whole && !view.state.live().contains_key(claim);
        let mut any = false;
        tail.lines(*over, |_| any = true);
        let open_line = tail.open_line();
        any |= open_line != watch.output.open_line;
        watch.output.open_line = open_line;
        watch.output.push(tail.last.drain(..), &mut watch.scroll);
        any
    }

    async fn look_at_list(&mut self, watch: &mut Watch) -> Result<bool, Failure> {
        (self.open, self.output) = (None, None);
        let due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
        if !due(self.listed, LIST_EVERY) {
            return Ok(false);
        }
        let room = u32::from(watch.size.1);
        let limit = LISTED.max(watch.runs.chosen_index() as u32 + 2 * room);
        let query = RunQuery { limit: Some(limit), without_children: true, ..RunQuery::default() };
        self.newest = self.opened.ledger().runs(&query).await?;
        if due(self.searched, UNFINISHED_EVERY) {
            let query = RunQuery { unfinished: true, without_children: true, ..RunQuery::default() };
            self.unfinished = self.opened.ledger().runs(&query).await?;
            self.searched = Some(Instant::now());
        }
        self.listed = Some(Instant::now());
        let rows = in_order(&self.unfinished, &self.newest);
        let lines = self.lines(rows, watch).await?;
        // Rows are compared, not drawn again: an idle screen costs nothing.
        let same = watch.runs.read
            && lines.len() == watch.runs.lines.len()
            && lines.iter().zip(&watch.runs.lines).all(|(a, b)| {
                a.row == b.row
                    && a.driving == b.driving
                    && std::mem::discriminant(&a.about) == std::mem::discriminant(&b.about)
            });
        watch.runs.lines = lines;
        watch.runs.read = true;
        if watch.runs.chosen.is_none() {
            watch.runs.chosen = watch.runs.lines.first().map(|line| line.row.id.clone());
        }
        Ok(!same)
    }

    /// Rows with what is known of their runs. Those on the screen are read, a few at a time.
    async fn lines(&mut self, rows: Vec<RunRow>, watch: &Watch) -> Result<Vec<RunLine>, Failure> {
        let listed: BTreeSet<RunId> = rows.iter().map(|row| row.id.clone()).collect();
        self.live.retain(|id, view| listed.contains(id) && !view.state.status.is_terminal());
        self.known.retain(|id, _| listed.contains(id));
        self.drivers.retain(|id, _| listed.contains(id));
        let (at, room) = (watch.runs.chosen_index(), usize::from(watch.size.1));
        let (mut lines, mut read) = (Vec::with_capacity(rows.len()), 0);
        for (n, row) in rows.into_iter().enumerate() {
            let seen = n + room >= at && n <= at + room;
            let driving = match seen && row.finished_at.is_none() {
                true => asked(&mut self.drivers, self.opened, &row.id),
                false => self.drivers.get(&row.id).map_or(Driving::Unknown, |look| look.driving.clone()),
            };
            if seen && self.known.get(&row.id).is_none_or(|(seq, _)| *seq != row.seq) && read < READ_AT_ONCE {
                read += usize::from(!self.live.contains_key(&row.id));
                self.read(&row).await;
            }
            let about = self.known.get(&row.id).map_or(About::Unread, |(_, about)| about.clone());
            lines.push(RunLine { row, driving, about });
        }
        if read == READ_AT_ONCE {
            // There may be more of them: the next look comes soon.
            self.listed = None;
        }
        Ok(lines)
    }

    /// One run that cannot be read (its record was changed, its runbook is of a newer version) leaves the others readable.
    async fn read(&mut self, row: &RunRow) {
        let known = match self.view(&row.id).await {
            Ok(view) => {
                let known = (view.state.seq, About::Read(RunAbout::of(&view.state)));
                if !view.state.status.is_terminal() {
                    self.live.insert(row.id.clone(), view);
                }
                known
            }
            Err(_) => (row.seq, About::Unreadable),
        };
        self.known.insert(row.id.clone(), known);
    }

    async fn view(&mut self, id: &RunId) -> Result<RunView, LedgerError> {
        let mut view = match self.live.remove(id) {
            Some(view) => view,
            None => self.opened.ledger().load(id).await?,
        };
        self.opened.ledger().refresh(&mut view).await?;
        Ok(view)
    }
}

/// Unfinished runs first, then the newest; each once.
fn in_order(unfinished: &[RunRow], newest: &[RunRow]) -> Vec<RunRow> {
    let mut rows: BTreeMap<&RunId, &RunRow> = unfinished.iter().map(|row| (&row.id, row)).collect();
    // The newest were read last: what they say counts.
    rows.extend(newest.iter().map(|row| (&row.id, row)));
    let (open, over): (Vec<&RunRow>, Vec<&RunRow>) =
        rows.into_values().rev().partition(|row| row.finished_at.is_none());
    open.into_iter().chain(over).cloned().collect()
}

/// Who drives a run, not asked too often.
fn asked(drivers: &mut BTreeMap<RunId, Look>, opened: &Opened, run: &RunId) -> Driving {
    if let Some(look) = drivers.get(run)
        && look.at.elapsed() < DRIVER_EVERY
    {
        return look.driving.clone();
    }
    let before = drivers.remove(run);
    let (misses, last) = before.map_or((0, Driving::Unknown), |look| (look.misses, look.driving));
    let (driving, misses) = match opened.driver(run) {
        Driver::Process(holder) => (Driving::Process(holder.pid), 0),
        Driver::Workers => (Driving::Workers, 0),
        Driver::Nobody if misses + 1 >= MISSES_MAX => (Driving::Nobody, misses + 1),
        Driver::Nobody => (last, misses + 1),
    };
    drivers.insert(run.clone(), Look { at: Instant::now(), driving: driving.clone(), misses });
    driving
}
