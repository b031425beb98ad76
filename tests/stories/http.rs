//! Requests: what arrives at a real server, what is made of its answer, and what survives.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::harness::{Scene, finish, kill_9, step_of, wait};
use crate::http_server::{Server, reply};

/// A runbook with one request.
fn one(http: &str) -> String {
    format!(
        "name: one\nparams:\n  base: {{type: string, required: true}}\n  x: {{type: string, default: a}}\nsteps:\n  - id: ask\n    \
         env: {{X: '${{{{ params.x }}}}'}}\n    http: {http}\n"
    )
}

fn ask(scene: &Scene, http: &str, server: &Server, x: &str, code: i32) -> (serde_json::Value, String) {
    scene.file("one.yaml", one(http));
    let (base, x) = (format!("base={}", server.base()), format!("x={x}"));
    let done = scene.expect(code, &["run", "one.yaml", "-p", &base, "-p", &x]);
    (step_of(&scene.last(), "ask"), done.stdout + &done.stderr)
}

#[test]
fn values_arrive_as_data_each_in_its_place_and_with_its_type() {
    let server = Server::start(|asked, stream| reply(stream, "201 Created", "X-Job: 7\r\n", &asked.body));
    let scene = Scene::new();
    scene.file(
        "x.yaml",
        "params: {base: {required: true}, name: {default: 'a/../b?c=d&e 备'}, n: {type: int, default: 3}, l: {type: list, default: [1, '2']}}
steps:
  - id: post
    http:
      url: ${{ params.base }}/jobs/${{ params.name }}?q=${{ params.name }}
      method: POST
      headers: {X-Name: 'n ${{ params.n }}', Authorization: Bearer t}
      json: {n: '${{ params.n }}', l: '${{ params.l }}', text: 'n=${{ params.n }}', name: '${{ params.name }}', half: 0.5, no: null}
      expect: {status: [200, 201], json: {n: 3}, contains: 'n=${{ params.n }}'}
  - id: use
    run: echo \"n=${{ steps.post.outputs.json.n }} job=${{ steps.post.outputs.headers | get(key='x-job') }} status=${{ steps.post.outputs.status }}\"
  - {id: put, http: {url: '${{ params.base }}/', method: PUT, body: 'text ${{ params.n }}', expect: {status: 201}}}
  - {id: delete, http: {url: '${{ params.base }}/', method: DELETE, json: [1]}}
  - {id: head, http: {url: '${{ params.base }}/h', method: HEAD}}
",
    );
    let done = scene.expect(0, &["run", "x.yaml", "-p", &format!("base={}/v1/", server.base())]);
    assert!(done.stdout.contains("use | n=3 job=7 status=201"), "{}", done.stdout);
    let asked = server.asked();
    let encoded = "a%2F..%2Fb%3Fc%3Dd%26e%20%E5%A4%87";
    assert_eq!(asked[0].line, format!("POST /v1/jobs/{encoded}?q={encoded} HTTP/1.1"));
    for header in ["x-name: n 3", "authorization: bearer t", "content-type: application/json", "user-agent: runward/"] {
        assert!(asked[0].head.contains(header), "{}", asked[0].head);
    }
    let body: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
    let wanted =
        serde_json::json!({"n": 3, "l": [1, "2"], "text": "n=3", "name": "a/../b?c=d&e 备", "half": 0.5, "no": null});
    assert_eq!(body, wanted);
    assert_eq!((asked[1].line.as_str(), asked[1].body.as_str()), ("PUT /v1/ HTTP/1.1", "text 3"));
    assert_eq!((asked[2].line.as_str(), asked[2].body.as_str()), ("DELETE /v1/ HTTP/1.1", "[1]"));
    assert_eq!(asked[3].line, "HEAD /v1/h HTTP/1.1");
    assert_eq!(asked.len(), 4);
}

#[test]
fn a_value_that_would_make_another_request_fails_the_step_before_anything_is_sent() {
    let server = Server::start(|_, stream| reply(stream, "200 OK", "", ""));
    for (http, x, why) in [
        ("{url: '${{ params.base }}/users/${{ params.x }}', method: DELETE}", "", "is empty"),
        ("{url: '${{ params.base }}/a/${{ params.x }}/b'}", "..", "`.` or `..`"),
        ("{url: '${{ params.base }}/', headers: {X-A: 'v ${{ params.x }}'}}", "a\r\nHost: evil", "a line break"),
        ("{url: '${{ params.x }}/', body: '${{ params.base }}', method: POST}", "file:///etc/passwd", "no URL"),
        ("{url: 'http://${{ params.x }}/', body: '${{ params.base }}', method: POST}", "h/evil", "'/'"),
    ] {
        let scene = Scene::new();
        let (step, said) = ask(&scene, http, &server, x, 1);
        assert!(said.contains(why), "{http}: {said}");
        assert_eq!(step["attempts"], 0, "{step}");
    }
    assert!(server.asked().is_empty());
}

