//! A prepared step as a launch: argv, complete environment, a folder that exists.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runward_engine::limits;
use runward_engine::run::prepare::{Prepared, Program};
use runward_engine::run::request::Request;
use runward_engine::run::state::Attempt;
use runward_engine::run::{RunState, Unit};
use runward_engine::runbook::model::Shell;

use super::files::{materialise_script, write};
use super::own::Order;
use super::{environment, ssh};
use crate::home::{Home, HomeError};
use crate::reach::connections::Target;
use crate::secrets::{Given, Value as SecretValue};
use crate::supervisor::protocol::{Launch, OWN_PROGRAM};
use crate::supervisor::secrets::output_file;

/// The file that says what runward's own program is to do, beside the attempt's folder. The program removes it.
pub(super) fn request_file(dir: &Path) -> PathBuf {
    dir.with_extension("request")
}

/// What is found for a step when it is about to start, and never written down.
#[derive(Debug, Default)]
pub struct Received {
    pub secrets: Vec<Given>,
    /// Of an `sql` step.
    pub target: Option<Target>,
}

/// Why a claimed step cannot be launched. It provably never started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("the folder {path} (`cwd`) {problem}: create it in a step before, or correct `cwd`")]
    Cwd { path: String, problem: &'static str },
}

/// One start of a step.
struct Start<'a> {
    home: &'a Home,
    state: &'a RunState,
    unit: Unit,
    attempt: &'a Attempt,
    dir: &'a Path,
}

type Value = fn(&Start) -> String;

/// What runward itself gives to every step.
const OWN: [(&str, Value); 8] = [
    ("RUNWARD_RUN_ID", |start| start.state.id.0.clone()),
    ("RUNWARD_RUNBOOK", |start| start.state.name.clone()),
    ("RUNWARD_STEP", |start| start.state.unit_name(start.unit)),
    ("RUNWARD_ATTEMPT", |start| start.attempt.no.to_string()),
    ("RUNWARD_FENCE", |start| start.attempt.no.to_string()),
    ("RUNWARD_GENERATION", |start| start.state.generation.to_string()),
    ("RUNWARD_OUTPUT", |start| output_file(start.dir).display().to_string()),
    ("RUNWARD_WORKSPACE", |start| start.home.workspace(&start.state.id).display().to_string()),
];

/// Of these, what only the far side of a step knows.
const FAR_OWN: [&str; 2] = ["RUNWARD_OUTPUT", "RUNWARD_WORKSPACE"];

/// The names of the variables that runward itself gives to every step. Steps may start runward themselves.
pub fn own_variables() -> impl Iterator<Item = &'static str> {
    OWN.iter().map(|(name, _)| *name)
}

/// Puts the script where the shell finds it, and says what to start.
pub fn launch(
    home: &Home,
    state: &RunState,
    unit: Unit,
    attempt: &Attempt,
    prepared: Prepared,
    received: Received,
) -> Result<Launch, LaunchError> {
    let dir = home.attempt(&state.id, &attempt.claim);
    let start = Start { home, state, unit, attempt, dir: &dir };
    let started = match &prepared.host {
        None => start.here(&prepared, received.target)?,
        Some(host) => start.there(host, &prepared, &received.secrets)?,
    };
    let ms = |time: Duration| time.as_millis() as u64;
    Ok(Launch {
        attempt: attempt.claim.0.clone(),
        argv: started.argv,
        env: started.env,
        cwd: started.cwd,
        timeout_ms: ms(prepared.timeout) + started.longer_ms,
        grace_ms: ms(prepared.grace),
        far_ms: started.far_ms,
        orphans: prepared.orphans,
        log_bytes_max: limits::LOG_BYTES_MAX,
        boot: attempt.boot.clone(),
        lease: None,
        secrets: received.secrets,
        hidden: prepared.hidden.into_iter().map(|text| SecretValue::new(text.into_bytes())).collect(),
        dir,
    })
}

/// What is started on this machine.
struct Started {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    cwd: PathBuf,
    /// How much later than the step it times out.
    longer_ms: u64,
    far_ms: u64,
}

