//! Certificates from a real ACME server, which asks the site itself whether the domain is its.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use runward_services::{Guard, Signal, clock, until_up};
use tempfile::TempDir;

use crate::harness::{finish, repository, wait};
use crate::operator::Run;
use crate::place::Place;

const DOMAIN: &str = "items.test";
/// One for which the issuer makes no certificate.
const REFUSED: &str = "refused.test";

/// Who issues certificates, and the names that it looks domains up in.
struct Issuer {
    folder: TempDir,
    _servers: [Guard; 2],
    acme: u16,
    management: u16,
    names: u16,
}

impl Issuer {
    /// Its certificates are valid for 20 days. It asks sites on the port `http`.
    fn start(ports: [u16; 4], http: u16) -> Issuer {
        let folder = tempfile::Builder::new().prefix("runward-issuer-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        let made = finish(openssl.args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")]));
        assert_eq!(made.code, 0, "{}", made.stderr);
        let [acme, management, dns, names] = ports;
        let pebble = serde_json::json!({
            "listenAddress": format!("127.0.0.1:{acme}"), "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("cert.pem"), "privateKey": path("key.pem"), "httpPort": http, "tlsPort": 1,
            "certificateValidityPeriod": 20 * 86_400, "domainBlocklist": [REFUSED],
        });
        fs::write(path("pebble.json"), serde_json::json!({ "pebble": pebble }).to_string()).unwrap();
        let (dns, config) = (format!("127.0.0.1:{dns}"), path("pebble.json"));
        let manage = format!("127.0.0.1:{names}");
        let start = |name: &str, words: &[&str]| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
            Guard::start(&folder, Signal::Terminate, &words)
        };
        let none = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""];
        let servers = [
            start("names", &[&["pebble-challtestsrv", "-dns01", &dns, "-management", &manage], &none[..]].concat()),
            start(
                "pebble",
                &[
                    "env",
                    "PEBBLE_VA_NOSLEEP=1",
                    "PEBBLE_AUTHZREUSE=0",
                    // By itself it refuses one request of twenty, and certbot gives up after two in a row.
                    "PEBBLE_WFE_NONCEREJECT=0",
                    "pebble",
                    "-config",
                    &config,
                    "-dnsserver",
                    &dns,
                ],
            ),
        ];
        let issuer = Issuer { _servers: servers, acme, management, names, folder };
        let log = || fs::read_to_string(issuer.folder.path().join("pebble/log")).unwrap_or_default();
        until_up(&issuer._servers[1], log, || match issuer.root().contains("BEGIN CERTIFICATE") {
            true => Ok(()),
            false => Err("it says nothing".to_owned()),
        });
        issuer
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The certificate that vouches for all of its.
    fn root(&self) -> String {
        let url = format!("https://localhost:{}/roots/0", self.management);
        finish(Command::new("curl").args(["--silent", "--cacert", &self.path("cert.pem"), &url])).stdout
    }

    /// Where the domain leads to.
    fn lead(&self, address: &str) {
        let (url, body) = (
            format!("http://127.0.0.1:{}/set-default-ipv4", self.names),
            serde_json::json!({ "ip": address }).to_string(),
        );
        let done = finish(Command::new("curl").args(["--silent", "--fail", "--data", &body, &url]));
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
}

struct Site {
    place: Place,
    issuer: Issuer,
    http: u16,
    https: u16,
}

impl Site {
    fn new() -> Site {
        let place = Place::serving();
        let [http, https, acme, management, dns, names] = place.ports();
        let issuer = Issuer::start([acme, management, dns, names], http);
        fs::write(issuer.path("root.pem"), issuer.root()).unwrap();
        Site { place, issuer, http, https }
    }

    fn params(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = [
            ("root", self.place.stack.folder().display().to_string()),
            ("domain", DOMAIN.to_owned()),
            ("email", "ops@example.com".to_owned()),
            ("server", format!("https://localhost:{}/dir", self.issuer.acme)),
            ("server_ca", self.issuer.path("cert.pem")),
            ("address", "127.0.0.1".to_owned()),
            ("http_port", self.http.to_string()),
            ("https_port", self.https.to_string()),
        ];
        let own = own.into_iter().filter(|(name, _)| more.iter().all(|it| it.0 != *name));
        let own = own.map(|(name, value)| (name.to_owned(), value));
        own.chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
    }

    fn harden(&self, code: i32, token: Option<&str>, more: &[(&str, &str)]) -> Run {
        let params = self.params(more);
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (mut command, name) = self.place.operator.command("harden_tls", &params);
        token.map(|token| command.env("SITE_TOKEN", token));
        let done = finish(&mut command);
        assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
        Run { code, text: format!("{}{}", done.stdout, done.stderr), ..self.place.operator.look(&name) }
    }

    /// What it serves is over since yesterday. Its number.
    fn expire(&self) -> String {
        let stack = &self.place.stack;
        let path = |name: &str| stack.path("tls/over").join(name).display().to_string();
        fs::create_dir(stack.path("tls/over")).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=items.test"]);
        openssl.args(["-keyout", &path("privkey.pem"), "-out", &path("fullchain.pem")]);
        let made = finish(openssl.envs(clock("-2d")));
        assert_eq!(made.code, 0, "{}", made.stderr);
        stack.link("over", "tls/live");
        stack.supervisorctl(&["signal", "HUP", "nginx"]);
        let number = finish(Command::new("openssl").args(["x509", "-noout", "-serial", "-in", &path("fullchain.pem")]));
        wait("nginx to serve it", || self.serial() == number.stdout);
        assert!(!self.curl(&format!("https://{DOMAIN}:{}/health", self.https)).contains("200"), "nobody takes it");
        number.stdout
    }

