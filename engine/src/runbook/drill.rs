//! `drill:` of a runbook: the same procedure against a target that nobody misses.
//!
//! A drill is a runbook of its own, made from the file by putting its scratch values, secrets and connections where the real ones
//! stand ([`Runbook::drilled`]). Nothing of the real ones is left in it, so nothing that carries a run out has to know of drills.
//! That there is a word for each of them is checked whenever the file is: what a drill is not told of is refused, never inherited.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::check::visible;
use super::model::{Action, Items, Param, Runbook, Step};
use super::node::{Key, Node};
use super::report::{Finding, did_you_mean};
use super::secrets::{self, Provider, Secret};
use super::{triggers, value};
use crate::bind::{Expression, Reference, Template};

/// Behind the name of a runbook: whatever goes by it (lists, history, notifications, groups) keeps drills apart.
pub const SUFFIX: &str = ".drill";

/// What a drill gets in place of what is real.
#[derive(Debug, Clone, PartialEq)]
pub struct Drill {
    /// Parameters that nobody else gives a value.
    pub with: Map<String, Value>,
    /// Parameters that whoever starts it may give.
    pub free: BTreeSet<String>,
    pub secrets: Vec<Secret>,
    /// By the name that the steps use.
    pub connections: BTreeMap<String, String>,
}

/// Nobody has said what a drill of it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this runbook has no `drill:`, so nobody has said what a drill of it may touch")]
pub struct NoDrill;

impl Runbook {
    /// The drill of it. It has no schedules of its own.
    pub fn drilled(mut self) -> Result<Runbook, NoDrill> {
        let drill = self.drill.clone().ok_or(NoDrill)?;
        for param in &mut self.params {
            match drill.with.get(&param.name) {
                Some(value) => {
                    (param.default, param.choices) = (Some(value.clone()), Some(vec![value.clone()]));
                    param.required = false;
                }
                None if drill.free.contains(&param.name) => {}
                None => return Err(NoDrill),
            }
        }
        for step in &mut self.steps {
            if let Action::Sql(sql) = &mut step.action {
                sql.connection = drill.connections.get(&sql.connection).cloned().ok_or(NoDrill)?;
            }
        }
        self.secrets = drill.secrets;
        self.schedules.clear();
        self.is_drill = true;
        Ok(self)
    }
}

/// What the file says of drills. It has been checked.
pub fn read(root: &Node, params: &[Param]) -> Option<Drill> {
    let node = root.get("drill")?;
    let typed = |(key, node): &(Key, Node)| {
        let param = params.iter().find(|param| param.name == key.text)?;
        Some((key.text.clone(), value::from_node(param.kind, node).ok()?))
    };
    let texts = |(key, node): &(Key, Node)| Some((key.text.clone(), node.text()?.to_owned()));
    Some(Drill {
        with: entries(node, "with").iter().filter_map(typed).collect(),
        free: free(node).filter_map(Node::text).map(str::to_owned).collect(),
        secrets: secrets::read(node),
        connections: entries(node, "connections").iter().filter_map(texts).collect(),
    })
}

/// Whether everything that is real has a counterpart, and nothing is its own.
pub fn check(root: &Node, params: &[Param], steps: &[Step], findings: &mut Vec<Finding>) {
    let Some((key, node)) = root.entry("drill") else { return };
    let told = |span, label: &str, message: String, help: String| Finding::new(span, label, message).help(help);
    triggers::given(node.get("with"), &triggers::Known::new(params), true, findings);
    let given = |name: &str| entries(node, "with").iter().any(|(key, _)| key.text == name);
    let names: Vec<&str> = params.iter().map(|param| param.name.as_str()).collect();
    for item in free(node).filter(|item| item.text().is_some_and(|name| !names.contains(&name))) {
        let name = item.text().unwrap_or_default();
        let message = format!("`{name}` is not a parameter of this runbook");
        let help = did_you_mean(name, names.iter().copied());
        findings.push(Finding::new(&item.span, "unknown", message).maybe_help(help));
    }
    for item in free(node).filter(|item| item.text().is_some_and(given)) {
        let message =
            format!("`{}` has a value in `with`, and cannot be free as well", item.text().unwrap_or_default());
        findings.push(told(&item.span, "twice", message, "take it out of one of them".to_owned()));
    }
    let is_free = |name: &str| free(node).any(|item| item.text() == Some(name));
    for name in names.iter().filter(|name| !given(name) && !is_free(name)) {
        let message = format!("nobody has said what the parameter `{name}` is in a drill");
        let help = format!(
            "give it a value that is not the real one, `with: {{{name}: ...}}`; or, if it is harmless, `free: [{name}]`"
        );
        findings.push(told(&key.span, "no value", message, help));
    }
    counterparts(key, root, node, findings);
    connections(key, node, steps, findings);
    for step in steps.iter().filter(|step| step.host.as_ref().is_some_and(|host| !is_scratch(host, step, &given))) {
        let message = format!("nothing says that step `{}` runs on another host in a drill", step.id);
        let help = "let the host come from parameters that `drill.with` gives a value, and from nothing else: `host: ${{ \
                    params.host }}`, or `for-each: ${{ params.hosts }}` and `host: ${{ item }}`";
        findings.push(told(&step.span, "in this step", message, help.to_owned()));
    }
}

