//! An `http` step of the tree -> its model, and what cannot be right about it.

use std::time::Duration;

use super::model::{Expect, Http, Poll};
use super::node::{Data, Node};
use super::places::{Place, Places};
use super::report::Finding;
use super::steps::time;
use crate::bind::{JsonTemplate, UrlTemplate};

/// Between two requests of `until`, where `every` says nothing.
const EVERY_DEFAULT: Duration = Duration::from_secs(5);
/// What the connection is about; runward writes these itself.
const OWN_HEADERS: [&str; 4] = ["content-length", "transfer-encoding", "connection", "upgrade"];

/// `timeout`: of the step, which has to leave room for `until`. `None` where the URL is wrong, which has been reported.
pub fn read<'n>(places: &mut Places<'n>, node: &'n Node, timeout: Duration, place: Place) -> Option<Http> {
    let url = node.get("url").and_then(|node| url(places, node, place));
    let method = node.get("method").and_then(Node::text).unwrap_or("GET").to_owned();
    let poll =
        time(node.get("until")).map(|until| Poll { until, every: time(node.get("every")).unwrap_or(EVERY_DEFAULT) });
    contradictions(places, node, &method);
    room(places, node, poll, timeout);
    let headers = headers(places, node, place);
    let body = node.get("body").and_then(|node| places.template(node, place));
    let json_body = node.get("json").and_then(|node| json(places, node, place));
    let expect = node.get("expect");
    let expect = Expect {
        status: expect.and_then(|node| node.get("status")).map(statuses).unwrap_or_default(),
        json: expect.and_then(|node| node.get("json")).and_then(|node| json(places, node, place)),
        contains: expect.and_then(|node| node.get("contains")).and_then(|node| places.template(node, place)),
    };
    Some(Http { url: url?, method, headers, body, json: json_body, expect, poll })
}

fn url<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Option<UrlTemplate> {
    let template = places.template(node, place)?;
    UrlTemplate::compile(&template).map_err(|error| places.reject(node, vec![error])).ok()
}

fn headers<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Vec<(String, crate::bind::Template)> {
    let mut headers = Vec::new();
    for (key, value) in node.get("headers").map(Node::entries).unwrap_or_default() {
        let lower = key.text.to_ascii_lowercase();
        if OWN_HEADERS.contains(&lower.as_str()) {
            let message = format!("the header `{}` is written by runward itself", key.text);
            places.findings.push(Finding::new(&key.span, "not yours", message).help("remove it"));
        }
        if headers.iter().any(|(name, _)| *name == lower) {
            let message = format!("the header `{}` stands here twice: upper and lower case mean the same", key.text);
            places.findings.push(Finding::new(&key.span, "again", message));
        }
        if value.text().is_some_and(|text| text.contains(|c: char| c.is_control() && c != '\t')) {
            let message = format!("the header `{}` has a line break or another control character in it", key.text);
            places.findings.push(Finding::new(&value.span, "not one line", message).help("write it on one line"));
        }
        headers.extend(places.template(value, place).map(|template| (lower, template)));
    }
    headers
}

fn statuses(node: &Node) -> Vec<u16> {
    node.items().iter().filter_map(Node::int).filter_map(|status| u16::try_from(status).ok()).collect()
}

/// JSON of the author; a text in it is a template.
pub(super) fn json<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Option<JsonTemplate> {
    Some(match &node.data {
        Data::Text(_) => JsonTemplate::Text(places.template(node, place)?),
        Data::List(items) => {
            let items: Vec<_> = items.iter().map(|item| json(places, item, place)).collect();
            JsonTemplate::List(items.into_iter().collect::<Option<_>>()?)
        }
        Data::Map(entries) => {
            for (key, _) in entries.iter().filter(|(key, _)| key.text.contains("${{")) {
                let message = "`${{ }}` is not evaluated in the names of JSON";
                let help = "write the name out; or give the whole map as one value: `json: ${{ params.x }}`";
                places.findings.push(Finding::new(&key.span, "a name", message).help(help));
            }
            let entries: Vec<_> =
                entries.iter().map(|(key, node)| Some((key.text.clone(), json(places, node, place)?))).collect();
            JsonTemplate::Map(entries.into_iter().collect::<Option<_>>()?)
        }
        Data::Null => JsonTemplate::Null,
        Data::Flag(flag) => JsonTemplate::Flag(*flag),
        Data::Int(int) => JsonTemplate::Number((*int).into()),
        Data::Float(float) => JsonTemplate::Number(serde_json::Number::from_f64(*float)?),
    })
}

/// Keys that cannot both be meant.
fn contradictions(places: &mut Places<'_>, node: &Node, method: &str) {
    let mut report = |key: Option<&super::node::Key>, label: &str, message: String, help: &str| {
        if let Some(key) = key {
            places.findings.push(Finding::new(&key.span, label, message).help(help));
        }
    };
    let key = |name: &str| node.entry(name).map(|(key, _)| key);
    if node.get("until").is_none() {
        report(key("every"), "alone", "`every` means nothing without `until`".into(), "add `until: 5m`, or remove it");
    }
    if key("body").is_some() {
        report(key("json"), "one too many", "a request has `body` or `json`, not both".into(), "keep one of them");
    }
    if matches!(method, "GET" | "HEAD") {
        let message = format!("a {method} request has no body");
        let help =
            if node.get("method").is_some() { "remove it, or write `method: POST`" } else { "write `method: POST`" };
        report(key("body").or(key("json")), "with a body", message, help);
    }
    if let Some(expect) = node.get("expect").filter(|_| method == "HEAD") {
        let key = expect.entry("json").or(expect.entry("contains")).map(|(key, _)| key);
        report(key, "no answer to look into", "the answer to HEAD has no body".into(), "write `method: GET`");
    }
}

/// The step must not be timed out while it still may ask.
fn room(places: &mut Places<'_>, node: &Node, poll: Option<Poll>, timeout: Duration) {
    if let (Some(poll), Some((key, _))) = (poll, node.entry("until"))
        && poll.until > timeout
    {
        let shown = crate::units::format_duration;
        let message = format!("`until` is {}, but the step times out after {}", shown(poll.until), shown(timeout));
        let help = "give the step a longer `timeout` (the default is 10m)";
        places.findings.push(Finding::new(&key.span, "too long", message).help(help));
    }
}
