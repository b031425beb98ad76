//! Redis: a cluster that goes on when a node dies, limits that bite, and a cache that is warm.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use runward_services::{Ground, Signal};

use crate::dumps::keep_secret;
use crate::harness::{finish, wait};
use crate::operator::{Operator, Run};
use crate::place::Place;

const PASSWORD: &str = "a-password-of-Redis";

struct Nodes {
    operator: Operator,
    ground: Ground,
    ports: Vec<u16>,
}

impl Nodes {
    fn new(count: u16) -> Nodes {
        let nodes = Nodes { operator: Operator::new(), ground: Ground::new(), ports: free(count) };
        keep_secret(&nodes.operator, "redis", PASSWORD);
        nodes
    }

    fn cluster(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let root = self.root().display().to_string();
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let ports = format!("[{}]", ports.join(","));
        let own = [("root", root.as_str()), ("ports", &ports), ("node_timeout", "1000"), ("maxmemory", "20mb")];
        let own = own.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let params: Vec<_> = own.chain(more.iter().copied()).collect();
        self.operator.expect(code, "redis_cluster", &params)
    }

    fn root(&self) -> PathBuf {
        self.ground.path("nodes")
    }

    /// As a client of the cluster, which goes where it is sent.
    fn ask(&self, port: u16, words: &[&str]) -> Option<String> {
        let mut command = Command::new("redis-cli");
        command.env("REDISCLI_AUTH", PASSWORD).args(["-c", "-e", "-p", &port.to_string()]).args(words);
        let done = finish(&mut command);
        (done.code == 0).then(|| done.stdout.trim_end().to_owned())
    }

    fn kill(&self, port: u16) {
        let pid = fs::read_to_string(self.root().join(format!("{port}/redis.pid"))).unwrap();
        assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
        wait("it to be gone", || self.ask(port, &["ping"]).is_none());
    }

    fn write(&self, keys: u32) {
        (0..keys).for_each(|n| assert!(self.ask(self.ports[0], &["set", &format!("key {n}"), "x"]).is_some()));
    }

    /// How many of these keys can be read, by the node on this port.
    fn readable(&self, port: u16, keys: u32) -> u32 {
        (0..keys).filter(|n| self.ask(port, &["get", &format!("key {n}")]).as_deref() == Some("x")).count() as u32
    }
}

/// Ports that nobody has, and those 10,000 above, below where the kernel takes ports for connections from.
pub fn free(count: u16) -> Vec<u16> {
    let seed = (std::process::id() % 9_000) as u16;
    let open = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let ports = (0..9_000).map(|n| 12_000 + (seed + n) % 9_000).filter(|port| open(*port) && open(port + 10_000));
    ports.take(count.into()).collect()
}

#[test]
fn three_nodes_share_the_keys_and_two_serve_theirs_when_one_dies() {
    let nodes = Nodes::new(3);
    let run = nodes.cluster(0, &[]);
    nodes.write(30);
    let each: Vec<u32> =
        nodes.ports.iter().map(|port| nodes.ask(*port, &["dbsize"]).unwrap().parse().unwrap()).collect();
    assert!(each.iter().all(|keys| *keys > 0), "every node has some: {each:?}");
    assert_eq!(nodes.readable(nodes.ports[1], 30), 30);
    assert!(!run.text.contains(PASSWORD) && !run.show.to_string().contains(PASSWORD));

    nodes.kill(nodes.ports[2]);
    wait("the others to know", || {
        nodes
            .ask(nodes.ports[0], &["cluster", "nodes"])
            .unwrap()
            .lines()
            .any(|line| line.contains("fail") && !line.contains("fail?"))
    });
    let served = nodes.readable(nodes.ports[0], 30);
    assert!(served > 0 && served < 30, "its third is gone, the others are served: {served}");
    let config = nodes.root().join(format!("{}/redis.conf", nodes.ports[2]));
    assert!(Command::new("redis-server").arg(config).status().unwrap().success());
    wait("all of them to be served again", || nodes.readable(nodes.ports[0], 30) == 30);
    nodes.operator.saw("S3-48", &run, "create");

    let again = nodes.cluster(0, &[]);
    assert_eq!(again.status("create"), "skipped", "it stands already");
    nodes.operator.saw("S3-48", &again, "verify");
}

