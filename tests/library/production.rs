//! The limits of production: each of them, seen to bite.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runward_services::clock;

use crate::daily_logs::served;
use crate::harness::{finish, wait};
use crate::operator::Run;
use crate::place::Place;

fn limit(place: &Place, code: i32, more: &[(&str, &str)]) -> Run {
    let (url, database) = (place.stack.url(), place.stack.database());
    place.run(
        code,
        "production",
        &[&[("url", url.as_str()), ("database", &database), ("workers", "1")][..], more].concat(),
    )
}

/// So many clients that ask at the same time; what each of them got, once they have ended.
fn clients(place: &Place, count: usize, path: &str) -> Vec<Child> {
    let url = format!("{}{path}", place.stack.url());
    let one = |_| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]).stdout(Stdio::piped()).spawn().unwrap()
    };
    (0..count).map(one).collect()
}

fn answers(clients: Vec<Child>) -> Vec<String> {
    clients.into_iter().map(|one| String::from_utf8(one.wait_with_output().unwrap().stdout).unwrap()).collect()
}

/// So many days go by, each with a request, and what its night does to the logs: the 30 newest are kept, and nothing of them is lost.
fn days_go_by(place: &Place, days: usize) {
    let kept = || {
        let all = std::fs::read_dir(place.stack.path("log")).unwrap().flatten().map(|it| it.path());
        let mut kept: Vec<_> = all.filter(|it| it.display().to_string().contains("/app.log-")).collect();
        kept.sort();
        kept
    };
    for day in 1..=days {
        assert_eq!(place.stack.ask("api.sock", &format!("/day/{day}")).0, 404); // past nginx, which limits us by now
        let mut night = Command::new("logrotate");
        night.arg("--state").arg(place.stack.path("run/logrotate.state"));
        let done = finish(night.arg(place.stack.path("run/logrotate.conf")).envs(clock(&format!("+{day}d"))));
        assert_eq!((done.code, kept().len()), (0, day.min(30)), "day {day}: {}", done.stderr);
    }
    let said = |file: &std::path::Path| finish(Command::new("zcat").arg("-f").arg(file)).stdout;
    let (oldest, newest) = (&kept()[0], &kept()[29]);
    assert!(said(oldest).contains(&format!("\"/day/{}\"", days - 29)), "{}: {}", oldest.display(), said(oldest));
    assert!(said(newest).contains(&format!("\"/day/{days}\"")), "{}: {}", newest.display(), said(newest));
}

#[test]
fn pools_and_rates_and_logs_are_those_of_production() {
    let place = served("1");
    let run = limit(&place, 0, &[]);

    // 45 ask for what somebody has locked: no more than 20 and 10 connections are opened, and all are answered in the end.
    let mut lock = Command::new("psql");
    let mut lock = lock.args(["-X", "-q", "-d", &place.stack.database()]).stdin(Stdio::piped()).spawn().unwrap();
    lock.stdin.as_mut().unwrap().write_all(b"begin; lock table items;\n").unwrap();
    wait("the lock", || {
        place.stack.sql("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted") != "0"
    });
    let asking = clients(&place, 38, "/items");
    let blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'SELECT items%'";
    wait("the pool to be used up", || place.stack.sql(blocked) == "30");
    std::thread::sleep(Duration::from_millis(500)); // time for a 31st
    assert_eq!(place.stack.sql(blocked), "30");
    drop(lock.stdin.take());
    lock.wait().unwrap();
    assert!(answers(asking).iter().all(|status| status == "200"));

    // Redis holds everybody up for a moment: ten connections, and who finds none waits.
    place.stack.supervisorctl(&["stop", "worker", "beat"]); // they have connections of their own
    place.stack.redis.command(&["client", "pause", "2000", "all"]);
    let asking = clients(&place, 25, "/ready");
    let answered = answers(asking);
    assert!(answered.iter().all(|status| status == "200"), "{answered:?}");
    let api = place.stack.redis.command(&["client", "list"]);
    let pings = api.lines().filter(|line| line.contains("cmd=ping")).count();
    assert_eq!(pings, 10, "{api}");

    // 200 at once and 100 a minute, and what is above that is told so.
    let began = Instant::now();
    let script = format!(
        "for n in $(seq 300); do echo url='{}/health'; echo output=/dev/null; done | curl -s -K - -w '%{{http_code}}\\n'",
        place.stack.url()
    );
    let said = finish(Command::new("bash").args(["-c", &script])).stdout;
    let came_back = began.elapsed().as_secs_f64() * 100.0 / 60.0;
    let well = said.lines().filter(|status| *status == "200").count();
    let refused = said.lines().filter(|status| *status == "429").count();
    assert_eq!(well + refused, 300, "{said}");
    // The 63 of before are still counted, but for what has come back meanwhile.
    assert!(refused > 0 && (well as f64) < 202.0 + came_back, "{well}");

    days_go_by(&place, 33);
    place.saw("S3-13", &run, "programs");

    // More than the database has is refused before anything is changed.
    let refused = limit(&place, 1, &[("db_pool", "500")]);
    assert!(refused.text.contains("may open 510 connections, and the database allows 57"), "{}", refused.text);
}

#[test]
fn connections_are_counted_and_idle_ones_closed() {
    let place = served("1");
    let few = [("max_connections", "3"), ("keepalive_seconds", "1")];
    let run = limit(&place, 0, &few);
    // Eight ask what takes long: three are waited for, the others are turned away at once.
    let mut asking = clients(&place, 8, "/wait");
    wait("five to be turned away", || asking.iter_mut().filter_map(|one| one.try_wait().unwrap()).count() == 5);
    assert_eq!(place.stack.get("/health").0, 503, "nor is there room for anybody else");
    std::fs::write(place.stack.path("current/go"), "").unwrap();
    let mut answered = answers(asking);
    answered.sort();
    assert_eq!(answered, ["200", "200", "200", "503", "503", "503", "503", "503"]);
    wait("places to be free", || place.stack.get("/health").0 == 200);

    let mut idle = TcpStream::connect(("127.0.0.1", place.stack.port())).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let (began, mut said) = (Instant::now(), String::new());
    idle.read_to_string(&mut said).unwrap(); // until nginx closes it
    assert!(said.starts_with("HTTP/1.1 200") && began.elapsed() >= Duration::from_millis(900), "{said}");
    place.saw("S4-36", &run, "take_over");
    let conf = std::fs::read_to_string(place.stack.path("sites/limits.conf")).unwrap();
    assert!(conf.contains("limit_conn everybody 3;") && conf.contains("keepalive_timeout 1s;"), "{conf}");

    // A site that sets one of these for everybody itself: nothing changes.
    std::fs::write(place.stack.path("sites/other.conf"), "keepalive_timeout 5s;\n").unwrap();
    let clash = limit(&place, 6, &[]);
    assert!(clash.text.contains("\"keepalive_timeout\" directive is duplicate"), "{}", clash.text);
    std::fs::remove_file(place.stack.path("sites/other.conf")).unwrap();
    assert_eq!(std::fs::read_to_string(place.stack.path("sites/limits.conf")).unwrap(), conf, "those of before hold");
}