#[test]
fn what_cannot_be_meant_is_refused_when_the_file_is_checked() {
    for (http, why) in [
        ("{url: 'ftp://h/'}", "begins with `http://`"),
        ("{url: '${{ params.base }}.example.com/'}", "whole beginning"),
        ("{url: 'http://h/', json: {a: 1}}", "a GET request has no body"),
        ("{url: 'http://h/', method: POST, json: {a: 1}, body: x}", "not both"),
        ("{url: 'http://h/', every: 5s}", "means nothing without `until`"),
        ("{url: 'http://h/', until: 20m}", "times out after"),
        ("{url: 'http://h/', headers: {'X Y': a}}", "the name of a header"),
        ("{url: 'http://h/', headers: {Content-Length: '3'}}", "written by runward itself"),
        ("{url: 'http://h/', headers: {A: \"x\\ny\"}}", "line break"),
        ("{url: 'http://h/', method: POST, json: {'${{ params.x }}': 1}}", "names of JSON"),
        ("{url: 'http://h/', expect: {status: 99}}", "100 to 599"),
        ("{url: 'http://h/', method: HEAD, expect: {contains: x}}", "has no body"),
        ("{url: 'http://h/', expct: 1}", "did you mean `expect`"),
        ("{url: 'http://h/${{ params.nope }}'}", "not a parameter"),
        ("{url: 'http://h/'}\n  - run: echo ${{ steps.ask.outputs.stauts }}", "did you mean `status`"),
        ("{url: 'http://h/'}\n    cwd: /tmp", "means nothing for a step of the kind `http`"),
        ("{url: 'http://h/'}\n    outputs: {status: int}", "with their types"),
    ] {
        let scene = Scene::new();
        scene.file("one.yaml", one(http));
        let done = scene.expect(2, &["validate", "one.yaml"]);
        assert!(done.stderr.contains(why), "{http}:\n{}", done.stderr);
        assert!(done.stderr.contains("one.yaml:"), "{http}:\n{}", done.stderr);
    }
}

#[test]
fn a_server_is_asked_until_it_is_ready_and_the_log_says_only_what_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener); // nothing listens there yet
    let scene = Scene::new();
    scene.file(
        "one.yaml",
        one("{url: '${{ params.base }}/ready', expect: {json: {status: ready}}, until: 60s, every: 20ms}"),
    );
    let mut run = scene.start(&["run", "one.yaml", "-p", &format!("base=http://127.0.0.1:{port}")]);
    scene.wait_for("started.out", "nothing listens at 127.0.0.1");
    let ready = scene.path("ready");
    let server = Server::on(TcpListener::bind(("127.0.0.1", port)).unwrap(), move |_, stream| {
        let (status, word) = if ready.exists() { ("200 OK", "ready") } else { ("503 Service Unavailable", "starting") };
        reply(stream, status, "", &format!("{{\"status\": \"{word}\"}}"));
    });
    scene.wait_for("started.out", "got 503");
    wait("several tries", || server.asked().len() > 5);
    scene.file("ready", "");
    assert!(run.wait().unwrap().success());
    let log = scene.expect(0, &["logs", "last", "ask", "--raw"]).stdout;
    assert_eq!(log.matches("not yet: ").count(), 2, "{log}");
    assert!(log.contains("as expected after "), "{log}");
    assert_eq!(step_of(&scene.last(), "ask")["outputs"]["json"]["status"], "ready");
}

#[test]
fn an_answer_that_never_comes_right_fails_and_says_what_came() {
    let server = Server::start(|_, stream| reply(stream, "500 Internal Server Error", "", "disk \u{1b}[31mfull"));
    let scene = Scene::new();
    let (step, said) = ask(&scene, "{url: '${{ params.base }}/x', until: 1s, every: 100ms}", &server, "a", 1);
    let error = step["error"].as_str().unwrap();
    assert!(error.contains("/x: not as expected after ") && error.contains("expected status 2xx, got 500"), "{error}");
    let (step, said_once) = ask(&scene, "{url: '${{ params.base }}/x', expect: {status: [200, 204]}}", &server, "a", 1);
    assert!(step["error"].as_str().unwrap().ends_with("/x: expected status 200 or 204, got 500"), "{step}");
    assert!(said_once.contains("| disk") && !said_once.contains('\u{1b}'), "{said_once}");
    assert!(said.contains("in "), "{said}");
}

