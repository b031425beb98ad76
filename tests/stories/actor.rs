//! Who did it stands on the record, and nobody can make up the part that counts.

use serde_json::Value;

use crate::harness::{Scene, finish};

const FAILS: &str = "steps:\n  - {id: one, run: 'test -e ok'}\n";

fn me() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap();
    format!("{}@{} (", user.name, nix::unistd::gethostname().unwrap().to_string_lossy())
}

fn events(scene: &Scene) -> Vec<(String, String)> {
    let show = scene.last();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = show["events"].as_array().unwrap();
    events.iter().map(|event| (text(&event["event"]["kind"]), text(&event["actor"]))).collect()
}

#[test]
fn every_event_names_the_user_the_kernel_knows_and_the_job_that_is_claimed() {
    let scene = Scene::new();
    scene.file("book.yaml", FAILS);
    let job = [
        ("CI", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "o/r"),
        ("GITHUB_RUN_ID", "17"),
    ];
    let done = finish(scene.runward().args(["run", "book.yaml"]).envs(job).env("USER", "root@prod\nevil"));
    assert_eq!(done.code, 1, "{}", done.stderr);
    let job = format!("{}GitHub Actions https://github.com/o/r/actions/runs/17)", me());
    assert!(events(&scene).iter().all(|(_, actor)| *actor == job), "{:?}", events(&scene));
    assert!(scene.expect(0, &["show", "last"]).stdout.contains(&job));
    assert!(scene.expect(0, &["runs"]).stdout.contains(&job));

    // Another person tries again, by sudo.
    let before = events(&scene).len();
    finish(scene.runward().args(["resume", "last"]).env("SUDO_USER", "bob) root@prod (terminal\u{202e}\n"));
    let sudo = format!("{}no terminal, sudo from bob??root@prod??terminal??)", me());
    let after = events(&scene).split_off(before);
    assert!(!after.is_empty() && after.iter().all(|(_, actor)| *actor == sudo), "{after:?}");
}

#[test]
fn whoever_cancels_is_named_too() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - {id: one, run: 'touch started; exec sleep 300', cwd: .}\n");
    let run = scene.expect(0, &["run", "book.yaml", "--detach"]);
    let id = run.stdout.trim().to_owned();
    finish(scene.runward().args(["cancel", &id, "--reason", "wrong day"]).env("SUDO_USER", "carol"));
    let events = events(&scene);
    let cancel = events.iter().find(|(kind, _)| kind == "cancel_requested").unwrap();
    assert_eq!(cancel.1, format!("{}no terminal, sudo from carol)", me()));
}
