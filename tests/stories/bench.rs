//! The bench does what it says: small, once, and without looking at the times.

use crate::harness::{Scene, finish, repository};

#[test]
fn the_bench_compares_every_row_with_its_floor() {
    let scene = Scene::new();
    let mut bench = std::process::Command::new("python3");
    bench.arg(repository().join("bench/bench.py")).args(["--rounds", "1", "--binary", env!("CARGO_BIN_EXE_runward")]);
    let done = finish(bench.arg("--dir").arg(scene.path("")).env_remove("RUNWARD_STATE"));
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    for row in ["one step, cold", "chain of 40", "1 -> 100 -> 1", "100 MB of output"] {
        let mut rows = done.stdout.lines().filter(|line| line.starts_with(&format!("| {row} | ")));
        let ours: Vec<&str> = rows.next().unwrap_or_else(|| panic!("{row}\n{}", done.stdout)).split(" | ").collect();
        assert_eq!(ours[1], "runward");
        assert!(ours[2].parse::<f64>().unwrap() > 0.0 && ours[6].parse::<f64>().unwrap() > 1.0, "{ours:?}");
        assert!(rows.next().is_some_and(|floor| floor.contains(" 1.00 |")), "{row} has a floor");
    }
    assert!(done.stdout.contains("| a synced commit | SQLite, one row | "));
}
