//! A file's bytes -> a runbook, or one report of everything that is wrong.

use std::collections::HashMap;

use super::check::{self, visible};
use super::graph::{self, Link};
use super::model::{Action, Objectives, OnFailure, Output, RollbackPolicy, Runbook, Running, Spanned, Step};
use super::node::{self, Data, Node};
use super::notify::Severity;
use super::places::{Place, Places, Role};
use super::references::{self, Scope};
use super::report::{Finding, Report};
use super::{concurrency, drill, gates, hosts, http, params, schedules, secrets, steps, tables, triggers};
use crate::bind::{Reference, Template};
use crate::limits;

/// Reads and checks a runbook file. Pure: no file it names is looked at.
///
/// All findings come in one report, except that broken YAML ends at its first error. A runbook that uses keys that are not
/// built yet is returned, with [`Runbook::unbuilt`] naming them; planning refuses it.
pub fn parse(source: &[u8]) -> Result<Runbook, Report> {
    let document = node::read(source)?;
    let root = &document.root;
    if root.data == Data::Null {
        let help = "a runbook needs at least `steps:`; `runward init` writes one";
        return Err(Report::one(Finding::new(&(0..0), "empty", "this file holds no runbook").help(help)));
    }
    let main = section(root, "steps");
    let last = section(root, "finally");
    if main.len() + last.len() > limits::STEPS_MAX {
        let message =
            format!("this runbook has {} steps; at most {} are possible", main.len() + last.len(), limits::STEPS_MAX);
        return Err(Report::one(Finding::new(&visible(root), "too many steps", message)));
    }
    let checked = check::check(root, &tables::RUNBOOK);
    let mut findings = document.findings;
    findings.extend(checked.findings);

    let declared = params::read(root.get("params"), &mut findings);
    let mut places = Places::new(document.source, &declared);
    scan_top(&mut places, root);
    let outputs = outputs(&mut places, root);
    let concurrency = root.get("concurrency").and_then(|node| concurrency::read(&mut places, node, &declared));
    let nodes: Vec<&Node> = main.iter().chain(last).collect();
    let steps = main.len() + last.len();
    let defaults_fit = root.get("defaults").is_none_or(|node| steps::fit(node, steps, &mut findings));
    let defaults = root.get("defaults").filter(|_| defaults_fit);
    let step = |(index, node)| steps::read(&mut places, node, defaults, index, main.len());
    let (mut parsed, links): (Vec<Step>, Vec<Link>) = nodes.iter().copied().enumerate().map(step).unzip();

    doubled_ids(&links, &nodes, &mut findings);
    let edges = graph::edges(&links, main.len(), &mut findings);
    let order = graph::order(&links, &edges, &mut findings);
    let scope =
        Scope { params: &declared, steps: &parsed, main_len: main.len(), order: order.as_deref(), edges: &edges };
    let read = references::check(&mut places, &scope);
    findings.append(&mut places.findings);
    // A broken step or expression may have read anything, and a template file may.
    let renders = nodes.iter().any(|node| node.get("render").is_some());
    if checked.fits_schema && defaults_fit && !renders && !places.unclear {
        references::unused(&declared, &read.params, &mut findings);
    }
    triggers::check(root, &declared, &mut findings);
    hosts::files(root, &parsed, &mut findings);
    secrets::check(root, &nodes, &mut findings);
    drill::check(root, &declared, &parsed, &mut findings);

    if !findings.is_empty() {
        return Err(Report::new(findings));
    }
    for (step, needs) in parsed.iter_mut().zip(edges) {
        step.needs = needs;
    }
    let runbook = Runbook {
        name: root.get("name").and_then(Node::text).map(str::to_owned),
        description: root.get("description").and_then(Node::text).map(str::to_owned),
        severity: root.get("severity").and_then(Node::text).and_then(Severity::named),
        unread: declared.iter().map(|param| param.name.clone()).filter(|name| !read.params.contains(name)).collect(),
        schedules: schedules::read(root, &declared),
        drill: drill::read(root, &declared),
        is_drill: false,
        params: declared,
        concurrency,
        timeout: steps::time(root.get("timeout")),
        max_parallel: root.get("max-parallel").and_then(Node::int).and_then(steps::count),
        on_failure: on_failure(root),
        objectives: objectives(root),
        files: files(root),
        windows: gates::windows(root),
        secrets: secrets::read(root),
        main_len: main.len(),
        steps: parsed,
        unbuilt: checked.unbuilt,
        outputs,
        call_reads: read.calls,
    };
    let mut shown: Vec<Finding> = runbook.steps.iter().flat_map(|step| secret_places(&runbook, step)).collect();
    shown.extend(runbook.outputs.iter().filter(|output| is_secret(&runbook, output)).map(secret_output));
    if shown.is_empty() { Ok(runbook) } else { Err(Report::new(shown)) }
}

