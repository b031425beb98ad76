//! What is done every morning and every week for a service and its database together.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::dumps::keep_secret;
use crate::harness::{finish, wait};
use crate::operator::Run;
use crate::place::Place;

/// The API with packages of its own, one of which is older than it should be, and a dump of its database.
struct Host {
    place: Place,
    dumps: String,
}

impl Host {
    fn new() -> Host {
        let place = Place::empty();
        let release = place.stack.release("1.0.0");
        place.stack.migrate("1.0.0");
        place.stack.link("releases/1.0.0", "current");
        place.stack.link("api.sock", "run/live.sock");
        keep_secret(&place.operator, "pgpass", "*:*:*:*:nobody asks for it\n");
        let uv = place.stack.bin().join("uv");
        let wheels = place.stack.wheels();
        let steps = format!(
            "set -e; cd '{0}'; '{1}' venv -q --no-config venv; '{1}' pip install -q --no-config --python venv/bin/python --no-index --find-links '{2}' -r requirements.txt",
            release.display(),
            uv.display(),
            wheels.display()
        );
        done(Command::new("bash").args(["-c", &steps]));
        let dumps = place.operator.scene.path("dumps").display().to_string();
        let host = Host { place, dumps };
        let (bin, supervisor) = (host.venv("bin"), host.place.stack.bin().display().to_string());
        let root = host.place.stack.folder().display().to_string();
        let params = [("root", root.as_str()), ("bin", &bin), ("supervisor", &supervisor), ("workers", "1")];
        host.place.operator.expect(0, "deploy_supervisor", &[&params[..], &[("celery_concurrency", "1")]].concat());
        host.database(0, "backup_full", &[("target", &host.dumps)]);
        host
    }

    fn venv(&self, name: &str) -> String {
        self.place.stack.path("current/venv").join(name).display().to_string()
    }

    /// A runbook that is told where the database is.
    fn database(&self, code: i32, runbook: &str, more: &[(&str, &str)]) -> Run {
        let host = self.place.stack.postgres.folder().display().to_string();
        let own = [("host", host.as_str()), ("user", "runward"), ("database", "app")];
        self.place.operator.expect(code, runbook, &[&own[..], more].concat())
    }

    fn morning(&self, code: i32) -> Run {
        let stack = &self.place.stack;
        let [root, redis] = [stack.folder(), &stack.redis.socket()].map(|path| path.display().to_string());
        let (bin, url) = (stack.bin().display().to_string(), stack.url());
        let own =
            [("dumps", self.dumps.as_str()), ("root", &root), ("bin", &bin), ("url", &url), ("redis_socket", &redis)];
        // How full this machine is today is not what this is about.
        let machine = [("max_disk_percent", "100"), ("max_memory_percent", "100")];
        self.database(code, "maintenance_daily", &[&own[..], &machine].concat())
    }

    fn week(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let stack = &self.place.stack;
        let [root, supervisor, wheels, scratch] =
            [stack.folder().to_owned(), stack.bin(), stack.wheels(), stack.postgres.folder().to_owned()]
                .map(|path| path.display().to_string());
        let url = stack.url();
        let own = [("dumps", self.dumps.as_str()), ("root", &root), ("supervisor", &supervisor), ("wheels", &wheels)];
        let own = [&own[..], &[("url", url.as_str()), ("scratch_host", &scratch)]].concat();
        self.database(code, "maintenance_weekly", &[&own[..], more].concat())
    }

    /// What is installed for the service, as Python sees it.
    fn installed(&self, package: &str) -> String {
        let script = format!("import importlib.metadata as m; print(m.version('{package}'))");
        finish(Command::new(self.venv("bin/python")).args(["-c", &script])).stdout.trim().to_owned()
    }
}

fn done(command: &mut Command) {
    let done = finish(command);
    assert_eq!(done.code, 0, "{command:?}: {}{}", done.stdout, done.stderr);
}

fn age(path: &Path, days: u64) {
    let when = SystemTime::now() - Duration::from_secs(days * 86_400 + 60);
    fs::File::options().append(true).open(path).unwrap().set_modified(when).unwrap();
}

