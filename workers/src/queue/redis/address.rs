//! Where Redis is, how to get there, and what is wrong with it in words. The password never leaves this file.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisError, ServerErrorKind,
};
use tokio::sync::{Notify, mpsc};

/// Name resolution, TCP, TLS and the greeting together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct Address {
    client: Client,
    shown: String,
}

/// What a connection does by itself: ring when a message comes, and say when it is over.
pub(super) struct Rope {
    pub(super) bell: mpsc::Sender<()>,
    pub(super) over: Arc<Notify>,
}

impl Rope {
    fn pulled(&self, push: &PushInfo) -> Result<(), Infallible> {
        match push.kind {
            PushKind::Message => drop(self.bell.try_send(())), // full: it rings already
            PushKind::Disconnection => self.over.notify_one(),
            _ => {}
        }
        Ok(())
    }
}

/// What is wrong with the text itself. It does not repeat the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not the address of a Redis ({0}): write redis://HOST:6379, or rediss:// for TLS, with user and password as \
     redis://USER:PASSWORD@HOST:6379 (their special characters percent-encoded), or unix:///path/redis.sock"
)]
pub struct BadAddress(&'static str);

impl Address {
    pub fn parse(url: &str) -> Result<Address, BadAddress> {
        let formless = |_| BadAddress("it does not have the form of one");
        let info = url.into_connection_info().map_err(formless)?;
        let shown = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(BadAddress("`#insecure` would let anybody answer, and is not supported"));
            }
            ConnectionAddr::TcpTls { .. } => format!("rediss://{}", info.addr()),
            ConnectionAddr::Unix(_) => format!("unix://{}", info.addr()),
            _ => format!("redis://{}", info.addr()),
        };
        // One connection carries commands and the bell, in the order in which Redis sent them: RESP3.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(formless)?;
        Ok(Address { client, shown })
    }

    /// A connection that never reconnects by itself: its first error is its end.
    pub(super) async fn connect(
        &self,
        response_timeout: Duration,
        rope: Option<Rope>,
    ) -> Result<MultiplexedConnection, RedisError> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        if let Some(rope) = rope {
            config = config.set_push_sender(move |push: PushInfo| rope.pulled(&push));
        }
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    pub(super) fn words(&self, error: &RedisError) -> String {
        format!("Redis at {self} {}", complaint(error))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn complaint(error: &RedisError) -> String {
    if error.is_timeout() {
        return "does not answer in time".to_owned();
    }
    if error.is_connection_refusal() {
        return "refuses the connection: is it running?".to_owned();
    }
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
            "does not accept the user or the password of its URL".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => format!(
            "does not let this user do what is needed ({}): docs/decisions/0012-hints.md lists the keys and commands",
            error.detail().unwrap_or("NOPERM")
        ),
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
            "is a replica that takes no writes: the URL has to name the primary".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => "is still loading its data".to_owned(),
        (_, Some("OOM")) => "is full: raise its maxmemory, or give runward a Redis of its own".to_owned(),
        (ErrorKind::RESP3NotSupported, _) => "is too old: 6.0 or newer is needed".to_owned(),
        (ErrorKind::Io, _) => format!("cannot be reached: {error}"),
        _ => format!("answers with an error: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        let address = Address::parse("redis://ops:s3cret@redis.example.com:6380/2").unwrap();
        assert_eq!(address.to_string(), "redis://redis.example.com:6380");
        assert_eq!(format!("{address:?}"), "Address(redis://redis.example.com:6380)");
        assert_eq!(Address::parse("rediss://:s3cret@h").unwrap().to_string(), "rediss://h:6379");
        assert_eq!(Address::parse("unix:///run/r.sock?pass=s3cret").unwrap().to_string(), "unix:///run/r.sock");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for url in ["", "s3cret", "postgres://u:s3cret@h/db", "redis://u:s3cret@h:x", "rediss://:s3cret@h#insecure"] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(!error.contains("s3cret") && error.contains("redis://HOST:6379"), "{error}");
        }
    }
}
