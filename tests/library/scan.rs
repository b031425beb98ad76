//! Holes that are there, and are found; what the scanners by themselves would have let pass; and what comes before a release.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Done, finish};
use crate::operator::Run;
use crate::place::Place;

/// Code that hands what it is given to a shell.
pub const SHELL: &str = "import subprocess\n\n\ndef run(words):\n    return subprocess.call(words, shell=True)\n";

/// The list of advisories that can be had as a package.
pub fn advisories(place: &Place) -> String {
    let python = place.stack.bin().join("python");
    let done = finish(Command::new(python).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    format!("{}/safety_db", done.stdout.trim())
}

struct Service {
    place: Place,
}

impl Service {
    fn new() -> Service {
        let place = Place::serving();
        for version in ["1.0.0", "1.1.0"] {
            let file = place.stack.path(&format!("releases/{version}/.env"));
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Service { place }
    }

    fn advisories(&self) -> String {
        advisories(&self.place)
    }

    fn scan(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let (source, advisories) = (self.place.stack.path("current").display().to_string(), self.advisories());
        // The list is of 2021: the test says that it knows.
        let own = [("source", source.as_str()), ("advisories", &advisories), ("advisories_days_max", "100000")];
        let own: Vec<(&str, &str)> = own.into_iter().filter(|(name, _)| more.iter().all(|it| it.0 != *name)).collect();
        self.place.run(code, "security_scan", &[&own[..], more].concat())
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.place.stack.path(name), text).unwrap();
    }

    fn tool(&self, name: &str, words: &[&str]) -> Done {
        finish(Command::new(self.place.stack.bin().join(name)).args(words))
    }
}

#[test]
fn holes_are_found_in_code_packages_permissions_and_logs() {
    let service = Service::new();
    let (place, stack) = (&service.place, &service.place.stack);
    let saw = |rows: &str, run: &Run, step: &str| place.saw(rows, run, step);
    stack.get("/items");
    let clean = service.scan(0, &[]);
    assert_eq!((clean.output("code", "findings"), clean.output("packages", "vulnerable")), ("0".into(), "0".into()));
    let pinned = fs::read_to_string(stack.path("current/requirements.txt")).unwrap();
    let lines = pinned.lines().filter(|line| line.contains("==")).count();
    assert_eq!(clean.output("packages", "packages"), lines.to_string());
    for (rows, step) in [("S3-43", "code"), ("S3-42 S2-14", "packages"), ("S1-44", "permissions"), ("S1-44", "logs")] {
        saw(rows, &clean, step);
    }

    // One hole of each kind.
    service.write("current/app/debug.py", SHELL);
    service.write("current/requirements.txt", &format!("{pinned}jinja2==2.10\n"));
    service.write("run/token.conf", "set $token x;\n");
    service.write("log/old.log", "GET /login?password=correct-horse-battery\n");
    service.write("log/packed.log-20260101", "Authorization: Bearer correct-horse-battery\n");
    assert_eq!(finish(Command::new("gzip").arg(stack.path("log/packed.log-20260101"))).code, 0);
    fs::set_permissions(stack.path("backups"), fs::Permissions::from_mode(0o777)).unwrap();
    // Half of it was rotated and packed meanwhile.
    let stranger = "10.1.2.3 - - [23/Nov/2026:05:00:00 +0000] \"GET /metrics HTTP/1.1\" 401 12 \"-\" \"x\"\n";
    service.write("log/nginx-access.log-20260101", &stranger.repeat(51));
    assert_eq!(finish(Command::new("gzip").arg(stack.path("log/nginx-access.log-20260101"))).code, 0);
    service.write("log/nginx-access.log", &stranger.repeat(50));
    let holes = service.scan(1, &[]);
    for said in [
        "debug.py:5: B602 (high)",
        "jinja2 2.10 (>=0.0.0,<2.11.3): 39525",
        "everybody may read",
        "run/token.conf",
        "everybody may write",
        "10.1.2.3 101 times",
        "log/old.log:1",
        "log/packed.log-20260101.gz:1",
        "look at: code packages permissions logs",
    ] {
        assert!(holes.text.contains(said), "{said}: {}", holes.text);
    }
    assert!(
        !holes.text.contains("correct-horse-battery"),
        "what a log gives away is not given away again: {}",
        holes.text
    );
    // The tools, asked by hand, say the same.
    let app = stack.path("current/app").display().to_string();
    assert_eq!(service.tool("bandit", &["-q", "-r", &app, "--severity-level", "high"]).code, 1);
    let requirements = stack.path("current/requirements.txt").display().to_string();
    let asked = service.tool("safety", &["check", "--db", &service.advisories(), "-r", &requirements]);
    assert!(asked.code != 0 && asked.stdout.contains("jinja2"), "{}{}", asked.stdout, asked.stderr);
    for (rows, step) in [("S3-43", "code"), ("S3-42 S2-14", "packages"), ("S1-44", "permissions"), ("S1-44", "logs")] {
        saw(rows, &holes, step);
    }
}

#[test]
fn what_a_scanner_leaves_out_does_not_pass() {
    let service = Service::new();
    let stack = &service.place.stack;
    stack.get("/items");

    // The wrong way, as in the guides: each of them ends with 0.
    service.write("current/app/broken.py", "def f(:\n");
    let app = stack.path("current/app").display().to_string();
    assert_eq!(service.tool("bandit", &["-q", "-r", &app]).code, 0, "a file that it cannot read is no finding");
    service.write("current/requirements.txt", "jinja2>=2.10\n");
    let requirements = stack.path("current/requirements.txt").display().to_string();
    let asked = service.tool("safety", &["check", "--db", &service.advisories(), "-r", &requirements, "--json"]);
    assert_eq!(asked.code, 0, "a package without a version is left out: {}{}", asked.stdout, asked.stderr);

    let left_out = service.scan(1, &[]);
    for said in ["broken.py: not looked at", "1 files that could not be read", "left out: jinja2>=2.10"] {
        assert!(left_out.text.contains(said), "{said}: {}", left_out.text);
    }
    // A list of 2021 says nothing of what was found since, unless somebody says that this is enough.
    let old = service.scan(1, &[("advisories_days_max", "35")]);
    assert!(old.text.contains("the list of advisories is of 2021-07-01"), "{}", old.text);
    let nothing = service.scan(1, &[("access_log", "log/no.log")]);
    assert!(nothing.text.contains("log/no.log is not there"), "{}", nothing.text);
}

/// What the service says of how often a path was asked.
fn asked(place: &Place, path: &str) -> f64 {
    let metrics = place.stack.get("/metrics").1;
    let counts = metrics.lines().filter(|line| line.starts_with(&format!("requests_total{{path=\"{path}\"")));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn nobody_is_asked_to_agree_before_a_release_is_well_and_nobody_agrees_with_themselves() {
    let service = Service::new();
    let (place, stack) = (&service.place, &service.place.stack);
    let (source, advisories, url) = (stack.path("current").display().to_string(), service.advisories(), stack.url());
    let begin = |code: i32, more: &[(&str, &str)]| {
        let own = [
            ("source", source.as_str()),
            ("url", &url),
            ("advisories", &advisories),
            ("advisories_days_max", "100000"),
            ("coverage_min", "60"),
            ("load_seconds", "2"),
            ("p99_ms_max", "5000"),
        ];
        let own: Vec<(&str, &str)> = own.into_iter().filter(|(name, _)| more.iter().all(|it| it.0 != *name)).collect();
        let params = place.params(&[&own[..], more].concat());
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (mut command, name) = place.operator.command("pre_release", &params);
        let done = finish(command.env("SUDO_USER", "alice"));
        assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
        (name, done.stdout + &done.stderr)
    };
    let by = |person: &str, words: &[&str]| finish(place.operator.scene.runward().env("SUDO_USER", person).args(words));

    let (name, said) = begin(1, &[("paths", "/no-such-path")]);
    assert!(said.contains("answers of /no-such-path were errors"), "{said}");
    assert_eq!(place.operator.look(&name).status("review"), "skipped", "nobody is asked");
    let before = asked(place, "/items");
    let (name, said) = begin(8, &[]);
    assert!(said.contains("waits for approval") || said.contains("runward approve"), "{said}");
    let requests = asked(place, "/items") - before;
    assert!(requests > 100.0, "the load was there: {requests}");
    assert_ne!(stack.sql("select count(*) from items where length(name) = 32"), "0", "its tests were there");
    let own = by("alice", &["approve", &name]);
    assert_eq!(own.code, 2, "{}{}", own.stdout, own.stderr);
    let other = by("bob", &["approve", &name, "--comment", "looked at all of it"]);
    assert_eq!(other.code, 0, "{}{}", other.stdout, other.stderr);
    let run = place.operator.look(&name);
    assert_eq!(run.show["run"]["status"], "succeeded", "there was nothing left to do");
    assert!(run.output("review", "who").contains("bob"), "{}", run.output("review", "who"));
    place.saw("S2-45", &run, "review");
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_package_with_a_hole_is_raised_and_the_service_that_does_not_load_keeps_the_old_one() {
    let service = Service::new();
    let stack = &service.place.stack;
    let venv = stack.path("venvs/first");
    let done = |command: &mut Command| {
        let done = finish(command);
        assert_eq!(done.code, 0, "{command:?}: {}{}", done.stdout, done.stderr);
        done.stdout
    };
    done(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    done(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "urllib3==1.25.8", "idna==3.20"]));
    stack.link("venvs/first", "venv");
    let (advisories, wheels) = (service.advisories(), stack.wheels().display().to_string());
    let update = |code: i32, load: &str, days: &str| {
        let more =
            [("advisories", advisories.as_str()), ("wheels", &wheels), ("load", load), ("advisories_days_max", days)];
        service.place.run(code, "security_updates", &more)
    };
    let versions = || done(Command::new(stack.path("venv/bin/pip")).args(["list", "--format", "freeze"]));

    let old = update(1, "import urllib3", "35");
    assert!(old.text.contains("the list of advisories is of 2021-07-01"), "{}", old.text);
    let refused = update(1, "import no_such_module", "100000");
    assert!(refused.text.contains("no_such_module"), "{}", refused.text);
    assert!(versions().contains("urllib3==1.25.8"), "{}", versions());
    assert_eq!(fs::read_dir(stack.path("venvs")).unwrap().count(), 1, "nothing is left of it");

    let run = update(0, "import urllib3, idna", "100000");
    assert_eq!(run.output("look", "names"), "urllib3");
    let now = versions();
    assert!(!now.contains("urllib3==1.") && now.contains("urllib3==") && now.contains("idna==3.20"), "{now}");
    let list = service.place.operator.scene.file("now.txt", &now);
    let asked = service.tool("safety", &["check", "--db", &advisories, "-r", &list.display().to_string(), "--json"]);
    assert_eq!((asked.code, asked.stdout.trim()), (0, "[]"));
    service.place.saw("S3-57", &run, "switch");
    assert_eq!(update(0, "import urllib3", "100000").status("switch"), "skipped", "there is nothing left to do");
}
