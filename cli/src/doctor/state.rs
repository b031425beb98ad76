//! The state folder: whether it can be used, what it lies on, and whether there is room.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, Uid, access};
use runward_engine::units::{format_duration, format_size};
use runward_workers::home::{FREE_BYTES_MIN, FREE_FILES_MIN, Room};

use super::check::Check;

/// What is there.
pub struct Folder {
    pub path: PathBuf,
    /// Itself, or the nearest folder above it that exists.
    pub ground: PathBuf,
    pub there: bool,
    is_dir: bool,
    owner: u32,
    mode: u32,
    /// Why `ground` cannot be written to.
    closed: Option<String>,
}

impl Folder {
    pub fn look(path: &Path) -> Folder {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let ground = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned();
        let meta = ground.metadata().ok();
        let closed = access(&ground, AccessFlags::W_OK | AccessFlags::X_OK).err();
        Folder {
            there: ground == path,
            is_dir: ground.is_dir(),
            owner: meta.as_ref().map_or(0, MetadataExt::uid),
            mode: meta.as_ref().map_or(0, MetadataExt::mode),
            closed: closed.map(|errno| errno.desc().to_lowercase()),
            path,
            ground,
        }
    }

    pub fn usable(&self) -> bool {
        self.there && self.is_dir && self.closed.is_none()
    }
}

const ANOTHER: &str = "or name another folder with --state, RUNWARD_STATE, or `state` in runward.toml";

pub fn folder(folder: Option<&Folder>) -> Check {
    match folder {
        None => Check::fail(
            "state folder",
            "there is no place for it: neither XDG_STATE_HOME nor HOME is set",
            "set HOME, or name a folder with --state, RUNWARD_STATE, or `state` in runward.toml",
        ),
        Some(folder) => judge_folder(folder, Uid::effective().as_raw()),
    }
}

fn judge_folder(folder: &Folder, me: u32) -> Check {
    let (path, ground) = (folder.path.display(), folder.ground.display());
    if !folder.is_dir {
        return Check::fail("state folder", format!("{ground} is not a folder"), format!("move it away, {ANOTHER}"));
    }
    if let Some(why) = &folder.closed {
        let what = if folder.there { "cannot be written to" } else { "cannot be made" };
        let fix = format!("check owner and mode of {ground}, and whether it is mounted read-only, {ANOTHER}");
        return Check::fail("state folder", format!("{path} {what}: {why}"), fix);
    }
    if !folder.there {
        return Check::ok("state folder", format!("{path}, not there yet: the first run makes it"));
    }
    if folder.owner != me {
        let says = format!("{path} belongs to user {}, not to you ({me})", folder.owner);
        return Check::warn("state folder", says, format!("run as that user, `chown -R` it, {ANOTHER}"));
    }
    if folder.mode & 0o077 != 0 {
        let says =
            format!("{path} is open to others (mode {:o}): parameters and output are in it", folder.mode & 0o777);
        return Check::warn("state folder", says, format!("chmod 700 {path}"));
    }
    Check::ok("state folder", path.to_string())
}

pub fn file_system(folder: &Folder) -> Check {
    let mounts = match std::fs::read_to_string("/proc/self/mountinfo") {
        Ok(mounts) => mounts,
        Err(error) => return Check::unknown("file system", format!("/proc/self/mountinfo: {error}")),
    };
    let ground = folder.ground.canonicalize().unwrap_or_else(|_| folder.ground.clone());
    match kind_of(&mounts, &ground) {
        Some(kind) => judge_file_system(&kind),
        None => Check::unknown("file system", format!("no mount is known for {}", ground.display())),
    }
}

/// The file system below a path: the last mount whose place is the longest part of it (proc(5), mountinfo).
fn kind_of(mounts: &str, path: &Path) -> Option<String> {
    let lines = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let place = PathBuf::from(left.split(' ').nth(4)?.replace("\\040", " ").replace("\\011", "\t"));
        path.starts_with(&place).then(|| (place.components().count(), right.split(' ').next().unwrap_or_default()))
    });
    lines.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind.to_owned())
}

fn judge_file_system(kind: &str) -> Check {
    let network =
        ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "glusterfs", "beegfs", "gfs2"];
    let local = "name a state folder on a local disk with --state, RUNWARD_STATE, or `state` in runward.toml";
    match kind {
        kind if network.contains(&kind) || kind.starts_with("fuse.") || kind == "fuse" || kind == "virtiofs" => {
            Check::warn("file system", format!("{kind}: locks and durable writes are not certain there"), local)
        }
        "tmpfs" | "ramfs" => {
            Check::warn("file system", format!("{kind}: everything on it is gone when the machine restarts"), local)
        }
        "overlay" | "aufs" => Check::warn(
            "file system",
            format!("{kind}: everything on it is gone with the container"),
            "mount a volume for the state folder, and name it with --state or RUNWARD_STATE",
        ),
        kind => Check::ok("file system", kind),
    }
}

/// Less room than this, and soon something finds none: one attempt may keep 128 MiB of output.
const FREE_BYTES_LOW: u64 = 1 << 30;
const FREE_FILES_LOW: u64 = 10_000;

pub fn space(folder: &Folder) -> Check {
    match Room::of(&folder.ground) {
        Ok(room) => judge_space(room),
        Err(error) => Check::unknown("space", error.to_string()),
    }
}

