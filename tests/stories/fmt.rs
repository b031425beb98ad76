//! `runward fmt`: files laid out well, and never anything else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use crate::harness::{Scene, finish};

const UGLY: &str = "# why\nsteps:\n- id:   one\n  run: |\n    echo   'a'  \n- {id: two,   cmd: [ 'true' ]}\n";
const WELL: &str = "# why\nsteps:\n  - id: one\n    run: |\n      echo   'a'  \n  - {id: two, cmd: ['true']}\n";

#[test]
fn a_file_is_formatted_in_its_place_with_its_mode_and_once_is_enough() {
    let scene = Scene::new();
    let path = scene.file("runbooks/db/备份.yaml", UGLY);
    scene.file("runbooks/well.yaml", WELL);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let owner = if nix::unistd::geteuid().is_root() { 4711 } else { nix::unistd::geteuid().as_raw() };
    std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
    std::os::unix::fs::symlink("db/备份.yaml", scene.path("runbooks/link.yaml")).unwrap();

    let check = scene.expect(1, &["fmt", "--check"]);
    assert_eq!(check.stdout, "would change runbooks/db/备份.yaml\nwould change runbooks/link.yaml\n");
    let diff = scene.expect(0, &["fmt", "--diff", "runbooks/db"]);
    assert!(diff.stdout.contains("\n-- id:   one\n") && diff.stdout.contains("\n+  - id: one\n"), "{}", diff.stdout);
    assert_eq!(scene.read("runbooks/db/备份.yaml"), UGLY, "so far nothing was changed");

    assert_eq!(scene.expect(0, &["fmt"]).stdout, "formatted runbooks/db/备份.yaml\n");
    assert_eq!(scene.read("runbooks/db/备份.yaml"), WELL);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.uid()), (0o640, owner));
    assert!(fs::symlink_metadata(scene.path("runbooks/link.yaml")).unwrap().is_symlink());
    assert_eq!(scene.expect(0, &["fmt", "--check"]).stdout, "");
    assert_eq!(scene.expect(0, &["fmt", "db/备份"]).stdout, "", "by name, and nothing to do");
    assert_eq!(fs::read_dir(scene.path("runbooks/db")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn it_is_a_filter_for_editors() {
    let scene = Scene::new();
    let file = scene.file("in.yaml", UGLY);
    let filter = |args: &[&str]| {
        let mut command = scene.runward();
        command.args(["fmt", "-"]).args(args).stdin(Stdio::from(fs::File::open(&file).unwrap()));
        finish(&mut command)
    };
    assert_eq!((filter(&[]).code, filter(&[]).stdout.as_str()), (0, WELL));
    assert_eq!((filter(&["--check"]).code, filter(&["--check"]).stdout.as_str()), (1, ""));
}

#[test]
fn what_cannot_be_formatted_is_left_as_it_is_and_the_others_are_done() {
    let scene = Scene::new();
    let broken = "steps:\n  - id: [\n";
    let odd = "steps:\n- run: |+\n   keep\n\n\n- id: b\n";
    scene.file("a.yaml", broken);
    scene.file("b.yaml", odd);
    scene.file("c.yaml", UGLY);
    scene.file("d.yaml", b"a: \xff\n");
    let done = scene.expect(2, &["fmt", "a.yaml", "b.yaml", "c.yaml", "d.yaml"]);
    assert!(done.stderr.contains("this is not YAML") && done.stderr.contains("a.yaml:"), "{}", done.stderr);
    assert!(
        done.stderr.contains("b.yaml was left as it is") && done.stderr.contains("d.yaml is not UTF-8"),
        "{}",
        done.stderr
    );
    assert_eq!(
        (scene.read("a.yaml"), scene.read("b.yaml"), scene.read("c.yaml")),
        (broken.into(), odd.into(), WELL.into())
    );
    scene.expect(2, &["fmt", "--check", "a.yaml", "c.yaml"]);
    let nowhere = scene.expect(2, &["fmt", "nope"]);
    assert!(nowhere.stderr.contains("does not exist"), "{}", nowhere.stderr);
}