#[test]
fn a_replica_takes_over_and_no_key_is_lost() {
    let nodes = Nodes::new(6);
    let run = nodes.cluster(0, &[("replicas", "1")]);
    nodes.write(30);
    let master = nodes.ports[1];
    assert_eq!(nodes.ask(master, &["wait", "1", "5000"]).as_deref(), Some("1"));
    nodes.kill(master);
    wait("its replica to take over", || nodes.readable(nodes.ports[0], 30) == 30);
    assert!(nodes.ask(nodes.ports[0], &["set", "after", "1"]).is_some());
    nodes.operator.saw("S2-09", &run, "verify");
}

#[test]
fn a_cluster_that_cannot_be_leaves_nothing() {
    let nodes = Nodes::new(3);
    let _taken = TcpListener::bind(("127.0.0.1", nodes.ports[2] + 10_000)).unwrap();
    let refused = nodes.cluster(1, &[]);
    assert!(refused.text.contains("is taken"), "{}", refused.text);
    let refused = nodes.cluster(1, &[("replicas", "1")]);
    assert!(refused.text.contains("a cluster takes 6 nodes, there are 3 ports"), "{}", refused.text);
    drop(_taken);

    // The folder of somebody else is not touched.
    let stranger = nodes.root().join(nodes.ports[1].to_string());
    fs::create_dir_all(&stranger).unwrap();
    fs::write(stranger.join("precious"), "").unwrap();
    let refused = nodes.cluster(1, &[]);
    assert!(refused.text.contains("is there already, and the cluster does not stand"), "{}", refused.text);
    assert!(stranger.join("precious").exists());
    fs::remove_dir_all(&stranger).unwrap();

    // Nodes that take nothing are no cluster.
    let failed = nodes.cluster(6, &[("maxmemory", "1")]);
    assert_eq!(failed.status("folders"), "undone", "{}", failed.text);
    assert!(nodes.ports.iter().all(|port| !nodes.root().join(port.to_string()).exists()));
    assert!(nodes.ask(nodes.ports[0], &["ping"]).is_none());
}

