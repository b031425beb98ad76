//! Keeps the one supervisor of a session alive and ready, so that no step waits for it to start.

use std::time::Duration;

use tracing::warn;

use crate::driver::Line;

const PAUSE: Duration = Duration::from_millis(500);

/// Starts it, and waits until it answers.
pub(crate) async fn start(line: &Line) {
    if let Err(error) = line.open().await {
        warn!("the supervisor cannot be started: {error}");
    }
}

/// Has somebody at the other end, for ever: a supervisor ends when nothing runs and nobody is there.
pub(crate) async fn keep(line: &Line) {
    loop {
        line.closed().await;
        tokio::time::sleep(PAUSE).await;
        start(line).await;
    }
}
