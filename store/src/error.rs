//! What can go wrong between a command and its place in the ledger, and what to do about it.

use runward_engine::run::RunId;
use runward_engine::run::rows::RunRow;

use crate::postgres::{ServerError, Trouble};

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("no run has the id `{0}`")]
    NoSuchRun(RunId),
    #[error("no server has ever had a schedule `{0}`")]
    NoSuchSchedule(String),
    #[error("the ledger has no definition {0}")]
    NoSuchDefinition(String),
    #[error("the ledger {path} cannot be opened: {message}")]
    Open { path: String, message: String },
    #[error("the ledger {path} is damaged: {message}")]
    Corrupt { path: String, message: String },
    #[error("the ledger {path} cannot be written: {message}")]
    ReadOnly { path: String, message: String },
    /// The file system answers with an error; a full one does, too, where SQLite cannot tell.
    #[error("the disk that holds the ledger {path} fails: {message}")]
    Disk { path: String, message: String },
    #[error("the disk that holds the ledger {path} is full")]
    Full { path: String },
    /// What would be written to the file that was opened, nobody would find.
    #[error(
        "{path} is not the ledger any more that was opened: the file was moved, deleted or replaced; restart this program when the right one is in its place"
    )]
    Replaced { path: String },
    #[error("the ledger {path} was written by a newer runward (schema {found}, this one knows {known})")]
    NewerSchema { path: String, found: i64, known: i64 },
    /// It took another way to its schema than this program knows.
    #[error("the ledger {path} was made by another build of runward: {message}")]
    OtherBuild { path: String, message: String },
    #[error("the ledger {path} was busy for {seconds} s: another process holds it")]
    Busy { path: String, seconds: u64 },
    /// The record of a run does not fit its hashes, or cannot be read.
    #[error("run {run}, event {seq}: {message}")]
    Tampered { run: RunId, seq: u64, message: String },
    /// What was acknowledged is not there: a standby that lacked it was promoted, or a backup was restored (F23).
    #[error("the ledger has gone back: event {known} of run {run} was recorded, and its last one is {seq} now")]
    GoneBack { run: RunId, known: u64, seq: u64 },
    /// The record of what was done to the ledger itself does not fit its hashes.
    #[error("the ledger's own record, entry {seq}: {message}")]
    Record { seq: u64, message: String },
    /// The run that the key named is at its end and was removed; the key is not free for another one.
    #[error("the key `{key}` belongs to run {run}, which is at its end and was pruned; nothing was started")]
    KeyOfPruned { key: String, run: RunId },
    /// The newest run of the runbook is not what it was when somebody looked; nothing was started.
    #[error("another run of `{}` happened since: {}, by {}", newest.name, newest.id, newest.actor)]
    MovedOn { newest: Box<RunRow> },
    /// Nothing was recorded.
    #[error("{queued} runs wait for the group `{group}` already, and {max} are possible; nothing was started")]
    GroupFull { group: String, queued: usize, max: u32 },
    /// The pinned definition of a run cannot be read by this version.
    #[error("the pinned definition of run {run} cannot be read: {message}")]
    Definition { run: RunId, message: String },
    /// Its content does not fit its name.
    #[error("the pinned file {sha256} was changed after it was recorded")]
    ChangedFile { sha256: String },
    /// A stored definition that is not what it was.
    #[error("the definition {hash} {message}")]
    Unreadable { hash: String, message: String },
    /// A Postgres that is not there, or does not do what a ledger needs.
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the ledger failed: {0}")]
    Other(String),
}

impl LedgerError {
    /// Whether the rest of the ledger may be well.
    pub fn is_about_one_run(&self) -> bool {
        use LedgerError::*;
        matches!(
            self,
            NoSuchRun(_)
                | NoSuchDefinition(_)
                | Tampered { .. }
                | GoneBack { .. }
                | Definition { .. }
                | ChangedFile { .. }
                | Unreadable { .. }
        )
    }

    /// Whether the same, asked a little later, may well be answered: the server restarts, or the line is down.
    pub fn passes(&self) -> bool {
        use Trouble::{Busy, Promoted, Unanswered, Unreachable};
        matches!(self, LedgerError::Server(error) if matches!(error.trouble, Unreachable | Busy | Unanswered | Promoted))
    }

    /// What the person in front of it can do.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            LedgerError::NoSuchRun(_) => Some("`runward runs` lists the runs"),
            LedgerError::NoSuchSchedule(_) => Some("`runward schedules` lists them"),
            LedgerError::Corrupt { .. } => Some(
                "keep the file for analysis, and put a backup in its place or name another state folder with --state; \
                 the logs and results of attempts lie beside it in `runs/` and are not affected",
            ),
            LedgerError::ReadOnly { .. } => {
                Some("check the owner and mode of the folder and whether its file system is mounted read-only")
            }
            LedgerError::Full { .. } => Some(
                "free some space and repeat the command: a step that ends meanwhile keeps its result in the journal",
            ),
            LedgerError::Disk { .. } => Some(
                "free some space if it is full (`df`), else look into the kernel's log (`dmesg`); then repeat the \
                 command: a step that ends meanwhile keeps its result in the journal",
            ),
            LedgerError::Replaced { .. } => Some(
                "end all programs that use this state folder (a `runward server` too) before its ledger is moved or restored; a \
                 step that ends meanwhile keeps its result in the journal",
            ),
            LedgerError::NewerSchema { .. } => Some("use the newer runward, or name another state folder with --state"),
            LedgerError::OtherBuild { .. } => Some(
                "released versions open each other's ledgers; this one comes from a version in development. Use the build \
                 that made it, or name another state folder with --state: this one stays as it is",
            ),
            LedgerError::Busy { .. } => {
                Some("see with `fuser` or `lsof` which process holds it, and repeat the command")
            }
            LedgerError::Open { .. } => Some("check that the folder exists and that this user may write to it"),
            LedgerError::Tampered { .. } | LedgerError::Unreadable { .. } | LedgerError::ChangedFile { .. } => {
                Some("this run is not continued; `runward audit verify` checks the whole ledger")
            }
            LedgerError::GoneBack { .. } => Some(
                "a standby was promoted that lacked it, or a backup was restored: `runward doctor` says what that means here",
            ),
            LedgerError::Record { .. } => Some(
                "somebody changed the ledger by other means than runward; `runward audit verify` checks the whole of it",
            ),
            LedgerError::MovedOn { .. } => Some("look at it with `runward show`, and plan again"),
            LedgerError::GroupFull { .. } => Some(
                "`runward runs --unfinished` lists them: `runward cancel RUN` takes one out of the queue; the limit is \
                 `limits.queued-runs` of the configuration",
            ),
            LedgerError::KeyOfPruned { .. } => Some("use a new key for a new job"),
            LedgerError::Definition { .. } => Some("use the version of runward that started the run"),
            LedgerError::Server(error) => Some(error.help()),
            LedgerError::NoSuchDefinition(_) | LedgerError::Other(_) => None,
        }
    }
}
