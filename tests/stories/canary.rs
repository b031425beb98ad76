//! A secret is printed in every form, in pieces of random length, to both outputs, written to the outputs, and given to a
//! process that is left behind. Then everything that is kept and shown anywhere is searched for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runward_services::Redis;
use runward_workers::mask::forms::forms;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::harness::{Scene, children, finish, processes, step_of, wait};
use crate::notify::{receiver, webhook};

const SECRET: &str = "c4n4ry/ö?'\"&+ w0rd\n  the second line of <it>\n";

/// Says it all, says who it is, and waits for `go`.
const PRINTS: &str = r#"
import os, random, subprocess, time
data = open(os.environ["FORMS"], "rb").read()
for fd in (1, 2):
    at = 0
    while at < len(data):
        n = random.randint(1, 9)
        os.write(fd, data[at:at + n])
        at += n
        if random.random() < 0.05: time.sleep(0.002)
with open(os.environ["RUNWARD_OUTPUT"], "ab") as out:
    out.write(b"word=" + os.environ["WORD"].split("\n")[0].encode() + b"\nall<<END_OF_ALL\n" + data + b"\nEND_OF_ALL\n")
with open(os.environ["DIR"] + "/printed", "w") as told: told.write(str(os.getpid()) + "\n")
while not os.path.exists(os.environ["DIR"] + "/go"): time.sleep(0.02)
subprocess.Popen(["sh", "-c", "sleep 300; true", os.environ["WORD"]])
"#;

/// `masked`: the step receives it as a secret; else it reads it from the file itself, and nobody knows of it.
fn runbook(scene: &Scene, masked: bool) {
    let path = scene.file("word", SECRET);
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    scene.file("forms", forms(SECRET.as_bytes()).join(&b'\n'));
    let (declared, received, script) = match masked {
        true => {
            (format!("secrets: {{WORD: {{file: '{}'}}}}\n", path.display()), "    secrets: [WORD]\n", PRINTS.to_owned())
        }
        false => {
            let reads = format!("import os\nos.environ['WORD'] = open('{}').read()", path.display());
            (String::new(), "", format!("{reads}{PRINTS}"))
        }
    };
    let script: String = script.lines().map(|line| format!("      {line}\n")).collect();
    let text = format!(
        "params: {{dir: {{type: path, required: true}}}}\n{declared}steps:\n  - id: tell\n{received}    shell: python3\n    \
         env: {{DIR: '${{{{ params.dir }}}}', FORMS: '${{{{ params.dir }}}}/forms', PYTHONIOENCODING: utf-8}}\n    run: |\n{script}"
    );
    scene.file("s.yaml", text);
}

