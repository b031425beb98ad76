//! Drills: the same procedure with a target that nobody misses, and no way to the real one.

use serde_json::Value;

use crate::harness::{Done, Scene, finish, kill_9, step_of, wait};
use crate::server::Machine;

const RESTORE: &str = r#"
name: restore
params:
  dir: {type: path, required: true}
  target: {type: string, default: prod}
  note: {type: string, default: none}
secrets: {KEY: {env: REAL_KEY}}
concurrency: {group: restore, when-busy: cancel-running}
drill:
  with: {dir: DIR, target: scratch}
  free: [note]
  secrets: {KEY: {env: SCRATCH_KEY}}
  connections: {main: scratch}
steps:
  - id: ask
    sql: {connection: main, query: "insert into t values (${{ params.target }}) returning *", expect: {rows: 1}}
  - id: write
    secrets: [KEY]
    run: echo "${{ params.target }} ${{ params.note }} ${#KEY}" >> ${{ params.dir }}/told
"#;

/// Two databases, of which one is the real one, and two secrets of different length.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("restore.yaml", RESTORE.replace("DIR", &scene.path("").display().to_string()));
    let config = ["main", "scratch"].map(|name| format!("[connections.{name}]\nurl = \"sqlite:{name}.db?mode=rwc\"\n"));
    scene.file("runward.toml", config.concat());
    ["main", "scratch"].iter().for_each(|name| drop(rows(&scene, name, "create table t (target text)")));
    scene
}

fn rows(scene: &Scene, name: &str, sql: &str) -> String {
    let done = finish(std::process::Command::new("sqlite3").arg(scene.path(&format!("{name}.db"))).arg(sql));
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.stdout
}

fn run(scene: &Scene, args: &[&str]) -> Done {
    let mut command = scene.runward();
    command.env("REAL_KEY", "the-real-key-of-production").env("SCRATCH_KEY", "scratch-key").arg("run");
    finish(command.args(args))
}

fn told(scene: &Scene) -> (String, String, String) {
    let all = |name: &str| rows(scene, name, "select target from t");
    (all("main"), all("scratch"), scene.read("told"))
}

