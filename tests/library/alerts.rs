//! What Prometheus hears of the service, and whom Alertmanager tells.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use runward_services::{Guard, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{finish, repository, wait};
use crate::operator::Run;
use crate::place::Place;

/// A service that is watched, with those who are told: a mail server and a pager.
struct Watched {
    place: Place,
    ports: [u16; 6],
    sinks: [(Cell<Option<Guard>>, TempDir); 2],
}

/// Durations that nobody would want at night, and a test has to wait for.
const SHORT: [(&str, &str); 9] = [
    ("scrape", "1s"),
    ("window", "8s"),
    ("error_for", "2s"),
    ("latency_for", "2s"),
    ("slow_for", "2s"),
    ("down_for", "2s"),
    ("group_wait", "1s"),
    ("group_interval", "1s"),
    ("retention", "1d"),
];

impl Watched {
    fn new() -> Watched {
        let place = Place::serving();
        let ports = place.ports();
        let sinks = [("mail_sink.py", ports[0], "mails"), ("webhook_sink.py", ports[1], "pager")];
        let sinks = sinks.map(|(program, port, file)| {
            let folder = tempfile::Builder::new().prefix("runward-sink-").tempdir().unwrap();
            let (program, port) = (repository().join("tests/files").join(program), port.to_string());
            let file = place.stack.path(file);
            fs::write(&file, "").unwrap();
            // Debian's own: its packages are its.
            let command: [&OsStr; 4] = ["/usr/bin/python3".as_ref(), program.as_ref(), port.as_ref(), file.as_ref()];
            (Cell::new(Some(Guard::start(folder.path(), Signal::Kill, &command))), folder)
        });
        Watched { place, ports, sinks }
    }

    fn set_up(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let stack = &self.place.stack;
        let own = [
            ("service", format!("127.0.0.1:{}", stack.port())),
            ("database", format!("{}&sslmode=disable", stack.database())),
            ("redis_socket", stack.redis.socket().display().to_string()),
            ("mail_server", format!("127.0.0.1:{}", self.ports[0])),
            ("webhook", format!("http://127.0.0.1:{}/", self.ports[1])),
            ("prometheus_port", self.ports[2].to_string()),
            ("alertmanager_port", self.ports[3].to_string()),
            ("postgres_port", self.ports[4].to_string()),
            ("redis_port", self.ports[5].to_string()),
            ("mail_tls", "false".to_owned()),
            ("mail_from", "alerts@example.com".to_owned()),
            ("mail_to", "ops@example.com".to_owned()),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let own: Vec<(&str, &str)> = own.filter(|(name, _)| more.iter().all(|it| it.0 != *name)).collect();
        self.place.run(code, "monitoring_setup", &[&own[..], more].concat())
    }

    /// What Prometheus, or Alertmanager, answers at a path of its API.
    fn api(&self, port: usize, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.ports[port]);
        let done = finish(Command::new("curl").args(["--silent", "--show-error", "--globoff", &url]));
        serde_json::from_str(&done.stdout)
            .unwrap_or_else(|error| panic!("{url}: {error}: {}{}", done.stdout, done.stderr))
    }

    /// The values of a query, with their jobs.
    fn query(&self, query: &str) -> Vec<(String, f64)> {
        let said = self.api(2, &format!("/api/v1/query?query={query}"));
        let all = said["data"]["result"].as_array().unwrap().clone();
        let one = |it: &Value| {
            (it["metric"]["job"].as_str().unwrap_or("").to_owned(), it["value"][1].as_str().unwrap().parse().unwrap())
        };
        let mut values: Vec<(String, f64)> = all.iter().map(one).collect();
        values.sort_by(|a, b| a.0.cmp(&b.0));
        values
    }

    fn drill(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let stack = &self.place.stack;
        let [prometheus, alertmanager] = [2, 3].map(|n: usize| format!("http://127.0.0.1:{}", self.ports[n]));
        let url = stack.url();
        let own =
            [("url", url.as_str()), ("prometheus", &prometheus), ("alertmanager", &alertmanager), ("program", "blue")];
        self.place.run(code, "alert_drill", &[&own[..], more].concat())
    }

    fn mails(&self) -> String {
        fs::read_to_string(self.place.stack.path("mails")).unwrap()
    }

