//! Notifications on a bad night: receivers that repeat secrets, a ledger that takes nothing, answers that break off, and what
//! is too old to be told.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use crate::harness::{Done, Scene, finish, wait};
use crate::http_server::{Down, Server, reply};
use crate::notify::{FAILS, body, notices, receiver, states, webhook};

fn sql(scene: &Scene, text: &str) -> Done {
    let done =
        finish(Command::new("sqlite3").arg("-cmd").arg(".timeout 60000").arg(scene.path("state/ledger.db")).arg(text));
    assert_eq!(done.code, 0, "{}", done.stderr);
    done
}

#[test]
fn a_receiver_that_repeats_what_it_was_asked_gives_no_url_away() {
    let scene = Scene::new();
    // As some frameworks answer what they do not know; twice, so that the second one is cut in two.
    let ops = Server::start(|asked, stream| {
        let said = format!("Cannot POST {} {}{}", asked.line, "x".repeat(140), asked.line);
        reply(stream, "404 Not Found", "", &said);
    });
    let secret = "[notify.channels.room]\ntype = \"webhook\"\nurl = {env = \"ROOM_URL\"}\n";
    let login = ops.base().replace("http://", "http://bot:canary-of-a-login@");
    scene.file("runward.toml", secret.to_owned() + &webhook("open", &login));
    scene.file("f.yaml", FAILS);
    let url = ops.base() + "/services/T00/canary-of-a-path?key=canary-of-a-query";
    let done = finish(scene.runward().env("ROOM_URL", url).args(["run", "f.yaml"]));
    assert!(done.stderr.contains("HTTP 404") && done.stderr.contains("***"), "{}", done.stderr);
    assert_eq!(states(&scene), ["open waiting", "room waiting"], "it may be there tomorrow");
    let listed = scene.expect(0, &["notify", "list"]).stdout;
    let kept = finish(Command::new("grep").args(["-rl", "-e", "canary-", "state"]).current_dir(scene.path("")));
    let said = done.stdout + &done.stderr + &listed + &kept.stdout;
    assert!(!said.contains("canary") && !said.contains("ledger.db"), "{said}");
}

#[test]
fn an_answer_whose_body_breaks_off_is_an_answer() {
    let scene = Scene::new();
    let ops = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nth");
    });
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    assert_eq!((states(&scene), ops.asked().len()), (vec!["ops delivered".to_owned()], 1));
}

#[test]
fn a_receiver_that_never_answers_is_not_tried_again_by_every_run() {
    let scene = Scene::new();
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    scene.file("runward.toml", webhook("ops", &format!("http://{}", deaf.local_addr().unwrap())));
    scene.file("f.yaml", FAILS);
    let done = scene.expect(1, &["run", "f.yaml"]);
    assert!(done.stderr.contains("has not arrived yet: no answer as long as"), "{}", done.stderr);
    assert_eq!(notices(&scene)[0]["deliveries"][0]["tries"], 1);
}

#[test]
fn a_ledger_that_takes_nothing_is_not_asked_over_and_over() {
    let scene = Scene::new();
    let ops = Down::new();
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    sql(&scene, "UPDATE deliveries SET due_at = 0");
    // As a full disk does it: everything can be read, and nothing be written.
    sql(&scene, "CREATE TRIGGER full BEFORE UPDATE ON deliveries BEGIN SELECT raise(ABORT, 'no space left'); END");
    let done = scene.run(&["notify", "deliver"]);
    assert!(done.code != 0 && done.stderr.matches("no space left").count() == 1, "{} {}", done.code, done.stderr);
    let mut server = scene.start(&["server"]);
    let waits = || scene.read("started.out").matches("notifications wait").count();
    wait("it to be said", || waits() > 0);
    let ops = ops.up(|_, stream| reply(stream, "200 OK", "", ""));
    sql(&scene, "DROP TRIGGER full");
    wait("it to arrive", || states(&scene) == ["ops delivered"]);
    assert_eq!((waits(), ops.asked().len()), (1, 1), "{}", scene.read("started.out"));
    crate::harness::kill_9(&mut server);
}

#[test]
fn what_nobody_came_to_send_for_a_day_is_not_sent_and_that_is_said() {
    let (scene, ops) = (Scene::new(), receiver("200 OK"));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    // More than are routed at once, and by the clock of the ledger all of them before the one that is fresh.
    let old = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 450) \
               INSERT INTO notices SELECT 'old-' || n, kind, runbook, 'gone', at - 100000000, body, NULL FROM notices, n";
    sql(&scene, &format!("{old}; UPDATE notices SET routing = NULL"));
    scene.file("runward.toml", webhook("ops", &ops.base()));
    let done = scene.expect(0, &["notify", "deliver"]);
    assert!(done.stderr.contains("nobody was told of 450 notifications"), "{}", done.stderr);
    assert_eq!((ops.asked().len(), states(&scene)), (1, vec!["ops delivered".to_owned()]));
    let routed = sql(&scene, "SELECT routing, count(*) FROM notices GROUP BY 1 ORDER BY 1").stdout;
    assert_eq!(routed, "routed|1\ntoo_old|450\n");
}