#[test]
fn a_drill_reaches_the_scratch_target_and_the_real_run_the_real_one() {
    let scene = scene();
    let done = run(&scene, &["--drill", "restore.yaml", "-p", "note=monthly"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(told(&scene), (String::new(), "scratch\n".into(), "scratch monthly 11\n".into()));
    let done = run(&scene, &["restore.yaml", "-p", &scene.dir()]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(told(&scene).0, "prod\n");
    assert!(scene.read("told").ends_with("prod none 26\n"), "{}", scene.read("told"));
}

#[test]
fn a_drill_is_marked_wherever_it_is_seen_and_stands_apart() {
    let scene = scene();
    assert_eq!(run(&scene, &["--drill", "restore.yaml"]).code, 0);
    let last = scene.last();
    assert_eq!((&last["drill"], &last["run"]["name"]), (&true.into(), &"restore.drill".into()));
    assert_eq!(last["group"]["name"], "restore.drill");
    assert!(scene.expect(0, &["show", "last"]).stdout.contains("drill       with scratch values"));
    assert!(scene.expect(0, &["runs"]).stdout.contains("restore.drill"));
    assert!(scene.expect(0, &["report", "last"]).stdout.contains("**drill:** with scratch values"));
    assert!(scene.expect(0, &["runs", "restore"]).stdout.contains("no runs of `restore`"));
    assert_eq!(scene.json(&["report", "last"])["drill"], true);
}

#[test]
fn nobody_gives_a_drill_another_target() {
    let scene = scene();
    scene.file("p.yaml", "target: prod\n");
    let refused = |done: Done| {
        assert_eq!(done.code, 2, "{}{}", done.stdout, done.stderr);
        assert!(
            done.stderr.contains("`target`") && done.stderr.contains("`prod` is not one of scratch"),
            "{}",
            done.stderr
        );
    };
    refused(run(&scene, &["--drill", "restore.yaml", "-p", "target=prod"]));
    refused(run(&scene, &["--drill", "restore.yaml", "--params-file", "p.yaml"]));
    let mut command = scene.runward();
    refused(finish(command.env("RUNWARD_PARAM_TARGET", "prod").args(["run", "--drill", "restore.yaml"])));
    refused(scene.run(&["plan", "--drill", "restore.yaml", "-p", "target=prod"]));
    assert_eq!(scene.runs_recorded(), 0);
    assert_eq!(told(&scene).0, "");
}

#[test]
fn what_nobody_has_said_of_a_drill_is_refused_all_at_once_before_anything_starts() {
    let scene = scene();
    scene.file("plain.yaml", "steps:\n  - {id: a, run: touch ../../../../here}\n");
    let done = run(&scene, &["--drill", "plain.yaml"]);
    assert!(
        done.code == 2 && done.stderr.contains("no `drill:`") && done.stderr.contains("drill: {with"),
        "{}",
        done.stderr
    );
    let bad = RESTORE
        .replace("  with: {dir: DIR, target: scratch}\n  free: [note]\n", "  with: {dir: /tmp}\n  free: [noet, dir]\n")
        .replace("SCRATCH_KEY", "REAL_KEY")
        .replace("{main: scratch}", "{main: main, other: scratch}")
        + "  - {id: far, host: db1, run: 'true'}\n";
    scene.file("bad.yaml", bad);
    let done = scene.run(&["validate", "bad.yaml"]);
    assert_eq!(done.code, 2);
    for part in [
        "nobody has said what the parameter `target` is in a drill",
        "`noet` is not a parameter",
        "did you mean `note`?",
        "`dir` has a value in `with`, and cannot be free as well",
        "this is the real secret `KEY`",
        "`main` is a real connection",
        "no step uses the connection `other`",
        "nothing says that step `far` runs on another host in a drill",
    ] {
        assert!(done.stderr.contains(part), "{part}\n{}", done.stderr);
    }
    let missing = RESTORE.replace("  secrets: {KEY: {env: SCRATCH_KEY}}\n  connections: {main: scratch}\n", "");
    scene.file("missing.yaml", missing.replace("DIR", "/tmp"));
    let done = scene.run(&["validate", "missing.yaml"]);
    assert!(done.stderr.contains("nobody has said what the secret `KEY` is in a drill"), "{}", done.stderr);
    assert!(done.stderr.contains("nobody has said what the connection `main` is in a drill"), "{}", done.stderr);
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn what_a_drill_calls_is_a_drill_or_is_not_called() {
    let scene = scene();
    let call = "name: all\nparams: {t: {type: string, default: prod}}\ndrill: {with: {t: scratch}}\nsteps:\n  - {id: call, runbook: ./restore.yaml, with: {dir: DIR, target: '${{ params.t }}', note: '${{ params.t }}'}}\n";
    scene.file("all.yaml", call.replace("DIR", &scene.path("").display().to_string()));
    let done = run(&scene, &["--drill", "all.yaml"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!((told(&scene).0.as_str(), told(&scene).1.as_str()), ("", "scratch\n"));
    let child = scene.last()["children"][0]["run"].as_str().unwrap().to_owned();
    assert_eq!(scene.json(&["show", &child])["drill"], true);
    // A caller that would send it to the real target is refused by what it calls.
    scene.file(
        "all.yaml",
        call.replace("DIR", &scene.path("").display().to_string()).replace("target: '${{ params.t }}'", "target: prod"),
    );
    let done = run(&scene, &["--drill", "all.yaml"]);
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(done.code != 0 && said.contains("is not one of"), "{said}");
    let real = scene.read("restore.yaml");
    let (before, after) = (real.find("drill:").unwrap(), real.find("steps:").unwrap());
    scene.file("restore.yaml", format!("{}{}", &real[..before], &real[after..]));
    let done = run(&scene, &["--drill", "all.yaml"]);
    assert!(
        done.code == 2 && done.stderr.contains("restore.yaml") && done.stderr.contains("no `drill:`"),
        "{}",
        done.stderr
    );
    assert_eq!(told(&scene).0, "");
}

#[test]
fn a_drill_neither_waits_for_a_real_run_nor_cancels_one() {
    let scene = Scene::new();
    let text = "name: r\nparams: {dir: {type: path, required: true}, go: {type: string, default: go}}\nconcurrency: {group: g, when-busy: cancel-running}\ndrill: {with: {dir: DIR, go: now}}\nsteps:\n  - id: a\n    run: echo in >> ${{ params.dir }}/log-${{ params.go }}; until test -e ${{ params.dir }}/${{ params.go }}; do sleep 0.05; done\n";
    scene.file("r.yaml", text.replace("DIR", &scene.path("").display().to_string()));
    let mut real = scene.start(&["run", "r.yaml", "-p", &scene.dir()]);
    scene.wait_for("log-go", "in");
    scene.file("now", "");
    scene.expect(0, &["run", "--drill", "r.yaml"]);
    scene.file("go", "");
    assert!(real.wait().unwrap().success());
}

#[test]
fn a_drill_whose_driver_was_killed_goes_on_as_a_drill() {
    let scene = scene();
    let text = scene.read("restore.yaml");
    let waits = "  - {id: hold, run: 'touch ../../../../there; until test -e ../../../../go; do sleep 0.05; done'}\n  - id: ask\n";
    scene.file("restore.yaml", text.replace("  - id: ask\n", waits));
    let mut command = scene.runward();
    command.env("SCRATCH_KEY", "scratch-key").args(["run", "--drill", "restore.yaml"]);
    let mut driver = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    wait("the first step", || scene.path("there").exists());
    kill_9(&mut driver);
    // Whatever the file says by now.
    scene.file("restore.yaml", "steps: [{id: a, run: exit 9}]\n");
    scene.file("go", "");
    let mut command = scene.runward();
    let done = finish(command.env("SCRATCH_KEY", "scratch-key").env("REAL_KEY", "real").args(["resume", "last"]));
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(told(&scene), (String::new(), "scratch\n".into(), "scratch none 11\n".into()));
}

#[test]
fn what_is_agreed_to_for_a_drill_is_not_agreed_to_for_the_real_run() {
    let scene = scene();
    let plan = |args: &[&str]| scene.json(&[&["plan", "restore.yaml"], args].concat());
    let dir = scene.dir();
    let real: Value = plan(&["-p", &dir, "-p", "target=scratch"]);
    let drill: Value = plan(&["--drill"]);
    assert_eq!(drill["drill"], true);
    assert_ne!((&real["plan"], &real["definition"]), (&drill["plan"], &drill["definition"]));
    assert!(drill["steps"][0]["command"].to_string().contains("the connection scratch"));
    assert!(drill["steps"][1]["command"].to_string().contains("SCRATCH_KEY"));
    scene.expect(0, &["plan", "--drill", "restore.yaml", "--out", "drill.plan"]);
    scene.expect(0, &["plan", "restore.yaml", "-p", &dir, "--out", "real.plan"]);
    let done = run(&scene, &["--plan", "real.plan", "--drill"]);
    assert_eq!(done.code, 2, "{}{}", done.stdout, done.stderr);
    // It is what was planned, whether that is said again or not.
    let done = run(&scene, &["--plan", "drill.plan"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!((told(&scene).0.as_str(), told(&scene).1.as_str()), ("", "scratch\n"));
}

#[test]
fn a_real_database_is_no_scratch_one_by_another_name() {
    let scene = scene();
    let one = |name: &str, url: &str| format!("[connections.{name}]\nurl = \"sqlite:{url}\"\n");
    scene.file("runward.toml", one("main", "main.db") + &one("scratch", "./main.db?mode=rwc"));
    for command in [&["run", "--drill"][..], &["plan", "--drill"], &["validate"]] {
        let done = scene.expect(2, &[command, &["restore.yaml"]].concat());
        assert!(
            done.stderr.contains("`main` (") && done.stderr.contains("real connection"),
            "{command:?} {}",
            done.stderr
        );
    }
    assert_eq!((scene.runs_recorded(), told(&scene).0.as_str()), (0, ""));
    let done = run(&scene, &["restore.yaml", "-p", &scene.dir()]);
    assert_eq!(done.code, 0, "the real run is what it was: {}{}", done.stdout, done.stderr);
}

#[test]
fn a_schedule_starts_drills() {
    let machine = Machine::new();
    let dir = machine.scene.path("").display().to_string();
    machine.scene.file(
        "runbooks/restore.yaml",
        format!("params: {{target: {{type: string, default: prod}}, n: {{type: int, default: 0}}}}\ndrill: {{with: {{target: scratch}}, free: [n]}}\non:\n  schedule:\n    - {{id: monthly, cron: '* * * * *', timezone: UTC, drill: true, with: {{n: 7}}}}\nsteps:\n  - {{id: a, run: 'echo \"${{{{ params.target }}}} ${{{{ params.n }}}}\" >> {dir}/told'}}\n"),
    );
    let server = machine.server_at("2026-11-22 02:29:58");
    wait("a drill", || machine.scene.read("told").contains("scratch 7\n"));
    drop(server);
    assert!(!machine.scene.read("told").contains("prod"));
    let runs = finish(machine.runward().args(["runs", "restore.drill"])).stdout;
    assert!(runs.contains("schedule restore/monthly"), "{runs}");
    machine.scene.file("other.yaml", machine.scene.read("runbooks/restore.yaml").replace("n: 7", "target: prod"));
    let done = machine.scene.expect(2, &["validate", "other.yaml"]);
    assert!(done.stderr.contains("a drill gets `target` from `drill.with`"), "{}", done.stderr);
    machine.scene.file("none.yaml", "on: {schedule: [{cron: '@daily', drill: true}]}\nsteps: [{id: a, run: x}]\n");
    let done = machine.scene.run(&["validate", "none.yaml"]);
    assert!(done.code == 2 && done.stderr.contains("no `drill:` at its top"), "{}", done.stderr);
}

#[test]
fn a_step_of_a_drill_can_be_left_out_by_its_parameter() {
    let scene = Scene::new();
    scene.file("r.yaml", "params: {real: {type: bool, default: true}}\ndrill: {with: {real: false}}\nsteps:\n  - {id: work, run: 'true'}\n  - {id: switch, if: params.real, run: exit 3}\n");
    scene.expect(0, &["run", "--drill", "r.yaml"]);
    assert_eq!(step_of(&scene.last(), "switch")["status"], "skipped");
    scene.expect(1, &["run", "r.yaml"]);
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_never_replaced_by_the_real_one() {
    let scene = Scene::new();
    let book = |kind: &str, with: &str| {
        format!(
            "params: {{t: {{{kind}}}}}\ndrill: {{with: {{{with}}}}}\nsteps:\n  - {{id: a, run: 'echo ${{{{ params.t | json }}}} | cat'}}\n"
        )
    };
    for (kind, with, said) in [
        ("type: string, default: prod", "t: 7", "is not a string"),
        ("type: bool, default: true", "t: maybe", "is not a bool"),
        ("type: duration, default: 1h", "t: 30", "has no unit"),
        ("type: string, default: prod, enum: [prod, test]", "t: scratch", "is not one of"),
        ("type: string, default: prod", "t: '${{ env.X }}'", "cannot stand here"),
        ("type: string, default: prod", "t: s, zzz: 4", "`zzz` is not a parameter"),
    ] {
        scene.file("x.yaml", book(kind, with));
        for args in [&["validate", "x.yaml"][..], &["run", "--drill", "x.yaml"]] {
            let done = scene.expect(2, args);
            assert!(done.stderr.contains(said), "{with}: {}", done.stderr);
        }
    }
}

#[test]
fn no_real_secret_and_no_real_host_gets_into_a_drill_under_another_name() {
    let scene = Scene::new();
    let secrets = |real: &str, own: &str| {
        format!(
            "secrets: {{A: {{{real}}}, B: {{env: REAL_B}}}}\ndrill: {{secrets: {{A: {{{own}}}, B: {{env: SCRATCH_B}}}}}}\nsteps:\n  - {{id: a, secrets: [A, B], run: 'true'}}\n"
        )
    };
    for (real, own) in [
        ("env: REAL_A", "env: REAL_B"),
        ("file: /run/x", "file: /run//y/../x"),
        ("exec: [cat, /run/x]", "exec: [cat, /run/./x]"),
    ] {
        scene.file("s.yaml", secrets(real, own));
        let done = scene.expect(2, &["validate", "s.yaml"]);
        assert!(done.stderr.contains("this is the real secret"), "{own}: {}", done.stderr);
    }
    scene.file("s.yaml", secrets("file: /run/x", "file: /run/y"));
    scene.expect(0, &["validate", "s.yaml"]);
    let hosts = |each: &str, host: &str| {
        format!(
            "params: {{h: {{type: list, default: [db1]}}, f: {{default: db1}}}}\ndrill: {{with: {{h: [s1]}}, free: [f]}}\nsteps:\n  - {{id: a, {each}host: \"{host}\", run: 'echo ${{{{ params.h | json }}}} ${{{{ params.f }}}} | cat'}}\n"
        )
    };
    for (each, host) in [
        ("for-each: [db1, db2], ", "${{ item }}"),
        ("", "${{ 'db1' }}"),
        ("", "db1.${{ params.f }}"),
        ("", "${{ params.f }}"),
    ] {
        scene.file("h.yaml", hosts(each, host));
        let done = scene.expect(2, &["validate", "h.yaml"]);
        assert!(done.stderr.contains("runs on another host in a drill"), "{host}: {}", done.stderr);
    }
    scene.file("h.yaml", hosts("for-each: '${{ params.h }}', ", "${{ item }}"));
    scene.expect(0, &["validate", "h.yaml"]);
}

#[test]
fn what_is_called_like_a_drill_is_one() {
    let scene = Scene::new();
    scene.file("k.drill.yaml", "steps:\n  - {id: a, run: 'true'}\n");
    assert!(scene.expect(2, &["run", "k.drill.yaml"]).stderr.contains("belong to drills"));
    scene.file("g.yaml", "concurrency: {group: g.drill}\nsteps:\n  - {id: a, run: 'true'}\n");
    assert!(scene.expect(2, &["run", "g.yaml"]).stderr.contains("belong to drills"));
}
