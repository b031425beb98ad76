//! SQLite's result codes as something a person can act on.

use std::path::Path;

use crate::error::LedgerError;
use crate::sql::ReadError;
use crate::sqlite::BUSY_SECONDS;

pub(super) fn at(path: &Path, error: ReadError) -> LedgerError {
    match error {
        ReadError::Database(error) => translate(path, error),
        ReadError::Ledger(error) => error,
    }
}

const IOERR_WRITE: i64 = 778;
const IOERR_SHMSIZE: i64 = 4874;

/// The primary result code is the low byte of the extended one (sqlite.org/rescode.html).
pub(super) fn translate(path: &Path, error: sqlx::Error) -> LedgerError {
    let file = path.display().to_string();
    let sqlx::Error::Database(database) = &error else { return LedgerError::Other(error.to_string()) };
    let message = database.message().to_owned();
    let code: i64 = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    // No room for the shared-memory file, and a write that found no room, come as I/O errors.
    if [IOERR_SHMSIZE, IOERR_WRITE].contains(&code) {
        return LedgerError::Full { path: file };
    }
    match code & 0xff {
        // SQLITE_IOERR_SHMSIZE: there is no room for the file that readers and writers share.
        _ if code == 4874 => LedgerError::Full { path: file },
        5 | 6 => LedgerError::Busy { path: file, seconds: BUSY_SECONDS },
        3 | 8 => LedgerError::ReadOnly { path: file, message },
        10 => LedgerError::Disk { path: file, message },
        11 | 26 => LedgerError::Corrupt { path: file, message },
        13 => LedgerError::Full { path: file },
        14 => LedgerError::Open { path: file, message },
        _ => LedgerError::Other(format!("{message} (SQLite code {code}, {file})")),
    }
}
