//! Who carries a run on: one process of this machine, or, in a cluster, whichever of its workers fits.

use runward_engine::run::RunId;
use runward_workers::home::{DriverLock, Holder, Home};

/// Who carries a run on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    Process(Holder),
    Workers,
    Nobody,
}

/// Where that is found out.
#[derive(Debug, Clone)]
pub enum Drivers {
    Of(Home),
    Workers,
}

impl Drivers {
    pub fn of(&self, run: &RunId) -> Driver {
        match self {
            Drivers::Of(home) => DriverLock::holder(home, run).map_or(Driver::Nobody, Driver::Process),
            Drivers::Workers => Driver::Workers,
        }
    }
}

impl Drivers {
    /// What follows when somebody has done what a run waits for.
    pub fn then(&self, run: &str) -> String {
        match self {
            Drivers::Of(_) => format!(", then runward resume {run}"),
            Drivers::Workers => "; the run goes on by itself".to_owned(),
        }
    }
}

impl Driver {
    pub fn is_there(&self) -> bool {
        *self != Driver::Nobody
    }

    /// Of the process on this machine, as it says it.
    pub fn pid(&self) -> Option<&str> {
        match self {
            Driver::Process(holder) => Some(&holder.pid),
            Driver::Workers | Driver::Nobody => None,
        }
    }
}