    /// What the pager was told: for each request the alert and its state.
    fn paged(&self) -> Vec<(String, String)> {
        let file = fs::read_to_string(self.place.stack.path("pager")).unwrap();
        let requests = file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        requests.map(|it| (text(&it["groupLabels"]["alertname"]), text(&it["status"]))).collect()
    }
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_service_that_is_watched_gets_somebody_out_of_bed() {
    let watched = Watched::new();
    let (place, stack) = (&watched.place, &watched.place.stack);

    // As a host gets it: every 15 s, and nobody is told before minutes have passed.
    let run = watched.set_up(0, &[]);
    let jobs = ["postgres", "redis", "service"].map(|job| (job.to_owned(), 1.0));
    assert_eq!(watched.query("up"), jobs);
    assert_eq!(watched.query("sum(redis_commands_total)>0").len(), 1);
    assert_eq!(watched.query("sum(pg_stat_database_xact_commit)>0").len(), 1);
    assert_eq!(watched.query("sum(requests_total)>0").len(), 1);
    let config = watched.api(2, "/api/v1/status/config")["data"]["yaml"].to_string();
    assert!(config.contains("scrape_interval: 15s"), "{config}");
    place.saw("S3-21", &run, "heard");
    let rules = watched.api(2, "/api/v1/rules")["data"]["groups"][0]["rules"].clone();
    let of = |name: &str| rules.as_array().unwrap().iter().find(|rule| rule["name"] == name).unwrap().clone();
    assert_eq!(of("HighErrorRate")["duration"], 300.0);
    assert_eq!(of("SlowResponse")["duration"], 300.0);
    assert_eq!(of("HighLatency")["duration"], 600.0);
    let config = watched.api(3, "/api/v2/status")["config"]["original"].as_str().unwrap().to_owned();
    for said in ["group_wait: 10s", "group_interval: 10s", "repeat_interval: 12h"] {
        assert!(config.contains(said), "{said}: {config}");
    }

    // A configuration that nothing is heard with is taken back, and what was there watches on.
    let deaf = watched.set_up(6, &[("scrape", "1s"), ("metrics_path", "/no-metrics")]);
    assert!(deaf.text.contains("not all of service, postgres and redis are heard"), "{}", deaf.text);
    assert!(watched.api(2, "/api/v1/status/config").to_string().contains("scrape_interval: 15s"));
    for program in ["prometheus", "alertmanager", "postgres_exporter", "redis_exporter"] {
        assert_eq!(stack.state(program), "RUNNING");
    }

    // The same with durations that a test can wait for, and real trouble.
    let run = watched.set_up(0, &SHORT);
    wait("all to be quiet", || watched.api(2, "/api/v1/alerts")["data"]["alerts"] == serde_json::json!([]));
    assert_eq!(watched.paged(), [], "nobody was told of anything yet");
    let folders = fs::read_dir(stack.path("monitoring")).unwrap().count();
    assert!(folders <= 5, "two configurations, the link, and two of data: {folders}");
    let drill = watched.drill(0, &[("patience", "100s")]);
    let paged = watched.paged();
    let mails = watched.mails();
    for (alert, level) in [("HighErrorRate", "P1"), ("ServiceDown", "P0")] {
        for state in ["firing", "resolved"] {
            assert!(paged.contains(&(alert.to_owned(), state.to_owned())), "{alert} {state}: {paged:?}");
        }
        assert!(mails.contains(alert) && mails.contains(level), "{alert}: {mails}");
    }
    place.saw("S3-49", &run, "start");
    for alert in ["HighLatency", "SlowResponse", "DependencyDown"] {
        assert!(mails.contains(alert), "{alert}: {mails}");
        assert!(paged.iter().all(|(name, _)| name != alert), "{alert} got somebody out of bed: {paged:?}");
    }
    place.saw("S3-50 S4-23", &drill, "errors");
    place.saw("S3-50 S4-23", &drill, "slow");
    place.saw("S2-43", &drill, "verdict");
    assert_eq!(drill.output("verdict", "count"), "4");
    wait("the service to be as it was", || stack.get("/health").0 == 200 && stack.state("blue") == "RUNNING");
    assert!(!stack.path("current/unhealthy").exists() && !stack.path("current/go").exists());

    // An alert that does not arrive is what the drill is for.
    watched.sinks[1].0.take().unwrap().end(Signal::Kill);
    let failed = watched.drill(1, &[("parts", "errors"), ("patience", "100s")]);
    assert!(failed.text.contains("something fires, and webhook takes nothing of it"), "{}", failed.text);
    assert!(!stack.path("current/unhealthy").exists());
}

/// The rule of the guides by itself counts errors a second, whatever the number of requests.
#[test]
fn one_error_in_twenty_seconds_is_no_alarm_where_a_thousand_requests_succeed() {
    let scene = crate::harness::Scene::new();
    let rule = |name: &str, of: &str| format!("  - {{alert: {name}, expr: '{of}', for: 5m}}\n");
    let errors = r#"rate(requests_total{status=~"5.."}[5m])"#;
    let rules = [
        "groups:\n- name: g\n  rules:\n".to_owned(),
        rule("AsInTheGuides", &format!("{errors} > 0.05")),
        rule("Share", &format!("sum({errors}) / sum(rate(requests_total[5m])) > 0.05")),
    ];
    scene.file("rules.yml", rules.concat());
    let test = r#"rule_files: [rules.yml]
evaluation_interval: 15s
tests:
- interval: 15s
  input_series:
  - {series: 'requests_total{status="200"}', values: '0+15000x100'}
  - {series: 'requests_total{status="500"}', values: '0+1x100'}
  promql_expr_test:
  - expr: count by (alertname) (ALERTS{alertstate="firing"})
    eval_time: 20m
    exp_samples: [{labels: '{alertname="AsInTheGuides"}', value: 1}]
"#;
    scene.file("test.yml", test);
    let done = finish(Command::new("promtool").args(["test", "rules"]).arg(scene.path("test.yml")));
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
}