/// Paths are named in plans, logs and messages, and every `ls` shows them; what people are told leaves the machine.
fn secret_places(runbook: &Runbook, step: &Step) -> Vec<Finding> {
    let to = match &step.action {
        Action::Render(render) => Some(("render.to", &render.to)),
        _ => None,
    };
    let paths = step.cwd.iter().map(|cwd| ("cwd", cwd)).chain(step.host.iter().map(|host| ("host", host))).chain(to);
    let is_secret = |text: &Template| text.expressions().any(|(it, _)| runbook.reads_secret(step, it));
    let told = match &step.action {
        Action::Notify(notify) if is_secret(&notify.text) => {
            let message = format!("`notify.text` of step `{}` reads something sensitive, and it is sent away", step.id);
            Some(
                Finding::new(&step.span, "in this step", message).help("tell something else, such as where it is kept"),
            )
        }
        _ => None,
    };
    let secret = paths.filter(|(_, path)| is_secret(path));
    secret
        .map(|(key, _)| {
            let message = format!("`{key}` of step `{}` reads something sensitive, and that is shown", step.id);
            Finding::new(&step.span, "in this step", message).help("name the file, folder or host by something else")
        })
        .chain(told)
        .collect()
}

fn is_secret(runbook: &Runbook, output: &Output) -> bool {
    let mut names = output.value.expressions().into_iter().flat_map(|expression| &expression.references);
    names.any(|(reference, _)| match reference {
        Reference::Param(name) => runbook.params.iter().any(|param| param.sensitive && param.name == *name),
        _ => false,
    })
}

fn secret_output(output: &Output) -> Finding {
    let message = format!("the output `{}` reads something sensitive, and outputs are shown", output.name.value);
    Finding::new(&output.name.span, "shown", message).help("hand back something else, such as the name of a file")
}

/// What the runbook hands back.
fn outputs<'n>(places: &mut Places<'n>, root: &'n Node) -> Vec<Output> {
    let place = Place { step: None, role: Role::End };
    let entries = root.get("outputs").map(Node::entries).unwrap_or_default();
    let mut outputs = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let name = Spanned { value: key.text.clone(), span: key.span.clone() };
        outputs.extend(http::json(places, node, place).map(|value| Output { name, value }));
    }
    outputs
}

fn section<'n>(root: &'n Node, key: &str) -> &'n [Node] {
    match root.get(key).map(|node| &node.data) {
        Some(Data::List(items)) => items,
        _ => &[],
    }
}

fn on_failure(root: &Node) -> OnFailure {
    let word = |key: &str| root.get("on-failure").and_then(|node| node.get(key)).and_then(Node::text);
    OnFailure {
        rollback: match word("rollback") {
            Some("ask") => RollbackPolicy::Ask,
            Some("never") => RollbackPolicy::Never,
            _ => RollbackPolicy::Auto,
        },
        running: if word("running") == Some("kill") { Running::Kill } else { Running::Finish },
    }
}

fn objectives(root: &Node) -> Objectives {
    let time = |key: &str| steps::time(root.get("objectives").and_then(|node| node.get(key)));
    Objectives { rto: time("rto"), rpo: time("rpo") }
}

fn files(root: &Node) -> Vec<Spanned<String>> {
    let items = root.get("files").map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| Some(Spanned { value: item.text()?.to_owned(), span: item.span.clone() })).collect()
}

/// Expressions of keys of the top level that are not built yet.
fn scan_top<'n>(places: &mut Places<'n>, root: &'n Node) {
    let place = Place { step: None, role: Role::Top };
    for (key, node) in root.entries() {
        if let Some(known) = tables::RUNBOOK.key(&key.text).filter(|key| !key.built) {
            places.scan(node, &known.shape, place);
        }
    }
}

fn doubled_ids(links: &[Link], nodes: &[&Node], findings: &mut Vec<Finding>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (n, link) in links.iter().enumerate() {
        let Some(first) = seen.insert(&link.id, n) else { continue };
        let unnamed = |n: usize| nodes[n].get("id").is_none();
        let message = match (unnamed(first), unnamed(n)) {
            (false, false) => format!("two steps have the id `{}`", link.id),
            _ => format!("`{}` is also the id of a step that has no `id` of its own", link.id),
        };
        findings
            .push(Finding::new(&link.span, "again", message).help("ids are unique in the file, `finally` included"));
    }
}
