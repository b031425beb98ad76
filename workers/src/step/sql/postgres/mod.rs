//! Postgres: prepares a statement, asks what its values are to be, and binds them as that.
//!
//! - [`bind`]: values as texts that the server itself turns into the type of their place; [`value`]: its rows as JSON
//! - [`doubt`]: what became of a COMMIT that was not answered
//!
//! A query that was begun here does not outlive this program for long: it is cancelled where we are told to end, the server
//! looks every [`LOOKS_EVERY`] whether we are still there, and gives up by itself when the step's time is over.

mod bind;
mod doubt;
mod value;

use std::str::FromStr;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use runward_engine::limits;
use runward_engine::run::sql::{SqlRequest, Statement};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition, PgSeverity};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Either, Executor, Row, SqlSafeStr, Statement as _};

use super::look::Seen;
use super::rows::{Rows, distinct};
use super::{LEDGER_TABLES, NotCommitted, Session, words};
use crate::reach::connections::PASSWORD;
use doubt::Became;

/// How often the server looks whether its client is still there.
const LOOKS_EVERY: Duration = Duration::from_secs(2);
/// The server itself gives up on us this long after the step's time.
const AFTER_THE_STEP: Duration = Duration::from_secs(30);
/// The longest time that the server can be told.
const SERVER_MAX: Duration = Duration::from_millis(i32::MAX as u64);
/// The first release that knows `client_connection_check_interval`.
const LOOKS_SINCE: u32 = 140_000;

pub(super) struct Postgres {
    connection: PgConnection,
    options: PgConnectOptions,
    /// Of the server's process that works for us.
    pid: i32,
    /// Of a statement, where it has a time of its own.
    limit: Option<Duration>,
    read_only: bool,
    /// Of the server, before we change anything.
    history: Option<String>,
    /// Of the step.
    end: Instant,
}

impl Postgres {
    /// Connects and begins.
    pub(super) async fn open(url: &str, request: &SqlRequest, read_only: bool) -> Result<Postgres, String> {
        let end = Instant::now() + Duration::from_millis(request.step_ms);
        let options = options(url)?;
        let mut connection = connect(&options).await?;
        let limit = request.timeout_ms.map(Duration::from_millis);
        let backstop = Duration::from_millis(request.step_ms) + AFTER_THE_STEP;
        let history = if read_only { None } else { doubt::history(&mut connection).await };
        let begin = begin(&connection, read_only, limit.unwrap_or(backstop), backstop);
        let began = sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await;
        began.map_err(|error| told(&error, None))?;
        let pid = guard(&mut connection).await?;
        Ok(Postgres { connection, options, pid, limit, read_only, history, end })
    }

    async fn run(&mut self, statement: &Statement, rows: &mut Rows) -> Result<u64, sqlx::Error> {
        let plain = runward_engine::bind::sql::joined(&statement.texts, |n| format!("${}", n + 1));
        let prepared = (&mut self.connection).prepare(AssertSqlSafe(plain).into_sql_str()).await?;
        // It has a name on the server, and would keep it there for whom a pooler gives this connection next.
        self.connection.clear_cached_statements().await?;
        let names: Vec<&str> = prepared.columns().iter().map(Column::name).collect();
        distinct(names.iter().copied()).map_err(sqlx::Error::Protocol)?;
        let kinds = match prepared.parameters() {
            Some(Either::Left(kinds)) => kinds.iter().map(|kind| kind.oid().map_or(0, |oid| oid.0)).collect(),
            _ => Vec::new(),
        };
        let values = bind::values(&mut self.connection, &kinds, statement).await?;
        let typed = runward_engine::bind::sql::joined(&statement.texts, |n| values[n].place(n + 1));
        let mut query = sqlx::query(AssertSqlSafe(typed)).persistent(false);
        for value in &values {
            query = query.bind(value.text.as_deref());
        }
        let mut stream = (&mut self.connection).fetch_many(query);
        let (mut returned, mut changed) = (0, 0);
        while let Some(next) = stream.try_next().await? {
            match next {
                Either::Left(done) => changed = done.rows_affected(),
                Either::Right(row) => {
                    returned += 1;
                    rows.push(|| value::columns(row.columns(), &row)).map_err(sqlx::Error::Protocol)?;
                }
            }
        }
        Ok(if names.is_empty() { changed } else { returned })
    }
}

