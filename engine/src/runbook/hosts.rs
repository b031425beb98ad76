//! `host:` of a step: where it runs through ssh, and what cannot be said beside it.

use super::model::{Action, Lease, Step};
use super::node::Node;
use super::places::{Place, Places};
use super::report::Finding;
use crate::bind::{Template, host};

/// The kinds that a host can carry out.
const KINDS: &[&str] = &["run", "script", "cmd"];
/// The shell of the host sets these itself, or keeps them from being set.
const TAKEN: &[&str] = &[
    "BASHOPTS",
    "BASHPID",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_VERSINFO",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "LINENO",
    "OPTIND",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SRANDOM",
    "UID",
];
/// And these are the far side's own.
const TAKEN_PREFIX: &str = "_rw_";

/// `None` for a kind that has none. (From `defaults` it is for the others.)
pub fn read<'n>(places: &mut Places<'n>, step: &'n Node, host: Option<&'n Node>, place: Place) -> Option<Template> {
    if !KINDS.iter().any(|kind| step.get(kind).is_some()) {
        return None;
    }
    let node = host?;
    let template = places.template(node, place)?;
    if template.expressions().next().is_none()
        && let Some(why) = host::refused(&template.source())
    {
        let message = format!("this is no host for ssh: {why}");
        let help = "write the name of a host or an alias of ssh's configuration, `user@host`, or `${{ item }}`";
        places.findings.push(Finding::new(&super::check::visible(node), "no host", message).help(help));
    }
    Some(template)
}

/// What a step says that means nothing, or cannot be done, on another machine.
pub fn contradictions(findings: &mut Vec<Finding>, node: &Node, step: &Step) {
    let kind = ["http", "render", "sql", "notify"].into_iter().find(|kind| node.get(kind).is_some());
    if let (Some(kind), Some((key, _))) = (kind, node.entry("host")) {
        let message = format!("`host` means nothing for a step of the kind `{kind}`: the worker carries it out");
        let help = match kind {
            "render" => "render a file here, and let a `cmd` step copy it: `cmd: [scp, -q, FILE, HOST:PATH]`",
            "http" => "choose the worker with `runs-on`, or let a `run` step ask there, with curl",
            _ => "choose the worker with `runs-on`",
        };
        findings.push(Finding::new(&key.span, "without effect", message).help(help));
    }
    if step.host.is_none() {
        return;
    }
    if let (Some(Lease::Strict), Some((key, _))) = (step.lease, node.entry("lease")) {
        let message = "`lease: strict` cannot be kept on another machine: nobody can be sure to end the step there";
        let help = "remove it: such a step is not started again by itself while it may still run";
        findings.push(Finding::new(&key.span, "with `host`", message).help(help));
    }
    let received = step.secrets.iter().map(|secret| secret.name.as_str());
    let names = step.env.iter().map(|(name, _)| name.as_str()).chain(received);
    for name in names.filter(|name| TAKEN.contains(name) || name.starts_with(TAKEN_PREFIX)) {
        let message = format!("step `{}` has a `host`, and the shell there sets `{name}` itself", step.id);
        findings.push(Finding::new(&step.span, "in this step", message).help("give the variable another name"));
    }
}

/// The files of a runbook stay where its other steps run: whoever has both says where a step on a host runs.
pub fn files(root: &Node, steps: &[Step], findings: &mut Vec<Finding>) {
    if root.get("files").is_none_or(|files| files.items().is_empty()) {
        return;
    }
    let runs_there = |step: &&Step| matches!(step.action, Action::Shell { .. } | Action::Cmd(_)) && step.host.is_some();
    for step in steps.iter().filter(runs_there).filter(|step| step.cwd.is_none()) {
        let message = format!("the `files` of this runbook are not copied to the host of step `{}`", step.id);
        let help = "say where it runs there: `cwd: /srv/app`, or `cwd: .` for the home of its user. A file that it needs is \
                    copied by a step before it: `cmd: [scp, -q, FILE, HOST:PATH]`; a whole `script: FILE` needs no copy";
        findings.push(Finding::new(&step.span, "in this step", message).help(help));
    }
}
