//! Units whose turn has come, sorted by whom they wait for: what a worker can start is found without a look at what it
//! cannot, however much of that there is.

use std::collections::{BTreeMap, BTreeSet};

use super::hours;
use super::ids::{Part, Unit};
use super::place::{Offer, call};
use super::state::RunState;
use crate::runbook::model::{Action, Runbook};

/// Which steps of a runbook ask for the same labels, computed once.
#[derive(Debug)]
pub(super) struct Classes {
    of: Vec<u32>,
    labels: Vec<Vec<String>>,
}

impl Classes {
    pub(super) fn new(runbook: &Runbook) -> Classes {
        let mut known: BTreeMap<BTreeSet<&String>, u32> = BTreeMap::new();
        let mut labels = Vec::new();
        let mut of = Vec::with_capacity(runbook.steps.len());
        for step in &runbook.steps {
            let class = *known.entry(step.runs_on.iter().collect()).or_insert_with(|| {
                labels.push(step.runs_on.clone());
                labels.len() as u32 - 1
            });
            of.push(class);
        }
        Classes { of, labels }
    }
}

/// Whom a unit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Anybody: a child only has to be named.
    Anybody,
    /// A worker with these labels.
    Labels(u32),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Ready {
    all: BTreeSet<Unit>,
    /// The same, by whom they wait for. None of these is empty.
    classes: BTreeMap<Class, BTreeSet<Unit>>,
}

impl Ready {
    pub(super) fn contains(&self, unit: Unit) -> bool {
        self.all.contains(&unit)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Unit> {
        self.all.iter().copied()
    }
}

impl RunState {
    pub(super) fn enlist(&mut self, unit: Unit) {
        let class = self.class_of(unit);
        self.ready.all.insert(unit);
        self.ready.classes.entry(class).or_default().insert(unit);
    }

    pub(super) fn delist(&mut self, unit: Unit) {
        if !self.ready.all.remove(&unit) {
            return;
        }
        let class = self.class_of(unit);
        if let Some(units) = self.ready.classes.get_mut(&class) {
            units.remove(&unit);
            if units.is_empty() {
                self.ready.classes.remove(&class);
            }
        }
    }

    fn class_of(&self, unit: Unit) -> Class {
        match (&self.spec(unit.step).action, unit.part) {
            (Action::Runbook(_), Part::Step) => Class::Anybody,
            _ => Class::Labels(self.graph.classes.of[unit.step as usize]),
        }
    }

    /// `None`: it waits for anybody.
    fn labels_of(&self, class: Class) -> Option<&[String]> {
        match class {
            Class::Anybody => None,
            Class::Labels(class) => Some(&self.graph.classes.labels[class as usize]),
        }
    }

    /// Units that may start now: all that are ready, or those that a closed window lets through.
    pub(super) fn startable(&self) -> impl Iterator<Item = Unit> {
        self.ready.iter().filter(|unit| self.is_let_through(*unit))
    }

    /// The first so many of them that fit this offer.
    pub(super) fn startable_by(&self, offer: &Offer, most: usize) -> Vec<Unit> {
        if *offer == Offer::All {
            return self.startable().take(most).collect();
        }
        let fits = |class: &Class| self.labels_of(*class).is_none_or(|labels| offer.fits(labels));
        let classes = self.ready.classes.iter().filter(|(class, _)| fits(class));
        let first = |(_, units)| self.let_through(units).take(most);
        let mut units: Vec<Unit> = classes.flat_map(first).collect();
        units.sort_unstable();
        units.truncate(most);
        units
    }

    /// By what calls those that may start now are found; `None`: anybody can start one.
    pub(super) fn startable_calls(&self) -> impl Iterator<Item = Option<&str>> {
        let startable = |(_, units): &(&Class, &BTreeSet<Unit>)| self.let_through(units).next().is_some();
        self.ready.classes.iter().filter(startable).map(|(class, _)| self.labels_of(*class).map(call))
    }

    fn let_through<'a>(&'a self, units: &'a BTreeSet<Unit>) -> impl Iterator<Item = Unit> + 'a {
        units.iter().copied().filter(|unit| self.is_let_through(*unit))
    }

    fn is_let_through(&self, unit: Unit) -> bool {
        self.closure.is_none() || !hours::is_held_back(self, unit)
    }
}
