//! A small real HTTP server in a thread: it keeps what it was asked, and answers as a story wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Socket, Type};

/// What a client sent.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET /x HTTP/1.1`
    pub line: String,
    /// The whole head, in lower case.
    pub head: String,
    pub body: String,
}

pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// `answer` writes to the client whatever it likes; the connection ends with it.
    pub fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + 'static) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").expect("a free port"), answer)
    }

    pub fn on(listener: TcpListener, answer: impl Fn(&Asked, &mut TcpStream) + Send + 'static) -> Server {
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if let Some(one) = read(&mut stream) {
                    kept.lock().expect("no panic").push(one.clone());
                    answer(&one, &mut stream);
                }
            }
        });
        Server { port, asked }
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// An address at which nothing listens, and which nobody else gets: a server that is down.
pub struct Down(Socket);

impl Down {
    pub fn new() -> Down {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        Down(held)
    }

    pub fn base(&self) -> String {
        let address = self.0.local_addr().ok().and_then(|address| address.as_socket());
        format!("http://{}", address.expect("its address"))
    }

    /// It is there again.
    pub fn up(self, answer: impl Fn(&Asked, &mut TcpStream) + Send + 'static) -> Server {
        self.0.listen(128).expect("a socket that listens");
        Server::on(self.0.into(), answer)
    }
}

/// A complete answer.
pub fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        let mut chunk = [0; 4096];
        let len = stream.read(&mut chunk).ok().filter(|len| *len > 0)?;
        bytes.extend_from_slice(&chunk[..len]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes.split_off(end + 4);
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while body.len() < length {
        let mut chunk = [0; 4096];
        let len = stream.read(&mut chunk).ok().filter(|len| *len > 0)?;
        body.extend_from_slice(&chunk[..len]);
    }
    let line = head.lines().next().unwrap_or_default().to_owned();
    Some(Asked { line, head: lower, body: String::from_utf8_lossy(&body).into_owned() })
}