fn judge_space(room: Room) -> Check {
    let says = match room.files {
        Some(files) => format!("{} and {files} files free", format_size(room.bytes)),
        None => format!("{} free", format_size(room.bytes)),
    };
    let fix = "free some: `runward db prune` removes old runs, `runward db status` says what takes how much";
    match () {
        () if !room.has(FREE_BYTES_MIN, FREE_FILES_MIN) => Check::fail("space", says, fix),
        () if !room.has(FREE_BYTES_LOW, FREE_FILES_LOW) => Check::warn("space", says, fix),
        () => Check::ok("space", says),
    }
}

const SYNCS: usize = 8;
const SYNCS_TIME_MAX: Duration = Duration::from_secs(2);
const SYNC_SLOW: Duration = Duration::from_millis(50);

/// How long a small durable write takes: each step costs one.
pub fn durability(folder: &Folder) -> Check {
    if !folder.usable() {
        return Check::unknown("durable write", "the state folder is not there, or cannot be written to");
    }
    match measure(&folder.path.join(format!(".doctor-{}", std::process::id()))) {
        Ok(took) => judge_sync(took),
        Err(error) => {
            Check::fail("durable write", error.to_string(), "look into the kernel's log (`dmesg`), and at `df`")
        }
    }
}

fn measure(path: &Path) -> std::io::Result<Duration> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let _ = std::fs::remove_file(path); // nothing is left behind, whatever happens
    let (since, mut took) = (Instant::now(), Vec::new());
    while took.len() < SYNCS && since.elapsed() < SYNCS_TIME_MAX {
        let start = Instant::now();
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        took.push(start.elapsed());
    }
    took.sort();
    Ok(took[took.len() / 2])
}

fn judge_sync(took: Duration) -> Check {
    let says = match took < Duration::from_millis(1) {
        true => format!("{} µs", took.as_micros()),
        false => format_duration(took),
    };
    match took > SYNC_SLOW {
        true => Check::warn(
            "durable write",
            format!("{says}: each step waits for one"),
            "put the state folder on a faster disk, if many short steps are to be run",
        ),
        false => Check::ok("durable write", says),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    fn folder(there: bool, owner: u32, mode: u32, closed: Option<&str>) -> Folder {
        let path = PathBuf::from("/srv/state");
        let ground = if there { path.clone() } else { PathBuf::from("/srv") };
        Folder { path, ground, there, is_dir: true, owner, mode, closed: closed.map(str::to_owned) }
    }

    #[test]
    fn a_folder_that_cannot_be_used_fails_and_one_that_is_open_warns() {
        let verdict = |folder: &Folder| judge_folder(folder, 1000).verdict;
        assert_eq!(verdict(&folder(true, 1000, 0o40700, None)), Verdict::Ok);
        assert_eq!(verdict(&folder(false, 0, 0o40755, None)), Verdict::Ok);
        assert_eq!(verdict(&folder(true, 1000, 0o40755, None)), Verdict::Warn);
        assert_eq!(verdict(&folder(true, 0, 0o40700, None)), Verdict::Warn);
        assert_eq!(verdict(&folder(true, 1000, 0o40500, Some("permission denied"))), Verdict::Fail);
        let not_made = judge_folder(&folder(false, 0, 0o40755, Some("permission denied")), 1000);
        assert!(not_made.says.contains("cannot be made: permission denied"), "{not_made:?}");
        assert_eq!(super::folder(None).verdict, Verdict::Fail);
    }

    #[test]
    fn the_mount_that_counts_is_the_deepest_and_last() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /srv rw shared:1 - nfs4 x:/ rw\n\
                      3 1 0:3 / /srv/a\\040b rw - tmpfs t rw\n4 1 0:4 / /srv/a\\040b rw - xfs t rw\n";
        let kind = |path: &str| kind_of(mounts, Path::new(path)).unwrap();
        assert_eq!(kind("/home/x"), "ext4");
        assert_eq!(kind("/srv/state"), "nfs4");
        assert_eq!(kind("/srv/a b/state"), "xfs");
        assert_eq!(kind("/srvx"), "ext4");
    }

    #[test]
    fn what_forgets_or_lies_warns() {
        for kind in ["nfs4", "cifs", "fuse.sshfs", "tmpfs", "overlay", "9p"] {
            assert_eq!(judge_file_system(kind).verdict, Verdict::Warn, "{kind}");
        }
        assert_eq!(judge_file_system("ext4"), Check::ok("file system", "ext4"));
    }

    #[test]
    fn room_and_speed_have_their_limits() {
        let verdict = |bytes, files| judge_space(Room { bytes, files }).verdict;
        assert_eq!(verdict(FREE_BYTES_LOW, None), Verdict::Ok);
        assert_eq!(verdict(FREE_BYTES_LOW - 1, None), Verdict::Warn);
        assert_eq!(verdict(FREE_BYTES_MIN - 1, Some(1_000_000)), Verdict::Fail);
        assert_eq!(verdict(1 << 40, Some(FREE_FILES_LOW - 1)), Verdict::Warn);
        assert_eq!(verdict(1 << 40, Some(0)), Verdict::Fail);
        assert_eq!(judge_sync(SYNC_SLOW).verdict, Verdict::Ok);
        assert_eq!(judge_sync(SYNC_SLOW * 2).verdict, Verdict::Warn);
    }
}
