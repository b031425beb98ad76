//! `secrets:` of a runbook and of its steps: where they come from, and who receives which.
//!
//! Only names and places are known here, and so in everything that is recorded. Values are found where a step starts, each
//! time anew, and never come near the engine.

use std::collections::HashSet;
use std::fmt;

use super::model::Spanned;
use super::node::Node;
use super::report::{Finding, GUESSES_MAX, did_you_mean};

/// A secret of a runbook. Steps name it by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub name: String,
    pub provider: Provider,
}

/// Where a secret comes from, on the machine that runs the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// An environment variable of runward.
    Env(String),
    /// The content of a file, by its absolute path.
    File(String),
    /// What a program prints: its argv.
    Exec(Vec<String>),
    /// A name in the sealed file of the machine.
    Sealed(String),
}

/// A secret that a step receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub name: String,
    pub form: Form,
}

/// How a step receives a secret: always by an environment variable of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The variable is the value.
    Variable,
    /// The variable is the path of a file with the value.
    File,
}

impl fmt::Display for Provider {
    /// For people: which place, never a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Provider::Env(name) => write!(f, "the environment variable {name}"),
            Provider::File(path) => write!(f, "the file {path}"),
            // Arguments may be many, and are in the plan.
            Provider::Exec(argv) => write!(f, "the program {}", argv.first().map_or("", String::as_str)),
            Provider::Sealed(name) => write!(f, "the sealed secret {name}"),
        }
    }
}

/// The secrets of a runbook, in file order. What is not well-formed has been reported by the checker.
pub fn read(root: &Node) -> Vec<Secret> {
    let declared = root.get("secrets").map(Node::entries).unwrap_or_default();
    declared
        .iter()
        .filter_map(|(key, node)| Some(Secret { name: key.text.clone(), provider: provider(node)? }))
        .collect()
}

fn provider(node: &Node) -> Option<Provider> {
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let argv = || node.get("exec").map(|argv| argv.items().iter().filter_map(Node::text).map(str::to_owned).collect());
    text("env")
        .map(Provider::Env)
        .or_else(|| text("file").map(Provider::File))
        .or_else(|| text("sealed").map(Provider::Sealed))
        .or_else(|| argv().map(Provider::Exec))
}

/// The secrets that a step receives: `[NAME, {file: NAME}]`.
pub fn received(node: Option<&Node>) -> Vec<Received> {
    named(node).map(|(name, form)| Received { name: name.value, form }).collect()
}

fn named(node: Option<&Node>) -> impl Iterator<Item = (Spanned<String>, Form)> {
    node.map(Node::items).unwrap_or_default().iter().filter_map(|item| {
        let (node, form) = match item.get("file") {
            Some(file) => (file, Form::File),
            None => (item, Form::Variable),
        };
        Some((Spanned { value: node.text()?.to_owned(), span: node.span.clone() }, form))
    })
}

/// Every secret that a step receives is declared, every declared one is received, and each has one meaning.
pub fn check(root: &Node, steps: &[&Node], findings: &mut Vec<Finding>) {
    let declared = root.get("secrets").map(Node::entries).unwrap_or_default();
    let names: HashSet<&str> = declared.iter().map(|(key, _)| key.text.as_str()).collect();
    let mut used = HashSet::new();
    for step in steps.iter().copied().chain(root.get("defaults")) {
        let mut here = HashSet::new();
        for (name, _) in named(step.get("secrets")) {
            if !names.contains(name.value.as_str()) {
                let help = (findings.len() < GUESSES_MAX)
                    .then(|| did_you_mean(&name.value, declared.iter().map(|(key, _)| key.text.as_str())))
                    .flatten()
                    .unwrap_or_else(|| "declare it under `secrets:` at the top".into());
                let message = format!("`{}` is not a secret of this runbook", name.value);
                findings.push(Finding::new(&name.span, "unknown", message).help(help));
            } else if step.get("env").is_some_and(|env| env.get(&name.value).is_some()) {
                let message = format!("`{}` is a variable of this step's `env` as well", name.value);
                findings.push(Finding::new(&name.span, "again", message).help("give one of them another name"));
            } else if here.contains(&name.value) {
                let message = format!("this step receives the secret `{}` twice", name.value);
                findings.push(Finding::new(&name.span, "again", message).help("name it once"));
            }
            here.insert(name.value.clone());
            used.insert(name.value);
        }
    }
    for (key, node) in declared {
        if !used.contains(&key.text) {
            let message = format!("no step receives the secret `{}`", key.text);
            let help = "name it in the `secrets` of a step, or remove it";
            findings.push(Finding::new(&key.span, "never used", message).help(help));
        }
        let file = node.get("file").and_then(|node| Some((node, node.text()?)));
        if let Some((node, path)) = file.filter(|(_, path)| !path.starts_with('/')) {
            let message = format!("`{path}` must be an absolute path: it is read on the machine that runs the step");
            findings.push(
                Finding::new(&node.span, "not absolute", message)
                    .help("write the whole path, such as `/etc/app/password`"),
            );
        }
    }
}
