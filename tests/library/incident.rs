//! Something is broken: three kinds of it, led through from the first word to the page about it.

use std::fs;
use std::process::{Child, Command};

use crate::harness::{finish, wait};
use crate::http_server::{Server, reply};
use crate::operator::Run;
use crate::place::Place;

/// Somebody who is told, and an incident that is under way.
struct Incident<'a> {
    place: &'a Place,
    child: Child,
    name: String,
    out: String,
}

impl Incident<'_> {
    fn open<'a>(place: &'a Place, more: &[(&str, &str)]) -> Incident<'a> {
        let (url, database) = (place.stack.url(), place.stack.database());
        let own = [("url", url.as_str()), ("database", &database), ("what", "orders fail; $(touch pwned)")];
        let params = place.params(&[&own[..], more].concat());
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (mut command, name) = place.operator.command("incident", &params);
        let out = format!("{name}.out");
        let file = fs::File::create(place.operator.scene.path(&out)).unwrap();
        let child = command.arg("--stay").stderr(file.try_clone().unwrap()).stdout(file).spawn().unwrap();
        wait("the run to be on the record", || place.operator.scene.run(&["show", &name]).code == 0);
        Incident { place, child, name, out }
    }

    /// Agrees as soon as the step asks for it.
    fn agree(&self, step: &str, comment: &str) {
        let asks = || self.place.operator.scene.run(&["approve", &self.name, step, "--comment", comment]).code == 0;
        wait(&format!("{step} to ask: {}", self.place.operator.scene.read(&self.out)), asks);
    }

    /// Waits until this step has come to its end.
    fn until(&self, step: &str) {
        wait(&format!("{step}: {}", self.place.operator.scene.read(&self.out)), || {
            ["succeeded", "failed"].contains(&self.place.operator.look(&self.name).status(step).as_str())
        });
    }

    fn end(mut self, code: i32) -> Run {
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{}", self.place.operator.scene.read(&self.out));
        let mut run = self.place.operator.look(&self.name);
        run.text = self.place.operator.scene.read(&self.out);
        run
    }
}

/// A channel `incidents` that keeps what it is told.
fn told(place: &Place) -> Server {
    let server = Server::start(|_, stream| reply(stream, "204 No Content", "", ""));
    let channel = format!("[notify.channels.incidents]\ntype = \"webhook\"\nurl = \"{}\"\n", server.base());
    place.operator.scene.file("runward.toml", channel);
    server
}

