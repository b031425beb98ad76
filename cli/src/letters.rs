//! Delivering notifications from this process: beside a run and for a moment after its end, and what is said of it then.

use std::sync::Arc;
use std::time::Duration;

use runward_engine::run::RunId;
use runward_store::outbox::{DeliveryRow, DeliveryState, NoticeQuery, Outbox};
use runward_workers::home::{Home, WorkerLock};
use runward_workers::outbox::send::Sender;
use runward_workers::outbox::{Postman, Scope};
use runward_workers::secrets::find::Place;

use crate::commands::host;
use crate::config::Settings;
use crate::open::{Opened, new_session};
use crate::text;

/// How long a command stays for what is being sent when its run is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// From where messages are sent.
pub fn sender(settings: &Settings, home: &Home) -> Sender {
    Sender {
        host: host(),
        secrets: Place { cwd: home.root().to_owned(), sealed: home.sealed() },
        http: settings.http.clone(),
    }
}

pub fn postman(outbox: Arc<dyn Outbox>, settings: &Settings, home: &Home, scope: Scope) -> Postman {
    Postman::new(outbox, settings.notify.clone(), sender(settings, home), new_session().0, scope)
}

/// What a driver does about the notifications of its runs, at their end. One that has no channels leaves them to a server.
pub async fn finish(opened: &Opened, home: &Home, postman: &mut Postman, runs: Vec<RunId>) {
    if opened.settings.notify.is_empty() && WorkerLock::holder(home).is_some() {
        return;
    }
    if let Err(error) = postman.finish(PATIENCE).await {
        tracing::warn!("notifications wait: {error}");
    }
    for run in &runs {
        say(opened, run).await;
    }
}

/// What of the notifications of a run has not arrived.
async fn say(opened: &Opened, run: &RunId) {
    let query = NoticeQuery { run: Some(run.clone()), ..NoticeQuery::default() };
    let Ok(rows) = opened.outbox().notices(&query).await else { return };
    for row in rows.iter().flat_map(|row| &row.deliveries) {
        match (row.state, &row.error) {
            (DeliveryState::Dead, Some(why)) => eprintln!(
                "! a notification by {} is a dead letter: {}; `runward notify list --dead` shows it",
                text::safe(&row.channel),
                text::safe(why)
            ),
            (DeliveryState::Waiting, _) if !opened.settings.notify.channels.contains_key(&row.channel) => eprintln!(
                "! a notification by {} waits: no channel `{0}` is configured here; whoever has it sends it, within a day",
                text::safe(&row.channel)
            ),
            (DeliveryState::Waiting, why) => eprintln!(
                "! a notification by {} has not arrived yet{}; a server, the next run here, or `runward notify deliver` \
                 sends it again",
                text::safe(&row.channel),
                why.as_ref().map(|why| format!(": {}", text::safe(why))).unwrap_or_default()
            ),
            (DeliveryState::Delivered, Some(missed)) => eprintln!(
                "! a notification by {} reached some of its receivers, but not {}",
                text::safe(&row.channel),
                text::safe(missed)
            ),
            _ => {}
        }
    }
}

/// How far a delivery is, in words.
pub fn progress(row: &DeliveryRow) -> String {
    let channel = text::safe(&row.channel);
    let why = row.error.as_ref().map(|why| format!(": {}", text::safe(why))).unwrap_or_default();
    match row.state {
        DeliveryState::Delivered => {
            let missed = row.error.as_ref().map(|why| format!(", but not to {}", text::safe(why))).unwrap_or_default();
            format!("{channel}: delivered at {}{missed}", text::time(row.ended_at.unwrap_or(row.due_at)))
        }
        DeliveryState::Dead => format!("{channel}: dead after {}{why}", text::count(u64::from(row.tries), "attempt")),
        DeliveryState::Waiting if row.tries == 0 => format!("{channel}: queued"),
        DeliveryState::Waiting => {
            let tries = text::count(u64::from(row.tries), "attempt");
            format!("{channel}: not yet, {tries}, again at {}{why}", text::time(row.due_at))
        }
    }
}
