//! A random world of senders that die at any moment, receivers that refuse or are away, and people who prune and try again:
//! each message arrives at least once under its one id, or is counted as one that did not (fault F55, invariant I20).
//!
//! Who dies has a lease that is over at once: what a real one leaves comes due after its lease, and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use runward_engine::run::retry::draw;

use super::outbox::{FAILED, Letters, ends, to};
use super::prune;
use crate::administration::{AdminEvent, DeliveryRef, PrunedRun};
use crate::outbox::{DeliveryState, NoticeQuery, Outbox, Settled, Taken};

const CHANNELS: [&str; 3] = ["ops", "oncall", "room"];
const SENDERS: [&str; 3] = ["one", "two", "three"];
const LEASE: Duration = Duration::from_secs(3600);
const ROUNDS: u32 = 200;

/// A notice and a channel.
type Letter = (String, String);

/// What has to be so, whatever the ledger says.
#[derive(Default)]
struct World {
    draws: u32,
    runs: u32,
    pruned: BTreeSet<String>,
    letters: BTreeMap<Letter, DeliveryState>,
    /// Who has it under a lease that is not over.
    held: BTreeMap<Letter, (usize, Taken)>,
    /// What came to the receivers, with the id that it came with.
    came: BTreeSet<Letter>,
}

impl World {
    fn draw(&mut self, below: u32) -> u32 {
        self.draws += 1;
        draw(7, "senders", self.draws) % below
    }

    async fn fails(&mut self, ledger: &dyn Outbox) {
        self.runs += 1;
        ends(ledger, &format!("run-{:03}", self.runs), FAILED).await;
        let mut channels = CHANNELS.to_vec();
        channels.retain(|_| self.draw(2) == 0);
        for notice in to(ledger, &channels).await {
            let letters =
                channels.iter().map(|&channel| ((notice.id.clone(), channel.to_owned()), DeliveryState::Waiting));
            self.letters.extend(letters);
        }
    }

    /// Takes some of a channel, sends what it wants, and dies or says what came of it.
    async fn sends(&mut self, ledger: &dyn Outbox) {
        let (sender, channel) = (self.draw(3) as usize, CHANNELS[self.draw(3) as usize]);
        let (limit, dies) = (1 + self.draw(3), self.draw(3) == 0);
        let lease = if dies { Duration::ZERO } else { LEASE };
        for taken in ledger.take(channel, SENDERS[sender], limit, lease).await.unwrap() {
            let letter = (taken.notice.id.clone(), taken.channel.clone());
            assert_eq!(self.letters.get(&letter), Some(&DeliveryState::Waiting), "{letter:?}");
            assert!(!self.held.contains_key(&letter), "{letter:?} is somebody else's");
            match dies {
                true if self.draw(2) == 0 => _ = self.came.insert(letter), // it was sent, and nobody wrote it down
                true => {}
                false => _ = self.held.insert(letter, (sender, taken)),
            }
        }
    }

    async fn settles(&mut self, ledger: &dyn Outbox) {
        let nth = self.draw(4) as usize;
        let Some(letter) = self.held.keys().nth(nth).cloned() else { return };
        let Some((sender, taken)) = self.held.remove(&letter) else { return };
        let error = "HTTP 503".to_owned();
        let settled = match self.draw(5) {
            0 | 1 => Settled::DELIVERED,
            2 => Settled::Later { after: Duration::ZERO, error, away: true },
            3 => Settled::Later { after: LEASE, error, away: true },
            _ => Settled::Dead { error },
        };
        let other = SENDERS[(sender + 1) % SENDERS.len()];
        assert!(!ledger.settle(&taken, other, &Settled::DELIVERED).await.unwrap(), "it is not his");
        assert!(ledger.settle(&taken, SENDERS[sender], &settled).await.unwrap());
        assert!(!ledger.settle(&taken, SENDERS[sender], &Settled::DELIVERED).await.unwrap(), "it was settled");
        let state = match settled {
            Settled::Delivered { .. } => DeliveryState::Delivered,
            Settled::Dead { .. } => DeliveryState::Dead,
            Settled::Later { .. } => DeliveryState::Waiting,
        };
        if state == DeliveryState::Delivered {
            self.came.insert(letter.clone());
        }
        self.letters.insert(letter, state);
    }

