//! Where requests may go: judged by the address that is connected to, not by how it is written.

use std::fs;
use std::process::Command;

use crate::harness::{Done, Scene, finish, step_of};
use crate::http_server::{Server, reply};

fn ask(scene: &Scene, url: &str, env: &[(&str, &str)]) -> Done {
    scene.file("one.yaml", format!("steps:\n  - id: ask\n    http: {{url: '{url}'}}\n"));
    finish(scene.runward().args(["run", "one.yaml"]).envs(env.iter().copied()))
}

/// 127.0.0.1 in the ways that programs understand.
fn loopback(port: u16) -> Vec<String> {
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "127.0.0.1.",
        "LOCALHOST",
    ]
    .map(|host| format!("http://{host}:{port}/"))
    .into()
}

#[test]
fn this_machine_is_open_until_its_configuration_closes_it_however_it_is_written() {
    let server = Server::start(|_, stream| reply(stream, "200 OK", "", ""));
    let scene = Scene::new();
    let open = ask(&scene, &server.base(), &[]);
    assert_eq!((open.code, server.asked().len()), (0, 1), "{}", open.stdout);
    for url in loopback(server.port) {
        let done = ask(&scene, &url, &[("RUNWARD_HTTP_PRIVATE", "deny")]);
        assert_eq!(done.code, 1, "{url}: {}", done.stdout);
        assert!(done.stdout.contains("`http.private` is `deny`"), "{url}: {}", done.stdout);
    }
    assert_eq!(server.asked().len(), 1);
    let env = [("RUNWARD_HTTP_PRIVATE", "deny"), ("RUNWARD_HTTP_ALLOW", "127.0.0.0/8,::1")];
    assert_eq!(ask(&scene, &server.base(), &env).code, 0);
    let env = [("RUNWARD_HTTP_ALLOW", "127.0.0.0/8"), ("RUNWARD_HTTP_DENY", "127.0.0.1")];
    let done = ask(&scene, &server.base(), &env);
    assert!(done.code == 1 && done.stdout.contains("refused by `http.deny` (127.0.0.1/32)"), "{}", done.stdout);
}

#[test]
fn where_a_cloud_keeps_its_keys_nothing_goes() {
    let scene = Scene::new();
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.16689662",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "0.0.0.0",
        "[::]",
    ] {
        let done = ask(&scene, &format!("http://{host}/latest/meta-data/"), &[]);
        assert_eq!(done.code, 1, "{host}: {}", done.stdout);
        assert!(done.stdout.contains("no request goes there"), "{host}: {}", done.stdout);
    }
    let through = ask(&scene, "http://169.254.169.254/", &[("RUNWARD_HTTP_DENY", "10.0.0.0/8")]);
    assert!(through.stdout.contains("name it in `http.allow`"), "{}", through.stdout);
}

#[test]
fn an_answer_leads_nowhere_that_the_author_could_not_go() {
    let server = Server::start(|asked, stream| {
        let to = if asked.line.starts_with("GET /meta") {
            "http://169.254.169.254/latest/"
        } else {
            "http://[::ffff:7f00:1]:1/"
        };
        reply(stream, "302 Found", &format!("location: {to}\r\n"), "");
    });
    let scene = Scene::new();
    let done = ask(&scene, &format!("{}/meta", server.base()), &[]);
    assert!(done.code == 1 && done.stdout.contains("no request goes there"), "{}", done.stdout);
    let env =
        [("RUNWARD_HTTP_PRIVATE", "deny"), ("RUNWARD_HTTP_ALLOW", "127.0.0.1/32"), ("RUNWARD_HTTP_DENY", "127.0.0.2")];
    let done = ask(&scene, &server.base(), &env);
    assert!(
        done.stdout.contains("nothing listens at"),
        "the same address in another spelling is the same: {}",
        done.stdout
    );
}

#[test]
fn what_changes_something_carries_one_key_for_each_attempt() {
    let server = Server::start(|asked, stream| {
        let ready = asked.line.starts_with("GET")
            || asked.line.contains("/own")
            || asked.head.lines().any(|line| line.ends_with(".pay.2"));
        reply(stream, if ready { "200 OK" } else { "503 Service Unavailable" }, "", "");
    });
    let (scene, base) = (Scene::new(), server.base());
    scene.file(
        "one.yaml",
        format!(
            "steps:\n  - {{id: pay, http: {{url: '{base}/pay', method: POST, until: 3s, every: 10ms}}, retry: {{attempts: 2, delay: 1ms, jitter: none}}}}\n  \
             - {{id: look, http: {{url: '{base}/'}}}}\n  - {{id: own, http: {{url: '{base}/own', method: PUT, headers: {{Idempotency-Key: mine}}}}}}\n"
        ),
    );
    scene.expect(0, &["run", "one.yaml"]);
    let run = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    let keys: Vec<Option<String>> = server
        .asked()
        .iter()
        .map(|asked| asked.head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).map(str::to_owned))
        .collect();
    let (first, second) = (Some(format!("{run}.pay.1")), Some(format!("{run}.pay.2")));
    let tries = keys.iter().filter(|key| **key == first).count();
    assert!(tries > 1, "{keys:?}");
    assert_eq!(keys[tries..], [second, None, Some("mine".to_owned())]);
}

#[test]
fn authorities_and_identity_are_those_of_the_machine() {
    let scene = Scene::new();
    let openssl = |args: &[&str]| {
        let done =
            Command::new("openssl").args(args).current_dir(scene.path("")).output().expect("openssl can be started");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    for (name, subject) in [("server", "/CN=localhost"), ("client", "/CN=ops")] {
        let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            subject,
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &cert,
        ]);
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
            "server.pem",
            "-key",
            "server.key",
            "-CAfile",
            "client.pem",
            "-Verify",
            "1",
            "-verify_return_error",
            "-www",
            "-quiet",
        ])
        .current_dir(scene.path(""))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::harness::wait("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let url = format!("https://localhost:{port}/");
    let untrusted = ask(&scene, &url, &[]);
    assert!(untrusted.code == 1 && untrusted.stdout.contains("is not trusted"), "{}", untrusted.stdout);
    let toml = "[http]\nca-file = 'server.pem'\n";
    scene.file("runward.toml", toml);
    let nobody = ask(&scene, &url, &[]);
    assert_eq!(nobody.code, 1, "{}", nobody.stdout);
    scene.file("runward.toml", format!("{toml}certificate = 'client.pem'\nkey = 'client.key'\n"));
    fs::set_permissions(scene.path("client.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = ask(&scene, &url, &[]);
    assert!(open.stdout.contains("others may reach it (mode 0644)"), "{}", open.stdout);
    fs::set_permissions(scene.path("client.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let known = ask(&scene, &url, &[]);
    assert_eq!(known.code, 0, "{}", known.stdout);
    assert_eq!(step_of(&scene.last(), "ask")["outputs"]["status"], 200);
    let _ = server.kill();
    let _ = server.wait();
}
