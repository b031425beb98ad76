//! The steps of a plan as they will run: who follows whom, what is not the rule, and each command with its values.

use std::time::Duration;

use runward_engine::bind::{Context, Expression, ShellScript, Template};
use runward_engine::limits;
use runward_engine::runbook::model::{
    Action, Argument, Http, Items, Lease, OnLost, Runbook, Script, Shell, Sql, Step, Wait,
};
use runward_engine::runbook::secrets::{Form, Provider, Secret};
use runward_engine::units::format_duration;
use serde_json::{Map, Value, json};

use super::Preview;
use super::outlook::Outlook;
use crate::runbook_file::RunbookFile;

/// The steps of the runbook that a step calls, and of those that one calls.
pub fn called_lines(file: &RunbookFile, step: &Step, depth: usize) -> Vec<String> {
    let Action::Runbook(call) = &step.action else { return Vec::new() };
    let Some(callee) = file.called.get(&call.runbook.value) else { return Vec::new() };
    let line = |step: &Step| {
        let what = if step.irreversible { "  ! irreversible" } else { "" };
        let own = format!("{}- {}{what}", "  ".repeat(depth), step.id);
        std::iter::once(own).chain(called_lines(callee, step, depth + 1)).collect::<Vec<_>>()
    };
    callee.runbook.steps.iter().flat_map(line).collect()
}

/// Only what is not the rule: a step follows the one above it.
pub fn after(runbook: &Runbook, n: usize, step: &Step) -> String {
    let first = n == 0 || n == runbook.main_len;
    let names: Vec<&str> = step.needs.iter().map(|need| runbook.steps[*need].id.as_str()).collect();
    match (first, names.is_empty(), step.needs.as_slice() == [n.wrapping_sub(1)]) {
        (true, true, _) | (_, _, true) => String::new(),
        (false, true, _) => "  (starts at once)".to_owned(),
        _ => format!("  (after {})", names.join(", ")),
    }
}

pub fn notes(step: &Step) -> Vec<String> {
    let mut notes = Vec::new();
    if step.irreversible {
        notes.push("! irreversible".to_owned());
    }
    if step.undo.is_some() {
        notes.push("can be taken back".to_owned());
    }
    if let Some(condition) = &step.condition {
        notes.push(format!("if {}", condition.expression.source));
    }
    if let Some(each) = &step.for_each {
        let items = match &each.items {
            Items::Expression(expression) => expression.source.clone(),
            Items::List(list) => format!("{} items", list.len()),
        };
        notes.push(format!("for each of {items}"));
    }
    if step.action.takes_no_worker() {
        return notes;
    }
    if step.check.is_some() {
        notes.push("check first: what is in place already is not started".to_owned());
    }
    let mut line = match &step.action {
        Action::Runbook(call) => {
            call.timeout.map_or_else(|| "no timeout".to_owned(), |it| format!("timeout {}", format_duration(it)))
        }
        _ => format!("timeout {}", format_duration(step.timeout)),
    };
    match &step.retry {
        Some(retry) => {
            line += &format!(", up to {} starts, first again after {}", retry.attempts, format_duration(retry.delay))
        }
        None => line += ", starts at most once",
    }
    match step.on_lost {
        OnLost::Hold => line += ", held if lost",
        OnLost::Retry => line += ", again if lost",
        OnLost::Check => line += ", checked if lost",
        OnLost::Fail => {}
    }
    match step.lease {
        Some(Lease::Strict) => line += ", ended if its worker falls silent",
        Some(Lease::Detached) => line += ", goes on without its worker",
        None => {}
    }
    if step.allow_failure {
        line += ", may fail";
    }
    notes.push(line);
    notes
}

pub fn command_lines(runbook: &Runbook, step: &Step, known: &Context) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(step.host.iter().map(|host| format!("on {} through ssh", rendered(host, known))));
    for (name, template) in &step.env {
        lines.push(format!("{name}={}", rendered(template, known)));
    }
    lines.extend(received(runbook, step).map(|(secret, form)| {
        let what = if form == Form::File { "a file with the secret" } else { "the secret" };
        format!("{}: {what} from {}", secret.name, from(&secret.provider))
    }));
    match &step.action {
        Action::Unbuilt(kind) => lines.push(format!("{kind} (not carried out by this version)")),
        Action::Runbook(call) => {
            lines.push(format!("runbook {}", call.runbook.value));
            let value = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let line =
                |argument: &Argument| format!("  {}: {}", argument.name.value, value(argument.value.show(known)));
            lines.extend(call.with.iter().map(line));
        }
        Action::Approve(approve) => {
            lines.push(format!("approval: {}", approve.needs()));
            let expires = approve.expires.unwrap_or(Duration::from_millis(limits::WAIT_MS_MAX));
            lines.push(format!("  expires after {}", format_duration(expires)));
        }
        Action::Wait(Wait::Until(template)) => lines.push(format!("wait until {}", rendered(template, known))),
        Action::Wait(wait) => lines.push(format!("wait {}", wait.shown())),
        Action::Notify(notify) => {
            lines.push(format!("notify {}: {}", notify.channel, rendered(&notify.text, known)));
        }
        Action::Http(http) => lines.extend(http_lines(runbook, step, http, known)),
        Action::Sql(sql) => lines.extend(sql_lines(sql, known)),
        Action::Render(render) => {
            lines.push(format!("render {} to {}", render.template.value, rendered(&render.to, known)))
        }
        Action::Cmd(argv) => {
            let words: Vec<String> = argv.iter().map(|word| format!("{:?}", rendered(word, known))).collect();
            lines.push(format!("cmd [{}]", words.join(", ")));
        }
        Action::Shell { shell, script } => lines.extend(script_lines(shell, script, known)),
    }
    if let Some(check) = &step.check {
        lines.push("check:".to_owned());
        lines.extend(script_lines(&check.shell, &check.script, known).iter().map(|line| format!("  {line}")));
    }
    lines
}

