//! Deployments: programs under a supervisor, and a whole release on a host.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Done, finish, repository, wait};
use crate::operator::Run;
use crate::place::Place;

/// A repository of the demo service with a tag for each version, and what a deployment has to know.
struct Host {
    place: Place,
}

impl Host {
    fn new() -> Host {
        let place = Place::empty();
        let repository = place.stack.path("app.git");
        let source = crate::harness::repository().join("tests/stack/service");
        done(Command::new("cp").arg("-r").arg(source).arg(&repository));
        place.stack.link("api.sock", "run/live.sock");
        let host = Host { place };
        host.git(&["init", "--quiet"]);
        host.tag("1.0.0");
        host
    }

    fn git(&self, words: &[&str]) {
        let who = ["-c", "user.name=release", "-c", "user.email=release@localhost"];
        done(Command::new("git").current_dir(self.place.stack.path("app.git")).args(who).args(words));
    }

    fn tag(&self, version: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", version]);
        self.git(&["tag", version]);
    }

    fn deploy(&self, code: i32, version: &str, more: &[(&str, &str)]) -> Run {
        let stack = &self.place.stack;
        let [bin, wheels, redis] =
            [stack.bin(), stack.wheels(), stack.redis.socket()].map(|it| it.display().to_string());
        let repository = format!("file://{}", stack.path("app.git").display());
        let (url, database, root) = (stack.url(), stack.database(), stack.folder().display().to_string());
        let sqlalchemy = stack.database_url();
        let mut params = vec![
            ("root", root.as_str()),
            ("repository", &repository),
            ("version", version),
            ("installer", "uv"),
            ("wheels", &wheels),
            ("database_url", &sqlalchemy),
            ("database", &database),
            ("redis_socket", &redis),
            ("supervisor", &bin),
            ("workers", "1"),
            ("url", &url),
        ];
        params.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        params.extend(more);
        self.place.operator.expect(code, "deploy_host", &params)
    }

    fn current(&self) -> String {
        fs::read_link(self.place.stack.path("current")).map(|to| to.display().to_string()).unwrap_or_default()
    }
}

fn done(command: &mut Command) -> Done {
    let done = finish(command);
    assert_eq!(done.code, 0, "{command:?}: {}{}", done.stdout, done.stderr);
    done
}

/// The command lines of all processes, with their parents.
fn processes() -> String {
    done(Command::new("ps").args(["-eo", "pid,ppid,args"])).stdout
}

#[test]
fn three_programs_run_under_a_supervisor_and_do_their_work() {
    let place = Place::empty();
    place.stack.release("1.0.0");
    place.stack.migrate("1.0.0");
    place.stack.link("releases/1.0.0", "current");
    place.stack.link("api.sock", "run/live.sock");
    let run = place.run(0, "deploy_supervisor", &[("log_level", "DEBUG")]);

    assert_eq!(place.version(), "1.0.0");
    let root = place.stack.folder().display().to_string();
    let all = processes();
    let gunicorns: Vec<&str> = all.lines().filter(|line| line.contains("gunicorn.conf.py")).collect();
    let of_here = |pid: &str| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&root));
    let here = gunicorns.iter().filter(|line| of_here(line.split_whitespace().next().unwrap())).count();
    assert_eq!(here, 5, "one that watches, four that work: {gunicorns:?}");
    place.saw("S0-07 S4-16 S4-17", &run, "start");

    // The clock gives the worker something to do every second.
    wait("the worker to work", || place.stack.sql("select count(*) from items where name = 'heartbeat'") != "0");
    place.saw("S1-07 S1-08", &run, "start");
    for program in ["api", "worker", "beat"] {
        assert_eq!(place.stack.state(program), "RUNNING");
    }
    place.saw("S1-10", &run, "start");
    for log in ["log/app.log", "log/celery.log", "log/beat.log", "log/nginx-access.log"] {
        assert!(!fs::read(place.stack.path(log)).unwrap().is_empty(), "{log} is empty");
    }
    place.saw("S1-25", &run, "api");
    place.stack.get("/items?name=x");
    assert!(fs::read_to_string(place.stack.path("log/app.log")).unwrap().contains("\"level\": \"DEBUG\""));
    place.saw("S1-35", &run, "api");

    // A configuration that does not come up is taken back.
    fs::write(place.stack.path("current/unhealthy"), "").unwrap();
    place.run(6, "deploy_supervisor", &[("workers", "1"), ("healthy_seconds", "2")]);
    let conf = fs::read_to_string(place.stack.path("conf.d/app.conf")).unwrap();
    assert!(conf.contains("WORKERS=\"4\""), "{conf}");
    assert_eq!(place.stack.state("api"), "RUNNING");
}

