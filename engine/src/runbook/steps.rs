//! A step of the tree, with the defaults under it -> a step of the model.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use super::graph::Link;
use super::model::{
    Action, Argument, Call, Check, ForEach, Jitter, Lease, OnLost, Orphans, Render, Retry, Script, Shell, Span,
    Spanned, Step, Undo, ValueType,
};
use super::node::{Data, Node};
use super::places::{Place, Places, Role};
use super::report::Finding;
use super::{gates, notify, tables};
use crate::limits;
use crate::units::parse_duration;

/// A step's keys: its own, and those of `defaults:` that it does not have.
#[derive(Clone, Copy)]
struct Keys<'n> {
    own: &'n Node,
    defaults: Option<&'n Node>,
}

impl<'n> Keys<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        let default = || self.defaults.filter(|_| tables::DEFAULTS.key(key).is_some()).and_then(|node| node.get(key));
        self.own.get(key).or_else(default)
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Node::flag).unwrap_or(false)
    }

    fn text(&self, key: &str) -> Option<&'n str> {
        self.get(key).and_then(Node::text)
    }
}

/// Whether the defaults are few enough to stand under so many steps; says so where they are not.
pub fn fit(defaults: &Node, steps: usize, findings: &mut Vec<Finding>) -> bool {
    let (mut values, mut bytes) = (0usize, 0usize);
    weigh(defaults, &mut values, &mut bytes);
    let (values_all, bytes_all) = (values.saturating_mul(steps), bytes.saturating_mul(steps));
    let message = if values_all > limits::DEFAULTS_MERGED_MAX {
        let max = limits::DEFAULTS_MERGED_MAX;
        format!("`defaults` gives {values} values to each of {steps} steps; at most {max} are possible together")
    } else if bytes_all > limits::DEFAULTS_MERGED_BYTES_MAX {
        let max = crate::units::format_size(limits::DEFAULTS_MERGED_BYTES_MAX as u64);
        format!("`defaults` gives {bytes} bytes to each of {steps} steps; at most {max} are possible together")
    } else {
        return true;
    };
    let help = "put the values into a file that the steps read, or into fewer runbooks of fewer steps";
    findings.push(Finding::new(&super::check::visible(defaults), "too much", message).help(help));
    false
}

fn weigh(node: &Node, values: &mut usize, bytes: &mut usize) {
    match &node.data {
        Data::Map(entries) => entries.iter().for_each(|(key, node)| {
            *bytes += key.text.len();
            weigh(node, values, bytes);
        }),
        Data::List(items) => items.iter().for_each(|item| weigh(item, values, bytes)),
        Data::Text(text) => {
            *values += 1 + text.matches("${{").count();
            *bytes += text.len();
        }
        _ => *values += 1,
    }
}

/// Reads one step. What is not well-formed has been reported by the checker; something harmless stands in its place, for
/// the file is refused anyway.
pub fn read<'n>(
    places: &mut Places<'n>,
    node: &'n Node,
    defaults: Option<&'n Node>,
    index: usize,
    main_len: usize,
) -> (Step, Link) {
    let keys = Keys { own: node, defaults };
    let finally = index >= main_len;
    let body = Place { step: Some(index), role: Role::Body };
    let link = link(node, index, main_len);
    let retry = keys.get("retry").map(retry);
    let timeout = time(keys.get("timeout")).unwrap_or(Duration::from_millis(limits::STEP_TIMEOUT_MS_DEFAULT));
    idle_keys(places, node);
    let step = Step {
        id: link.id.clone(),
        name: keys.text("name").map(str::to_owned),
        needs: Vec::new(),
        condition: keys.get("if").and_then(|node| {
            let role = if finally { Role::Outcome } else { Role::Before };
            places.condition(node, Place { step: Some(index), role })
        }),
        for_each: for_each(places, keys, index),
        action: action(places, keys, timeout, body, finally),
        runs_on: runs_on(keys),
        host: super::hosts::read(places, node, keys.get("host"), body),
        env: env(places, keys, Place { step: Some(index), role: Role::Env }),
        cwd: keys.get("cwd").and_then(|node| places.template(node, body)),
        timeout,
        grace: time(keys.get("grace")).unwrap_or(Duration::from_millis(limits::STEP_GRACE_MS_DEFAULT)),
        on_lost: on_lost(places, keys, retry.as_ref()),
        lease: lease(keys),
        retry,
        orphans: if keys.text("orphans") == Some("leave") { Orphans::Leave } else { Orphans::Kill },
        allow_failure: keys.flag("allow-failure"),
        outputs: if runs_a_program(node) { outputs(keys) } else { Vec::new() },
        secrets: if runs_a_program(node) { super::secrets::received(keys.get("secrets")) } else { Vec::new() },
        irreversible: keys.flag("irreversible"),
        check: check(places, keys, body).map(Box::new),
        undo: undo(places, keys, index, finally).map(Box::new),
        span: super::check::visible(node),
    };
    super::hosts::contradictions(&mut places.findings, node, &step);
    for key in tables::STEP.keys().filter(|key| !key.built) {
        if let Some(node) = keys.get(key.name) {
            places.scan(node, &key.shape, body);
        }
    }
    (step, link)
}

