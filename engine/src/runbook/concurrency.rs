//! `concurrency:`: the group whose runs must not overlap.

use std::num::NonZeroU32;

use super::check::visible;
use super::model::{Concurrency, Param, WhenBusy};
use super::node::Node;
use super::places::{Place, Places, Role};
use super::report::Finding;
use super::steps;
use crate::bind::{Reference, Template};

/// `None` where it is wrong, which has then been reported.
pub fn read<'n>(places: &mut Places<'n>, node: &'n Node, params: &[Param]) -> Option<Concurrency> {
    let group = node.get("group")?;
    let template = places.template(group, Place { step: None, role: Role::Top })?;
    let span = visible(group);
    if group.text().is_some_and(|text| text.trim().is_empty()) {
        let message = "`concurrency.group` is empty";
        places
            .findings
            .push(Finding::new(&span, "no name", message).help("name what the runs share: `group: pg-prod`"));
    }
    for (message, help) in complaints(&template, params) {
        places.findings.push(Finding::new(&span, "in this name", message).help(help));
    }
    Some(Concurrency {
        group: template,
        limit: node.get("limit").and_then(Node::int).and_then(steps::count).unwrap_or(NonZeroU32::MIN),
        when_busy: node.get("when-busy").and_then(Node::text).and_then(WhenBusy::named).unwrap_or_default(),
    })
}

/// It is evaluated when the run is asked for, and shown to everybody who waits.
fn complaints(template: &Template, params: &[Param]) -> Vec<(String, &'static str)> {
    let references = template.expressions().flat_map(|(expression, _)| &expression.references);
    references
        .filter_map(|(reference, _)| match reference {
            Reference::Param(name) => {
                let sensitive = params.iter().any(|param| param.sensitive && param.name == *name);
                sensitive.then(|| {
                    let message = format!("the name of a group is shown, and `params.{name}` is sensitive");
                    (message, "name the group by something else")
                })
            }
            // Said where names are looked up: nothing has run yet.
            Reference::Output { .. } | Reference::Status { .. } | Reference::Outcome(_) | Reference::Item => None,
            Reference::Index | Reference::Env(_) => None,
            Reference::Run(_) => Some((
                "the name of a group is made before there is a run: it can read parameters only".to_owned(),
                "use `${{ params.x }}`, or a fixed name",
            )),
        })
        .collect()
}
