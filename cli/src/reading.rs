//! The ledger, wherever it is, for commands that only read.
//!
//! What drives runs, and what looks into their folders, is about this host ([`crate::open`]); a ledger in Postgres is
//! about all of them.

use runward_store::{Ledger, LedgerError, PostgresLedger};
use runward_workers::home::Home;

use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, open};

pub enum Reading {
    Here(Box<Opened>),
    Postgres(Box<PostgresLedger>),
}

impl Reading {
    pub async fn open(config: &Config) -> Result<Reading, Failure> {
        Ok(match &config.settings.database {
            Some(database) => Reading::Postgres(Box::new(PostgresLedger::open(database.whole()).await?)),
            None => Reading::Here(Box::new(open(config).await?)),
        })
    }

    pub fn ledger(&self) -> &dyn Ledger {
        match self {
            Reading::Here(opened) => &opened.ledger,
            Reading::Postgres(ledger) => &**ledger,
        }
    }

    /// The state folder, where it is the place of the runs.
    pub fn home(&self) -> Option<&Home> {
        match self {
            Reading::Here(opened) => Some(&opened.home),
            Reading::Postgres(_) => None,
        }
    }

    /// What the database itself complains about.
    pub async fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        match self {
            Reading::Here(opened) => opened.ledger.integrity().await,
            Reading::Postgres(ledger) => ledger.integrity().await,
        }
    }
}
