//! Every runbook in examples/ does what its comment says, and together they show every key of the format.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_engine::runbook::node::{self, Data, Node};
use serde_json::Value;

use crate::harness::{Done, Scene, children, finish, is_alive, repository, step_of, wait};
use crate::http_server::{Server, reply};
use crate::ssh_hosts::Hosts;

/// An example, and the folder it works in.
struct Example {
    scene: Scene,
    file: PathBuf,
}

fn folder() -> PathBuf {
    repository().join("examples")
}

impl Example {
    fn new(name: &str) -> Example {
        Example { scene: Scene::new(), file: folder().join(format!("{name}.yaml")) }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.scene.runward();
        command.arg("run").arg(&self.file).arg("-p").arg(format!("dir={}", self.scene.path("out").display()));
        command.args(more);
        command
    }

    /// Runs it to its end.
    fn run(&self, code: i32, more: &[&str]) -> Done {
        let done = finish(&mut self.command(more));
        assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
        done
    }

    /// A file that its steps wrote.
    fn read(&self, name: &str) -> String {
        self.scene.read(&format!("out/{name}"))
    }

    fn show(&self) -> Value {
        self.scene.last()
    }

    /// What became of a step.
    fn status(&self, unit: &str) -> String {
        step_of(&self.show(), unit)["status"].as_str().unwrap_or("none").to_owned()
    }
}

/// One test a file, and a list of the files.
macro_rules! examples {
    ($($name:ident: $story:expr;)+) => {
        const SHOWN: &[&str] = &[$(stringify!($name)),+];
        $(
            #[test]
            fn $name() {
                let story: fn(&Example) = $story;
                story(&Example::new(stringify!($name)));
            }
        )+
    };
}

