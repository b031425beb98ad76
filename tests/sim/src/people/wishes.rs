//! What people do to a run at random, from other processes, through the same ledger.

use runward_engine::run::approval::Decision;
use runward_engine::run::command::Resolution;
use runward_engine::run::rows;
use runward_engine::run::{Command, Unit};
use runward_store::{Ledger, RunView};

use super::approvers::Seen;
use crate::ledger::at_once;
use crate::world::{Event, World};

impl World {
    /// Somebody does something to the run, now and then.
    pub(crate) fn person(&mut self, job: usize) {
        let calm = self.weather.calm;
        let later = match (calm, self.jobs[job].above) {
            (true, _) => self.dice.between(5_000, 60_000),
            (false, None) => self.dice.between(300, 12_000),
            (false, Some(_)) => self.dice.between(1_000, 20_000),
        };
        if !calm || !self.is_over(job) {
            self.after(later, Event::Person(job));
        }
        if calm {
            return self.help(job);
        }
        let Some(mut view) = self.read(job) else { return };
        self.be_asked(job, &view);
        let Some(command) = self.wish(&view) else { return };
        // Who begins a generation drives it, so it takes the lock first.
        let begins = view.state.status.is_terminal();
        // A child goes on with its parent, or not at all.
        if begins
            && (self.jobs[job].driver.is_some()
                || self.jobs[job].above.is_some()
                || !matches!(command, Command::Resume { .. } | Command::Retry { .. } | Command::Rollback { .. }))
        {
            return;
        }
        let done = self.say(job, &mut view, command);
        if begins && done && !view.state.status.is_terminal() && !view.stale {
            self.counters.add("a person began another generation");
            self.start_driver(job, view, None);
        } else if begins {
            // It may have begun all the same.
            self.after(1_000, Event::Owner(job));
        }
    }

    /// Whether nothing more can come of it: the run it belongs to is at its end.
    fn is_over(&self, job: usize) -> bool {
        let top = std::iter::successors(Some(job), |job| self.jobs[*job].above).last().unwrap_or(job);
        self.jobs[top].watcher.as_ref().is_some_and(|watcher| watcher.state.status.is_terminal())
    }

    /// In the calm people do what is asked of them, so that the run can end.
    fn help(&mut self, job: usize) {
        let asks = self.jobs[job].watcher.as_ref().is_some_and(|watcher| {
            let state = &watcher.state;
            state.paused.is_some() || !state.held().is_empty() || state.asked().len() > 0
        });
        if !asks {
            return;
        }
        let Some(mut view) = self.read(job) else { return };
        if view.state.paused.is_some() {
            self.say(job, &mut view, Command::Unpause);
        }
        if let Some(unit) = view.state.held().first().copied() {
            let resolution = *self.dice.pick(&[Resolution::Succeeded, Resolution::Failed]);
            self.say(job, &mut view, Command::Resolve { unit, resolution, reason: None });
        }
        self.approve_all(job, &view);
    }

    /// What somebody says of a held step: mostly that it is to be tried again.
    pub(super) fn resolution(&mut self) -> Resolution {
        use Resolution::{Failed, Retry, Succeeded};
        *self.dice.pick(&[Succeeded, Failed, Retry, Retry, Retry])
    }

    fn wish(&mut self, view: &RunView) -> Option<Command> {
        let state = &view.state;
        let reason = Some("at random".to_owned());
        let units: Vec<Unit> = rows::units(state).collect();
        let unit = *self.dice.pick(&units);
        if let Some(unit) = state.held().first().copied().filter(|_| self.dice.percent(40)) {
            let resolution = self.resolution();
            return Some(Command::Resolve { unit, resolution, reason });
        }
        if state.closure().is_some() && self.dice.percent(30) {
            return Some(Command::OverrideWindow { reason: "at random".to_owned() });
        }
        Some(match self.dice.below(24) {
            22 | 23 => Command::Rollback { reason },
            0 | 1 => Command::Cancel { force: false, rollback: self.dice.percent(50), reason },
            2 => Command::Cancel { force: true, rollback: self.dice.percent(20), reason },
            3 | 4 => Command::Pause { reason },
            5..=8 => Command::Unpause,
            9 | 10 => Command::Skip { unit, reason: "at random".to_owned() },
            11 | 12 => Command::Retry { unit, reason },
            13 | 14 => {
                let unit = state.held().first().copied()?;
                let resolution = self.resolution();
                Command::Resolve { unit, resolution, reason }
            }
            15..=18 => Command::Resume { from: None, reason },
            _ => Command::Resume { from: Some(unit.step), reason },
        })
    }

    /// Carries out one command in a person's own name; `false`: it was refused, or nobody knows.
    pub(super) fn say(&mut self, job: usize, view: &mut RunView, command: Command) -> bool {
        self.jobs[job].acts += 1;
        let actor = format!("person-{job}-{}", self.jobs[job].acts);
        let word = word(&command);
        let seen = Seen::of(&command);
        self.draw_fate();
        let mut once = Some(command);
        let said = at_once(self.ledger.commit(view, &mut |_| once.take(), &actor));
        self.audit(job);
        self.tell_driver(job);
        match said {
            Ok(committed) if committed.replies.iter().all(Result::is_ok) => {
                let own = committed.news.iter().filter(|recorded| recorded.actor == actor);
                let own: Vec<(u64, String)> = own.map(|recorded| (recorded.seq, actor.clone())).collect();
                if own.is_empty() {
                    self.oracle.broken("I21", || format!("job {job}: {word} was accepted and is not on the record"));
                }
                let told = committed.news.iter().filter(|recorded| recorded.actor == actor);
                if let Some(wrong) = seen.and_then(|seen| told.clone().find_map(|it| seen.is_not(&it.event))) {
                    self.oracle.broken("I16", || format!("job {job}: {wrong}"));
                }
                self.jobs[job].acknowledged.extend(own);
                self.counters.add(word);
                true
            }
            Ok(committed) => {
                self.counters.add("a command was refused");
                committed.replies.iter().filter_map(|reply| reply.as_ref().err()).for_each(|no| self.note_refusal(no));
                false
            }
            Err(_) => {
                self.counters.add("nobody knows whether a command was carried out");
                false
            }
        }
    }
}

fn word(command: &Command) -> &'static str {
    match command {
        Command::Cancel { force: false, .. } => "person: cancel",
        Command::Cancel { force: true, .. } => "person: cancel --force",
        Command::Pause { .. } => "person: pause",
        Command::Unpause => "person: unpause",
        Command::Skip { .. } => "person: skip",
        Command::Retry { .. } => "person: retry",
        Command::Resume { from: None, .. } => "person: resume",
        Command::Resume { from: Some(_), .. } => "person: resume --from",
        Command::Resolve { .. } => "person: resolve",
        Command::Rollback { .. } => "person: rollback",
        Command::Decide { decision: Decision::Approved, .. } => "person: approve",
        Command::Decide { decision: Decision::Rejected, .. } => "person: reject",
        Command::OverrideWindow { .. } => "person: override-window",
        _ => "person: something else",
    }
}
