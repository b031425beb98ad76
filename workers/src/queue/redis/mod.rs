//! Hints on Redis, carried by apalis.
//!
//! apalis-redis 1.0.0 gives up at the first error, keeps what is finished for ever, and is brought to its knees by a long
//! backlog; everything in here is about that. Its wire format is relied on, and pinned by a test.
//!
//! - `push`: from whoever commits, with scripts in `scripts`
//! - `supervise`: one worker a label, for ever; `generation`: one life of it
//! - `gate`: no more than there are slots; `bell`: when to look
//! - `address`, `keys`: where
//! - `examine`: how it is, for the doctor

mod address;
mod bell;
mod examine;
mod gate;
mod generation;
mod keys;
mod push;
mod scripts;
mod supervise;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use address::{Address, BadAddress};
pub use examine::{RedisServer, RedisStatus, examine};

use self::generation::Delivery;
use self::keys::Keys;
use self::push::Pusher;
use super::health::Board;
use super::{Health, Hint, Offer, Pushed, Queue, Unheard, stopped};

pub struct RedisQueue {
    place: Arc<Place>,
    pusher: Pusher,
    board: Arc<Board>,
}

/// How often a worker does what.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Says that it lives, and cleans up.
    pub beat: Duration,
    /// Is taken for gone after so much silence; several beats.
    pub silent: Duration,
    /// Looks for hints although the bell has not rung.
    pub look: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { beat: Duration::from_secs(5), silent: Duration::from_secs(30), look: Duration::from_secs(2) }
    }
}

struct Place {
    address: Address,
    prefix: String,
    pace: Pace,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot begin the names of keys in Redis: 1 to 64 letters, digits, `-`, `_`, `.` and `:` can")]
pub struct BadPrefix(String);

impl RedisQueue {
    /// Opens no connection yet. The names of all keys and channels begin with the prefix: a Redis can serve several clusters.
    pub fn new(address: Address, prefix: &str, pace: Pace) -> Result<RedisQueue, BadPrefix> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.chars().all(plain) {
            return Err(BadPrefix(prefix.to_owned()));
        }
        let place = Arc::new(Place { address, prefix: prefix.to_owned(), pace });
        Ok(RedisQueue { pusher: Pusher::new(Arc::clone(&place)), place, board: Arc::default() })
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn push_hints(&self, hints: &[Hint]) -> Result<Pushed, Unheard> {
        self.pusher.push(hints).await
    }

    async fn run_worker(&self, offer: Offer, stop: watch::Receiver<bool>) {
        let mut labels = JoinSet::new();
        for label in &offer.labels {
            let delivery = Delivery {
                place: Arc::clone(&self.place),
                board: Arc::clone(&self.board),
                offer: offer.clone(),
                label: label.clone(),
                keys: Keys::new(&self.place.prefix, label, &self.place.pace),
            };
            labels.spawn(supervise::supervise(delivery, stop.clone()));
        }
        labels.join_all().await;
        stopped(stop).await; // without labels there is nothing to wait for but this
    }

    fn health(&self) -> Health {
        self.board.health()
    }
}

/// A number that nobody else draws: for names, and to keep the workers of a cluster out of step.
fn chance() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_would_break_the_keys_is_refused() {
        let queue = |prefix: &str| RedisQueue::new(Address::parse("redis://h").unwrap(), prefix, Pace::default()).err();
        assert_eq!(queue("prod:runward"), None);
        for bad in ["", "a b", "a*", "a\n", "ä", &"x".repeat(65)] {
            assert_eq!(queue(bad), Some(BadPrefix(bad.to_owned())));
        }
    }
}