    async fn tries_the_dead_again(&mut self, ledger: &dyn Outbox) {
        let all = self.letters.keys();
        let refs = all.map(|(notice, channel)| DeliveryRef { notice: notice.clone(), channel: channel.clone() });
        let event = AdminEvent::DeliveriesRetried { deliveries: refs.collect(), reason: None };
        ledger.administer(event, "alice").await.unwrap();
        let dead = self.letters.values_mut().filter(|state| **state == DeliveryState::Dead);
        dead.for_each(|state| *state = DeliveryState::Waiting);
    }

    /// A run that is gone takes with it what is settled, and nothing that waits.
    async fn prunes(&mut self, ledger: &dyn Outbox) {
        let id = format!("run-{:03}", 1 + self.draw(self.runs.max(1)));
        if self.runs == 0 || !self.pruned.insert(id.clone()) {
            return;
        }
        let run = PrunedRun::of(&ledger.load(&id.as_str().into()).await.unwrap());
        assert_eq!(prune(ledger, vec![run]).await.len(), 1);
        let waiting: BTreeSet<String> = self.waiting().map(|(notice, _)| notice.clone()).collect();
        let pruned = &self.pruned;
        // Each pruning takes whatever is over of any run that is gone.
        self.letters.retain(|(notice, _), _| waiting.contains(notice) || !pruned.iter().any(|run| of(notice, run)));
    }

    fn waiting(&self) -> impl Iterator<Item = &Letter> {
        self.letters.iter().filter(|(_, state)| **state == DeliveryState::Waiting).map(|(letter, _)| letter)
    }

    async fn is_what_the_ledger_says(&self, ledger: &dyn Outbox) {
        let rows = ledger.notices(&NoticeQuery::default()).await.unwrap();
        let rows = rows.iter().flat_map(|row| row.deliveries.iter().map(|it| (row.notice.id.clone(), it)));
        let says: BTreeMap<Letter, DeliveryState> =
            rows.map(|(notice, it)| ((notice, it.channel.clone()), it.state)).collect();
        assert_eq!(says, self.letters);
        let backlog = ledger.backlog().await.unwrap();
        let count = |state| self.letters.values().filter(|it| **it == state).count() as u64;
        assert_eq!(
            (backlog.unrouted, backlog.waiting, backlog.dead),
            (0, count(DeliveryState::Waiting), count(DeliveryState::Dead))
        );
        let delivered = self.letters.iter().filter(|(_, state)| **state == DeliveryState::Delivered);
        let silent: Vec<_> = delivered.filter(|(letter, _)| !self.came.contains(*letter)).collect();
        assert!(silent.is_empty(), "nobody ever saw {silent:?}");
    }
}

fn of(notice: &str, run: &str) -> bool {
    notice.strip_prefix(run).is_some_and(|rest| rest.starts_with('-'))
}

pub async fn whatever_becomes_of_senders_each_message_arrives_or_is_counted_as_dead(ledger: Letters) {
    let ledger: Arc<dyn Outbox> = ledger;
    let mut world = World::default();
    for _ in 0..ROUNDS {
        match world.draw(20) {
            0..=3 => world.fails(&*ledger).await,
            4..=10 => world.sends(&*ledger).await,
            11..=16 => world.settles(&*ledger).await,
            17 => _ = ledger.hurry(CHANNELS[world.draw(3) as usize]).await.unwrap(),
            18 => world.tries_the_dead_again(&*ledger).await,
            _ => world.prunes(&*ledger).await,
        }
        world.is_what_the_ledger_says(&*ledger).await;
    }
    assert!(world.came.len() > 20 && world.pruned.len() > 3, "too little happened");
    // Everybody is back, and stays.
    while !world.held.is_empty() {
        world.settles(&*ledger).await;
    }
    for channel in CHANNELS {
        ledger.hurry(channel).await.unwrap();
        for taken in ledger.take(channel, "last", 1000, LEASE).await.unwrap() {
            let letter = (taken.notice.id.clone(), taken.channel.clone());
            assert!(ledger.settle(&taken, "last", &Settled::DELIVERED).await.unwrap());
            world.came.insert(letter.clone());
            world.letters.insert(letter, DeliveryState::Delivered);
        }
    }
    assert_eq!(world.waiting().count(), 0, "something is never told");
    world.is_what_the_ledger_says(&*ledger).await;
}
