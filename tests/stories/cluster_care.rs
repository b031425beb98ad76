//! Looking after a ledger that many hosts use.

use runward_services::Postgres;

use super::cluster_cli::{TWO, host};
use crate::harness::Scene;

#[test]
fn runs_that_are_over_are_pruned_from_any_host_and_stay_on_the_record() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    let run = |key: &str| host.expect(0, &["run", "two.yaml", "--detach", "--key", key]).stdout.trim().to_owned();
    let (old, young, lives) = (run("old"), run("young"), run("lives"));
    for id in [&old, &young] {
        host.expect(0, &["cancel", id]);
    }
    let dry = host.expect(0, &["db", "prune", "--keep", "0", "--dry-run"]).stdout;
    assert!(dry.contains("would prune 2 runs") && dry.contains(&old) && !dry.contains(&lives), "{dry}");
    let aged = host.expect(0, &["db", "prune", "--keep", "0", "--older-than", "1d"]).stdout;
    assert!(aged.contains("pruned 0 runs"), "{aged}");
    let done = host.expect(0, &["db", "prune", "--keep", "0"]).stdout;
    assert!(done.contains("pruned 2 runs") && done.contains("each worker removes its folders"), "{done}");
    assert_eq!(host.json(&["runs"]).as_array().map(Vec::len), Some(1));
    let again = host.run(&["run", "two.yaml", "--detach", "--key", "old"]);
    assert!(again.code != 0 && again.stderr.contains(&old) && again.stderr.contains("pruned"), "{}", again.stderr);
    host.expect(0, &["audit", "verify"]);
    let json = host.json(&["db", "prune", "--keep", "0"]);
    assert_eq!(json["pruning"]["pruned"].as_array().map(Vec::len), Some(0));
    let status = host.json(&["db", "status"]);
    assert_eq!((&status["contents"]["log_parts"], &status["contents"]["runs"]["queued"]), (&0.into(), &1.into()));
    assert!(!scene.path("state").exists(), "this host keeps nothing");
}
