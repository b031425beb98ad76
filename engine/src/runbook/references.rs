//! Is everything that is read also said? Names of parameters, steps, variables and items, and the places they may stand in.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::graph;
use super::model::{Action, CallRead, Param, Span, Step};
use super::places::{Places, Role, Site};
use super::report::{Finding, GUESSES_MAX, did_you_mean};
use crate::bind::Reference;
use crate::limits;

const RUN_FIELDS: [&str; 8] = ["id", "name", "status", "rollback", "trigger", "actor", "started_at", "generation"];

/// The parts of a file that expressions refer to.
pub struct Scope<'a> {
    pub params: &'a [Param],
    pub steps: &'a [Step],
    pub main_len: usize,
    /// An order of the steps in which needs come first; `None` where there are cycles.
    pub order: Option<&'a [usize]>,
    pub edges: &'a [Vec<usize>],
}

/// What is read somewhere.
pub struct Read {
    pub params: BTreeSet<String>,
    /// Outputs of `runbook` steps, which this file alone does not know.
    pub calls: Vec<CallRead>,
}

/// Checks every site.
pub fn check(places: &mut Places<'_>, scope: &Scope<'_>) -> Read {
    let sites = std::mem::take(&mut places.sites);
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (n, step) in scope.steps.iter().enumerate() {
        index.entry(&step.id).or_insert(n);
    }
    let params: HashSet<&str> = scope.params.iter().map(|param| param.name.as_str()).collect();
    let mut variables = Variables::default();
    let mut used = BTreeSet::new();
    let mut ancestry = Vec::new();
    for site in &sites {
        if places.findings.len() > limits::FINDINGS_KEPT_MAX {
            places.unclear = true;
            break;
        }
        let guesses = places.findings.len() < GUESSES_MAX;
        let complaint = match &site.reference {
            Reference::Param(name) => {
                if !used.contains(name) {
                    used.insert(name.clone());
                }
                if params.contains(name.as_str()) { None } else { unknown_param(name, scope, guesses) }
            }
            Reference::Output { step, .. } | Reference::Status { step } => {
                match (index.get(step.as_str()), site.place.step) {
                    (None, _) => Some((
                        format!("no step has the id `{step}`"),
                        guesses.then(|| did_you_mean(step, scope.steps.iter().map(|step| step.id.as_str()))).flatten(),
                    )),
                    (Some(&other), None) if site.place.role == Role::End => {
                        unknown_output(&scope.steps[other], &site.reference)
                    }
                    (Some(_), None) => Some((format!("no step has run yet where this is read: `{step}`"), None)),
                    (Some(&other), Some(reader)) => {
                        ancestry.push((site, reader, other));
                        unknown_output(&scope.steps[other], &site.reference)
                    }
                }
            }
            Reference::Run(field) => run_field(field),
            Reference::Item | Reference::Index => item(site, scope),
            Reference::Env(name) => env(name, site, scope, &mut variables, guesses),
            Reference::Outcome(name) => outcome(name, site, scope),
        };
        if let Some((message, help)) = complaint {
            places.unclear = true;
            let span = places.span(site);
            places.findings.push(Finding::new(&span, "here", message).maybe_help(help));
        }
    }
    check_ancestry(places, scope, &ancestry);
    let calls = sites.iter().filter_map(|site| {
        let Reference::Output { step, key } = &site.reference else { return None };
        let step = *index.get(step.as_str())?;
        let calls = matches!(scope.steps[step].action, Action::Runbook(_));
        calls.then(|| CallRead { step, key: key.clone(), span: places.span(site) })
    });
    Read { calls: calls.collect(), params: used }
}

/// What is wrong, and what to write instead.
pub type Complaint = Option<(String, Option<String>)>;

/// What runward itself writes is known; a program may write anything.
pub fn unknown_output(step: &Step, reference: &Reference) -> Complaint {
    let (Reference::Output { key, .. }, Some(known)) = (reference, step.own_outputs()) else { return None };
    (!known.contains(&key.as_str())).then(|| {
        let all = || format!("it has {}", known.join(", "));
        let help = did_you_mean(key, known.iter().copied()).unwrap_or_else(all);
        (format!("the step `{}` has no output `{key}`", step.id), Some(help))
    })
}

