//! What an attempt costs: `true` through a shell, plainly spawned and through the supervisor, in turn; and the output
//! of a step against the same output redirected by a shell. To be run in release on a quiet machine.

use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::time::{Duration, Instant};

use runward_engine::runbook::model::Orphans;
use runward_workers::supervisor::client::{Event, Supervisor};
use runward_workers::supervisor::journal;
use runward_workers::supervisor::protocol::Launch;

const ATTEMPTS: u32 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, dir] = &arguments[..]
        && command == "__supervisor"
    {
        exit(runward_workers::supervisor::supervise(Path::new(dir)));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(dir.path()));
}

async fn measure(dir: &Path) {
    let mut supervisor = Supervisor::spawn(Path::new("/proc/self/exe"), &dir.join("supervisor")).expect("a supervisor");
    let (mut plain, mut supervised) = (Duration::ZERO, Duration::ZERO);
    for n in 0..ATTEMPTS {
        let since = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "true"]).stdin(Stdio::null());
        command.output().expect("a shell");
        plain += since.elapsed();
        supervised += attempt(&mut supervisor, dir, &format!("a{n}"), "true").await;
    }
    let (plain, supervised) = (plain / ATTEMPTS, supervised / ATTEMPTS);
    println!("sh -c true: plain {plain:?}, supervised {supervised:?}, overhead {:?}", supervised.saturating_sub(plain));
    for n in 0..5 {
        let script = "head -c 100000000 /dev/zero";
        let target = dir.join(format!("plain-{n}"));
        let since = Instant::now();
        let redirected = format!("{script} | cat > {}", target.display());
        Command::new("bash").args(["-c", &redirected]).status().expect("a shell");
        let plain = since.elapsed();
        let supervised = attempt(&mut supervisor, dir, &format!("out-{n}"), script).await;
        println!("100 MB: bash | cat > file {plain:?}, supervised {supervised:?}");
    }
}

async fn attempt(supervisor: &mut Supervisor, dir: &Path, name: &str, script: &str) -> Duration {
    let attempt_dir = dir.join(name);
    journal::open(&attempt_dir).expect("a journal");
    let since = Instant::now();
    let launch = Launch {
        attempt: name.to_owned(),
        dir: attempt_dir.clone(),
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: dir.to_owned(),
        timeout_ms: 60_000,
        grace_ms: 1_000,
        far_ms: 0,
        orphans: Orphans::Kill,
        log_bytes_max: 128 << 20,
        boot: journal::boot_id().expect("a boot id"),
        lease: None,
        secrets: Vec::new(),
        hidden: Vec::new(),
    };
    supervisor.requests.start(launch.clone()).expect("a request");
    assert!(matches!(supervisor.events.next_event().await, Event::Ended { .. }));
    let result = journal::read_result(&attempt_dir, &launch.boot).expect("a journal").expect("a result");
    let took = since.elapsed();
    assert_eq!(result.log.dropped, 0);
    took
}
