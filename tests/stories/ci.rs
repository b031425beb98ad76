//! A job of CI: one key is one run, whoever calls and whatever becomes of the job; and the answer comes where it is waited for.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::formats::junit;
use crate::harness::{Done, Scene, finish, is_alive, kill_9, processes, repository, step_of, wait};

/// `ship` counts its starts, waits for a file `go`, and fails if there is a file `broken`.
const RELEASE: &str = "\
params: {dir: {type: path, required: true}, version: {type: string, required: true}}
defaults: {env: {DIR: '${{ params.dir }}'}}
steps:
  - id: build
    run: echo build >> \"$DIR/builds\"
  - id: ship
    run: |
      echo start ${{ params.version }} >> \"$DIR/starts\"
      until test -e \"$DIR/go\"; do sleep 0.02; done
      ! test -e \"$DIR/broken\"
finally:
  - id: clean
    run: |
      echo cleaning >> \"$DIR/cleaning\"
      until test -e \"$DIR/clean\"; do sleep 0.02; done
";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("runbooks/release.yaml", RELEASE);
    scene
}

fn release<'a>(dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["run", "release", "-p", "version=1.4.2", "-p", dir, "--key", "release-7"]
        .into_iter()
        .chain(more.iter().copied())
        .collect()
}

/// Starts it, with its output in `NAME.out` and `NAME.err` of the scene.
fn start(scene: &Scene, mut command: Command, name: &str) -> Child {
    let file = |end: &str| fs::File::create(scene.path(&format!("{name}.{end}"))).unwrap();
    command.stdout(file("out")).stderr(file("err")).spawn().unwrap()
}

