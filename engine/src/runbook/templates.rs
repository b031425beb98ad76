//! The files that `render` steps name: checked against the runbook, once somebody has read them.
//!
//! The parser looks at no file. Whoever has both asks here, and shows each report with its own file.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::model::{Action, Render, Runbook, Step};
use super::references::{self, Complaint};
use super::report::{Finding, Report, did_you_mean};
use crate::bind::{Document, Reference};

/// Templates that can be rendered, by their path in the runbook's folder.
pub type Templates = BTreeMap<String, Document>;

/// What is wrong, and in which file: the path of a template, or `None` for the runbook itself.
pub type Problems = Vec<(Option<String>, Report)>;

/// Every `render` step, with its index.
pub fn renders(runbook: &Runbook) -> impl Iterator<Item = (usize, &Step, &Render)> {
    runbook.steps.iter().enumerate().filter_map(|(n, step)| match &step.action {
        Action::Render(render) => Some((n, step, &**render)),
        _ => None,
    })
}

/// `texts`: the bytes of the templates; one that is missing does not exist.
pub fn check(runbook: &Runbook, texts: &BTreeMap<String, Vec<u8>>) -> Result<Templates, Problems> {
    let (mut templates, mut problems, mut own) = (Templates::new(), Problems::new(), Vec::new());
    let paths: BTreeSet<&str> = renders(runbook).map(|(.., render)| render.template.value.as_str()).collect();
    for path in paths {
        match texts.get(path).map(|bytes| read(bytes)) {
            Some(Ok(document)) => _ = templates.insert(path.to_owned(), document),
            Some(Err(report)) => problems.push((Some(path.to_owned()), report)),
            None => {}
        }
    }
    let mut unread: BTreeSet<&str> = runbook.unread.iter().map(String::as_str).collect();
    let mut found: BTreeMap<&str, Vec<Finding>> = BTreeMap::new();
    for (n, step, render) in renders(runbook) {
        let path = render.template.value.as_str();
        let Some(document) = templates.get(path) else {
            if !texts.contains_key(path) {
                let message = format!("the template `{path}` does not exist");
                let help = "its path is relative to the folder of the runbook";
                own.push(Finding::new(&render.template.span, "no such file", message).help(help));
            }
            continue;
        };
        for (reference, _) in &document.references {
            if let Reference::Param(name) = reference {
                unread.remove(name.as_str());
            }
        }
        if document.reads_all_params {
            unread.clear();
        }
        let complaints = found.entry(path).or_default();
        complaints.extend(document.references.iter().filter_map(|(reference, range)| {
            let (message, help) = complaint(runbook, n, step, reference)?;
            Some(Finding::new(range, "here", message).maybe_help(help))
        }));
    }
    problems.extend(
        found.into_iter().filter(|(_, it)| !it.is_empty()).map(|(path, it)| (Some(path.to_owned()), Report::new(it))),
    );
    if problems.is_empty() && own.is_empty() && !unread.is_empty() && renders(runbook).next().is_some() {
        let used = runbook.params.iter().map(|param| param.name.clone()).filter(|name| !unread.contains(name.as_str()));
        references::unused(&runbook.params, &used.collect(), &mut own);
    }
    if !own.is_empty() {
        problems.insert(0, (None, Report::new(own)));
    }
    if problems.is_empty() { Ok(templates) } else { Err(problems) }
}

/// Reads one template by itself.
pub fn read(bytes: &[u8]) -> Result<Document, Report> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Report::one(Finding::new(&(at..at), "not UTF-8", format!("byte {at} of this template is not UTF-8")))
    })?;
    Document::parse(text).map_err(|errors| {
        let finding = |error: crate::bind::expression::ExpressionError| {
            Finding::new(&error.range, "here", error.message).maybe_help(error.help)
        };
        Report::new(errors.into_iter().map(finding).collect())
    })
}

fn complaint(runbook: &Runbook, n: usize, step: &Step, reference: &Reference) -> Complaint {
    match reference {
        Reference::Param(name) => {
            let names = || runbook.params.iter().map(|param| param.name.as_str());
            let help = || did_you_mean(name, names()).unwrap_or_else(|| "declare it in the runbook's `params`".into());
            let known = names().any(|known| known == name);
            (!known).then(|| (format!("`{name}` is not a parameter of the runbook"), Some(help())))
        }
        Reference::Output { step: other, .. } | Reference::Status { step: other } => {
            let target = || runbook.steps.iter().find(|step| step.id == *other);
            earlier(runbook, n, step, other).or_else(|| references::unknown_output(target()?, reference))
        }
        Reference::Item | Reference::Index if step.for_each.is_none() => {
            Some((format!("the step `{}` that renders this has no `for-each`: there is no item", step.id), None))
        }
        Reference::Env(name) => {
            let names: HashSet<&str> = step.env.iter().map(|(name, _)| name.as_str()).collect();
            (!names.contains(name.as_str())).then(|| {
                let help = did_you_mean(name, names).unwrap_or_else(|| "declare it there".into());
                (format!("`{name}` is not declared in the `env` of the step `{}`", step.id), Some(help))
            })
        }
        Reference::Outcome(_) | Reference::Item | Reference::Index | Reference::Run(_) => None,
    }
}

/// A template reads only steps that are certain to have ended.
fn earlier(runbook: &Runbook, n: usize, step: &Step, other: &str) -> Complaint {
    let Some(at) = runbook.step_index(other) else {
        let help = did_you_mean(other, runbook.steps.iter().map(|step| step.id.as_str()));
        return Some((format!("no step has the id `{other}`"), help));
    };
    if runbook.is_finally(n) && !runbook.is_finally(at) {
        return None;
    }
    let (mut seen, mut ahead) = (HashSet::new(), step.needs.clone());
    while let Some(need) = ahead.pop() {
        if seen.insert(need) {
            ahead.extend(&runbook.steps[need].needs);
        }
    }
    let needed = seen.contains(&at);
    (!needed).then(|| {
        let message = format!("`{}` renders this, but does not need `{other}`, which may not have run yet", step.id);
        (message, Some(format!("add `{other}` to the `needs` of `{}`", step.id)))
    })
}
