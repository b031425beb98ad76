//! `[notify]`: channels, and which notifications go to them (docs/how-to/notifications.md).

use runward_engine::bind::Message;
use runward_engine::run::notice::Kind;
use runward_engine::runbook::notify::Severity;
use runward_workers::outbox::directory::{Login, Mail, Tls, Webhook};
use runward_workers::outbox::{Channel, Directory, Rule, Way, directory, mail, message};

use super::named::{Given, Table};

const EVENTS: [&str; 7] = ["failed", "timed_out", "lost", "held", "approval", "missed", "recovered"];
const SEVERITIES: [&str; 4] = ["P0", "P1", "P2", "P3"];

/// What is wrong with it is among the findings of `table`.
pub fn read(table: &mut Table<'_>) -> Directory {
    let mut directory = Directory::default();
    if let Some(mut channels) = table.table("channels") {
        for (name, mut one) in channels.below() {
            directory.channels.extend(channel(&mut one).map(|channel| (name, channel)));
            table.findings.extend(one.end());
        }
        table.findings.append(&mut channels.findings);
    }
    let known: Vec<String> = directory.channels.keys().cloned().collect();
    for mut one in table.tables("routes") {
        directory.rules.push(rule(&mut one, &known));
        table.findings.extend(one.end());
    }
    directory
}

fn channel(table: &mut Table<'_>) -> Option<Channel> {
    let way = table.word("type", &["webhook", "smtp"]);
    let way = match table.needed("type", way, "\"webhook\"") {
        Some("webhook") => webhook(table).map(Way::Webhook),
        Some(_) => smtp(table).map(Way::Mail),
        None => None,
    };
    let (subject, text) = (template(table, "subject"), template(table, "text"));
    let channel = Channel { way: way?, subject, text };
    if let Err((key, why)) = message::try_out(&channel) {
        let message = format!("`{}.{key}` cannot be filled in: {why}", table.path);
        table.wrong(key, message, "write `{% if step %}...{% endif %}` around what is not always there");
    }
    Some(channel)
}

fn template(table: &mut Table<'_>, key: &'static str) -> Option<Message> {
    let text = table.text(key)?;
    Message::parse(&text)
        .map_err(|why| {
            let message = format!("`{}.{key}` is no template: {why}", table.path);
            table.wrong(key, message, "it is a Tera template: `{{ runbook }} {{ event }}`");
        })
        .ok()
}

fn webhook(table: &mut Table<'_>) -> Option<Webhook> {
    let url = table.given("url");
    let secret = table.secret("secret");
    if let Some(Given::Text(text)) = &url
        && !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
    {
        table.wrong("url", format!("`{}.url` is no URL of the web", table.path), "begin it with `https://`");
    }
    Some(Webhook { url: given(table.needed("url", url, "\"https://...\"")?), secret })
}

fn smtp(table: &mut Table<'_>) -> Option<Mail> {
    let server = table.text("server");
    let server = table.needed("server", server, "\"smtp.example.com\"");
    let port = table.count("port", u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
    let tls = match table.word("tls", &["starttls", "implicit", "none"]) {
        Some("implicit") => Tls::Implicit,
        Some("none") => Tls::None,
        _ => Tls::Starttls,
    };
    let (user, password) = (table.given("user"), table.secret("password"));
    let from = table.text("from");
    let from = table.needed("from", from, "\"runward@example.com\"");
    let to = table.texts("to");
    let to = table.needed("to", (!to.is_empty()).then_some(to), "[\"oncall@example.com\"]");
    let open = table.flag("password-in-the-open");
    if tls == Tls::None && password.is_some() && !open {
        let message = format!("`{}` would send its password so that everybody on the way can read it", table.path);
        table.wrong("tls", message, "use `tls = \"starttls\"`, or say that you mean it: `password-in-the-open = true`");
    }
    for (key, address) in from.iter().map(|it| ("from", it)).chain(to.iter().flatten().map(|it| ("to", it))) {
        if let Err(why) = mail::is_address(address) {
            table.wrong(key, why, "write `name@example.com` or `Ops <ops@example.com>`");
        }
    }
    let login = match (user, password) {
        (Some(user), Some(password)) => Some(Login { user: given(user), password }),
        (None, None) => None,
        (user, _) => {
            let (has, lacks) = if user.is_some() { ("user", "password") } else { ("password", "user") };
            table.wrong(has, format!("`[{}]` has `{has}` and no `{lacks}`", table.path), "give both, or neither");
            None
        }
    };
    Some(Mail { server: server?, port, tls, login, from: from?, to: to? })
}

fn rule(table: &mut Table<'_>, known: &[String]) -> Rule {
    let mut rule = Rule::default();
    for word in table.texts("severity") {
        match Severity::named(&word) {
            Some(severity) => _ = rule.severities.insert(severity),
            None => table.unknown_word("severity", &word, &SEVERITIES),
        }
    }
    for word in table.texts("events") {
        match Kind::named(&word).filter(|kind| *kind != Kind::Message) {
            Some(kind) => _ = rule.events.insert(kind),
            None => table.unknown_word("events", &word, &EVENTS),
        }
    }
    let channels = table.texts("channels");
    let channels =
        table.needed("channels", (!channels.is_empty()).then_some(channels), "[\"ops\"]").unwrap_or_default();
    for channel in channels.iter().filter(|channel| !known.contains(channel)) {
        let help = format!("there are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") });
        table.wrong("channels", format!("there is no channel `{channel}`"), &help);
    }
    rule.channels = channels;
    rule
}

