//! `runward import`: runbooks from what another program runs.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User};
use runward_engine::crontab::{self, Form, Import, LeftOut, name};
use runward_engine::schedule::words::words;
use serde_json::json;

use super::{print, print_json, print_line};
use crate::args::{CrontabArgs, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::text;

/// A runbook to be written.
struct Imported {
    path: PathBuf,
    line: usize,
    /// `at 02:30 every day`
    due: String,
    text: String,
    /// It was there already, as it would be written.
    there: bool,
}

pub fn crontab(config: &Config, args: &CrontabArgs) -> Result<i32, Failure> {
    let (bytes, source) = read(args)?;
    let form = form(args)?;
    let mut import = crontab::read(&bytes, &form);
    if import.jobs.is_empty() && import.left_out.is_empty() {
        return Err(Failure::usage(format!("there is no job in {source}")).help("name another crontab"));
    }
    let folder = args.out.clone().or_else(|| config.settings.runbooks.first().cloned());
    let folder = folder.unwrap_or_else(|| PathBuf::from("runbooks"));
    let imported = runbooks(&mut import, &form, &source, &folder);
    if !args.dry_run {
        write(&imported)?;
    }
    match args.format {
        Format::Json => print_json(&as_json(&imported, &import, args.dry_run)),
        Format::Text => tell(&imported, &import, &folder, args.dry_run),
    }
    let chosen = args.user.is_some();
    Ok(i32::from(import.left_out.iter().any(|left_out| !(chosen && left_out.other_user))))
}

/// The crontab, and what it is called.
fn read(args: &CrontabArgs) -> Result<(Vec<u8>, String), Failure> {
    let Some(file) = &args.file else { return Ok((installed()?, "your crontab".to_owned())) };
    let mut bytes = Vec::new();
    let (read, source) = if file == Path::new("-") {
        (std::io::stdin().read_to_end(&mut bytes).map(drop), "standard input".to_owned())
    } else {
        (fs::read(file).map(|read| bytes = read), file.display().to_string())
    };
    read.map_err(|error| {
        Failure::usage(format!("{source} cannot be read: {error}")).help("name a crontab, or `-` and pipe one in")
    })?;
    Ok((bytes, source))
}

fn installed() -> Result<Vec<u8>, Failure> {
    let help = "name a file, or pipe one in: `crontab -l | runward import crontab -`";
    let listed = Command::new("crontab").arg("-l").output();
    let listed = listed.map_err(|error| Failure::usage(format!("`crontab -l` does not start: {error}")).help(help))?;
    if !listed.status.success() {
        let said = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
        return Err(Failure::usage(format!("`crontab -l` failed: {}", text::safe(&said))).help(help));
    }
    Ok(listed.stdout)
}

fn form(args: &CrontabArgs) -> Result<Form, Failure> {
    let of_the_system = args.file.as_ref().is_some_and(|file| {
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.clone());
        file == Path::new("/etc/crontab") || file.parent() == Some(Path::new("/etc/cron.d"))
    });
    let system = args.system || of_the_system;
    let me = || User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name);
    match &args.user {
        Some(_) if !system => Err(Failure::usage("`--user` chooses lines of the system form, and this is another one")
            .help("say `--system` too if each line names a user before its command")),
        Some(user) => Ok(Form { system, user: user.clone() }),
        None => Ok(Form { system, user: me().unwrap_or_default() }),
    }
}

/// What is no runbook after all is left out.
fn runbooks(import: &mut Import, form: &Form, source: &str, folder: &Path) -> Vec<Imported> {
    // cron runs a job in the home of its user.
    let home = User::from_name(&form.user).ok().flatten().map(|user| user.dir.display().to_string());
    let mut imported = Vec::new();
    for (job, name) in import.jobs.iter().zip(name::names(&import.jobs)) {
        let text = crontab::write(job, source, home.as_deref());
        if let Err(report) = runward_engine::runbook::parse(text.as_bytes()) {
            let found: Vec<String> = report.findings.iter().map(|finding| finding.message.clone()).collect();
            let (line, text, reason) = (job.line, job.text.clone(), found.join("; "));
            import.left_out.push(LeftOut { line, text, reason, help: None, other_user: false });
            continue;
        }
        let path = folder.join(format!("{name}.yaml"));
        let there = fs::read(&path).is_ok_and(|found| found == text.as_bytes());
        imported.push(Imported { path, line: job.line, due: words(&job.cron).unwrap_or_default(), text, there });
    }
    imported
}

/// All of them, or none if a file is in the way.
fn write(imported: &[Imported]) -> Result<(), Failure> {
    let new: Vec<&Imported> = imported.iter().filter(|runbook| !runbook.there).collect();
    if let Some(there) = new.iter().find(|runbook| runbook.path.symlink_metadata().is_ok()) {
        return Err(Failure::usage(format!("{} exists already and is something else", there.path.display()))
            .help("choose another folder with `--out`, or move it away first; nothing was written"));
    }
    for runbook in new {
        let failed =
            |error: std::io::Error| Failure::usage(format!("{} cannot be written: {error}", runbook.path.display()));
        fs::create_dir_all(runbook.path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&runbook.path).map_err(failed)?;
        file.write_all(runbook.text.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

fn tell(imported: &[Imported], import: &Import, folder: &Path, dry_run: bool) {
    for runbook in imported {
        let (path, due) = (runbook.path.display(), &runbook.due);
        match (dry_run, runbook.there) {
            (true, _) => {
                print_line(&format!("# file: {path}"));
                print(&text::safe_source(&runbook.text));
            }
            (false, true) => print_line(&format!("unchanged {path}: line {}, {due}", runbook.line)),
            (false, false) => print_line(&format!("wrote {path}: line {}, {due}", runbook.line)),
        }
    }
    for left_out in &import.left_out {
        eprintln!("line {} is left out: {}", left_out.line, text::safe(&left_out.reason));
        eprintln!("  {}", text::safe(&left_out.text));
        if let Some(help) = &left_out.help {
            eprintln!("  {}", text::safe(help));
        }
    }
    for mailed in &import.mailed {
        let to = text::safe(&mailed.to);
        eprintln!(
            "line {}: cron mails what is printed to {to}; runward keeps it for `runward logs` and mails nothing",
            mailed.line
        );
    }
    if !dry_run && !imported.is_empty() {
        print_line(&format!("check them with:  runward validate {}/*.yaml", folder.display()));
        print_line("take these lines out of the crontab when a server fires them: both would run them twice");
    }
}

fn as_json(imported: &[Imported], import: &Import, dry_run: bool) -> serde_json::Value {
    let runbook = |runbook: &Imported| {
        let written = !dry_run && !runbook.there;
        json!({"file": runbook.path, "line": runbook.line, "due": runbook.due, "written": written, "text": runbook.text})
    };
    let runbooks: Vec<_> = imported.iter().map(runbook).collect();
    json!({"runbooks": runbooks, "left_out": import.left_out, "mailed": import.mailed})
}
