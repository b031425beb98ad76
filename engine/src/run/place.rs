//! Who may carry a run out, and where: what a worker offers, and whose machine an attempt was claimed on.
//!
//! On one machine with its own ledger nobody is told apart: everything fits, and an attempt has no place.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::HomeId;

/// Where an attempt was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The state folder that holds its journal and its output: only its workers can ask what became of it.
    pub home: HomeId,
    /// The name of the machine, for people.
    pub host: String,
}

/// Which steps somebody takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Whatever there is: this machine is the only one.
    All,
    /// Those whose labels are all among these; so also those without any.
    Labels(BTreeSet<String>),
    /// None. Runs go on as far as they can without a step.
    Nothing,
}

impl Offer {
    pub fn fits(&self, runs_on: &[String]) -> bool {
        match self {
            Offer::All => true,
            Offer::Labels(labels) => runs_on.iter().all(|label| labels.contains(label)),
            Offer::Nothing => false,
        }
    }
}

/// Under which name a ready step is announced: the first of its labels in alphabetical order. Whoever takes it checks all.
pub fn call(runs_on: &[String]) -> &str {
    runs_on.iter().map(String::as_str).min().unwrap_or(ANY)
}

/// Under which name a step without labels is announced.
pub const ANY: &str = "*";
/// Under which name a run is announced that can go on without a step being started: a timer, a permit, a child.
pub const ENGINE: &str = "";

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_step_fits_whoever_has_all_of_its_labels() {
        let offer = Offer::Labels(["db", "linux"].map(str::to_owned).into());
        for (runs_on, fits) in [(&[][..], true), (&["db"], true), (&["linux", "db"], true), (&["db", "gpu"], false)] {
            assert_eq!(offer.fits(&labels(runs_on)), fits, "{runs_on:?}");
        }
        assert!(Offer::All.fits(&labels(&["gpu"])));
        assert!(!Offer::Nothing.fits(&[]));
    }

    #[test]
    fn a_step_is_called_by_its_first_label() {
        assert_eq!(call(&labels(&["linux", "db"])), "db");
        assert_eq!(call(&[]), ANY);
    }
}