fn link(node: &Node, index: usize, main_len: usize) -> Link {
    let position = match index.checked_sub(main_len) {
        None => format!("step_{}", index + 1),
        Some(n) => format!("finally_{}", n + 1),
    };
    let id = node.get("id").and_then(|id| Some((id.text()?.to_owned(), id.span.clone())));
    let (id, span) = id.unwrap_or_else(|| (position, super::check::visible(node)));
    let named = |needs: &Node| -> Vec<(String, Span)> {
        needs.items().iter().filter_map(|need| Some((need.text()?.to_owned(), need.span.clone()))).collect()
    };
    Link { id, span, needs: node.get("needs").map(named) }
}

/// Keys of a step that mean nothing for its kind. (From `defaults` they are for the others.)
fn idle_keys(places: &mut Places<'_>, node: &Node) {
    let kinds: [(&str, &[&str]); 7] = [
        ("http", &["cwd", "orphans", "outputs", "secrets"]),
        ("sql", &["cwd", "orphans", "outputs", "secrets"]),
        ("render", &["orphans", "outputs", "secrets"]),
        ("runbook", &["check", "cwd", "env", "grace", "host", "lease", "orphans", "outputs", "runs-on", "secrets"]),
        ("wait", gates::IDLE_KEYS),
        ("approve", gates::IDLE_KEYS),
        ("notify", gates::IDLE_KEYS),
    ];
    let Some((kind, idle)) = kinds.into_iter().find(|(kind, _)| node.get(kind).is_some()) else { return };
    for (key, _) in idle.iter().filter_map(|name| node.entry(name)) {
        let message = format!("`{}` means nothing for a step of the kind `{kind}`", key.text);
        let help = match (key.text.as_str(), kind) {
            ("outputs", "http") => "its outputs are `status`, `headers`, `body` and `json`, with their types",
            ("outputs", "sql") => "its outputs are `rows`, `row_count`, `value` and `truncated`, with their types",
            ("outputs", "render") => "its output is `changed`, true or false",
            ("outputs", "runbook") => "its outputs are those that the called runbook declares under `outputs:`",
            ("env", "runbook") => "give the called runbook parameters: `with: {name: value}`",
            (_, "runbook") => "write it in the called runbook",
            ("outputs", "approve") => "its outputs are `who`, `when` and `comment`",
            ("secrets", "sql") => "the password belongs to the connection: `[connections.NAME]` in runward.toml",
            ("secrets", "http" | "render") => {
                "secrets never pass through `${{ }}`: let a `run` step do it, which finds them in its environment"
            }
            ("timeout", "approve") => "write `approve: {expires: ...}`",
            _ => "remove it",
        };
        places.findings.push(Finding::new(&key.span, "without effect", message).help(help));
    }
}

fn shell(keys: Keys<'_>) -> Shell {
    match keys.text("shell") {
        None | Some("bash") => Shell::Bash,
        Some("sh") => Shell::Sh,
        Some(other) => Shell::Other(other.to_owned()),
    }
}

fn script<'n>(places: &mut Places<'n>, node: &'n Node, shell: &Shell, place: Place) -> Script {
    let script = match shell {
        Shell::Other(name) => places.verbatim(node, name, place).map(Script::Verbatim),
        Shell::Bash | Shell::Sh => places.script(node, place).map(Script::Bound),
    };
    script.unwrap_or(Script::Verbatim(String::new()))
}

fn check<'n>(places: &mut Places<'n>, keys: Keys<'n>, place: Place) -> Option<Check> {
    let node = keys.get("check")?;
    let shell = shell(keys);
    Some(Check { script: script(places, node, &shell, place), shell })
}