impl Session for Postgres {
    async fn carry_out(&mut self, statement: &Statement, rows: &mut Rows) -> Result<u64, String> {
        let start = Instant::now();
        let done = self.run(statement, rows).await;
        done.map_err(|error| {
            let cancelled = code(&error).as_deref() == Some("57014");
            match self.limit.filter(|limit| cancelled && start.elapsed() >= *limit) {
                Some(limit) => words::too_long(limit),
                None => told(&error, Some(statement)),
            }
        })
    }

    async fn commit(&mut self) -> Result<(), NotCommitted> {
        let failed = |error: sqlx::Error| NotCommitted::Failed(told(&error, None));
        let mark = doubt::mark(&mut self.connection, self.history.take()).await.map_err(failed)?;
        let done = sqlx::raw_sql("COMMIT").execute(&mut self.connection).await;
        let Err(error) = done else { return Ok(()) };
        if is_definite(&error) {
            return Err(failed(error));
        }
        if self.read_only {
            return Ok(()); // there was nothing to commit
        }
        super::say("the server did not answer the COMMIT; it is asked what became of it");
        match doubt::resolve(&self.options, &mark, self.end).await {
            Became::Committed => Ok(()),
            Became::NotCommitted => Err(failed(error)),
            Became::Unknown(why) => {
                let told = told(&error, None);
                Err(NotCommitted::Unknown(format!("the server did not answer the COMMIT ({told}), and {why}")))
            }
        }
    }

    /// By a connection of its own, because ours is busy.
    fn canceller(&self) -> impl Future<Output = ()> + use<> {
        let (options, pid) = (self.options.clone(), self.pid);
        async move {
            let cancelled = async {
                let mut connection = options.connect().await?;
                let cancel = sqlx::query("select pg_cancel_backend($1)").persistent(false).bind(pid);
                cancel.execute(&mut connection).await?;
                connection.close().await
            };
            if let Err(error) = cancelled.await {
                let error: sqlx::Error = error;
                super::say(&words::line(&format!("the statement cannot be cancelled: {}", told(&error, None))));
            }
        }
    }
}

