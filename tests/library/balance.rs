//! Who gets a request, what happens when one process is gone or not well, and what is taken back.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{finish, wait};
use crate::place::Place;

struct Pool {
    place: Place,
    port: String,
}

impl Pool {
    fn new() -> Pool {
        let place = Place::serving();
        let port = place.stack.another_port().to_string();
        Pool { place, port }
    }

    fn scale(&self, code: i32, instances: &str, more: &[(&str, &str)]) -> crate::operator::Run {
        let own = [("port", self.port.as_str()), ("instances", instances)];
        self.place.run(code, "scale_out", &own.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// The status, and which process answered: the last one that nginx asked.
    fn ask(&self, cookie: &str) -> (String, String) {
        let url = format!("http://127.0.0.1:{}/health", self.port);
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code} %header{x-served-by}", "-b", cookie, &url]);
        let said = finish(&mut curl).stdout;
        let (status, by) = said.split_once(' ').unwrap_or((&said, ""));
        (status.to_owned(), by.rsplit('/').next().unwrap().to_owned())
    }

    /// Who answers so many requests, all of which are.
    fn who(&self, requests: u32, cookie: &str) -> BTreeSet<String> {
        let ask = |_| {
            let (status, by) = self.ask(cookie);
            assert_eq!(status, "200");
            by
        };
        (0..requests).map(ask).collect()
    }
}

#[test]
fn who_gets_a_request_is_as_said_and_one_that_is_not_well_gets_none() {
    let pool = Pool::new();
    pool.scale(0, "3", &[("algorithm", "round_robin")]);
    assert_eq!(pool.who(6, "").len(), 3, "in turn");
    pool.scale(0, "3", &[("algorithm", "ip_hash")]);
    wait("the workers of before the reload to be gone", || pool.who(6, "").len() == 1); // one address, one process

    let run = pool.scale(0, "3", &[("algorithm", "sticky")]);
    wait("the workers of before the reload to be gone", || pool.who(9, "session=7").len() == 1);
    let of: Vec<BTreeSet<String>> = (0..12).map(|n| pool.who(3, &format!("session={n}"))).collect();
    assert!(of.iter().all(|who| who.len() == 1), "a session stays where it is: {of:?}");
    assert!(of.iter().collect::<BTreeSet<_>>().len() > 1, "and another one may be elsewhere: {of:?}");

    // Its process is gone: another one answers, and it comes back to its own.
    let mine = pool.who(1, "session=1").pop_first().unwrap();
    let program = mine.trim_end_matches(".sock");
    pool.place.stack.supervisorctl(&["stop", program]);
    assert!(!pool.who(5, "session=1").contains(&mine));
    pool.place.stack.supervisorctl(&["start", program]);
    wait("the session to come back", || pool.ask("session=1").1 == mine);

    // One that says itself that it is not well is passed over: of a release of its own, while the others are well.
    let sick = pool.place.stack.release("1.2.0");
    fs::write(sick.join("unhealthy"), "").unwrap();
    pool.place.stack.link("releases/1.2.0", "current");
    pool.place.stack.supervisorctl(&["restart", program]);
    wait("it to be up", || pool.place.stack.ask(&mine, "/health").0 == 503);
    assert!(!pool.who(5, "session=1").contains(&mine));
    pool.place.saw("S2-54", &run, "take_over");
}

#[test]
fn what_does_not_become_well_is_taken_back_and_a_restart_loses_no_request() {
    let pool = Pool::new();
    pool.scale(0, "2", &[]);
    let place = &pool.place;
    let processes = place.stack.supervisorctl(&["pid", "pool_0", "pool_1"]);
    let sites = fs::read_to_string(place.stack.path("sites/pool.conf")).unwrap();

    // The release that `current` means by now does not come up: more of it are none.
    let sick = place.stack.release("1.2.0");
    fs::write(sick.join("app/main.py"), "raise RuntimeError('no such setting')\n").unwrap();
    place.stack.link("releases/1.2.0", "current");
    let failed = pool.scale(6, "4", &[("healthy_seconds", "2")]);
    assert_eq!(failed.status("keep"), "undone", "{}", failed.text);
    assert_eq!(place.stack.supervisorctl(&["pid", "pool_0", "pool_1"]), processes, "the others served on");
    assert_eq!(fs::read_to_string(place.stack.path("sites/pool.conf")).unwrap(), sites);
    assert!(!place.stack.supervisorctl(&["status"]).contains("pool_2"), "{}", place.stack.supervisorctl(&["status"]));
    assert_eq!(pool.who(4, "").len(), 2);

    // While sixteen clients ask without a pause, one after the other is started again.
    place.stack.link("releases/1.1.0", "current");
    let url = format!("http://127.0.0.1:{}/health", pool.port);
    let mut wrk = Command::new("wrk");
    wrk.args(["-t", "2", "-c", "16", "-d", "300s", "--timeout", "20s", &url]).stdout(Stdio::piped());
    let wrk = wrk.spawn().unwrap();
    let rolled = place.run(0, "rolling_restart", &[("instances", "pool_0,pool_1")]);
    kill(Pid::from_raw(wrk.id() as i32), Signal::SIGINT).unwrap();
    let said = String::from_utf8_lossy(&wrk.wait_with_output().unwrap().stdout).into_owned();
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let requests: u32 = said.lines().find_map(|line| line.trim().split_once(" requests in")?.0.parse().ok()).unwrap();
    assert!(requests > 100, "{said}");
    assert!(place.stack.ask("pool_0.sock", "/health").1.contains("\"1.1.0\""));
    place.saw("S2-20", &rolled, "restart");
}
