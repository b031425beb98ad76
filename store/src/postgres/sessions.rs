//! Who is there: sessions, their beats and their ends.

use runward_engine::run::{ClaimId, HomeId, RunId, SessionId};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, PgConnection, Row as _};
use tokio::sync::Mutex;

use super::pool::answered;
use super::text::{shown, stored};
use crate::failpoint::{self, Point};
use crate::fleet::{Attended, NewSession, Session, SessionEnd};

/// For so long a session that has ended is remembered.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Beats have a connection of their own, so that they wait for no other work of their process (F21). They are
/// acknowledged before they are on the disk: a server that forgets some with a crash makes no session look dead, because
/// whoever waits for silence begins anew after a look that failed.
pub(super) struct Beats {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
}

impl Beats {
    pub(super) fn new(options: PgConnectOptions) -> Beats {
        Beats { options: options.options([("synchronous_commit", "off")]), connection: Mutex::default() }
    }

    /// Not tried again here: whoever beats knows when the next one is due.
    pub(super) async fn beat(&self, session: &SessionId, draining: bool) -> Result<bool, sqlx::Error> {
        let mut place = self.connection.lock().await;
        // Left empty if anything goes wrong, or this is given up in the middle.
        let open = place.take();
        let (connection, there) = answered(async {
            failpoint::fails_at(Point::InBeat)?;
            let mut connection = match open {
                Some(connection) => connection,
                None => self.options.connect().await?,
            };
            let there = beat(&mut connection, session, draining).await?;
            Ok::<_, sqlx::Error>((connection, there))
        })
        .await?;
        *place = Some(connection);
        Ok(there)
    }
}

async fn beat(connection: &mut PgConnection, session: &SessionId, draining: bool) -> Result<bool, sqlx::Error> {
    let sql = concat!(
        "UPDATE sessions SET beat = beat + 1, draining = $2, heard_at = ",
        now!(),
        " WHERE id = $1 AND ending IS NULL"
    );
    let done = sqlx::query(sql).bind(&session.0).bind(draining).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Rare enough to forget the old ones with it.
pub(super) async fn join(connection: &mut PgConnection, new: &NewSession) -> Result<(), sqlx::Error> {
    let sql = concat!(
        "WITH forgotten AS (DELETE FROM sessions WHERE ended_at < ",
        now!(),
        " - $9 AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.status = 'running' AND watched_by = sessions.id)) \
         INSERT INTO sessions (id, home, host, pid, boot, version, labels, concurrency, beat, joined_at, heard_at, draining) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, 0, now, now, FALSE FROM (SELECT ",
        now!(),
        " AS now) AS clock ON CONFLICT (id) DO NOTHING"
    );
    sqlx::query(sql)
        .bind(&new.id.0)
        .bind(&new.home.0)
        .bind(stored(&new.host))
        .bind(i64::from(new.pid))
        .bind(stored(&new.boot))
        .bind(stored(&new.version))
        .bind(&new.labels)
        .bind(i64::from(new.concurrency))
        .bind(DAY_MS)
        .execute(connection)
        .await?;
    Ok(failpoint::fails_at(Point::AfterJoin)?)
}

pub(super) async fn leave(connection: &mut PgConnection, session: &SessionId) -> Result<(), sqlx::Error> {
    let sql = concat!("UPDATE sessions SET ending = 'left', ended_at = ", now!(), " WHERE id = $1 AND ending IS NULL");
    sqlx::query(sql).bind(&session.0).execute(connection).await?;
    Ok(())
}

/// A beat that comes meanwhile makes it false; a beat that comes later is told.
pub(super) async fn bury(connection: &mut PgConnection, session: &SessionId, beat: u64) -> Result<bool, sqlx::Error> {
    let sql = concat!(
        "UPDATE sessions SET ending = 'silent', ended_at = ",
        now!(),
        " WHERE id = $1 AND beat = $2 AND ending IS NULL"
    );
    let done = sqlx::query(sql).bind(&session.0).bind(beat as i64).execute(connection).await?;
    failpoint::fails_at(Point::AfterBury)?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Session>, sqlx::Error> {
    let sql = concat!(
        "SELECT id, home, host, pid, boot, version, labels, concurrency, beat, joined_at, heard_at, draining, ending \
         FROM sessions WHERE ended_at IS NULL OR ended_at >= ",
        now!(),
        " - $1 OR EXISTS (SELECT 1 FROM attempts WHERE attempts.status = 'running' AND watched_by = sessions.id) \
         ORDER BY joined_at, id"
    );
    sqlx::query(sql).bind(DAY_MS).fetch_all(connection).await?.iter().map(session).collect()
}

fn session(row: &PgRow) -> Result<Session, sqlx::Error> {
    let text = |column: &str| row.try_get::<String, _>(column).map(shown);
    let ending: Option<String> = row.try_get("ending")?;
    Ok(Session {
        new: NewSession {
            id: SessionId(row.try_get("id")?),
            home: HomeId(row.try_get("home")?),
            host: text("host")?,
            pid: row.try_get::<i64, _>("pid")? as u32,
            boot: text("boot")?,
            version: text("version")?,
            labels: row.try_get("labels")?,
            concurrency: row.try_get::<i64, _>("concurrency")? as u32,
        },
        beat: row.try_get::<i64, _>("beat")? as u64,
        joined_at: row.try_get("joined_at")?,
        heard_at: row.try_get("heard_at")?,
        draining: row.try_get("draining")?,
        end: ending.map(|ending| if ending == "left" { SessionEnd::Left } else { SessionEnd::Silent }),
    })
}

/// Read by the index of what is alive: its cost does not grow with what has been.
pub(super) async fn attended(connection: &mut PgConnection) -> Result<Vec<Attended>, sqlx::Error> {
    let sql = "SELECT run_id, claim, home, watched_by FROM attempts WHERE status = 'running' AND home IS NOT NULL";
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    let attended = rows.iter().map(|row| {
        Ok(Attended {
            run: RunId(row.try_get("run_id")?),
            claim: ClaimId(row.try_get("claim")?),
            home: row.try_get::<Option<String>, _>("home")?.map(HomeId),
            watched_by: SessionId(row.try_get("watched_by").map(shown)?),
        })
    });
    attended.collect()
}
