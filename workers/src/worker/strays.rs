//! Ends what still runs here although the ledger has given it up: this member was silent for too long, and somebody else
//! may have started the step again.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use runward_engine::run::{ClaimId, SessionId};
use runward_store::LedgerError;
use tracing::warn;

use super::term::Term;
use crate::supervisor::client::{Event, Supervisor};

/// What ends by itself may do so.
const GRACE: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);

/// Once for each session, until it has worked: what is given up later belongs to another one.
pub(super) async fn end(term: &Rc<Term>) {
    while let Err(error) = look(term).await {
        term.post.health.ledger_failed("what the cluster has given up here is not known yet", &error);
        tokio::time::sleep(AGAIN).await;
    }
}

/// Only supervisors of this cluster: others in the same folder are drivers of a ledger of their own. What they keep is
/// asked before what the ledger knows: whatever is kept was claimed before.
async fn look(term: &Rc<Term>) -> Result<(), LedgerError> {
    let sessions = term.ledger().sessions().await?;
    let ours = sessions.into_iter().filter(|session| session.new.home == term.post.place.home);
    let mut kept = Vec::new();
    for session in ours.map(|session| session.new.id) {
        if let Some(found) = keeps(term, &session).await {
            kept.push(found);
        }
    }
    let known: BTreeSet<ClaimId> = term.ledger().attended().await?.into_iter().map(|attempt| attempt.claim).collect();
    for (supervisor, claims) in kept {
        for claim in claims.into_iter().filter(|claim| !known.contains(&ClaimId(claim.clone()))) {
            warn!(%claim, "the cluster has given this attempt up while nobody heard of it: it is ended");
            let _ = supervisor.requests.kill(&claim, GRACE.as_millis() as u64); // then its lease ends it
        }
    }
    Ok(())
}

/// What a supervisor keeps; none if nobody lives there.
async fn keeps(term: &Term, session: &SessionId) -> Option<(Supervisor, Vec<String>)> {
    let dir = term.post.member.home.supervisor(session);
    let mut supervisor = Supervisor::connect(&dir).await.ok()?;
    supervisor.requests.list().ok()?;
    let heard = async {
        loop {
            match supervisor.events.next_event().await {
                Event::Live { attempts } => return Some(attempts),
                Event::Gone { .. } => return None,
                Event::Ended { .. } | Event::Refused { .. } => {}
            }
        }
    };
    let attempts = tokio::time::timeout(ANSWER_MAX, heard).await.ok()??;
    Some((supervisor, attempts))
}
