//! What steps print, read on another host than the one they run on.

use std::fs::File;

use super::cluster::{Cluster, EFFECTS};
use crate::harness::wait;

#[test]
fn what_a_step_prints_is_followed_from_another_host_and_is_whole_though_its_worker_dies() {
    let cluster = Cluster::new();
    let step = "  - id: a\n    run: |\n      echo begun; echo aside >&2\n      until test -e \"$DIR/go\"; do sleep 0.05; done\n      \
                seq 1 50000\n      touch \"$DIR/done\"\n";
    cluster.scene.file("x.yaml", format!("{EFFECTS}steps:\n{step}"));
    let mut worker = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    let followed = File::create(cluster.scene.path("followed")).unwrap();
    let mut follows = cluster.runward();
    follows.args(["logs", "-f", "--raw", "--stdout", &run]).stdout(followed);
    let mut follows = follows.spawn().unwrap();
    wait("what it prints while it runs", || cluster.scene.read("followed") == "begun\n");
    worker.kill_9();
    cluster.scene.file("go", "");
    wait("the step to end while nobody watches", || cluster.scene.path("done").exists());
    let _again = cluster.worker("alpha", &[]);
    assert!(follows.wait().unwrap().success(), "{}", cluster.logs());
    let whole: String = (1..=50_000).fold("begun\n".to_owned(), |text, n| text + &n.to_string() + "\n");
    assert!(cluster.scene.read("followed") == whole, "nothing is missing, nothing is there twice");
    let again = cluster.expect(0, &["logs", "--raw", &run]).stdout;
    assert_eq!(again.len(), whole.len() + "aside\n".len());
}

#[test]
fn what_a_pruned_run_left_goes_from_the_host_of_its_worker() {
    let cluster = Cluster::new().fast();
    cluster.scene.file("x.yaml", "steps:\n  - {id: a, run: echo one}\n");
    let worker = cluster.worker("alpha", &[]);
    let run = cluster.trigger(&["x.yaml"]);
    cluster.wait_for_end(&run);
    wait("its output to arrive", || cluster.json(&["db", "status"])["contents"]["log_parts"] == 1);
    let folder = cluster.state("alpha").join("runs").join(&run);
    assert!(folder.exists());
    cluster.expect(0, &["db", "prune", "--keep", "0"]);
    assert_eq!(cluster.json(&["db", "status"])["contents"]["log_parts"], 0);
    drop(worker);
    let _again = cluster.worker("alpha", &[]);
    wait("its folder to go", || !folder.exists());
}
