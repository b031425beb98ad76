//! Copies on another machine: an sshd of this machine is that one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use runward_services::clock_of;

use crate::dumps::{Place, keep_secret, names};
use crate::harness::{finish, repository, wait};
use crate::operator::{Operator, Run};
use crate::ssh_hosts::Hosts;

/// A database with backups of it, and another machine for copies of them.
struct Vault {
    place: Place,
    hosts: Hosts,
    recipient: String,
}

impl Vault {
    fn new() -> Vault {
        let place = Place::new();
        place.app("create table items (n int); insert into items select generate_series(1, 1000)");
        let hosts = Hosts::new(&place.operator.scene, &["vault"]);
        let path = hosts.runward(&place.operator.scene);
        let path = path.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap().to_str().unwrap().to_owned();
        place.operator.env.borrow_mut().push(("PATH".to_owned(), path));
        let key = finish(&mut Command::new("age-keygen"));
        let recipient = key.stdout.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        keep_secret(&place.operator, "offsite", &key.stdout);
        Vault { place, hosts, recipient }
    }

    fn far(&self) -> PathBuf {
        self.place.operator.scene.path("far")
    }

    fn copy(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let (from, to) = (self.place.target().display().to_string(), self.far().display().to_string());
        let own = [("from", from.as_str()), ("host", "vault"), ("to", &to), ("recipient", &self.recipient)];
        let own = own.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let params: Vec<_> = own.chain(more.iter().copied()).collect();
        self.place.operator.expect(code, "backup_offsite", &params)
    }

    fn bring_back(&self, code: i32, into: &str, more: &[(&str, &str)]) -> (Run, PathBuf) {
        let path = self.place.operator.scene.path(into);
        let (from, into) = (self.far().display().to_string(), path.display().to_string());
        let own = [("host", "vault"), ("from", from.as_str()), ("into", &into)];
        let params: Vec<_> = own.into_iter().chain(more.iter().copied()).collect();
        (self.place.operator.expect(code, "restore_offsite", &params), path)
    }

    fn copies(&self) -> Vec<String> {
        names(&self.far().join("data"))
    }
}

#[test]
fn a_database_comes_back_from_what_another_machine_has_and_cannot_read() {
    let vault = Vault::new();
    let place = &vault.place;
    let dump = place.backup(0, &[]).output("publish", "dump");
    fs::create_dir_all(place.target().join("base/20260101T000000Z/pg_notify")).unwrap();
    fs::write(place.target().join("base/20260101T000000Z/PG_VERSION"), "15\n").unwrap();
    fs::write(place.target().join(".app.partial"), "under way").unwrap();
    let run = vault.copy(0, &[]);
    let name = dump.rsplit('/').next().unwrap();
    let there = vault.copies();
    let wanted = ["", ".sha256", ".tables"].map(|end| format!("{name}{end}.age"));
    assert!(
        wanted.iter().all(|name| there.contains(name)) && !there.iter().any(|name| name.contains("partial")),
        "{there:?}"
    );
    let copy = fs::read(vault.far().join("data").join(&wanted[0])).unwrap();
    assert!(copy.starts_with(b"age-encryption.org/v1"), "nothing leaves that is not encrypted");
    place.operator.saw("S1-37 S2-28", &run, "send");

    let again = vault.copy(0, &[]);
    assert_eq!(again.output("encrypt", "files"), "0", "nothing is sent twice");

    // This machine and its disks are gone.
    fs::remove_dir_all(place.target()).unwrap();
    place.sql("postgres", "drop database app");
    let (restored, back) = vault.bring_back(0, "back", &[]);
    assert!(back.join("base/20260101T000000Z/pg_notify").is_dir(), "a data folder has empty folders");
    let dump = back.join(name).display().to_string();
    place.run(0, "restore_logical", &[("dump", &dump), ("database", "app")]);
    assert_eq!(place.app("select count(*), sum(n) from items"), "1000|500500");
    place.operator.saw("S1-37 S2-28", &restored, "restore");
    let (again, _) = vault.bring_back(1, "back", &[]);
    assert!(again.text.contains("is there already"), "{}", again.text);
}

