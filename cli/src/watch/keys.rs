//! What a key does to the screen, and what it asks of the program. Pure: nothing is done here.

use runward_engine::run::{RunId, Unit};

use super::draw::log_rows;
use super::model::{Place, Question, Scroll, Watch};
use crate::view::words;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Char(char),
    /// Ctrl-C
    Interrupt,
    /// Ctrl-Z
    Suspend,
    Other,
}

/// What only the edge of the program can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Quit,
    Suspend,
    Open(RunId),
    Cancel { run: RunId, force: bool },
}

pub fn press(watch: &mut Watch, key: Key) -> Wish {
    watch.note = None;
    match key {
        Key::Interrupt => return Wish::Quit,
        Key::Suspend => return Wish::Suspend,
        _ if watch.help => watch.help = false,
        _ if watch.ask.is_some() => return answer(watch, key),
        Key::Char('?') => watch.help = true,
        Key::Char('c') => ask_cancel(watch),
        Key::Char('r') => watch.note = Some(resume_hint(watch)),
        Key::Escape | Key::Char('q') => return back(watch),
        _ => match watch.place {
            Place::Runs => return in_runs(watch, key),
            Place::Run => in_run(watch, key),
            Place::Log => in_log(watch, key),
        },
    }
    Wish::Nothing
}

fn answer(watch: &mut Watch, key: Key) -> Wish {
    match (key, watch.ask.take()) {
        (Key::Char('y' | 'Y'), Some(Question { run, force, .. })) => Wish::Cancel { run, force },
        _ => {
            watch.note = Some("nothing was cancelled".to_owned());
            Wish::Nothing
        }
    }
}

/// One place up; from the topmost, out.
fn back(watch: &mut Watch) -> Wish {
    match watch.place {
        Place::Log => watch.place = Place::Run,
        Place::Run if !watch.alone => {
            watch.place = Place::Runs;
            watch.run = None;
        }
        Place::Run | Place::Runs => return Wish::Quit,
    }
    Wish::Nothing
}

fn ask_cancel(watch: &mut Watch) {
    let Some((run, name)) = watch.current() else { return };
    let (run, name) = (run.clone(), name.to_owned());
    let (over, force) = match (watch.place, &watch.run, watch.runs.chosen_line()) {
        (Place::Runs, _, Some(line)) => (line.row.finished_at.is_some(), line.row.status == "stopping"),
        (_, Some(page), _) => (page.status.is_terminal(), page.cancel.is_some()),
        _ => return,
    };
    if over {
        watch.note = Some("this run is at its end: there is nothing to cancel".to_owned());
    } else {
        watch.ask = Some(Question { run, name, force });
    }
}

fn resume_hint(watch: &Watch) -> String {
    let Some((run, _)) = watch.current() else { return "there is no run".to_owned() };
    let short = words::short(&run.0);
    let held = match watch.place {
        Place::Runs => watch.runs.chosen_line().is_some_and(|line| line.row.held),
        Place::Run | Place::Log => watch.run.as_ref().is_some_and(|page| page.held.is_some()),
    };
    let paused = match watch.place {
        Place::Runs => watch.runs.chosen_line().is_some_and(|line| line.is_paused()),
        Place::Run | Place::Log => watch.run.as_ref().is_some_and(|page| page.paused.is_some()),
    };
    match held {
        false if paused => format!("in a shell: runward unpause {short}"),
        true => format!("a step waits for you, in a shell: runward show {short}"),
        false => format!("in a shell: runward resume {short}"),
    }
}

fn in_runs(watch: &mut Watch, key: Key) -> Wish {
    let (count, at, page) = (watch.runs.lines.len(), watch.runs.chosen_index(), page_of(watch));
    if let Key::Enter | Key::Right | Key::Char('l') = key {
        return watch.runs.chosen_line().map_or(Wish::Nothing, |line| Wish::Open(line.row.id.clone()));
    }
    if let Some(to) = moved(key, at, count, page) {
        watch.runs.chosen = watch.runs.lines.get(to).map(|line| line.row.id.clone());
    }
    Wish::Nothing
}

fn in_run(watch: &mut Watch, key: Key) {
    let page = page_of(watch);
    let Some(run) = &mut watch.run else { return };
    match key {
        Key::Enter | Key::Right | Key::Char('l') => {
            // From here on it is this step, whatever else begins to run.
            run.chosen = run.chosen_row().map(|(_, row)| row.unit);
            watch.place = Place::Log;
            watch.scroll = Scroll::END;
        }
        Key::Char('f') => run.chosen = None,
        _ => {
            let steps: Vec<Unit> = run.steps().map(|(_, row)| row.unit).collect();
            let chosen = run.chosen_row().map(|(_, row)| row.unit);
            let at = steps.iter().position(|unit| Some(*unit) == chosen).unwrap_or(0);
            if let Some(to) = moved(key, at, steps.len(), page) {
                run.chosen = steps.get(to).copied();
            }
        }
    }
}

fn in_log(watch: &mut Watch, key: Key) {
    const STEP: usize = 16;
    let (all, page) = (watch.output.len(), log_rows(watch.size.1));
    let at = watch.scroll.first(all, page);
    match key {
        Key::Char('f') => watch.scroll = Scroll { follow: true, ..watch.scroll },
        Key::Right => watch.scroll.left += STEP,
        Key::Left => watch.scroll.left = watch.scroll.left.saturating_sub(STEP),
        _ => {
            // What moves is the first line shown; at the last possible one the log is followed again.
            let last = all.saturating_sub(page);
            if let Some(top) = moved(key, at, last + 1, page) {
                watch.scroll = Scroll { follow: top >= last && key != Key::Up, top, ..watch.scroll };
            }
        }
    }
}

/// Where a movement leads among `count` places; `None` for keys that do not move.
fn moved(key: Key, at: usize, count: usize, page: usize) -> Option<usize> {
    let to = match key {
        Key::Up | Key::Char('k') => at.saturating_sub(1),
        Key::Down | Key::Char('j') => at + 1,
        Key::PageUp => at.saturating_sub(page),
        Key::PageDown | Key::Char(' ') => at + page,
        Key::Home | Key::Char('g') => 0,
        Key::End | Key::Char('G') => usize::MAX,
        _ => return None,
    };
    Some(to.min(count.saturating_sub(1)))
}

fn page_of(watch: &Watch) -> usize {
    usize::from(watch.size.1).saturating_sub(4).max(1)
}
