//! A key makes a start safe to repeat, whatever became of the first call.

use crate::harness::{Scene, finish, kill_9, wait};

const BOOK: &str = "\
params: {dir: {type: path, required: true}, n: {type: int, default: 1}}
steps:
  - id: slow
    env: {DIR: '${{ params.dir }}'}
    run: |
      echo start ${{ params.n }} >> \"$DIR/effects\"
      until test -e \"$DIR/go\"; do sleep 0.02; done
  - id: bad
    run: exit 3
";

fn scene() -> (Scene, String) {
    let scene = Scene::new();
    scene.file("book.yaml", BOOK);
    let dir = scene.dir();
    (scene, dir)
}

#[test]
fn a_repeated_call_follows_the_run_of_another_process_to_its_end() {
    let (scene, dir) = scene();
    let args = ["run", "book.yaml", "-p", &dir, "--key", "job 7"];
    let mut first = scene.start(&args);
    scene.wait_for("effects", "start");
    let mut second = scene.runward();
    let out = std::fs::File::create(scene.path("second.out")).unwrap();
    let mut second = second.args(args).stderr(out.try_clone().unwrap()).stdout(out).spawn().unwrap();
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    scene.wait_for("second.out", &format!("the key `job 7` names run {id}"));
    scene.file("go", "");
    assert_eq!((first.wait().unwrap().code(), second.wait().unwrap().code()), (Some(1), Some(1)));
    assert!(scene.read("second.out").contains("bad failed"), "{}", scene.read("second.out"));
    assert_eq!((scene.read("effects").as_str(), scene.runs_recorded()), ("start 1\n", 1));
}

#[test]
fn a_repeated_call_shows_the_end_of_a_run_that_is_over() {
    let (scene, dir) = scene();
    scene.file("go", "");
    for format in ["text", "json", "github", "junit"] {
        let args = ["run", "book.yaml", "-p", &dir, "--key", "job", "--format", format];
        let done = scene.expect(1, &args);
        assert!(done.stdout.contains("exit code 3"), "{}", done.stdout);
    }
    let supervisors = std::fs::read_dir(scene.path("state/supervisors")).map_or(0, Iterator::count);
    assert_eq!((scene.read("effects").as_str(), scene.runs_recorded()), ("start 1\n", 1));
    assert!(supervisors <= 1, "only the first call had anything to start");
}

#[test]
fn a_repeated_call_carries_on_when_the_first_one_was_killed() {
    let (scene, dir) = scene();
    let args = ["run", "book.yaml", "-p", &dir, "--key", "job"];
    let mut first = scene.start(&args);
    scene.wait_for("effects", "start");
    kill_9(&mut first);
    let mut second = scene.start(&args);
    scene.wait_for("started.out", "still runs");
    // Whoever only watched takes over, too.
    let mut third = scene.runward();
    let out = std::fs::File::create(scene.path("third.out")).unwrap();
    let mut third = third.args(args).stderr(out.try_clone().unwrap()).stdout(out).spawn().unwrap();
    scene.wait_for("third.out", "book: run");
    kill_9(&mut second);
    scene.wait_for("third.out", "carries it on");
    scene.file("go", "");
    assert_eq!(third.wait().unwrap().code(), Some(1), "{}", scene.read("third.out"));
    assert_eq!((scene.read("effects").as_str(), scene.runs_recorded()), ("start 1\n", 1));
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_key_names_one_job_and_another_one_is_refused_with_the_difference() {
    let (scene, dir) = scene();
    scene.file("go", "");
    scene.expect(1, &["run", "book.yaml", "-p", &dir, "--key", "job"]);
    let refused = |args: &[&str]| {
        let done = finish(scene.runward().args(args).args(["--key", "job"]));
        assert_eq!(done.code, 2, "{}{}", done.stdout, done.stderr);
        done.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let params = refused(&["run", "book.yaml", "-p", &dir, "-p", "n=2"]);
    assert!(params.contains("with other parameters: n") && params.contains("new key"), "{params}");
    scene.file("other.yaml", BOOK);
    assert!(refused(&["run", "other.yaml", "-p", &dir]).contains("of the runbook `book`"));
    scene.file("book.yaml", format!("{BOOK}# edited\n"));
    assert!(refused(&["run", "book.yaml", "-p", &dir]).contains("changed since"));
    assert_eq!((scene.read("effects").as_str(), scene.runs_recorded()), ("start 1\n", 1));
}

#[test]
fn a_key_is_something_a_person_can_read() {
    let (scene, dir) = scene();
    let long = "k".repeat(201);
    for (key, wanted) in [("", "visible"), ("a\nb", "visible"), (" a", "space"), (&long, "200")] {
        let done = scene.expect(2, &["run", "book.yaml", "-p", &dir, "--key", key]);
        assert!(done.stderr.contains(wanted), "{key:?}: {}", done.stderr);
    }
    scene.file("go", "");
    scene.expect(1, &["run", "book.yaml", "-p", &dir, "--key", "备份 acme/site#1"]);
    wait("its row", || scene.last()["run"]["key"] == "备份 acme/site#1");
}