/// The forms of it that are in `bytes`, as they are or as the hexadecimal digits that databases print.
fn found(bytes: &[u8]) -> Vec<String> {
    let hex = |form: &[u8]| form.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
    let needles = forms(SECRET.as_bytes()).into_iter().flat_map(|form| [hex(&form), form]);
    let is_there = |needle: &Vec<u8>| bytes.windows(needle.len()).any(|window| window == &needle[..]);
    needles.filter(is_there).map(|needle| String::from_utf8_lossy(&needle).into_owned()).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Every file below it that holds the secret.
fn kept(folder: &Path) -> Vec<String> {
    let files = files_below(folder).into_iter();
    let held =
        files.map(|path| (found(&fs::read(&path).unwrap_or_default()), path)).filter(|(found, _)| !found.is_empty());
    held.map(|(found, path)| format!("{}: {found:?}", path.display())).collect()
}

/// Processes that show it in their command or their environment, but for the step and those below it.
fn shown_by_processes(step: u32) -> Vec<String> {
    let mut own = vec![step];
    let mut at = 0;
    while let Some(parent) = own.get(at).copied() {
        own.extend(children(parent));
        at += 1;
    }
    let others = processes().into_iter().filter(|pid| !own.contains(pid));
    let shows = |pid: &u32, name: &str| found(&fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default());
    others
        .flat_map(|pid| ["cmdline", "environ"].map(|name| (format!("/proc/{pid}/{name}"), shows(&pid, name))))
        .filter(|(_, found)| !found.is_empty())
        .map(|(place, found)| format!("{place}: {found:?}"))
        .collect()
}

const COMMANDS: [&[&str]; 8] = [
    &["logs", "last", "--raw"],
    &["logs", "last", "--format", "json"],
    &["show", "last", "--events"],
    &["show", "last", "--events", "--format", "json"],
    &["runs", "--format", "json"],
    &["audit", "verify", "--format", "json"],
    &["plan", "s.yaml", "-p", "dir=/"],
    &["plan", "s.yaml", "-p", "dir=/", "--format", "json"],
];

fn is_masked(show: &Value) {
    let outputs = &step_of(show, "tell")["outputs"];
    assert_eq!(outputs["word"], "***", "{outputs}");
    assert!(outputs["all"].as_str().unwrap().matches("***").count() > 20, "{outputs}");
    assert!(show["events"].to_string().contains("sh -c sleep 300; true ***"), "{show:#}");
}

#[test]
fn a_secret_is_in_nothing_that_is_kept_or_shown_on_one_machine() {
    let scene = Scene::new();
    runbook(&scene, true);
    let mut command = scene.runward();
    command.args(["--log-level", "debug", "run", "s.yaml", "-p", &scene.dir()]);
    let out = fs::File::create(scene.path("out")).unwrap();
    let mut driver = command.stderr(out.try_clone().unwrap()).stdout(out).spawn().unwrap();
    scene.wait_for("printed", "\n");
    let step = scene.read("printed").trim().parse().unwrap();
    assert_eq!(shown_by_processes(step), [""; 0]);
    scene.file("go", "");
    assert!(driver.wait().unwrap().success(), "{}", scene.read("out"));
    assert_eq!(kept(&scene.path("state")), [""; 0]);
    assert_eq!(found(scene.read("out").as_bytes()), [""; 0]);
    for args in COMMANDS {
        let done = scene.expect(0, args);
        assert_eq!(found(&[done.stdout_bytes, done.stderr.into_bytes()].concat()), [""; 0], "{args:?}");
    }
    is_masked(&scene.last());
}

/// What finds nothing above finds it everywhere here.
#[test]
fn what_is_not_known_to_be_a_secret_is_found_in_all_these_places() {
    let scene = Scene::new();
    runbook(&scene, false);
    scene.file("go", "");
    let done = scene.expect(0, &["run", "s.yaml", "-p", &scene.dir()]);
    let all = forms(SECRET.as_bytes()).len();
    assert!(found(&done.stdout_bytes).len() > all / 4, "{:?}", found(&done.stdout_bytes));
    let kept = kept(&scene.path("state"));
    for place in ["ledger.db", "log.000000", ".output"] {
        assert!(kept.iter().any(|it| it.contains(place)), "{place}: {kept:?}");
    }
    let raw = scene.expect(0, &["logs", "last", "--raw"]).stdout_bytes;
    let missing =
        forms(SECRET.as_bytes()).into_iter().filter(|form| !raw.windows(form.len()).any(|it| it == &form[..]));
    assert_eq!(missing.count(), 0, "every form is printed");
    assert!(!found(scene.last().to_string().as_bytes()).is_empty());
}

#[test]
fn a_secret_is_in_nothing_that_is_kept_or_shown_in_a_cluster() {
    let redis = Redis::start();
    let cluster = Cluster::new().with(&redis);
    runbook(&cluster.scene, true);
    let _worker = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["s.yaml", "-p", &cluster.scene.dir()]);
    cluster.scene.wait_for("printed", "\n");
    let step = cluster.scene.read("printed").trim().parse().unwrap();
    assert_eq!(shown_by_processes(step), [""; 0]);
    let everything = "local all = {} for _, key in ipairs(redis.call('keys', '*')) do local kind = redis.call('type', key).ok \
                      all[#all + 1] = key if kind == 'string' then all[#all + 1] = redis.call('get', key) elseif kind == 'list' then \
                      all[#all + 1] = redis.call('lrange', key, 0, -1) elseif kind == 'hash' then all[#all + 1] = redis.call('hgetall', \
                      key) elseif kind == 'zset' then all[#all + 1] = redis.call('zrange', key, 0, -1) end end return cjson.encode(all)";
    assert_eq!(found(redis.command(&["eval", everything, "0"]).as_bytes()), [""; 0]);
    cluster.scene.file("go", "");
    let show = cluster.wait_for_end(&run);
    assert_eq!(show["run"]["status"], "succeeded", "{show:#}\n{}", cluster.logs());
    wait("its output to be in the database", || {
        let raw = finish(cluster.runward().args(["logs", &run, "--raw"]));
        raw.stdout.matches("***").count() > 40
    });
    let dump = cluster.dump();
    assert!(dump.contains("attempt_settled") && dump.len() > 10_000, "{dump}");
    assert_eq!(found(dump.as_bytes()), [""; 0]);
    assert_eq!(found(redis.command(&["eval", everything, "0"]).as_bytes()), [""; 0]);
    assert_eq!(found(cluster.logs().as_bytes()), [""; 0]);
    assert_eq!(kept(&cluster.state("alpha")), [""; 0]);
    for args in COMMANDS {
        let done = cluster.expect(0, args);
        assert_eq!(found(&[done.stdout_bytes, done.stderr.into_bytes()].concat()), [""; 0], "{args:?}");
    }
    is_masked(&show);
}

