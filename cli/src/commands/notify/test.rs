//! `runward notify test CHANNEL`: really sends something, from this machine, and says what came back. Nothing is recorded.

use runward_engine::run::Notice;
use runward_engine::run::notice::Kind;
use runward_engine::runbook::notify::Severity;
use runward_engine::runbook::report::did_you_mean;
use runward_store::outbox::Taken;
use runward_workers::outbox::send::{Failed, Sent, send};
use serde_json::json;

use crate::actor::actor;
use crate::args::Format;
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::{EXIT_FAILED, Failure};
use crate::open::{home, new_run};
use crate::{letters, text};

pub async fn run(config: &Config, name: &str, format: Format) -> Result<i32, Failure> {
    let channels = &config.settings.notify.channels;
    let Some(channel) = channels.get(name).cloned() else {
        let known: Vec<&str> = channels.keys().map(String::as_str).collect();
        let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known.is_empty() {
            true => format!("write `[notify.channels.{name}]` into runward.toml: docs/how-to/notifications.md"),
            false => format!("there are {}", known.join(", ")),
        });
        return Err(Failure::usage(format!("there is no channel `{name}`")).help(help));
    };
    let sender = letters::sender(&config.settings, &home(&config.settings)?);
    let taken = Taken { notice: notice(), channel: name.to_owned(), tries: 1 };
    let id = taken.notice.id.clone();
    let (delivered, said) = match send(taken, channel, sender).await {
        Ok(Sent { answer, missed: None }) => (true, answer),
        Ok(Sent { missed: Some(missed), .. }) => (false, format!("it reached some of its receivers, but not {missed}")),
        Err(Failed::Away(why) | Failed::Later(why) | Failed::Never(why)) => {
            (false, format!("nothing was delivered: {why}"))
        }
    };
    match (format, delivered) {
        (Format::Json, _) => print_json(&json!({"channel": name, "id": id, "delivered": delivered, "answer": said})),
        (Format::Text, true) => print_line(&format!("delivered by {name}: {}", text::safe(&said))),
        (Format::Text, false) => {
            return Err(Failure::new(EXIT_FAILED, format!("`{name}`: {}", text::safe(&said)))
                .help(format!("correct `[notify.channels.{name}]`, or the receiver, and repeat this")));
        }
    }
    Ok(if delivered { 0 } else { EXIT_FAILED })
}

fn notice() -> Notice {
    Notice {
        id: format!("test-{}", new_run().0),
        kind: Kind::Message,
        severity: Severity::P3,
        at: text::now(),
        runbook: "runward-notify-test".to_owned(),
        run: None,
        step: None,
        reason: Some("this is a test: the channel works".to_owned()),
        params: None,
        actor: Some(actor()),
        rollback: None,
        schedule: None,
        channel: None,
    }
}
