//! The environment of a step: PATH, HOME, USER, SHELL, LANG, TZ, TMPDIR, RUNWARD_* and what the runbook declares. Nothing
//! else of whoever started runward reaches a step.

use std::env;
use std::sync::OnceLock;

use nix::unistd::{Uid, User};

const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every step has, before RUNWARD_* and the runbook's own. Found once: asking for the user may ask the network.
pub(super) fn base() -> Vec<(String, String)> {
    static BASE: OnceLock<Vec<(String, String)>> = OnceLock::new();
    BASE.get_or_init(find).clone()
}

/// The agent of ssh of whoever started runward, for the steps that are on another machine.
pub(super) fn agent() -> Option<(String, String)> {
    let socket = env::var("SSH_AUTH_SOCK").ok().filter(|socket| !socket.is_empty())?;
    Some(("SSH_AUTH_SOCK".to_owned(), socket))
}

fn find() -> Vec<(String, String)> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value));
    let mut env: Vec<(String, String)> =
        ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"].into_iter().filter_map(set).collect();
    let mut default = |name: &str, value: &dyn Fn() -> Option<String>| {
        if !env.iter().any(|(known, _)| known == name)
            && let Some(value) = value()
        {
            env.push((name.to_owned(), value));
        }
    };
    // cron and systemd start programs without some of these.
    default("PATH", &|| Some(PATH_DEFAULT.to_owned()));
    default("HOME", &|| user().map(|user| user.dir.display().to_string()));
    default("USER", &|| user().map(|user| user.name));
    // As cron has it, whoever's it is. Without it bash asks for the user, in each step.
    env.push(("SHELL".to_owned(), "/bin/sh".to_owned()));
    env
}

fn user() -> Option<User> {
    User::from_uid(Uid::effective()).ok().flatten()
}
