//! What is in `deploy/`: as far as a machine without a cluster can tell, it means what it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::Scene;

fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn systemd_understands_the_units_and_leaves_steps_alone() {
    let scene = Scene::new();
    for name in ["runward.service", "runward-worker.service", "runward-server.service"] {
        // The program is not installed where it will be.
        let unit = deploy(&format!("systemd/{name}")).replace("/usr/local/bin/runward", env!("CARGO_BIN_EXE_runward"));
        let file = scene.file(name, unit);
        let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output().expect("systemd-analyze");
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "{name}: {said}");
        assert!(!said.contains(name), "{said}");
    }
    for keeps_steps in ["systemd/runward.service", "systemd/runward-worker.service"] {
        assert!(deploy(keeps_steps).contains("\nKillMode=process\n"), "{keeps_steps}");
    }
}

/// Every command line in `deploy/` is one that the program takes.
#[test]
fn commands_and_flags_exist() {
    let scene = Scene::new();
    let lines = |name: &str| deploy(name).lines().map(str::to_owned).collect::<Vec<_>>();
    let mut commands: Vec<Vec<String>> = Vec::new();
    for unit in ["systemd/runward.service", "systemd/runward-worker.service", "systemd/runward-server.service"] {
        let start = |line: &String| line.strip_prefix("ExecStart=/usr/local/bin/runward ").map(str::to_owned);
        commands.extend(lines(unit).iter().filter_map(start).map(|line| line.split(' ').map(str::to_owned).collect()));
    }
    for file in ["container/compose.yaml", "container/Containerfile", "kubernetes/runward.yaml"] {
        for line in lines(file) {
            let line = line.trim().to_owned();
            let list = ["command: [", "args: [", "CMD ["].iter().find_map(|word| line.strip_prefix(word));
            let Some(list) = list.and_then(|list| list.strip_suffix(']')) else { continue };
            let words: Vec<String> = list.split(", ").map(|word| word.trim_matches('"').to_owned()).collect();
            if words[0] != "redis-server" {
                commands.push(words);
            }
        }
    }
    assert!(commands.len() >= 8, "{commands:?}");
    for words in commands {
        let command: Vec<&str> = words.iter().map(String::as_str).take_while(|word| !word.starts_with('-')).collect();
        let help = scene.expect(0, &[&command[..], &["--help"]].concat());
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.stdout.contains(flag.as_str()), "`{}` has no {flag}", command.join(" "));
        }
    }
}

#[test]
fn the_yaml_is_yaml() {
    for (file, documents) in [("container/compose.yaml", 1), ("kubernetes/runward.yaml", 4)] {
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&deploy(file)).expect("YAML");
        assert_eq!(parsed.iter().filter(|document| document.is_object()).count(), documents, "{file}");
    }
}
