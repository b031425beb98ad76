//! How a Redis is, for those who look after it. Changes nothing.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use serde::Serialize;

use super::keys::Keys;
use super::{Address, Pace};

const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RedisStatus {
    /// `None`: this user may not ask.
    pub server: Option<RedisServer>,
    /// Hints that wait, by their label.
    pub waiting: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RedisServer {
    pub version: String,
    pub memory_bytes: u64,
    /// 0: as much as there is.
    pub memory_bytes_max: u64,
    pub policy: String,
    /// It repeats what another one is told, and takes no hints.
    pub replica: bool,
}

/// Looks at the hints of these labels. An error is what to say of it, without the password.
pub async fn examine(address: &Address, prefix: &str, labels: &[String]) -> Result<RedisStatus, String> {
    let words = |error: &RedisError| address.words(error);
    let mut conn = address.connect(PATIENCE, None).await.map_err(|error| words(&error))?;
    redis::cmd("PING").query_async::<String>(&mut conn).await.map_err(|error| words(&error))?;
    let server = match redis::cmd("INFO").query_async::<String>(&mut conn).await {
        Ok(info) => Some(read(&info)),
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => None,
        Err(error) => return Err(words(&error)),
    };
    let mut waiting = Vec::new();
    for label in labels {
        let list = Keys::new(prefix, label, &Pace::default()).active();
        let count: u64 = redis::cmd("LLEN").arg(list).query_async(&mut conn).await.map_err(|error| words(&error))?;
        waiting.push((label.clone(), count));
    }
    Ok(RedisStatus { server, waiting })
}

/// Lines of `name:value`.
fn read(info: &str) -> RedisServer {
    let value = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_default().trim().to_owned()
    };
    let number = |name: &str| value(name).parse().unwrap_or(0);
    // Valkey says both: its own, and that of the Redis that it can stand in for.
    let version = match value("valkey_version") {
        version if version.is_empty() => value("redis_version"),
        version => format!("{version} (Valkey)"),
    };
    RedisServer {
        version,
        memory_bytes: number("used_memory"),
        memory_bytes_max: number("maxmemory"),
        policy: value("maxmemory_policy"),
        replica: value("role") == "slave",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let info = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\n\
                    maxmemory:0\r\nmaxmemory_policy:noeviction\r\n";
        let policy = "noeviction".to_owned();
        let server = RedisServer {
            version: "7.0.15".to_owned(),
            memory_bytes: 1_048_576,
            memory_bytes_max: 0,
            policy,
            replica: false,
        };
        assert_eq!(read(info), server);
        assert!(read("redis_version:7.0.15\r\nrole:slave\r\nmaster_host:cache1\r\n").replica);
        assert_eq!(read("redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n").version, "8.1.0 (Valkey)");
    }
}
