//! What a service needs once it is installed: its first user, what its knowledge base says, and a server to develop with.

use std::fs;
use std::process::Command;

use crate::dumps::keep_secret;
use crate::harness::{finish, wait};
use crate::operator::Run;
use crate::place::Place;

const PASSWORD: &str = "eleven grey herons"; // nowhere else, nor in what the service is made of

fn make_user(place: &Place, code: i32, name: &str) -> Run {
    let [release, bin] = [place.stack.path("current"), place.stack.bin()].map(|path| path.display().to_string());
    let (url, database) = (place.stack.url(), place.stack.database());
    let params = [("release", release.as_str()), ("bin", &bin), ("url", &url), ("database", &database), ("name", name)];
    place.operator.expect(code, "create_user", &params)
}

/// The status of a login, past runward.
fn login(place: &Place, name: &str, password: &str) -> String {
    let body = format!("{{\"name\": \"{name}\", \"password\": \"{password}\"}}");
    let url = format!("{}/login", place.stack.url());
    let words =
        ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "content-type: application/json", "-d", &body, &url];
    finish(Command::new("curl").args(words)).stdout
}

#[test]
fn the_first_user_is_made_once_and_nobody_sees_the_password() {
    let place = Place::serving();
    keep_secret(&place.operator, "first_user_password", &format!("{PASSWORD}\n"));
    assert_eq!(login(&place, "ada", PASSWORD), "401");
    let made = make_user(&place, 0, "ada");
    assert_eq!((login(&place, "ada", PASSWORD), login(&place, "ada", "another one")), ("200".into(), "401".into()));
    assert_eq!(made.output("create", "made"), "made");
    assert_eq!(place.stack.sql("select name, role from users"), "ada|admin");
    place.saw("S1-05", &made, "create");
    let kept = place.stack.sql("select password from users");
    assert!(kept.starts_with("scrypt:") && !kept.contains(PASSWORD), "{kept}");

    let again = make_user(&place, 0, "ada");
    assert_eq!(again.output("create", "made"), "there already");
    assert_eq!(place.stack.sql("select password from users"), kept, "nothing was changed");

    // Another password does not change that of somebody who is there, and a weak one makes nobody.
    keep_secret(&place.operator, "first_user_password", "quite another secret\n");
    let other = make_user(&place, 0, "ada");
    assert!(other.text.contains("has another password: it was not changed"), "{}", other.text);
    assert_eq!(login(&place, "ada", PASSWORD), "200");
    keep_secret(&place.operator, "first_user_password", "short\n");
    let weak = make_user(&place, 6, "bob");
    assert!(weak.text.contains("it has 5 characters and needs 12"), "{}", weak.text);
    assert_eq!(place.stack.sql("select count(*) from users"), "1");

    let everything = place.operator.scene.path("");
    let grep = finish(Command::new("grep").args(["-rlaF", PASSWORD]).arg(&everything).arg(place.stack.folder()));
    assert_eq!((grep.code, grep.stdout.as_str()), (1, ""), "no log, no ledger, no file has it");
}

#[test]
fn a_user_who_could_not_log_in_is_taken_back() {
    let place = Place::serving();
    keep_secret(&place.operator, "first_user_password", PASSWORD);
    place.stack.supervisorctl(&["stop", "blue"]);
    let failed = make_user(&place, 6, "ada");
    assert!(failed.text.contains("ada cannot log in"), "{}", failed.text);
    assert_eq!(place.stack.sql("select count(*) from users"), "0");
}

#[test]
fn the_knowledge_base_says_what_the_folder_says() {
    let place = Place::serving();
    let folder = place.stack.path("articles");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("refunds.md"), "# Refunds\n\nA refund takes three days.\n").unwrap();
    fs::write(folder.join("hours.md"), "# Hours; drop table articles\n\nFrom nine to five.\n").unwrap();
    let fill = |code: i32, word: &str| {
        let [release, bin, articles] = [place.stack.path("current"), place.stack.bin(), folder.clone()];
        let [release, bin, articles] = [release, bin, articles].map(|path| path.display().to_string());
        let (url, database) = (place.stack.url(), place.stack.database());
        let params = [("release", release.as_str()), ("bin", &bin), ("url", &url), ("database", &database)];
        place.operator.expect(
            code,
            "knowledge_base",
            &[&params[..], &[("articles", &articles), ("word", word)]].concat(),
        )
    };
    let filled = fill(0, "refund");
    assert_eq!(place.stack.get("/articles?q=three%20days").1, r#"[{"name":"refunds","title":"Refunds"}]"#);
    assert_eq!(place.stack.sql("select count(*) from articles"), "2");
    place.saw("S4-07", &filled, "fill");

    // What the folder has no more goes, unless nothing would be found then.
    fs::remove_file(folder.join("refunds.md")).unwrap();
    let taken_back = fill(6, "refund");
    assert!(taken_back.text.contains("nothing is found by refund"), "{}", taken_back.text);
    assert_eq!(place.stack.sql("select count(*) from articles"), "2");
    fs::write(folder.join("bad.md"), "no title\n").unwrap();
    let refused = fill(1, "nine");
    assert!(refused.text.contains("bad.md: the first line has to be"), "{}", refused.text);
    fs::remove_file(folder.join("bad.md")).unwrap();
    fill(0, "nine");
    assert_eq!(place.stack.sql("select name from articles"), "hours");
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_changed_file_is_served_without_anybody_doing_anything() {
    let place = Place::serving();
    let source = place.stack.release("0.0.1");
    let port = place.stack.another_port().to_string();
    let path = source.display().to_string();
    let own = [("source", path.as_str()), ("port", port.as_str())];
    let run = place.run(0, "dev_server", &own);
    let ask = |path: &str| finish(Command::new("curl").args(["-s", &format!("http://127.0.0.1:{port}{path}")])).stdout;
    assert!(ask("/health").contains("0.0.1"), "{}", ask("/health"));
    let main = source.join("app/main.py");
    let text = fs::read_to_string(&main).unwrap();
    fs::write(&main, text.replace("title=\"items\"", "title=\"changed\"")).unwrap();
    wait("the change to be served", || ask("/openapi.json").contains("\"title\":\"changed\""));
    place.saw("S0-06", &run, "start");
    assert!(ask("/docs").contains("swagger"));
    ask("/items");
    let log = || fs::read_to_string(place.stack.path("log/dev.log")).unwrap();
    wait("everything to be in its log", || log().contains("\"level\": \"DEBUG\""));
    place.saw("S2-06", &run, "start");

    place.run(0, "dev_server", &[&own[..], &[("up", "false")]].concat());
    assert_eq!(ask("/health"), "");
    // One that does not come up is taken away.
    fs::write(&main, "raise RuntimeError('no')\n").unwrap();
    place.run(6, "dev_server", &own);
    assert!(!place.stack.path("conf.d/dev.conf").exists());
}
