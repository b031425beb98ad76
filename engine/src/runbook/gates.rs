//! `windows`, and a `wait` or `approve` step of the tree -> their models, and what cannot be right about it.

use std::num::NonZeroU32;
use std::time::Duration;

use super::check::visible;
use super::model::{Approve, Wait};
use super::node::{Data, Node};
use super::places::{Place, Places};
use super::report::Finding;
use super::steps::{count, time};
use crate::limits;
use crate::schedule::calendar::{Deny, Freeze, Windows};
use crate::schedule::moment;
use crate::schedule::window::Window;
use crate::units::format_duration;

/// Nothing is started, so nothing can be said about how.
pub const IDLE_KEYS: &[&str] = &[
    "timeout", "grace", "retry", "on-lost", "lease", "orphans", "outputs", "env", "cwd", "secrets", "runs-on", "host",
    "check", "undo",
];

/// `None` where it is wrong, which has been reported.
pub fn wait<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Option<Wait> {
    if let Data::Map(_) = node.data {
        if let Some(node) = node.get("until") {
            return until(places, node, place);
        }
        if let Some(node) = node.get("window") {
            return Window::parse(node.text()?).ok().map(Wait::Window);
        }
        return duration(places, node.get("for")?).map(Wait::For);
    }
    duration(places, node).map(Wait::For)
}

/// A time to wait, which has its limit.
pub fn duration(places: &mut Places<'_>, node: &Node) -> Option<Duration> {
    let duration = time(Some(node))?;
    if duration.as_millis() > u128::from(limits::WAIT_MS_MAX) {
        let message = format!("this waits for {}; at most {} are possible", duration_of(node), most());
        places.findings.push(Finding::new(&visible(node), "too long", message));
    }
    Some(duration)
}

fn duration_of(node: &Node) -> String {
    node.text().unwrap_or_default().to_owned()
}

fn most() -> String {
    format_duration(Duration::from_millis(limits::WAIT_MS_MAX))
}

/// Fixed text is looked at now; what comes from a value when its turn has come.
fn until<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Option<Wait> {
    let template = places.template(node, place)?;
    if template.expressions().next().is_none()
        && let Err((message, help)) = moment::parse(&template.source(), 0)
    {
        places.findings.push(Finding::new(&visible(node), "not right", message).maybe_help(help));
    }
    Some(Wait::Until(template))
}

pub fn approve(places: &mut Places<'_>, step: &Node, node: &Node, finally: bool) -> Approve {
    let mut wrong = |node: &Node, what: &str, message: &str, help: &str| {
        places.findings.push(Finding::new(&visible(node), what, message).help(help));
    };
    if finally {
        wrong(node, "in `finally`", "nobody is asked in `finally`: it runs always", "ask in a step of `steps`");
    }
    if let Some((_, each)) = step.entry("for-each") {
        wrong(each, "without effect", "an approval is asked once, not for each item", "remove `for-each`");
    }
    let by: Vec<String> =
        node.get("by").map(Node::items).unwrap_or_default().iter().filter_map(Node::text).map(str::to_owned).collect();
    Approve {
        by,
        count: node.get("count").and_then(Node::int).and_then(count).unwrap_or(NonZeroU32::MIN),
        not_requester: node.get("not").is_some(),
        expires: node.get("expires").and_then(|node| duration(places, node)),
    }
}

/// What is wrong with one has been reported by the checker.
pub fn windows(root: &Node) -> Windows {
    let list = |key: &str| root.get("windows").and_then(|node| node.get(key)).map(Node::items).unwrap_or_default();
    let window = |node: &Node| Window::parse(node.text()?).ok();
    let date = |node: &Node, key: &str| node.get(key)?.text()?.parse().ok();
    let freeze = |node: &Node| {
        let reason = node.get("reason").and_then(Node::text).map(str::to_owned);
        Some(Freeze { from: date(node, "from")?, to: date(node, "to")?, reason })
    };
    let deny = |node: &Node| window(node).map(Deny::Window).or_else(|| freeze(node).map(Deny::Freeze));
    Windows {
        allow: list("allow").iter().filter_map(window).collect(),
        deny: list("deny").iter().filter_map(deny).collect(),
    }
}
