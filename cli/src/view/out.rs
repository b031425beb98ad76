//! Standard output (and error) of a run that is being driven. A reader that stops reading must never stop the run, so lines
//! go through a thread of their own; what does not fit into its queue is passed over and counted, but never what is for a
//! program.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Text waiting for a reader, in bytes; beyond it text for people is passed over.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a program that has nothing else to do waits for its reader.
const LAST_WAIT: Duration = Duration::from_secs(10);

static WAITING: AtomicUsize = AtomicUsize::new(0);
static PASSED_OVER: AtomicUsize = AtomicUsize::new(0);

/// Where a text goes. People read standard error where standard output is a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Output,
    Error,
}

fn queue() -> &'static Mutex<Sender<(To, String)>> {
    static QUEUE: OnceLock<Mutex<Sender<(To, String)>>> = OnceLock::new();
    QUEUE.get_or_init(|| {
        let (sender, receiver) = channel();
        std::thread::spawn(move || write_all(&receiver));
        Mutex::new(sender)
    })
}

/// A reader that went away is no reason to stop: the rest is thrown away.
fn write_all(receiver: &Receiver<(To, String)>) {
    for (to, text) in receiver {
        let mut out: Box<dyn Write> = match to {
            To::Output => Box::new(std::io::stdout().lock()),
            To::Error => Box::new(std::io::stderr().lock()),
        };
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        drop(out);
        WAITING.fetch_sub(text.len(), Ordering::SeqCst);
    }
}

fn send(to: To, text: String) {
    WAITING.fetch_add(text.len(), Ordering::SeqCst);
    let _ = queue().lock().unwrap_or_else(PoisonError::into_inner).send((to, text)); // the thread never ends before us
}

/// Text for people: passed over while too much is waiting.
pub fn show(to: To, text: String) {
    if WAITING.load(Ordering::SeqCst) > WAITING_BYTES_MAX {
        PASSED_OVER.fetch_add(1, Ordering::SeqCst);
        return;
    }
    match PASSED_OVER.swap(0, Ordering::SeqCst) {
        0 => {}
        n => send(to, format!("[{n} lines passed over: nobody read them]\n")),
    }
    send(to, text);
}

/// Text for programs: always kept.
pub fn tell(text: String) {
    send(To::Output, text);
}

/// Waits until everything is written, or the reader has not moved for too long.
pub fn finish() {
    let (mut left, mut since) = (WAITING.load(Ordering::SeqCst), Instant::now());
    while left > 0 && since.elapsed() < LAST_WAIT {
        std::thread::sleep(Duration::from_micros(200));
        let now = WAITING.load(Ordering::SeqCst);
        if now != left {
            (left, since) = (now, Instant::now());
        }
    }
}
