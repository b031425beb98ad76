//! The driver at the door of its run's group: whether to ask for a permit now, and of whom it is not polite to wait.
//!
//! The ledger alone keeps the limit. What is decided here, from a look at the group outside of any transaction, is who is
//! waited for: a run whose driver is gone keeps no other from its turn, and gets its own when somebody resumes it.

use std::collections::BTreeSet;

use runward_engine::run::group::{Group, Member, Permit, Standing};
use runward_engine::run::todo::todo;
use runward_engine::run::{Command, RunId, RunState};
use runward_engine::runbook::model::WhenBusy;
use runward_store::command;

use super::{DriveError, Driver, Observer};
use crate::home::DriverLock;

/// What is done at the door.
#[derive(Debug, PartialEq, Eq)]
pub struct AtTheDoor {
    /// Ask in the next commit, and do not wait for these; `None`: there is no room.
    pub passing: Option<BTreeSet<RunId>>,
    /// Runs that have to end to make room, the oldest first.
    pub in_the_way: Vec<RunId>,
}

/// What a look at the group comes to.
pub fn at_the_door(
    state: &RunState,
    group: &Group,
    members: &[Member],
    is_driven: impl Fn(&RunId) -> bool,
) -> AtTheDoor {
    let Standing { holders, before } = Standing::new(members, &state.id, state.priority);
    let room = holders.len() < group.limit.get() as usize;
    if room || !group.when_busy.waits() {
        let passing = before.into_iter().filter(|run| room && !is_driven(run)).collect();
        return AtTheDoor { passing: Some(passing), in_the_way: Vec::new() };
    }
    let surplus = (holders.len() + 1).saturating_sub(group.limit.get() as usize);
    let mut older: Vec<RunId> = holders.into_iter().filter(|run| *run < state.id).collect();
    older.sort();
    older.truncate(if group.when_busy == WhenBusy::CancelRunning { surplus } else { 0 });
    AtTheDoor { passing: None, in_the_way: older }
}

/// What a run that has to make room is told.
pub fn takes_its_place(own: &RunId, group: &Group) -> Command {
    let reason = format!("run {own} takes its place in the group `{}`", group.name);
    Command::Cancel { force: false, rollback: false, reason: Some(reason) }
}

/// What a driver knows of the group it waits for.
#[derive(Default)]
pub(super) struct Door {
    /// As the observer was told.
    seen: Option<Vec<Member>>,
    /// Runs that were cancelled to make room, each once.
    cancelled: BTreeSet<RunId>,
}

impl Driver<'_> {
    /// Whether to ask in the next commit, and who is not waited for; `None` where there is nothing to ask, or no room.
    pub(super) async fn knock(&mut self, observer: &dyn Observer) -> Result<Option<BTreeSet<RunId>>, DriveError> {
        let state = &self.view.state;
        let (Some(group), true) = (state.group.clone(), todo(state).enter) else {
            self.door.seen = None;
            return Ok(None);
        };
        let members = self.setting.ledger.group(&group.name).await?;
        // A cluster drives every run.
        let is_driven = |run: &RunId| self.is_member() || DriverLock::holder(self.setting.home, run).is_some();
        let door = at_the_door(state, &group, &members, is_driven);
        self.make_room(&group, door.in_the_way).await?;
        self.show(observer, members);
        Ok(door.passing)
    }

    fn show(&mut self, observer: &dyn Observer, members: Vec<Member>) {
        let others = members.iter().any(|member| member.run != self.view.state.id && member.permit == Permit::Holds);
        if others && self.door.seen.as_ref() != Some(&members) {
            observer.waiting(&self.view.state, &members);
            self.door.seen = Some(members);
        }
    }

    /// Each of them ends in its own time, and by its own driver.
    async fn make_room(&mut self, group: &Group, in_the_way: Vec<RunId>) -> Result<(), DriveError> {
        for run in in_the_way {
            if !self.door.cancelled.insert(run.clone()) {
                continue;
            }
            let mut view = self.setting.ledger.load(&run).await?;
            let cancel = takes_its_place(&self.view.state.id, group);
            // A refusal says that somebody was faster, or that it is over: both make room.
            let _ = command(self.setting.ledger, &mut view, cancel, &self.setting.actor).await?;
        }
        Ok(())
    }
}