#[test]
fn an_incident_is_led_from_the_first_word_to_the_page_about_it() {
    let place = Place::serving();
    let told = told(&place);
    let url = place.stack.url();
    place.run(0, "upgrade_bluegreen", &[("version", "1.1.0"), ("url", &url)]);

    // A bad release: all that clients ask is an error, and the release before it comes back.
    fs::write(place.stack.path("releases/1.1.0/unhealthy"), "").unwrap();
    assert_eq!(place.stack.get("/health").0, 503);
    let incident = Incident::open(&place, &[("measure", "rollback"), ("to", "1.0.0"), ("lost_max", "3")]);
    incident.until("impact");
    for _ in 0..5 {
        assert_eq!(place.stack.get("/health").0, 503);
    }
    incident.agree("acknowledge", "I take it");
    incident.agree("root_cause", "a file that should not be there; $(touch pwned)");
    assert_eq!(place.version(), "1.0.0", "it serves before anybody knows why");
    incident.agree("fixed", "1.1.1 has no such file");
    let run = incident.end(0);
    assert_eq!(run.output("impact", "level"), "P0");
    // Those five, and none of what the incident asked itself.
    assert_eq!(run.output("loss", "failed"), "5", "{}", place.stack.log("nginx-access"));
    assert!(run.text.contains("warning: 5 requests were lost, and 3 may be"), "{}", run.text);
    place.saw("S2-60", &run, "loss");
    assert_eq!(run.show["run"]["severity"].as_str().unwrap_or("P0"), "P0");
    place.saw("S2-48 S3-53 S2-61", &run, "rollback");

    let id = run.show["run"]["id"].as_str().unwrap();
    let folder = place.stack.path("incidents").join(id);
    let page = fs::read_to_string(folder.join("post-mortem.md")).unwrap();
    for line in [
        "# orders fail; $(touch pwned)",
        "a file that should not be there; $(touch pwned)",
        "1.1.1 has no such file",
        "| impact | P0: 100 %",
        "| measure | rollback |",
        "| every row was read | succeeded |",
        "| lost | 5 of ",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let archive = folder.join("evidence.tar.gz");
    let sum = finish(Command::new("sha256sum").arg(&archive)).stdout;
    assert_eq!(
        sum.split(' ').next(),
        fs::read_to_string(folder.join("evidence.tar.gz.sha256")).unwrap().lines().next()
    );
    let inside = finish(Command::new("tar").arg("-xzOf").arg(&archive).args(["evidence/programs"])).stdout;
    assert!(inside.contains("green") && inside.contains("RUNNING"), "as it was before anything was changed: {inside}");
    place.saw("S2-48 S3-53", &run, "post_mortem");
    let report = place.operator.scene.run(&["report", id]).stdout;
    assert!(report.contains("I take it") && report.contains("rto"), "{report}");
    let all = || told.asked().iter().map(|it| it.body.clone()).collect::<String>();
    for word in ["who takes it?", "it serves again after", "over. "] {
        wait(&format!("people to be told {word:?}"), || all().contains(word));
    }
    assert!(!place.operator.scene.path("pwned").exists() && !place.stack.path("pwned").exists());
}

#[test]
fn a_program_that_is_down_is_started_and_writing_is_refused_for_a_while() {
    let place = Place::serving();
    let _told = told(&place);
    place.stack.supervisorctl(&["stop", "blue"]);
    assert_eq!(place.stack.get("/health").0, 502);
    let incident = Incident::open(&place, &[("measure", "restart"), ("program", "blue")]);
    incident.agree("acknowledge", "I take it");
    incident.until("recovered");
    assert_eq!((place.stack.get("/ready").0, place.stack.state("blue").as_str()), (200, "RUNNING"));
    incident.agree("root_cause", "somebody stopped it");
    incident.agree("fixed", "asked them not to");
    let restarted = incident.end(0);
    place.saw("S2-49 S2-61", &restarted, "restart");

    // Only reading, until it is mended. What was refused is counted.
    let post = || {
        let url = format!("{}/items?name=x", place.stack.url());
        finish(Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", &url])).stdout
    };
    let written = || place.stack.sql("select count(*) from items where name = 'x'");
    let incident = Incident::open(&place, &[("measure", "degrade")]);
    incident.agree("acknowledge", "I take it");
    incident.until("degrade");
    let before = written();
    assert_eq!((post().as_str(), written()), ("503", before), "it holds from then on");
    assert_eq!(place.stack.get("/items").0, 200);
    incident.until("recovered");

    // Something else breaks meanwhile: it is led through as well, and only reading stays possible.
    let meanwhile = || {
        let other = Incident::open(&place, &[("measure", "restart"), ("program", "blue")]);
        other.agree("acknowledge", "I take it");
        other.agree("root_cause", "nobody knows");
        other.agree("fixed", "it was restarted");
        other.end(0)
    };
    let other = meanwhile();
    assert!(other.text.contains("only reading is possible until incident"), "{}", other.text);
    assert_eq!(post(), "503");
    incident.agree("root_cause", "the disk of the database was nearly full");
    incident.agree("fixed", "it is larger");
    let degraded = incident.end(0);
    assert_eq!(degraded.output("impact", "level"), "P3");
    assert_eq!(post(), "201", "it is over by then");
    place.saw("S2-60 S2-61", &degraded, "degrade");

    // One that was given up while it was so: the next one ends that.
    let incident = Incident::open(&place, &[("measure", "degrade")]);
    incident.agree("acknowledge", "I take it");
    incident.until("recovered");
    assert_eq!(place.operator.scene.run(&["cancel", &incident.name]).code, 0);
    let cancelled = incident.name.clone();
    wait("it to be over", || place.operator.look(&cancelled).status("over") == "succeeded");
    drop(incident);
    assert_eq!(post(), "503");
    // That nothing is known about the incident stops nobody.
    fs::rename(place.stack.path("log/nginx-access.log"), place.stack.path("access.gone")).unwrap();
    let unknown = meanwhile();
    assert_eq!((unknown.status("impact"), unknown.status("loss")), ("failed".into(), "failed".into()));
    assert!(unknown.text.contains("what was asked meanwhile is not known"), "{}", unknown.text);
    assert_eq!(post(), "201");
    fs::rename(place.stack.path("access.gone"), place.stack.path("log/nginx-access.log")).unwrap();

    // A site that would not change is told, and nothing is left of it.
    let site = place.stack.path("sites/app.conf");
    let text = fs::read_to_string(&site).unwrap();
    fs::write(&site, text.replace("run/mode/*.conf", "run/no_such_mode/*.conf")).unwrap();
    let incident = Incident::open(&place, &[("measure", "degrade")]);
    incident.agree("acknowledge", "I take it");
    let run = incident.end(1);
    assert!(run.text.contains("no site includes run/mode/*.conf"), "{}", run.text);
    assert!(!place.stack.path("run/mode/degraded.conf").exists());
    fs::write(&site, text).unwrap();

    // What a measure needs is asked for before anybody is told, and not when they have agreed.
    for (measure, wanted) in [("rollback", "to which release?"), ("restart", "which program?")] {
        let incident = Incident::open(&place, &[("measure", measure)]);
        incident.until("given");
        let run = incident.end(1);
        assert!(run.text.contains(wanted), "{}", run.text);
        assert_eq!((run.status("told"), run.status("acknowledge")), ("skipped".into(), "skipped".into()));
    }

    // A measure that does not help is no success, and what it did stays.
    fs::write(place.stack.path("current/unhealthy"), "").unwrap();
    let incident = Incident::open(&place, &[("measure", "rollback"), ("to", "9.9.9")]);
    incident.agree("acknowledge", "I take it");
    let run = incident.end(1);
    assert!(run.text.contains("9.9.9 is not there: fetch the release first"), "{}", run.text);
}
