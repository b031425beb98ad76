//! What is looked at every month and every quarter: a service, its database, and a server built anew from what is kept of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use runward_services::Cluster;

use crate::dumps::keep_secret;
use crate::operator::Run;
use crate::place::Place;
use crate::scan::{SHELL, advisories};
use crate::wal::Archived;

struct Service {
    place: Place,
    /// Another server of Postgres, with its archive: the drill builds that one anew.
    archived: Archived,
}

impl Service {
    fn new() -> Service {
        let (archived, place) = (Archived::new(), Place::serving());
        archived.insert(1, 100);
        archived.backup(0, &[]);
        keep_secret(&place.operator, "pgpass", "# none\n");
        for version in ["1.0.0", "1.1.0"] {
            let file = place.stack.path(&format!("releases/{version}/.env"));
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Service { place, archived }
    }

    fn records(&self) -> String {
        self.place.operator.scene.path("records").display().to_string()
    }

    fn run(&self, code: i32, runbook: &str, more: &[(&str, &str)]) -> Run {
        let (root, url, records) =
            (self.place.stack.folder().display().to_string(), self.place.stack.url(), self.records());
        // How fast this machine is today is not what this is about.
        let patient = [("load_seconds", "1"), ("slower_percent", "95"), ("latency_percent", "10000")];
        let own = [("root", root.as_str()), ("url", &url), ("records", &records)];
        self.place.operator.expect(code, runbook, &[&own[..], &patient, more].concat())
    }

    fn month(&self, code: i32) -> Run {
        let (stack, ground) = (&self.place.stack, &self.archived.ground);
        let [host, bin, backups, scratch, sockets] = [
            stack.postgres.folder().to_owned(),
            stack.bin(),
            ground.path("backup"),
            ground.path("new/server"),
            ground.folder().to_owned(),
        ]
        .map(|path| path.display().to_string());
        let (list, sizes, owner) = (advisories(&self.place), format!("{}/sizes.tsv", self.records()), Cluster::owner());
        let database = [("host", host.as_str()), ("user", "runward"), ("sizes", &sizes)];
        let audit = [("bin", bin.as_str()), ("advisories", &list), ("advisories_days_max", "100000")];
        let drill = [("backups", backups.as_str()), ("scratch", &scratch), ("scratch_port", "7002")];
        let server = [("sockets", sockets.as_str()), ("as", &owner), ("superuser", Cluster::superuser())];
        self.run(code, "maintenance_monthly", &[&database[..], &audit, &drill, &server].concat())
    }

    fn record(&self, name: &str) -> String {
        fs::read_to_string(format!("{}/{name}.tsv", self.records())).unwrap_or_default()
    }
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn every_month_and_every_quarter_a_service_is_looked_at_from_all_sides() {
    let service = Service::new();
    let stack = &service.place.stack;
    stack.get("/items");
    let page = || fs::read_to_string(stack.path("docs/month.md")).unwrap_or_default();
    let asked = || stack.log("nginx-access").matches("GET /items").count();

    let before = asked();
    let well = service.month(0);
    assert_eq!(well.output("judge", "open"), "", "{}", well.text);
    assert!(asked() > before + 10, "it was asked without a pause");
    assert_eq!((service.record("baseline").lines().count(), service.record("capacity").lines().count()), (1, 3));
    let figures = service.record("baseline");
    let requests = figures.split('\t').nth(2).unwrap().split('.').next().unwrap();
    for line in ["| in service | releases/1.0.0 |", &format!("| requests a second | {requests}")] {
        assert!(page().contains(line), "{line}: {}", page());
    }
    assert!(well.text.contains("drill/smoke | 1 tables; it takes reads and writes"), "{}", well.text);
    assert!(!service.archived.ground.path("new/server").exists(), "what the drill built is gone");
    assert_eq!(
        service.archived.primary.sql("app", "select count(*) from items"),
        "100",
        "and nothing real was touched"
    );
    service.place.saw("S4-39", &well, "judge");

    // A hole in the code, a service that was a hundred times as fast, a base that is gone: each is told, the rest is done.
    fs::write(stack.path("current/app/debug.py"), SHELL).unwrap();
    let line = service.record("baseline");
    let figure = line.split('\t').nth(2).unwrap();
    fs::write(format!("{}/baseline.tsv", service.records()), line.replace(figure, "10000000")).unwrap();
    let base = service.archived.ground.path("backup/base");
    fs::rename(&base, base.with_extension("gone")).unwrap();
    let bad = service.month(1);
    assert!(bad.text.contains("look at: audit performance drill;"), "{}", bad.text);
    for said in ["debug.py:5: B602 (high)", "fewer than 10000000", "error: no base in "] {
        assert!(bad.text.contains(said), "{said}: {}", bad.text);
    }
    assert_eq!(service.record("capacity").lines().count(), 6);
    assert!(page().contains("| | failed |") && page().contains("the last commit that came back: none"), "{}", page());
    service.place.saw("S4-39", &bad, "judge");

    // Every quarter has a record of its own.
    let database = stack.database();
    let own = [("database", database.as_str())];
    let quarter = service.run(0, "maintenance_quarterly", &own);
    let line = service.record("quarters");
    assert_eq!(line.lines().count(), 1);
    service.place.saw("S3-58", &quarter, "performance");
    let figure = line.split('\t').nth(2).unwrap();
    fs::write(format!("{}/quarters.tsv", service.records()), line.replace(figure, "10000000")).unwrap();
    let slower = service.run(1, "maintenance_quarterly", &own);
    assert!(slower.text.contains("error: look at: performance;"), "{}", slower.text);
    assert_eq!(service.record("quarters").lines().count(), 1, "what is slower is no baseline");
    service.place.saw("S3-58", &slower, "performance");
}
