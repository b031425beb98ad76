//! Keeps a worker from fetching what it has no slot for.
//!
//! A slot is taken before each look into Redis, kept for the hint that the look brings, and given back if it brings none:
//! several labels and the sweeper share the slots, and one that waits for hints must not keep them from the others. What
//! is under way is seen at the connection, because apalis tells nobody: [`Watched`] is polled by nothing but the look itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use apalis_core::layers::{Layer, Service};
use apalis_core::task::Task;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, Value};

use super::generation::Fetched;
use crate::queue::{Slot, Slots};

/// One look of one worker after the other.
#[derive(Default)]
pub(super) struct Look {
    slot: Mutex<Option<Slot>>,
    under_way: AtomicBool,
}

impl Look {
    fn keep(&self, slot: Option<Slot>) -> Option<Slot> {
        std::mem::replace(&mut *self.slot.lock().expect("nobody panics with it"), slot)
    }

    fn is_ready(&self) -> bool {
        self.slot.lock().expect("nobody panics with it").is_some()
    }

    /// A look that has brought nothing, and no longer goes on, needs no slot.
    pub(super) fn brought_nothing(&self) {
        if !self.under_way.load(Ordering::Relaxed) {
            self.keep(None);
        }
    }
}

/// The connection of apalis-redis, which says while it is asked.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) conn: MultiplexedConnection,
    pub(super) look: Arc<Look>,
}

struct UnderWay(Arc<Look>);

impl UnderWay {
    fn begin(look: &Arc<Look>) -> UnderWay {
        look.under_way.store(true, Ordering::Relaxed);
        UnderWay(Arc::clone(look))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.store(false, Ordering::Relaxed);
    }
}

impl ConnectionLike for Watched {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let _under_way = UnderWay::begin(&self.look);
            self.conn.req_packed_command(cmd).await
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let _under_way = UnderWay::begin(&self.look);
            self.conn.req_packed_commands(pipeline, offset, count).await
        })
    }

    fn get_db(&self) -> i64 {
        self.conn.get_db()
    }
}

pub(super) struct Gate {
    pub(super) slots: Slots,
    pub(super) look: Arc<Look>,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, slots: self.slots.clone(), look: Arc::clone(&self.look), waiting: None }
    }
}

pub(super) struct Gated<S> {
    inner: S,
    slots: Slots,
    look: Arc<Look>,
    waiting: Option<Pin<Box<dyn Future<Output = Slot> + Send>>>,
}

impl<S: Service<Task<Fetched>>> Service<Task<Fetched>> for Gated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !self.look.is_ready() {
            let slots = &self.slots;
            let waiting = self.waiting.get_or_insert_with(|| {
                let slots = slots.clone();
                Box::pin(async move { slots.take().await })
            });
            let Poll::Ready(slot) = waiting.as_mut().poll(cx) else { return Poll::Pending };
            self.waiting = None;
            self.look.keep(Some(slot));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut task: Task<Fetched>) -> S::Future {
        task.args.slot = self.look.keep(None);
        self.inner.call(task)
    }
}
