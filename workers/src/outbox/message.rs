//! What a notice says to people: a line that tells what, where and how bad, and a text with the command to type next.

use std::sync::LazyLock;

use runward_engine::bind::Message;
use runward_engine::run::Notice;
use runward_engine::run::notice::Kind;
use runward_engine::schedule::moment;
use serde_json::{Map, Value, json};

use super::directory::Channel;

/// What stands in a channel that says nothing else. Documented in docs/how-to/notifications.md.
pub const SUBJECT: &str = "[{{ severity }}] {{ what }}: {{ runbook }}{% if step and event != \"message\" %} at {{ step }}\
                           {% endif %}{% if params %} ({{ params }}){% endif %} on {{ host }}";
pub const TEXT: &str = "\
{{ reason }}

{{ sentence }}
{% if step %}  step:       {{ step }}
{% endif %}{% if params %}  parameters: {{ params }}
{% endif %}{% if schedule %}  schedule:   {{ schedule }}
{% endif %}{% if actor %}  started by: {{ actor }}
{% endif %}{% if rollback %}  rollback:   {{ rollback }}
{% endif %}{% if run %}  run:        {{ run }}
{% endif %}  when:       {{ when }}
{% if next %}
What to type next:
{% for command in next %}  {{ command }}
{% endfor %}{% endif %}";

/// Of a subject, in characters.
const SUBJECT_CHARS_MAX: usize = 200;
/// Of a text, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

static DEFAULTS: LazyLock<(Message, Message)> = LazyLock::new(|| {
    let read = |text| Message::parse(text).expect("it is ours, and a test reads it");
    (read(SUBJECT), read(TEXT))
});

/// As it is sent: the subject is one line, and neither has anything in it that drives a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub subject: String,
    pub text: String,
}

/// `host`: whose configuration sends it.
pub fn words(notice: &Notice, channel: &Channel, host: &str) -> Result<Words, String> {
    let fields = fields(notice, host);
    let (subject, text) = (channel.subject.as_ref(), channel.text.as_ref());
    let subject = subject.unwrap_or(&DEFAULTS.0).render(&fields).map_err(|why| format!("its `subject`: {why}"))?;
    let text = text.unwrap_or(&DEFAULTS.1).render(&fields).map_err(|why| format!("its `text`: {why}"))?;
    let subject: String = one_line(&subject).chars().take(SUBJECT_CHARS_MAX).collect();
    let text = plain(&text);
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    Ok(Words { subject, text: text[..end].to_owned() })
}

/// What templates can name.
pub fn fields(notice: &Notice, host: &str) -> Map<String, Value> {
    let text = |text: &Option<String>| text.as_deref().map(plain);
    let fields = json!({
        "id": notice.id,
        "event": notice.kind.as_str(),
        "what": what(notice),
        "sentence": sentence(notice),
        "severity": notice.severity.as_str(),
        "runbook": one_line(&notice.runbook),
        "run": notice.run.as_ref().map(|run| run.0.clone()),
        "step": text(&notice.step),
        "reason": text(&notice.reason).unwrap_or_default(),
        "params": text(&notice.params),
        "actor": text(&notice.actor),
        "rollback": notice.rollback,
        "schedule": text(&notice.schedule),
        "when": moment::shown(notice.at),
        "host": one_line(host),
        "next": next(notice),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn what(notice: &Notice) -> String {
    match notice.kind {
        Kind::Failed => "FAILED",
        Kind::TimedOut => "TIMED OUT",
        Kind::Lost => "OUTCOME UNKNOWN",
        Kind::Held => "HELD, needs you",
        Kind::Approval => "approval wanted",
        Kind::Missed => "MISSED",
        Kind::Recovered => "recovered",
        Kind::Objective => "OBJECTIVE MISSED",
        Kind::Message => return one_line(notice.reason.as_deref().unwrap_or_default()).chars().take(100).collect(),
    }
    .to_owned()
}

fn sentence(notice: &Notice) -> String {
    let runbook = one_line(&notice.runbook);
    match notice.kind {
        Kind::Failed => format!("A run of {runbook} failed."),
        Kind::TimedOut => format!("A run of {runbook} took too long and was stopped."),
        Kind::Lost => format!("A run of {runbook} ended, and whether all of its steps did cannot be known."),
        Kind::Held => format!("A run of {runbook} waits until somebody says how it goes on."),
        Kind::Approval => format!("A run of {runbook} waits for approval."),
        Kind::Missed => format!("{runbook} was due, and no server ran. Nothing makes up for it by itself."),
        Kind::Recovered => format!("{runbook} succeeded again."),
        Kind::Objective => format!("A run of {runbook} does not do what its objectives ask for."),
        Kind::Message => format!("A run of {runbook} says so."),
    }
}

/// The commands of whoever reads it at night, the first one first.
fn next(notice: &Notice) -> Vec<String> {
    let Some(run) = notice.run.as_ref().map(|run| &run.0) else {
        return vec!["runward doctor".to_owned(), format!("runward run {}", quoted(&notice.runbook))];
    };
    let step = quoted(notice.step.as_deref().unwrap_or_default());
    let (show, logs) = (format!("runward show {run}"), format!("runward logs {run}"));
    match notice.kind {
        Kind::Failed | Kind::TimedOut => vec![show, logs, format!("runward resume {run}")],
        Kind::Lost => vec![show, logs],
        Kind::Held if notice.step.is_some() => {
            vec![show, format!("runward resolve {run} {step} --as succeeded|failed|retry --reason WHY")]
        }
        Kind::Held => vec![show, format!("runward rollback {run}"), format!("runward resume {run}")],
        Kind::Approval => {
            vec![show, format!("runward approve {run} {step}"), format!("runward reject {run} {step} --comment WHY")]
        }
        Kind::Message | Kind::Recovered | Kind::Objective | Kind::Missed => vec![show],
    }
}

/// A name as a shell takes it for one word.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    match !name.is_empty() && name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("'{}'", plain_name(name)),
    }
}

fn plain_name(name: &str) -> String {
    name.chars().filter(|c| *c != '\'' && !c.is_control()).collect()
}

/// Text of several lines, in which no control character is left.
pub fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars()
        .map(|c| if c.is_control() && !matches!(c, '\n' | '\t') || is_direction(c) { '\u{fffd}' } else { c })
        .collect()
}

