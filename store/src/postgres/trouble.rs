//! What can be wrong with the server, in words.

use std::fmt;

/// A Postgres that does not do what a ledger needs, or is not there.
#[derive(Debug)]
pub struct ServerError {
    /// `user@host:port/database`.
    pub place: String,
    pub trouble: Trouble,
    /// In the server's words, or the system's.
    pub message: String,
}

/// One for each thing that somebody can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Address,
    Unreachable,
    Login,
    NoDatabase,
    Forbidden,
    ReadOnly,
    TooOld,
    Encoding,
    LosesCommits,
    NotMigrated,
    NewerSchema,
    /// It is not on the timeline on which the ledger was left.
    Promoted,
    Busy,
    Unanswered,
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerError { place, trouble, message } = self;
        match trouble {
            Trouble::Address => write!(out, "{place} cannot be used: {message}"),
            Trouble::Unreachable => write!(out, "the Postgres {place} cannot be reached: {message}"),
            Trouble::Login => write!(out, "the Postgres {place} refuses the login: {message}"),
            Trouble::NoDatabase => write!(out, "the Postgres {place} has no such database: {message}"),
            Trouble::Forbidden => write!(out, "the Postgres {place} does not allow it: {message}"),
            Trouble::ReadOnly => write!(out, "the Postgres {place} cannot be written: {message}"),
            Trouble::TooOld => write!(out, "the Postgres {place} is too old: {message}"),
            Trouble::Encoding => write!(out, "the Postgres {place} cannot hold every text: {message}"),
            Trouble::LosesCommits => write!(out, "the Postgres {place} may lose what it has acknowledged: {message}"),
            Trouble::NotMigrated => write!(out, "the database {place} is not ready for this runward: {message}"),
            Trouble::NewerSchema => write!(out, "the database {place} was made ready for a newer runward: {message}"),
            Trouble::Promoted => write!(out, "the Postgres {place} may lack what was acknowledged: {message}"),
            Trouble::Busy => write!(out, "the Postgres {place} is busy: {message}"),
            Trouble::Unanswered => write!(out, "the Postgres {place} did not answer: {message}"),
        }
    }
}

impl std::error::Error for ServerError {}

impl ServerError {
    /// What the person in front of it can do.
    pub fn help(&self) -> &'static str {
        match self.trouble {
            Trouble::Address => {
                "write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, with anything but letters and digits in the \
                 password as %XX"
            }
            Trouble::Unreachable => {
                "check that it runs and that host and port are right, with `pg_isready -h HOST -p PORT`; nothing was \
                 recorded, and steps under way go on"
            }
            Trouble::Login => {
                "check user and password of the database URL, and the server's pg_hba.conf for this host, user and \
                 database"
            }
            Trouble::NoDatabase => "make it with `createdb`, then `runward db migrate`",
            Trouble::Forbidden => "let the owner of the database migrate it, and grant this user what it needs",
            Trouble::ReadOnly => {
                "on a standby: name the primary in the database URL. On the primary: somebody has made it read-only, and \
                 `SHOW default_transaction_read_only` says so. Reading works here"
            }
            Trouble::TooOld => "runward needs Postgres 14 or newer",
            Trouble::Encoding => "make the database anew with `createdb --encoding=UTF8 --template=template0`",
            Trouble::LosesCommits => {
                "set `fsync = on` and `full_page_writes = on` and reload the server: without them a crash of its machine \
                 can take back steps that have run"
            }
            Trouble::NotMigrated => "run `runward db migrate`, once for all hosts",
            Trouble::Promoted => {
                "a standby was promoted, or a backup restored: the workers compare their journals with it, and \
                 `runward doctor` says what they found and whom they wait for"
            }
            Trouble::NewerSchema => "use the newer runward on this host, too",
            Trouble::Busy => {
                "repeat the command. If it stays so and connections are missing, raise `max_connections` or end clients \
                 that idle; else `SELECT pid, usename, application_name, xact_start, query FROM \
                 pg_stat_activity ORDER BY xact_start` shows, to an administrator, who holds what for how long"
            }
            Trouble::Unanswered => {
                "nobody knows whether it was recorded: look with `runward runs` or `runward show RUN` before you repeat \
                 it; with the same `--key` a run can be started again without fear"
            }
        }
    }
}
