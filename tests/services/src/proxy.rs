//! A line to a server that a test can make slow, silent or broken.
//!
//! Two threads a connection, each carrying bytes one way ([`pump`]). They ask the [`Rules`] before every piece, so a change
//! holds for connections that are open, too.

mod line;
mod pump;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::line::Line;

/// What is behind it.
#[derive(Debug, Clone)]
pub enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// Whom the bytes still reach at which a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaches {
    /// The server gets them, and does what they say; whoever sent them never hears of it.
    TheServer,
    /// They are lost with the connection.
    Nobody,
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Rules>,
    /// The rules are others, or a connection is gone.
    changed: Condvar,
    /// By the order in which they came.
    lines: Mutex<BTreeMap<u64, [Line; 2]>>,
}

/// What becomes of the bytes. Nothing, at first.
#[derive(Default)]
struct Rules {
    target: Option<Target>,
    delay: Duration,
    bytes_per_second: Option<u32>,
    frozen: bool,
    refusing: bool,
    /// At the next place where the client says this.
    cut_at: Option<(Vec<u8>, Reaches)>,
    refuse_after: bool,
    /// How often that has happened.
    cuts: u32,
    over: bool,
}

impl Proxy {
    /// On a port of this machine that was free.
    pub fn to(target: Target) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("this machine has a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        let proxy = Proxy { address, shared };
        proxy.lead_to(target);
        proxy
    }

    /// New connections go there from now on, as behind an address that moves from one machine to another.
    pub fn lead_to(&self, target: Target) {
        self.shared.change(|rules| rules.target = Some(target));
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Holds back every piece for so long, either way.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|rules| rules.delay = delay);
    }

    /// Lets so many bytes pass a second on each connection, either way. `None`: as fast as they come.
    pub fn throttle(&self, bytes_per_second: Option<u32>) {
        self.shared.change(|rules| rules.bytes_per_second = bytes_per_second);
    }

    /// Half open: connections stay, new ones are accepted, and nothing passes until [`Proxy::thaw`].
    pub fn freeze(&self) {
        self.shared.change(|rules| rules.frozen = true);
    }

    pub fn thaw(&self) {
        self.shared.change(|rules| rules.frozen = false);
    }

    /// Ends every connection. New ones are accepted.
    pub fn cut(&self) {
        self.shared.end_all();
    }

    /// Ends every connection, and each new one at once, until [`Proxy::accept`].
    pub fn refuse(&self) {
        self.refuse_new();
        self.shared.end_all();
    }

    /// Ends each new connection at once, until [`Proxy::accept`]; those that are open stay.
    pub fn refuse_new(&self) {
        self.shared.change(|rules| rules.refusing = true);
    }

    pub fn accept(&self) {
        self.shared.change(|rules| rules.refusing = false);
    }

    /// Ends the next connection in which a client says this, right there.
    pub fn cut_at(&self, words: impl Into<Vec<u8>>, reaches: Reaches) {
        self.shared.change(|rules| rules.cut_at = Some((words.into(), reaches)));
    }

    /// The same, and from then on every connection is refused, until [`Proxy::accept`].
    pub fn refuse_from(&self, words: impl Into<Vec<u8>>, reaches: Reaches) {
        self.shared.change(|rules| (rules.cut_at, rules.refuse_after) = (Some((words.into(), reaches)), true));
    }

    /// How often a connection ended by [`Proxy::cut_at`].
    pub fn cuts(&self) -> u32 {
        self.shared.rules().cuts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|rules| rules.over = true);
        self.shared.end_all();
        let _ = TcpStream::connect(self.address); // so that whoever accepts looks up
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules());
        self.changed.notify_all();
    }

    fn end_all(&self) {
        for line in self.lines().values().flatten() {
            line.end();
        }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u64, [Line; 2]>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, client) in (0..).zip(listener.incoming().flatten()) {
        let (over, refusing, target) = {
            let rules = shared.rules();
            (rules.over, rules.refusing, rules.target.clone())
        };
        if over {
            return;
        }
        if refusing {
            continue;
        }
        // A server that is not there is a connection that ends at once.
        let Some(Ok(server)) = target.as_ref().map(Line::to) else { continue };
        let client = Line::from(client);
        shared.lines().insert(number, [client.clone(), server.clone()]);
        pump::start(number, client, server, shared);
    }
}