/// Whether a host is made of parameters that are fixed in a drill, and of nothing that could be real.
fn is_scratch(host: &Template, step: &Step, given: &dyn Fn(&str) -> bool) -> bool {
    let fixed = |reference: &Reference| matches!(reference, Reference::Param(name) if given(name));
    let all_fixed =
        |it: &Expression| !it.references.is_empty() && it.references.iter().all(|(reference, _)| fixed(reference));
    let item = || match step.for_each.as_ref().map(|each| &each.items) {
        Some(Items::Expression(expression)) => all_fixed(expression),
        _ => false,
    };
    let of = |reference: &Reference| fixed(reference) || *reference == Reference::Item && item();
    let scratch =
        |it: &Expression| !it.references.is_empty() && it.references.iter().all(|(reference, _)| of(reference));
    host.expressions().next().is_some() && host.expressions().all(|(expression, _)| scratch(expression))
}

/// Each secret has one of its own in a drill, which is none of the real ones, under whatever name.
fn counterparts(key: &Key, root: &Node, node: &Node, findings: &mut Vec<Finding>) {
    let (real, own) = (secrets::read(root), secrets::read(node));
    for secret in real.iter().filter(|secret| own.iter().all(|one| one.name != secret.name)) {
        let message = format!("nobody has said what the secret `{}` is in a drill", secret.name);
        let help = "add it to `drill.secrets`, with one that opens nothing real";
        findings.push(Finding::new(&key.span, "no counterpart", message).help(help));
    }
    for (name, _) in entries(node, "secrets") {
        let Some(one) = own.iter().find(|one| one.name == name.text) else { continue };
        if let Some(same) = real.iter().find(|secret| plain(&secret.provider) == plain(&one.provider)) {
            let message = format!("this is the real secret `{}`", same.name);
            findings.push(Finding::new(&name.span, "real", message).help("name one that only drills use"));
        }
        if real.iter().all(|secret| secret.name != one.name) {
            let message = format!("`{}` is not a secret of this runbook", one.name);
            let help = did_you_mean(&one.name, real.iter().map(|secret| secret.name.as_str()));
            findings.push(Finding::new(&name.span, "unknown", message).maybe_help(help));
        }
    }
}

/// The same place, however its path is written.
fn plain(provider: &Provider) -> Provider {
    let path = |text: &String| {
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." { _ = parts.pop() } else { parts.push(part) }
        }
        if text.starts_with('/') { format!("/{}", parts.join("/")) } else { text.clone() }
    };
    match provider {
        Provider::File(file) => Provider::File(path(file)),
        Provider::Exec(argv) => Provider::Exec(argv.iter().map(path).collect()),
        other => other.clone(),
    }
}

/// The connections that steps use are real; no drill gets any of them, under whatever name.
fn connections(key: &Key, node: &Node, steps: &[Step], findings: &mut Vec<Finding>) {
    let used = steps.iter().filter_map(|step| match &step.action {
        Action::Sql(sql) => Some(sql.connection.as_str()),
        _ => None,
    });
    let real: BTreeSet<&str> = used.collect();
    let own = entries(node, "connections");
    for name in real.iter().filter(|name| own.iter().all(|(key, _)| key.text != **name)) {
        let message = format!("nobody has said what the connection `{name}` is in a drill");
        let help = format!(
            "`drill: {{connections: {{{name}: SCRATCH}}}}`, with one of the configuration that reaches nothing real"
        );
        findings.push(Finding::new(&key.span, "no counterpart", message).help(help));
    }
    for (key, node) in own {
        if !real.contains(key.text.as_str()) {
            let message = format!("no step uses the connection `{}`", key.text);
            findings.push(Finding::new(&key.span, "unknown", message).help("take it out"));
        } else if node.text().is_some_and(|name| real.contains(name)) {
            let message = format!("`{}` is a real connection", node.text().unwrap_or_default());
            findings.push(Finding::new(&visible(node), "real", message).help("name one that only drills use"));
        }
    }
}

fn entries<'n>(node: &'n Node, key: &str) -> &'n [(Key, Node)] {
    node.get(key).map(Node::entries).unwrap_or_default()
}

fn free(node: &Node) -> impl Iterator<Item = &Node> {
    node.get("free").map(Node::items).unwrap_or_default().iter()
}
