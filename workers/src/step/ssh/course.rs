//! What is done for one attempt over all of its connections: started once, followed until it ends, and never guessed.
//!
//! Until the order has been sent nothing can have been started, and whatever goes wrong is said in ssh's own words. From then
//! on only the far side's journal can say what became of it: it is asked again, from the byte on that was seen last, until
//! the step's time is over. To know before changing anything: the far side keeps the step's time itself, so that a host that
//! nobody can reach ends it all the same; and only who has read a whole end reports one.

use std::io::{Write, stderr, stdout};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use runward_engine::limits::OUTPUTS_BYTES_MAX;
use runward_engine::run::outputs::OutputError;
use runward_engine::runbook::secrets::Form;
use runward_engine::units::format_duration;
use std::os::fd::AsFd;

use super::line::{Heard, Line, asked_to_stop};
use super::wire::{self, Machine, Word};
use super::{Answer, End, FAR_MS, LOST_AFTER_MS, Order, say, words};
use crate::secrets::Value;

/// Between two connections.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(15);
/// A connection on which the far side has said nothing for so long is none: it says something every few seconds.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// Of [`FAR_MS`], what is left for telling the end.
const TOLD_MS: u64 = 5_000;

pub(super) struct Course<'a> {
    order: &'a Order,
    secrets: &'a [(String, Form, Value)],
    signals: &'a SignalFd,
    begun: Instant,
    /// Then nobody asks any more.
    give_up: Instant,
    /// It was asked to start: it may have been.
    sent: bool,
    /// It was asked on an earlier connection than this one.
    again: bool,
    /// The machine that was asked to start it.
    machine: Option<Machine>,
    /// That machine, or one with a copy of its folder, was started anew since.
    restarted: bool,
    /// It is known to have been started.
    started: bool,
    /// How many bytes of output and errors were passed on.
    seen: [u64; 2],
    /// It is to end, with this grace in seconds.
    stop: Option<u64>,
    /// Why the last connection was lost, unless the attempt was reached again.
    broken: Option<String>,
    answer: Answer,
}

/// How a connection ended.
enum After {
    Answer(End),
    /// It broke, with what can be said of it.
    Broken(String),
}