/// `undo: script`, or `undo: {run, timeout, retry}`.
fn undo<'n>(places: &mut Places<'n>, keys: Keys<'n>, index: usize, finally: bool) -> Option<Undo> {
    let node = keys.get("undo")?;
    if finally {
        if let Some((key, _)) = keys.own.entry("undo") {
            let message = "a step of `finally` is never taken back";
            places.findings.push(Finding::new(&key.span, "without effect", message).help("remove it"));
        }
        return None;
    }
    if let Some((key, _)) = keys.own.entry("undo").filter(|_| keys.flag("irreversible")) {
        let message = "a step that nothing can take back has no `undo`";
        places
            .findings
            .push(Finding::new(&key.span, "contradicts", message).help("remove it, or `irreversible: true`"));
    }
    // From `defaults` it is for the others.
    if keys.flag("irreversible") || ["wait", "approve", "notify"].iter().any(|kind| keys.own.get(kind).is_some()) {
        return None;
    }
    let text = node.get("run").unwrap_or(node);
    let shell = shell(keys);
    Some(Undo {
        script: script(places, text, &shell, Place { step: Some(index), role: Role::Undo }),
        shell,
        timeout: time(node.get("timeout")).unwrap_or(Duration::from_millis(limits::STEP_TIMEOUT_MS_DEFAULT)),
        retry: node.get("retry").map(retry),
    })
}

fn action<'n>(places: &mut Places<'n>, keys: Keys<'n>, timeout: Duration, place: Place, finally: bool) -> Action {
    let shell = shell(keys);
    if let Some(node) = keys.get("run") {
        let script = script(places, node, &shell, place);
        return Action::Shell { shell, script };
    }
    if let Some((node, text)) = keys.get("script").and_then(|node| Some((node, node.text()?))) {
        let path = Spanned { value: text.to_owned(), span: node.span.clone() };
        return Action::Shell { shell, script: Script::File(path) };
    }
    if let Some(node) = keys.get("cmd") {
        return Action::Cmd(node.items().iter().filter_map(|item| places.template(item, place)).collect());
    }
    if let Some(http) = keys.get("http").and_then(|node| super::http::read(places, node, timeout, place)) {
        return Action::Http(Box::new(http));
    }
    if let Some(sql) = keys.get("sql").and_then(|node| super::sql::read(places, node, timeout, place)) {
        return Action::Sql(Box::new(sql));
    }
    if let Some(render) = keys.get("render").and_then(|node| render(places, node, place)) {
        return Action::Render(Box::new(render));
    }
    if let Some(call) = keys.get("runbook").and_then(|node| call(places, keys.own, node, place)) {
        return Action::Runbook(Box::new(call));
    }
    if let Some(approve) = keys.get("approve").map(|node| gates::approve(places, keys.own, node, finally)) {
        return Action::Approve(approve);
    }
    if let Some(wait) = keys.get("wait").and_then(|node| gates::wait(places, node, place)) {
        return Action::Wait(wait);
    }
    if let Some(notify) = keys.get("notify").and_then(|node| notify::read(places, node, place)) {
        return Action::Notify(notify);
    }
    let kind = tables::KINDS.iter().find(|kind| keys.own.get(kind).is_some());
    Action::Unbuilt(kind.copied().unwrap_or("unknown"))
}

fn render<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Option<Render> {
    let template = node.get("template")?;
    let to = node.get("to")?;
    if to.text().is_some_and(|text| text.trim().is_empty() || text.ends_with('/')) {
        let message = "`to` is the path of a file";
        places
            .findings
            .push(Finding::new(&super::check::visible(to), "no file", message).help("end it with the file's name"));
    }
    Some(Render {
        template: Spanned { value: template.text()?.to_owned(), span: template.span.clone() },
        to: places.template(to, place)?,
        mode: node.get("mode").and_then(Node::text).and_then(|mode| u32::from_str_radix(mode, 8).ok()),
        owner: node.get("owner").and_then(Node::text).map(str::to_owned),
        backup: node.get("backup").and_then(Node::flag).unwrap_or(false),
    })
}

/// A child run has the time it needs: only a `timeout` of the step itself ends it.
fn call<'n>(places: &mut Places<'n>, own: &'n Node, node: &'n Node, place: Place) -> Option<Call> {
    let runbook = Spanned { value: node.text()?.to_owned(), span: node.span.clone() };
    let mut with = Vec::new();
    for (key, value) in own.get("with").map(Node::entries).unwrap_or_default() {
        let name = Spanned { value: key.text.clone(), span: key.span.clone() };
        let span = super::check::visible(value);
        with.extend(super::http::json(places, value, place).map(|value| Argument { name, value, span }));
    }
    Some(Call { runbook, with, timeout: time(own.get("timeout")) })
}