fn caller(scene: &Scene, args: &[&str], name: &str) -> Child {
    let mut command = scene.runward();
    command.args(args);
    start(scene, command, name)
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn told(scene: &Scene, name: &str) -> String {
    format!("{}{}", scene.read(&format!("{name}.out")), scene.read(&format!("{name}.err")))
}

/// How a job says that the run failed.
fn ends(scene: &Scene, name: &str) -> Option<String> {
    scene.read(&format!("{name}.out")).lines().find(|line| line.starts_with("✗ release failed")).map(str::to_owned)
}

#[test]
fn a_release_that_is_started_by_many_at_once_is_one_run_and_all_see_its_end() {
    let scene = scene();
    scene.file("broken", "");
    scene.file("clean", "");
    let (dir, names) = (scene.dir(), ["a", "b", "c", "d", "e", "f"]);
    let args = release(&dir, &["--format", "github"]);
    let mut callers: Vec<Child> = names.iter().map(|name| caller(&scene, &args, name)).collect();
    for name in names {
        scene.wait_for(&format!("{name}.out"), "release: run ");
    }
    scene.file("go", "");
    for (child, name) in callers.iter_mut().zip(names) {
        assert_eq!(child.wait().unwrap().code(), Some(1), "{}", told(&scene, name));
        let out = scene.read(&format!("{name}.out"));
        assert!(ends(&scene, name).is_some() && out.contains("::group::ship (failed"), "{out}");
    }
    let named = names.iter().filter(|name| told(&scene, name).contains("nothing is started twice")).count();
    assert_eq!((named, scene.read("starts").as_str(), scene.runs_recorded()), (5, "start 1.4.2\n", 1));
    scene.expect(0, &["audit", "verify"]);
}

/// The same, called on another machine: another checkout, another state folder.
fn elsewhere(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = cluster.runward();
    command.args(args).env("RUNWARD_STATE", cluster.state("elsewhere")).current_dir(cluster.scene.path("elsewhere"));
    command
}

#[test]
fn jobs_on_two_machines_with_one_key_follow_one_run_though_the_first_is_killed() {
    let cluster = Cluster::new();
    let scene = &cluster.scene;
    for checkout in ["runbooks", "elsewhere/runbooks"] {
        scene.file(&format!("{checkout}/release.yaml"), RELEASE);
    }
    scene.file("broken", "");
    scene.file("clean", "");
    let _worker = cluster.worker("db1", &[]);
    let dir = scene.dir();
    let args = release(&dir, &["--format", "github"]);
    let mut command = cluster.runward();
    command.args(&args);
    let mut first = start(scene, command, "first");
    let mut second = start(scene, elsewhere(&cluster, &args), "second");
    for name in ["first", "second"] {
        scene.wait_for(&format!("{name}.out"), "release: run ");
    }
    scene.wait_for("starts", "start");
    kill_9(&mut first);
    let mut watch = start(scene, elsewhere(&cluster, &["watch", "key:release-7"]), "watch");
    scene.wait_for("watch.out", "release: run ");
    scene.file("go", "");
    assert_eq!(second.wait().unwrap().code(), Some(1), "{}{}", told(scene, "second"), cluster.logs());
    assert_eq!(watch.wait().unwrap().code(), Some(1), "{}", told(scene, "watch"));
    assert_eq!(finish(&mut elsewhere(&cluster, &args)).code, 1);
    assert!(ends(scene, "second").is_some() && scene.read("second.out").contains("::group::ship (failed"));
    assert_eq!(scene.read("starts"), "start 1.4.2\n");
    assert_eq!(cluster.json(&["runs"]).as_array().map(Vec::len), Some(1));
    fs::remove_file(scene.path("broken")).unwrap();
    let again = finish(&mut elsewhere(&cluster, &release(&dir, &["--try", "2"])));
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
}

#[test]
fn a_job_of_a_cluster_that_is_cancelled_by_int_and_then_by_term_cleans_up_after_all() {
    let cluster = Cluster::new();
    let scene = &cluster.scene;
    scene.file("runbooks/release.yaml", RELEASE);
    let _worker = cluster.worker("db1", &[]);
    let dir = scene.dir();
    let mut command = cluster.runward();
    command.args(release(&dir, &[]));
    let mut job = start(scene, command, "job");
    scene.wait_for("starts", "start");
    signal(&job, Signal::SIGINT);
    scene.wait_for("cleaning", "cleaning");
    signal(&job, Signal::SIGTERM);
    assert_eq!(job.wait().unwrap().code(), Some(4), "{}", told(scene, "job"));
    scene.file("clean", "");
    cluster.expect(4, &release(&dir, &[]));
    let show = cluster.json(&["show", "last"]);
    assert_eq!(step_of(&show, "clean")["status"], "succeeded", "{show:#}");
}

#[test]
fn a_job_that_is_cancelled_by_int_and_then_by_term_cleans_up_after_all() {
    let scene = scene();
    let dir = scene.dir();
    let mut job = caller(&scene, &release(&dir, &[]), "job");
    scene.wait_for("starts", "start");
    signal(&job, Signal::SIGINT);
    scene.wait_for("cleaning", "cleaning");
    signal(&job, Signal::SIGTERM);
    assert_eq!(job.wait().unwrap().code(), Some(4), "{}", told(&scene, "job"));
    assert!(told(&scene, "job").contains("brought to its end in the background"), "{}", told(&scene, "job"));
    scene.file("clean", "");
    // The next one with the key sees the end of it.
    let again = scene.expect(4, &release(&dir, &[]));
    assert!(again.stdout.contains("release cancelled"), "{}", again.stdout);
    let show = scene.last();
    assert_eq!(step_of(&show, "clean")["status"], "succeeded", "what is left is not killed: {show:#}");
    assert_eq!(scene.read("cleaning"), "cleaning\n");
}

#[test]
fn both_signals_at_the_same_moment_are_a_cancel_that_is_recorded() {
    let scene = scene();
    scene.file("clean", "");
    let dir = scene.dir();
    let mut job = caller(&scene, &release(&dir, &[]), "job");
    scene.wait_for("starts", "start");
    signal(&job, Signal::SIGINT);
    signal(&job, Signal::SIGTERM);
    assert_eq!(job.wait().unwrap().code(), Some(4), "{}", told(&scene, "job"));
    scene.expect(4, &release(&dir, &[]));
    assert_eq!(scene.last()["run"]["status"], "cancelled");
}

#[test]
fn what_is_meant_to_outlive_the_job_is_not_found_by_those_who_clean_up_after_it() {
    let scene = scene();
    scene.file("clean", "");
    let dir = scene.dir();
    let mark = format!("job-{}", std::process::id());
    let mut command = scene.runward();
    command.args(release(&dir, &["--detach"])).env("RUNNER_TRACKING_ID", &mark).env("JENKINS_NODE_COOKIE", &mark);
    assert_eq!(finish(&mut command).code, 0);
    scene.wait_for("starts", "start");
    let mut marked = processes();
    marked.retain(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        is_alive(*pid) && environment.split(|byte| *byte == 0).any(|one| one.ends_with(mark.as_bytes()))
    });
    assert_eq!(marked, [0_u32; 0], "neither the driver nor the supervisor");
    scene.file("go", "");
    let done = scene.expect(0, &["watch", "key:release-7"]);
    assert!(done.stdout.contains("✓ release succeeded"), "{}", done.stdout);
}

