//! The way to Redis: half open, cut, encrypted, and with the wrong password.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use runward_services::{Proxy, Redis};
use runward_workers::queue::Queue;
use runward_workers::queue::redis::Pace;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{PREFIX, Worker, hint, push, push_until_taken, queue, queue_at, until};

#[tokio::test]
async fn a_connection_that_is_half_open_is_noticed_and_replaced() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.target());
    let queue = queue_at(&redis.url_through(&proxy), Pace::default());
    let worker = Worker::start(&queue, &["db"], 2);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    proxy.freeze();
    let unheard = queue.push_hints(&[hint("db", 2)]).await.unwrap_err().to_string();
    assert!(unheard.contains("does not answer in time"), "{unheard}");
    until(|| queue.health().outage.is_some()).await;
    proxy.thaw();
    push_until_taken(&*queue, &worker, "db").await;
    until(|| queue.health().outage.is_none()).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_again_and_again_is_made_again() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.target());
    let queue = queue_at(&redis.url_through(&proxy), Pace::default());
    let worker = Worker::busy(&queue, &["db"], 1);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    for _ in 0..5 {
        let restarts = queue.health().restarts;
        proxy.cut();
        until(|| queue.health().restarts > restarts && queue.health().outage.is_none()).await;
    }
    worker.let_go();
    push_until_taken(&*queue, &worker, "db").await;
}

#[tokio::test]
async fn a_slow_line_carries_hints_too() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.target());
    proxy.delay(Duration::from_millis(100));
    let queue = queue_at(&redis.url_through(&proxy), Pace::default());
    let worker = Worker::start(&queue, &["db"], 2);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_never_shown() {
    let redis = Redis::start();
    redis.command(&["config", "set", "requirepass", "correct-horse"]);
    let proxy = Proxy::to(redis.target());
    let url = |password: &str| format!("redis://:{password}@{}", proxy.address());
    let wrong = queue_at(&url("s3cret"), Pace::default());
    let _worker = Worker::start(&wrong, &["db"], 1);
    until(|| wrong.health().outage.is_some()).await;
    let said = [wrong.health().outage.unwrap().why, wrong.push_hints(&[hint("db", 1)]).await.unwrap_err().to_string()];
    for words in said {
        assert!(words.contains("does not accept the user or the password of its URL"), "{words}");
        assert!(!words.contains("s3cret"), "{words}");
    }
    let right = queue_at(&url("correct-horse"), Pace::default());
    let worker = Worker::start(&right, &["db"], 1);
    push(&*right, &[hint("db", 2)]).await;
    until(|| worker.count() == 1).await;
}

#[tokio::test]
async fn a_user_with_the_rights_of_the_documentation_is_enough() {
    let redis = Redis::start();
    let page = include_str!("../../../docs/decisions/0012-hints.md");
    let rights = page.lines().find_map(|line| line.trim().strip_prefix("ACL SETUSER runward on >PASSWORD ")).unwrap();
    let rights = rights.replace("runward:", &format!("{PREFIX}:"));
    let mut command = vec!["acl", "setuser", "runward", "on", ">correct-horse"];
    command.extend(rights.split(' '));
    redis.command(&command);
    let proxy = Proxy::to(redis.target());
    let queue = queue_at(&format!("redis://runward:correct-horse@{}", proxy.address()), Pace::default());
    let worker = Worker::start(&queue, &["db"], 1);
    push(&*queue, &[hint("db", 1), hint("db", 2)]).await;
    until(|| worker.count() == 2).await;
    until(|| redis.command(&["hlen", "test:hints:db:data"]) == "0").await;
    worker.stop().await;
    assert_eq!(redis.command(&["zcard", "test:hints:db:workers"]), "0");
    assert_eq!(queue.health().restarts, 0);
}

/// Takes TLS off for a Redis that speaks none.
async fn tls(redis_socket: String, folder: &std::path::Path) -> u16 {
    let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ours -keyout ca.key -out ca.pem
                openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout leaf.key -out leaf.csr
                echo 'subjectAltName=DNS:localhost' > leaf.ext
                openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem";
    let made = Command::new("sh").args(["-ec", make]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let cert = CertificateDer::from_pem_file(folder.join("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), redis_socket.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = UnixStream::connect(socket).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn hints_come_through_tls_that_the_system_trusts() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let port = tls(redis.url().strip_prefix("redis+unix://").unwrap().to_owned(), folder.path()).await;
    let url = format!("rediss://localhost:{port}");

    // This process does not trust the certificate.
    let distrustful = queue_at(&url, Pace::default());
    let unheard = distrustful.push_hints(&[hint("db", 1)]).await.unwrap_err().to_string();
    assert!(unheard.starts_with(&format!("Redis at {url} cannot be reached")), "{unheard}");
    assert!(unheard.contains("certificate"), "{unheard}");

    let mut host = Command::new(env!("CARGO_BIN_EXE_runward-queue-host"))
        .args([&url, PREFIX, "db", "1", "take"])
        .env("SSL_CERT_FILE", folder.path().join("ca.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    push(&*queue(&redis), &[hint("db", 7)]).await;
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let line = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap()).await.unwrap();
    assert_eq!(line, "7");
    host.kill().unwrap();
    host.wait().unwrap();
}
