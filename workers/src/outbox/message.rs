//! What a notice says to people: a line that tells what, where and how bad, and a text with the command to type next.

use std::sync::LazyLock;

use runward_engine::bind::Message;
use runward_engine::run::notice::Kind;
use runward_engine::run::{Notice, RunId};
use runward_engine::runbook::notify::Severity;
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

/// The key of a channel whose template cannot be filled in, and why.
type Wrong = (&'static str, String);

/// Whether the templates of a channel can be filled in for everything that may be told, with all there is to say and with as
/// little as there may be.
pub fn try_out(channel: &Channel) -> Result<(), Wrong> {
    if channel.subject.is_none() && channel.text.is_none() {
        return Ok(());
    }
    let mut samples = Kind::ALL.into_iter().flat_map(|kind| [sample(kind, true), sample(kind, false)]);
    samples.try_for_each(|notice| words(&notice, channel, "host").map(drop))
}

/// With all there may be to say of it, or with what is always there.
fn sample(kind: Kind, whole: bool) -> Notice {
    let of_a_run = kind != Kind::Missed;
    let has_a_step = matches!(kind, Kind::Approval | Kind::Message) || whole && of_a_run && kind != Kind::Recovered;
    let text = |there: bool, text: &str| there.then(|| text.to_owned());
    Notice {
        id: "run-1-failed".to_owned(),
        kind,
        severity: Severity::P2,
        at: 0,
        runbook: "runbook".to_owned(),
        run: text(of_a_run, "run").map(RunId),
        step: text(has_a_step, "step"),
        reason: text(whole || !of_a_run, "reason"),
        params: text(whole && of_a_run, "name=value"),
        actor: text(of_a_run, "somebody"),
        rollback: text(whole && of_a_run, "done"),
        schedule: text(whole || !of_a_run, "runbook/schedule"),
        channel: text(kind == Kind::Message, "channel"),
    }
}

/// In the words of the channel; where those cannot be filled in, in ours, and with what is wrong: an alarm that looks
/// strange is better than none. `host`: whose configuration sends it.
pub fn words_at_any_rate(notice: &Notice, channel: &Channel, host: &str) -> Words {
    let (key, why) = match words(notice, channel, host) {
        Ok(words) => return words,
        Err(wrong) => wrong,
    };
    let ours = Channel { subject: None, text: None, ..channel.clone() };
    let mut words = words(notice, &ours, host).unwrap_or_else(|(_, why)| Words { subject: why, text: String::new() });
    words.text += &plain(&format!("\nThe `{key}` of this channel cannot be filled in: {why}\n"));
    words
}

fn words(notice: &Notice, channel: &Channel, host: &str) -> Result<Words, Wrong> {
    let fields = fields(notice, host);
    let (subject, text) = (channel.subject.as_ref(), channel.text.as_ref());
    let subject = subject.unwrap_or(&DEFAULTS.0).render(&fields).map_err(|why| ("subject", why))?;
    let text = text.unwrap_or(&DEFAULTS.1).render(&fields).map_err(|why| ("text", why))?;
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
        Kind::Missed => format!("{runbook} was due, and no server ran."),
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
        let words = super::words(&notice, &channel(Some("{{ reason }} {{ runbook }} {{ params }}")), evil).unwrap();
        assert!(!words.subject.contains(|c: char| c.is_control()), "{words:?}");
        assert!(!words.text.contains(|c: char| c.is_control() && c != '\n'), "{words:?}");
        assert!(words.subject.starts_with("x Bcc: evil@example.com"), "{words:?}");
    }

    #[test]
    fn a_template_that_names_nothing_says_so() {
        let broken = channel(Some("{{ nope }}"));
        let (key, why) = try_out(&broken).unwrap_err();
        assert!(key == "subject" && why.contains("nope"), "{why}");
        let told = words_at_any_rate(&notice(Kind::Failed, Severity::P1), &broken, "db-ops1");
        assert!(told.subject.starts_with("[P1] FAILED: pg-upgrade at"), "{told:?}");
        assert!(told.text.contains("`subject` of this channel") && told.text.contains("nope"), "{told:?}");
    }

    #[test]
    fn what_is_not_always_there_is_found_before_the_night() {
        assert_eq!(try_out(&channel(Some("{{ runbook }} {{ step }} {{ what }}"))), Ok(()));
        assert!(try_out(&channel(Some("{{ step | upper }}"))).is_err(), "a run may fail without a step");
        let right = "{% if event == 'missed' %}{{ schedule | upper }}{% else %}{{ run | upper }}{% endif %}";
        assert_eq!(try_out(&channel(Some(right))), Ok(()), "what is always there is there");
        assert_eq!(try_out(&channel(Some("{% if step %}{{ step | upper }}{% endif %}"))), Ok(()));
    }
}