fn unknown_param(name: &str, scope: &Scope<'_>, guesses: bool) -> Complaint {
    let names = || did_you_mean(name, scope.params.iter().map(|param| param.name.as_str()));
    let help = guesses.then(names).flatten();
    Some((
        format!("`{name}` is not a parameter of this runbook"),
        help.or_else(|| Some(format!("declare it: `params: {{{name}: {{type: string}}}}`"))),
    ))
}

fn run_field(field: &str) -> Complaint {
    let known = RUN_FIELDS.contains(&field);
    (!known).then(|| {
        let help = did_you_mean(field, RUN_FIELDS).unwrap_or_else(|| format!("one of: {}", RUN_FIELDS.join(", ")));
        (format!("a run has no `{field}`"), Some(help))
    })
}

fn item(site: &Site<'_>, scope: &Scope<'_>) -> Complaint {
    let name = if site.reference == Reference::Item { "item" } else { "index" };
    let step = site.place.step.and_then(|step| scope.steps.get(step));
    match (site.place.role, step) {
        (Role::Body | Role::Env | Role::Undo, Some(step)) if step.for_each.is_some() => None,
        (Role::Before | Role::Outcome, Some(step)) if step.for_each.is_some() => {
            Some((format!("`{name}` is not known here: this is decided once, before there are items"), None))
        }
        _ => Some((format!("`{name}` stands outside a `for-each`"), None)),
    }
}

/// The variables of the step that was asked for last: sites come step by step.
#[derive(Default)]
struct Variables<'a> {
    step: Option<usize>,
    names: HashSet<&'a str>,
}

fn env<'a>(name: &str, site: &Site<'_>, scope: &Scope<'a>, variables: &mut Variables<'a>, guesses: bool) -> Complaint {
    if site.place.role == Role::Env {
        return Some(("a value of `env` cannot read `env`".into(), Some("repeat the expression".into())));
    }
    if variables.step != site.place.step {
        let step = site.place.step.and_then(|step| scope.steps.get(step));
        let declared = step.map(|step| &step.env[..]).unwrap_or_default();
        let names = declared.iter().map(|(variable, _)| variable.as_str()).collect();
        *variables = Variables { step: site.place.step, names };
    }
    if variables.names.contains(name) {
        return None;
    }
    let help = guesses.then(|| did_you_mean(name, variables.names.iter().copied())).flatten();
    Some((
        format!("`{name}` is not declared in the `env` of this step"),
        help.or_else(|| Some("only variables that the runbook declares can be read".into())),
    ))
}

fn outcome(name: &str, site: &Site<'_>, _scope: &Scope<'_>) -> Complaint {
    (site.place.role != Role::Outcome).then(|| {
        (
            format!("`{name}()` can only stand in the `if` of a step of `finally`"),
            Some("move the step to `finally`".into()),
        )
    })
}

/// A step reads only what is certain to have ended before it: the steps it needs, directly or through others; a step of
/// `finally` reads every main step.
fn check_ancestry(places: &mut Places<'_>, scope: &Scope<'_>, asked: &[(&Site<'_>, usize, usize)]) {
    let Some(order) = scope.order else { return };
    let questions: Vec<(usize, usize)> = asked.iter().map(|(_, reader, other)| (*reader, *other)).collect();
    let answers = graph::needs_among(order, scope.edges, &questions);
    for ((site, reader, other), needed) in asked.iter().zip(answers) {
        let after_main = *reader >= scope.main_len && *other < scope.main_len;
        // What takes a step back runs after it.
        let own = reader == other && site.place.role == Role::Undo;
        if needed || after_main || own {
            continue;
        }
        let (id, other_id) = (&scope.steps[*reader].id, &scope.steps[*other].id);
        let message = if reader == other {
            format!("`{id}` reads its own result")
        } else {
            format!("`{id}` reads `{other_id}` but does not need it, so it may not have run yet")
        };
        let span = places.span(site);
        let help = (reader != other && *other < scope.main_len).then(|| format!("add `{other_id}` to its `needs`"));
        places.findings.push(Finding::new(&span, "not known here", message).maybe_help(help));
    }
}

/// A parameter that nothing reads is a mistake: a value a person gives would have no effect.
pub fn unused(params: &[Param], used: &BTreeSet<String>, findings: &mut Vec<Finding>) {
    for param in params.iter().filter(|param| !used.contains(&param.name)) {
        let span: &Span = &param.span;
        let message = format!("nothing reads the parameter `{}`", param.name);
        findings.push(
            Finding::new(span, "never read", message)
                .help(format!("use `${{{{ params.{} }}}}` or remove it", param.name)),
        );
    }
}
