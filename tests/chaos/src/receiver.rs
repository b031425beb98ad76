//! Who is told of what happens to runs: an HTTP server that now and then hangs up without an answer, or answers that it
//! is ill. What it has read whole it has, whatever it answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::cluster::locked;

pub struct Receiver {
    port: u16,
    heard: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(BTreeMap::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || answer(number, stream, &kept));
            }
        });
        Receiver { port, heard }
    }

    pub fn configuration(&self) -> String {
        format!("[notify.channels.ops]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\n", self.port)
    }

    /// How often each notification has arrived, by its id.
    pub fn heard(&self) -> BTreeMap<String, u32> {
        locked(&self.heard).clone()
    }
}

fn answer(number: usize, mut stream: TcpStream, heard: &Mutex<BTreeMap<String, u32>>) {
    let Some(id) = read(&mut stream) else { return };
    *locked(heard).entry(id).or_default() += 1;
    let status = match number % 5 {
        3 => return,
        4 => "503 Service Unavailable",
        _ => "200 OK",
    };
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"); // whoever asked was killed
}

/// The id of a notification, once its request is here as a whole.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let len = stream.read(&mut chunk).ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&chunk[..len]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
        if bytes.len() >= end + 4 + length {
            return field("idempotency-key:").map(str::to_owned);
        }
    }
}
