//! A cluster: one Postgres, workers in state folders of their own, and everything that can happen between them.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_services::{Disk, Postgres, Redis};
use serde_json::Value;

use crate::harness::{Done, Scene, finish, kill_9, step_of, wait};

/// Divides every pace of the cluster, where a story would wait for half a minute.
const FAST: &str = "20";

pub struct Cluster {
    pub scene: Scene,
    postgres: Postgres,
    url: String,
    redis: Option<String>,
    pace: Option<&'static str>,
}

/// A member, killed when the story is over.
pub struct Member {
    pub process: Child,
    pub log: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Member {
    pub fn kill_9(&mut self) {
        kill_9(&mut self.process);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("it runs");
    }

    /// Asks it to end, and waits until it has.
    pub fn end(self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    pub fn wait(mut self) -> i32 {
        self.process.wait().expect("it ends").code().unwrap_or(-1)
    }
}

impl Cluster {
    pub fn new() -> Cluster {
        let (scene, postgres) = (Scene::new(), Postgres::start());
        let url = postgres.database("runward");
        let cluster = Cluster { scene, postgres, url, redis: None, pace: None };
        cluster.expect(0, &["db", "migrate"]);
        cluster
    }

    pub fn fast(self) -> Cluster {
        Cluster { pace: Some(FAST), ..self }
    }

    pub fn with(self, redis: &Redis) -> Cluster {
        Cluster { redis: Some(redis.url()), ..self }
    }

    /// The binary on the host of the person who asks.
    pub fn runward(&self) -> Command {
        let mut command = self.scene.runward();
        command.env("RUNWARD_DATABASE_URL", &self.url);
        if let Some(redis) = &self.redis {
            command.env("RUNWARD_REDIS_URL", redis);
        }
        if let Some(pace) = self.pace {
            command.env("RUNWARD_TEST_PACE", pace);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        finish(self.runward().args(args))
    }

    pub fn expect(&self, code: i32, args: &[&str]) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, code, "{args:?}\n{}\n{}\n{}", done.stdout, done.stderr, self.logs());
        done
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        let done = self.run(&args);
        serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{args:?}\n{}{}", done.stdout, done.stderr))
    }

    /// Triggers a run and leaves it to the workers; its id.
    pub fn trigger(&self, args: &[&str]) -> String {
        let args: Vec<&str> = ["run", "--detach"].iter().chain(args).copied().collect();
        self.expect(0, &args).stdout.lines().next().unwrap_or_default().trim().to_owned()
    }

    /// A member in a state folder of its own. A name that was used before is the same host again.
    pub fn member(&self, kind: &str, name: &str, args: &[&str]) -> Member {
        self.begin(self.runward(), kind, name, args)
    }

    /// The same for somebody on a disk of its own.
    pub fn member_on(&self, disk: &Disk, kind: &str, name: &str, args: &[&str]) -> Member {
        let (plain, mut command) = (self.runward(), disk.enter(&self.scene.path("")));
        for (variable, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        command.arg(plain.get_program());
        self.begin(command, kind, name, args)
    }

    fn begin(&self, mut command: Command, kind: &str, name: &str, args: &[&str]) -> Member {
        let log = format!("{name}.log");
        let mut out = std::fs::OpenOptions::new();
        let out = out.create(true).append(true).open(self.scene.path(&log)).expect("a log");
        let err = out.try_clone().expect("the same file");
        command.env("RUNWARD_STATE", self.state(name)).arg(kind).args(["--name", name]).args(args);
        let process = command.env("RUNWARD_LOG", "debug").stdout(out).stderr(err).spawn().expect("the binary starts");
        Member { process, log }
    }

    pub fn worker(&self, name: &str, args: &[&str]) -> Member {
        let before = self.scene.read(&format!("{name}.log")).matches("joined the cluster").count();
        let worker = self.member("worker", name, args);
        wait(&format!("{name} to join\n{}", self.logs()), || {
            self.scene.read(&worker.log).matches("joined the cluster").count() > before
        });
        worker
    }

    pub fn state(&self, name: &str) -> PathBuf {
        self.scene.path(&format!("state-{name}"))
    }

    pub fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.scene.path("")).into_iter().flatten().flatten();
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"));
        logs.map(|log| {
            let name = log.file_name().to_string_lossy().into_owned();
            format!("--- {name}\n{}", self.scene.read(&name))
        })
        .collect()
    }

    /// Everything that is in the database, as text.
    pub fn dump(&self) -> String {
        let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
        let tables = self.postgres.sql("runward", tables);
        let rows = tables.lines().map(|table| self.postgres.sql("runward", &format!("COPY \"{table}\" TO STDOUT")));
        rows.collect::<Vec<_>>().join("\n")
    }

