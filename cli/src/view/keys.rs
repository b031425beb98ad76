//! Signals and keys while a run is watched: Ctrl-C (and TERM) cancels, a second one at once, `d` detaches.
//!
//! A lost terminal changes nothing: SIGHUP is received and ignored, and the run goes on.

use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use runward_workers::driver::Ask;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::cancel_by;

pub struct Keys {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    interrupted: u32,
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
            keyboard: if keyboard { Keyboard::open() } else { None },
        }
    }

    /// The next thing somebody asks for. Never ends.
    pub async fn next(&mut self) -> Ask {
        loop {
            tokio::select! {
                () = heard(&mut self.interrupt) => return self.cancel(),
                () = heard(&mut self.terminate) => return self.cancel(),
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
        cancel_by(self.interrupted > 1)
    }
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) if signal.recv().await.is_some() => {}
        _ => std::future::pending().await,
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
    tty: AsyncFd<std::fs::File>,
    before: Termios,
}

impl Keyboard {
    fn open() -> Option<Keyboard> {
        use std::os::unix::fs::OpenOptionsExt;
        let tty = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open("/dev/tty")
            .ok()?;
        let before = tcgetattr(tty.as_fd()).ok()?;
        let mut single = before.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        // Only whoever stands in the foreground may change the terminal; elsewhere this would stop the program.
        if nix::unistd::tcgetpgrp(tty.as_fd()).ok()? != nix::unistd::getpgrp() {
            return None;
        }
        tcsetattr(tty.as_fd(), SetArg::TCSANOW, &single).ok()?;
        let tty = AsyncFd::new(tty).ok()?;
        Some(Keyboard { tty, before })
    }

    async fn read(&mut self) -> Option<u8> {
        loop {
            let mut ready = self.tty.readable().await.ok()?;
            let mut byte = [0];
            match ready.try_io(|tty| std::io::Read::read(&mut tty.get_ref(), &mut byte)) {
                Ok(Ok(1)) => return Some(byte[0]),
                Ok(_) => return None,
                Err(_would_block) => {}
            }
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = tcsetattr(self.tty.get_ref().as_fd(), SetArg::TCSANOW, &self.before);
    }
}
