//! The backup and restore runbooks, run for real by the binary, on trees as hostile as a file system allows.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::harness::{Scene, finish, kill_9, repository, wait};

const DAY: Duration = Duration::from_secs(86_400);

/// A scene with a folder to back up, and a place for the archives.
struct Place {
    scene: Scene,
}

impl Place {
    fn new() -> Place {
        let place = Place { scene: Scene::new() };
        fs::create_dir(place.source()).expect("the source");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scene.path(name)
    }

    fn source(&self) -> PathBuf {
        self.path("source")
    }

    fn target(&self) -> PathBuf {
        self.path("target")
    }

    /// A program that stands before the real `gzip` in the PATH of a run.
    fn in_place_of_gzip(&self, script: &str) -> OsString {
        let tools = self.path("tools");
        fs::create_dir(&tools).expect("a folder");
        fs::write(tools.join("gzip"), script).expect("a program");
        mode(&tools.join("gzip"), 0o755);
        let mut path = tools.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").expect("a PATH"));
        path
    }

    fn backup(&self) -> Command {
        let mut command = self.scene.runward();
        command.arg("run").arg(runbook("backup_files.yaml"));
        param(&mut command, "source", &self.source());
        param(&mut command, "target", &self.target());
        command
    }

    fn restore(&self, archive: &Path, into: &Path) -> Command {
        let mut command = self.scene.runward();
        command.arg("run").arg(runbook("restore_files.yaml"));
        param(&mut command, "archive", archive);
        param(&mut command, "into", into);
        command
    }
}

fn runbook(name: &str) -> PathBuf {
    repository().join("runbooks").join(name)
}

fn param(command: &mut Command, name: &str, value: &Path) {
    let mut pair = OsString::from(format!("{name}="));
    pair.push(value);
    command.arg("-p").arg(pair);
}

fn succeeds(command: Command) -> String {
    ends_with(0, command)
}

fn fails(command: Command) -> String {
    ends_with(1, command)
}

fn ends_with(code: i32, mut command: Command) -> String {
    let done = finish(&mut command);
    let text = done.stdout + &done.stderr;
    assert_eq!(done.code, code, "{text}");
    text
}

/// Names in a folder, sorted; none where there is no folder.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn archives(folder: &Path) -> Vec<PathBuf> {
    names(folder).iter().filter(|name| name.ends_with(".tar.gz")).map(|name| folder.join(name)).collect()
}

fn the_archive(folder: &Path) -> PathBuf {
    let archives = archives(folder);
    assert_eq!(archives.len(), 1, "{archives:?}");
    archives[0].clone()
}

/// What a backup has to bring back of one name.
#[derive(Debug, PartialEq)]
enum Kept {
    Folder { mode: u32 },
    File { mode: u32, links: u64, modified: i64, content: Vec<u8> },
    Link { to: PathBuf },
}

/// Everything below a folder, by path, without sockets and named pipes.
fn tree(root: &Path) -> BTreeMap<Vec<u8>, Kept> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).expect("a path just listed");
        let mode = meta.mode() & 0o7777;
        let kept = match () {
            () if meta.is_dir() => {
                open.extend(fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path()));
                Kept::Folder { mode }
            }
            () if meta.is_symlink() => Kept::Link { to: fs::read_link(&path).expect("a link") },
            () if meta.is_file() => Kept::File {
                mode,
                links: meta.nlink(),
                modified: meta.mtime(),
                content: fs::read(&path).expect("a file"),
            },
            () => continue,
        };
        let below = path.strip_prefix(root).expect("a path below the root");
        found.insert(below.as_os_str().as_bytes().to_vec(), kept);
    }
    found
}

const HOSTILE_NAMES: &[&[u8]] = &[
    b" leading and trailing ",
    b"new\nline",
    b"ends in newlines\n\n",
    b"tab\tbell\x07",
    b"it's \"quoted\"",
    b"back\\slash",
    b"a\\141b",
    b"-dash",
    b"--checkpoint-action=exec=touch pwned",
    b"$(touch pwned)",
    b"`touch pwned`",
    b"${IFS}",
    b"*",
    b"@list",
    b"#hash",
    b"not utf-8 \xff\xfe",
    "备份".as_bytes(),
    "🦆 duck".as_bytes(),
];

