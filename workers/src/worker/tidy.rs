//! Removes what pruned runs have left in this state folder.

use tokio::time::sleep;
use tracing::warn;

use super::Post;
use crate::care::tidy::tidy;

/// For as long as the member is there. What cannot be done now is done the next time.
pub(super) async fn now_and_then(post: &Post) {
    loop {
        if let Err(error) = tidy(&post.member.home, post.ledger()).await {
            warn!(%error, "nobody can tell which runs were pruned; asked again later");
        }
        sleep(post.pace().tidy).await;
    }
}
