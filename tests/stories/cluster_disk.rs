//! A worker without room in its state folder, beside one that has some.

use std::time::Duration;

use runward_services::Disk;

use crate::cluster::{Cluster, EFFECTS, ask, free_port};
use crate::harness::{step_of, wait};

#[test]
fn a_worker_without_room_leaves_the_steps_to_the_others_and_comes_back_by_itself() {
    let cluster = Cluster::new().fast();
    cluster
        .scene
        .file("x.yaml", format!("{EFFECTS}steps:\n  - id: a\n    run: echo $RUNWARD_RUN_ID >> \"$DIR/effects\"\n"));
    let disk = Disk::at(&cluster.state("alpha"));
    let port = free_port();
    let full = cluster.member_on(&disk, "worker", "alpha", &["--listen", &format!("127.0.0.1:{port}")]);
    let ready = |wanted: u16| {
        wait("it to be ready or not", || ask(port, "/readyz").is_some_and(|(status, _)| status == wanted))
    };
    ready(200);
    wait("nobody to be just writing", || disk.fill());
    let well = cluster.worker("beta", &[]);
    let trigger = || cluster.trigger(&["x.yaml", "-p", &cluster.scene.dir()]);
    for run in std::iter::repeat_with(trigger).take(12).collect::<Vec<_>>() {
        let show = cluster.wait_for_end(&run);
        assert_eq!(show["run"]["status"], "succeeded", "{show}\n{}", cluster.logs());
    }
    assert_eq!(cluster.scene.read("effects").lines().count(), 12, "each once");

    ready(503);
    let (_, why) = ask(port, "/readyz").unwrap();
    assert!(why.contains("the file system of the state folder") && why.contains("MiB"), "{why}\n{}", cluster.logs());
    let log = cluster.scene.read("alpha.log");
    assert_eq!(log.matches("nothing new is taken until there is room").count(), 1, "{log}");
    wait("the others to hear of it", || cluster.expect(0, &["workers"]).stdout.contains("draining: takes nothing new"));

    // Alone it takes nothing, and goes on where there is room again.
    assert_eq!(well.end(), 0);
    let run = trigger();
    std::thread::sleep(Duration::from_millis(700)); // several looks, at this pace
    let show = cluster.json(&["show", &run]);
    assert_eq!(step_of(&show, "a")["status"], "ready", "{show}");
    disk.clear();
    let show = cluster.wait_for_end(&run);
    assert_eq!(show["run"]["status"], "succeeded", "{show}\n{}", cluster.logs());
    ready(200);
    assert_eq!(full.end(), 0);
}