#[test]
fn the_exit_code_of_the_supervisor_says_nothing_about_a_program_that_crashes() {
    let place = Place::empty();
    let conf = "[program:crashes]\ncommand=/bin/false\nautostart=false\nstartretries=1000\nstartsecs=3600\n";
    fs::write(place.stack.path("conf.d/crashes.conf"), conf).unwrap();
    place.stack.supervisorctl(&["update"]);
    let ctl = |words: &[&str]| {
        let config = place.stack.path("supervisord.conf");
        finish(Command::new(place.stack.bin().join("supervisorctl")).arg("-c").arg(config).args(words))
    };
    // The wrong way, as in the guides.
    ctl(&["start", "crashes"]);
    let mut status = ctl(&["status", "crashes"]);
    wait("it to crash", || {
        status = ctl(&["status", "crashes"]);
        status.stdout.contains("BACKOFF")
    });
    assert_eq!(status.code, 0, "as if all were well: {}", status.stdout);
    ctl(&["stop", "crashes"]);
    assert_eq!(ctl(&["pid", "crashes"]).stdout.trim(), "0", "kill -9 0 is one's own process group");

    // The right way reads the word.
    let library = repository().join("runbooks/lib/supervisor.sh");
    let script = format!(
        "set -euo pipefail; CONFIG={} BIN={}; . {}; start_anew crashes",
        place.stack.path("supervisord.conf").display(),
        place.stack.bin().display(),
        library.display()
    );
    let right = finish(Command::new("bash").args(["-c", &script]));
    assert!(right.code != 0 && right.stderr.contains("does not stay up"), "{}{}", right.stdout, right.stderr);
}

