//! The program's own log: what goes to it, in which form, and where.
//!
//! Lines go through a thread of their own, because a reader of standard error that stops reading must never stop a run.
//! Only what runward itself says is logged; the libraries below it would show statements and values.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Level, Log, LogFormat};

/// Text waiting for a reader, in bytes; beyond it lines are passed over.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// One line goes at once; those that follow it may wait for so long, so that not each of many wakes the thread.
const GATHER: Duration = Duration::from_millis(2);
/// How long a program that has nothing else to do waits for its reader.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Logs from now on. A log that cannot be written is no reason not to work: that is said, and standard error takes it.
pub fn start(log: &Log) {
    let level = match log.level {
        Level::Off => return,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    if let Some(path) = &log.file {
        match append(path) {
            Ok(file) => *place() = Place::File(file),
            Err(error) => {
                let path = crate::text::safe(&path.display().to_string());
                eprintln!("warning: the log {path} cannot be written ({error}); it goes to standard error");
            }
        }
    }
    let ours = Targets::new().with_target("runward", level);
    let lines = layer().with_writer(Lines).log_internal_errors(false);
    match log.format {
        LogFormat::Text => tracing_subscriber::registry().with(lines.with_ansi(false).with_filter(ours)).init(),
        LogFormat::Json => {
            tracing_subscriber::registry().with(lines.json().flatten_event(true).with_filter(ours)).init()
        }
    }
}

/// Where the log goes while a picture stands on the terminal: into this file, which the first line makes, unless one is
/// configured.
pub fn divert(path: &Path) {
    let mut place = place();
    if matches!(*place, Place::StandardError) {
        *place = Place::NotYet(path.to_owned());
    }
}

/// Where lines go.
enum Place {
    StandardError,
    NotYet(PathBuf),
    File(File),
}

static PLACE: Mutex<Place> = Mutex::new(Place::StandardError);

fn place() -> MutexGuard<'static, Place> {
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
}

static WAITING: AtomicUsize = AtomicUsize::new(0);
static PASSED_OVER: AtomicUsize = AtomicUsize::new(0);

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn queue() -> &'static Mutex<Sender<Vec<u8>>> {
    static QUEUE: OnceLock<Mutex<Sender<Vec<u8>>>> = OnceLock::new();
    QUEUE.get_or_init(|| {
        let (sender, receiver) = channel();
        std::thread::spawn(move || write_all(&receiver));
        Mutex::new(sender)
    })
}

/// A log that is full or gone must not stop anything: the line is given up.
fn write_all(receiver: &Receiver<Vec<u8>>) {
    for line in receiver {
        write(&line);
        std::thread::sleep(GATHER);
        receiver.try_iter().for_each(|line| write(&line));
    }
}

fn write(line: &[u8]) {
    let mut place = place();
    if let Place::NotYet(path) = &*place
        && let Ok(file) = append(path)
    {
        *place = Place::File(file);
    }
    let _ = match &mut *place {
        Place::StandardError => io::stderr().write_all(line),
        Place::File(file) => file.write_all(line),
        Place::NotYet(_) => Ok(()), // it cannot be made, and the picture is worth more than the line
    };
    WAITING.fetch_sub(line.len(), Ordering::SeqCst);
}

fn send(line: Vec<u8>) {
    WAITING.fetch_add(line.len(), Ordering::SeqCst);
    let _ = queue().lock().unwrap_or_else(PoisonError::into_inner).send(line); // the thread never ends before us
}

/// Waits until everything is written, or the reader has not moved for too long.
pub fn finish() {
    let since = Instant::now();
    while WAITING.load(Ordering::SeqCst) > 0 && since.elapsed() < LAST_WAIT {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// One writer a line; the subscriber gives each line as a whole.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if WAITING.load(Ordering::SeqCst) > WAITING_BYTES_MAX {
            PASSED_OVER.fetch_add(1, Ordering::SeqCst);
        } else {
            match PASSED_OVER.swap(0, Ordering::SeqCst) {
                0 => {}
                n => send(format!("[{n} lines of the log passed over: nobody read them]\n").into_bytes()),
            }
            send(line.to_vec());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines
    }
}
