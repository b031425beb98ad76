//! `runward notify deliver`: what is due, each once. What fails is left for the next time, as the ledger says when.

use std::time::Duration;

use runward_workers::outbox::Scope;

use crate::args::Format;
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::{EXIT_FAILED, Failure};
use crate::open::{home, open};
use crate::{letters, text};

/// Longer than any one try: whoever hangs up while a mail is being accepted sends it again.
const PATIENCE: Duration = Duration::from_secs(330);

pub async fn run(config: &Config, format: Format) -> Result<i32, Failure> {
    let opened = open(config).await?;
    if config.settings.notify.is_empty() {
        return Err(Failure::usage("no channel is configured, so there is nobody to tell")
            .help("write `[notify.channels.NAME]` into runward.toml: docs/how-to/notifications.md"));
    }
    let outbox = opened.outbox();
    let mut postman = letters::postman(outbox.clone(), &config.settings, &home(&config.settings)?, Scope::All);
    postman.finish(PATIENCE).await?;
    let left = outbox.backlog().await?;
    match format {
        Format::Json => print_json(&left),
        Format::Text if left.waiting + left.unrouted + left.dead == 0 => print_line("nothing is on its way"),
        Format::Text => {
            let waits = left.waiting + left.unrouted;
            let since = left.oldest.map(|at| format!(", the oldest since {}", text::time(at))).unwrap_or_default();
            print_line(&format!(
                "{waits} on their way{since}; {} (`runward notify list --dead`)",
                text::count(left.dead, "dead letter")
            ));
        }
    }
    Ok(if left.waiting + left.unrouted > 0 { EXIT_FAILED } else { 0 })
}
