//! A Postgres on a [`Ground`](crate::Ground), started and stopped with `pg_ctl` as an administrator does.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ground::done;
use crate::postgres::{SUPERUSER, as_owner, ask, own, owner_name, program};
use crate::proxy::{Proxy, Target};

pub struct Cluster {
    data: PathBuf,
    sockets: PathBuf,
    port: u16,
}

impl Cluster {
    pub(crate) fn new(data: PathBuf, sockets: PathBuf, port: u16) -> Cluster {
        Cluster { data, sockets, port }
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user of the machine whom it belongs to.
    pub fn owner() -> String {
        owner_name()
    }

    /// Its superuser.
    pub fn superuser() -> &'static str {
        SUPERUSER
    }

    /// Appends to `postgresql.conf`.
    pub fn set(&self, settings: &[&str]) {
        let file = fs::OpenOptions::new().append(true).open(self.data.join("postgresql.conf"));
        let mut file = file.expect("a data folder has its settings");
        settings.iter().for_each(|setting| writeln!(file, "{setting}").expect("the settings can be written"));
    }

    pub fn start(&self) {
        self.start_by(&program("pg_ctl"));
    }

    /// With the programs of another version, which are in this folder.
    pub fn start_with(&self, bin: &Path) {
        self.start_by(&bin.join("pg_ctl"));
    }

    fn start_by(&self, pg_ctl: &Path) {
        let log = self.data.join("start.log");
        let mut command = as_owner(pg_ctl);
        done(command.args(["start", "-w", "-t", "600", "-D"]).arg(&self.data).arg("-l").arg(log).current_dir("/"));
    }

    /// `fast` or `immediate`.
    pub fn stop(&self, mode: &str) {
        let mut command = as_owner(&program("pg_ctl"));
        done(command.args(["stop", "-w", "-t", "600", "-m", mode, "-D"]).arg(&self.data).current_dir("/"));
    }

    /// `kill -9` of its first process; the others notice.
    pub fn kill(&self) {
        let process = self.process();
        kill(Pid::from_raw(process), Signal::SIGKILL).expect("it runs");
        while fs::read_link(format!("/proc/{process}/cwd")).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// The number of its first process.
    pub fn process(&self) -> i32 {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).expect("it runs");
        file.lines().next().and_then(|line| line.parse().ok()).expect("the number of a process")
    }

    /// A standby of it, started.
    pub fn standby(&self, data: PathBuf, port: u16) -> Cluster {
        let mut command = as_owner(&program("pg_basebackup"));
        command.args(["-R", "--checkpoint=fast", "-U", SUPERUSER, "-p", &self.port.to_string(), "-h"]);
        done(command.arg(&self.sockets).arg("-D").arg(&data).current_dir("/"));
        let standby = Cluster::new(data, self.sockets.clone(), port);
        standby.set(&[&format!("port = {port}")]);
        standby.start();
        standby
    }

    /// Makes a standby the one that is written.
    pub fn promote(&self) {
        let mut command = as_owner(&program("pg_ctl"));
        done(command.args(["promote", "-w", "-t", "600", "-D"]).arg(&self.data).current_dir("/"));
    }

    /// Of a database, through a proxy for which [`Cluster::target`] is the target.
    pub fn url_through(proxy: &Proxy, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{}/{database}", proxy.address())
    }

    pub fn target(&self) -> Target {
        Target::Unix(self.sockets.join(format!(".s.PGSQL.{}", self.port)))
    }

    /// Executes SQL as `psql` does; the rows come back as lines.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.ask(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`Cluster::sql`], for what may fail.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String, String> {
        ask(&self.sockets, self.port, database, sql)
    }

    /// A program of Postgres as the user whom it belongs to.
    pub fn program(name: &str) -> Command {
        let mut command = as_owner(&program(name));
        command.current_dir("/");
        command
    }

    /// Gives a folder or file to that user.
    pub fn own(path: &Path) {
        own(path);
    }
}