examples! {
    chain: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "first\nsecond\n");
    };
    parallel: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "both\n");
    };
    items: |it| {
        it.run(0, &["-p", "nodes=a; reboot,b"]);
        assert_eq!(it.read("upgraded"), "0 a; reboot\n1 b\n");
        let mut told: Vec<String> = it.read("told").lines().map(str::to_owned).collect();
        told.sort();
        assert_eq!(told, ["dev, versions 17.0 17.1", "ops, versions 17.0 17.1"]);
    };
    rolling: |it| {
        let hosts = Hosts::new(&it.scene, &["db1", "db2"]);
        let path = hosts.runward(&it.scene).get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap().to_owned();
        let on = |nodes: &str| finish(it.command(&["-p", &format!("nodes={nodes}")]).env("PATH", &path));
        hosts.close("db2");
        let done = on("db1,db2");
        assert_eq!(done.code, 6, "{}", done.stdout);
        assert!(done.stdout.contains("ssh db2: ") && !it.scene.path("out/upgraded-db1").exists(), "{}", done.stdout);
        hosts.open("db2");
        assert_eq!(on("db1,db2").code, 0);
        assert_eq!((it.read("upgraded-db2").as_str(), it.read("told").as_str()), ("version 17.6 of db2\n", "17.6 17.6\n"));
    };
    retry: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("starts"), "1\n2\n3\n");
        assert_eq!(step_of(&it.show(), "flaky")["attempts"], 3);
    };
    timeout: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("said"), "asked to end\nslow timed_out\n");
        assert_eq!(it.status("slow"), "timed_out");
    };
    conditions: |it| {
        it.run(0, &[]);
        assert_eq!((it.read("done").as_str(), it.status("careful").as_str()), ("quick\n", "skipped"));
        it.run(0, &["-p", "env=prod"]);
        assert_eq!((it.read("done").as_str(), it.status("quick").as_str()), ("quick\ncareful\n", "skipped"));
        it.run(2, &["-p", "env=test"]);
    };
    outputs: |it| {
        it.run(0, &[]);
        let told = it.read("told");
        assert!(told.contains("db1: 3 of them in 90000 ms") && told.contains("db2: 3 of them"), "{told}");
        assert!(it.read("notes").contains("two lines:\n$(reboot) is only text\n"), "{}", it.read("notes"));
        assert_eq!(it.show()["outputs"]["count"], 3);
    };
    drill: |it| {
        let done = finish(it.scene.runward().env("SCRATCH_TOKEN", "only-scratch").env("RUNWARD_CONNECTIONS_SCRATCH_URL", "sqlite:scratch.db?mode=rwc").args(["run", "--drill"]).arg(&it.file).args(["-p", &format!("dir={}", it.scene.path("out").display())]));
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        assert_eq!(it.read("restored"), "scratch, with a key of 12 characters\n");
        assert_eq!((it.status("switch").as_str(), it.show()["run"]["name"].as_str()), ("skipped", Some("drill.drill")));
    };
    objectives: |it| {
        let done = it.run(0, &[]);
        assert!(done.stdout.contains("rpo 1h 00m met: 1m 30s"), "{}", done.stdout);
        it.run(0, &["-p", "age=7200"]);
        assert_eq!(it.show()["objectives"][1]["standing"], "missed");
    };
    params: |it| {
        let done = it.run(0, &["-p", "env=prod", "-p", "token=hush-hush"]);
        let told = it.read("told");
        for words in ["env prod, version 17.6", "nodes db1 db2", "pause 90000, cache 4194304", "logged in"] {
            assert!(told.contains(words), "{told}");
        }
        let shown = done.stdout + &done.stderr + &it.show().to_string();
        assert!(!shown.contains("hush-hush"), "{shown}");
        it.scene.file("values.yaml", "env: staging\ntoken: hush-hush\nsettings: {a: 1}\nversion: \"18.1\"\n");
        it.run(0, &["--params-file", "values.yaml"]);
        assert!(it.read("told").contains("env staging, version 18.1"), "{}", it.read("told"));
        let refused = it.run(2, &["-p", "env=test", "-p", "version=17", "-p", "count=11"]).stderr;
        for name in ["env", "version", "count", "token"] {
            assert!(refused.contains(&format!("`{name}`")), "{refused}");
        }
    };
    notify: |it| {
        let ops = Server::start(|_, stream| reply(stream, "204 No Content", "", ""));
        it.scene.file("runward.toml", format!("[notify.channels.ops]\ntype = \"webhook\"\nurl = \"{}\"\n", ops.base()));
        it.run(0, &["-p", "env=prod"]);
        let mut said: Vec<String> = ops.asked().into_iter().map(|asked| asked.body).collect();
        said.sort();
        assert!(said.iter().any(|it| it.contains("prod is upgraded")), "{said:?}");
        assert!(said.iter().any(|it| it.contains("the upgrade succeeded")), "{said:?}");
    };
    secrets: |it| {
        let key = it.scene.file("key", "ab".repeat(32));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        let with_key = |command: &mut Command| finish(command.env("RUNWARD_SECRETS_KEY_FILE", &key));
        let mut set = it.scene.runward();
        set.args(["secret", "set", "example_password"]).stdin(fs::File::open(it.scene.file("pw", "correct horse")).unwrap());
        assert_eq!(with_key(&mut set).code, 0);
        let done = with_key(it.command(&[]).env("EXAMPLE_TOKEN", "open-sesame"));
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        assert_eq!(it.read("lines"), "token 11, password 13 mode 400\nlease 8\n");
        assert!(done.stdout.contains("the token is ***, the password ***"), "{}", done.stdout);
        assert!(done.stdout.contains("renewing ***, which is ***"), "{}", done.stdout);
        let missing = with_key(&mut it.command(&[]));
        assert!(missing.code == 1 && missing.stdout.contains("EXAMPLE_TOKEN: it is not set"), "{}", missing.stdout);
    };
    finally: |it| {
        it.run(0, &[]);
        assert!(!it.scene.path("out/maintenance").exists() && it.status("alarm") == "skipped");
        it.run(1, &["-p", "breaks=true"]);
        assert!(!it.scene.path("out/maintenance").exists());
        assert_eq!(it.read("alarms"), "finally failed\n");
    };
    allow_failure: |it| {
        it.run(0, &[]);
        assert_eq!((it.read("lines").as_str(), it.status("warm").as_str()), ("warm failed\n", "failed"));
    };
    on_failure: |it| {
        it.run(1, &[]);
        assert_eq!(it.read("beside"), "ended\n");
        assert_eq!(it.show()["run"]["rollback"], "none");
    };
    undo: |it| {
        let done = it.run(6, &[]).stdout;
        let effects = it.read("effects");
        let taken_back = "downgrade db2\ndowngrade db1\nin service again, before yes\n";
        assert_eq!(effects, format!("drain\nupgrade db1\nupgrade db2\nannounce\n{taken_back}"));
        assert!(done.contains("announce"), "it says what cannot be taken back: {done}");
        it.run(0, &["-p", "breaks=false"]);
    };
    rollback_ask: |it| {
        let asks = it.run(8, &[]).stdout;
        assert!(asks.contains("runward rollback"), "{asks}");
        assert_eq!(it.read("release"), "new\n");
        it.scene.expect(6, &["rollback", "last", "--reason", "the release is bad"]);
        assert_eq!(it.read("release"), "old\n");
        assert_eq!(it.show()["run"]["rollback"], "done");
    };
    approve: |it| {
        let asked = finish(it.command(&[]).env("SUDO_USER", "alice"));
        assert_eq!(asked.code, 8, "{}{}", asked.stdout, asked.stderr);
        let approve = |person: &str| {
            finish(it.scene.runward().env("SUDO_USER", person).args(["approve", "last", "--comment", "go ahead"]))
        };
        assert_eq!(approve("alice").code, 2, "whoever asked does not decide");
        assert_eq!(approve("mallory").code, 2, "nor does anybody else");
        let agreed = approve("ops");
        assert_eq!(agreed.code, 0, "{}", agreed.stderr);
        it.scene.expect(0, &["resume", "last"]);
        assert_eq!(it.read("deployed"), "agreed: go ahead\n");
    };
    waits: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "waited\n");
        assert_eq!(it.status("open"), "succeeded");
    };
    schedule: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "worked\n");
    };
    windows: |it| {
        let closed = it.run(5, &["--fail-if-closed"]);
        assert!((closed.stdout + &closed.stderr).contains("a freeze for the example"));
        it.run(0, &["--override-window", "--reason", "the disk is full"]);
        assert_eq!(it.read("lines"), "worked\n");
    };
    concurrency: |it| {
        let mut first = it.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait("the first run", || it.read("lines") == "began\n");
        it.run(5, &[]);
        it.scene.file("out/go", "");
        assert!(first.wait().unwrap().success());
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "began\nbegan\n");
    };
    check: |it| {
        it.run(0, &[]);
        let again = it.run(0, &[]).stdout;
        assert!(again.contains("in place"), "{again}");
        assert_eq!(it.read("users"), "deploy\n");
    };
    on_lost: |it| {
        let mut driver = it.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait("the payment", || it.read("lines") == "paid\n");
        for supervisor in children(driver.id()) {
            kill(Pid::from_raw(supervisor as i32), Signal::SIGKILL).unwrap();
        }
        assert_eq!(driver.wait().unwrap().code(), Some(8));
        assert_eq!(it.status("pay"), "held");
        it.scene.file("out/go", "");
        it.scene.expect(0, &["resolve", "last", "pay", "--as", "succeeded", "--reason", "seen in the bank's list"]);
        it.scene.expect(0, &["resume", "last"]);
        assert_eq!(it.read("lines"), "paid\nreceipt\n");
    };
    call: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "saved db1.dump and db2.dump\n");
        assert_eq!(it.read("db2.dump"), "dump of db2\n");
    };
    called: |it| {
        it.run(0, &["-p", "node=db1"]);
        assert_eq!(it.show()["outputs"]["file"], "db1.dump");
    };
    http: |it| {
        let server = Server::start(|asked, stream| {
            use std::io::Write;
            let body = match asked.line.as_str() {
                line if line.starts_with("POST /api/deploy") => "{\"job\": 17}",
                line if line.starts_with("GET /ready?job=17") => "{\"release\": 7, \"up\": true}",
                line if line.starts_with("PUT /note") => "it is kept",
                _ => "what?",
            };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        });
        let base = format!("base=http://127.0.0.1:{}", server.port);
        let mut command = it.scene.runward();
        let done = finish(command.arg("run").arg(&it.file).args(["-p", &base, "-p", "token=hush-hush"]));
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        let asked = server.asked();
        assert!(asked[0].head.contains("authorization: bearer hush-hush") && asked[0].body == "{\"release\":7}");
        assert_eq!(asked[2].body, "release 7 is ready");
    };
    sql: |it| {
        let url = format!("sqlite:{}?mode=rwc", it.scene.path("shop.db").display());
        let mut command = it.scene.runward();
        let done = finish(command.arg("run").arg(&it.file).env("RUNWARD_CONNECTIONS_SHOP_URL", &url));
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        assert!(done.stdout.contains("| 320 cents in all"), "{}", done.stdout);
    };
    render: |it| {
        let would = it.run(0, &["--check"]);
        assert!(!it.scene.path("out").exists(), "{}", would.stdout);
        it.run(0, &[]);
        assert!(it.read("site.conf").contains("server_name example.com;\nupstream web1:8080;\nupstream web2:8080;\n"));
        it.run(0, &[]);
        assert_eq!((it.read("lines").as_str(), it.status("reload").as_str()), ("reload\n", "skipped"));
        it.run(0, &["-p", "name=example.org"]);
        let kept = fs::read_dir(it.scene.path("out")).unwrap().flatten().filter(|entry| {
            entry.file_name().to_string_lossy().starts_with("site.conf.bak-")
        });
        assert_eq!((kept.count(), it.read("lines").as_str()), (1, "reload\nreload\n"));
        assert_eq!(it.status("owned"), "skipped");
    };
    environment: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "run environment, hello\nscript file in with a space\npython\n");
    };
    orphans: |it| {
        it.run(0, &[]);
        let pid = |name: &str| it.read(name).trim().parse::<u32>().unwrap();
        assert!(!is_alive(pid("killed")));
        wait("the daemon to be stopped", || !is_alive(pid("left")));
    };
    defaults: |it| {
        it.run(0, &[]);
        assert_eq!(it.read("lines"), "debug\ninfo\n");
    };
}

