//! A prepared step as a launch: argv, complete environment, a folder that exists.

use std::path::{Path, PathBuf};

use runward_engine::limits;
use runward_engine::run::prepare::{Prepared, Program};
use runward_engine::run::request::Request;
use runward_engine::run::state::Attempt;
use runward_engine::run::{RunState, Unit};
use runward_engine::runbook::model::Shell;

use super::environment;
use super::files::{materialise_script, write};
use super::own::Order;
use crate::home::{Home, HomeError};
use crate::reach::connections::Target;
use crate::secrets::{Given, Value as SecretValue};
use crate::supervisor::protocol::{Launch, OWN_PROGRAM};
use crate::supervisor::secrets::output_file;

/// The file that says what runward's own program is to do, beside the attempt's folder. The program removes it.
fn request_file(dir: &Path) -> PathBuf {
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
    let files = home.files(&state.id);
    let cwd = prepared.cwd.as_ref().map_or_else(|| files.clone(), |cwd| files.join(cwd));
    check_cwd(&cwd)?;

    let argv = match prepared.program {
        Program::Argv(argv) => argv,
        Program::Script { shell, text } => {
            let script = materialise_script(home, &state.id, &text)?;
            shell_argv(&shell, script.display().to_string())
        }
        Program::Own(request) => {
            let path = request_file(&dir);
            let http = matches!(*request, Request::Http(_)).then(|| home.reach().http.clone());
            let order = Order { request: *request, target: received.target, http };
            let bytes = serde_json::to_vec(&order).expect("an order is plain data: its JSON cannot fail");
            write(&path, &bytes, 0o600)?;
            vec![OWN_PROGRAM.to_owned(), "__step".to_owned(), path.display().to_string()]
        }
        Program::File { shell, path } => shell_argv(&shell, files.join(path).display().to_string()),
    };

    let mut env = environment::base();
    let start = Start { home, state, unit, attempt, dir: &dir };
    env.extend(OWN.iter().map(|(name, value)| ((*name).to_owned(), value(&start))));
    for (name, value) in prepared.env {
        env.retain(|(known, _)| *known != name);
        env.push((name, value));
    }

    Ok(Launch {
        attempt: attempt.claim.0.clone(),
        dir,
        argv,
        env,
        cwd,
        timeout_ms: prepared.timeout.as_millis() as u64,
        grace_ms: prepared.grace.as_millis() as u64,
        orphans: prepared.orphans,
        log_bytes_max: limits::LOG_BYTES_MAX,
        boot: attempt.boot.clone(),
        lease: None,
        secrets: received.secrets,
        hidden: prepared.hidden.into_iter().map(|text| SecretValue::new(text.into_bytes())).collect(),
    })
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

fn shell_argv(shell: &Shell, script: String) -> Vec<String> {
    let words: &[&str] = match shell {
        Shell::Bash => &["bash", "-euo", "pipefail"],
        Shell::Sh => &["sh", "-eu"],
        Shell::Other(name) => &[name],
    };
    words.iter().map(|word| (*word).to_owned()).chain([script]).collect()
}
