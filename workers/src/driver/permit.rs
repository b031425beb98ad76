//! The driver at the door of its run's group: whether to ask for a permit now, and of whom it is not polite to wait.
//!
//! The ledger alone keeps the limit. What is decided here, from a look at the group outside of any transaction, is who is
//! waited for: a run whose driver is gone keeps no other from its turn, and gets its own when somebody resumes it.

use std::collections::BTreeSet;

use runward_engine::run::group::{Group, Member, Permit};
use runward_engine::run::todo::todo;
use runward_engine::run::{Command, RunId};
use runward_engine::runbook::model::WhenBusy;
use runward_store::command;

use super::{DriveError, Driver, Observer};
use crate::home::DriverLock;

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
        let (holders, before) = self.others(&members);
        let passing: BTreeSet<RunId> = match holders.len() < group.limit.get() as usize {
            true => before.into_iter().filter(|run| DriverLock::holder(self.setting.home, run).is_none()).collect(),
            false if group.when_busy.waits() => {
                if group.when_busy == WhenBusy::CancelRunning {
                    self.make_room(&group, &holders).await?;
                }
                self.show(observer, members);
                return Ok(None);
            }
            false => BTreeSet::new(),
        };
        self.show(observer, members);
        Ok(Some(passing))
    }

    /// Those that hold a permit, and those whose turn comes first.
    fn others(&self, members: &[Member]) -> (Vec<RunId>, Vec<RunId>) {
        let state = &self.view.state;
        let standing = runward_engine::run::group::Standing::new(members, &state.id, state.priority);
        (standing.holders, standing.before)
    }

    fn show(&mut self, observer: &dyn Observer, members: Vec<Member>) {
        let others = members.iter().any(|member| member.run != self.view.state.id && member.permit == Permit::Holds);
        if others && self.door.seen.as_ref() != Some(&members) {
            observer.waiting(&self.view.state, &members);
            self.door.seen = Some(members);
        }
    }

    /// Cancels as many of those that came before as are in the way, the oldest first. Each ends in its own time, and by
    /// its own driver.
    async fn make_room(&mut self, group: &Group, holders: &[RunId]) -> Result<(), DriveError> {
        let own = self.view.state.id.clone();
        let surplus = (holders.len() + 1).saturating_sub(group.limit.get() as usize);
        let mut older: Vec<&RunId> = holders.iter().filter(|run| **run < own).collect();
        older.sort();
        for run in older.into_iter().take(surplus) {
            if !self.door.cancelled.insert(run.clone()) {
                continue;
            }
            let mut view = self.setting.ledger.load(run).await?;
            let reason = format!("run {own} takes its place in the group `{}`", group.name);
            let cancel = Command::Cancel { force: false, rollback: false, reason: Some(reason) };
            // A refusal says that somebody was faster, or that it is over: both make room.
            let _ = command(self.setting.ledger, &mut view, cancel, &self.setting.actor).await?;
        }
        Ok(())
    }
}