#[test]
fn a_redirect_to_another_host_takes_no_secret_along() {
    let there = Server::start(|_, stream| reply(stream, "200 OK", "", "there"));
    let target = format!("location: http://127.0.0.1:{}/there\r\n", there.port);
    let here = Server::start(move |asked, stream| match asked.line.split(' ').nth(1) {
        Some("/first") => reply(stream, "307 Temporary Redirect", "location: ../second?x=1\r\n", ""),
        Some("/circle") => reply(stream, "302 Found", "location: /circle\r\n", ""),
        _ => reply(stream, "302 Found", &target, ""),
    });
    let scene = Scene::new();
    let headers = "headers: {Authorization: Bearer t, Cookie: c, X-Api-Key: k, Accept: text/plain}";
    let (step, _) = ask(&scene, &format!("{{url: '${{{{ params.base }}}}/first', {headers}}}"), &here, "a", 0);
    assert_eq!(step["outputs"]["body"], "there");
    let asked = here.asked();
    assert_eq!(asked[1].line, "GET /second?x=1 HTTP/1.1");
    assert!(asked[1].head.contains("authorization: bearer t"), "the same server is still asked by name");
    let head = there.asked()[0].head.clone();
    assert!(head.contains("accept: text/plain"), "{head}");
    for secret in ["authorization", "cookie", "x-api-key"] {
        assert!(!head.contains(secret), "{head}");
    }
    // What asks for a change is not sent elsewhere, and a circle ends.
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/x', method: POST, body: b}", &here, "a", 1);
    assert!(step["error"].as_str().unwrap().contains("got 302 (to http://127.0.0.1"), "{step}");
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/circle'}", &here, "a", 1);
    assert!(step["error"].as_str().unwrap().contains("more than 5 redirects"), "{step}");
    ask(&scene, "{url: '${{ params.base }}/circle', expect: {status: 302}}", &here, "a", 0);
    assert_eq!(there.asked().len(), 1);
}

#[test]
fn a_request_is_sent_once_even_when_the_server_hangs_up() {
    let server = Server::start(|asked, stream| {
        if asked.line.contains("/half") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc");
        }
    });
    let scene = Scene::new();
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/none', method: POST, body: pay}", &server, "a", 1);
    assert!(step["error"].as_str().unwrap().contains("hung up"), "{step}");
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/half', method: PUT, body: pay}", &server, "a", 1);
    assert!(step["error"].as_str().unwrap().contains("after 3 bytes of its answer"), "{step}");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn an_answer_without_end_is_cut_and_one_that_has_to_be_read_whole_is_refused() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let scene = Scene::new();
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/'}", &server, "a", 0);
    let body = step["outputs"]["body"].as_str().unwrap();
    assert!(body.len() <= 64 * 1024 && body.ends_with("it was cut here]"), "{}", body.len());
    assert!(step["outputs"].get("json").is_none());
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/', expect: {contains: y}}", &server, "a", 1);
    assert!(step["error"].as_str().unwrap().contains("larger than 10.0 MiB"), "{step}");
}

#[test]
fn a_server_that_stalls_is_ended_by_the_timeout_of_the_step() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        std::thread::sleep(crate::harness::PATIENCE);
    });
    let scene = Scene::new();
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/'}\n    timeout: 1s\n    grace: 1s", &server, "a", 1);
    assert_eq!(step["status"], "timed_out", "{step}");
    // While polling, each request has an end of its own: that of `until`.
    let other = Server::start(|_, _| std::thread::sleep(crate::harness::PATIENCE));
    let (step, _) = ask(&scene, "{url: '${{ params.base }}/', until: 500ms, every: 100ms}", &other, "a", 1);
    assert!(step["error"].as_str().unwrap().contains("did not answer in time"), "{step}");
}