fn hostile_tree(root: &Path) {
    for name in HOSTILE_NAMES {
        fs::write(root.join(OsStr::from_bytes(name)), name).expect("a hostile name");
        let folder = root.join("folders").join(OsString::from_vec(name.to_vec()));
        fs::create_dir_all(&folder).expect("a hostile folder");
        fs::write(folder.join("file"), b"below").expect("a file below it");
    }
    fs::write(root.join("empty"), b"").expect("an empty file");
    fs::create_dir(root.join("empty folder")).expect("an empty folder");
    symlink("/nowhere/at all", root.join("dangling")).expect("a link");
    symlink("new\nline", root.join("link to\nnewline")).expect("a link");
    symlink(".", root.join("loop")).expect("a link");
    fs::write(root.join("hard one"), b"shared").expect("a file");
    fs::hard_link(root.join("hard one"), root.join("empty folder/-hard two")).expect("a hard link");
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
    drop(UnixListener::bind(root.join("socket")).expect("a socket"));
    // Sorted by byte `ro.x` comes between `ro` and `ro/inside`: the folder's mode must not be set in between.
    fs::create_dir(root.join("ro")).expect("a folder");
    fs::write(root.join("ro/inside"), b"inside").expect("a file");
    fs::write(root.join("ro.x"), b"x").expect("a file");
    mode(&root.join("ro"), 0o555);
    mode(&root.join("empty"), 0o440);
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_799);
    File::open(root.join("hard one")).and_then(|file| file.set_modified(past)).expect("a time");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

/// Read-only folders cannot be emptied by anybody but root.
fn make_deletable(root: &Path) {
    mode(&root.join("ro"), 0o755);
}

#[test]
fn a_backup_of_a_hostile_tree_is_verified_and_restorable() {
    let place = Place::new();
    hostile_tree(&place.source());

    let said = succeeds(place.backup());
    assert!(said.contains("the restored copy equals the source"), "{said}");
    assert!(said.contains("./pipe") && said.contains("./socket"), "what was skipped is named: {said}");
    let archive = the_archive(&place.target());
    let beside: Vec<String> = ["", ".manifest", ".sha256", ".tree"]
        .map(|end| format!("{}{end}", archive.file_name().expect("a name").to_string_lossy()))
        .into();
    assert_eq!(names(&place.target()), beside, "the archive, its three companions, and nothing else");

    let into = place.path("new/-restored 备");
    succeeds(place.restore(&archive, &into));
    assert_eq!(tree(&into), tree(&place.source()));
    assert_eq!(names(&place.path("new")), ["-restored 备"]);

    let said = fails(place.restore(&archive, &into));
    assert!(said.contains("is not empty"), "{said}");
    make_deletable(&into);
    make_deletable(&place.source());
}

#[test]
fn an_empty_folder_can_be_backed_up_and_restored() {
    let place = Place::new();
    succeeds(place.backup());
    let into = place.path("restored");
    fs::create_dir(&into).expect("an empty folder to restore into");
    succeeds(place.restore(&the_archive(&place.target()), &into));
    assert!(names(&into).is_empty());
}

#[test]
fn a_corrupt_archive_is_refused_and_nothing_lands() {
    let place = Place::new();
    fs::write(place.source().join("data"), [7; 100_000]).expect("data");
    succeeds(place.backup());
    let archive = the_archive(&place.target());
    let whole = fs::read(&archive).expect("the archive");
    let into = place.path("out/restored");
    let refused = |why: &str| {
        let said = fails(place.restore(&archive, &into));
        assert!(said.contains(why), "{why}: {said}");
        assert!(names(&place.path("out")).is_empty(), "{why}: {:?}", names(&place.path("out")));
    };

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&archive, flipped).expect("one bit flipped");
    refused("damaged or cut short");

    fs::write(&archive, &whole[..whole.len() - 1]).expect("the last byte cut off");
    refused("damaged or cut short");

    fs::write(&archive, &whole).expect("the archive as it was");
    let checksum = PathBuf::from(format!("{}.sha256", archive.display()));
    fs::rename(&checksum, place.path("aside")).expect("the checksum taken away");
    refused(".sha256 is missing");

    fs::write(&checksum, "0".repeat(64) + "  another.tar.gz\n").expect("a checksum of another archive");
    refused("has no checksum of");

    fs::rename(place.path("aside"), &checksum).expect("the checksum put back");
    succeeds(place.restore(&archive, &into));
    assert_eq!(tree(&into), tree(&place.source()));
}

#[test]
fn an_unreadable_file_fails_before_anything_is_written() {
    let place = Place::new();
    // Root reads everything, so root runs this as nobody, with copies that nobody can reach.
    let user = nix::unistd::Uid::effective();
    let nobody = 65_534;
    let program = place.path("runward");
    fs::copy(env!("CARGO_BIN_EXE_runward"), &program).expect("a copy of the binary");
    mode(&program, 0o755);
    fs::create_dir_all(place.path("runbooks/lib")).expect("a folder");
    for name in ["backup_files.yaml", "lib/list_tree.sh", "lib/compare_tree.sh"] {
        let copy = place.path("runbooks").join(name);
        fs::copy(runbook(name), &copy).expect("a copy of the runbook");
        mode(&copy, 0o644);
    }
    for folder in ["", "runbooks", "runbooks/lib", "source"] {
        mode(&place.path(folder), 0o755);
    }
    fs::create_dir(place.path("state")).expect("a state folder");
    let secret = place.source().join("secret 'file'");
    fs::write(&secret, b"secret").expect("a secret");
    mode(&secret, 0o000);
    if user.is_root() {
        for owned in [place.path(""), place.path("state")] {
            std::os::unix::fs::chown(owned, Some(nobody), Some(nobody)).expect("a folder given away");
        }
    }

    let mut command = if user.is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        setpriv
    } else {
        Command::new(&program)
    };
    command.env("HOME", place.path("state")).current_dir("/").stdin(Stdio::null());
    command.arg("--state").arg(place.path("state")).arg("run").arg(place.path("runbooks/backup_files.yaml"));
    param(&mut command, "source", &place.source());
    param(&mut command, "target", &place.target());

    let said = fails(command);
    assert!(said.contains("cannot be read") && said.contains("secret"), "the file is named: {said}");
    assert!(!place.target().exists(), "nothing was written");
    mode(&secret, 0o600);
}