#[test]
fn a_release_is_deployed_and_one_that_is_not_well_is_taken_back() {
    let host = Host::new();
    let place = &host.place;
    let first = host.deploy(0, "1.0.0", &[("debug", "true")]);
    assert_eq!((host.current().as_str(), place.version().as_str()), ("releases/1.0.0", "1.0.0"));
    let release = place.stack.path("releases/1.0.0");
    done(Command::new("git").args(["-C"]).arg(&release).args(["describe", "--tags", "--exact-match"]));
    place.saw("S3-04 S4-04", &first, "fetch");
    let of_its_own = "import fastapi, sys; sys.exit(not fastapi.__file__.startswith(sys.prefix))";
    done(Command::new(release.join("venv/bin/python")).args(["-c", of_its_own]));
    place.saw("S0-02 S3-03", &first, "install");
    let env = fs::read_to_string(release.join(".env")).unwrap();
    for line in
        ["DEBUG=true", "LOG_LEVEL=INFO", "API_WORKERS=1", &format!("DATABASE_URL={}", place.stack.database_url())]
    {
        assert!(env.contains(line), "{line}: {env}");
    }
    place.saw("S0-03 S1-03 S2-03 S3-12 S4-06", &first, "settings");
    let (_, summary) = place.stack.get("/summary");
    let ttl: u32 = place.stack.redis.command(&["ttl", "response:/summary"]).parse().unwrap();
    assert!((3000..=3600).contains(&ttl), "{ttl}");
    place.stack.sql("insert into items (name) values ('later')");
    assert_eq!(place.stack.get("/summary").1, summary, "what is in the cache is served");
    place.stack.redis.command(&["expire", "response:/summary", "0"]);
    assert_ne!(place.stack.get("/summary").1, summary, "and not for longer than that");
    place.saw("S4-18", &first, "settings");
    assert_eq!(place.stack.sql("select version_num from alembic_version"), "0004");
    place.saw("S1-04 S3-09", &first, "migrate");
    place.saw("S2-46", &first, "start");
    place.saw("S2-47", &first, "healthy");

    // The next one brings a migration, and crashes as it starts.
    let head = place.stack.sql("select version_num from alembic_version");
    let next = "from alembic import op\nrevision = '9001'\ndown_revision = 'HEAD'\n\n\ndef upgrade():\n    pass\n\n\n\
                def downgrade():\n    pass\n"
        .replace("HEAD", &head);
    fs::write(place.stack.path("app.git/migrations/versions/9001_next.py"), &next).unwrap();
    let main = place.stack.path("app.git/app/main.py");
    let well = fs::read_to_string(&main).unwrap();
    fs::write(&main, format!("{well}\nraise RuntimeError('no such setting')\n")).unwrap();
    host.tag("1.1.0");
    let failed = host.deploy(6, "1.1.0", &[("healthy_seconds", "2")]);
    assert_eq!((host.current().as_str(), place.version().as_str()), ("releases/1.0.0", "1.0.0"));
    assert_eq!(place.stack.sql("select version_num from alembic_version"), head);
    assert!(!place.stack.path("releases/1.1.0").exists(), "what was built is gone");
    for program in ["api", "worker", "beat"] {
        assert_eq!(place.stack.state(program), "RUNNING");
    }
    place.saw("S2-21", &failed, "switch");

    // Mended, it goes into service; whatever the link of before, which somebody made by hand, looks like.
    place.stack.link(release.to_str().unwrap(), "current");
    fs::write(&main, &well).unwrap();
    host.tag("1.1.1");
    let mended = host.deploy(0, "1.1.1", &[]);
    assert_eq!(mended.status("tidy"), "succeeded", "{}", mended.text);
    assert!(release.exists(), "what served before stays");
    assert_eq!((host.current().as_str(), place.version().as_str()), ("releases/1.1.1", "1.1.1"));
    assert_eq!(place.stack.sql("select version_num from alembic_version"), "9001");

    // One whose tables cannot be taken back is not deleted with the only thing that could do it.
    let stuck = next
        .replace("9001", "9002")
        .replace(&head, "9001")
        .replace("downgrade():\n    pass", "downgrade():\n    raise ValueError");
    fs::write(place.stack.path("app.git/migrations/versions/9002_stuck.py"), stuck).unwrap();
    fs::write(&main, format!("{well}\nraise RuntimeError('no such setting')\n")).unwrap();
    host.tag("1.2.0");
    let stuck = host.deploy(7, "1.2.0", &[("healthy_seconds", "2")]);
    assert_eq!((host.current().as_str(), place.version().as_str()), ("releases/1.1.1", "1.1.1"));
    assert_eq!((stuck.status("migrate").as_str(), stuck.status("fetch").as_str()), ("held", "held"), "{}", stuck.text);
    assert!(stuck.text.contains("which only") && stuck.text.contains("knows: it is left"), "{}", stuck.text);
    assert!(place.stack.path("releases/1.2.0/venv/bin/alembic").exists());
}

#[test]
fn a_release_is_installed_by_pip_for_another_user() {
    let host = Host::new();
    let owner = if crate::harness::is_root() { "nobody" } else { "" };
    let run = host.deploy(0, "1.0.0", &[("installer", "pip"), ("owner", owner)]);
    let release = host.place.stack.path("releases/1.0.0");
    let listed = done(Command::new(release.join("venv/bin/pip")).args(["list", "--format", "freeze"])).stdout;
    assert!(listed.contains("fastapi==") && listed.contains("celery=="), "{listed}");
    host.place.saw("S1-02 S4-05", &run, "install");
    if !owner.is_empty() {
        let of = done(Command::new("stat").args(["-c", "%U"]).arg(release.join("app/main.py"))).stdout;
        assert_eq!(of.trim(), "nobody");
        host.place.saw("S4-04", &run, "fetch");
    }
}