#[test]
fn a_template_that_cannot_be_filled_in_is_found_before_the_night() {
    let (scene, ops) = (Scene::new(), receiver("200 OK"));
    scene.file("f.yaml", FAILS);
    scene.file("runward.toml", webhook("ops", &ops.base()) + "subject = \"{{ runbok }} failed\"\n");
    let done = scene.expect(2, &["run", "f.yaml"]);
    assert!(done.stderr.contains("notify.channels.ops.subject` cannot be filled in"), "{}", done.stderr);
    scene.file("runward.toml", webhook("ops", &ops.base()) + "subject = \"{{ runbook | upper }}\"\n");
    scene.expect(1, &["run", "f.yaml"]);
    let told = body(&ops.asked()[0]);
    assert_eq!(told["subject"], "NIGHTLY", "{told:#}");
}

#[test]
fn a_receiver_that_answers_again_gets_what_waits_for_it_at_once() {
    let (scene, ops) = (Scene::new(), Down::new());
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    for _ in 0..3 {
        scene.expect(1, &["run", "f.yaml"]);
    }
    // It was away for so long that each of them would wait for hours.
    sql(&scene, "UPDATE deliveries SET due_at = due_at + 36000000, tries = 14");
    let ops = ops.up(|_, stream| reply(stream, "200 OK", "", ""));
    scene.expect(1, &["run", "f.yaml"]);
    assert_eq!((ops.asked().len(), states(&scene)), (4, vec!["ops delivered".to_owned(); 4]));
}

#[test]
fn what_a_receiver_never_takes_is_not_tried_again_whenever_it_takes_something_else() {
    let scene = Scene::new();
    let ops = Server::start(|asked, stream| {
        let taken = body(asked)["params"] != "env=bad";
        reply(stream, if taken { "200 OK" } else { "500 Internal Server Error" }, "", "");
    });
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml", "-p", "env=bad"]);
    sql(&scene, "UPDATE deliveries SET due_at = due_at + 36000000");
    scene.expect(1, &["run", "f.yaml"]);
    assert_eq!((ops.asked().len(), states(&scene)), (2, vec!["ops waiting".into(), "ops delivered".into()]));
}

#[test]
fn a_message_that_has_arrived_is_no_failure_because_nothing_else_can_be_hurried() {
    let (scene, ops) = (Scene::new(), Down::new());
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    // It cannot be made due again.
    sql(&scene, "UPDATE deliveries SET due_at = due_at + 36000000");
    sql(
        &scene,
        "CREATE TRIGGER full BEFORE UPDATE OF due_at ON deliveries WHEN OLD.tries = 1 AND NEW.state = 'waiting' AND OLD.sender IS NULL \
                 BEGIN SELECT raise(ABORT, 'no space left'); END",
    );
    let ops = ops.up(|_, stream| reply(stream, "200 OK", "", ""));
    let done = scene.expect(1, &["run", "f.yaml"]);
    assert_eq!((ops.asked().len(), states(&scene)), (1, vec!["ops waiting".into(), "ops delivered".into()]));
    assert!(done.stderr.contains("keeps waiting") && !done.stderr.contains("notifications wait"), "{}", done.stderr);
    sql(&scene, "DROP TRIGGER full");
    scene.expect(1, &["run", "f.yaml"]);
    assert_eq!((ops.asked().len(), states(&scene)), (3, vec!["ops delivered".to_owned(); 3]));
}

#[test]
fn a_ledger_that_does_not_take_what_came_of_one_channel_keeps_no_other_from_being_told() {
    let (scene, bad, ops) = (Scene::new(), Down::new(), Down::new());
    scene.file("runward.toml", webhook("bad", &bad.base()) + &webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    let full = "CREATE TRIGGER full BEFORE UPDATE ON deliveries WHEN OLD.channel = 'bad' BEGIN SELECT raise(ABORT, 'no space left'); END";
    sql(&scene, &format!("UPDATE deliveries SET due_at = 0; {full}"));
    let bad = bad.up(|_, stream| reply(stream, "200 OK", "", ""));
    let log = scene.path("log");
    let ops = ops.up(move |_, stream| {
        let refused = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("no space left"));
        wait("the other one to fail first", refused);
        reply(stream, "200 OK", "", "");
    });
    let mut deliver = scene.runward();
    deliver.envs([("RUNWARD_LOG", "debug"), ("RUNWARD_LOG_FILE", "log")]).args(["notify", "deliver"]);
    let done = finish(&mut deliver);
    assert!(done.code != 0 && done.stderr.matches("no space left").count() == 1, "{} {}", done.code, done.stderr);
    assert_eq!(states(&scene), ["bad waiting", "ops delivered"]);
    sql(&scene, "DROP TRIGGER full");
    scene.expect(0, &["notify", "deliver"]);
    assert_eq!((ops.asked().len(), bad.asked().len()), (1, 1));
}
