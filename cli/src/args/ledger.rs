//! What is given to commands that are about the ledger and the configuration.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};

use super::Format;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every setting, its value, and where the value comes from
    Show {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify the hash chain of every run, and that its rows are what its events say
    Verify {
        /// Only this run: its id, its last characters, or `last`
        run: Option<String>,
        /// Compare the record with the anchors in this file, too [default: that of `audit.anchors`]
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Note how far the record has come, where whoever can write the ledger cannot
    ///
    /// Without a file, neither here nor as `audit.anchors`, one line of JSON for everything there is is printed: for whatever
    /// takes it out of reach. Into a file a line is added if something has gone on since the last one; if the record is not
    /// what the file has seen, nothing is added and the exit code is 1.
    Anchor {
        /// Add it to this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Where the ledger is, what is in it, and how much room it takes
    Status {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Make the database ready for this version of runward; safe to repeat, and on several hosts at once
    ///
    /// A Postgres is made ready only by this: no other command changes its tables. A ledger in the state folder is brought up
    /// to date by whatever opens it.
    Migrate {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Let steps start again after a failover, although not every worker has compared its journals with the database
    ///
    /// Only for a Postgres that was promoted or restored, where `runward doctor` says whom it waits for: a host that is gone for
    /// good, or steps in runs of which the ledger knows nothing. What they did meanwhile nobody else will find out: look, then
    /// say why. It is on the record.
    Accept {
        /// Why nothing starts twice
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Compare the ledger, every folder and all output with the record; exit code 1 if anything is not as it should be
    Check {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Remove runs that are over, with their output; never one that lives
    ///
    /// With both --older-than and --keep a run goes only if both let it go; what is not given is taken from the
    /// configuration. What was removed stays on the record, and the key of a removed run stays taken.
    Prune(PruneArgs),
}

#[derive(Debug, ClapArgs)]
pub struct PruneArgs {
    /// Only runs that ended longer ago than this: `90d`, `12h`
    #[arg(long, value_name = "DURATION", value_parser = runward_engine::units::parse_duration)]
    pub older_than: Option<Duration>,
    /// Of each runbook, keep this many of the runs that ended last
    #[arg(long, value_name = "COUNT")]
    pub keep: Option<u32>,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}
