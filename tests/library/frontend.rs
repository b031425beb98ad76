//! A front end under pm2.

use std::fs;
use std::process::Command;

use runward_services::Ground;

use crate::harness::{finish, repository, wait};
use crate::operator::Run;
use crate::place::Place;

struct Web {
    place: Place,
    /// pm2 and what it starts are at home here, and end with the test.
    ground: Ground,
    tools: String,
    port: String,
}

impl Web {
    fn new() -> Web {
        let place = Place::serving();
        let made = finish(Command::new("bash").arg(repository().join("tests/stack/node.sh")));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let port = place.stack.another_port().to_string();
        Web { place, ground: Ground::new(), tools: made.stdout.trim().to_owned(), port }
    }

    /// A release of the front end, in a folder of its own.
    fn release(&self, version: &str) -> String {
        let folder = self.ground.path(version);
        let copied = finish(Command::new("cp").arg("-r").arg(repository().join("tests/stack/web")).arg(&folder));
        assert_eq!(copied.code, 0, "{}", copied.stderr);
        folder.display().to_string()
    }

    fn deploy(&self, code: i32, version: &str, more: &[(&str, &str)]) -> Run {
        let api = self.place.stack.url();
        let [root, home, cache] = [version, "pm2", "cache"].map(|name| self.ground.path(name).display().to_string());
        let mut params = vec![("root", root.as_str()), ("pm2", &self.tools), ("pm2_home", &home), ("api_url", &api)];
        params.extend([("port", self.port.as_str()), ("log_level", "debug"), ("cache", &cache)]);
        params.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        params.extend(more);
        self.place.operator.expect(code, "deploy_frontend", &params)
    }

    fn get(&self, path: &str) -> String {
        finish(Command::new("curl").args(["-s", &format!("http://127.0.0.1:{}{path}", self.port)])).stdout
    }

    fn pm2(&self, words: &[&str]) -> (i32, String) {
        let mut pm2 = Command::new(format!("{}/pm2", self.tools));
        let done = finish(pm2.args(words).env("PM2_HOME", self.ground.path("pm2")).current_dir(self.ground.folder()));
        (done.code, done.stdout)
    }

    /// Replaces a text in a file of a release.
    fn edit(&self, file: &str, old: &str, new: &str) {
        let file = self.ground.path(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(old), "{text}");
        fs::write(file, text.replace(old, new)).unwrap();
    }
}

#[test]
fn a_front_end_is_built_and_served_and_one_that_is_not_well_is_taken_back() {
    let web = Web::new();
    let first = web.release("1.0.0");
    let run = web.deploy(0, "1.0.0", &[]);
    // The page calls the API, on the server and in the browser, which has its address from .env.local.
    let page = format!("items 1.0.0 at {}: ok", web.place.stack.url());
    assert!(web.get("/").contains(&page), "{}", web.get("/"));
    let script = web.get("/").split('"').find(|word| word.starts_with("/assets/")).unwrap().to_owned();
    assert!(web.get(&script).contains(&web.place.stack.url()) && web.get(&script).contains("console.debug"));
    web.place.saw("S0-09", &run, "settings");
    let installed = finish(Command::new("npm").args(["ls", "--prefix", &first, "vite"])).stdout;
    assert!(installed.contains("vite@5.4.21"), "{installed}");
    web.place.saw("S0-08", &run, "install");
    let listed = web.pm2(&["jlist"]).1;
    assert!(listed.contains("\"name\":\"ai-agent-web\"") && listed.contains(&first), "{listed}");
    web.place.saw("S3-10", &run, "start");
    web.place.saw("S0-16", &run, "build");

    // What does not build never stops what serves; a build may use only so much memory.
    web.release("1.1.0");
    let hungry = web.deploy(1, "1.1.0", &[("heap_mb", "8")]);
    assert!(hungry.text.contains("heap out of memory"), "{}", hungry.text);
    web.place.saw("S0-16", &hungry, "build");
    assert!(web.get("/").contains(&page));

    // One that crashes is taken back, to where the one before was, wherever this one was to be. `pm2 start` alone says that all is well.
    web.edit("1.1.0/server.js", "import { createServer }", "process.exit(3);\nimport { createServer }");
    let elsewhere = web.place.stack.another_port().to_string();
    let crashed = web.deploy(6, "1.1.0", &[("healthy_seconds", "30"), ("port", &elsewhere)]);
    assert_eq!((crashed.status("start"), crashed.status("stay")), ("succeeded".to_owned(), "failed".to_owned()));
    web.place.saw("S3-10", &crashed, "stay");
    assert!(web.get("/").contains(&page));
    assert!(web.pm2(&["jlist"]).1.contains(&first));
    let serving = web.deploy(1, "1.0.0", &[]);
    assert!(serving.text.contains("1.0.0 serves now"), "{}", serving.text);

    // A lock file that fits nothing: resolved anew where that is asked for, and the old one is kept.
    web.release("1.2.0");
    web.edit("1.2.0/package.json", "\"rollup\": \"4.22.4\"", "\"rollup\": \"4.22.5\"");
    // And a package that wants another vite than there is, which npm takes only when it is told to.
    fs::create_dir(web.ground.path("1.2.0/picky")).unwrap();
    let picky = r#"{"name": "picky", "version": "1.0.0", "peerDependencies": {"vite": "^4.0.0"}}"#;
    fs::write(web.ground.path("1.2.0/picky/package.json"), picky).unwrap();
    web.edit("1.2.0/package.json", "\"devDependencies\": {", "\"devDependencies\": {\"picky\": \"file:./picky\",");
    let stale = web.deploy(1, "1.2.0", &[]);
    assert!(stale.text.contains("repair=true resolves all packages anew"), "{}", stale.text);
    let repaired = web.deploy(0, "1.2.0", &[("repair", "true")]);
    assert!(web.ground.path("1.2.0/package-lock.json.before").exists() && web.get("/").contains(&page));
    let installed =
        finish(Command::new("npm").args(["ls", "--prefix"]).arg(web.ground.path("1.2.0")).arg("rollup")).stdout;
    assert!(installed.contains("rollup@4.22.5"), "{installed}");
    assert!(
        repaired.text.contains("ERESOLVE") && web.ground.path("1.2.0/node_modules/picky").exists(),
        "{}",
        repaired.text
    );
    web.place.saw("S0-15", &repaired, "repair");

    // The development server shows a change without a build.
    web.release("dev");
    let dev = web.deploy(0, "dev", &[("mode", "dev"), ("name", "ai-agent-web")]);
    assert!(web.get("/").contains("/@vite/client"), "{}", web.get("/"));
    assert!(web.get("/page.js").contains("items "));
    web.edit("dev/page.js", "items ", "things ");
    wait("the change to be served", || web.get("/page.js").contains("things "));
    web.place.saw("S0-10", &dev, "start");
    web.pm2(&["kill"]);
}

#[test]
fn packages_come_by_yarn_and_pnpm_as_well() {
    let web = Web::new();
    for manager in ["yarn", "pnpm"] {
        web.release(manager);
        let run = web.deploy(0, manager, &[("manager", manager)]);
        assert!(web.get("/").contains("items 1.0.0"));
        let lock = if manager == "yarn" { "yarn.lock" } else { "pnpm-lock.yaml" };
        assert!(web.ground.path(manager).join(lock).exists());
        web.place.saw("S0-08", &run, "install");
    }
    web.pm2(&["kill"]);
}