    /// Keeps everybody from recording anything of a run.
    pub fn hold(&self, run: &str) -> Child {
        let sql = format!("BEGIN; SELECT id FROM runs WHERE id = '{run}' FOR UPDATE; SELECT pg_sleep(600)");
        let mut psql = Command::new("psql");
        psql.arg(&self.url).args(["-c", &sql]).stdout(Stdio::null()).stderr(Stdio::null());
        let psql = psql.spawn().expect("psql starts");
        let holds = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        wait("the run to be held", || self.postgres.sql("runward", holds).trim() == "1");
        psql
    }

    pub fn let_go(&self, mut psql: Child) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        self.postgres.sql("runward", end);
        psql.wait().expect("it ends");
    }

    fn status(&self, run: &str) -> String {
        self.json(&["show", run])["run"]["status"].as_str().unwrap_or_default().to_owned()
    }

    pub fn wait_for_end(&self, run: &str) -> Value {
        wait(&format!("run {run} to end\n"), || {
            ["succeeded", "failed", "cancelled", "timed_out"].contains(&self.status(run).as_str())
        });
        self.json(&["show", run])
    }
}

#[test]
fn one_worker_without_redis_is_a_whole_cluster() {
    let cluster = Cluster::new();
    cluster.scene.file("x.yaml", "steps:\n  - {id: a, run: echo one}\n  - {id: b, run: echo two}\n");
    let _worker = cluster.worker("alpha", &[]);
    cluster.expect(0, &["run", "x.yaml"]);
    let show = cluster.json(&["show", "last"]);
    assert_eq!((&show["run"]["status"], &step_of(&show, "b")["status"]), (&"succeeded".into(), &"succeeded".into()));
}

/// Each start of a step is a line of this file, whoever counts it otherwise.
pub const EFFECTS: &str = "params: {dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\n";

/// A step that says that it began, and ends when it may.
pub const WAITS: &str = "    run: |\n      echo $RUNWARD_STEP >> \"$DIR/effects\"\n      until test -e \"$DIR/go\"; do sleep 0.05; done\n      echo done with $RUNWARD_STEP\n";

