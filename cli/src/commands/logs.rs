//! `runward logs`: what the steps of a run printed, while they run and for ever after.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use runward_engine::run::ids::split_unit_name;
use runward_engine::run::rows::{self, AttemptRow};
use runward_engine::run::todo::todo;
use runward_engine::run::{ClaimId, Part};
use runward_engine::units::format_size;
use runward_store::{LedgerError, RunView};
use runward_workers::home::Home;
use runward_workers::logs::Remote;
use runward_workers::supervisor::journal;
use runward_workers::supervisor::log::{LogItem, LogReader};
use runward_workers::supervisor::spool::Stream;
use serde_json::json;

use super::below::{below, known_step};
use crate::args::{Format, LogsArgs};
use crate::away::Away;
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, find_run, open};
use crate::text;
use crate::view::words;

const LOOK_EVERY: Duration = Duration::from_millis(150);
/// How long is waited for the rest of what a step has printed on another host, when it is over.
const REST_MAX: Duration = Duration::from_secs(15);
/// A longer line is shown in pieces: output without a line break must not fill the memory.
const LINE_BYTES_MAX: usize = 64 * 1024;

pub async fn run(config: &Config, args: &LogsArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    let (mut view, step) = below(&opened, opened.ledger().load(&id).await?, args.step.clone()).await?;
    let args = &LogsArgs { step, ..args.clone() };
    if let Some(step) = &args.step {
        known_step(&view, step)?;
    }
    let mut printer = Printer { args, opened: &opened, seen: BTreeSet::new(), readers: Vec::new() };
    let mut away = Away::default();
    loop {
        match look(&opened, &mut printer, &mut view).await {
            Ok(Going::On) => away.back().iter().for_each(|said| eprintln!("! {said}")),
            Ok(Going::AtOnce) => continue,
            Ok(Going::Over) => break,
            Err(Trouble::Ledger(error)) if args.follow => {
                away.trouble(error)?.iter().for_each(|said| eprintln!("! {said}"));
            }
            Err(Trouble::Ledger(error)) => return Err(error.into()),
            Err(Trouble::Log(failure)) => return Err(failure),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    printer.finish()?;
    if args.step.is_none() && args.format == Format::Text && !args.raw {
        let units =
            rows::units(&view.state).filter(|unit| view.state.unit(*unit).is_some_and(|it| !it.children.is_empty()));
        for unit in units.take(20) {
            let name = view.state.unit_name(unit);
            eprintln!("{name} is a run of its own: runward logs {} {name}", words::short(&view.state.id.0));
        }
    }
    Ok(0)
}

enum Going {
    On,
    /// There is more to read.
    AtOnce,
    Over,
}

/// Why a look came to nothing.
enum Trouble {
    Ledger(LedgerError),
    /// What was printed cannot be read.
    Log(Failure),
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        Trouble::Ledger(error)
    }
}

/// Prints what is new, and says whether more is to come.
async fn look(opened: &Opened, printer: &mut Printer<'_>, view: &mut RunView) -> Result<Going, Trouble> {
    opened.ledger().refresh(view).await?;
    let (id, short) = (view.state.id.clone(), words::short(&view.state.id.0).to_owned());
    let driven = opened.driver(&id).is_there();
    printer.add(view);
    let printed = printer.print(view).await?;
    // A driver may do its last things between two looks; after it is gone, one more look sees all of them.
    let left = !driven && opened.ledger().refresh(view).await?.is_empty();
    let over = view.state.status.is_terminal() || left;
    let still = view.state.live().is_empty();
    Ok(match printer.args.follow {
        _ if printer.waits() => Going::On,
        false => Going::Over,
        true if over && still && printed => Going::AtOnce,
        true if over && still => Going::Over,
        true if over && !printed && opened.home().is_some_and(|home| !still_runs(home, view)) => {
            eprintln!("nobody drives this run, and its step is over: `runward resume {short}` carries it on");
            Going::Over
        }
        true if opened.cluster().is_some() && todo(&view.state).is_idle(&view.state) => {
            eprintln!("nothing goes on in this run before somebody does something: `runward show {short}` says what");
            Going::Over
        }
        true => Going::On,
    })
}

/// Whether any attempt of a run without a driver is alive.
fn still_runs(home: &Home, view: &RunView) -> bool {
    view.state.live().keys().any(|claim| journal::is_alive(&home.attempt(&view.state.id, claim)).unwrap_or(false))
}

/// Whether the unit `name` is meant: a step means its items and parts too.
fn covers(asked: &str, name: &str) -> bool {
    let (Some(asked), Some(name)) = (split_unit_name(asked), split_unit_name(name)) else { return false };
    asked.0 == name.0 && (asked.1.is_none() || asked.1 == name.1) && (asked.2 == Part::Step || asked.2 == name.2)
}

struct Printer<'a> {
    args: &'a LogsArgs,
    opened: &'a Opened,
    /// Claims that were opened, or whose output is gone.
    seen: BTreeSet<String>,
    /// Those that may have more to print.
    readers: Vec<Reading>,
}

