//! Everything of runward that *decides*.
//!
//! Nothing in this crate performs I/O, reads a clock, draws a random number or awaits: time and seeds come in as
//! arguments, decisions go out as values. A test of the code base holds that. The rooms:
//!
//! - [`runbook`]: the file format: model, parser with spans, validation, JSON Schema
//! - [`bind`]: `${{ }}` expressions and the safe binding of their values per place
//! - [`plan`]: parameters + definition -> what would run
//! - [`run`]: the state machine of a run
//! - [`retention`]: which runs may go
//! - [`crontab`]: a crontab -> runbooks
//! - [`schedule`]: cron with the meaning of Vixie cron, zones, windows
//! - [`limits`]: every limit of the contract, named, with its unit

pub mod bind;
pub mod crontab;
pub mod limits;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod plan;
pub mod retention;
pub mod run;
pub mod runbook;
pub mod schedule;
pub mod units;

/// Always `false`: the rules hold.
#[cfg(not(feature = "mutants"))]
#[macro_export]
macro_rules! mutated {
    ($mutant:ident) => {
        false
    };
}