fn given(given: Given) -> directory::Given {
    match given {
        Given::Text(text) => directory::Given::Text(text),
        Given::Secret(provider) => directory::Given::Secret(provider),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    const GOOD: &str = "\
[notify.channels.ops]
type = \"webhook\"
url = {file = \"/etc/runward/hook\"}
secret = {env = \"HOOK\"}

[notify.channels.oncall]
type = \"smtp\"
server = \"smtp.example.com\"
user = \"runward\"
password = {sealed = \"smtp\"}
from = \"Runward <runward@example.com>\"
to = [\"oncall@example.com\"]
subject = \"{{ runbook }} {{ event }}\"

[[notify.routes]]
severity = [\"P0\", \"P1\"]
events = [\"failed\", \"held\"]
channels = [\"oncall\", \"ops\"]
";

    #[test]
    fn channels_and_routes_are_read() {
        let notify = parse(GOOD).ok().unwrap().notify;
        assert_eq!(notify.channels.keys().collect::<Vec<_>>(), ["oncall", "ops"]);
        assert_eq!(notify.rules.len(), 1);
        assert_eq!(notify.rules[0].channels, ["oncall", "ops"]);
        let Way::Mail(mail) = &notify.channels["oncall"].way else { panic!("a mail") };
        assert_eq!((mail.tls, mail.port, mail.login.is_some()), (Tls::Starttls, None, true));
    }

    #[test]
    fn what_is_wrong_is_said_at_its_place_and_all_at_once() {
        for (from, to, words) in [
            ("type = \"webhook\"", "type = \"webhok\"", "did you mean `webhook`"),
            ("url = {file = \"/etc/runward/hook\"}", "", "lacks `url`"),
            ("{file = \"/etc/runward/hook\"}", "\"ftp://h/\"", "no URL of the web"),
            ("{file = \"/etc/runward/hook\"}", "{file = \"hook\"}", "not the whole path"),
            ("{env = \"HOOK\"}", "\"s3cret-in-here\"", "does not stand here"),
            ("{env = \"HOOK\"}", "{env = \"HOOK\", file = \"/x\"}", "names one place"),
            ("password = {sealed = \"smtp\"}\n", "", "has `user` and no `password`"),
            ("server = \"smtp.example.com\"", "server = \"h\"\ntls = \"none\"", "everybody on the way can read it"),
            ("oncall@example.com", "oncall", "no mail address"),
            ("{{ runbook }}", "{{ runbook", "no template"),
            ("{{ runbook }}", "{{ runbok }}", "cannot be filled in"),
            ("{{ runbook }}", "{{ step | upper }}", "around what is not always there"),
            ("\"P1\"", "\"P9\"", "cannot be `P9`"),
            ("\"held\"", "\"message\"", "cannot be `message`"),
            ("\"oncall\", \"ops\"]", "\"opps\"]", "there is no channel `opps`"),
            ("severity =", "severiti =", "did you mean `severity`"),
            ("[notify.channels.ops]", "[notify.chanels.ops]", "did you mean `channels`"),
        ] {
            let source = GOOD.replacen(from, to, 1);
            assert_ne!(source, GOOD, "{from}");
            let report = parse(&source).err().unwrap_or_else(|| panic!("{to} is right"));
            let said: Vec<String> = report
                .findings
                .iter()
                .map(|it| format!("{} | {}", it.message, it.help.as_deref().unwrap_or("")))
                .collect();
            assert!(said.iter().any(|said| said.contains(words)), "{to}: {said:?}");
            assert!(!format!("{said:?}").contains("s3cret-in-here"), "{said:?}");
        }
    }
}
