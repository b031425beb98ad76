//! Notifications that do not arrive, or that nobody sends.

use runward_store::outbox::Backlog;

use super::check::Check;
use crate::config::Config;
use crate::open::open;
use crate::text;

pub async fn notify(config: &Config) -> Check {
    let opened = match open(config).await {
        Ok(opened) => opened,
        Err(failure) => return Check::unknown("notify", failure.summary()),
    };
    match opened.outbox().backlog().await {
        Ok(backlog) => judge(&backlog, config.settings.notify.channels.len(), text::now()),
        Err(error) => Check::unknown("notify", error.to_string()),
    }
}

/// On its way for longer than this is a sign that nobody delivers, in milliseconds.
const SLOW_MS: i64 = 10 * 60 * 1000;

fn judge(backlog: &Backlog, channels: usize, now: i64) -> Check {
    let configured = match channels {
        0 => "no channel is configured: nobody is told of anything".to_owned(),
        n => text::count(n as u64, "channel"),
    };
    let on_the_way = backlog.waiting + backlog.unrouted;
    let since = backlog.oldest.map(|at| format!(", the oldest since {}", text::time(at))).unwrap_or_default();
    let waits = (on_the_way > 0).then(|| {
        let are = if on_the_way == 1 { "is" } else { "are" };
        format!("{} {are} on their way{since}", text::count(on_the_way, "notification"))
    });
    let dead = (backlog.dead > 0).then(|| text::count(backlog.dead, "dead letter"));
    let late = backlog.oldest.is_some_and(|at| now.saturating_sub(at) > SLOW_MS);
    let says = std::iter::once(configured).chain(waits).chain(dead.clone()).collect::<Vec<_>>().join("; ");
    match (dead, late && channels > 0) {
        (Some(_), _) => {
            Check::warn("notify", says, "`runward notify list --dead` says why, `runward notify retry` tries again")
        }
        (None, true) => Check::warn(
            "notify",
            says,
            "`runward notify list --waiting` says why; `runward server`, or `runward notify deliver` in a crontab, sends them",
        ),
        (None, false) => Check::ok("notify", says),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn what_waits_for_long_and_what_is_dead_is_a_warning() {
        let judged = |backlog: &Backlog, channels| judge(backlog, channels, 10_000_000);
        assert_eq!(judged(&Backlog::default(), 0).verdict, Verdict::Ok);
        let fresh = Backlog { waiting: 3, oldest: Some(9_999_000), ..Backlog::default() };
        let said = judged(&fresh, 1);
        assert_eq!(said.verdict, Verdict::Ok);
        assert!(said.says.contains("3 notifications are on their way"), "{said:?}");
        assert_eq!(judged(&Backlog { oldest: Some(0), ..fresh.clone() }, 1).verdict, Verdict::Warn);
        assert_eq!(judged(&Backlog { oldest: Some(0), ..fresh }, 0).verdict, Verdict::Ok, "nobody is to be told");
        assert_eq!(judged(&Backlog { dead: 1, ..Backlog::default() }, 1).verdict, Verdict::Warn);
    }
}
