//! A Postgres with a standby, behind one address that moves when the standby takes over.

use std::time::{Duration, Instant};

use crate::{Cluster, Ground, PATIENCE, Proxy};

pub struct Pair {
    pub primary: Cluster,
    pub standby: Cluster,
    pub address: Proxy,
    // Last, so that its servers are ended after everything that speaks to them.
    _ground: Ground,
}

impl Default for Pair {
    fn default() -> Pair {
        Pair::new()
    }
}

impl Pair {
    pub fn new() -> Pair {
        let ground = Ground::new();
        let primary = ground.cluster("primary", 7001, &["max_connections = 100"]);
        let standby = primary.standby(ground.path("standby"), 7002);
        let address = Proxy::to(primary.target());
        Pair { primary, standby, address, _ground: ground }
    }

    /// A new database.
    pub fn database(&self, name: &str) -> String {
        self.primary.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        Cluster::url_through(&self.address, name)
    }

    /// From now on nothing is acknowledged before the standby has it.
    pub fn wait_for_standby(&self) {
        self.primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.primary.sql("postgres", "SELECT pg_reload_conf()");
        until(|| self.primary.sql("postgres", "SELECT sync_state FROM pg_stat_replication") == "sync");
    }

    /// The standby has everything so far, and gets nothing of what comes.
    pub fn cut_standby(&self) {
        let now = self.primary.sql("postgres", "SELECT pg_current_wal_flush_lsn()");
        let has = format!("SELECT pg_last_wal_replay_lsn() >= '{now}'");
        until(|| self.standby.ask("postgres", &has).as_deref() == Ok("t"));
        self.standby.sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
        self.standby.sql("postgres", "SELECT pg_reload_conf()");
        until(|| self.primary.sql("postgres", "SELECT count(*) FROM pg_stat_replication") == "0");
    }

    /// The primary dies, and the standby takes its place.
    pub fn fail_over(&self) {
        self.primary.kill();
        self.standby.promote();
        self.address.lead_to(self.standby.target());
        self.address.cut();
    }
}

fn until(mut is: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !is() {
        assert!(asked.elapsed() < PATIENCE, "the servers do not come to that");
        std::thread::sleep(Duration::from_millis(10));
    }
}
