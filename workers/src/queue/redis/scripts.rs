//! The few things done in Redis at once, each a script beside this file.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

use super::Pace;
use super::keys::Keys;
use crate::queue::{Hint, Pushed};

/// Hints in one call: enough to make calls rare, few enough to hold up nobody else on this Redis.
pub(super) const CHUNK: usize = 500;
/// How many hints may wait for one label. The sweepers find the rest when there is room again.
const WAITING_MAX: usize = 20_000;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/push.lua")));
static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/open.lua")));
static MEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/mend.lua")));
static TEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/tend.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/leave.lua")));

type Conn = MultiplexedConnection;

/// At most [`CHUNK`] hints of one label.
pub(super) async fn push(conn: &mut Conn, keys: &Keys, hints: &[&Hint]) -> RedisResult<Pushed> {
    let mut call = PUSH.prepare_invoke();
    call.key(keys.active()).key(keys.data()).key(keys.meta()).key(keys.bell()).arg(WAITING_MAX);
    for hint in hints {
        call.arg(hint.id()).arg(hint.body());
    }
    let (new, known, refused) = call.invoke_async(conn).await?;
    Ok(Pushed { new, known, refused })
}

pub(super) async fn registered(conn: &mut Conn, keys: &Keys, name: &str) -> RedisResult<bool> {
    let beaten: Option<f64> = redis::cmd("ZSCORE").arg(keys.workers()).arg(name).query_async(conn).await?;
    Ok(beaten.is_some())
}

pub(super) async fn open(conn: &mut Conn, keys: &Keys, name: &str, pace: &Pace) -> RedisResult<()> {
    OPEN.key(keys.sign_of_life(name))
        .key(keys.workers())
        .key(keys.active())
        .key(keys.data())
        .key(keys.done())
        .key(keys.dead())
        .key(keys.scheduled())
        .arg(pace.silent.as_millis() as u64)
        .invoke_async(conn)
        .await
}

/// Everything that waits, a chunk at a time and once, so that the order stays. Returns how many were thrown away.
pub(super) async fn mend(conn: &mut Conn, keys: &Keys) -> RedisResult<u64> {
    let mut waiting: usize = redis::cmd("LLEN").arg(keys.active()).query_async(conn).await?;
    let mut thrown = 0;
    while waiting > 0 {
        let few = waiting.min(CHUNK);
        thrown += MEND.key(keys.active()).key(keys.data()).key(keys.meta()).arg(few).invoke_async::<u64>(conn).await?;
        waiting -= few;
    }
    Ok(thrown)
}

pub(super) struct Tended {
    pub(super) registered: bool,
    pub(super) forgotten: usize,
    pub(super) cursor: String,
}

pub(super) async fn tend(conn: &mut Conn, keys: &Keys, name: &str, pace: &Pace, cursor: &str) -> RedisResult<Tended> {
    let (registered, forgotten, cursor) = TEND
        .key(keys.sign_of_life(name))
        .key(keys.workers())
        .key(keys.active())
        .key(keys.data())
        .key(keys.meta())
        .key(keys.done())
        .key(keys.dead())
        .key(keys.scheduled())
        .key(keys.bell())
        .arg(name)
        .arg(pace.silent.as_millis() as u64)
        .arg(CHUNK)
        .arg(keys.sign_of_life(""))
        .arg(keys.inflight(""))
        .arg(cursor)
        .invoke_async(conn)
        .await?;
    Ok(Tended { registered, forgotten, cursor })
}

pub(super) async fn leave(conn: &mut Conn, keys: &Keys, name: &str) -> RedisResult<()> {
    LEAVE
        .key(keys.sign_of_life(name))
        .key(keys.workers())
        .key(keys.active())
        .key(keys.data())
        .key(keys.inflight(name))
        .key(keys.bell())
        .arg(name)
        .invoke_async(conn)
        .await
}
