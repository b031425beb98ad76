//! Runs that must not overlap: what one run asks of its group, and what it is answered.
//!
//! A permit is taken with the first step that executes and given back with the end of the run; no clock and no death of a
//! process takes it away. Whether a run holds one is in its own events. How many others do is known to the ledger alone,
//! which says so ([`Standing`]) within the transaction that asks. The order of those that wait is for fairness only: the
//! limit holds whatever a driver thinks of the others.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::command::Reject;
use super::event::{Event, StopCause};
use super::ids::RunId;
use super::rows::RunRow;
use super::state::{Phase, RunState};
use crate::mutated;
use crate::runbook::model::WhenBusy;

/// What a run says of its group, evaluated when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// Runs of the group that may execute while this one does, itself included. Runs of other runbooks may say
    /// another number: each keeps to its own.
    pub limit: NonZeroU32,
    pub when_busy: WhenBusy,
}

/// Who goes first of those that wait; among equals who came first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

/// What a run has of its group at a moment; one that is not its turn yet, paused or over has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permit {
    Waits,
    Holds,
}

/// A run that holds a permit of a group, or waits for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    pub run: RunId,
    pub name: String,
    pub actor: String,
    pub status: String,
    pub held: bool,
    pub priority: Priority,
    pub permit: Permit,
    /// When it took its permit; of one that waits, when it was asked for. Epoch milliseconds.
    pub since: i64,
}

/// The others of a run's group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// By the time they took their permits.
    pub holders: Vec<RunId>,
    /// Those that wait and go first, in order.
    pub before: Vec<RunId>,
}

impl Priority {
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    pub fn as_str(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }

    pub fn is_normal(&self) -> bool {
        *self == Priority::Normal
    }
}

impl Permit {
    pub fn as_str(self) -> &'static str {
        match self {
            Permit::Waits => "waits",
            Permit::Holds => "holds",
        }
    }
}

impl Member {
    /// `None`: the run holds nothing and waits for nothing.
    pub fn of(row: &RunRow) -> Option<Member> {
        Some(Member {
            run: row.id.clone(),
            name: row.name.clone(),
            actor: row.actor.clone(),
            status: row.status.clone(),
            held: row.held,
            priority: row.priority,
            permit: row.permit?,
            since: row.permit_at.unwrap_or(row.created_at),
        })
    }

    /// Holders first, by the time they took their permits; then those that wait, by their turn.
    pub fn order(&self) -> impl Ord + use<> {
        let run = self.run.clone();
        match self.permit {
            Permit::Holds => (0, Priority::High, self.since, run),
            Permit::Waits => (1, self.priority, 0, run),
        }
    }
}

impl Standing {
    /// What the run `of` has to know of the members of its group.
    pub fn new(members: &[Member], of: &RunId, priority: Priority) -> Standing {
        let mut others: Vec<&Member> = members.iter().filter(|member| member.run != *of).collect();
        others.sort_by_key(|member| member.order());
        let ids = |permit: Permit, wanted: &dyn Fn(&Member) -> bool| {
            let found = others.iter().filter(|member| member.permit == permit && wanted(member));
            found.map(|member| member.run.clone()).collect()
        };
        Standing {
            holders: ids(Permit::Holds, &|_| true),
            before: ids(Permit::Waits, &|member| (member.priority, &member.run) < (priority, of)),
        }
    }

    /// Whether there is room for one more run with this limit, once those before it that are not passed over have theirs.
    pub fn has_room(&self, limit: NonZeroU32, passing: &BTreeSet<RunId>) -> bool {
        let before = self.before.iter().filter(|run| !passing.contains(*run)).count();
        self.holders.len() + before < limit.get() as usize + usize::from(mutated!(PermitBeyondLimit))
    }
}

/// A driver asks for a permit. `standing`: within the same transaction; without it nobody can know.
pub(super) fn enter(
    state: &RunState,
    passing: &BTreeSet<RunId>,
    standing: Option<&Standing>,
) -> Result<Vec<Event>, Reject> {
    let Some(group) = state.group.as_ref().filter(|_| state.permit_at.is_none()) else { return Ok(Vec::new()) };
    if state.permit() != Some(Permit::Waits) {
        return Err(Reject::NothingToStart);
    }
    let busy = || Reject::GroupBusy { group: group.name.clone(), limit: group.limit.get() };
    let standing = standing.ok_or_else(busy)?;
    if standing.has_room(group.limit, passing) {
        return Ok(vec![Event::PermitTaken { group: group.name.clone() }]);
    }
    // Who has begun to take something back, or to clean up, is not sent away.
    let begins = state.phase == Phase::Main && state.stop.is_none();
    if group.when_busy.waits() || !begins {
        return Err(busy());
    }
    let holders = standing.holders.iter().chain(&standing.before).cloned().collect();
    Ok(vec![Event::RunStopping { because: StopCause::Busy { group: group.name.clone(), holders } }])
}

#[cfg(test)]
mod tests;
