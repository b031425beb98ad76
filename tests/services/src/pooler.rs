//! A pgbouncer before a Postgres: each transaction gets whatever connection is free, and there is one.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use tempfile::TempDir;

use crate::guard::{Guard, Signal};
use crate::postgres::{Postgres, SUPERUSER, as_owner, ask, own};
use crate::until_up;

const PORT: u16 = 6432;

pub struct Pooler {
    _guard: Guard,
    folder: TempDir,
}

impl Pooler {
    /// With the settings that it comes with, but for those that a test needs.
    pub fn before(postgres: &Postgres) -> Pooler {
        let folder = tempfile::Builder::new().prefix("runward-pgbouncer-").tempdir().expect("a temporary folder");
        let (here, there) = (folder.path().display(), postgres.folder().display());
        let settings = format!(
            "[databases]\n* = host={there} port=5432 user={SUPERUSER}\n[pgbouncer]\nunix_socket_dir = {here}\nlisten_port = {PORT}\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 1\n"
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("its settings can be written");
        own(folder.path());
        let command = as_owner(Path::new("/usr/sbin/pgbouncer"));
        let mut words: Vec<OsString> = vec![command.get_program().to_owned()];
        words.extend(command.get_args().map(OsStr::to_owned));
        words.push(file.into());
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        let guard = Guard::start(folder.path(), Signal::Terminate, &words);
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        until_up(&guard, log, || ask(folder.path(), PORT, "postgres", "SELECT 1"));
        Pooler { _guard: guard, folder }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&port={PORT}&user={SUPERUSER}", self.folder.path().display())
    }

    /// Executes SQL on the connection that it lends to everybody.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        ask(self.folder.path(), PORT, database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}
