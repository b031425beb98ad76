//! People are told what happens to runs: at least once, with one id, and never at the cost of a run.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::harness::{Done, Scene, finish, kill_9, repository, step_of, wait};
use crate::http_server::{Asked, Down, Server, reply};
use crate::server::Machine;

/// Divides the time between two tries.
const FAST: &str = "20";

pub const FAILS: &str = "name: nightly\nseverity: P1\nparams: {env: {default: prod}}\nsteps:\n  - {id: dump, env: {E: '${{ params.env }}'}, run: exit 3}\n";

pub fn webhook(name: &str, url: &str) -> String {
    format!("[notify.channels.{name}]\ntype = \"webhook\"\nurl = \"{url}\"\n")
}

/// A receiver that answers this.
pub fn receiver(status: &'static str) -> Server {
    Server::start(move |_, stream| reply(stream, status, "", ""))
}

fn fast(scene: &Scene, args: &[&str]) -> Done {
    finish(scene.runward().env("RUNWARD_TEST_PACE", FAST).args(args))
}

pub fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap()
}

/// `idempotency-key` of each, as they came.
fn ids(asked: &[Asked]) -> Vec<String> {
    let key = |it: &Asked| it.head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap().to_owned();
    asked.iter().map(key).collect()
}

pub fn notices(scene: &Scene) -> Vec<Value> {
    scene.json(&["notify", "list"]).as_array().cloned().unwrap()
}

/// How each delivery stands: `ops delivered`.
pub fn states(scene: &Scene) -> Vec<String> {
    let all = notices(scene);
    let of = |it: &Value| {
        let deliveries = it["deliveries"].as_array().unwrap().clone();
        deliveries
            .into_iter()
            .map(|it| format!("{} {}", it["channel"].as_str().unwrap(), it["state"].as_str().unwrap()))
    };
    all.iter().rev().flat_map(of).collect()
}

#[test]
fn a_run_that_fails_at_night_is_told_with_what_where_how_bad_and_what_to_type() {
    let (scene, ops) = (Scene::new(), receiver("200 OK"));
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    let asked = ops.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let told = body(&asked[0]);
    let run = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    for (field, value) in [
        ("event", "failed"),
        ("severity", "P1"),
        ("runbook", "nightly"),
        ("step", "dump"),
        ("reason", "exit code 3"),
        ("params", "env=prod"),
        ("run", &run),
    ] {
        assert_eq!(told[field], value, "{told:#}");
    }
    assert!(told["subject"].as_str().unwrap().starts_with("[P1] FAILED: nightly at dump (env=prod) on "), "{told:#}");
    assert!(told["text"].as_str().unwrap().contains(&format!("runward resume {run}")), "{told:#}");
    assert_eq!(ids(&asked), [told["id"].as_str().unwrap()]);
    assert_eq!(states(&scene), ["ops delivered"]);
}

#[test]
fn a_notify_step_takes_no_worker_and_says_what_became_of_it() {
    let (scene, ops) = (Scene::new(), receiver("204 No Content"));
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file(
        "n.yaml",
        "name: n\nsteps:\n  - {id: a, run: 'echo \"name=db7\" >> \"$RUNWARD_OUTPUT\"'}\n  - {id: tell, notify: {channel: ops, text: 'on ${{ steps.a.outputs.name }}'}}\n  \
         - {id: each, for-each: [x, y], notify: {channel: ops, text: 'item ${{ item }}'}}\nfinally:\n  - {id: last, notify: {channel: ops, text: 'it ${{ run.status }}'}}\n",
    );
    let done = scene.expect(0, &["run", "n.yaml"]);
    assert!(done.stdout.contains("✓ tell: queued for channel ops"), "{}", done.stdout);
    let mut said: Vec<String> = ops.asked().iter().map(|it| body(it)["reason"].as_str().unwrap().to_owned()).collect();
    said.sort();
    assert_eq!(said, ["it succeeded", "item x", "item y", "on db7"]);
    let show = scene.last();
    assert_eq!(
        (&step_of(&show, "tell")["status"], &step_of(&show, "tell")["attempts"]),
        (&"succeeded".into(), &0.into())
    );
    let shown = scene.expect(0, &["show", "last"]).stdout;
    assert!(shown.contains("ops: delivered at"), "{shown}");
    scene.expect(0, &["audit", "verify"]);
    scene.expect(0, &["db", "check"]);
}

