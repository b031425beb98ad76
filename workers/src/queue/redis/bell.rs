//! When a worker looks into Redis: when the bell rings, and every few seconds without it.
//!
//! The strategies of apalis-core arm a timer and forget to poll it, or take a ring while an earlier look is still under way;
//! both lose it until the next heartbeat. This one polls everything until it is pending, and answers a ring twice: at once,
//! and once more when a look that was under way has surely ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use super::gate::Look;

const AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Bell {
    look: Arc<Look>,
    rings: mpsc::Receiver<()>,
    every: Duration,
    next: Pin<Box<Sleep>>,
}

impl Bell {
    pub(super) fn new(look: Arc<Look>, rings: mpsc::Receiver<()>, every: Duration) -> Bell {
        Bell { look, rings, every, next: Box::pin(sleep(every)) }
    }
}

impl PollStrategy for Bell {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut look = false;
        while self.next.as_mut().poll(cx).is_ready() {
            self.next.as_mut().reset(Instant::now() + self.every);
            look = true;
        }
        let mut rung = false;
        while let Poll::Ready(Some(())) = self.rings.poll_recv(cx) {
            rung = true;
        }
        if rung {
            self.next.as_mut().reset(Instant::now() + AGAIN.min(self.every));
            let _ = self.next.as_mut().poll(cx);
            cx.waker().wake_by_ref();
        }
        if look || rung { Poll::Ready(Some(())) } else { Poll::Pending }
    }

    fn on_poll(&mut self, snapshot: &PollSnapshot) {
        if snapshot.is_idle() {
            self.look.brought_nothing();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_is_answered_at_once_and_again() {
        let (ring, rings) = mpsc::channel(1);
        let mut bell = Bell::new(Arc::default(), rings, Duration::from_secs(2));
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        let now = PollSnapshot::new();

        assert!(bell.poll_drive(&mut cx, &now).is_pending());
        ring.try_send(()).unwrap();
        let before = woken.0.load(Ordering::SeqCst);
        assert!(bell.poll_drive(&mut cx, &now).is_ready());
        assert!(woken.0.load(Ordering::SeqCst) > before, "it asks to be polled once more");
        assert!(bell.poll_drive(&mut cx, &now).is_pending());

        tokio::time::advance(AGAIN).await;
        assert!(bell.poll_drive(&mut cx, &now).is_ready(), "and looks again a moment later");
        assert!(bell.poll_drive(&mut cx, &now).is_pending());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(bell.poll_drive(&mut cx, &now).is_ready(), "and without a ring every two seconds");
    }
}