#[test]
fn a_sensitive_value_is_in_the_request_and_in_nothing_that_is_shown() {
    let server = Server::start(|asked, stream| reply(stream, "403 Forbidden", "", &format!("not you: {}", asked.line)));
    let scene = Scene::new();
    scene.file(
        "x.yaml",
        "params: {base: {required: true}, t: {sensitive: true, required: true}}
steps:
  - id: ask
    env: {T: '${{ params.t }}'}
    http: {url: '${{ params.base }}/a?t=${{ params.t }}&u=${{ env.T }}', headers: {X: '${{ params.t }}'}, expect: {contains: '${{ params.t }}'}}
",
    );
    let base = format!("base={}", server.base().replace("http://", "http://ann:open%20sesame@"));
    let params = ["x.yaml", "-p", &base, "-p", "t=hunter 2/x"];
    let plan = scene.expect(0, &[&["plan"], &params[..]].concat());
    let done = scene.expect(1, &[&["run"], &params[..]].concat());
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /a?t=hunter%202%2Fx&u=hunter%202%2Fx HTTP/1.1");
    assert!(asked[0].head.contains(&"authorization: Basic YW5uOm9wZW4gc2VzYW1l".to_lowercase()), "{}", asked[0].head);
    let logs = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    for shown in [&plan.stdout, &done.stdout, &done.stderr, &logs] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
    assert!(logs.contains("t=(sensitive)&u=(sensitive)") && !logs.contains("sesame"), "{logs}");
    // The file that carried the request is gone.
    let attempts = scene.path("state/runs");
    let left = Command::new("grep").args(["-rl", "hunter%202"]).arg(attempts).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn a_private_authority_is_trusted_where_the_step_names_it_and_nowhere_else() {
    let scene = Scene::new();
    scene.file("ca.cnf", "[req]\ndistinguished_name=d\n[d]\n[ca]\nbasicConstraints=critical,CA:TRUE\n[leaf]\nsubjectAltName=IP:127.0.0.1\n");
    let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ours -config ca.cnf -extensions ca -keyout ca.key -out ca.pem &&
                openssl req -newkey rsa:2048 -nodes -subj /CN=leaf -config ca.cnf -keyout leaf.key -out leaf.csr &&
                openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ca.cnf -extensions leaf -out leaf.pem";
    let made = finish(Command::new("sh").args(["-ec", make]).current_dir(scene.path("")));
    assert_eq!(made.code, 0, "{}", made.stderr);
    // The same server at two addresses, of which the certificate has one; names would ask this machine's resolver.
    let serve = "import http.server, ssl, threading\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain('leaf.pem', 'leaf.key')\n\
        def listen(address, port):\n\
        \x20   server = http.server.ThreadingHTTPServer((address, port), http.server.SimpleHTTPRequestHandler)\n\
        \x20   server.socket = context.wrap_socket(server.socket, server_side=True)\n\
        \x20   return server\n\
        named = listen('127.0.0.1', 0)\n\
        other = listen('127.0.0.2', named.server_port)\n\
        threading.Thread(target=other.serve_forever, daemon=True).start()\n\
        open('port', 'w').write(str(named.server_port) + ';')\n\
        named.serve_forever()\n";
    let mut server = Command::new("python3");
    server.args(["-c", serve]).current_dir(scene.path("")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = server.spawn().unwrap();
    scene.wait_for("port", ";");
    let base = format!("base=https://127.0.0.1:{}", scene.read("port").trim_end_matches(';'));
    scene.file("one.yaml", one("{url: '${{ params.base }}/ca.cnf', expect: {contains: 'IP:'}}"));
    let stranger = scene.run(&["run", "one.yaml", "-p", &base]);
    let named = one("{url: '${{ params.base }}/ca.cnf', expect: {contains: 'IP:'}}");
    scene.file(
        "two.yaml",
        named.replace("env: {", &format!("env: {{SSL_CERT_FILE: '{}', ", scene.path("ca.pem").display())),
    );
    let friend = scene.run(&["run", "two.yaml", "-p", &base]);
    let by_address = scene.run(&["run", "two.yaml", "-p", &base.replace("127.0.0.1", "127.0.0.2")]);
    kill_9(&mut server);
    assert_eq!((stranger.code, friend.code, by_address.code), (1, 0, 1), "{}{}", friend.stdout, stranger.stdout);
    assert!(
        stranger.stdout.contains("is not trusted") && stranger.stdout.contains("SSL_CERT_FILE"),
        "{}",
        stranger.stdout
    );
    assert!(by_address.stdout.contains("is for another name"), "{}", by_address.stdout);
}

#[test]
fn a_poll_survives_the_death_of_its_driver_and_is_adopted() {
    let scene = Scene::new();
    let ready = scene.path("ready");
    let server = Server::start(move |_, stream| {
        reply(stream, if ready.exists() { "200 OK" } else { "503 Service Unavailable" }, "", "")
    });
    scene.file("one.yaml", one("{url: '${{ params.base }}/', until: 5m, every: 20ms}"));
    let mut driver = scene.start(&["run", "one.yaml", "-p", &format!("base={}", server.base())]);
    wait("a first try", || !server.asked().is_empty());
    kill_9(&mut driver);
    let before = server.asked().len();
    wait("tries without a driver", || server.asked().len() > before + 3);
    let mut resumed = scene.start(&["resume", "last"]);
    scene.wait_for("started.out", "still runs");
    scene.file("ready", "");
    assert!(resumed.wait().unwrap().success());
    let step = step_of(&scene.last(), "ask");
    assert_eq!(step["attempts"], 1, "{step}");
    assert_eq!(step["outputs"]["status"], 200);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_run_goes_on_with_its_own_program_when_the_binary_is_removed() {
    let server = Server::start(|_, stream| reply(stream, "200 OK", "", "ok"));
    let scene = Scene::new();
    let program = scene.path("runward-old");
    fs::copy(env!("CARGO_BIN_EXE_runward"), &program).unwrap();
    scene.file(
        "x.yaml",
        "params: {base: {required: true}, dir: {type: path, required: true}}
steps:
  - run: cd ${{ params.dir }}; touch waiting; until test -e go; do sleep 0.05; done
  - {id: ask, http: {url: '${{ params.base }}/'}}
",
    );
    let mut command = Command::new(&program);
    command.current_dir(scene.path("")).env("RUNWARD_STATE", scene.path("state")).stdin(Stdio::null());
    let base = format!("base={}", server.base());
    let mut run =
        command.args(["run", "x.yaml", "-p", &base, "-p", &scene.dir()]).stdout(Stdio::null()).spawn().unwrap();
    wait("the first step", || scene.path("waiting").exists());
    fs::remove_file(&program).unwrap();
    scene.file("go", "");
    assert!(run.wait().unwrap().success());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn what_is_left_of_a_sensitive_value_when_a_message_is_cut_is_not_shown_either() {
    let token: String = (0..40).map(|n| format!("tok{n:03}")).collect();
    let (upper, head) = (token.to_uppercase(), &token[..24]);
    let server = Server::start(|asked, stream| {
        let path = asked.line.split(' ').nth(1).unwrap_or_default();
        let elsewhere = format!("location: ftp://elsewhere/{}?{}\r\n", "x".repeat(150), asked.body);
        match path.starts_with("/away") {
            true => reply(stream, "302 Found", &elsewhere.replace("?", path), ""),
            false => reply(stream, "200 OK", "", &format!("{{\"token\": \"{}\", \"path\": \"{path}\"}}", asked.body)),
        }
    });
    let scene = Scene::new();
    scene.file(
        "x.yaml",
        "params: {base: {required: true}, t: {sensitive: true, required: true}}
defaults: {allow-failure: true}
steps:
  - {id: json, http: {url: '${{ params.base }}/', method: POST, body: '${{ params.t }}', expect: {json: {token: x}}}}
  - {id: contains, http: {url: '${{ params.base }}/', expect: {contains: '${{ params.t }}'}}}
  - {id: away, http: {url: '${{ params.base }}/away?${{ params.t }}'}}
  - {id: made, http: {url: '${{ params.base }}/?${{ params.t | upper }}', expect: {json: {path: x}}}}
",
    );
    let params = scene.file("params.yaml", format!("{{base: '{}', t: {token}}}", server.base()));
    let done = scene.expect(0, &["run", "x.yaml", "--params-file", params.to_str().unwrap()]);
    let (shown, record) = (done.stdout, scene.last()["steps"].to_string());
    let logs = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    for text in [&shown, &record, &logs] {
        assert!(!text.contains(head) && !text.contains(&upper[..24]), "{text}");
    }
    for words in ["expected json.token to be \"x\", got \"***\"", "contains \"***\"", "points to ftp://"] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
}

#[test]
fn the_time_for_asking_again_is_not_slept_away() {
    let server = Server::start({
        let answers = std::sync::atomic::AtomicUsize::new(0);
        move |_, stream| match answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => reply(stream, "503 Service Unavailable", "", ""),
            _ => reply(stream, "200 OK", "", "ready"),
        }
    });
    let scene = Scene::new();
    ask(&scene, "{url: '${{ params.base }}/${{ params.x }}', until: 3s, every: 1h}", &server, "a", 0);
    assert_eq!(server.asked().len(), 2);
}