#[test]
fn a_line_that_breaks_in_the_middle_leaves_the_older_copies_as_they_were() {
    let vault = Vault::new();
    let target = vault.place.target();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("small"), "a backup of yesterday").unwrap();
    vault.copy(0, &[]);

    let large: Vec<u8> = (0..96_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(target.join("large"), &large).unwrap();
    let (from, to) = (target.display().to_string(), vault.far().display().to_string());
    let params = [("from", from.as_str()), ("host", "vault"), ("to", &to), ("recipient", &vault.recipient)];
    let (mut driver, name) = vault.place.operator.start("backup_offsite", &params);
    wait("it to be on its way", || names(&vault.far().join("data")).iter().any(|name| name.starts_with(".large")));
    vault.hosts.close("vault");
    assert!(!driver.wait().unwrap().success());
    let broken = vault.place.operator.look(&name);
    assert_eq!(broken.status("send"), "failed");
    assert!(
        !vault.copies().contains(&"large.age".to_owned()),
        "never half a file under its name: {:?}",
        vault.copies()
    );

    vault.hosts.open("vault");
    let (_, back) = vault.bring_back(0, "yesterday", &[]);
    assert_eq!(names(&back), ["small"], "the older set is whole");
    assert_eq!(fs::read_to_string(back.join("small")).unwrap(), "a backup of yesterday");
    let mended = vault.copy(0, &[]);
    assert_eq!(mended.output("encrypt", "files"), "1");
    let (_, back) = vault.bring_back(0, "today", &[]);
    assert!(fs::read(back.join("large")).unwrap() == large, "byte by byte");
    vault.place.operator.saw("S2-28", &mended, "verify");
}

#[test]
fn copies_that_changed_are_told_of_and_only_old_ones_go() {
    let vault = Vault::new();
    let target = vault.place.target();
    fs::create_dir(&target).unwrap();
    let empty = vault.copy(1, &[]);
    assert!(empty.text.contains("there is no backup in"), "{}", empty.text);
    for name in ["old", "kept"] {
        fs::write(target.join(name), name).unwrap();
    }
    let set = vault.copy(0, &[]).output("manifest", "manifest");

    // Somebody there changed a copy; it is sent again once it is deleted.
    let copy = vault.far().join("data/old.age");
    let bytes = fs::read(&copy).unwrap();
    fs::write(&copy, [&bytes[..], b"x"].concat()).unwrap();
    let changed = vault.copy(1, &[]);
    assert!(changed.text.contains("old.age") && changed.text.contains("is not what was sent"), "{}", changed.text);
    let (damaged, _) = vault.bring_back(1, "damaged", &[("manifest", &set)]);
    assert!(damaged.text.contains("old is damaged there"), "{}", damaged.text);
    fs::remove_file(&copy).unwrap();
    vault.copy(0, &[]);

    // Deleted here yesterday it stays there; after its time it goes.
    fs::remove_file(target.join("old")).unwrap();
    let run = vault.copy(0, &[("keep_days", "2")]);
    assert_eq!((run.output("prune", "deleted").as_str(), vault.copies().len()), ("0", 2));
    let past = Command::new("touch").args(["-d", "3 days ago"]).arg(&copy).status().unwrap();
    assert!(past.success());
    let run = vault.copy(0, &[("keep_days", "2")]);
    assert_eq!((run.output("prune", "deleted").as_str(), vault.copies()), ("1", vec!["kept.age".to_owned()]));
    vault.place.operator.saw("S1-37", &run, "prune");

    // Nobody copied for longer than that: how long what is gone has been gone is not known, and it begins anew.
    fs::write(target.join("new"), "new").unwrap();
    fs::remove_file(target.join("kept")).unwrap();
    let far = vault.far();
    let past = |names: &[PathBuf]| Command::new("touch").args(["-d", "3 days ago"]).args(names).status().unwrap();
    let all = ["data", "manifests"].map(|name| names(&far.join(name)).into_iter().map(move |file| (name, file)));
    let all: Vec<PathBuf> = all.into_iter().flatten().map(|(name, file)| far.join(name).join(file)).collect();
    assert!(past(&all).success());
    let paused = vault.copy(0, &[("keep_days", "2")]);
    assert!(paused.text.contains("the last set is older than 2 days"), "{}", paused.text);
    let run = vault.copy(0, &[("keep_days", "2")]);
    assert_eq!([&paused, &run].map(|run| run.output("prune", "deleted")), ["0", "0"]);
    assert_eq!(vault.copies(), ["kept.age", "new.age"]);

    // Another folder, with a file of the same name: it would be taken for one that was sent already.
    let elsewhere = vault.place.operator.scene.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("new"), "another").unwrap();
    let taken = vault.copy(1, &[("from", elsewhere.to_str().unwrap())]);
    assert!(taken.text.contains("give them a folder of their own"), "{}", taken.text);
    let own = vault.far().join("of its own");
    vault.copy(0, &[("from", elsewhere.to_str().unwrap()), ("to", own.to_str().unwrap())]);

    let other = finish(&mut Command::new("age-keygen"));
    let other = other.stdout.lines().find_map(|line| line.strip_prefix("# public key: ").map(str::to_owned)).unwrap();
    let refused = vault.copy(1, &[("recipient", &other)]);
    assert!(refused.text.contains("cannot be read with the key in the secret"), "{}", refused.text);
}

