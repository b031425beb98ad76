//! Signals and keys while a run is watched: Ctrl-C (and TERM) cancels, a second one at once, `d` detaches.
//!
//! A CI system that ends a job sends INT, some seconds later TERM, and soon after that KILL. Its TERM is no wish for more force:
//! what is left of the cancel goes on without this process.
//!
//! A lost terminal changes nothing: SIGHUP is received and ignored, and the run goes on.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use runward_workers::driver::Ask;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::actor::actor;

pub struct Keys {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    interrupted: u32,
    terminated: bool,
    keyboard: Option<Keyboard>,
}

impl Keys {
    /// `keyboard`: whether single keys are listened to.
    pub fn new(keyboard: bool) -> Keys {
        Keys {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
            hangup: signal(SignalKind::hangup()).ok(),
            interrupted: 0,
            terminated: false,
            keyboard: if keyboard { Keyboard::open() } else { None },
        }
    }

    /// The next thing somebody asks for. Never ends.
    pub async fn next(&mut self) -> Ask {
        loop {
            tokio::select! {
                () = heard(&mut self.interrupt) => return self.cancel(),
                () = heard(&mut self.terminate) => match std::mem::replace(&mut self.terminated, true) {
                    false if self.interrupted > 0 => return Ask::Leave,
                    _ => return self.cancel(),
                },
                () = heard(&mut self.hangup) => self.keyboard = None,
                key = pressed(&mut self.keyboard) => match key {
                    Some(b'd') => return Ask::Leave,
                    Some(_) => {}
                    None => self.keyboard = None,
                }
            }
        }
    }

    fn cancel(&mut self) -> Ask {
        self.interrupted += 1;
        Ask::Cancel { force: self.interrupted > 1, actor: actor(), reason: None }
    }
}

async fn heard(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn pressed(keyboard: &mut Option<Keyboard>) -> Option<u8> {
    match keyboard {
        Some(keyboard) => keyboard.read().await,
        None => std::future::pending().await,
    }
}

/// The terminal, giving single keys without showing them. As it was again when this is dropped.
struct Keyboard {
    tty: File,
    before: Termios,
    pressed: mpsc::UnboundedReceiver<u8>,
}

impl Keyboard {
    fn open() -> Option<Keyboard> {
        let tty = File::open("/dev/tty").ok()?;
        // Only whoever stands in the foreground may change the terminal; elsewhere this would stop the program.
        if nix::unistd::tcgetpgrp(tty.as_fd()).ok()? != nix::unistd::getpgrp() {
            return None;
        }
        let before = tcgetattr(tty.as_fd()).ok()?;
        let mut single = before.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        let mut reader = tty.try_clone().ok()?;
        tcsetattr(tty.as_fd(), SetArg::TCSANOW, &single).ok()?;
        let (press, pressed) = mpsc::unbounded_channel();
        // Ends with the process: a terminal has no read that can be called off.
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(reader.read(&mut byte), Ok(1)) && press.send(byte[0]).is_ok() {}
        });
        Some(Keyboard { tty, before, pressed })
    }

    async fn read(&mut self) -> Option<u8> {
        self.pressed.recv().await
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = tcsetattr(self.tty.as_fd(), SetArg::TCSANOW, &self.before);
    }
}