#[test]
fn every_morning_service_logs_files_and_backup_are_looked_at() {
    let host = Host::new();
    let stack = &host.place.stack;
    for (name, days) in [("old", 8), ("new", 1)] {
        fs::write(stack.path("tmp").join(name), "x").unwrap();
        age(&stack.path("tmp").join(name), days);
    }
    let well = host.morning(0);
    assert!(!stack.path("tmp/old").exists() && stack.path("tmp/new").exists());
    host.place.saw("S1-42", &well, "temporary");
    assert_eq!(well.output("errors", "errors"), "0");
    host.place.saw("S3-55 S4-37", &well, "judge");

    // The worker is gone, the log complains, the dump is damaged: each is said, once.
    stack.supervisorctl(&["stop", "worker"]);
    let app = stack.path("log/app.log");
    let line = "{\"time\": \"x\", \"level\": \"ERROR\", \"logger\": \"app\", \"message\": \"item 17 is lost\"}\n";
    fs::write(&app, fs::read_to_string(&app).unwrap() + line + &line.replace("17", "18")).unwrap();
    let dump = fs::read_dir(&host.dumps).unwrap().flatten().map(|it| it.path());
    let dump = dump.into_iter().find(|it| it.extension().is_some_and(|end| end == "gz")).unwrap();
    let bytes = fs::read(&dump).unwrap();
    fs::write(&dump, &bytes[..bytes.len() - 9]).unwrap();
    let bad = host.morning(1);
    for wrong in ["2 errors in the logs since", "is damaged", "the service is not well", "2 app.log: ", "broken: queue"]
    {
        assert!(bad.text.contains(wrong), "{wrong}: {}", bad.text);
    }
    host.place.saw("S3-55 S4-37", &bad, "judge");
    fs::write(&dump, bytes).unwrap();
    stack.supervisorctl(&["start", "worker"]);
    host.morning(0); // what was told yesterday is not told again
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn every_week_packages_logs_and_figures_are_put_in_order_and_the_backup_is_proved() {
    let host = Host::new();
    let stack = &host.place.stack;
    let before = host.installed("vine");
    assert!(!before.is_empty());
    // A patch: the release asks for one package more than is installed, and for one less.
    let requirements = stack.path("current/requirements.txt");
    let text = fs::read_to_string(&requirements).unwrap();
    fs::write(&requirements, format!("{text}supervisor==4.3.0\n")).unwrap();
    assert_eq!(host.installed("supervisor"), "");
    for _ in 0..5 {
        assert_eq!(stack.get("/items").0, 200);
    }
    let started = stack.supervisorctl(&["pid", "api"]);
    let week = host.week(0, &[]);
    assert_eq!(host.installed("supervisor"), "4.3.0");
    assert_ne!(stack.supervisorctl(&["pid", "api"]), started, "the programs run with them");
    assert_eq!(stack.get("/ready").0, 200);
    let vacuumed = "select bool_and(last_vacuum is not null and last_analyze is not null) from pg_stat_user_tables";
    wait("the statistics to know", || stack.sql(vacuumed) == "t");
    host.place.saw("S1-42", &week, "vacuum");
    assert!(stack.path("log-archive").exists());
    assert!(week.text.contains("tables have their rows and their checksums"), "the backup is proved: {}", week.text);
    let requests: usize = week.output("review", "requests").parse().unwrap();
    assert!(requests >= 5 && week.output("review", "failed") == "0", "{}", week.text);
    host.place.saw("S2-50 S4-38", &week, "review");

    // Packages that do not work are taken back, with the service as it was.
    fs::write(&requirements, text.lines().filter(|line| !line.starts_with("uvicorn")).collect::<Vec<_>>().join("\n"))
        .unwrap();
    let [root, supervisor, wheels] =
        [stack.folder().to_owned(), stack.bin(), stack.wheels()].map(|path| path.display().to_string());
    let url = stack.url();
    let update = |code: i32, seconds: &str| {
        let own = [
            ("root", root.as_str()),
            ("supervisor", &supervisor),
            ("wheels", &wheels),
            ("url", &url),
            ("programs", "api"),
            ("healthy_seconds", seconds),
        ];
        host.place.operator.expect(code, "update_packages", &own)
    };
    let taken_back = update(6, "2");
    assert_eq!((stack.get("/ready").0, stack.state("api").as_str()), (200, "RUNNING"));
    assert_eq!(host.installed("supervisor"), "4.3.0");
    host.place.saw("S1-42", &taken_back, "keep");
    fs::write(&requirements, format!("{text}supervisor==0.0.1\n")).unwrap();
    let nothing = update(1, "2");
    assert!(nothing.text.contains("what requirements.txt says cannot be installed"), "{}", nothing.text);
    fs::write(&requirements, &text).unwrap();
    // Killed between the two: those of before are back, and what was asked for is done when it is resumed.
    let tools = host.place.operator.scene.path("tools");
    fs::create_dir(&tools).unwrap();
    let kill = "#!/bin/sh\n/bin/mv \"$@\" || exit\n[ \"$*\" != '-T venv venv.before' ] || kill -9 $PPID\n";
    fs::write(tools.join("mv"), kill).unwrap();
    done(Command::new("chmod").arg("+x").arg(tools.join("mv")));
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    host.place.operator.env.borrow_mut().push(("PATH".into(), path));
    let killed = update(6, "300");
    host.place.operator.env.borrow_mut().pop();
    assert_eq!((killed.status("exchange").as_str(), killed.status("keep").as_str()), ("failed", "undone"));
    assert_eq!(host.installed("supervisor"), "4.3.0");
    assert_eq!((stack.get("/ready").0, stack.state("api").as_str()), (200, "RUNNING"));
    let id = killed.show["run"]["id"].as_str().unwrap();
    let resumed = host.place.operator.scene.run(&["resume", id]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.stdout, resumed.stderr);
    let updated = host.place.operator.look(id);
    assert_eq!(host.installed("supervisor"), "");
    assert!(!stack.path("current/venv.before").exists() && !stack.path("current/venv.new").exists());
    host.place.saw("S1-42", &updated, "exchange");
    assert_eq!(update(0, "300").output("build", "changed"), "false");

    // A bad week is told.
    let line = "127.0.0.1 - - [23/Nov/2026:00:00:00 +0000] \"GET /items HTTP/1.1\" 500 0 \"-\" \"x\" 0.001\n";
    let access = stack.path("log/nginx-access.log");
    fs::write(&access, fs::read_to_string(&access).unwrap() + &line.repeat(20)).unwrap();
    let bad = host.week(1, &[]);
    assert!(bad.text.contains("answers were 5xx, more than 1.0 %"), "{}", bad.text);
    host.place.saw("S4-38", &bad, "review");
}