#[test]
fn limits_bite_stay_and_are_taken_back() {
    let (operator, ground) = (Operator::new(), Ground::new());
    keep_secret(&operator, "redis", PASSWORD);
    let folder = ground.make("redis");
    let (config, socket) = (folder.join("redis.conf"), folder.join("socket").display().to_string());
    let settings = format!(
        "port 0\nunixsocket {socket}\ndir {}\nrequirepass {PASSWORD}\nsave \"\"\nmaxmemory 100mb\n",
        folder.display()
    );
    fs::write(&config, settings).unwrap();
    let ask = |words: &[&str]| {
        let done =
            finish(Command::new("redis-cli").env("REDISCLI_AUTH", PASSWORD).args(["-e", "-s", &socket]).args(words));
        (done.code == 0).then(|| done.stdout.trim_end().to_owned())
    };
    let start = || {
        assert!(Command::new("redis-server").arg(&config).args(["--daemonize", "yes"]).status().unwrap().success());
        wait("Redis to be there", || ask(&["ping"]).is_some());
    };
    start();
    let tune = |code: i32, more: &[(&str, &str)]| {
        let params: Vec<_> = [("socket", socket.as_str())].into_iter().chain(more.iter().copied()).collect();
        operator.expect(code, "tune_redis", &params)
    };

    let run = tune(0, &[("maxmemory", "4MiB"), ("save", "1 1")]);
    ask(&["debug", "jmap"]);
    for n in 0..60 {
        ask(&["set", &format!("key {n}"), &"x".repeat(100_000)]).unwrap();
    }
    let keys: u32 = ask(&["dbsize"]).unwrap().parse().unwrap();
    assert!((10..60).contains(&keys), "the oldest made way: {keys}");
    wait("a dump to be saved by itself", || folder.join("dump.rdb").exists());
    operator.saw("S2-53 S3-27", &run, "set");
    // With the guides' own figures, kept over a restart.
    let run = tune(0, &[]);
    ask(&["shutdown", "nosave"]);
    wait("it to be gone", || ask(&["ping"]).is_none());
    start();
    let kept = |name: &str| ask(&["config", "get", name]).unwrap().lines().last().unwrap().to_owned();
    assert_eq!(kept("save"), "900 1 300 10 60 10000");
    assert_eq!((kept("maxmemory").as_str(), kept("maxmemory-policy").as_str()), ("2000000000", "allkeys-lru"));
    operator.saw("S3-27", &run, "keep");

    let refused = tune(1, &[("maxmemory", "10KiB")]);
    assert!(refused.text.contains("keys would go at once"), "{}", refused.text);
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    let failed = tune(6, &[("maxmemory", "1GB"), ("policy", "noeviction")]);
    assert!(failed.text.contains("cannot be written by the server"), "{}", failed.text);
    assert_eq!((kept("maxmemory").as_str(), kept("maxmemory-policy").as_str()), ("2000000000", "allkeys-lru"));
}

#[test]
fn what_is_cold_after_a_restart_is_warm_before_people_come() {
    let mut place = Place::serving();
    keep_secret(&place.operator, "pgpass", "# none\n");
    place.stack.sql("insert into items (name) select 'item ' || n from generate_series(1, 20000) n; create extension pg_buffercache");
    place.stack.sql("vacuum items");
    place.stack.postgres.stop(Signal::Interrupt);
    place.stack.postgres.start_again();
    let warm = |place: &Place| -> u32 {
        let of = "select count(*) from pg_buffercache where relfilenode in (pg_relation_filenode('items'), pg_relation_filenode('ix_items_name')) \
                  and reldatabase = (select oid from pg_database where datname = 'app')";
        place.stack.sql(of).parse().unwrap()
    };
    assert!(warm(&place) < 5, "{}", warm(&place));
    let pages: u32 = place
        .stack
        .sql("select (pg_relation_size('items') + pg_relation_size('ix_items_name')) / 8192")
        .parse()
        .unwrap();
    let (url, host) = (place.stack.url(), place.stack.postgres.folder().display().to_string());
    let own = [("url", url.as_str()), ("host", &host), ("user", "runward")];
    let with =
        |more: &[(&'static str, &'static str)]| own.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    let run = place.operator.expect(0, "warm_cache", &with(&[("tables", "items"), ("paths", "/summary")]));
    assert!(warm(&place) >= pages, "{} of {pages} pages are in memory", warm(&place));
    place.saw("S2-53", &run, "tables");
    let redis = |words: &[&str]| place.stack.redis.command(words);
    assert_eq!(redis(&["get", "response:/summary"]), "{\"count\": 20001}");
    place.saw("S2-53", &run, "answers");

    let never = place.operator.expect(1, "warm_cache", &with(&[("paths", "/health")]));
    assert!(never.text.contains("there is no header x-cache"), "{}", never.text);
    let typo = place.operator.expect(1, "warm_cache", &with(&[("tables", "itmes")]));
    assert!(typo.text.contains("there is no table itmes"), "{}", typo.text);
    place.stack.sql("insert into items (name) select repeat('x', 1000) || n from generate_series(1, 30000) n");
    let large = place.operator.expect(1, "warm_cache", &with(&[("tables", "items")]));
    assert!(large.text.contains("the first would push out the last"), "{}", large.text);
}
