//! Tells the service manager how far it is: `Type=notify` of systemd, see sd_notify(3).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const SOCKET: &str = "NOTIFY_SOCKET";

pub(crate) fn ready() {
    say(b"READY=1");
}

pub(crate) fn stopping() {
    say(b"STOPPING=1");
}

/// Best effort: a manager that does not hear it says so itself.
fn say(words: &[u8]) {
    let Some(name) = std::env::var_os(SOCKET).filter(|name| !name.is_empty()) else { return };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(words, &address);
    }
}
