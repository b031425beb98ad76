//! What people are to be told, in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use runward_engine::run::notice::Kind;
use runward_engine::run::{Notice, RunId};

use super::{Inner, MemoryLedger};
use crate::administration::AdminEvent;
use crate::error::LedgerError;
use crate::outbox::{
    Backlog, DeliveryRow, DeliveryState, NoticeQuery, NoticeRow, Outbox, Route, STALE_AFTER, Settled, Taken, Unrouted,
    Work, is_end, outcome,
};

#[derive(Debug, Default)]
pub(super) struct Letters {
    /// By id.
    notices: BTreeMap<String, (Notice, Option<Route>)>,
    /// By notice and channel, with who is trying.
    deliveries: BTreeMap<(String, String), (DeliveryRow, Option<String>)>,
}

impl Letters {
    /// That a runbook succeeds is news only where its last end that is known was another one.
    pub(super) fn write(&mut self, notices: Vec<Notice>) {
        for notice in notices {
            let ends = self.notices.values().filter(|(it, _)| it.runbook == notice.runbook && is_end(it.kind));
            let last = ends.max_by_key(|(it, _)| (it.at, it.id.clone())).map(|(it, _)| it.kind);
            if notice.kind != Kind::Recovered || last.is_some_and(|last| last != Kind::Recovered) {
                self.notices.entry(notice.id.clone()).or_insert((notice, None));
            }
        }
    }

    fn sorted(&self) -> Vec<&(Notice, Option<Route>)> {
        let mut all: Vec<_> = self.notices.values().collect();
        all.sort_by_key(|(notice, _)| (notice.at, notice.id.clone()));
        all
    }

    fn of(&self, notice: &str) -> impl Iterator<Item = &DeliveryRow> {
        self.deliveries.iter().filter(move |((of, _), _)| of == notice).map(|(_, (row, _))| row)
    }

    fn waits(&self, notice: &str) -> bool {
        self.of(notice).any(|row| row.state == DeliveryState::Waiting)
    }

    pub(super) fn revive(&mut self, event: AdminEvent, now: i64) -> AdminEvent {
        let AdminEvent::DeliveriesRetried { mut deliveries, reason } = event else { return event };
        deliveries.retain(|it| {
            let found = self.deliveries.get_mut(&(it.notice.clone(), it.channel.clone()));
            let Some((row, _)) = found.filter(|(row, _)| row.state == DeliveryState::Dead) else { return false };
            (row.state, row.tries, row.ended_at) = (DeliveryState::Waiting, 0, None);
            (row.due_at, row.until) = (now, now + STALE_AFTER.as_millis() as i64);
            true
        });
        AdminEvent::DeliveriesRetried { deliveries, reason }
    }
}

impl Inner {
    /// Removes what is settled of runs that are gone, and of ticks that were missed before this moment.
    pub(super) fn prune_letters(&mut self, ticks_before: Option<i64>, now: i64) {
        let stale = now - STALE_AFTER.as_millis() as i64;
        let gone = |(notice, route): &(Notice, Option<Route>)| {
            let over = match &notice.run {
                Some(run) => !self.runs.contains_key(run),
                None => ticks_before.is_some_and(|before| notice.at < before),
            };
            over && (route.is_some() || notice.at < stale) && !self.letters.waits(&notice.id)
        };
        let gone: Vec<String> =
            self.letters.notices.values().filter(|it| gone(it)).map(|(it, _)| it.id.clone()).collect();
        self.letters.notices.retain(|id, _| !gone.contains(id));
        self.letters.deliveries.retain(|(id, _), _| !gone.contains(id));
    }
}

impl MemoryLedger {
    fn letters<T>(&self, f: impl FnOnce(&mut Letters, i64) -> T) -> Result<T, LedgerError> {
        let now = self.surroundings.now_ms();
        Ok(self.with(|inner| f(&mut inner.letters, now)))
    }
}

#[async_trait]
impl Outbox for MemoryLedger {
    async fn work(&self) -> Result<Work, LedgerError> {
        self.letters(|letters, now| {
            let mut work =
                Work { unrouted: letters.notices.values().any(|(_, route)| route.is_none()), ..Work::default() };
            for ((_, channel), (row, _)) in letters.deliveries.iter().filter(|(_, (row, _))| is_waiting(row)) {
                if row.due_at > now {
                    work.next_ms = work.next_ms.into_iter().chain([(row.due_at - now) as u64]).min();
                } else if !work.channels.contains(channel) {
                    work.channels.push(channel.clone());
                }
            }
            work
        })
    }

    async fn expire(&self, of: Option<&[RunId]>) -> Result<u64, LedgerError> {
        self.letters(|letters, now| {
            let stale = now - STALE_AFTER.as_millis() as i64;
            let wanted = |it: &Notice| of.is_none_or(|of| it.run.as_ref().is_some_and(|run| of.contains(run)));
            let late =
                letters.notices.values_mut().filter(|(it, route)| route.is_none() && it.at < stale && wanted(it));
            late.map(|(_, route)| *route = Some(Route::Nowhere(Unrouted::TooOld))).count() as u64
        })
    }