    /// `curl` as a client that trusts the issuer and knows where the domain is.
    fn curl(&self, url: &str) -> String {
        let trusted = self.issuer.path("root.pem");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--include", "--cacert", &trusted, "--connect-to", &format!("{DOMAIN}::127.0.0.1:")]);
        finish(curl.arg(url)).stdout
    }

    /// What clients of this version of TLS are told at the door.
    fn shake_hands(&self, version: &str) -> String {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.https), "-servername", DOMAIN, version]);
        finish(client.args(["-cipher", "ALL:@SECLEVEL=0"]).stdin(Stdio::null())).stdout
    }

    /// The number of the certificate that clients get.
    fn serial(&self) -> String {
        let file = self.place.operator.scene.file("served.pem", self.shake_hands("-tls1_3"));
        let done = finish(Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(file));
        assert!(done.stdout.starts_with("serial="), "{}", done.stderr);
        done.stdout
    }
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_certificate_is_fetched_served_and_renewed_in_time() {
    let site = Site::new();
    let (place, stack) = (&site.place, &site.place.stack);
    let https = format!("https://{DOMAIN}:{}/health", site.https);

    // The domain leads elsewhere: nothing is left of the attempt.
    site.issuer.lead("127.0.0.9");
    let refused = site.harden(1, Some("correct-horse_battery9"), &[]);
    assert!(refused.text.contains("no certificate was issued"), "{}", refused.text);
    assert!(refused.text.to_lowercase().contains("connection refused"), "{}", refused.text);
    assert!(!stack.path("sites/door.conf").exists() && !stack.path("sites/secure.conf").exists());
    assert_eq!(stack.get("/health").0, 200, "the others are served as before");

    // What the issuer says is told, also where certbot loses it (it says `can't set attribute`).
    let refused = site.harden(1, Some("correct-horse_battery9"), &[("domain", REFUSED)]);
    assert!(refused.text.contains("rejectedIdentifier"), "{}", refused.text);

    site.issuer.lead("127.0.0.1");
    let run = site.harden(0, Some("correct-horse_battery9"), &[]);
    let said = site.curl(&https);
    assert!(said.starts_with("HTTP/2 200") && said.contains("\"version\":\"1.0.0\""), "by one it trusts: {said}");
    place.saw("S4-27", &run, "obtain");
    assert!(said.contains("strict-transport-security: max-age=31536000"), "{said}");
    let sent = site.curl(&format!("http://{DOMAIN}:{}/items?a=b", site.http));
    assert!(
        sent.contains("301") && sent.contains(&format!("ocation: https://{DOMAIN}:{}/items?a=b", site.https)),
        "{sent}"
    );
    assert!(site.shake_hands("-tls1_3").contains("TLSv1.3, Cipher is TLS_"));
    assert!(site.shake_hands("-tls1_2").contains("Cipher is (NONE)"));
    assert!(!stack.path("sites/door.conf").exists());
    assert!(!run.text.contains("correct-horse"), "the token is nowhere");

    // Enough days are left: nobody is asked. Too few: it is renewed, and nobody has to know the token for that.
    let first = site.serial();
    let kept = site.harden(0, None, &[("renew_days", "10")]);
    assert_eq!((kept.status("obtain").as_str(), site.serial()), ("skipped", first.clone()));
    let days: u32 = kept.output("left", "days").parse().unwrap();
    assert!((18..=20).contains(&days), "{days}");

    // Renewed, and clients do not get it: the one before serves again.
    let elsewhere = stack.another_port().to_string();
    let taken_back = site.harden(6, None, &[("https_port", &elsewhere)]);
    assert!(taken_back.text.contains("does not serve"), "{}", taken_back.text);
    assert_eq!(site.serial(), first);

    // A challenge that fails leaves it in service, and people are told how long it will last.
    site.issuer.lead("127.0.0.9");
    let refused = site.harden(1, None, &[("warn_days", "25")]);
    assert!(refused.text.contains("no certificate was issued"), "{}", refused.text);
    assert!(refused.text.contains("the certificate of items.test ends in 19 days"), "{}", refused.text);
    assert_eq!(site.serial(), first);
    assert!(site.curl(&https).starts_with("HTTP/2 200"));

    // Every night, by itself, and even when it is over already.
    site.issuer.lead("127.0.0.1");
    let first = site.expire();
    let scene = &place.operator.scene;
    let copied = finish(Command::new("cp").arg("-r").arg(repository().join("runbooks")).arg(scene.path("runbooks")));
    assert_eq!(copied.code, 0, "{}", copied.stderr);
    let with: Vec<String> =
        site.params(&[]).iter().map(|(name, value)| format!("{name}: {}", serde_json::json!(value))).collect();
    let with = with.join(", ").replace(&format!("\"{}\"", site.http), &site.http.to_string());
    let with = with.replace(&format!("\"{}\"", site.https), &site.https.to_string());
    scene.file(
        "runbooks/certificate.yaml",
        format!(
            "on: {{schedule: [{{id: night, cron: \"* * * * *\"}}]}}\nsteps:\n  - {{id: tls, runbook: ./harden_tls.yaml, with: {{{with}}}}}\n"
        ),
    );
    // Nobody waits for the next minute: the clock of the server is three seconds before it.
    let now = finish(Command::new("date").args(["--utc", "+@%Y-%m-%d %H:%M:57"])).stdout;
    let server = place.operator.server(clock(now.trim()));
    wait("it to be renewed by itself", || site.serial() != first);
    let tick = || scene.json(&["runs"]).as_array().unwrap().iter().find(|run| run["name"] == "certificate").cloned();
    wait("the run to end", || tick().is_some_and(|run| run["status"] == "succeeded"));
    drop(server);
    assert!(site.curl(&https).starts_with("HTTP/2 200"));
    place.saw("S2-35", &run, "verify");
}