#[test]
fn another_job_waits_for_a_run_by_its_id_or_key_and_ends_as_it_does() {
    let scene = scene();
    scene.file("clean", "");
    scene.file("broken", "");
    let dir = scene.dir();
    let run = scene.expect(0, &release(&dir, &["--detach"])).stdout.trim().to_owned();
    let mut text = caller(&scene, &["watch", &run], "text");
    let mut json = caller(&scene, &["watch", "key:release-7", "--format", "json"], "json");
    let mut left = caller(&scene, &["watch", &run, "--format", "github", "--stay"], "left");
    for name in ["text", "json", "left"] {
        scene.wait_for(&format!("{name}.out"), &run);
    }
    // One that is ended leaves the run alone.
    signal(&left, Signal::SIGTERM);
    assert_eq!(left.wait().unwrap().code(), None);
    assert!(scene.last()["run"]["finished_at"].is_null());
    scene.file("go", "");
    assert_eq!((text.wait().unwrap().code(), json.wait().unwrap().code()), (Some(1), Some(1)));
    assert!(ends(&scene, "text").is_some() && scene.read("text.out").contains("▶ clean"), "{}", told(&scene, "text"));
    let events = scene.read("json.out");
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((&last["run"], &last["exit_code"]), (&run.clone().into(), &1.into()));
    // After its end, too, and with a report.
    scene.expect(1, &["watch", "last", "--format", "junit", "--report", "report.xml"]);
    assert_eq!(junit(&scene, "report.xml")["properties"]["runward.run"], run);
    let unknown = scene.expect(2, &["watch", "key:release-8", "--format", "text"]);
    assert!(unknown.stderr.contains("no run was started with the key `release-8`"), "{}", unknown.stderr);
    assert!(scene.expect(2, &["watch", "--format", "json"]).stderr.contains("<RUN>"));
    assert_eq!(scene.read("starts"), "start 1.4.2\n");
}

#[test]
fn whoever_waits_for_a_run_that_nobody_drives_is_told_so_or_stays() {
    let scene = scene();
    scene.file("clean", "");
    let dir = scene.dir();
    let mut job = caller(&scene, &release(&dir, &[]), "job");
    scene.wait_for("starts", "start");
    kill_9(&mut job);
    let undriven = scene.expect(8, &["watch", "last", "--format", "github"]);
    assert!(
        undriven.stderr.contains("nobody drives") && undriven.stderr.contains("runward resume"),
        "{}",
        undriven.stderr
    );
    let mut stays = caller(&scene, &["watch", "last", "--stay"], "stays");
    scene.wait_for("stays.err", "nobody drives the run");
    scene.file("go", "");
    scene.expect(0, &release(&dir, &[]));
    assert_eq!(stays.wait().unwrap().code(), Some(0), "{}", told(&scene, "stays"));
    assert_eq!(scene.read("starts"), "start 1.4.2\n");
}

#[test]
fn a_job_that_is_tried_again_goes_on_where_the_run_failed_once_for_each_try() {
    let scene = scene();
    for file in ["go", "clean", "broken"] {
        scene.file(file, "");
    }
    let dir = scene.dir();
    scene.expect(1, &release(&dir, &["--try", "1"]));
    scene.expect(1, &release(&dir, &["--try", "1"]));
    scene.expect(1, &release(&dir, &[]));
    assert_eq!(scene.read("starts").lines().count(), 1, "the same try has the same end");
    // Both calls of the second try are one.
    let args = release(&dir, &["--try", "2"]);
    let mut both = [caller(&scene, &args, "one"), caller(&scene, &args, "two")];
    for (child, name) in both.iter_mut().zip(["one", "two"]) {
        assert_eq!(child.wait().unwrap().code(), Some(1), "{}", told(&scene, name));
    }
    assert_eq!(scene.read("starts").lines().count(), 2);
    scene.expect(1, &args);
    assert_eq!(scene.read("starts").lines().count(), 2);
    fs::remove_file(scene.path("broken")).unwrap();
    let third = scene.expect(0, &release(&dir, &["--try", "3", "--format", "github"]));
    assert!(third.stdout.contains("generation 3"), "{}", third.stdout);
    scene.expect(0, &release(&dir, &["--try", "4"]));
    assert_eq!((scene.read("starts").lines().count(), scene.read("builds").as_str()), (3, "build\n"));
    assert_eq!(scene.runs_recorded(), 1);
    let page = scene.expect(0, &["show", "last", "--events"]).stdout;
    assert!(page.contains("try 3 of the job"), "{page}");
    let alone = scene.expect(2, &["run", "release", "-p", &dir, "-p", "version=1", "--try", "2"]);
    assert!(alone.stderr.contains("--key"), "{}", alone.stderr);
}

