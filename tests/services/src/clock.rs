//! Clocks that are wrong, fast, or set while somebody looks: what `faketime` would set, without the program `faketime` in
//! between, which would be killed in its place.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Where Debian and Fedora keep it; the linker knows what `$LIB` is.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketime.so.1";

/// The environment of a program whose clock is as said: `+90s`, `@2026-03-02 11:59:57`, `+0 x20`. Time zone: `TZ`.
pub fn clock(how: &str) -> Vec<(String, String)> {
    let mut set = preload();
    set.push(("FAKETIME".to_owned(), how.to_owned()));
    set
}

/// The environment of a program whose clock is as this file says, now and whenever it is written.
pub fn clock_of(file: &Path) -> Vec<(String, String)> {
    let mut set = preload();
    set.push(("FAKETIME_TIMESTAMP_FILE".to_owned(), file.display().to_string()));
    set.push(("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()));
    set
}

/// Only what tells the time of day is changed: nobody's patience is.
fn preload() -> Vec<(String, String)> {
    static WORKS: OnceLock<()> = OnceLock::new();
    forget_the_dead();
    let set = [("LD_PRELOAD", LIBRARY), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    WORKS.get_or_init(|| {
        let date = Command::new("date").arg("+%Y").envs(set).env("FAKETIME", "@2001-06-01 00:00:00").output();
        let date = date.expect("date");
        assert_eq!(String::from_utf8_lossy(&date.stdout), "2001\n", "{LIBRARY} sets no clock: {date:?}");
    });
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// What it shares with its children is named after a process, and stays when that is killed: the next one with that number would
/// take over its clock, and `faketime` itself would not start.
fn forget_the_dead() {
    for file in std::fs::read_dir("/dev/shm").expect("shared memory").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let of = ["sem.faketime_sem_", "faketime_shm_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        if of.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}
