//! The parts of a step or item: each is a [`UnitState`] of its own, kept with the step or item it belongs to and absent
//! until it comes up. Claims, retries and losses are the same for all of them; what the runbook says about a part is here.

use std::time::Duration;

use super::ids::{Part, Unit};
use super::state::{RunState, UnitState};
use crate::runbook::model::{Lease, OnLost, Retry, Undo};

impl UnitState {
    /// A part of this step or item; `None` while it has not come up.
    pub fn part(&self, part: Part) -> Option<&UnitState> {
        match part {
            Part::Step => Some(self),
            Part::Check => self.check.as_deref(),
            Part::Undo => self.undo.as_deref(),
        }
    }

    /// A part of this step or item, which comes up now if it has not before.
    pub(super) fn part_mut(&mut self, part: Part) -> &mut UnitState {
        match part {
            Part::Step => self,
            Part::Check => self.check.get_or_insert_default(),
            Part::Undo => self.undo.get_or_insert_default(),
        }
    }
}

impl RunState {
    /// When and how often a unit may start again.
    pub fn retry_of(&self, unit: Unit) -> Option<&Retry> {
        match unit.part {
            Part::Step => self.spec(unit.step).retry.as_ref(),
            Part::Undo => self.undo_of(unit).and_then(|undo| undo.retry.as_ref()),
            Part::Check => None,
        }
    }

    /// What takes a step back.
    pub fn undo_of(&self, unit: Unit) -> Option<&Undo> {
        self.spec(unit.step).undo.as_deref()
    }

    /// How long one attempt may take.
    pub fn timeout_of(&self, unit: Unit) -> Duration {
        match (unit.part, self.undo_of(unit)) {
            (Part::Undo, Some(undo)) => undo.timeout,
            _ => self.spec(unit.step).timeout,
        }
    }

    /// Whether this unit may start at all, now.
    pub(super) fn admits(&self, unit: Unit) -> bool {
        match unit.part {
            Part::Undo => self.may_undo(),
            Part::Step | Part::Check => self.is_open(self.section(unit.step)),
        }
    }

    /// What becomes of a unit whose outcome cannot be known.
    pub fn on_lost_of(&self, unit: Unit) -> OnLost {
        match unit.part {
            Part::Step => self.spec(unit.step).on_lost,
            Part::Undo if self.starts_max(unit) > 1 => OnLost::Retry,
            Part::Check | Part::Undo => OnLost::Fail,
        }
    }

    /// Whether it must not outlive the silence of its worker, because it may start again elsewhere: where the author does
    /// not say so, whatever may start more than once. A probe changes nothing, and is asked again.
    pub fn is_strict(&self, unit: Unit) -> bool {
        match (unit.part, self.spec(unit.step).lease) {
            (Part::Check, _) => true,
            // Nobody here can end it for certain.
            _ if self.spec(unit.step).host.is_some() => false,
            (_, Some(lease)) => lease == Lease::Strict,
            (_, None) => self.starts_max(unit) > 1,
        }
    }

    /// How often a unit may start in one generation.
    pub fn starts_max(&self, unit: Unit) -> u32 {
        self.retry_of(unit).map_or(1, |retry| retry.attempts.get())
    }
}
