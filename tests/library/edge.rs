//! The edge: what clients of the site may and may not do.

use std::fs;
use std::process::Command;

use crate::harness::{Done, finish};
use crate::operator::Run;
use crate::place::Place;

const TOKEN: &str = "correct-horse_battery9";

struct Site {
    place: Place,
    http: String,
    https: String,
}

impl Site {
    fn new() -> Site {
        let place = Place::serving();
        let (http, mut https) = (place.stack.another_port(), place.stack.another_port());
        while https == http {
            https = place.stack.another_port();
        }
        let site = Site { place, http: http.to_string(), https: https.to_string() };
        site.certificate("app");
        fs::create_dir(site.place.stack.path("static")).unwrap();
        fs::write(site.place.stack.path("static/logo.txt"), "a duck").unwrap();
        site
    }

    fn certificate(&self, name: &str) {
        let files = ["key", "pem"].map(|end| self.place.stack.path(&format!("{name}.{end}")).display().to_string());
        let made = finish(
            Command::new("openssl").args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]).args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                &files[0],
                "-out",
                &files[1],
            ]),
        );
        assert_eq!(made.code, 0, "{}", made.stderr);
    }

    fn apply(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let [certificate, key] = ["app.pem", "app.key"].map(|name| self.place.stack.path(name).display().to_string());
        let root = self.place.stack.folder().display().to_string();
        let own = [("root", root.as_str()), ("certificate", &certificate), ("key", &key), ("address", "0.0.0.0")];
        let ports = [("http_port", self.http.as_str()), ("https_port", &self.https), ("allow", "127.0.0.1")];
        let own: Vec<(&str, &str)> =
            own.into_iter().chain(ports).filter(|(name, _)| more.iter().all(|it| it.0 != *name)).collect();
        let (mut command, name) = self.place.operator.command("nginx_site", &[&own[..], more].concat());
        let done = finish(command.env("SITE_TOKEN", TOKEN));
        assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
        Run { code, text: format!("{}{}", done.stdout, done.stderr), ..self.place.operator.look(&name) }
    }

    /// `curl` to the site by TLS.
    fn curl(&self, path: &str, words: &[&str]) -> Done {
        let certificate = self.place.stack.path("app.pem");
        let url = format!("https://localhost:{}{path}", self.https);
        finish(Command::new("curl").args(["--silent", "--ipv4", "--cacert"]).arg(certificate).args(words).arg(url))
    }

    fn status(&self, path: &str, words: &[&str]) -> String {
        self.curl(path, &[&["--output", "/dev/null", "--write-out", "%{http_code}"], words].concat()).stdout
    }

    /// Whether a client of this version of TLS gets in.
    fn speaks(&self, version: &str) -> bool {
        let connect = format!("127.0.0.1:{}", self.https);
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &connect, version, "-cipher", "ALL:@SECLEVEL=0"]);
        let done = finish(client.stdin(std::process::Stdio::null()));
        done.stdout.contains("Cipher is") && !done.stdout.contains("Cipher is (NONE)")
    }
}

#[test]
fn the_site_speaks_tls_and_lets_nobody_in_without_a_token() {
    let site = Site::new();
    let run = site.apply(0, &[]);
    let saw = |rows: &str, step: &str| site.place.saw(rows, &run, step);

    assert!(site.speaks("-tls1_2") && site.speaks("-tls1_3") && !site.speaks("-tls1_1") && !site.speaks("-tls1"));
    let head = site.curl("/health", &["--http2", "--include"]).stdout;
    assert!(head.starts_with("HTTP/2 200") && head.contains("strict-transport-security: max-age=31536000"), "{head}");
    let plain = finish(Command::new("curl").args([
        "--silent",
        "--include",
        &format!("http://127.0.0.1:{}/items?a=b", site.http),
    ]));
    assert!(
        plain.stdout.contains("301") && plain.stdout.contains(&format!(":{}/items?a=b", site.https)),
        "{}",
        plain.stdout
    );
    let who = site
        .curl("/whoami", &["--http1.1", "--header", "Upgrade: websocket", "--header", "Connection: Upgrade"])
        .stdout;
    for header in [r#""x-forwarded-for":"127.0.0.1""#, r#""x-forwarded-proto":"https""#, r#""x-real-ip":"127.0.0.1""#] {
        assert!(who.contains(header), "{header}: {who}");
    }
    saw("S3-40", "take_over");

    assert!(who.contains(r#""upgrade":"websocket""#) && who.contains(r#""connection":"upgrade""#), "{who}");
    let upload = |mib: usize| {
        let file = site.place.operator.scene.file("upload", vec![b'x'; mib << 20]);
        site.curl("/upload", &["--data-binary", &format!("@{}", file.display())]).stdout
    };
    assert_eq!(upload(40), format!("{{\"bytes\":{}}}", 40 << 20));
    assert!(upload(51).contains("413"), "more than 50 MB is too much");
    assert_eq!(site.curl("/static/logo.txt", &[]).stdout, "a duck");
    let link = fs::read_link(site.place.stack.path("sites/secure.conf")).unwrap();
    assert_eq!(link.display().to_string(), "../sites-available/secure.conf");
    saw("S4-09", "link");

    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(site.status("/metrics", &[]), "401");
    assert_eq!(site.status("/metrics", &["--header", "Authorization: Bearer wrong"]), "401");
    assert_eq!(site.status("/metrics", &["--header", &bearer]), "200");
    assert_eq!(site.status("/metrics", &["--header", &bearer, "--interface", "127.0.0.2"]), "403");
    saw("S4-24", "take_over");
    assert!(!run.text.contains(TOKEN) && !run.show.to_string().contains(TOKEN), "the token is nowhere on the record");

    // Ten at once are let in; of those behind them only as many as the minute has brought.
    let asked: Vec<String> = (0..40).map(|_| site.status("/items", &[])).collect();
    assert!(asked[..10].iter().all(|status| status == "200"), "{asked:?}");
    assert!(asked.contains(&"429".to_owned()), "{asked:?}");
    saw("S4-25", "take_over");
}

#[test]
fn a_site_that_nginx_refuses_is_taken_back() {
    let site = Site::new();
    site.certificate("other");
    let other = site.place.stack.path("other.key").display().to_string();
    let refused = site.apply(1, &[("key", &other)]);
    assert!(refused.text.contains("is not the key of"), "{}", refused.text);
    assert!(!site.place.stack.path("sites/secure.conf").exists());

    // What another site has already cannot be had twice: nginx says so only when it reads both.
    let folder = site.place.stack.path("sites/other.conf");
    fs::write(folder, "limit_req_zone $binary_remote_addr zone=login:1m rate=1r/s;\n").unwrap();
    let refused = site.apply(6, &[]);
    assert!(refused.text.contains("login"), "{}", refused.text);
    assert!(!site.place.stack.path("sites/secure.conf").exists());
    assert_eq!(site.place.stack.get("/health").0, 200, "the others are served as before");
}
