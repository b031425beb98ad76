//! Real servers for tests: a temporary [`Postgres`], a temporary [`Redis`], and a [`Proxy`] that breaks the line to them.
//!
//! Each server lives in a folder of its own, listens on a socket in it, and is gone with whoever started it, however that
//! ended: a guard process sees to it. A port is that of a [`Proxy`], so no test waits for a port or takes another's.
//! What a test cannot go on without is a panic with the server's own words; nothing here is for programs.

mod clock;
mod cluster;
mod disk;
mod ground;
mod guard;
mod pair;
mod pooler;
mod postgres;
mod proxy;
mod redis;
mod systemd;
mod template;

pub use clock::{clock, clock_of};
pub use cluster::Cluster;
pub use disk::Disk;
pub use ground::Ground;
pub use guard::{Guard, Signal};
pub use pair::Pair;
pub use pooler::Pooler;
pub use postgres::Postgres;
pub use proxy::{Proxy, Reaches, Target};
pub use redis::Redis;
pub use systemd::Systemd;

use std::time::{Duration, Instant};

/// A server that has not come up by then never will, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks a server that was started whether it is there, until it is.
pub fn until_up<T>(guard: &Guard, log: impl Fn() -> String, ask: impl FnMut() -> Result<T, String>) {
    if let Err(error) = comes_up(guard, ask) {
        panic!("the server did not come up: {error}\n{}", log());
    }
}

/// As [`until_up`], for a server that may have a reason not to come up.
fn comes_up<T>(guard: &Guard, mut ask: impl FnMut() -> Result<T, String>) -> Result<(), String> {
    let asked = Instant::now();
    while let Err(error) = ask() {
        if guard.is_alone() || asked.elapsed() >= PATIENCE {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
