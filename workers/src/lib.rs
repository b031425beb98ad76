//! Everything of runward that *does*.
//!
//! - [`home`]: where things lie on this machine
//! - [`supervisor`]: the small process that owns running steps and outlives the driver
//! - [`step`]: how a prepared step becomes a launch, and its result a report
//! - [`driver`]: carries one run to its end, and picks up what an earlier driver left running
//! - [`queue`]: hints, who should look at the ledger now
//! - [`worker`]: a member of a cluster, that does all this for whatever run there is
//! - [`scheduler`]: fires schedules; [`embedded`]: the one server of one machine, that drives the runs that come of it
//! - [`logs`]: what steps print, on its way to whoever reads it
//! - [`secrets`]: what a step receives that nobody else may see; [`mask`]: takes it out of what the step prints
//! - [`reach`]: where steps of this machine may connect to
//! - [`care`]: looks after what runs leave behind

pub mod care;
pub mod driver;
pub mod embedded;
pub mod home;
pub mod logs;
pub mod mask;
pub mod outbox;
pub mod queue;
pub mod reach;
pub mod scheduler;
pub mod secrets;
pub mod step;
pub mod supervisor;
pub mod worker;