/// The same on one line: what stands in a header.
pub fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}'));
    plain(&words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

/// Characters that change the direction of the text around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use runward_engine::runbook::notify::Severity;

    use super::super::directory::tests::notice;
    use super::super::directory::{Given, Way, Webhook};
    use super::*;

    fn channel(subject: Option<&str>) -> Channel {
        Channel {
            way: Way::Webhook(Webhook { url: Given::Text("http://h/".into()), secret: None }),
            subject: subject.map(|text| Message::parse(text).unwrap()),
            text: None,
        }
    }

    fn said(notice: &Notice) -> Words {
        words(notice, &channel(None), "db-ops1").unwrap()
    }

    #[test]
    fn the_subject_says_what_where_and_how_bad_and_the_text_what_to_type() {
        let failed = said(&notice(Kind::Failed, Severity::P1));
        assert_eq!(failed.subject, "[P1] FAILED: pg-upgrade at upgrade[1] (env=prod) on db-ops1");
        assert!(failed.text.starts_with("exit code 3\n\nA run of pg-upgrade failed.\n"), "{}", failed.text);
        assert!(failed.text.contains("  runward resume 0199-aaaa-bbbb\n"), "{}", failed.text);
        let held = said(&notice(Kind::Held, Severity::P0));
        assert!(held.text.contains("runward resolve 0199-aaaa-bbbb 'upgrade[1]' --as"), "{}", held.text);
    }

    #[test]
    fn every_event_has_its_words() {
        for kind in Kind::ALL {
            let words = said(&notice(kind, Severity::P2));
            assert!(words.subject.starts_with("[P2] ") && words.text.contains("runward show"), "{words:?}");
        }
    }

    #[test]
    fn a_value_makes_no_second_line_of_a_subject_and_drives_no_terminal() {
        let evil = "x\r\nBcc: evil@example.com\n\n\u{1b}[2J\u{202e}\u{2028}y";
        let mut notice = notice(Kind::Message, Severity::P2);
        for field in [&mut notice.reason, &mut notice.step, &mut notice.params, &mut notice.actor] {
            *field = Some(evil.to_owned());
        }
        notice.runbook = evil.to_owned();
        let words = words(&notice, &channel(Some("{{ reason }} {{ runbook }} {{ params }}")), evil).unwrap();
        assert!(!words.subject.contains(|c: char| c.is_control()), "{words:?}");
        assert!(!words.text.contains(|c: char| c.is_control() && c != '\n'), "{words:?}");
        assert!(words.subject.starts_with("x Bcc: evil@example.com"), "{words:?}");
    }

    #[test]
    fn a_template_that_names_nothing_says_so() {
        let why = words(&notice(Kind::Failed, Severity::P1), &channel(Some("{{ nope }}")), "h").unwrap_err();
        assert!(why.contains("subject") && why.contains("nope"), "{why}");
    }
}