/// The secrets that a step receives: where they come from, never what they are.
fn received<'r>(runbook: &'r Runbook, step: &'r Step) -> impl Iterator<Item = (&'r Secret, Form)> {
    step.secrets.iter().filter_map(|received| {
        let secret = runbook.secrets.iter().find(|secret| secret.name == received.name)?;
        Some((secret, received.form))
    })
}

fn from(provider: &Provider) -> String {
    match provider {
        Provider::Exec(argv) => format!("{provider}, as {argv:?}"),
        _ => provider.to_string(),
    }
}

fn script_lines(shell: &Shell, script: &Script, known: &Context) -> Vec<String> {
    let name = shell_name(shell);
    match script {
        Script::File(path) => vec![format!("{name} {}", path.value)],
        Script::Verbatim(text) => block(name, text),
        Script::Bound(script) => {
            let values = script.values.iter().enumerate();
            let values = values.map(|(n, it)| format!("{}={}", ShellScript::variable(n), value(it, known)));
            block(name, &script.text).into_iter().chain(values).collect()
        }
    }
}

fn http_lines(runbook: &Runbook, step: &Step, http: &Http, known: &Context) -> Vec<String> {
    let secret =
        |expression: &Expression| expression.references.iter().any(|(reference, _)| runbook.is_secret(step, reference));
    let mut lines = vec![format!("{} {}", http.method, http.url.show(known, &secret))];
    lines.extend(http.headers.iter().map(|(name, value)| format!("  {name}: {}", rendered(value, known))));
    lines.extend(http.json.iter().map(|json| format!("  body {}", json.show(known))));
    lines.extend(http.body.iter().map(|body| format!("  body {:?}", rendered(body, known))));
    let mut expected = match &http.expect.status[..] {
        [] => "2xx".to_owned(),
        status => status.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
    };
    if let Some(json) = &http.expect.json {
        expected += &format!(", JSON with {}", json.show(known));
    }
    if let Some(text) = &http.expect.contains {
        expected += &format!(", containing {:?}", rendered(text, known));
    }
    lines.push(format!("  expects {expected}"));
    if let Some(poll) = http.poll {
        let (every, until) = (format_duration(poll.every), format_duration(poll.until));
        lines.push(format!("  asks again every {every} until it is so, for at most {until}"));
    }
    lines
}

fn sql_lines(sql: &Sql, known: &Context) -> Vec<String> {
    let read_only = if sql.read_only { ", read-only" } else { "" };
    let mut lines = vec![format!("sql on the connection {}{read_only}", sql.connection)];
    let mut n = 0;
    for statement in &sql.query.statements {
        let first = n;
        lines.extend(block("sql", statement.text(|at| format!("${}", first + at + 1)).trim()));
        for expression in &statement.values {
            n += 1;
            let value = expression.evaluate(known).map(|value| value.to_string());
            lines.push(format!("  ${n}={}", value.unwrap_or_else(|_| format!("${{{{ {} }}}}", expression.source))));
        }
    }
    let rows = sql.expect.rows.map(runward_engine::run::sql::count);
    let value = sql.expect.value.as_ref().map(|value| format!("the value {}", value.show(known)));
    let expected: Vec<String> = rows.into_iter().chain(value).collect();
    if !expected.is_empty() {
        lines.push(format!("  expects {}, else nothing is changed", expected.join(" and ")));
    }
    if let Some(timeout) = sql.timeout {
        lines.push(format!("  each statement may take {}", format_duration(timeout)));
    }
    lines
}

fn block(name: &str, text: &str) -> Vec<String> {
    text.trim_end().lines().map(|line| format!("{name} | {line}")).collect()
}

fn shell_name(shell: &Shell) -> &str {
    match shell {
        Shell::Bash => "bash",
        Shell::Sh => "sh",
        Shell::Other(name) => name,
    }
}

/// Values that are known before anything ran: the parameters.
pub fn known_values(params: &Map<String, Value>) -> Context {
    let mut context = Context::default();
    context.set("params", Value::Object(params.clone()));
    context
}

fn rendered(template: &Template, known: &Context) -> String {
    template.render(known).unwrap_or_else(|_| template.source())
}

fn value(expression: &Expression, known: &Context) -> String {
    expression
        .evaluate_text(known)
        .map_or_else(|_| format!("${{{{ {} }}}}", expression.source), |text| format!("{text:?}"))
}

pub fn step_json(
    runbook: &Runbook,
    step: &Step,
    known: &Context,
    previews: &[Preview],
    outlook: Option<&Outlook>,
) -> Value {
    let files: Vec<&Preview> = previews.iter().filter(|preview| preview.step == step.id).collect();
    json!({
        "id": step.id,
        "needs": step.needs.iter().map(|need| runbook.steps[*need].id.as_str()).collect::<Vec<_>>(),
        "notes": notes(step),
        "command": command_lines(runbook, step, known),
        "files": files,
        "timeout_ms": step.timeout.as_millis() as u64,
        "attempts": step.retry.as_ref().map_or(1, |retry| retry.attempts.get()),
        "secrets": received(runbook, step).map(|(secret, form)| {
            json!({"name": secret.name, "from": from(&secret.provider), "as": form})
        }).collect::<Vec<_>>(),
        "irreversible": step.irreversible,
        "usual": outlook.and_then(|outlook| outlook.usual(step)),
        "undo": step.undo.is_some(),
        "host": step.host.as_ref().map(|host| rendered(host, known)),
    })
}
