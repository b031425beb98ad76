//! Who fires schedules now: the server of this state folder, or those of a cluster that are heard of.

use runward_engine::run::HomeId;
use runward_workers::home::WorkerLock;

use crate::cluster::Members;
use crate::failure::Failure;
use crate::open::{Opened, Place};

pub enum Servers {
    /// Of the state folder, and whether it is there.
    Here(bool),
    Cluster(Members),
}

impl Servers {
    pub async fn of(opened: &Opened) -> Result<Servers, Failure> {
        Ok(match &opened.place {
            Place::Here(here) => Servers::Here(WorkerLock::holder(&here.home).is_some()),
            Place::Cluster(cluster) => Servers::Cluster(cluster.members().await?),
        })
    }

    /// Whether somebody works in this state folder.
    pub fn hears(&self, home: &HomeId) -> bool {
        match self {
            Servers::Here(there) => *there,
            Servers::Cluster(members) => members.hears(&home.0),
        }
    }

    /// Whether there is nobody who could fire anything.
    pub fn none(&self) -> bool {
        match self {
            Servers::Here(there) => !there,
            Servers::Cluster(members) => {
                !members.sessions.iter().any(|it| it.new.concurrency == 0 && members.is_there(it))
            }
        }
    }
}
