//! The way of a hint to Redis, from whoever has just committed.
//!
//! It may not hold up a driver: after a failure nobody tries again before a pause is over, and a connection that does not
//! answer is dropped, because it may be half open and stay so for a quarter of an hour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::keys::Keys;
use super::{Place, chance, scripts, supervise::pause};
use crate::queue::{Hint, Pushed, Unheard};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Pusher {
    place: Arc<Place>,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    conn: Option<MultiplexedConnection>,
    /// Counts connections, so that an old failure does not close a new one.
    number: u64,
    failures: u32,
    resting: Option<(Instant, String)>,
}

impl Pusher {
    pub(super) fn new(place: Arc<Place>) -> Pusher {
        Pusher { place, link: Mutex::default() }
    }

    pub(super) async fn push(&self, hints: &[Hint]) -> Result<Pushed, Unheard> {
        let mut sum = Pushed::default();
        for (label, hints) in by_label(hints) {
            let keys = Keys::new(&self.place.prefix, label, &self.place.pace);
            for chunk in hints.chunks(scripts::CHUNK) {
                let pushed = self.chunk(&keys, chunk).await.map_err(Unheard)?;
                sum.new += pushed.new;
                sum.known += pushed.known;
                sum.refused += pushed.refused;
            }
        }
        Ok(sum)
    }

    async fn chunk(&self, keys: &Keys, hints: &[&Hint]) -> Result<Pushed, String> {
        let (mut conn, number) = self.link().await?;
        match scripts::push(&mut conn, keys, hints).await {
            Ok(pushed) => Ok(pushed),
            Err(error) => {
                let mut link = self.link.lock().await;
                if link.number == number {
                    link.failed(&self.place, &error);
                }
                Err(self.place.address.words(&error))
            }
        }
    }

    async fn link(&self) -> Result<(MultiplexedConnection, u64), String> {
        let mut link = self.link.lock().await;
        if let Some(conn) = &link.conn {
            return Ok((conn.clone(), link.number));
        }
        if let Some((until, why)) = &link.resting
            && Instant::now() < *until
        {
            return Err(why.clone());
        }
        match self.place.address.connect(RESPONSE_TIMEOUT, None).await {
            Ok(conn) => {
                link.number += 1;
                (link.failures, link.resting) = (0, None);
                link.conn = Some(conn.clone());
                Ok((conn, link.number))
            }
            Err(error) => {
                link.failed(&self.place, &error);
                Err(self.place.address.words(&error))
            }
        }
    }
}

impl Link {
    fn failed(&mut self, place: &Place, error: &RedisError) {
        self.conn = None;
        self.failures = self.failures.saturating_add(1);
        self.resting = Some((Instant::now() + pause(self.failures, chance()), place.address.words(error)));
    }
}

fn by_label(hints: &[Hint]) -> BTreeMap<&str, Vec<&Hint>> {
    let mut labels: BTreeMap<&str, Vec<&Hint>> = BTreeMap::new();
    for hint in hints {
        labels.entry(&hint.label).or_default().push(hint);
    }
    labels
}
