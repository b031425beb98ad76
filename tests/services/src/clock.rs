//! Clocks that are wrong, fast, or set while somebody looks: what `faketime` would set, without the program `faketime` in
//! between, which would be killed in its place.

use std::path::Path;
use std::process::Command;

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
    let shown = Command::new("faketime").args(["-f", "+0", "env"]).env("TZ", "UTC").output().expect("faketime");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let library = text.lines().find_map(|line| line.strip_prefix("LD_PRELOAD="));
    let library = library.unwrap_or_else(|| panic!("faketime does not say what it sets: {text}"));
    vec![("LD_PRELOAD".to_owned(), library.to_owned()), ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned())]
}
