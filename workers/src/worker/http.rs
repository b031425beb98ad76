//! `/healthz` and `/readyz`, for whoever keeps the process alive: as little of HTTP as that takes.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What can be asked of a process.
pub(crate) trait Vitals {
    /// Which loop hangs.
    fn stuck(&self) -> Option<&'static str>;

    /// Whether it can be relied on, and everything somebody asks who finds that it is not so.
    fn readiness(&self) -> (bool, Value);
}

/// A question that is longer, or takes longer, is none.
const QUESTION_BYTES_MAX: usize = 8 * 1024;
const QUESTION_MAX: Duration = Duration::from_secs(5);
/// After an error of the listener itself: there are no descriptors left, for example.
const PAUSE: Duration = Duration::from_millis(500);
/// Answered at once; more wait.
const CONNECTIONS_MAX: usize = 32;

/// Answers for ever. Without a listener it only never returns.
pub(crate) async fn serve(listener: Option<TcpListener>, of: &Rc<impl Vitals + 'static>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = std::sync::Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let of = Rc::clone(of);
                tokio::task::spawn_local(async move {
                    let _ = tokio::time::timeout(QUESTION_MAX, answer(stream, &*of)).await; // whoever asked is gone
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn answer(mut stream: TcpStream, of: &impl Vitals) -> std::io::Result<()> {
    let mut question = Vec::new();
    while !question.windows(4).any(|end| end == b"\r\n\r\n") {
        if question.len() > QUESTION_BYTES_MAX || stream.read_buf(&mut question).await? == 0 {
            return Ok(());
        }
    }
    let first = question.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = reply(&String::from_utf8_lossy(first), of);
    let head_only = first.starts_with(b"HEAD ");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !head_only {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// `first`: the first line of the question.
fn reply(first: &str, of: &impl Vitals) -> (&'static str, String) {
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match (method, path.split('?').next().unwrap_or_default()) {
        ("GET" | "HEAD", "/healthz") => match of.stuck() {
            None => ("200 OK", "{\"alive\":true}\n".to_owned()),
            Some(stuck) => ("503 Service Unavailable", format!("{{\"alive\":false,\"stuck\":\"{stuck}\"}}\n")),
        },
        ("GET" | "HEAD", "/readyz") => {
            let (ready, body) = of.readiness();
            (if ready { "200 OK" } else { "503 Service Unavailable" }, format!("{body}\n"))
        }
        ("GET" | "HEAD", _) => ("404 Not Found", "{\"try\":[\"/healthz\",\"/readyz\"]}\n".to_owned()),
        _ => ("405 Method Not Allowed", "{\"try\":\"GET\"}\n".to_owned()),
    }
}
