//! A standby becomes the primary, and the old primary its standby, whatever state that was in.

use std::process::Command;

use runward_services::{Cluster, Ground};

use crate::operator::{Operator, Run};

struct Pair {
    operator: Operator,
    ground: Ground,
    primary: Cluster,
    standby: Cluster,
}

impl Pair {
    fn new() -> Pair {
        let (operator, ground) = (Operator::new(), Ground::new());
        let primary = ground.cluster("primary", 7001, &["wal_keep_size = '64MB'"]);
        primary.sql("postgres", "create table items (n int)");
        let standby = primary.standby(ground.path("standby"), 7002);
        Pair { operator, ground, primary, standby }
    }

    fn failover(&self, code: i32) -> Run {
        let paths =
            [("primary", self.primary.data()), ("standby", self.standby.data()), ("sockets", self.ground.folder())];
        let paths = paths.map(|(name, path)| (name, path.display().to_string()));
        let owner = Cluster::owner();
        let mut params: Vec<(&str, &str)> = paths.iter().map(|(name, path)| (*name, path.as_str())).collect();
        params.extend([
            ("primary_port", "7001"),
            ("standby_port", "7002"),
            ("as", &owner),
            ("user", Cluster::superuser()),
        ]);
        self.operator.expect(code, "pg_failover", &params)
    }

    /// What the second server gets from the first, once it has it.
    fn follows(new: &Cluster, old: &Cluster) {
        assert_eq!(old.sql("postgres", "select pg_is_in_recovery()"), "t");
        new.sql("postgres", "insert into items values (4711)");
        crate::harness::wait("the row to arrive", || {
            old.ask("postgres", "select count(*) from items where n = 4711").as_deref() == Ok("1")
        });
    }
}

#[test]
fn a_primary_that_lives_is_stopped_first_and_nothing_is_lost() {
    let pair = Pair::new();
    pair.primary.sql("postgres", "insert into items select generate_series(1, 1000)");
    let run = pair.failover(0);
    assert_eq!(pair.standby.sql("postgres", "select count(*) from items"), "1000", "nothing is lost");
    pair.standby.sql("postgres", "insert into items values (0)");
    Pair::follows(&pair.standby, &pair.primary);
    assert_eq!(run.status("rejoin"), "succeeded");
    assert_eq!(pair.primary.sql("postgres", "show port"), "7001", "its own port, not that of the other one");
    assert!(pair.primary.ask("postgres", "insert into items values (1)").is_err(), "there is one primary");

    let again = pair.failover(1);
    assert!(again.text.contains("is no standby: there is nothing to promote"), "{}", again.text);
}

#[test]
fn a_primary_that_died_with_rows_nobody_else_had_is_rewound() {
    let pair = Pair::new();
    pair.primary.sql("postgres", "insert into items values (1)");
    pair.standby.stop("immediate");
    pair.primary.sql("postgres", "insert into items values (2)");
    pair.primary.kill();
    pair.standby.start();

    let run = pair.failover(0);
    assert_eq!(run.output("preflight", "alive"), "false");
    Pair::follows(&pair.standby, &pair.primary);
    let rows = "select string_agg(n::text, ' ' order by n) from items";
    assert_eq!(pair.primary.sql("postgres", rows), pair.standby.sql("postgres", rows));
    assert!(!pair.primary.sql("postgres", rows).contains('2'), "the row that the other one never had is gone");
}

#[test]
fn a_standby_that_does_not_receive_is_not_promoted() {
    let pair = Pair::new();
    pair.standby.sql("postgres", "alter system set primary_conninfo = 'host=/nowhere'");
    pair.standby.sql("postgres", "select pg_reload_conf()");
    crate::harness::wait("the line to break", || {
        pair.primary.sql("postgres", "select count(*) from pg_stat_replication") == "0"
    });
    pair.primary.sql("postgres", "insert into items values (2)");
    let refused = pair.failover(1);
    assert!(refused.text.contains("does not receive what it writes"), "{}", refused.text);
    pair.primary.sql("postgres", "insert into items values (3)");
    assert_eq!(pair.standby.sql("postgres", "select pg_is_in_recovery()"), "t");
}

#[test]
fn pg_rewind_right_after_a_promotion_believes_the_servers_are_the_same() {
    let pair = Pair::new();
    pair.standby.stop("immediate");
    pair.primary.sql("postgres", "insert into items values (2)");
    pair.primary.stop("fast");
    pair.standby.start();
    // The checkpoint that follows a promotion by itself is late: here it waits for us.
    let process = pair.standby.sql("postgres", "select pid from pg_stat_activity where backend_type = 'checkpointer'");
    let signal = |name: &str| assert!(Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
    signal("STOP");
    pair.standby.sql("postgres", "select pg_promote(true, 600)");
    let source =
        format!("host={} port=7002 user={} dbname=postgres", pair.ground.folder().display(), Cluster::superuser());
    let rewind = || {
        let mut command = Cluster::program("pg_rewind");
        command.args(["--dry-run", "--source-server", &source, "--target-pgdata"]).arg(pair.primary.data());
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    let said = rewind();
    signal("CONT");
    let version: u32 = pair.standby.sql("postgres", "show server_version_num").parse().unwrap();
    assert!(version >= 160_000 || said.contains("no rewind required"), "mended in 16 only: {said}");
    pair.standby.sql("postgres", "checkpoint");
    let said = rewind();
    assert!(said.contains("rewinding from last common checkpoint"), "{said}");
}
