//! A SQLite ledger whose disk is full for a while. Alone in its program: the limit that fills the disk is that of a process.

#![allow(clippy::unwrap_used)]

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use runward_store::conformance::new_run;
use runward_store::{Ledger, LedgerError, RunQuery, SqliteLedger};
use tempfile::TempDir;

/// From here on no file grows beyond this many bytes.
fn files_grow_to(bytes: Option<u64>) {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, bytes.unwrap_or(hard), hard).unwrap();
}

#[tokio::test]
async fn a_ledger_whose_disk_was_full_goes_on_when_there_is_room() {
    // A write beyond the limit is an error, and not the end of the process. The thread of the ledger inherits that.
    SigSet::from(Signal::SIGXFSZ).thread_block().unwrap();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let mut view = ledger.trigger(new_run("before", None)).await.unwrap().view;

    files_grow_to(Some(0));
    for id in ["one", "two", "three"] {
        let error = ledger.trigger(new_run(id, None)).await.unwrap_err();
        assert!(matches!(error, LedgerError::Full { .. }), "{id}: {error}");
        assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 1, "what is there can be read");
    }
    // A transaction that does not fit into memory is written before its end.
    let mut large = new_run("large", None);
    large.blobs.extend((0..8).map(|n| (format!("{n:064}"), vec![n; 1 << 20])));
    let error = ledger.trigger(large).await.unwrap_err();
    assert!(matches!(error, LedgerError::Full { .. }), "{error}");

    files_grow_to(None);
    ledger.refresh(&mut view).await.unwrap();
    ledger.trigger(new_run("after", None)).await.unwrap();
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 2);
    assert_eq!(ledger.load(&view.state.id).await.unwrap().state.status, view.state.status);
}