impl Start<'_> {
    fn here(&self, prepared: &Prepared, target: Option<Target>) -> Result<Started, LaunchError> {
        let files = self.home.files(&self.state.id);
        let cwd = prepared.cwd.as_ref().map_or_else(|| files.clone(), |cwd| files.join(cwd));
        check_cwd(&cwd)?;
        let argv = match &prepared.program {
            Program::Argv(argv) => argv.clone(),
            Program::Script { shell, text } => {
                let script = materialise_script(self.home, &self.state.id, text)?;
                shell_argv(shell, Some(script.display().to_string()))
            }
            Program::Own(request) => {
                let http = matches!(**request, Request::Http(_)).then(|| self.home.reach().http.clone());
                let order = Order { request: (**request).clone(), target, http };
                let bytes = serde_json::to_vec(&order).expect("an order is plain data: its JSON cannot fail");
                self.own("__step", &bytes)?
            }
            Program::File { shell, path } => shell_argv(shell, Some(files.join(path).display().to_string())),
        };
        let mut env = environment::base();
        env.extend(OWN.iter().map(|(name, value)| ((*name).to_owned(), value(self))));
        override_with(&mut env, &prepared.env);
        Ok(Started { argv, env, cwd, longer_ms: 0, far_ms: 0 })
    }

    /// The program that speaks to the host. What the step itself is given is in its order.
    fn there(&self, host: &str, prepared: &Prepared, secrets: &[Given]) -> Result<Started, LaunchError> {
        let files = self.home.files(&self.state.id);
        let (argv, script) = match &prepared.program {
            Program::Argv(argv) => (argv.clone(), None),
            Program::Script { shell, text } => (shell_argv(shell, None), Some(text.clone().into_bytes())),
            Program::File { shell, path } => (shell_argv(shell, None), Some(read(&files.join(path))?)),
            // No such step has a host.
            Program::Own(_) => return self.here(&Prepared { host: None, ..prepared.clone() }, None),
        };
        let own = OWN.iter().filter(|(name, _)| !FAR_OWN.contains(name));
        let mut env: Vec<_> = own.map(|(name, value)| ((*name).to_owned(), value(self))).collect();
        override_with(&mut env, &prepared.env);
        let order = ssh::Order {
            host: host.to_owned(),
            attempt: self.attempt.claim.0.clone(),
            unit: format!("{}/{}", self.state.id, self.state.unit_name(self.unit.owner())),
            run: self.state.id.0.clone(),
            argv,
            script: script.map(SecretValue::new),
            env,
            secrets: secrets.iter().map(|given| (given.name.clone(), given.form)).collect(),
            cwd: prepared.cwd.clone(),
            timeout_ms: prepared.timeout.as_millis() as u64,
            grace_ms: prepared.grace.as_millis() as u64,
            orphans: prepared.orphans,
            hidden: prepared.hidden.iter().map(|text| SecretValue::new(text.clone().into_bytes())).collect(),
        };
        let bytes = serde_json::to_vec(&order).expect("an order is plain data: its JSON cannot fail");
        let mut env = environment::base();
        env.extend(environment::agent());
        env.push(("RUNWARD_OUTPUT".to_owned(), output_file(self.dir).display().to_string()));
        // It ends by itself before that: then nobody was heard of, and it says so.
        let longer_ms = order.grace_ms + ssh::LOST_AFTER_MS + ssh::FAR_MS;
        Ok(Started { argv: self.own("__ssh", &bytes)?, env, cwd: files, longer_ms, far_ms: ssh::FAR_MS })
    }

    /// Runward's own program, with what it is to do.
    fn own(&self, command: &str, request: &[u8]) -> Result<Vec<String>, HomeError> {
        let path = request_file(self.dir);
        write(&path, request, 0o600)?;
        Ok(vec![OWN_PROGRAM.to_owned(), command.to_owned(), path.display().to_string()])
    }
}

fn override_with(env: &mut Vec<(String, String)>, own: &[(String, String)]) {
    for (name, value) in own {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HomeError> {
    std::fs::read(path).map_err(|error| HomeError::new("cannot read the file", path, error))
}

fn check_cwd(cwd: &PathBuf) -> Result<(), LaunchError> {
    let problem = match std::fs::metadata(cwd) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => "is not a folder",
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => "cannot be entered by this user",
        Err(_) => "does not exist",
    };
    Err(LaunchError::Cwd { path: cwd.display().to_string(), problem })
}

fn shell_argv(shell: &Shell, script: Option<String>) -> Vec<String> {
    let words: &[&str] = match shell {
        Shell::Bash => &["bash", "-euo", "pipefail"],
        Shell::Sh => &["sh", "-eu"],
        Shell::Other(name) => &[name],
    };
    words.iter().map(|word| (*word).to_owned()).chain(script).collect()
}
