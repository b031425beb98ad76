//! The state machine of a run.
//!
//! [`decide`](decide::decide) looks at a state and a command and answers with events or a typed refusal;
//! [`apply`](apply::apply) turns an event into the next state and never fails; [`follow_up`](follow::follow_up) names
//! the consequences (a condition to evaluate, a run to stop, a run to finish). [`execute`] runs the three to the end.
//! What a driver should be doing next is read off the state by [`todo`](todo::todo): level-triggered, so nothing is
//! forgotten by a crash between a decision and its effect.
//!
//! Events are the truth: a state is only ever the fold of its events, and the rows of the ledger
//! ([`rows`]) are a function of the state. Work-lists and counters keep the cost of one transition independent of the
//! number of steps.

pub mod acts;
mod again;
pub mod apply;
pub mod approval;
pub mod calls;
mod check;
pub mod child;
pub mod command;
pub mod decide;
pub mod decimal;
pub mod event;
pub mod follow;
mod gates;
pub mod given;
pub mod group;
mod hidden;
pub mod hours;
pub mod ids;
mod loss;
pub mod notice;
pub mod objectives;
mod operator;
pub mod outcome;
pub mod outputs;
mod parts;
pub mod place;
pub mod prepare;
mod progress;
mod ready;
pub mod request;
pub mod retry;
pub mod rollback;
pub mod rows;
pub mod slots;
pub mod sql;
pub mod state;
#[cfg(test)]
mod tests;
pub mod todo;
pub mod values;

pub use child::Parent;
pub use command::{Command, Reject};
pub use event::{Event, Outcome, Recorded, Then};
pub use ids::{ClaimId, HomeId, Part, RunId, SessionId, Unit};
pub use notice::Notice;
pub use outcome::Verdict;
pub use place::{Offer, Place};
pub use rollback::RolledBack;
pub use state::{RunState, RunStatus, StepStatus};

/// What the ledger knows and the run does not.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// The ledger's clock in epoch milliseconds.
    pub now: i64,
    /// The others of the run's group, where it has one and holds no permit of it.
    pub standing: Option<group::Standing>,
}

impl From<&Env> for Env {
    fn from(env: &Env) -> Env {
        env.clone()
    }
}

impl From<i64> for Env {
    fn from(now: i64) -> Env {
        Env { now, standing: None }
    }
}

/// Decides `command`, applies what follows from it, and returns every event in order. On a refusal nothing changed.
/// `actor` is who asked.
pub fn execute(
    state: &mut RunState,
    command: &Command,
    env: impl Into<Env>,
    actor: &str,
) -> Result<Vec<Recorded>, Reject> {
    let env = env.into();
    let events = decide::decide(state, command, &env)?;
    Ok(record(state, events, env.now, actor))
}

/// The first events of a run: `created`, and what follows from it.
pub fn create(state: &mut RunState, created: Event, now: i64, actor: &str) -> Vec<Recorded> {
    record(state, vec![created], now, actor)
}

fn record(state: &mut RunState, mut events: Vec<Event>, now: i64, actor: &str) -> Vec<Recorded> {
    let mut recorded = Vec::new();
    while !events.is_empty() {
        for event in events {
            let record = Recorded { seq: state.seq + 1, at: now, actor: actor.to_owned(), event };
            apply::apply(state, &record);
            recorded.push(record);
        }
        events = follow::follow_up(state, now);
    }
    recorded
}
