//! A look at a host as a step would find it, for those who look after this machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::line::{Heard, Line};
use super::wire::{Errand, Word};
use super::words;

/// Longer than ssh tries to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a host says of itself.
pub struct Seen {
    pub took: Duration,
    /// How many seconds its clock is ahead of ours.
    pub ahead: i64,
}

/// Starts nothing there, and leaves nothing. The error says what to do. Blocks.
pub fn look(host: &str) -> Result<Seen, String> {
    let begun = Instant::now();
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let deaf =
        SignalFd::with_flags(&SigSet::empty(), flags).map_err(|error| format!("no signal can be heard: {error}"))?;
    let mut line = Line::open(host, Errand::Look).map_err(|error| words::no_ssh(&error))?;
    loop {
        match line.next(&deaf, begun + PATIENCE) {
            Heard::Word(Word::Clock(there)) => {
                let here = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
                return Ok(Seen { took: begun.elapsed(), ahead: there.saturating_sub(here) });
            }
            Heard::Word(Word::Unfit(why)) => return Err(format!("it cannot carry out a step: {why}")),
            Heard::Word(_) | Heard::Stop { .. } => {}
            Heard::Nothing => return Err("it did not answer in time (a firewall, or a machine that hangs?)".to_owned()),
            Heard::Over => return Err(words::broken(host, &line.said())),
            Heard::Garbled(garbled) => return Err(words::garbled(host, &garbled.0)),
        }
    }
}
