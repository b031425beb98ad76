//! Dumps of Redis: made, loaded once before they count, put back; and the ways that look right and are not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use runward_services::Ground;

use crate::dumps::{keep_secret, names};
use crate::harness::{finish, wait};
use crate::operator::{Operator, Run};

const PASSWORD: &str = "a password of Redis";

/// A Redis with append-only files, as an administrator sets it up.
struct Place {
    operator: Operator,
    ground: Ground,
}

impl Place {
    fn new() -> Place {
        let place = Place { operator: Operator::new(), ground: Ground::new() };
        let folder = place.folder();
        fs::create_dir(&folder).unwrap();
        let settings = format!(
            "port 0\nunixsocket {0}/socket\ndir {0}\nlogfile {0}/log\nrequirepass \"{PASSWORD}\"\nappendonly yes\n\
             save 900 1\nsave 300 10\nmaxmemory 64mb\nmaxmemory-policy allkeys-lru\n",
            folder.display()
        );
        fs::write(folder.join("redis.conf"), settings).unwrap();
        place.start(&[]);
        for n in 0..300 {
            place.redis(&["set", &format!("key {n}"), &format!("value {n}")]);
        }
        place.redis(&["setex", "gone soon", "100000", "x"]);
        place.redis(&["-n", "3", "hset", "of another database", "a", "1"]);
        keep_secret(&place.operator, "redis", PASSWORD);
        place
    }

    fn folder(&self) -> PathBuf {
        self.ground.path("redis")
    }

    fn config(&self) -> String {
        self.folder().join("redis.conf").display().to_string()
    }

    fn socket(&self) -> String {
        self.folder().join("socket").display().to_string()
    }

    fn start(&self, settings: &[&str]) {
        let mut command = Command::new("redis-server");
        command.arg(self.config()).args(["--daemonize", "yes"]).args(settings);
        assert!(command.status().unwrap().success());
        wait("Redis to have its data", || self.ask(&["ping"]).as_deref() == Some("PONG"));
    }

    fn stop(&self) {
        let process = self.redis(&["info", "server"]);
        let process = process.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().to_owned();
        self.ask(&["shutdown", "nosave"]);
        wait("Redis to be gone", || fs::read_link(format!("/proc/{process}/exe")).is_err());
    }

    fn ask(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new("redis-cli");
        command.env("REDISCLI_AUTH", PASSWORD).args(["-e", "-s", &self.socket()]).args(words);
        let done = finish(&mut command);
        (done.code == 0).then(|| done.stdout.trim_end().to_owned())
    }

    fn redis(&self, words: &[&str]) -> String {
        self.ask(words).unwrap_or_else(|| panic!("{words:?}"))
    }

    fn target(&self) -> PathBuf {
        self.operator.scene.path("dumps")
    }

    fn backup(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let (socket, target) = (self.socket(), self.target().display().to_string());
        let own = [("socket", socket.as_str()), ("target", &target)];
        let params: Vec<_> = own.into_iter().chain(more.iter().copied()).collect();
        self.operator.expect(code, "backup_redis", &params)
    }

    fn restore(&self, code: i32, dump: &str) -> Run {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        let (socket, config) = (self.socket(), self.config());
        let params = [("socket", socket.as_str()), ("config", &config), ("dump", dump), ("as", &user)];
        self.operator.expect(code, "restore_redis", &params)
    }

    fn every_key_is_there(&self) {
        assert_eq!(self.redis(&["dbsize"]), "301");
        assert_eq!(self.redis(&["get", "key 299"]), "value 299");
        assert_eq!(self.redis(&["-n", "3", "hget", "of another database", "a"]), "1");
    }
}

#[test]
fn a_dump_comes_back_and_the_append_only_files_are_written_anew() {
    let place = Place::new();
    assert!(!place.folder().join("dump.rdb").exists());
    let made = place.backup(0, &[]);
    let dump = made.output("publish", "dump");
    assert!(place.folder().join("dump.rdb").exists(), "the server has written its own dump, too");
    place.operator.saw("S3-38", &made, "save");
    assert_eq!(made.output("verify", "keys"), "301", "the lasting ones");
    let name = dump.rsplit('/').next().unwrap();
    assert_eq!(names(&place.target()), ["", ".keys", ".sha256"].map(|end| format!("{name}{end}")));
    assert!(!made.text.contains(PASSWORD) && !made.show.to_string().contains(PASSWORD));

    place.redis(&["flushall"]);
    place.redis(&["set", "of today", "1"]);
    let restored = place.restore(0, &dump);
    place.every_key_is_there();
    assert_eq!(place.redis(&["exists", "of today"]), "0");
    place.operator.saw("S2-30 S2-31", &restored, "compare");

    // The proof of the append-only files: as it starts by itself, with `appendonly yes`.
    place.redis(&["set", "after", "1"]);
    place.stop();
    fs::remove_file(place.folder().join("dump.rdb")).unwrap();
    place.start(&[]);
    assert_eq!(place.redis(&["get", "after"]), "1");
    assert_eq!(place.redis(&["get", "key 299"]), "value 299");
    assert!(place.redis(&["config", "get", "appendonly"]).ends_with("yes"));
}

