//! One life of the worker of one label: a connection, a registration, and apalis on top of it.
//!
//! Anything that goes wrong ends it, and `supervise` builds the next one. What is under way then goes on: a hint that was
//! taken runs in a task of its own. apalis-redis is never told of a failure, because it would run the hint again by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apalis_core::backend::codec::Codec;
use apalis_core::backend::ext::BackendExt;
use apalis_core::error::WorkerError;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_redis::RedisStorage;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{debug, info, warn};

use super::address::Rope;
use super::bell::Bell;
use super::gate::{Gate, Look, Watched};
use super::keys::Keys;
use super::{Place, scripts};
use crate::queue::health::Board;
use crate::queue::hint::Hint;
use crate::queue::{Offer, Slot, stopped};

/// apalis-redis ends a worker at the first answer that takes longer; half a second, its own choice, is any hiccup.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(20);
/// To hand over, when told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// A body as it came, whatever it is: what cannot be read must not end the worker.
pub(super) struct Fetched {
    body: Vec<u8>,
    pub(super) slot: Option<Slot>,
}

struct AsItIs;

impl Codec<Fetched> for AsItIs {
    type Error = std::convert::Infallible;
    type Compact = Vec<u8>;

    fn encode(&self, fetched: &Fetched) -> Result<Vec<u8>, Self::Error> {
        Ok(fetched.body.clone())
    }

    fn decode(&self, body: &Vec<u8>) -> Result<Fetched, Self::Error> {
        Ok(Fetched { body: body.clone(), slot: None })
    }
}

/// The deliveries of one label.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) place: Arc<Place>,
    pub(super) board: Arc<Board>,
    pub(super) offer: Offer,
    pub(super) label: String,
    pub(super) keys: Keys,
}

impl Delivery {
    /// Runs until told to stop, or until something is wrong, and says what. `name` was never used before; `last` is the
    /// name of the life before this one.
    pub(super) async fn live(
        &self,
        name: &str,
        last: Option<&str>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        let words = |error: &redis::RedisError| self.place.address.words(error);
        let (bell, rings) = mpsc::channel(1);
        let over = Arc::new(Notify::new());
        let rope = Rope { bell, over: Arc::clone(&over) };
        let mut conn = self.place.address.connect(RESPONSE_TIMEOUT, Some(rope)).await.map_err(|e| words(&e))?;
        self.prepare(&mut conn, name, last).await.map_err(|e| words(&e))?;

        let worker = self.worker(conn.clone(), name, rings, stop.clone());
        let end = tokio::select! {
            ended = worker => ended.map_err(|error| self.worker_words(&error)),
            why = self.tend(conn.clone(), name) => Err(why),
            () = over.notified() => Err(format!("Redis at {} closed the connection", self.place.address)),
            () = async { stopped(stop.clone()).await; tokio::time::sleep(GRACE).await } => Ok(()),
        };
        if end.is_ok()
            && let Err(error) = scripts::leave(&mut conn, &self.keys, name).await
        {
            debug!(label = %self.label, "did not sign off: {}", words(&error));
        }
        end
    }

    async fn prepare(
        &self,
        conn: &mut MultiplexedConnection,
        name: &str,
        last: Option<&str>,
    ) -> redis::RedisResult<()> {
        conn.subscribe(self.keys.bell()).await?;
        scripts::open(conn, &self.keys, name, &self.place.pace).await?;
        if let Some(last) = last {
            scripts::leave(conn, &self.keys, last).await?;
        }
        while scripts::tend(conn, &self.keys, name, &self.place.pace, "0").await?.forgotten > 0 {}
        let thrown = scripts::mend(conn, &self.keys).await?;
        if thrown > 0 {
            warn!(label = %self.label, thrown, "threw away what is no hint of runward");
        }
        Ok(())
    }

    /// Not async, and boxed: the bounds of apalis-core do not hold for a future that borrows.
    fn worker(
        &self,
        conn: MultiplexedConnection,
        name: &str,
        rings: mpsc::Receiver<()>,
        stop: watch::Receiver<bool>,
    ) -> Pin<Box<dyn Future<Output = Result<(), WorkerError>> + Send>> {
        let look = Arc::new(Look::default());
        let bell = Bell::new(Arc::clone(&look), rings, self.place.pace.look);
        let conn = Watched { conn, look: Arc::clone(&look) };
        let storage = RedisStorage::<Fetched, Watched>::new(conn).with_config(self.keys.config());
        let delivery = self.clone();
        let worker = WorkerBuilder::new(name)
            .backend(storage.with_codec(AsItIs).poll_with_strategy(bell))
            .layer(Gate { slots: self.offer.slots.clone(), look })
            .build(move |fetched: Fetched| {
                // Spawned: it outlives this worker, and a panic is not a failure that apalis-redis would try again.
                let taken = tokio::spawn(delivery.clone().deliver(fetched));
                async move {
                    if taken.await.is_err() {
                        warn!("what takes the hints has panicked");
                    }
                }
            });
        Box::pin(worker.run_until(async move {
            stopped(stop).await;
            Ok::<(), std::io::Error>(())
        }))
    }

    async fn deliver(self, fetched: Fetched) {
        let hint = match Hint::read(&fetched.body) {
            Ok(hint) if hint.label == self.label => hint,
            unread => {
                debug!(label = %self.label, "no hint for this worker: {unread:?}");
                return self.board.count(&self.board.junk);
            }
        };
        let slot = match fetched.slot {
            Some(slot) => slot,
            None => self.offer.slots.take().await, // the gate lets none through without
        };
        self.board.count(&self.board.taken);
        (self.offer.take)(hint, slot).await;
    }

    /// Beats and cleans up until something is wrong with the registration or the connection.
    async fn tend(&self, mut conn: MultiplexedConnection, name: &str) -> String {
        let words = |error: &redis::RedisError| self.place.address.words(error);
        match self.registered(&mut conn, name).await {
            Ok(true) => self.up(),
            Ok(false) => return format!("the worker could not register with Redis at {}", self.place.address),
            Err(error) => return words(&error),
        }
        let (pace, mut cursor, mut more) = (&self.place.pace, "0".to_owned(), false);
        loop {
            tokio::time::sleep(if more { SOON.min(pace.beat) } else { pace.beat }).await;
            let tended = match scripts::tend(&mut conn, &self.keys, name, pace, &cursor).await {
                Ok(tended) => tended,
                Err(error) => return words(&error),
            };
            if !tended.registered {
                return format!("Redis at {} has forgotten this worker: was it emptied?", self.place.address);
            }
            (cursor, more) = (tended.cursor, tended.forgotten >= scripts::CHUNK);
        }
    }

    /// Whether apalis has registered the worker, before its sign of life is over.
    async fn registered(&self, conn: &mut MultiplexedConnection, name: &str) -> redis::RedisResult<bool> {
        let began = Instant::now();
        while began.elapsed() < self.place.pace.silent {
            if scripts::registered(conn, &self.keys, name).await? {
                return Ok(true);
            }
            tokio::time::sleep(SOON).await;
        }
        Ok(false)
    }

    fn up(&self) {
        if let Some(outage) = self.board.up(&self.label) {
            let seconds = outage.since.elapsed().as_secs();
            info!(label = %self.label, "hints are delivered again, after {seconds} s");
        }
    }

    fn worker_words(&self, error: &WorkerError) -> String {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            if let Some(error) = inner.downcast_ref::<redis::RedisError>() {
                return self.place.address.words(error);
            }
            cause = inner.source();
        }
        format!("the delivery from Redis at {} ended: {error}", self.place.address)
    }
}