#[test]
fn prune_deletes_what_is_older_than_seven_days_and_nothing_else() {
    let place = Place::new();
    fs::create_dir(place.target()).expect("the target");
    let aged = |name: &str, age: Duration| {
        let file = File::create(place.target().join(name)).expect("a file");
        file.set_modified(SystemTime::now() - age).expect("an age");
    };
    let hour = DAY / 24;
    // `find -mtime +7` would keep the first two for another day.
    aged("files-20260101T000001Z.tar.gz", 7 * DAY + hour);
    aged("files-20260101T000002Z.tar.gz", 7 * DAY + 23 * hour);
    aged("files-20260101T000003Z.tar.gz", 400 * DAY);
    for end in [".sha256", ".manifest", ".tree"] {
        aged(&format!("files-20260101T000003Z.tar.gz{end}"), 400 * DAY);
    }
    let stay = [
        ("files-20260101T000004Z.tar.gz", 7 * DAY - hour),
        ("files-20260101T000005Z.tar.gz", hour),
        ("files-20260101T000006Z.tar.gz.part", 400 * DAY),
        ("files-extra-20260101T000007Z.tar.gz", 400 * DAY),
        ("files.tar.gz", 400 * DAY),
        ("notes.txt", 400 * DAY),
        ("other-20260101T000008Z.tar.gz", 400 * DAY),
    ];
    for (name, age) in stay {
        aged(name, age);
    }

    let said = succeeds(place.backup());
    assert!(said.contains("3 kept, 3 deleted"), "{said}");
    let now = names(&place.target());
    let old: Vec<&str> = now
        .iter()
        .map(String::as_str)
        .filter(|name| name.contains("20260101T") || !name.contains("Z.tar.gz"))
        .collect();
    assert_eq!(old, stay.map(|(name, _)| name));

    let mut few = place.backup();
    few.args(["-p", "keep_count=2"]);
    let said = succeeds(few);
    assert!(said.contains("2 kept, 2 deleted"), "{said}");
    assert!(place.target().join("files-extra-20260101T000007Z.tar.gz").exists());
}

#[test]
fn a_killed_backup_leaves_no_archive_under_its_final_name() {
    let place = Place::new();
    fs::write(place.source().join("data"), [1; 1_000_000]).expect("data");
    // A compressor that hangs in the middle, like a dead disk.
    let reached = place.path("reached");
    let path = place.in_place_of_gzip(&format!(
        "#!/bin/sh\nprintf 'half an archive'\n: > '{}'\nexec sleep 120\n",
        reached.display()
    ));

    let mut driver =
        place.backup().env("PATH", &path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
    wait("the archive step to compress", || reached.exists());
    kill_9(&mut driver); // the driver alone: the step goes on without it
    assert!(archives(&place.target()).is_empty(), "{:?}", names(&place.target()));

    let mut cancel = place.scene.runward();
    cancel.args(["cancel", "last", "--reason", "the disk hangs"]);
    succeeds(cancel);
    assert!(names(&place.target()).is_empty(), "`finally` took the rest away: {:?}", names(&place.target()));

    succeeds(place.backup());
    the_archive(&place.target());
}

#[test]
fn a_source_that_changes_while_it_is_read_fails_and_leaves_nothing() {
    let place = Place::new();
    let data = place.source().join("data");
    fs::write(&data, [1; 1_000_000]).expect("data");
    let path = place.in_place_of_gzip(&format!(
        "#!/bin/sh\necho more >> '{}'\nPATH=${{PATH#*:}} exec gzip \"$@\"\n",
        data.display()
    ));

    let mut backup = place.backup();
    backup.env("PATH", path);
    let said = fails(backup);
    assert!(said.contains("changed while it was"), "{said}");
    assert!(names(&place.target()).is_empty(), "{:?}", names(&place.target()));
}

#[test]
fn backups_that_begin_in_the_same_second_get_names_of_their_own() {
    let place = Place::new();
    fs::write(place.source().join("data"), b"data").expect("data");
    let mut runs: Vec<_> =
        (0..4).map(|_| place.backup().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run")).collect();
    assert!(runs.iter_mut().all(|run| run.wait().expect("an end").success()));
    assert_eq!(archives(&place.target()).len(), 4, "{:?}", names(&place.target()));
    assert_eq!(names(&place.target()).len(), 16);
}