fn for_each<'n>(places: &mut Places<'n>, keys: Keys<'n>, index: usize) -> Option<ForEach> {
    let node = keys.get("for-each")?;
    let items = places.items(node, Place { step: Some(index), role: Role::Before })?;
    let count = |key: &str| keys.get(key).and_then(Node::int).and_then(count);
    Some(ForEach {
        items,
        max_parallel: count("max-parallel"),
        stop_after_failures: count("stop-after-failures").unwrap_or(NonZeroU32::MIN),
    })
}

/// A positive whole number.
pub fn count(int: i64) -> Option<NonZeroU32> {
    u32::try_from(int).ok().and_then(NonZeroU32::new)
}

/// A duration, where the node is one.
pub fn time(node: Option<&Node>) -> Option<Duration> {
    parse_duration(node?.text()?).ok()
}

fn runs_on(keys: Keys<'_>) -> Vec<String> {
    let Some(node) = keys.get("runs-on") else { return Vec::new() };
    let mut labels: Vec<String> = node.items().iter().filter_map(Node::text).map(str::to_owned).collect();
    labels.sort();
    labels.dedup();
    labels
}

/// The variables of `defaults` and of the step, by name; the step's own win.
fn env<'n>(places: &mut Places<'n>, keys: Keys<'n>, place: Place) -> Vec<(String, crate::bind::Template)> {
    let own = keys.own.get("env").map(Node::entries).unwrap_or_default();
    let shared = keys.defaults.and_then(|node| node.get("env")).map(Node::entries).unwrap_or_default();
    let names: HashSet<&str> = own.iter().filter(|_| !shared.is_empty()).map(|(key, _)| key.text.as_str()).collect();
    let merged = shared.iter().filter(|(key, _)| !names.contains(key.text.as_str())).chain(own);
    merged.filter_map(|(key, node)| Some((key.text.clone(), places.variable(&key.text, node, place)?))).collect()
}

/// Such a step writes its outputs, and receives secrets.
fn runs_a_program(node: &Node) -> bool {
    ["http", "sql", "render", "runbook", "wait", "approve", "notify"].iter().all(|kind| node.get(kind).is_none())
}

fn outputs(keys: Keys<'_>) -> Vec<(String, ValueType)> {
    let entries = keys.get("outputs").map(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|(key, node)| Some((key.text.clone(), ValueType::named(node.text()?)?))).collect()
}

/// Defaults: delay 1s, backoff 2, max-delay 5m, jitter full, every failure.
fn retry(node: &Node) -> Retry {
    Retry {
        attempts: node.get("attempts").and_then(Node::int).and_then(count).unwrap_or(NonZeroU32::MIN),
        delay: time(node.get("delay")).unwrap_or(Duration::from_secs(1)),
        backoff: node.get("backoff").and_then(Node::number).unwrap_or(2.0),
        max_delay: time(node.get("max-delay")).unwrap_or(Duration::from_secs(300)),
        jitter: match node.get("jitter").and_then(Node::text) {
            Some("equal") => Jitter::Equal,
            Some("none") => Jitter::None,
            _ => Jitter::Full,
        },
        on_exit: node
            .get("on-exit")
            .map(|codes| {
                codes.items().iter().filter_map(Node::int).filter_map(|code| i32::try_from(code).ok()).collect()
            })
            .unwrap_or_default(),
    }
}

fn lease(keys: Keys<'_>) -> Option<Lease> {
    Some(if keys.text("lease")? == "strict" { Lease::Strict } else { Lease::Detached })
}

fn on_lost(places: &mut Places<'_>, keys: Keys<'_>, retry: Option<&Retry>) -> OnLost {
    let may_retry = retry.is_some_and(|retry| retry.attempts.get() > 1);
    match keys.get("on-lost").and_then(|node| Some((node, node.text()?))) {
        Some((node, word @ ("retry" | "check"))) => {
            if !may_retry {
                let message = format!("`on-lost: {word}` starts the step again, which it may not");
                let help = "add `retry: {attempts: 2}`, or write `on-lost: hold`";
                places.findings.push(Finding::new(&node.span, "without `retry`", message).help(help));
            }
            if word == "check" && keys.get("check").is_none() {
                let message = "`on-lost: check` asks a `check` that the step does not have";
                places.findings.push(Finding::new(&node.span, "without `check`", message));
            }
            if word == "check" { OnLost::Check } else { OnLost::Retry }
        }
        Some((_, "hold")) => OnLost::Hold,
        Some(_) => OnLost::Fail,
        None if may_retry && keys.get("check").is_some() => OnLost::Check,
        None if may_retry => OnLost::Retry,
        None => OnLost::Fail,
    }
}