/// The runbooks in examples/, by name.
fn files() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let runbooks = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let name = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut files: Vec<_> = runbooks.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn every_example_is_run_listed_valid_and_well_laid_out() {
    let scene = Scene::new();
    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    for (name, text) in files() {
        let file = folder().join(format!("{name}.yaml"));
        let file = file.to_str().unwrap();
        assert!(SHOWN.contains(&name.as_str()), "nothing runs {name}.yaml");
        assert!(list.contains(&format!("[{name}.yaml]({name}.yaml)")), "examples/README.md does not name {name}.yaml");
        assert!(
            text.contains(&format!("#   runward run examples/{name}.yaml")),
            "{name}.yaml does not say how to run it"
        );
        scene.expect(0, &["validate", file]);
        scene.expect(0, &["fmt", "--check", file]);
    }
    assert_eq!(files().len(), SHOWN.len());
}

/// Keys of the format, as `a-step.retry`, and the types of parameters, as `a-parameter.type: size`.
#[derive(Default)]
struct Keys(BTreeSet<String>);

/// Of which every word is to be shown.
const TYPES: &str = "a-parameter.type";
/// The same keys as those of a step.
const DEFAULTS: &str = "defaults.";

struct Schema(Value);

impl Schema {
    fn resolve<'s>(&'s self, schema: &'s Value) -> (&'s Value, &'s str) {
        match schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            Some(name) => (&self.0["$defs"][name], name),
            None => (schema, ""),
        }
    }

    /// Everything the format has, but what is not built yet.
    fn all(&self, schema: &Value, place: &str, found: &mut Keys) {
        let (schema, name) = self.resolve(schema);
        let here = if name.is_empty() { place } else { name };
        for word in schema["enum"].as_array().into_iter().flatten().filter(|_| place == TYPES) {
            found.0.insert(format!("{place}: {}", word.as_str().unwrap_or_default()));
        }
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{here}.{key}");
            if self.is_built(value) && found.0.insert(place.clone()) {
                self.all(value, &place, found);
            }
        }
        for inner in self.inside(schema) {
            self.all(inner, place, found);
        }
    }

    /// Whether anything of it is.
    fn is_built(&self, schema: &Value) -> bool {
        let unbuilt =
            |value: &Value| value["description"].as_str().is_some_and(|about| about.contains("not built yet"));
        let (inner, _) = self.resolve(schema);
        let none = inner["properties"].as_object().is_some_and(|keys| keys.values().all(unbuilt));
        !unbuilt(schema) && !none
    }

    fn inside<'s>(&self, schema: &'s Value) -> Vec<&'s Value> {
        let one = [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|it| it.is_object());
        one.chain(schema["anyOf"].as_array().into_iter().flatten()).collect()
    }

    /// What a runbook shows of it.
    fn shown(&self, schema: &Value, node: &Node, place: &str, found: &mut Keys) {
        let (schema, name) = self.resolve(schema);
        let here = if name.is_empty() { place } else { name };
        match &node.data {
            Data::Text(word) => {
                let known = schema["enum"].as_array().into_iter().flatten().any(|it| it == word);
                found.0.extend(known.then(|| format!("{place}: {word}")));
            }
            Data::List(nodes) => {
                nodes.iter().filter(|_| schema["items"].is_object()).for_each(|node| {
                    self.shown(&schema["items"], node, place, found);
                });
            }
            Data::Map(pairs) => {
                for (key, node) in pairs {
                    let own = &schema["properties"][&key.text];
                    let place_of = format!("{here}.{}", key.text);
                    if own.is_object() {
                        found.0.insert(place_of.clone());
                        self.shown(own, node, &place_of, found);
                    } else if schema["additionalProperties"].is_object() {
                        self.shown(&schema["additionalProperties"], node, place, found);
                    }
                }
            }
            _ => {}
        }
        for one in schema["anyOf"].as_array().into_iter().flatten() {
            self.shown(one, node, place, found);
        }
    }
}

#[test]
fn together_they_show_every_key_of_the_format() {
    let schema = Schema(Scene::new().expect(0, &["schema"]).stdout.parse().unwrap());
    let (mut all, mut shown) = (Keys::default(), Keys::default());
    schema.all(&schema.0, "runbook", &mut all);
    for (_, text) in files() {
        schema.shown(&schema.0, &node::read(text.as_bytes()).unwrap().root, "runbook", &mut shown);
    }
    assert!(all.0.len() > 100, "{:?}", all.0);
    let missing: Vec<&String> = all.0.difference(&shown.0).filter(|key| !key.starts_with(DEFAULTS)).collect();
    assert!(missing.is_empty(), "no example shows {missing:#?}");
}