impl<'a> Course<'a> {
    pub(super) fn new(order: &'a Order, secrets: &'a [(String, Form, Value)], signals: &'a SignalFd) -> Course<'a> {
        let begun = Instant::now();
        let patience = order.timeout_ms.saturating_add(order.grace_ms).saturating_add(LOST_AFTER_MS);
        Course {
            order,
            secrets,
            signals,
            begun,
            give_up: after(begun, patience),
            sent: false,
            again: false,
            machine: None,
            restarted: false,
            started: false,
            seen: [0, 0],
            stop: None,
            broken: None,
            answer: Answer::from(End::Killed),
        }
    }

    /// Until it is known what became of the attempt, or that this cannot be known. The connection, if there is one, has yet
    /// to be told that the far side may forget it.
    pub(super) fn run(mut self) -> (Answer, Option<Line>) {
        let mut pause = AGAIN_FIRST;
        loop {
            let opened = Line::open(&self.order.host, wire::Errand::Step);
            let (after, line) = match opened {
                Ok(mut line) => {
                    let heard = self.started;
                    self.again = self.sent;
                    let after = self.converse(&mut line);
                    if !heard && self.started {
                        pause = AGAIN_FIRST;
                    }
                    (after, Some(line))
                }
                Err(error) => (After::Broken(words::no_ssh(&error)), None),
            };
            match after {
                After::Answer(end) => return (Answer { end, ..self.answer }, line),
                After::Broken(why) if !self.sent => return (Answer { end: End::NotStarted(why), ..self.answer }, None),
                After::Broken(why) => {
                    drop(line);
                    if Instant::now() + pause >= self.give_up {
                        return (Answer { end: self.unknown(&why), ..self.answer }, None);
                    }
                    say(&format!("the connection to {} is lost, and is tried again: {why}", self.order.host));
                    self.broken = Some(why);
                    self.rest(pause);
                    pause = (pause * 2).min(AGAIN_MAX);
                }
            }
        }
    }

    fn unknown(&self, why: &str) -> End {
        let Order { host, attempt, .. } = self.order;
        let look = words::where_it_ended(host, self.state(), attempt);
        let left = Duration::from_millis(self.order.timeout_ms).saturating_sub(self.begun.elapsed());
        let ends = match left.is_zero() {
            true => "its time there is over, so that host ends it by itself".to_owned(),
            false => format!("that host ends it by itself when its time is over, in {}", format_duration(left)),
        };
        End::Unknown(format!(
            "{host} could not be reached any more ({why}), so what the step came to is not known: {ends}. Once it is there again, \
             look at it: {look}"
        ))
    }

    /// The folder of runward there.
    fn state(&self) -> &str {
        self.machine.as_ref().map_or("~/.local/state/runward", |machine| &machine.state)
    }

    /// One connection, from its first word to its last.
    fn converse(&mut self, line: &mut Line) -> After {
        loop {
            let silent_at = Instant::now() + SILENT_MAX.saturating_sub(line.silence());
            match line.next(self.signals, self.give_up.min(silent_at).min(self.unstarted_until())) {
                // Nothing is written there, and the other one may come back.
                Heard::Word(Word::Ready(now)) if self.machine.as_ref().is_some_and(|before| before.id != now.id) => {
                    return After::Broken(words::another_machine(&self.order.host));
                }
                Heard::Word(word) => {
                    if let Some(end) = self.take(word, line) {
                        return After::Answer(end);
                    }
                }
                Heard::Stop { at_once } => {
                    self.asked(at_once);
                    if !self.sent {
                        return After::Answer(End::Killed);
                    }
                    self.tell_stop(line);
                }
                Heard::Nothing if !self.sent && Instant::now() >= self.unstarted_until() => {
                    return After::Answer(End::TooLate(words::too_late(&self.order.host, &line.said())));
                }
                Heard::Nothing if Instant::now() >= self.give_up => {
                    // This connection had no time to say what the last one said.
                    return After::Broken(self.broken.take().unwrap_or_else(|| "it says nothing".to_owned()));
                }
                Heard::Nothing if line.silence() >= SILENT_MAX => {
                    let silent = format!("nothing was heard for {}", format_duration(SILENT_MAX));
                    return After::Broken(silent);
                }
                Heard::Nothing => {}
                Heard::Over => return After::Broken(words::broken(&self.order.host, &line.said())),
                Heard::Garbled(garbled) => return After::Broken(words::garbled(&self.order.host, &garbled.0)),
            }
        }
    }

    /// What was not started when its time is over is not started any more.
    fn unstarted_until(&self) -> Instant {
        if self.sent { self.give_up } else { after(self.begun, self.order.timeout_ms) }
    }

    /// Notes what is heard; an end, if it was the last of it.
    fn take(&mut self, word: Word, line: &mut Line) -> Option<End> {
        let host = &self.order.host;
        match word {
            Word::Ready(machine) => {
                self.restarted |= self.machine.as_ref().is_some_and(|before| before.boot != machine.boot);
                self.machine.get_or_insert(machine);
                line.send(&match self.sent {
                    true => wire::follow(self.order),
                    false => wire::start(self.order, self.secrets, self.left_ms()),
                });
                line.send(&wire::from(self.seen));
                self.sent = true;
            }
            Word::There => {
                if self.started {
                    say(&format!("{host} is reached again"));
                }
                self.broken = None;
                self.started = true;
                self.tell_stop(line);
            }
            // While it was unreachable its disk may have filled up: it is asked again.
            Word::Unfit(why) if self.again => say(&format!("{host}: {why}")),
            Word::Unfit(why) => return Some(End::NotStarted(format!("{host} cannot carry out a step: {why}"))),
            Word::Busy(pid, ending) => return Some(End::NotStarted(words::busy(host, &pid, &ending))),
            // It was there, or may have been: a copy of the machine has taken its name, or its journal is gone.
            Word::Void(_) if self.started || self.restarted => {
                return Some(End::Unknown(words::forgotten(host, self.state())));
            }
            Word::Void(_) if self.stop.is_some() => return Some(End::Killed),
            Word::Void(why) if !why.is_empty() => {
                return Some(End::NotStarted(format!("{host} could not start the step: {why}")));
            }
            Word::Void(_) => {
                let why =
                    format!("the connection to {host} broke before the step was started there, and it never will be");
                return Some(End::NotStarted(why));
            }
            Word::Printed(stream, at, bytes) => self.print(stream, at, &bytes),
            Word::Outputs(written) => self.answer.outputs = outputs(written),
            Word::Orphan(process) => self.answer.orphans.push(process),
            Word::Stuck(process) => self.answer.stuck.push(process),
            Word::Exited(code) => self.answer.end = End::Exited { code },
            Word::TimedOut => self.answer.end = End::TimedOut,
            Word::Killed => self.answer.end = End::Killed,
            Word::Refused(why) => self.answer.end = End::NotStarted(format!("{host}: {why}")),
            Word::Lost(rebooted) => self.answer.end = End::Unknown(words::lost(host, rebooted)),
            Word::Over => return Some(self.answer.end.clone()),
            Word::Beat | Word::Clock(_) => {}
        }
        None
    }

    fn left_ms(&self) -> u64 {
        self.order.timeout_ms.saturating_sub(self.begun.elapsed().as_millis() as u64)
    }

    /// Output of the far side as output of this program; what was seen before is left out.
    fn print(&mut self, stream: usize, at: u64, bytes: &[u8]) {
        let seen = &mut self.seen[stream];
        if at > *seen {
            say(&format!("{} bytes of its output were dropped on {}", at - *seen, self.order.host));
        }
        let new = bytes.get(usize::try_from(seen.saturating_sub(at)).unwrap_or(usize::MAX)..).unwrap_or_default();
        // Nobody there to read it: nothing else to do.
        let _ = match stream {
            0 => stdout().write_all(new).and_then(|()| stdout().flush()),
            _ => stderr().write_all(new),
        };
        *seen = (*seen).max(at + bytes.len() as u64);
    }

    fn asked(&mut self, at_once: bool) {
        let grace_ms = if at_once { 0 } else { self.order.grace_ms };
        let grace = grace_ms.div_ceil(1000);
        self.stop = Some(self.stop.map_or(grace, |sooner| sooner.min(grace)));
        self.give_up = self.give_up.min(after(Instant::now(), grace_ms + FAR_MS - TOLD_MS));
    }

    fn tell_stop(&self, line: &mut Line) {
        if let Some(grace) = self.stop {
            line.send(format!("stop {grace}\n").as_bytes());
        }
    }

    /// Waits, and hears whether the step is to end meanwhile.
    fn rest(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout);
            if let Some(at_once) = asked_to_stop(self.signals) {
                self.asked(at_once);
            }
        }
    }
}

fn after(moment: Instant, ms: u64) -> Instant {
    let year = Duration::from_secs(365 * 86_400);
    moment.checked_add(Duration::from_millis(ms)).unwrap_or(moment + year)
}

fn outputs(written: Option<Vec<u8>>) -> Result<String, String> {
    let Some(bytes) = written else {
        return Err("$RUNWARD_OUTPUT is no longer a regular file: write lines to it, do not replace it".to_owned());
    };
    if bytes.len() > OUTPUTS_BYTES_MAX {
        return Err(format!("$RUNWARD_OUTPUT has more than {OUTPUTS_BYTES_MAX} bytes: pass large data in a file"));
    }
    String::from_utf8(bytes)
        .map_err(|error| OutputError::NotUtf8 { offset: error.utf8_error().valid_up_to() }.to_string())
}