fn options(url: &str) -> Result<PgConnectOptions, String> {
    let wrong = |error: sqlx::Error| format!("its URL cannot be used: {}", error);
    let mut options = PgConnectOptions::from_str(url).map_err(wrong)?;
    if let Some(password) = std::env::var_os(PASSWORD) {
        options = options.password(password.to_str().ok_or("its password is not UTF-8")?);
    }
    if options.get_application_name().is_none() {
        let step = std::env::var("RUNWARD_STEP").unwrap_or_default();
        options = options.application_name(&format!("runward {step}"));
    }
    // Poolers refuse what they do not know, as `extra_float_digits`. What is in no cache cannot be cleared.
    Ok(options.extra_float_digits(None).statement_cache_capacity(1).disable_statement_logging())
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, String> {
    let patience = Duration::from_millis(limits::SQL_CONNECT_MS_MAX);
    match tokio::time::timeout(patience, options.connect()).await {
        Ok(connected) => connected.map_err(|error| told(&error, None)),
        Err(_) => Err("it could not be reached in time (a firewall, or the machine is down?)".to_owned()),
    }
}

/// Everything that is to hold in this transaction, and in it alone: a pooler lends the connection to others.
fn begin(connection: &PgConnection, read_only: bool, limit: Duration, backstop: Duration) -> String {
    let access = if read_only { "READ ONLY" } else { "READ WRITE" };
    let mut begin = format!(
        "BEGIN {access}; SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL \
         tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 3",
        limit.min(SERVER_MAX).as_millis(),
        backstop.min(SERVER_MAX).as_millis(),
    );
    if connection.server_version_num().is_some_and(|version| version >= LOOKS_SINCE) {
        begin += &format!("; SET LOCAL client_connection_check_interval = {}", LOOKS_EVERY.as_millis());
    }
    begin
}

/// Refuses a database that holds a ledger. As the first query of the transaction it also fixes that it is read-only.
async fn guard(connection: &mut PgConnection) -> Result<i32, String> {
    let sql = "select pg_backend_pid(), exists (select 1 from pg_catalog.pg_class where relkind in ('r', 'p') and relname = any($1) \
               group by relnamespace having count(*) = $2)";
    let tables: Vec<String> = LEDGER_TABLES.iter().map(|name| (*name).to_owned()).collect();
    let query = sqlx::query_as::<_, (i32, bool)>(sql).persistent(false).bind(&tables).bind(tables.len() as i64);
    let (pid, is_ledger) = query.fetch_one(connection).await.map_err(|error| told(&error, None))?;
    if is_ledger { Err(words::LEDGER.to_owned()) } else { Ok(pid) }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Whether the server has said that a COMMIT failed. One that is going down may say so after it has committed.
fn is_definite(error: &sqlx::Error) -> bool {
    // A server that gives up in the middle of it (FATAL, PANIC) may have written it down already.
    let sqlx::Error::Database(database) = error else { return false };
    let gone_on = database.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    gone_on == Some(PgSeverity::Error)
        && code(error).is_some_and(|code| !code.starts_with("57") && !code.starts_with("08"))
}

/// `statement`: in whose text it went wrong.
fn told(error: &sqlx::Error, statement: Option<&Statement>) -> String {
    let database = match error {
        // Our own words, and what binding says.
        sqlx::Error::Protocol(message) => return message.clone(),
        sqlx::Error::Database(database) => database,
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return "nothing listens there (connection refused): start the server, or correct the connection"
                .to_owned();
        }
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return "the server hung up: its own log says why, if it is a Postgres that listens there".to_owned();
        }
        sqlx::Error::Io(error) => return format!("the connection failed: {}", error),
        other => return other.to_string(),
    };
    let Some(error) = database.try_downcast_ref::<PgDatabaseError>() else { return database.message().to_owned() };
    let mut said = error.message().to_owned();
    if let Some(statement) = statement {
        said += &words::parameters(error.message(), statement, '$');
        said += &place(error, statement);
    }
    for more in [error.detail(), error.hint()].into_iter().flatten() {
        said += &format!("; {}", more);
    }
    words::with_help(format!("{said} [{}]", error.code()), words::help(error.code()))
}

/// The line of the statement.
fn place(error: &PgDatabaseError, statement: &Statement) -> String {
    let Some(PgErrorPosition::Original(position)) = error.position() else { return String::new() };
    let text = runward_engine::bind::sql::joined(&statement.texts, |n| format!("${}", n + 1));
    if text.trim().lines().count() < 2 {
        return String::new();
    }
    let before: String = text.trim_start().chars().take(position.saturating_sub(1)).collect();
    format!(", in its line {}", before.lines().count().max(1))
}

/// Connects as a step would, and looks.
pub(super) async fn look(url: &str, password: Option<&str>) -> Result<Seen, String> {
    let mut options = options(url)?;
    if let Some(password) = password {
        options = options.password(password);
    }
    let mut connection = connect(&options).await?;
    guard(&mut connection).await?;
    let sql = "select current_setting('server_version'), rolsuper, inet_client_addr() is not null and not exists (select 1 from \
               pg_stat_ssl where pid = pg_backend_pid() and ssl) from pg_roles where rolname = current_user";
    let seen = sqlx::query_as::<_, (String, bool, bool)>(sql).persistent(false).fetch_one(&mut connection).await;
    let (version, superuser, in_the_clear) = seen.map_err(|error| told(&error, None))?;
    Ok(Seen { version: format!("PostgreSQL {version}"), superuser, in_the_clear })
}
