//! Blue and green under load: not one request fails, whatever becomes of the release.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{kill_9, wait};
use crate::operator::Run;
use crate::place::Place;

/// Requests that have to be answered, all of them.
const REQUESTS_MIN: u64 = 4_000;

/// Blue serves 1.0.0, and 1.1.0 is there.
struct Cycle {
    place: Place,
}

impl Cycle {
    fn new() -> Cycle {
        Cycle { place: Place::serving() }
    }

    fn upgrade(&self, code: i32, version: &str, more: &[(&str, &str)]) -> Run {
        let url = self.place.stack.url();
        let own = [("version", version), ("url", &url)];
        self.place.run(code, "upgrade_bluegreen", &[&own[..], more].concat())
    }

    fn live(&self) -> String {
        fs::read_link(self.place.stack.path("run/live.sock")).unwrap().display().to_string()
    }

    /// How many requests nginx has answered.
    fn answered(&self) -> u64 {
        self.place.stack.log("nginx-access").lines().count() as u64
    }
}

/// Clients that ask all the time, until they are told to stop.
struct Load {
    wrk: Child,
}

impl Load {
    fn start(cycle: &Cycle) -> Load {
        let wrk = Command::new("wrk")
            .args(["--threads", "1", "--connections", "4", "--duration", "2h", "--timeout", "600s"])
            .arg(format!("{}/items", cycle.place.stack.url()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("wrk is installed");
        let before = cycle.answered();
        wait("the first answers", || cycle.answered() > before + 10);
        Load { wrk }
    }

    /// How many requests they made. None of them failed.
    fn end(mut self, cycle: &Cycle) -> u64 {
        wait("enough requests", || cycle.answered() > REQUESTS_MIN + 100);
        kill(Pid::from_raw(self.wrk.id() as i32), Signal::SIGINT).unwrap();
        let mut said = String::new();
        self.wrk.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.wrk.wait().unwrap();
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
        let requests = said.split(" requests in").next().and_then(|rest| rest.split_whitespace().last());
        let requests = requests.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{said}"));
        assert!(requests >= REQUESTS_MIN, "{said}");
        requests
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.wrk.kill();
        let _ = self.wrk.wait();
    }
}

#[test]
fn a_full_cycle_under_load_fails_no_request() {
    let cycle = Cycle::new();
    let place = &cycle.place;
    let load = Load::start(&cycle);

    let there = cycle.upgrade(0, "1.1.0", &[]);
    assert_eq!((cycle.live().as_str(), place.version().as_str()), ("green.sock", "1.1.0"));
    assert_eq!(place.stack.state("blue"), "STOPPED");
    let back = cycle.upgrade(0, "1.0.0", &[]);
    assert_eq!((cycle.live().as_str(), place.version().as_str()), ("blue.sock", "1.0.0"));
    assert_eq!(place.stack.state("green"), "STOPPED");

    let requests = load.end(&cycle);
    println!("{requests} requests, none failed");
    place.saw("S3-51", &there, "prepare");
    place.saw("S2-19 S3-51", &there, "switch");
    place.saw("S2-19 S3-51", &back, "switch");
    place.saw("S3-51", &there, "retire");
}

#[test]
fn a_release_that_is_not_well_never_sees_a_request() {
    let cycle = Cycle::new();
    let place = &cycle.place;
    fs::write(place.stack.path("releases/1.1.0/unhealthy"), "").unwrap();
    let load = Load::start(&cycle);

    let failed = cycle.upgrade(6, "1.1.0", &[("healthy_seconds", "3")]);
    assert!(failed.text.contains("did not answer /health with 200"), "{}", failed.text);
    assert_eq!((cycle.live().as_str(), place.version().as_str()), ("blue.sock", "1.0.0"));
    assert_eq!(place.stack.state("green"), "STOPPED");
    assert!(!fs::exists(place.stack.path("green")).unwrap(), "the link is as it was: there was none");

    load.end(&cycle);
    place.saw("S2-21", &failed, "prepare");
}

#[test]
fn a_request_that_takes_its_time_is_answered_by_the_old_release() {
    let cycle = Cycle::new();
    let place = &cycle.place;
    let (url, params) =
        (format!("{}/wait", place.stack.url()), place.params(&[("version", "1.1.0"), ("url", &place.stack.url())]));
    let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let slow = Command::new("curl").args(["--silent", &url]).stdout(Stdio::piped()).spawn().unwrap();
    let talks = || {
        let connections = Command::new("ss").args(["--unix", "--all", "--no-header"]).output().unwrap().stdout;
        let socket = place.stack.path("run/blue.sock").display().to_string();
        String::from_utf8_lossy(&connections).lines().any(|line| line.contains(&socket) && line.contains("ESTAB"))
    };
    wait("the request to reach blue", talks);
    // The driver dies while the old colour is drained: nothing is undone by that, and nothing done twice.
    let (mut driver, name) = place.operator.start("upgrade_bluegreen", &params);
    wait("the drain to begin", || place.operator.look(&name).status("drain") == "running");
    kill_9(&mut driver);
    assert_eq!(place.version(), "1.1.0", "new requests are answered by green");
    fs::write(place.stack.path("releases/1.0.0/go"), "").unwrap();
    let resumed = place.operator.scene.expect(0, &["resume", &name]);
    let said = slow.wait_with_output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&said), r#"{"version":"1.0.0"}"#, "{}", resumed.stdout);
    let run = place.operator.look(&name);
    assert_eq!(place.stack.state("blue"), "STOPPED");
    place.saw("S2-19", &run, "drain");
}

#[test]
fn a_reload_of_nginx_closes_a_connection_that_switching_the_socket_keeps() {
    let cycle = Cycle::new();
    let place = &cycle.place;
    let ask = |connection: &mut TcpStream| -> std::io::Result<String> {
        connection.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let (mut said, mut piece) = (Vec::new(), [0; 4096]);
        while !said.ends_with(b"}") {
            match connection.read(&mut piece)? {
                0 => break,
                read => said.extend_from_slice(&piece[..read]),
            }
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    };
    let mut connection = TcpStream::connect(("127.0.0.1", place.stack.port())).unwrap();
    assert!(ask(&mut connection).unwrap().contains("\"1.0.0\""));
    let switched = cycle.upgrade(0, "1.1.0", &[]);
    assert!(ask(&mut connection).unwrap().contains("\"1.1.0\""), "the same connection, the other colour");
    place.saw("S3-51", &switched, "healthy");

    let nginx = fs::read_to_string(place.stack.path("run/nginx.pid")).unwrap();
    kill(Pid::from_raw(nginx.trim().parse().unwrap()), Signal::SIGHUP).unwrap();
    assert_eq!(connection.read(&mut [0; 16]).unwrap(), 0, "closed, and the next request on it would be lost");
}