#[test]
fn a_receiver_that_is_down_gets_each_when_it_is_back_and_no_run_waits_for_it() {
    let (scene, ops) = (Scene::new(), Down::new());
    scene.file("runward.toml", webhook("ops", &(ops.base() + "/hook")));
    scene.file("f.yaml", FAILS);
    for _ in 0..3 {
        let done = fast(&scene, &["run", "f.yaml"]);
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains("has not arrived yet: nothing listens at 127.0.0.1"), "{}", done.stderr);
    }
    let still = fast(&scene, &["notify", "deliver"]);
    assert_eq!((still.code, still.stdout.contains("3 on their way")), (1, true), "{}{}", still.stdout, still.stderr);
    assert!(scene.expect(0, &["doctor"]).stdout.contains("3 notifications are on their way"));
    let ops = ops.up(|_, stream| reply(stream, "200 OK", "", ""));
    wait("all of them", || fast(&scene, &["notify", "deliver"]).code == 0);
    let mut came = ids(&ops.asked());
    came.sort();
    let mut wanted: Vec<String> = notices(&scene).iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    wanted.sort();
    assert_eq!(came, wanted, "each once");
    assert_eq!(states(&scene), ["ops delivered"; 3]);
}

#[test]
fn whoever_dies_between_sending_and_writing_it_down_is_followed_by_one_who_sends_the_same_id() {
    let scene = Scene::new();
    // It takes the first message and says nothing, until whoever sent it is dead.
    let (arrived, first) = mpsc::channel();
    let (arrived, asked) = (Mutex::new(arrived), Arc::new(Mutex::new(0)));
    let ops = Server::start(move |_, stream| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        if *asked > 2 {
            return reply(stream, "200 OK", "", "");
        }
        arrived.lock().unwrap().send(()).unwrap();
        let _ = stream.read(&mut [0; 1]); // nothing comes but the end
    });
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    let fast = |args: &[&str]| {
        let mut command = scene.runward();
        command.env("RUNWARD_TEST_PACE", FAST).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    for killed in [&["run", "f.yaml"][..], &["server"][..]] {
        let mut process = fast(killed).spawn().unwrap();
        first.recv().unwrap();
        kill_9(&mut process);
    }
    wait("the third", || finish(&mut fast(&["notify", "deliver"])).code == 0);
    let came = ids(&ops.asked());
    assert_eq!(came.len(), 3, "{came:?}");
    assert!(came.iter().all(|id| *id == came[0]), "{came:?}");
    assert_eq!(states(&scene), ["ops delivered"]);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_receiver_that_never_answers_holds_up_neither_the_run_nor_another_channel() {
    let scene = Scene::new();
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let (dead, ops) = (format!("http://{}", deaf.local_addr().unwrap()), receiver("200 OK"));
    scene.file("runward.toml", webhook("dead", &dead) + &webhook("ops", &ops.base()));
    scene.file(
        "n.yaml",
        "steps:\n  - {id: one, notify: {channel: dead, text: one}}\n  - {id: a, run: 'true'}\n  - {id: two, notify: {channel: ops, text: two}}\n  - {id: b, run: touch done}\n",
    );
    let mut run = scene.start(&["run", "n.yaml"]);
    let (mut held, _) = deaf.accept().unwrap(); // it takes the message, and that is all
    wait("the run to end", || scene.last()["run"]["status"] == "succeeded");
    wait("the other channel", || ops.asked().len() == 1);
    run.wait().unwrap();
    assert_eq!(states(&scene), ["dead waiting", "ops delivered"]);
    let _ = held.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn what_is_refused_is_a_dead_letter_that_is_listed_and_tried_again_on_the_record() {
    let scene = Scene::new();
    let answer = Arc::new(Mutex::new("400 Bad Request"));
    let says = Arc::clone(&answer);
    let ops = Server::start(move |_, stream| reply(stream, *says.lock().unwrap(), "", "no such room"));
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file("f.yaml", FAILS);
    let done = scene.expect(1, &["run", "f.yaml"]);
    assert!(done.stderr.contains("dead letter: the receiver answered HTTP 400: no such room"), "{}", done.stderr);
    let listed = scene.expect(0, &["notify", "list", "--dead"]).stdout;
    assert!(listed.contains("nightly/dump") && listed.contains("no such room"), "{listed}");
    scene.expect(0, &["notify", "deliver"]);
    assert_eq!(ops.asked().len(), 1, "nobody tries it again by himself");
    *answer.lock().unwrap() = "429 Too Many Requests";
    let id = notices(&scene)[0]["id"].as_str().unwrap().to_owned();
    let done = scene.expect(0, &["notify", "retry", &id, "--reason", "the room is there now"]);
    assert!(done.stdout.contains("by ops is tried again"), "{}", done.stdout);
    scene.expect(1, &["notify", "deliver"]);
    assert_eq!(states(&scene), ["ops waiting"], "429 is for now");
    *answer.lock().unwrap() = "200 OK";
    wait("it", || fast(&scene, &["notify", "deliver"]).code == 0);
    assert_eq!(states(&scene), ["ops delivered"]);
    let done = scene.expect(0, &["notify", "retry", "--dead"]);
    assert!(done.stdout.contains("nothing was changed"), "{}", done.stdout);
    let mut record = Command::new("sqlite3");
    let record = finish(record.arg(scene.path("state/ledger.db")).arg("SELECT actor, body FROM administration")).stdout;
    assert!(record.contains("deliveries_retried") && record.contains("the room is there now"), "{record}");
}

#[test]
fn an_unknown_channel_is_said_by_the_plan_and_by_the_run_and_waits_for_whoever_has_it() {
    let scene = Scene::new();
    scene.file("runward.toml", webhook("ops", "http://127.0.0.1:9/"));
    scene.file("n.yaml", "steps:\n  - {id: tell, notify: {channel: opps, text: hi}}\n");
    let plan = scene.expect(0, &["plan", "n.yaml"]).stdout;
    assert!(plan.contains("no channel `opps` is configured here") && plan.contains("`ops`"), "{plan}");
    let done = scene.expect(0, &["run", "n.yaml"]);
    assert!(done.stderr.contains("no channel `opps` is configured here"), "{}", done.stderr);
    assert_eq!(states(&scene), ["opps waiting"]);
    let done = scene.expect(2, &["notify", "test", "opps"]);
    assert!(done.stderr.contains("did you mean `ops`"), "{}", done.stderr);
}

#[test]
fn a_run_in_a_folder_with_other_channels_leaves_what_waits_for_a_receiver_that_is_down() {
    let (scene, other, room) = (Scene::new(), receiver("200 OK"), Down::new());
    scene.file("runward.toml", webhook("room", &room.base()));
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    assert_eq!(states(&scene), ["room waiting"]);
    let sql = |text: &str| finish(Command::new("sqlite3").arg(scene.path("state/ledger.db")).arg(text));
    let due = |until: i64| sql(&format!("UPDATE deliveries SET due_at = 0, until = {until}")).code;
    // Its driver died before it could say where its message goes.
    let left = "INSERT INTO notices SELECT 'left', kind, runbook, 'gone', at, replace(body, 'nightly', 'left'), NULL FROM notices";
    assert_eq!((due(i64::MAX), sql(left).code), (0, 0), "{}", sql(".schema notices").stdout);
    let ok = "name: ok\nsteps: [{run: 'true'}]\n";
    for (folder, config) in [("none", String::new()), ("other", webhook("other", &other.base()))] {
        scene.file(&format!("{folder}/runward.toml"), config);
        scene.file(&format!("{folder}/ok.yaml"), ok);
        let done = finish(scene.runward().current_dir(scene.path(folder)).args(["run", "ok.yaml"]));
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(states(&scene).iter().all(|it| it == "room waiting"), "{:?}", states(&scene));
    }
    assert_eq!(other.asked().len(), 0);
    assert_eq!(notices(&scene).iter().filter(|it| it["unrouted"] == true).count(), 1, "{:#?}", notices(&scene));
    assert_eq!(due(1), 0);
    finish(scene.runward().current_dir(scene.path("other")).args(["run", "ok.yaml"]));
    assert!(states(&scene).contains(&"room dead".to_owned()), "a day is over: {:?}", states(&scene));
}

#[test]
fn routes_choose_by_severity_and_event_and_nothing_piles_up_where_there_are_none() {
    let (scene, day, night) = (Scene::new(), receiver("200 OK"), receiver("200 OK"));
    let routes = "[[notify.routes]]\nseverity = [\"P0\", \"P1\"]\nevents = [\"failed\", \"approval\"]\nchannels = [\"night\"]\n\
                  [[notify.routes]]\nevents = [\"recovered\"]\nchannels = [\"day\"]\n";
    scene.file("runward.toml", webhook("day", &day.base()) + &webhook("night", &night.base()) + routes);
    let flaky = |severity: &str| format!("name: flaky\nseverity: {severity}\nsteps:\n  - {{id: a, run: test -e ok}}\n");
    scene.file("f.yaml", flaky("P1").replace("test -e ok", &format!("test -e {}", scene.path("ok").display())));
    scene.expect(1, &["run", "f.yaml"]);
    scene.file("ok", "");
    scene.expect(0, &["run", "f.yaml"]);
    scene.expect(0, &["run", "f.yaml"]);
    scene.file("a.yaml", "name: a\nseverity: P0\nsteps:\n  - {id: agree, approve: {count: 1}}\n");
    scene.expect(8, &["run", "a.yaml"]);
    let events =
        |of: &Server| of.asked().iter().map(|it| body(it)["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(events(&night), ["failed", "approval"]);
    assert_eq!(events(&day), ["recovered"]);
    let approval = body(&night.asked()[1])["text"].as_str().unwrap().to_owned();
    assert!(approval.contains("runward approve ") && approval.contains(" agree"), "{approval}");
    scene.file("low.yaml", "name: low\nseverity: P3\nsteps: [{run: exit 1}]\n");
    scene.expect(1, &["run", "low.yaml"]);
    assert_eq!(notices(&scene)[0]["nowhere"], "no_route");
    let none = Scene::new();
    none.file("f.yaml", FAILS);
    none.expect(1, &["run", "f.yaml"]);
    assert_eq!(notices(&none)[0]["nowhere"], "no_route");
    assert!(none.expect(0, &["notify", "list", "--waiting"]).stdout.contains("nothing is on its way"));
    none.expect(0, &["db", "prune", "--keep", "0"]);
    assert!(notices(&none).is_empty(), "they go with their runs");
}

/// A mail server, killed when the story is over.
struct Mail(Child, u16);

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mail_sink(scene: &Scene, more: &[&str]) -> Mail {
    let sink = repository().join("tests/files/mail_sink.py");
    let file = scene.path("mails");
    let mut command = Command::new("/usr/bin/python3"); // Debian's own: its packages are its
    command.arg(sink).arg("0").arg(file).args(more).current_dir(scene.path(""));
    let mut child = command.stdout(Stdio::piped()).spawn().expect("python3-aiosmtpd is installed");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).expect("it listens");
    let port = line.trim().strip_prefix("listening on ").and_then(|port| port.parse().ok()).expect("its port");
    Mail(child, port)
}

fn smtp(name: &str, port: u16, to: &str, more: &str) -> String {
    format!(
        "[notify.channels.{name}]\ntype = \"smtp\"\nserver = \"127.0.0.1\"\nport = {port}\nfrom = \"Runward <runward@example.com>\"\nto = [\"{to}\"]\n{more}\n"
    )
}

#[test]
fn a_mail_says_it_in_the_subject_and_no_value_makes_a_header() {
    let scene = Scene::new();
    let mail = mail_sink(&scene, &[]);
    let channel = |name: &str, to: &str| smtp(name, mail.1, to, "tls = \"none\"");
    scene.file("runward.toml", channel("ops", "oncall@example.com"));
    scene.file(
        "f.yaml",
        "name: nightly\nseverity: P0\nparams: {env: {default: prod}}\nsteps:\n  - id: tell\n    notify: {channel: ops, text: '${{ params.env }}'}\n  - {id: dump, run: exit 3}\n",
    );
    let evil = "env=x\r\nBcc: evil@example.com\r\n\r\n备份 \u{1b}[2J";
    scene.expect(1, &["run", "f.yaml", "-p", evil]);
    let mails = scene.read("mails").replace('\r', "");
    assert_eq!(mails.matches("=== oncall@example.com\n").count(), 2, "{mails}");
    let heads: Vec<&str> = mails.split("=== ").filter_map(|mail| mail.split("\n\n").next()).collect();
    let heads = heads.join("\n");
    assert!(!heads.lines().any(|line| line.starts_with("Bcc:")) && !mails.contains('\u{1b}'), "{mails}");
    assert!(mails.contains("Subject: [P0] FAILED: nightly at dump on "), "{mails}");
    assert!(mails.contains("Auto-Submitted: auto-generated"), "{mails}");
    let id = notices(&scene)[0]["id"].as_str().unwrap().to_owned();
    assert!(mails.contains(&format!("Message-ID: <{id}.ops@example.com>")), "{mails}");
    let said = scene.expect(0, &["notify", "test", "ops"]).stdout;
    assert!(said.contains("delivered by ops: 250 kept"), "{said}");
    // What the server refuses for good, and for now.
    let both = channel("never", "nobody@example.com") + &channel("later", "later@example.com");
    scene.file("runward.toml", both);
    scene.file("f.yaml", FAILS);
    scene.expect(1, &["run", "f.yaml"]);
    let last: Vec<String> = states(&scene).into_iter().rev().take(2).collect();
    assert_eq!(last, ["never dead", "later waiting"]);
    let listed = scene.expect(0, &["notify", "list"]).stdout;
    assert!(listed.contains("550 no such user") || listed.contains("no such user here"), "{listed}");
}

#[test]
fn a_receiver_that_is_set_up_in_another_way_is_told_as_that() {
    let scene = Scene::new();
    let mail = mail_sink(&scene, &[]);
    let login = "tls = \"none\"\nuser = \"u\"\npassword = {env = \"HOME\"}\npassword-in-the-open = true";
    let to = |name: &str, more: &str| smtp(name, mail.1, "oncall@example.com", more);
    let channels = [
        to("first", "tls = \"implicit\""),
        to("later", "tls = \"starttls\""),
        to("login", login),
        webhook("room", &format!("https://127.0.0.1:{}/", mail.1)),
    ];
    scene.file("runward.toml", channels.concat());
    for (name, why) in [
        ("first", "it does not begin with TLS"),
        ("later", "`tls = \"implicit\"` (port 465) may be what it has"),
        ("login", "it takes no login there"),
        ("room", "does not speak TLS: is it `http://` there"),
    ] {
        let said = scene.expect(1, &["notify", "test", name]).stderr;
        let said = said.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(said.contains(why), "{name}: {said}");
    }
}

#[test]
fn an_address_that_is_gone_keeps_a_mail_from_nobody_else() {
    let scene = Scene::new();
    let mail = mail_sink(&scene, &[]);
    let channel = |to: &str| smtp("ops", mail.1, to, "tls = \"none\"");
    scene.file("f.yaml", FAILS);
    // One who left the company, and one whose mailbox is full: the third is told at once of the first, and soon of the second.
    scene.file("runward.toml", channel("nobody@example.com\", \"oncall@example.com"));
    let done = scene.expect(1, &["run", "f.yaml"]);
    assert_eq!(scene.read("mails").matches("=== oncall@example.com\n").count(), 1, "{}", scene.read("mails"));
    assert!(
        done.stderr.contains("reached some of its receivers, but not nobody@example.com: 127.0.0.1"),
        "{}",
        done.stderr
    );
    assert_eq!(states(&scene), ["ops delivered"]);
    let listed = scene.expect(0, &["notify", "list"]).stdout;
    assert!(listed.contains(", but not to nobody@example.com: ") && listed.contains("no such user here"), "{listed}");
    let tried = scene.expect(1, &["notify", "test", "ops"]).stderr.replace("\n  │ ", " ");
    assert!(tried.contains("some of its receivers, but not nobody@example.com"), "{tried}");
    scene.file("runward.toml", channel("later@example.com\", \"oncall@example.com"));
    fast(&scene, &["run", "f.yaml"]);
    let told = || scene.read("mails").matches("FAILED: nightly").count();
    wait("the other one to be told without it", || {
        fast(&scene, &["notify", "deliver"]);
        told() == 2
    });
    assert_eq!(states(&scene), ["ops delivered"; 2]);
    // Where all are refused, nobody is told, and that is known.
    scene.file("runward.toml", channel("nobody@example.com\", \"nobody.else@example.com"));
    scene.expect(1, &["run", "f.yaml"]);
    assert_eq!((told(), states(&scene).pop().as_deref()), (2, Some("ops dead")));
}

#[test]
fn a_mail_goes_through_tls_with_a_login_whose_password_is_nowhere() {
    let scene = Scene::new();
    scene.file(
        "ca.cnf",
        "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n[leaf]\nsubjectAltName=IP:127.0.0.1\n",
    );
    let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ours -config ca.cnf -extensions ca -keyout ca.key -out ca.pem &&
                openssl req -newkey rsa:2048 -nodes -subj /CN=leaf -config ca.cnf -keyout leaf.key -out leaf.csr &&
                openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ca.cnf -extensions leaf -out leaf.pem";
    let made = finish(Command::new("sh").args(["-ec", make]).current_dir(scene.path("")));
    assert_eq!(made.code, 0, "{}", made.stderr);
    let mail = mail_sink(&scene, &["leaf.pem", "leaf.key", "runward", "canary-of-the-mail"]);
    let login = "user = \"runward\"\npassword = {env = \"MAIL_PASSWORD\"}";
    scene.file("runward.toml", smtp("ops", mail.1, "oncall@example.com", login));
    scene.file("f.yaml", FAILS);
    let ask = |trusted: bool, password: &str, args: &[&str]| {
        let mut command = scene.runward();
        if trusted {
            command.env("SSL_CERT_FILE", scene.path("ca.pem"));
        }
        finish(command.env("MAIL_PASSWORD", password).args(args))
    };
    let untrusted = ask(false, "canary-of-the-mail", &["notify", "test", "ops"]);
    assert_eq!((untrusted.code, scene.read("mails").as_str()), (1, ""), "{}", untrusted.stderr);
    let wrong = ask(true, "canary-of-another", &["notify", "test", "ops"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("the login was refused"), "{}{}", wrong.stdout, wrong.stderr);
    ask(true, "canary-of-another", &["run", "f.yaml"]);
    assert_eq!(states(&scene), ["ops waiting"], "not dead: the password may be right tomorrow");
    let unset = finish(scene.runward().args(["notify", "test", "ops"]));
    assert!(unset.stderr.contains("MAIL_PASSWORD: it is not set"), "{}", unset.stderr);
    let done = ask(true, "canary-of-the-mail", &["run", "f.yaml"]);
    let newest = states(&scene).pop();
    assert_eq!((done.code, newest.as_deref()), (1, Some("ops delivered")), "{}", done.stderr);
    assert!(scene.read("mails").contains("FAILED: nightly at dump"), "{}", scene.read("mails"));
    let all = [untrusted, wrong, unset, done].map(|done| done.stdout + &done.stderr).concat();
    let found = finish(Command::new("grep").args(["-rac", "canary-of", "state"]).current_dir(scene.path("")));
    let kept: Vec<&str> = found.stdout.lines().filter(|line| !line.ends_with(":0")).collect();
    assert!(!all.contains("canary-of") && kept.is_empty(), "{all}{kept:?}");
}

#[test]
fn what_a_step_prints_of_a_secret_is_masked_before_anybody_is_told() {
    let (scene, ops) = (Scene::new(), receiver("200 OK"));
    scene.file("runward.toml", webhook("ops", &ops.base()));
    scene.file(
        "s.yaml",
        "name: s\nsecrets: {TOKEN: {env: THE_TOKEN}}\nsteps:\n  - id: a\n    secrets: TOKEN\n    run: |\n      echo \"said=$TOKEN\" >> \"$RUNWARD_OUTPUT\"\n  \
         - {id: tell, notify: {channel: ops, text: 'it said ${{ steps.a.outputs.said }}'}}\n",
    );
    let done = finish(scene.runward().env("THE_TOKEN", "canary-of-a-step").args(["run", "s.yaml"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(body(&ops.asked()[0])["reason"], "it said ***");
    scene.file(
        "p.yaml",
        "name: p\nparams: {pass: {sensitive: true, default: x}}\nsteps:\n  - {id: tell, notify: {channel: ops, text: '${{ params.pass }}'}}\n",
    );
    let done = scene.expect(2, &["validate", "p.yaml"]);
    assert!(done.stderr.contains("reads something sensitive, and it is sent away"), "{}", done.stderr);
}

#[test]
fn ticks_that_nobody_makes_up_for_are_told_once_for_all() {
    let (machine, ops) = (Machine::new(), receiver("200 OK"));
    machine.scene.file("runward.toml", webhook("ops", &ops.base()));
    machine.runbook("backup", "    - {id: s, cron: \"* * * * *\", missed: none}\n");
    machine.server_at("2026-03-02 11:59:10").kill_9();
    let server = machine.server_at("2026-03-02 12:20:05");
    machine.wait_for_ticks("backup/s", 20);
    wait("somebody to be told", || !ops.asked().is_empty());
    server.end();
    let told = body(&ops.asked()[0]);
    assert_eq!((&told["event"], &told["schedule"]), (&"missed".into(), &"backup/s".into()), "{told:#}");
    assert!(told["reason"].as_str().unwrap().contains("no server ran between"), "{told:#}");
    assert!(ops.asked().len() <= 2, "not one for each tick");
}

#[test]
fn in_a_cluster_any_of_many_servers_tells_and_each_is_told_once() {
    let (cluster, ops) = (Cluster::new().fast(), receiver("200 OK"));
    cluster.scene.file("runward.toml", webhook("ops", &ops.base()));
    cluster.scene.file("f.yaml", FAILS);
    let (_one, _two) = (cluster.member("server", "sam", &[]), cluster.member("server", "sue", &[]));
    let mut worker = cluster.worker("willy", &[]);
    for _ in 0..3 {
        cluster.expect(1, &["run", "f.yaml"]);
    }
    worker.kill_9();
    wait("three", || ops.asked().len() >= 3);
    let rows = || cluster.json(&["notify", "list"]).as_array().cloned().unwrap();
    wait("all of it to be written down", || rows().iter().all(|it| it["deliveries"][0]["state"] == "delivered"));
    let mut came = ids(&ops.asked());
    came.sort();
    came.dedup();
    assert_eq!((came.len(), ops.asked().len()), (3, 3), "{came:?}\n{}", cluster.logs());
    cluster.expect(0, &["audit", "verify"]);
}
