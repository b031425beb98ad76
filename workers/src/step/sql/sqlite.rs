//! SQLite: values are bound as they are, rows are read as they are stored.
//!
//! It works in this process: who ends this step interrupts it, and who kills it leaves a journal that the next one who opens
//! the file rolls back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use runward_engine::run::sql::{SqlRequest, Statement};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteColumn, SqliteConnectOptions, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Either, Executor, Row, SqlSafeStr, SqliteConnection, Statement as _,
    TypeInfo, ValueRef,
};

use super::look::Seen;
use super::rows::{Rows, distinct};
use super::{LEDGER_TABLES, NotCommitted, Session, words};

/// How often a statement looks whether it is to end, in its own small steps.
const LOOKS_EVERY: i32 = 10_000;

pub(super) struct Sqlite {
    connection: SqliteConnection,
    limit: Option<Duration>,
    stop: Arc<Stop>,
}

/// When a statement has to end.
#[derive(Default)]
struct Stop {
    now: AtomicBool,
    at: Mutex<Option<Instant>>,
}

impl Stop {
    fn is_due(&self) -> bool {
        let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        self.now.load(Ordering::Relaxed) || at.is_some_and(|at| at <= Instant::now())
    }

    fn set(&self, at: Option<Instant>) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

impl Sqlite {
    /// Opens the file and begins.
    pub(super) async fn open(
        path: &Path,
        create: bool,
        request: &SqlRequest,
        read_only: bool,
    ) -> Result<Sqlite, String> {
        let limit = request.timeout_ms.map(Duration::from_millis);
        let mut connection =
            connect(path, create && !read_only, read_only, limit.unwrap_or(Duration::from_millis(request.step_ms)))
                .await?;
        guard(&mut connection).await?;
        let stop = Arc::new(Stop::default());
        let looks = Arc::clone(&stop);
        let mut handle = connection.lock_handle().await.map_err(|error| told(&error))?;
        handle.set_progress_handler(LOOKS_EVERY, move || !looks.is_due());
        drop(handle);
        // One that reads first and writes then may find that somebody else was faster.
        let begin = if read_only { "BEGIN" } else { "BEGIN IMMEDIATE" };
        sqlx::raw_sql(begin).execute(&mut connection).await.map_err(|error| told(&error))?;
        Ok(Sqlite { connection, limit, stop })
    }

    async fn run(&mut self, statement: &Statement, rows: &mut Rows) -> Result<u64, sqlx::Error> {
        let text = runward_engine::bind::sql::joined(&statement.texts, |n| format!("?{}", n + 1));
        let prepared = (&mut self.connection).prepare(AssertSqlSafe(text.clone()).into_sql_str()).await?;
        let (has, seen) = (statement.values.len(), prepared.parameters());
        if !matches!(seen, Some(Either::Right(seen)) if seen == has) {
            return Err(sqlx::Error::Protocol(format!(
                "the statement has {has} values, and the database sees another number of parameters: write each value as \
                 `${{{{ }}}}` where a value stands, and no `?` or `:name` of your own"
            )));
        }
        distinct(prepared.columns().iter().map(Column::name)).map_err(sqlx::Error::Protocol)?;
        let returns = !prepared.columns().is_empty();
        let before = changes(&mut self.connection).await?;
        let mut query = sqlx::query(AssertSqlSafe(text)).persistent(false);
        for bound in &statement.values {
            let wrong = |why: &str| sqlx::Error::Protocol(format!("the value of `{}` {why}", bound.source));
            query = match &bound.value {
                Value::Null => query.bind(None::<String>),
                Value::Bool(flag) => query.bind(*flag),
                Value::String(text) => query.bind(text.as_str()),
                Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                    (Some(whole), _) => query.bind(whole),
                    (None, Some(fraction)) if number.is_f64() => query.bind(fraction),
                    _ => return Err(wrong("is too large for a number of SQLite")),
                },
                Value::Array(_) => {
                    return Err(wrong(
                        "is a list: write `in (select value from json_each(${{ ... | json }}))`, or `${{ ... | json }}` where it is \
                         to be a text",
                    ));
                }
                Value::Object(_) => return Err(wrong("is a map: write `${{ ... | json }}`")),
            };
        }
        let (mut returned, mut changed) = (0, 0);
        {
            let mut stream = (&mut self.connection).fetch_many(query);
            while let Some(next) = stream.try_next().await? {
                match next {
                    Either::Left(done) => changed = done.rows_affected(),
                    Either::Right(row) => {
                        returned += 1;
                        rows.push(|| columns(&row)).map_err(sqlx::Error::Protocol)?;
                    }
                }
            }
        }
        // It is the number of the statement before, where this one changes no rows.
        let untouched = changes(&mut self.connection).await? == before;
        Ok(if returns {
            returned
        } else if untouched {
            0
        } else {
            changed
        })
    }
}

