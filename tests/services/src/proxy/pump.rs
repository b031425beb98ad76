//! Carrying bytes one way, under the rules of the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::line::Line;
use super::{Reaches, Rules, Shared};

/// Read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Passed on at once while the line is slow.
const SLOW_PIECE_BYTES: usize = 256;

/// The two pumps of a connection; either ends both.
pub(super) fn start(number: u64, client: Line, server: Line, shared: &Arc<Shared>) {
    // The server has what the client said last, and nobody will hear the answer.
    let deaf = Arc::new(AtomicBool::new(false));
    let up = Pump {
        from: client.clone(),
        to: server.clone(),
        shared: Arc::clone(shared),
        deaf: Arc::clone(&deaf),
        said: Some(Vec::new()),
    };
    let down = Pump { from: server, to: client, shared: Arc::clone(shared), deaf, said: None };
    for mut pump in [up, down] {
        std::thread::spawn(move || {
            pump.carry();
            pump.from.end();
            pump.to.end();
            pump.shared.lines().remove(&number);
        });
    }
}

struct Pump {
    from: Line,
    to: Line,
    shared: Arc<Shared>,
    deaf: Arc<AtomicBool>,
    /// Towards the server: the end of what was said, where words may have begun.
    said: Option<Vec<u8>>,
}

impl Pump {
    fn carry(&mut self) {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = self.from.read(&mut buffer) {
            let piece = &buffer[..read];
            let cut = self.cuts(piece);
            if cut == Some(Reaches::Nobody) || !self.passes(piece) {
                return;
            }
        }
    }

    /// Whether these bytes end the connection. It is said before they pass, so that their answer finds it said.
    fn cuts(&mut self, piece: &[u8]) -> Option<Reaches> {
        let said = self.said.as_mut()?;
        said.extend(piece);
        let mut rules = self.shared.rules();
        let found = rules.cut_at.take_if(|(words, _)| said.windows(words.len().max(1)).any(|part| part == words));
        let keep = rules.cut_at.as_ref().map_or(0, |(words, _)| words.len().saturating_sub(1));
        said.drain(..said.len().saturating_sub(keep));
        let (_, reaches) = found?;
        rules.cuts += 1;
        rules.refusing |= std::mem::take(&mut rules.refuse_after);
        self.deaf.store(true, Ordering::SeqCst);
        Some(reaches)
    }

    fn passes(&self, mut piece: &[u8]) -> bool {
        while !piece.is_empty() {
            let Some(pace) = self.pace() else { return false };
            let (now, later) =
                piece.split_at(if pace.is_some() { SLOW_PIECE_BYTES.min(piece.len()) } else { piece.len() });
            // What comes back from a server that was told to commit is the proof that it has: now nobody need wait.
            if self.said.is_none() && self.deaf.load(Ordering::SeqCst) {
                return false;
            }
            if self.to.write(now).is_err() {
                return false;
            }
            if let Some(bytes_per_second) = pace {
                std::thread::sleep(Duration::from_secs(1) * now.len() as u32 / bytes_per_second.max(1));
            }
            piece = later;
        }
        true
    }

    /// Waits as the rules say, and how many bytes a second may pass. `None`: the proxy is gone.
    fn pace(&self) -> Option<Option<u32>> {
        let frozen = |rules: &mut Rules| rules.frozen && !rules.over;
        let rules = self.shared.changed.wait_while(self.shared.rules(), frozen);
        let rules = rules.unwrap_or_else(std::sync::PoisonError::into_inner);
        let (over, delay, pace) = (rules.over, rules.delay, rules.bytes_per_second);
        drop(rules);
        std::thread::sleep(delay);
        (!over).then_some(pace)
    }
}
