//! Several pieces of work at once, in one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Goes on with all of them until each is done. What they borrow they share.
pub(super) async fn all<'a>(mut running: Vec<Pin<Box<dyn Future<Output = ()> + 'a>>>) {
    poll_fn(|context| {
        running.retain_mut(|lane| lane.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