#[test]
fn every_night_files_are_kept_in_a_version_of_their_own_and_old_versions_go() {
    let operator = Operator::new();
    let scene = &operator.scene;
    let (source, target) = (scene.path("source"), scene.path("target"));
    fs::create_dir(&source).unwrap();
    // The runbook as it is, for these folders.
    let folders = "source: /srv/files, target: /var/backups/files";
    let own = format!("source: {}, target: {}, keep_count: 2", source.display(), target.display());
    let text = fs::read_to_string(repository().join("runbooks/backup_files.yaml")).unwrap();
    assert!(text.contains(folders));
    scene.file("runbooks/backup_files.yaml", text.replace(folders, &own));
    for name in ["lib/list_tree.sh", "lib/compare_tree.sh"] {
        scene.file(&format!("runbooks/{name}"), fs::read(repository().join("runbooks").join(name)).unwrap());
    }

    // Three nights, as the clock of the server tells them.
    let time = scene.file("clock", "@2026-03-02 02:30:00\n");
    let server = operator.server(clock_of(&time));
    let mut runs = Vec::new();
    for (night, version) in ["one", "two", "three"].into_iter().enumerate() {
        fs::write(source.join("file"), version).unwrap();
        scene.file("clock", format!("@2026-03-0{} 02:44:59\n", night + 2));
        let newest = || scene.json(&["runs"]).as_array().unwrap().clone();
        wait("the backup of this night", || newest().len() == night + 1 && newest()[0]["status"] == "succeeded");
        runs.push(operator.look(newest()[0]["id"].as_str().unwrap()));
    }
    drop(server);
    let kept = names(&target).into_iter().filter(|name| name.ends_with(".tar.gz"));
    assert_eq!(kept.collect::<Vec<_>>(), [runs[1].output("publish", "file"), runs[2].output("publish", "file")]);
    for (run, version) in runs[1..].iter().zip(["two", "three"]) {
        let into = scene.path(version).display().to_string();
        let archive = run.output("publish", "archive");
        operator.expect(0, "restore_files", &[("archive", &archive), ("into", &into)]);
        assert_eq!(fs::read_to_string(format!("{into}/file")).unwrap(), version);
    }
    operator.saw("S1-38", &runs[2], "prune");
}