#[test]
fn two_workers_with_labels_share_a_run() {
    let cluster = Cluster::new();
    let step = |id: &str, label: &str| {
        format!("  - id: {id}\n    needs: []\n    runs-on: [{label}]\n    run: echo {id} >> \"$DIR/effects\"\n")
    };
    let last = "  - id: last\n    needs: [on_db, on_web]\n    run: echo last >> \"$DIR/effects\"\n";
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n{}{}{last}", step("on_db", "db"), step("on_web", "web")));
    let _db = cluster.worker("dora", &["--labels", "db,linux"]);
    let _web = cluster.worker("willy", &["--labels", "web"]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    let show = cluster.wait_for_end(&run);
    assert_eq!(show["run"]["status"], "succeeded", "{show}\n{}", cluster.logs());
    assert_eq!(cluster.scene.read("effects").lines().count(), 3);
    for (name, step) in [("dora", "on_db"), ("willy", "on_web")] {
        let log = cluster.scene.read(&format!("{name}.log"));
        assert!(log.lines().any(|line| line.contains("claimed") && line.contains(step)), "{}", cluster.logs());
    }
}

#[test]
fn a_worker_that_was_killed_in_the_middle_of_a_step_finds_it_again() {
    let cluster = Cluster::new();
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n{WAITS}  - {{id: b, run: echo two}}\n"));
    let mut worker = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("effects", "a");
    worker.kill_9();
    let _again = cluster.worker("alpha", &[]);
    wait("the step to be adopted", || cluster.scene.read("alpha.log").contains("adopted"));
    let workers = cluster.expect(0, &["workers"]).stdout;
    assert_eq!(
        (workers.matches("takes steps").count(), workers.contains("and 1 not there any more")),
        (1, true),
        "{workers}"
    );
    cluster.scene.file("go", "");
    let show = cluster.wait_for_end(&run);
    assert_eq!(show["run"]["status"], "succeeded", "{}", cluster.logs());
    assert_eq!(cluster.scene.read("effects"), "a\n", "started once");
}

#[test]
fn what_runs_goes_on_without_a_worker_that_was_asked_to_end() {
    let cluster = Cluster::new();
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n{WAITS}"));
    let worker = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("effects", "a");
    assert_eq!(worker.end(), 0, "{}", cluster.logs());
    assert_eq!(cluster.status(&run), "running");
    let workers = cluster.expect(0, &["workers"]).stdout;
    assert!(workers.contains("draining: ends 1 step") && !workers.contains("takes steps"), "{workers}");
    cluster.scene.file("go", "");
    let _again = cluster.worker("alpha", &[]);
    let show = cluster.wait_for_end(&run);
    assert_eq!(show["run"]["status"], "succeeded", "{}", cluster.logs());
    assert_eq!(cluster.scene.read("effects"), "a\n", "started once");
}

#[test]
fn the_journals_of_a_worker_are_no_litter_to_the_check_of_a_ledger_beside_them() {
    let cluster = Cluster::new();
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n{WAITS}"));
    let _worker = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("effects", "a");
    let beside =
        |args: &[&str]| finish(cluster.scene.runward().env("RUNWARD_STATE", cluster.state("alpha")).args(args));
    cluster.scene.file("own.yaml", "steps:\n  - {id: own, run: 'true'}\n");
    assert_eq!(beside(&["run", "own.yaml"]).code, 0);
    let check = beside(&["db", "check"]);
    assert_eq!((check.code, check.stdout.contains("all is well")), (0, true), "{}{}", check.stdout, check.stderr);
    // The folder of a run of its own that it does not know is still found.
    let stray = cluster.state("alpha").join("runs/nobody");
    std::fs::create_dir_all(stray.join("attempts")).unwrap();
    std::fs::write(stray.join("driver.lock"), "17").unwrap();
    let check = beside(&["db", "check"]);
    assert_eq!((check.code, check.stdout.contains("run nobody: it has a folder")), (1, true), "{}", check.stdout);
    cluster.scene.file("go", "");
    cluster.wait_for_end(&run);
}

#[test]
fn a_worker_waits_for_its_steps_if_it_is_told_to() {
    let cluster = Cluster::new();
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n{WAITS}  - {{id: b, run: echo two}}\n"));
    let worker = cluster.worker("alpha", &["--drain-timeout", "2m"]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("effects", "a");
    worker.signal(Signal::SIGTERM);
    cluster.scene.wait_for("alpha.log", "waiting for what runs");
    cluster.scene.file("go", "");
    assert_eq!(worker.wait(), 0, "{}", cluster.logs());
    let show = cluster.json(&["show", &run]);
    assert_eq!(step_of(&show, "a")["status"], "succeeded", "{show}");
    assert_eq!(step_of(&show, "b")["status"], "ready", "it took nothing new: {show}");
}

#[test]
fn the_steps_of_a_worker_that_is_gone_for_good_are_lost_or_run_elsewhere() {
    let cluster = Cluster::new().fast();
    let waits = WAITS.replace("test -e \"$DIR/go\"", "test \"$(wc -l < \"$DIR/effects\")\" -ge 3");
    cluster.scene.file(
        "x.yaml",
        format!(
            "{EFFECTS}steps:\n  - id: again\n    needs: []\n    retry: {{attempts: 2, delay: 10ms}}\n{waits}  - id: once\n    needs: []\n    allow-failure: true\n{WAITS}"
        ),
    );
    let mut gone = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    wait("both to run", || cluster.scene.read("effects").lines().count() == 2);
    gone.kill_9();
    let _other = cluster.worker("beta", &[]);
    wait("the one that may to run elsewhere", || cluster.scene.read("effects").lines().count() == 3);
    let status = |unit: &str| step_of(&cluster.json(&["show", &run]), unit)["status"].clone();
    wait("the other one to be lost", || status("once") == "lost");
    let show = cluster.wait_for_end(&run);
    assert_eq!(step_of(&show, "again")["status"], "succeeded", "{show}");
    let starts = cluster.scene.read("effects");
    assert_eq!(starts.lines().filter(|line| *line == "once").count(), 1, "{starts}");
    // Also of the attempt that was followed by a better one.
    let page = cluster.expect(0, &["show", &run]).stdout;
    let why = "lost: its worker on alpha (process ";
    assert!(page.matches(why).count() == 2 && page.contains(") was last heard at 20"), "{page}");
}

#[test]
fn two_workers_in_one_state_folder_are_refused() {
    let cluster = Cluster::new();
    let mut first = cluster.worker("alpha", &[]);
    let second = finish(cluster.runward().env("RUNWARD_STATE", cluster.state("alpha")).arg("worker"));
    assert_eq!(second.code, 2, "{}", second.stderr);
    assert!(
        second.stderr.contains(&first.process.id().to_string()) && second.stderr.contains("--state"),
        "{}",
        second.stderr
    );
    first.kill_9();
    cluster.worker("alpha", &[]);
}

#[test]
fn a_worker_without_a_database_says_what_it_needs() {
    let scene = Scene::new();
    let done = scene.run(&["worker"]);
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("RUNWARD_DATABASE_URL"), "{}", done.stderr);
    let done = finish(scene.runward().env("RUNWARD_DATABASE_URL", "postgres:///x").args(["worker", "--labels", "a b"]));
    assert!(done.code == 2 && done.stderr.contains("`a b` must be letters"), "{}", done.stderr);
}

#[test]
fn children_approvals_and_timers_go_on_across_workers() {
    let cluster = Cluster::new();
    cluster.scene.file(
        "child.yaml",
        "params: {dir: {type: string, required: true}}\nsteps:\n  - id: on_web\n    runs-on: [web]\n    env: {DIR: '${{ params.dir }}'}\n    run: echo child >> \"$DIR/effects\"\n",
    );
    cluster.scene.file(
        "x.yaml",
        format!(
            "{EFFECTS}steps:\n  - id: flaky\n    runs-on: [db]\n    retry: {{attempts: 3, delay: 50ms}}\n    run: echo flaky >> \"$DIR/effects\"; test \"$(wc -l < \"$DIR/effects\")\" -ge 2\n  - id: pause\n    wait: {{for: 100ms}}\n  - id: call\n    runbook: ./child.yaml\n    with: {{dir: '${{{{ params.dir }}}}'}}\n  - id: agree\n    approve: {{}}\n  - id: last\n    runs-on: [db]\n    run: echo last >> \"$DIR/effects\"\n"
        ),
    );
    let _db = cluster.worker("dora", &["--labels", "db"]);
    let _web = cluster.worker("willy", &["--labels", "web"]);
    let _server = cluster.member("server", "sam", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    wait("the approval to be asked for", || step_of(&cluster.json(&["show", &run]), "agree")["status"] == "waiting");
    cluster.expect(0, &["approve", &run, "agree"]);
    let show = cluster.wait_for_end(&run);
    assert_eq!(show["run"]["status"], "succeeded", "{show}\n{}", cluster.logs());
    assert_eq!(cluster.scene.read("effects"), "flaky\nflaky\nchild\nlast\n");
}

/// Two steps, of which each may start once.
const TWO: &str = "params: {n: {type: string, required: true}, dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}', N: '${{ params.n }}'}}\nsteps:\n  - {id: a, run: 'echo a $N >> \"$DIR/effects\"'}\n  - {id: b, run: 'echo b $N >> \"$DIR/effects\"'}\n";

impl Cluster {
    fn trigger_two(&self, n: usize) -> String {
        self.trigger(&["x.yaml", "-p", &self.scene.dir(), "-p", &format!("n={n}")])
    }

    /// Every run has succeeded, and no step has started twice.
    fn all_are_done_once(&self, runs: &[String]) {
        for run in runs {
            let show = self.wait_for_end(run);
            assert_eq!(show["run"]["status"], "succeeded", "{show}\n{}", self.logs());
        }
        let effects = self.scene.read("effects");
        let mut starts: Vec<&str> = effects.lines().collect();
        starts.sort_unstable();
        let all = starts.len();
        starts.dedup();
        assert_eq!((starts.len(), all), (runs.len() * 2, runs.len() * 2), "{effects}");
    }
}

#[test]
fn whatever_becomes_of_redis_every_run_finishes() {
    let mut redis = Redis::start();
    let cluster = Cluster::new().with(&redis);
    cluster.scene.file("x.yaml", TWO);
    let _workers = [cluster.worker("alpha", &[]), cluster.worker("beta", &[])];
    let mut runs = vec![cluster.trigger_two(0)];
    redis.command(&["FLUSHALL"]);
    runs.push(cluster.trigger_two(1));
    redis.freeze();
    runs.push(cluster.trigger_two(2));
    redis.thaw();
    redis.stop(runward_services::Signal::Kill);
    runs.push(cluster.trigger_two(3));
    cluster.all_are_done_once(&runs);
    redis.start_again();
    wait("the workers to hear hints again", || cluster.logs().contains("hints are delivered again"));
    for n in 0..200 {
        let body = format!("{{\"v\":1,\"run\":\"no-such-run-{n}\",\"label\":\"*\",\"dispatch\":{n}}}");
        redis.command(&["RPUSH", "runward:hints:%2A:active", &body]);
    }
    runs.push(cluster.trigger_two(4));
    cluster.all_are_done_once(&runs);
}

#[test]
fn a_database_that_crashes_under_twenty_runs_loses_none_and_doubles_none() {
    let mut cluster = Cluster::new();
    cluster.scene.file("x.yaml", TWO);
    let _workers = [cluster.worker("alpha", &["--concurrency", "4"]), cluster.worker("beta", &["--concurrency", "4"])];
    let runs: Vec<String> = (0..20).map(|n| cluster.trigger_two(n)).collect();
    wait("some of it to be done", || cluster.scene.read("effects").lines().count() > 5);
    cluster.postgres.stop(runward_services::Signal::Quit);
    cluster.postgres.start_again();
    cluster.all_are_done_once(&runs);
    assert!(!cluster.logs().contains(" lost "), "{}", cluster.logs());
}

#[test]
fn a_worker_that_was_frozen_for_too_long_begins_anew_and_a_step_without_retry_is_not_started_again() {
    let cluster = Cluster::new().fast();
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n{WAITS}"));
    let frozen = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("effects", "a");
    frozen.signal(Signal::SIGSTOP);
    let _server = cluster.member("server", "sam", &[]);
    cluster.scene.wait_for("sam.log", "taken for dead");
    frozen.signal(Signal::SIGCONT);
    cluster.scene.wait_for("alpha.log", "it begins anew");
    cluster.scene.file("go", "");
    let show = cluster.wait_for_end(&run);
    assert_eq!(cluster.scene.read("effects"), "a\n");
    // On a machine that is slow enough it was given up before it was adopted.
    let status = step_of(&show, "a")["status"].clone();
    assert!(status == "succeeded" || status == "lost", "{show}\n{}", cluster.logs());
}

#[test]
fn runs_of_one_group_never_overlap_whoever_carries_them_out() {
    let cluster = Cluster::new();
    cluster.scene.file(
        "x.yaml",
        format!(
            "concurrency: {{group: one}}\n{EFFECTS}steps:\n  - id: a\n    run: |\n      mkdir \"$DIR/alone\"\n      echo in >> \"$DIR/effects\"\n      rmdir \"$DIR/alone\"\n"
        ),
    );
    let _workers = [cluster.worker("alpha", &[]), cluster.worker("beta", &[])];
    let runs: Vec<String> = (0..6).map(|_| cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()])).collect();
    for run in runs {
        assert_eq!(cluster.wait_for_end(&run)["run"]["status"], "succeeded", "{}", cluster.logs());
    }
    assert_eq!(cluster.scene.read("effects").lines().count(), 6);
}