#[test]
fn append_only_files_are_a_folder_and_are_copied_as_one() {
    let place = Place::new();
    assert!(!place.folder().join("appendonly.aof").exists(), "the file that the guides copy is no more");
    let made = place.backup(0, &[("aof", "true")]);
    let archive = made.output("publish", "dump") + ".aof.tar";
    place.redis(&["flushall"]);
    place.stop();
    fs::remove_dir_all(place.folder().join("appendonlydir")).unwrap();
    let tar = |words: &[&str]| assert!(Command::new("tar").args(words).status().unwrap().success());
    tar(&["-xf", &archive, "-C", place.folder().to_str().unwrap()]);
    place.start(&[]);
    place.every_key_is_there();
    place.operator.saw("S3-39", &made, "append_only");
    assert_eq!(made.status("append_only"), "succeeded");

    // Killed in the middle, as by a machine without memory, it leaves no server whose files are never rewritten again.
    let bin = place.operator.scene.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("tar"), "#!/bin/sh\nkill -KILL $PPID\n").unwrap();
    fs::set_permissions(bin.join("tar"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    place.operator.env.borrow_mut().push(("PATH".to_owned(), path));
    let killed = place.backup(1, &[("aof", "true")]);
    assert_eq!(killed.status("append_only"), "failed", "{}", killed.text);
    assert!(place.redis(&["config", "get", "auto-aof-rewrite-percentage"]).ends_with("\n100"));
    assert!(!names(&place.target()).iter().any(|name| name.contains("partial")), "and nothing else");

    // One file of it, without the manifest, is no backup.
    place.stop();
    let files = place.folder().join("appendonlydir");
    names(&files)
        .iter()
        .filter(|name| !name.ends_with("incr.aof"))
        .for_each(|name| fs::remove_file(files.join(name)).unwrap());
    place.start(&[]);
    assert_eq!(place.redis(&["dbsize"]), "0");
}

#[test]
fn the_ways_of_the_guides_restore_nothing() {
    let place = Place::new();
    let dump = place.backup(0, &[]).output("publish", "dump");
    place.redis(&["flushall"]);

    // `redis-cli --rdb FILE` makes a dump: of the empty server, over the good one.
    let copy = place.operator.scene.path("copy.rdb");
    fs::copy(&dump, &copy).unwrap();
    place.redis(&["--rdb", copy.to_str().unwrap()]);
    assert_eq!(place.redis(&["dbsize"]), "0", "nothing came back");
    assert!(fs::metadata(&copy).unwrap().len() < fs::metadata(&dump).unwrap().len(), "and the dump is gone");

    // A dump put in place under `appendonly yes` is not even looked at.
    place.stop();
    fs::copy(&dump, place.folder().join("dump.rdb")).unwrap();
    fs::remove_dir_all(place.folder().join("appendonlydir")).unwrap();
    place.start(&[]);
    assert_eq!(place.redis(&["dbsize"]), "0");

    place.restore(0, &dump);
    place.every_key_is_there();
}

#[test]
fn a_damaged_dump_stops_nothing_and_a_server_that_does_not_start_gets_its_data_back() {
    let place = Place::new();
    let made = PathBuf::from(place.backup(0, &[]).output("publish", "dump"));
    let dump = made.display().to_string();
    let whole = fs::read(&made).unwrap();
    fs::write(&made, &whole[..whole.len() / 2]).unwrap();
    let refused = place.restore(1, &dump);
    assert!(refused.text.contains("damaged or cut short"), "{}", refused.text);
    place.every_key_is_there();

    // Whole, and not what its companion says: another dump under this name.
    fs::write(&made, &whole).unwrap();
    fs::write(format!("{dump}.keys"), "db0 5000\n").unwrap();
    let sums = format!("cd '{}' && sha256sum *.rdb *.keys > x && mv x '{dump}.sha256'", place.target().display());
    assert!(Command::new("sh").args(["-c", &sums]).status().unwrap().success());
    place.redis(&["set", "of today", "1"]);
    let failed = place.restore(6, &dump);
    assert!(failed.text.contains("read other numbers of keys"), "{}", failed.text);
    assert_eq!(place.redis(&["get", "of today"]), "1", "what was there is served again");
    place.every_key_is_still_there_with_one_more();
    assert!(!names(&place.folder()).iter().any(|name| name.starts_with("before-")), "{:?}", names(&place.folder()));
}

impl Place {
    fn every_key_is_still_there_with_one_more(&self) {
        assert_eq!(self.redis(&["dbsize"]), "302");
        assert_eq!(self.redis(&["get", "key 299"]), "value 299");
    }
}

#[test]
fn a_server_that_cannot_save_is_told_of() {
    let place = Place::new();
    place.stop();
    place.start(&["--dbfilename", "dump.rdb", "--rdbcompression", "no"]);
    fs::create_dir(place.folder().join("dump.rdb")).unwrap(); // nothing can be renamed over a folder
    let failed = place.backup(1, &[]);
    assert!(failed.text.contains("the server could not save"), "{}", failed.text);
    assert!(names(&place.target()).is_empty());
}