struct Reading {
    unit: String,
    attempt: u32,
    claim: String,
    reader: Reader,
    partial: Vec<u8>,
    partial_at: i64,
    /// Where it ran: the state folder, and the name of the machine.
    place: Option<(String, String)>,
    /// Since when it is over, and the rest of its output on its way.
    over_since: Option<Instant>,
}

/// What an attempt printed: in the folder of its run, or in the ledger.
enum Reader {
    Files(LogReader),
    Ledger(Box<Remote>),
}

impl Reader {
    async fn next(&mut self, unit: &str) -> Result<Option<LogItem>, Trouble> {
        match self {
            Reader::Files(reader) => reader
                .next()
                .transpose()
                .map_err(|error| Trouble::Log(Failure::new(1, format!("the log of {unit} cannot be read: {error}")))),
            Reader::Ledger(remote) => Ok(remote.next().await?),
        }
    }

    /// Of an attempt that is over, and whose output was read: whether nothing more will come.
    async fn is_whole(&self) -> Result<bool, LedgerError> {
        match self {
            Reader::Files(_) => Ok(true),
            Reader::Ledger(remote) => remote.is_whole().await,
        }
    }
}

impl Printer<'_> {
    /// Attempts that began since the last look.
    fn add(&mut self, view: &RunView) {
        let (_, _, attempts) = rows::all(&view.state);
        let last: BTreeMap<&str, u32> = attempts.iter().map(|row| (row.unit.as_str(), row.attempt)).collect();
        let newest = |row: &AttemptRow| last.get(row.unit.as_str()) == Some(&row.attempt);
        for row in &attempts {
            let of_step = self.args.step.as_ref().is_none_or(|step| covers(step, &row.unit));
            let wanted = match (self.args.attempt, &self.args.step) {
                (Some(attempt), _) => attempt == row.attempt,
                (None, Some(_)) if !self.args.follow => newest(row),
                _ => true,
            };
            if !of_step || !wanted || !self.seen.insert(row.claim.clone()) {
                continue;
            }
            if let Some(reader) = self.reader(view, row) {
                let (unit, attempt, claim) = (row.unit.clone(), row.attempt, row.claim.clone());
                let (partial, partial_at) = (Vec::new(), 0);
                let place = row.home.clone().zip(row.host.clone());
                self.readers.push(Reading {
                    unit,
                    attempt,
                    claim,
                    reader,
                    partial,
                    partial_at,
                    place,
                    over_since: None,
                });
            }
        }
    }

    fn reader(&self, view: &RunView, row: &AttemptRow) -> Option<Reader> {
        let (run, claim) = (&view.state.id, ClaimId(row.claim.clone()));
        if let Some(cluster) = self.opened.cluster() {
            return Some(Reader::Ledger(Box::new(Remote::new(cluster.fleet(), run.clone(), claim))));
        }
        let dir = self.opened.home()?.attempt(run, &claim);
        if row.log_bytes > row.log_dropped && !dir.exists() {
            let kept = format_size(row.log_bytes - row.log_dropped);
            eprintln!("the output of {} is gone: {kept} were kept in {}", row.unit, dir.display());
        }
        LogReader::open(&dir).ok().map(Reader::Files)
    }

    /// Prints what is new; false if there was nothing.
    async fn print(&mut self, view: &RunView) -> Result<bool, Trouble> {
        let mut any = false;
        for mut reading in std::mem::take(&mut self.readers) {
            let live = view.state.live().contains_key(&ClaimId(reading.claim.clone()));
            while let Some(item) = reading.reader.next(&reading.unit).await? {
                any = true;
                let mut out = std::io::stdout().lock();
                let written = match self.args.format {
                    Format::Json => reading.json(&mut out, &item),
                    Format::Text if self.args.raw => raw(&mut out, &item, self.args.stdout),
                    Format::Text => reading.lines(&mut out, item),
                };
                gone_reader_is_no_error(written);
            }
            let whole = !live && reading.reader.is_whole().await?;
            let waits = !live && !whole && self.waits_for(&mut reading).await?;
            if live || waits {
                self.readers.push(reading);
                continue;
            }
            if !reading.partial.is_empty() {
                let line = std::mem::take(&mut reading.partial);
                gone_reader_is_no_error(reading.line(&mut std::io::stdout().lock(), &line));
            }
            if !whole {
                let host = reading.place.as_ref().map_or("its host".to_owned(), |(_, host)| text::safe(host));
                let unit = &reading.unit;
                eprintln!("! the output of {unit} has not arrived whole: the rest is still on {host}");
            }
        }
        gone_reader_is_no_error(std::io::stdout().lock().flush());
        Ok(any)
    }

    /// Whether the rest of it is on its way: not for ever, and only if somebody is there who could send it.
    async fn waits_for(&self, reading: &mut Reading) -> Result<bool, LedgerError> {
        let (Some(cluster), Some((home, _))) = (self.opened.cluster(), &reading.place) else { return Ok(false) };
        let since = *reading.over_since.get_or_insert_with(Instant::now);
        Ok(since.elapsed() < REST_MAX && cluster.members().await?.hears(home))
    }

    /// For the rest of something that is over.
    fn waits(&self) -> bool {
        self.readers.iter().any(|reading| reading.over_since.is_some())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        for reading in &mut self.readers {
            if !reading.partial.is_empty() {
                let line = std::mem::take(&mut reading.partial);
                gone_reader_is_no_error(reading.line(&mut out, &line));
            }
        }
        Ok(())
    }
}