#[test]
fn what_a_step_printed_is_complete_after_its_worker_was_killed() {
    let cluster = Cluster::new();
    let prints =
        WAITS.replace("sleep 0.05", "echo line $((n += 1)); sleep 0.02").replace("run: |\n", "run: |\n      n=0\n");
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n{prints}"));
    let mut worker = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("effects", "a");
    wait("some of it to be read", || cluster.run(&["logs", &run]).stdout.contains("line 3"));
    worker.kill_9();
    let _again = cluster.worker("alpha", &[]);
    cluster.scene.wait_for("alpha.log", "adopted");
    cluster.scene.file("go", "");
    cluster.wait_for_end(&run);
    let printed = cluster.expect(0, &["logs", &run, "a", "--raw"]).stdout;
    let lines: Vec<&str> = printed.lines().collect();
    let (last, numbered) = lines.split_last().expect("it printed something");
    assert_eq!(*last, "done with a");
    numbered.iter().enumerate().for_each(|(n, line)| assert_eq!(*line, format!("line {}", n + 1)));
}

/// That was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The answer of a member: its status and its body.
pub fn ask(port: u16, path: &str) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[test]
fn a_member_says_whether_it_lives_and_whether_steps_may_be_expected_of_it() {
    let mut cluster = Cluster::new().fast();
    let port = free_port();
    let _worker = cluster.worker("alpha", &["--labels", "db", "--listen", &format!("127.0.0.1:{port}")]);
    wait("it to be ready", || ask(port, "/readyz").is_some_and(|(status, _)| status == 200));
    let (_, body) = ask(port, "/readyz").unwrap();
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&ready["labels"][0], &ready["concurrency"]), (&"db".into(), &16.into()), "{body}");
    cluster.postgres.stop(runward_services::Signal::Quit);
    wait("it to say that the ledger is away", || ask(port, "/readyz").is_some_and(|(status, _)| status == 503));
    let (status, _) = ask(port, "/healthz").unwrap();
    assert_eq!(status, 200, "it lives, and waits");
    cluster.postgres.start_again();
    wait("it to be ready again", || ask(port, "/readyz").is_some_and(|(status, _)| status == 200));
    assert_eq!(ask(port, "/").unwrap().0, 404);
}