/// What a run and its drill say to programs, to people and to whoever looks later: with a secret, and with the same text as a
/// parameter, which nobody hides.
fn told(is_secret: bool) -> Vec<(&'static str, Vec<u8>)> {
    let (scene, ops) = (Scene::new(), receiver("200 OK"));
    let word = |name: &str| {
        let path = scene.file(name, SECRET);
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        path.display().to_string()
    };
    let (real, scratch, text) = (word("real"), word("scratch"), Value::from(SECRET));
    let forms = scene.file("forms", forms(SECRET.as_bytes()).join(&b'\n'));
    let (declared, drill, received) = match is_secret {
        true => (
            format!("params: {{n: {{type: int, default: 1}}}}\nsecrets: {{WORD: {{file: '{real}'}}}}\n"),
            format!("with: {{n: 2}}, secrets: {{WORD: {{file: '{scratch}'}}}}"),
            "secrets: [WORD]\n    env: {N: '${{ params.n }}'}",
        ),
        false => (
            format!("params: {{word: {{default: {text}}}}}\n"),
            format!("with: {{word: {text}}}"),
            "env: {WORD: '${{ params.word }}'}",
        ),
    };
    let (prints, first) = (format!("cat {0}; cat {0} >&2", forms.display()), "$(printf %s \"$WORD\" | head -n 1)");
    scene.file(
        "s.yaml",
        format!(
            "name: s\n{declared}drill: {{{drill}}}\nsteps:\n  - id: tell\n    {received}\n    run: |\n      {prints}\n      echo \"word={first}\" >> \"$RUNWARD_OUTPUT\"\n  \
             - {{id: say, notify: {{channel: ops, text: 'it said ${{{{ steps.tell.outputs.word }}}}'}}}}\n  - id: fails\n    {received}\n    run: |\n      {prints}\n      exit 3\n"
        ),
    );
    scene.file("runward.toml", webhook("ops", &ops.base()));
    let github = scene.expect(1, &["run", "s.yaml", "--format", "github", "--report", "junit.xml"]);
    let drill = scene.expect(1, &["run", "--drill", "s.yaml", "--format", "junit"]);
    let said = |args: &[&str]| scene.expect(0, args).stdout_bytes;
    scene.expect(0, &["plan", "--drill", "s.yaml", "--out", "drill.plan"]);
    let letters: Vec<String> = ops.asked().into_iter().map(|asked| asked.head + &asked.body).collect();
    assert_eq!(letters.len(), 4, "two runs, and two letters of each: {letters:?}");
    vec![
        ("run --format github", [github.stdout_bytes, github.stderr.into_bytes()].concat()),
        ("run --report", fs::read(scene.path("junit.xml")).unwrap()),
        ("run --drill --format junit", [drill.stdout_bytes, drill.stderr.into_bytes()].concat()),
        ("report", said(&["report", "last"])),
        ("report --format html", said(&["report", "last", "--format", "html"])),
        ("report --format json", said(&["report", "last", "--format", "json"])),
        ("plan --drill", said(&["plan", "--drill", "s.yaml"])),
        ("plan --drill --format json", said(&["plan", "--drill", "s.yaml", "--format", "json"])),
        ("plan --drill --out", fs::read(scene.path("drill.plan")).unwrap()),
        ("letters", letters.concat().into_bytes()),
    ]
}

#[test]
fn a_secret_is_in_no_report_no_plan_of_a_drill_and_no_letter() {
    for (place, bytes) in told(true) {
        assert_eq!(found(&bytes), [""; 0], "{place}");
    }
    for (place, bytes) in told(false) {
        assert_ne!(found(&bytes), [""; 0], "what is no secret is not in {place}: so nothing is proved there");
    }
}