    async fn unrouted(&self, of: Option<&[RunId]>, limit: u32) -> Result<Vec<Notice>, LedgerError> {
        self.letters(|letters, _| {
            let open = letters.sorted().into_iter().filter(|(_, route)| route.is_none()).map(|(notice, _)| notice);
            let wanted = |it: &&Notice| of.is_none_or(|of| it.run.as_ref().is_some_and(|run| of.contains(run)));
            open.filter(wanted).take(limit as usize).cloned().collect()
        })
    }

    async fn route(&self, routes: &[(String, Route)]) -> Result<(), LedgerError> {
        self.letters(|letters, now| {
            for (id, route) in routes {
                let Some((_, open @ None)) = letters.notices.get_mut(id) else { continue };
                *open = Some(route.clone());
                let Route::To(channels) = route else { continue };
                for channel in channels {
                    let row = DeliveryRow {
                        channel: channel.clone(),
                        state: DeliveryState::Waiting,
                        tries: 0,
                        due_at: now,
                        until: now + STALE_AFTER.as_millis() as i64,
                        ended_at: None,
                        error: None,
                        away: false,
                    };
                    letters.deliveries.insert((id.clone(), channel.clone()), (row, None));
                }
            }
        })
    }

    async fn take(&self, channel: &str, sender: &str, limit: u32, lease: Duration) -> Result<Vec<Taken>, LedgerError> {
        self.letters(|letters, now| {
            let due = |((_, of), (row, _)): &(&(String, String), &mut (DeliveryRow, Option<String>))| {
                of == channel && is_waiting(row) && row.due_at <= now
            };
            for (_, (row, whose)) in letters.deliveries.iter_mut().filter(due).filter(|(_, (row, _))| row.until <= now)
            {
                (row.state, row.ended_at, *whose) = (DeliveryState::Dead, Some(now), None);
                let why = row.error.take().map(|why| format!(": {why}")).unwrap_or_default();
                row.error = Some(format!("given up, it was not delivered in a day{why}"));
            }
            let mut found: Vec<_> = letters.deliveries.iter_mut().filter(due).collect();
            found.sort_by_key(|((id, _), (row, _))| (row.due_at, id.clone()));
            let mut taken = Vec::new();
            for ((id, _), (row, whose)) in found.into_iter().take(limit as usize) {
                row.tries += 1;
                row.due_at = now + lease.as_millis() as i64;
                *whose = Some(sender.to_owned());
                let Some((notice, _)) = letters.notices.get(id) else { continue };
                taken.push(Taken { notice: notice.clone(), channel: channel.to_owned(), tries: row.tries });
            }
            taken.sort_by_key(|it| (it.notice.at, it.notice.id.clone()));
            taken
        })
    }

    async fn settle(&self, taken: &Taken, sender: &str, settled: &Settled) -> Result<bool, LedgerError> {
        self.letters(|letters, now| {
            let found = letters.deliveries.get_mut(&(taken.notice.id.clone(), taken.channel.clone()));
            let ours = found.filter(|(row, whose)| is_waiting(row) && whose.as_deref() == Some(sender));
            let Some((row, whose)) = ours else { return false };
            (row.state, row.due_at, row.error) = outcome(settled, now, row.until);
            (row.ended_at, row.away) = ((!is_waiting(row)).then_some(now), settled.is_away());
            *whose = None;
            true
        })
    }

    async fn hurry(&self, channel: &str) -> Result<u64, LedgerError> {
        self.letters(|letters, now| {
            let waits = |row: &DeliveryRow| row.channel == channel && is_waiting(row) && row.due_at > now && row.away;
            let found = letters.deliveries.values_mut().filter(|(row, whose)| waits(row) && whose.is_none());
            found.map(|(row, _)| row.due_at = now).count() as u64
        })
    }

    async fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRow>, LedgerError> {
        self.letters(|letters, _| {
            let row = |(notice, route): &(Notice, Option<Route>)| NoticeRow {
                notice: notice.clone(),
                unrouted: route.is_none(),
                nowhere: route.as_ref().and_then(nowhere),
                deliveries: letters.of(&notice.id).cloned().collect(),
            };
            let wanted = |row: &NoticeRow| {
                (query.run.is_none() || row.notice.run == query.run)
                    && query.state.is_none_or(|state| row.deliveries.iter().any(|it| it.state == state))
            };
            let rows = letters.sorted().into_iter().rev().map(row).filter(wanted);
            rows.take(query.limit.unwrap_or(u32::MAX) as usize).collect()
        })
    }

    async fn backlog(&self) -> Result<Backlog, LedgerError> {
        self.letters(|letters, _| {
            let open = |(notice, route): &&(Notice, Option<Route>)| route.is_none() || letters.waits(&notice.id);
            let count = |state| letters.deliveries.values().filter(|(row, _)| row.state == state).count() as u64;
            Backlog {
                unrouted: letters.notices.values().filter(|(_, route)| route.is_none()).count() as u64,
                waiting: count(DeliveryState::Waiting),
                oldest: letters.notices.values().filter(open).map(|(notice, _)| notice.at).min(),
                dead: count(DeliveryState::Dead),
            }
        })
    }
}

fn is_waiting(row: &DeliveryRow) -> bool {
    row.state == DeliveryState::Waiting
}

fn nowhere(route: &Route) -> Option<Unrouted> {
    match route {
        Route::Nowhere(why) => Some(*why),
        Route::To(_) => None,
    }
}
