//! A `main` as small as a supervisor's can be, and two other parts that a test needs a whole process for.

use std::path::Path;
use std::process::exit;
use std::time::Duration;

use runward_workers::supervisor::client::Supervisor;
use runward_workers::supervisor::{journal, supervise};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["__supervisor", dir] => exit(supervise(Path::new(dir))),
        ["drive", dir, launch] => drive(Path::new(dir), launch),
        ["void", dir] => {
            println!("{:?}", journal::try_void(Path::new(dir)).expect("a mark"));
        }
        _ => exit(2),
    }
}

/// A driver: starts a supervisor and one attempt, and stays, to be killed.
fn drive(dir: &Path, launch: &str) {
    let launch = serde_json::from_str(launch).expect("a launch");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let supervisor = Supervisor::spawn(Path::new("/proc/self/exe"), dir).expect("a supervisor");
        supervisor.requests.start(launch).expect("a request");
        tokio::time::sleep(Duration::from_secs(600)).await;
    });
}