#[test]
fn a_process_of_the_pool_that_dies_comes_back_and_nobody_is_turned_away() {
    let place = Place::serving();
    let port = place.stack.another_port().to_string();
    let run = place.run(0, "scale_out", &[("port", &port), ("instances", "3")]);
    let url = format!("http://127.0.0.1:{port}");
    let status = || {
        let done = finish(Command::new("curl").args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("{url}/health"),
        ]));
        done.stdout
    };
    for n in 0..3 {
        assert_eq!(place.stack.ask(&format!("pool_{n}.sock"), "/health").0, 200);
    }
    place.saw("S1-06", &run, "well");
    let conf = fs::read_to_string(place.stack.path("sites/pool.conf")).unwrap();
    assert!(conf.contains("least_conn") && conf.matches("weight=1").count() == 3, "{conf}");
    assert_eq!(status(), "200");
    place.saw("S3-46 S4-30", &run, "take_over");

    let pid = place.stack.supervisorctl(&["pid", "pool_1"]);
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    for _ in 0..20 {
        assert_eq!(status(), "200");
    }
    wait("it to come back", || place.stack.ask("pool_1.sock", "/health").0 == 200);
    place.saw("S2-08", &run, "answers");

    let three = place.stack.supervisorctl(&["pid", "pool_0", "pool_1", "pool_2"]);
    let more = place.run(0, "scale_out", &[("port", &port), ("instances", "4")]);
    assert_eq!(place.stack.ask("pool_3.sock", "/health").0, 200);
    assert_eq!(place.stack.supervisorctl(&["pid", "pool_0", "pool_1", "pool_2"]), three, "the others serve on");
    place.saw("S3-45", &more, "start");
    let fewer = place.run(0, "scale_out", &[("port", &port), ("instances", "2")]);
    assert_eq!((place.stack.ask("pool_2.sock", "/health").0, status()), (0, "200".to_owned()));
    assert_eq!(place.stack.ask("pool_1.sock", "/health").0, 200);
    place.saw("S1-39", &fewer, "start");

    // One after the other is started again, the first of which is just coming up; a release that is not well stops at the first.
    let pids = || place.stack.supervisorctl(&["pid", "pool_0", "pool_1"]);
    let dead = Pid::from_raw(place.stack.supervisorctl(&["pid", "pool_0"]).parse().unwrap());
    kill(dead, Signal::SIGKILL).unwrap();
    wait("it to be coming up", || place.stack.state("pool_0") == "STARTING");
    let (before, instances) = (pids(), ("instances", "pool_0,pool_1"));
    place.stack.link("releases/1.1.0", "current");
    let rolled = place.run(0, "rolling_restart", &[instances]);
    assert!(before.lines().all(|pid| !pids().contains(pid)), "{before} {}", pids());
    for n in 0..2 {
        assert!(place.stack.ask(&format!("pool_{n}.sock"), "/health").1.contains("\"1.1.0\""));
    }
    place.saw("S2-20", &rolled, "restart");
    let second = place.stack.supervisorctl(&["pid", "pool_1"]);
    let sick = place.stack.release("1.2.0");
    fs::write(sick.join("unhealthy"), "").unwrap();
    place.stack.link("releases/1.2.0", "current");
    place.run(1, "rolling_restart", &[instances, ("healthy_seconds", "3")]);
    assert_eq!(place.stack.supervisorctl(&["pid", "pool_1"]), second, "the second was left alone");
    assert!(place.stack.ask("pool_1.sock", "/health").1.contains("\"1.1.0\""));
}
