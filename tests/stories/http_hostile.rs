//! Servers that mean harm: each request ends within its bounds, and says what was wrong with the answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Scene, finish, is_root, step_of};
use crate::http_server::{Server, reply};

/// What the step came to, with so much time.
fn ask(scene: &Scene, url: &str, more: &str, timeout: &str) -> Value {
    let http = format!("{{url: '{url}'{more}}}, timeout: {timeout}, grace: 1s");
    scene.file("one.yaml", format!("steps:\n  - {{id: ask, http: {http}}}\n"));
    scene.run(&["run", "one.yaml"]);
    step_of(&scene.last(), "ask")
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Says the first part, and the second one over and over until nobody listens any more.
fn endless(first: &'static [u8], again: &'static [u8]) -> Server {
    Server::start(move |_, stream| {
        let mut said = stream.write_all(first);
        while said.is_ok() {
            said = stream.write_all(again);
        }
    })
}

/// Says this, and that no more will come.
fn half_closed(answer: &'static str) -> Server {
    Server::start(move |_, stream| {
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read(&mut [0; 1]);
    })
}

#[test]
fn what_has_no_end_is_ended() {
    let scene = Scene::new();
    for (first, again, says) in [
        (&b"HTTP/1.1 200 OK\r\n"[..], &b"x-a: bcdefghijklmnopqrstuvwxyz\r\n"[..], "too many headers"),
        (b"HTTP/1.1 200 OK\r\nx-a: ", b"bcdefghijklmnopqrstuvwxyz", "response header is too big"),
        (b"HTTP/1.1 ", b"2", "invalid response status"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "response header is too big"),
        (CHUNKED, b"ffffffffffffffffff\r\nx\r\n", "chunk length cannot be read"),
        (CHUNKED, b"zz\r\nx\r\n", "chunk length cannot be read"),
    ] {
        let step = ask(&scene, &endless(first, again).base(), "", "1m");
        assert!(step["status"] == "failed" && step["error"].as_str().unwrap().contains(says), "{says}: {step}");
    }
    // Each part is as it should be, and there is always one more.
    for again in [&b"1\r\nx\r\n"[..], b"0\r\n"] {
        let step = ask(&scene, &endless(CHUNKED, again).base(), ", expect: {contains: y}", "1s");
        assert_eq!(step["status"], "timed_out", "{step}");
    }
}

#[test]
fn a_small_answer_that_unpacks_to_a_large_one_is_cut_where_any_other_is() {
    let packed = Command::new("sh").args(["-c", "head -c 100M /dev/zero | gzip -1"]).output().unwrap().stdout;
    assert!(packed.len() > 100_000 && packed.len() < 1_000_000, "{}", packed.len());
    let server = Server::start(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&packed));
    });
    let scene = Scene::new();
    let step = ask(&scene, &server.base(), "", "1m");
    let body = step["outputs"]["body"].as_str().unwrap_or_default();
    assert!(step["status"] == "succeeded" && body.len() <= 64 * 1024 && body.ends_with("it was cut here]"), "{step}");
    let step = ask(&scene, &server.base(), ", expect: {contains: y}", "1m");
    assert!(step["error"].as_str().unwrap().contains("larger than 10.0 MiB"), "{step}");
}

#[test]
fn an_answer_that_is_none_is_told_as_what_it_is() {
    let scene = Scene::new();
    for (answer, says) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\nabcdef",
            "hung up before its answer was complete (after 6 bytes",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nabcdef", "content-length header not a number"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 6\r\n\r\nabcdef", "conflicting content-length"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nabc", "content-length header not a number"),
        ("HTTP/1.1 200 OK\r\nx-a: b\rset-cookie: c\r\n\r\nabc", "invalid header value"),
        ("HTTP/1.1 200 OK\r\nx-a: b\0c\r\n\r\nabc", "invalid header value"),
        ("HTTP/1.1 200 OK\r\nx a: b\r\n\r\nabc", "invalid header name"),
        ("HTTP/1.1 999999 OK\r\n\r\nabc", "invalid response status"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "invalid HTTP version"),
        ("", "hung up before its answer was complete"),
    ] {
        let step = ask(&scene, &half_closed(answer).base(), "", "1m");
        assert!(step["status"] == "failed" && step["error"].as_str().unwrap().contains(says), "{answer:?}: {step}");
    }
    // What comes after the announced end is of nobody.
    let step = ask(&scene, &half_closed("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcdef").base(), "", "1m");
    assert_eq!(step["outputs"]["body"], "abc");
}

#[test]
fn a_redirect_that_never_ends_ends() {
    let server = Server::start(|_, stream| reply(stream, "302 Found", "location: /again\r\n", ""));
    let step = ask(&Scene::new(), &server.base(), "", "1m");
    assert!(step["error"].as_str().unwrap().contains("more than 5 redirects"), "{step}");
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn a_letter_at_a_time_does_not_outlast_the_step() {
    let server = Server::start(|_, stream| {
        for byte in b"HTTP/1.1 200 OK\r\nx-a: ".iter().chain(std::iter::repeat(&b'a')) {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let step = ask(&Scene::new(), &server.base(), "", "1s");
    assert_eq!(step["status"], "timed_out", "{step}");
}

/// Whoever asked at an address of this machine.
fn listens(address: &str, port: u16) -> (Arc<Mutex<u32>>, u16) {
    let listener = TcpListener::bind((address, port)).unwrap();
    let (asked, port) = (Arc::new(Mutex::new(0)), listener.local_addr().unwrap().port());
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            *count.lock().unwrap() += 1;
            let _: Result<usize, _> = TcpStream::read(&mut stream, &mut [0; 4096]);
            reply(&mut stream, "200 OK", "", "");
        }
    });
    (asked, port)
}

/// The binary, for which these lines are all that is known of names.
fn knowing(scene: &Scene, names: &str) -> Command {
    let hosts = scene.file("hosts", names);
    let mut command = Command::new("unshare");
    command.arg(if is_root() { "-m" } else { "-rm" });
    command.args(["sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts);
    let own = scene.runward();
    command.arg(own.get_program()).current_dir(scene.path(""));
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn of_the_addresses_that_a_name_has_those_that_are_closed_are_never_reached() {
    let scene = Scene::new();
    let (open, port) = listens("127.0.0.1", 0);
    let (closed, _) = listens("127.0.0.2", port);
    let count = |it: &Arc<Mutex<u32>>| *it.lock().unwrap();
    let both = ["127.0.0.2 both.example\n127.0.0.1 both.example\n", "127.0.0.1 both.example\n127.0.0.2 both.example\n"];
    scene.file("one.yaml", format!("steps:\n  - {{id: ask, http: {{url: 'http://both.example:{port}/'}}}}\n"));
    let ask = |names: &str, deny: &str| {
        let mut command = knowing(&scene, names);
        finish(command.env("RUNWARD_HTTP_DENY", deny).args(["run", "one.yaml"]))
    };
    for names in both {
        let done = ask(names, "127.0.0.2");
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }
    assert_eq!((count(&open), count(&closed)), (2, 0));
    // The other way round, so that it is no matter of order.
    for names in both {
        assert_eq!(ask(names, "127.0.0.1").code, 0);
    }
    assert_eq!((count(&open), count(&closed)), (2, 2));
    let done = ask(both[0], "127.0.0.0/8");
    assert!(done.code == 1 && done.stdout.contains("refused by `http.deny`"), "{}{}", done.stdout, done.stderr);
    assert_eq!((count(&open), count(&closed)), (2, 2));
}
