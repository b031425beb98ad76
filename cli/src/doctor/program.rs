//! The program itself: which one runs, what it is configured with, and what the environment tells it in vain.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runward_engine::plan::params::VARIABLE_PREFIX;
use runward_engine::runbook::report::did_you_mean;
use runward_workers::step::launch::own_variables;

use super::check::Check;
use crate::config::connections::is_variable;
use crate::config::{Config, NAMED_BY, SETTINGS};
use crate::failure::Failure;

pub fn program() -> Check {
    let own = std::env::current_exe().unwrap_or_default();
    let found = on_path("runward");
    let same = found.as_deref().is_some_and(|found| same_file(found, Path::new("/proc/self/exe")));
    judge_program(&own, found.as_deref(), same)
}

fn judge_program(own: &Path, found: Option<&Path>, same: bool) -> Check {
    let version = format!("{}, {}", env!("CARGO_PKG_VERSION"), own.display());
    match found {
        Some(_) if same => Check::ok("program", version),
        Some(other) => Check::warn(
            "program",
            format!("{version}, but PATH finds another one: {}", other.display()),
            "remove one of the two, or put the right one first in PATH",
        ),
        None => Check::warn(
            "program",
            format!("{version}, which is not on PATH"),
            format!("install it: ln -s {} /usr/local/bin/runward", own.display()),
        ),
    }
}

/// What a shell would find.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path).map(|folder| folder.join(name));
    let executable =
        |path: &PathBuf| path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok();
    candidates.into_iter().find(executable)
}

pub fn same_file(a: &Path, b: &Path) -> bool {
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

pub fn configuration(loaded: &Result<Config, Failure>) -> Check {
    match loaded {
        Ok(Config { file: Some(file), .. }) => Check::ok("configuration", file.display().to_string()),
        Ok(_) => Check::ok("configuration", "no runward.toml: everything has its default"),
        Err(failure) => Check::fail(
            "configuration",
            failure.in_words(),
            "`runward config show` says where; `--config /dev/null` runs a command without the file",
        ),
    }
}

pub fn environment() -> Check {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    judge_environment(names.filter(|name| name.starts_with("RUNWARD_")).collect())
}

fn judge_environment(mut set: Vec<String>) -> Check {
    let settings = SETTINGS.iter().map(|setting| setting.env);
    let known: Vec<&str> = settings.chain([NAMED_BY]).chain(own_variables()).collect();
    set.sort();
    set.retain(|name| !known.contains(&name.as_str()) && !name.starts_with(VARIABLE_PREFIX) && !is_variable(name));
    if set.is_empty() {
        return Check::ok("environment", "every RUNWARD_ variable that is set means something");
    }
    let guesses: Vec<String> =
        set.iter().filter_map(|name| Some(format!("{name}: {}", did_you_mean(name, known.iter().copied())?))).collect();
    let fix = if guesses.is_empty() { "unset it, or see `runward config show`".to_owned() } else { guesses.join("; ") };
    Check::warn("environment", format!("{} means nothing to runward", set.join(", ")), fix)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn another_program_of_the_same_name_is_told() {
        let own = Path::new("/opt/runward");
        assert_eq!(judge_program(own, Some(own), true).verdict, Verdict::Ok);
        assert!(judge_program(own, Some(Path::new("/usr/bin/runward")), false).says.contains("/usr/bin/runward"));
        assert!(judge_program(own, None, false).says.contains("not on PATH"));
    }

    #[test]
    fn a_misspelt_variable_is_told() {
        let check = |names: &[&str]| judge_environment(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(check(&["RUNWARD_LOG", "RUNWARD_PARAM_X", "RUNWARD_STEP", "RUNWARD_CONFIG"]).verdict, Verdict::Ok);
        let wrong = check(&["RUNWARD_STAT"]);
        assert!(wrong.fix.is_some_and(|fix| fix.contains("did you mean `RUNWARD_STATE`?")));
    }
}