impl Session for Sqlite {
    async fn carry_out(&mut self, statement: &Statement, rows: &mut Rows) -> Result<u64, String> {
        self.stop.set(self.limit.map(|limit| Instant::now() + limit));
        let done = self.run(statement, rows).await;
        self.stop.set(None);
        done.map_err(|error| match self.limit.filter(|_| code(&error) == Some(9)) {
            Some(limit) => words::too_long(limit),
            None => {
                let sign = words::parameters(&error.to_string(), statement, '?');
                format!("{}{sign}", told(&error))
            }
        })
    }

    async fn commit(&mut self) -> Result<(), NotCommitted> {
        let done = sqlx::raw_sql("COMMIT").execute(&mut self.connection).await;
        done.map(drop).map_err(|error| NotCommitted::Failed(told(&error)))
    }

    fn canceller(&self) -> impl Future<Output = ()> + use<> {
        let stop = Arc::clone(&self.stop);
        async move { stop.now.store(true, Ordering::Relaxed) }
    }
}

async fn connect(path: &Path, create: bool, read_only: bool, patience: Duration) -> Result<SqliteConnection, String> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .read_only(read_only)
        .busy_timeout(patience)
        .statement_cache_capacity(0)
        .disable_statement_logging();
    options.connect().await.map_err(|error| match path.try_exists() {
        Ok(false) => {
            "the file does not exist on this machine: correct the connection, or add `?mode=rwc` to its URL to make it"
                .to_owned()
        }
        _ => told(&error),
    })
}

/// Refuses a file that is a ledger.
async fn guard(connection: &mut SqliteConnection) -> Result<(), String> {
    let names = LEDGER_TABLES.map(|name| format!("'{name}'")).join(",");
    let sql = format!("select count(*) from sqlite_schema where type = 'table' and name in ({names})");
    let found: i64 =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.map_err(|error| told(&error))?;
    if found == LEDGER_TABLES.len() as i64 { Err(words::LEDGER.to_owned()) } else { Ok(()) }
}

async fn changes(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select total_changes()").persistent(false).fetch_one(connection).await
}

fn columns(row: &SqliteRow) -> Result<Vec<(String, Value)>, String> {
    let one = |(n, column): (usize, &SqliteColumn)| {
        let name = column.name().to_owned();
        read(row, n)
            .map(|value| (name.clone(), value))
            .map_err(|why| format!("the column `{name}` cannot be read: {why}"))
    };
    row.columns().iter().enumerate().map(one).collect()
}

/// By how the value is stored: a column has no type of its own.
fn read(row: &SqliteRow, n: usize) -> Result<Value, String> {
    let told = |error: sqlx::Error| error.to_string();
    let raw = row.try_get_raw(n).map_err(told)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" => json!(row.try_get_unchecked::<i64, _>(n).map_err(told)?),
        "REAL" => {
            let fraction: f64 = row.try_get_unchecked(n).map_err(told)?;
            let infinite = if fraction > 0.0 { "Infinity" } else { "-Infinity" };
            if fraction.is_finite() { json!(fraction) } else { json!(infinite) }
        }
        "BLOB" => {
            let bytes: Vec<u8> = row.try_get_unchecked(n).map_err(told)?;
            json!(bytes.iter().fold("\\x".to_owned(), |hex, byte| hex + &format!("{byte:02x}")))
        }
        _ => json!(row.try_get_unchecked::<String, _>(n).map_err(told)?),
    })
}

/// The primary result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

fn told(error: &sqlx::Error) -> String {
    let said = match error {
        sqlx::Error::Protocol(message) => return message.clone(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    };
    let help = match code(error) {
        Some(5) => "another program keeps it locked: end that transaction, or give the step a `retry`",
        Some(8) => "the step or its connection is read-only, or this user may not write the file and its folder",
        Some(11 | 26) => "restore it from a backup, or correct the connection",
        Some(13) => "free some space there",
        Some(14) => "check the path, and whether this user may read the file and its folder",
        _ if said.contains("within a transaction") => {
            "a step is one transaction, and this cannot be part of one: let a `run` step do it with `sqlite3`"
        }
        _ => "",
    };
    words::with_help(said, help)
}

/// Opens the file as a step would, and looks.
pub(super) async fn look(path: &Path, read_only: bool) -> Result<Seen, String> {
    let mut connection = connect(path, false, read_only, Duration::from_secs(5)).await?;
    guard(&mut connection).await?;
    let version = sqlx::query_scalar::<_, String>("select sqlite_version()").fetch_one(&mut connection).await;
    let version = format!("SQLite {}", version.map_err(|error| told(&error))?);
    Ok(Seen { version, superuser: false, in_the_clear: false })
}
