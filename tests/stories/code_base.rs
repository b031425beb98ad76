//! The house keeps its own rules.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::repository;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&repository().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// Code without comments and without unit tests, which may do what they like.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_point_one_way() {
    let rules: [(&str, &[&str]); 3] = [
        ("engine/src", &["runward_store", "runward_workers", "runward_web"]),
        ("store/src", &["runward_workers", "runward_web"]),
        ("workers/src", &["runward_web"]),
    ];
    for (folder, forbidden) in rules {
        for (path, text) in sources(folder) {
            for name in forbidden {
                assert!(!code(&text).contains(name), "{} reaches up to {name}", path.display());
            }
        }
        let manifest = Path::new(folder).parent().unwrap().join("Cargo.toml");
        let manifest = fs::read_to_string(repository().join(manifest)).unwrap();
        for name in forbidden {
            assert!(!manifest.contains(&name.replace('_', "-")), "{folder} depends on {name}");
        }
    }
}

#[test]
fn the_engine_only_decides() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "Utc::now",
        "Local::now",
        "tokio",
        "sqlx",
        "async fn",
        "thread_rng",
        "println!",
        "eprintln!",
    ];
    for (path, text) in sources("engine/src") {
        if path.ends_with("tests.rs") {
            continue;
        }
        for name in forbidden {
            assert!(!code(&text).contains(name), "{} uses {name}", path.display());
        }
    }
}

#[test]
fn every_module_says_what_lives_in_it() {
    for folder in ["engine/src", "store/src", "workers/src", "cli/src", "tests"] {
        for (path, text) in sources(folder) {
            let first = text.lines().next().unwrap_or("");
            assert!(first.starts_with("//!"), "{} does not begin with what it is for", path.display());
        }
    }
}

#[test]
fn unsafe_code_has_a_reason_next_to_it() {
    for folder in ["engine/src", "store/src", "workers/src", "cli/src"] {
        for (path, text) in sources(folder) {
            let blocks = code(&text).matches("unsafe {").count();
            assert!(blocks <= text.matches("SAFETY:").count(), "{}: unsafe without SAFETY", path.display());
        }
    }
}