#[test]
fn nothing_is_tried_again_whose_outcome_nobody_knows() {
    let scene = Scene::new();
    scene.file(
        "release.yaml",
        "steps:\n  - id: ship\n    on-lost: fail\n    run: echo start >> ../../../../starts; sleep 600\n",
    );
    let args = ["run", "release.yaml", "--key", "k"];
    let mut job = caller(&scene, &args, "job");
    scene.wait_for("starts", "start");
    kill_9(&mut job);
    let attempts = scene.last()["attempts"][0]["claim"].as_str().unwrap().to_owned();
    // The machine is gone, and with it everything of the step: its supervisor, and whatever that started.
    let of_the_step = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let state = scene.path("state").display().to_string();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        has(&line, &state) || has(&environment, &attempts)
    };
    let living = || processes().into_iter().filter(of_the_step).filter(|pid| is_alive(*pid)).collect::<Vec<u32>>();
    assert!(!living().is_empty());
    // More than once: what is just being started has neither words nor an environment for a moment.
    wait("them to be gone", || {
        let mine = living();
        mine.iter().for_each(|pid| _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL));
        mine.is_empty()
    });
    let lost = scene.expect(8, &args);
    assert!(lost.stdout.contains("lost"), "{}", lost.stdout);
    let again = scene.expect(8, &["run", "release.yaml", "--key", "k", "--try", "2"]);
    assert!(again.stdout.contains("outcome unknown"), "{}", again.stdout);
    assert_eq!(scene.read("starts"), "start\n");
}

#[test]
fn a_job_leaves_a_run_that_waits_for_people_or_stays_until_they_have_spoken() {
    let scene = Scene::new();
    scene.file("release.yaml", "steps:\n  - id: agree\n    approve: {}\n  - id: ship\n    run: echo shipped\n");
    let args = ["run", "release.yaml", "--key", "k", "--format", "github"];
    let mut command = scene.runward();
    command.args(args).env("GITHUB_OUTPUT", scene.path("outputs"));
    let waits = finish(&mut command);
    assert_eq!(waits.code, 8, "{}{}", waits.stdout, waits.stderr);
    assert!(waits.stdout.contains("::warning ") && !waits.stdout.contains("::error"), "{}", waits.stdout);
    assert!(waits.stdout.contains("runward approve"), "{}", waits.stdout);
    let run = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    assert_eq!(scene.read("outputs"), format!("run={run}\nstatus=queued\nexit-code=8\n"));
    let mut stays = caller(&scene, &["run", "release.yaml", "--key", "k", "--stay"], "stays");
    scene.wait_for("stays.out", "release: run");
    scene.expect(0, &["approve", "key:k", "agree"]);
    assert_eq!(stays.wait().unwrap().code(), Some(0), "{}", told(&scene, "stays"));
    assert_eq!(scene.runs_recorded(), 1);
}

#[test]
fn each_mistake_of_a_runbook_is_annotated_where_it_is() {
    let scene = Scene::new();
    scene.file("repo/ops/bad.yaml", "steps:\n  - id: a\n    rum: x\n  - id: b\n    needs: [nobody]\n    run: x\n");
    let mut command = scene.runward();
    command.args(["validate", "repo/ops/bad.yaml", "nothing.yaml", "--format", "github"]);
    let done = finish(command.env("GITHUB_WORKSPACE", scene.path("repo")));
    assert_eq!(done.code, 2);
    let places: Vec<&str> =
        done.stdout.lines().filter_map(|line| line.strip_prefix("::error ")?.split(",title=").next()).collect();
    assert_eq!(
        places,
        ["file=ops/bad.yaml,line=3,col=5", "file=ops/bad.yaml,line=5,col=13", "file=nothing.yaml,line=1,col=1"],
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("did you mean `run`?") && done.stderr.contains("2 problems"), "{}", done.stdout);
}

