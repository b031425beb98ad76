//! The parts of a step or item: each is a [`UnitState`] of its own, kept with the step or item it belongs to and absent
//! until it comes up. Claims, retries and losses are the same for all of them; what the runbook says about a part is here.

use super::ids::{Part, Unit};
use super::state::{RunState, UnitState};
use crate::runbook::model::{OnLost, Retry};

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
            Part::Check | Part::Undo => None,
        }
    }

    /// What becomes of a unit whose outcome cannot be known.
    pub fn on_lost_of(&self, unit: Unit) -> OnLost {
        match unit.part {
            Part::Step => self.spec(unit.step).on_lost,
            Part::Check | Part::Undo => OnLost::Fail,
        }
    }

    /// How often a unit may start in one generation.
    pub fn starts_max(&self, unit: Unit) -> u32 {
        self.retry_of(unit).map_or(1, |retry| retry.attempts.get())
    }
}
