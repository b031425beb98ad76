//! Fewer faults and fewer jobs for the same violation.
//!
//! A seed with its faults named site by site gives the same history. Then half of them is left out, then the other half,
//! then quarters, and so on (ddmin), as long as the same promise is broken.

use std::collections::BTreeSet;

use crate::outcome::Outcome;
use crate::world::{Setting, World};

/// The smallest setting that was found, and what came of it.
pub fn shrink(outcome: Outcome) -> (Setting, Outcome) {
    let mut best = (Setting { seed: outcome.seed, ..Setting::default() }, outcome);
    let Some(violation) = best.1.violation.clone() else { return best };
    let same = |setting: &Setting| {
        let outcome = World::live(setting);
        let broken = outcome.violation.as_ref().is_some_and(|found| found.invariant == violation.invariant);
        broken.then_some(outcome)
    };
    for jobs in [1, 2, 4, 8, 16] {
        let fewer = Setting { jobs_max: Some(jobs), ..best.0.clone() };
        if let Some(outcome) = same(&fewer) {
            best = (fewer, outcome);
            break;
        }
    }
    let mut sites: Vec<u64> = best.1.struck.iter().map(|struck| struck.site).collect();
    let mut parts = 2;
    while !sites.is_empty() && parts <= sites.len() * 2 {
        let size = sites.len().div_ceil(parts);
        let smaller = (0..sites.len()).step_by(size).find_map(|from| {
            let rest: BTreeSet<u64> = sites
                .iter()
                .enumerate()
                .filter(|(n, _)| *n < from || *n >= from + size)
                .map(|(_, site)| *site)
                .collect();
            let setting = Setting { only: Some(rest), ..best.0.clone() };
            same(&setting).map(|outcome| (setting, outcome))
        });
        match smaller {
            Some(smaller) => {
                sites = smaller.1.struck.iter().map(|struck| struck.site).collect();
                best = smaller;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts *= 2,
        }
    }
    best
}