/// The files that are given as examples, and what is in them for a shell.
fn example(file: &str) -> String {
    fs::read_to_string(repository().join("examples/ci").join(file)).unwrap()
}

/// Everything under these keys, wherever it stands.
fn scripts(value: &Value, keys: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => found.push(text.clone()),
                    Value::Array(all) if keys.contains(&key.as_str()) => {
                        found.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => scripts(value, keys, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| scripts(value, keys, found)),
        _ => {}
    }
}

/// Executes a command as a job does, in a checkout with the runbook of the examples.
fn job(scene: &Scene, script: &str) -> Done {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_runward")).parent().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-euc", script]).current_dir(scene.path("")).stdin(Stdio::null());
    bash.env("RUNWARD_STATE", scene.path("state")).env("RUNWARD_CONFIG", "/dev/null");
    bash.env("PATH", format!("{}:{}", binary.display(), std::env::var("PATH").unwrap()));
    for (name, value) in [
        ("VERSION", "1.4.2"),
        ("GITHUB_RUN_ID", "4711"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("CI_COMMIT_TAG", "1.4.2"),
        ("CI_PIPELINE_ID", "815"),
        ("CI_JOB_ID", "1234567"),
        ("BUILD_TAG", "jenkins-release-7"),
    ] {
        bash.env(name, value);
    }
    finish(&mut bash)
}

fn checkout() -> Scene {
    let scene = Scene::new();
    scene.file("runbooks/release.yaml", example("release.yaml"));
    scene.file("runbooks/deploy.yaml", example("release.yaml").replace("name: release", "name: deploy"));
    scene.file("Makefile", example("Makefile"));
    scene
}

#[test]
fn the_examples_for_ci_do_what_they_say_and_are_those_of_the_page() {
    let page = fs::read_to_string(repository().join("docs/ci.md")).unwrap();
    for file in ["github.yml", "gitlab-ci.yml", "Makefile"] {
        assert!(page.contains(&format!("\n{}```\n", example(file))), "docs/ci.md does not have examples/ci/{file}");
    }
    for (file, key, wanted) in [("github.yml", "run", 3), ("gitlab-ci.yml", "script", 2)] {
        let scene = checkout();
        let parsed: Value = serde_saphyr::from_str(&example(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut commands = Vec::new();
        scripts(&parsed, &[key], &mut commands);
        assert_eq!(commands.len(), wanted, "{file}: {commands:?}");
        for command in &commands {
            let done = job(&scene, command);
            assert_eq!(done.code, 0, "{file}: {command}\n{}{}", done.stdout, done.stderr);
        }
        assert_eq!(scene.runs_recorded(), 1, "{file}");
        assert!(file != "github.yml" || scene.read("release.log").contains("published 1.4.2"));
        if file == "gitlab-ci.yml" {
            junit(&scene, "release.xml");
        }
    }
    let scene = checkout();
    let jenkins = page.lines().find_map(|line| line.strip_prefix("sh '")?.strip_suffix('\'')).unwrap();
    assert_eq!(job(&scene, jenkins).code, 0, "{jenkins}");
    junit(&scene, "report.xml");
}

#[test]
fn the_makefile_releases_once_and_tells_bad_versions_apart() {
    let scene = checkout();
    for target in ["plan", "release", "release", "wait"] {
        let done = job(&scene, &format!("make {target}"));
        assert_eq!(done.code, 0, "make {target}: {}{}", done.stdout, done.stderr);
    }
    assert_eq!(scene.runs_recorded(), 1);
    let again = job(&scene, "make again");
    assert!(again.code == 2 && again.stderr.contains("nothing left to do"), "{}", again.stderr);
    let evil = job(&scene, "make release VERSION='1; touch evil'");
    assert!(evil.code == 2 && evil.stderr.contains("version"), "{}", evil.stderr);
    assert!(!scene.path("evil").exists());
}