/// `| head` closed the pipe: that is the end of the command, not an error.
fn gone_reader_is_no_error(written: std::io::Result<()>) {
    if written.is_err() {
        std::process::exit(0);
    }
}

fn raw(out: &mut impl Write, item: &LogItem, only_stdout: bool) -> std::io::Result<()> {
    match item {
        LogItem::Chunk { stream: Stream::Err, .. } if only_stdout => Ok(()),
        LogItem::Chunk { bytes, .. } => out.write_all(bytes),
        LogItem::Gap { bytes } => writeln!(out, "\n[runward: {bytes} bytes were not kept]"),
    }
}

impl Reading {
    fn json(&self, out: &mut impl Write, item: &LogItem) -> std::io::Result<()> {
        let line = match item {
            LogItem::Chunk { offset, time_ms, stream, bytes } => json!({
                "step": self.unit, "attempt": self.attempt, "at": time_ms, "offset": offset,
                "stream": if *stream == Stream::Err { "stderr" } else { "stdout" },
                "text": String::from_utf8_lossy(bytes), "lossy": std::str::from_utf8(bytes).is_err(),
            }),
            LogItem::Gap { bytes } => json!({"step": self.unit, "attempt": self.attempt, "not_kept": bytes}),
        };
        writeln!(out, "{line}")
    }

    fn lines(&mut self, out: &mut impl Write, item: LogItem) -> std::io::Result<()> {
        match item {
            LogItem::Chunk { bytes, time_ms, .. } => {
                for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                    self.partial.extend_from_slice(piece);
                    self.partial_at = time_ms as i64;
                    let ended = self.partial.pop_if(|byte| *byte == b'\n').is_some();
                    while self.partial.len() > LINE_BYTES_MAX {
                        let rest = self.partial.split_off(cut(&self.partial));
                        let line = std::mem::replace(&mut self.partial, rest);
                        self.line(out, &line)?;
                    }
                    if ended {
                        let line = std::mem::take(&mut self.partial);
                        self.line(out, &line)?;
                    }
                }
                Ok(())
            }
            LogItem::Gap { bytes } => {
                if !self.partial.is_empty() {
                    let line = std::mem::take(&mut self.partial);
                    self.line(out, &line)?;
                }
                writeln!(out, "{} {} | [{} were not kept]", text::clock(self.partial_at), self.unit, format_size(bytes))
            }
        }
    }

    fn line(&self, out: &mut impl Write, line: &[u8]) -> std::io::Result<()> {
        let shown = text::safe(String::from_utf8_lossy(line).trim_end_matches('\r'));
        let nth = if self.attempt > 1 { format!("#{}", self.attempt) } else { String::new() };
        writeln!(out, "{} {}{nth} | {shown}", text::clock(self.partial_at), self.unit)
    }
}

/// Where a line that is too long is cut: not within a character.
fn cut(line: &[u8]) -> usize {
    let inside = |at: usize| line.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (LINE_BYTES_MAX - 3..=LINE_BYTES_MAX).rev().find(|at| !inside(*at)).unwrap_or(LINE_BYTES_MAX)
}
