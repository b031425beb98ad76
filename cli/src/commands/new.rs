//! `runward new`: a runbook from a template, with the files it needs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::print_line;
use crate::args::{NewArgs, Template};
use crate::config::Config;
use crate::failure::Failure;
use crate::templates::File;

pub fn run(config: &Config, args: &NewArgs) -> Result<i32, Failure> {
    let Some(name) = args.name.as_ref().filter(|_| !args.list) else {
        list();
        return Ok(0);
    };
    check_name(name)?;
    let folder = config.settings.runbooks.first().cloned().unwrap_or_else(|| PathBuf::from("runbooks"));
    let path = write(&folder, name, args.template)?;
    let path = path.display();
    print_line(&format!("read and edit it; check it with:  runward validate {path}"));
    print_line(&format!("see what it would do with:        runward plan {path} {}", args.template.example()));
    print_line(&format!("run it with:                      runward run {path} {}", args.template.example()));
    Ok(0)
}

fn list() {
    for template in Template::value_variants() {
        if let Some(value) = template.to_possible_value() {
            let about = value.get_help().map(ToString::to_string).unwrap_or_default();
            print_line(&format!("{:<10} {about}", value.get_name()));
        }
    }
}

/// What is a name everywhere: in a shell, in a file system, in a listing.
fn check_name(name: &str) -> Result<(), Failure> {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
    };
    if name.len() <= runward_engine::limits::NAME_CHARS_MAX && name.split('/').all(word) {
        return Ok(());
    }
    Err(Failure::usage(format!("`{name}` cannot be the name of a new runbook"))
        .help("small letters, digits, `_` and `-`, beginning with a letter; `/` for folders: `db/backup`"))
}

/// Writes the files of a template, or none if one of them is there. Returns the runbook's path.
pub fn write(folder: &Path, name: &str, template: Template) -> Result<PathBuf, Failure> {
    let below = Path::new(name).parent().unwrap_or(Path::new(""));
    let files = template.files(name);
    let place = |file: &File| folder.join(below).join(&file.path);
    if let Some(there) = files.iter().map(place).find(|path| path.symlink_metadata().is_ok()) {
        return Err(Failure::usage(format!("{} exists already and was left as it is", there.display()))
            .help("take another name, or move it away first; nothing was written"));
    }
    for file in &files {
        let path = place(file);
        let failed = |error: std::io::Error| Failure::usage(format!("{} cannot be written: {error}", path.display()));
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        let mode = if file.executable { 0o777 } else { 0o666 };
        let mut options = fs::OpenOptions::new();
        let mut new = options.write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
        new.write_all(file.content.as_bytes()).map_err(failed)?;
        print_line(&format!("wrote {}", path.display()));
    }
    Ok(files.first().map(place).unwrap_or_default())
}
