//! `sql`: statements on a database, one transaction a step.
//!
//! - `postgres`, `sqlite`: how each of them binds values, reads rows, is cancelled
//! - [`look`]: whether a database is there at all
//! - `rows`: what is kept of a result, within its limits; `words`: what goes wrong, in words with what to do
//!
//! To know before changing anything: values never stand in a text; nothing is committed of which an expectation does not
//! hold; from just before COMMIT until its answer the journal of this attempt says that nobody knows.

pub mod look;
mod postgres;
mod rows;
mod sqlite;
mod words;

use std::time::{Duration, Instant};

use runward_engine::limits;
use runward_engine::run::outputs::{self, Outputs};
use runward_engine::run::request::Answer;
use runward_engine::run::sql::{SqlRequest, Statement, count};
use runward_engine::units::format_duration;
use tokio::signal::unix::{SignalKind, signal};

use super::hidden::Hidden;
use super::own::{leave, say};
use crate::reach::connections::{Address, PASSWORD, Target};
use rows::Rows;

/// How long a database has to end a statement that it was told to end.
const CANCEL: Duration = Duration::from_secs(5);
/// Tables that only a ledger of runward has together.
const LEDGER_TABLES: [&str; 7] =
    ["administration", "attempts", "definitions", "events", "runs", "seal", "tick_horizon"];

/// How a COMMIT ended that did not say it was done.
enum NotCommitted {
    /// It is not.
    Failed(String),
    Unknown(String),
}

/// A database within a transaction. Dropped without a commit, it has changed nothing.
trait Session {
    /// Carries out one statement: the number of rows that it returned or changed.
    async fn carry_out(&mut self, statement: &Statement, rows: &mut Rows) -> Result<u64, String>;

    async fn commit(&mut self) -> Result<(), NotCommitted>;

    /// Ends what is being carried out, from beside it.
    fn canceller(&self) -> impl Future<Output = ()> + use<Self>;
}

/// Carries the request out. What it leaves is the answer; nothing of it is in doubt unless it says so.
pub(super) fn run(request: &SqlRequest, target: Option<&Target>) -> Answer {
    let password = std::env::var(PASSWORD).ok();
    let hidden = Hidden::new(&request.hidden.iter().cloned().chain(password).collect::<Vec<_>>());
    let Some(target) = target else { return Answer::Failed("no connection was handed over".to_owned()) };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Answer::Failed(format!("the system refuses what every program needs: {error}")),
    };
    let read_only = request.read_only || target.read_only;
    let kind = if read_only { ", read-only" } else { "" };
    say(&format!("{}: {}{kind}", target.connection, target.address.place()));
    let mut answer = runtime.block_on(connected(request, target, read_only, &hidden));
    if let Answer::Failed(why) | Answer::Unknown(why) = &mut answer {
        // First hidden, then cut: what is left of a sensitive value would not be known any more.
        *why = words::line(&hidden.hide(&format!("{}: {why}", target.connection)));
    }
    answer
}

async fn connected(request: &SqlRequest, target: &Target, read_only: bool, hidden: &Hidden) -> Answer {
    let mut told = match signal(SignalKind::terminate()) {
        Ok(told) => told,
        Err(error) => return Answer::Failed(format!("the system refuses a signal handler: {error}")),
    };
    let told = async move { _ = told.recv().await };
    match &target.address {
        Address::Postgres { url, .. } => {
            let open = postgres::Postgres::open(url, request, read_only);
            transaction(open, request, hidden, told).await
        }
        Address::Sqlite { path, create } => {
            let open = sqlite::Sqlite::open(path, *create, request, read_only);
            transaction(open, request, hidden, told).await
        }
    }
}

/// `open`: connects and begins. `told`: somebody ends this step.
async fn transaction<S: Session>(
    open: impl Future<Output = Result<S, String>>,
    request: &SqlRequest,
    hidden: &Hidden,
    told: impl Future<Output = ()>,
) -> Answer {
    const ENDED: &str = "it was ended before it was committed: nothing was changed";
    const UNANSWERED: &str =
        "it was ended before the database had answered: nothing was changed. Does it hang, or is it locked?";
    let mut told = std::pin::pin!(told);
    let opened = tokio::select! { opened = open => opened, () = &mut told => Err(UNANSWERED.to_owned()) };
    let mut session = match opened {
        Ok(session) => session,
        Err(why) => return Answer::Failed(why),
    };
    let canceller = session.canceller();
    let done = {
        let mut work = std::pin::pin!(work(&mut session, request, hidden));
        tokio::select! {
            done = &mut work => done,
            () = &mut told => {
                let both = async { tokio::join!(canceller, &mut work) };
                let over = tokio::time::timeout(CANCEL, both).await.is_ok();
                say(if over { "the statement was cancelled" } else { "the database did not say that the statement is cancelled" });
                Err(ENDED.to_owned())
            }
        }
    };
    match done {
        Ok(outputs) => match can_be_told(&outputs) {
            Ok(()) => commit(&mut session, outputs).await,
            Err(why) => Answer::Failed(format!("{why}: rolled back, nothing was changed")),
        },
        Err(why) => Answer::Failed(why),
    }
}

async fn work<S: Session>(session: &mut S, request: &SqlRequest, hidden: &Hidden) -> Result<Outputs, String> {
    let many = request.statements.len() > 1;
    let (mut rows, mut last) = (Rows::default(), 0);
    for (n, statement) in request.statements.iter().enumerate() {
        let start = Instant::now();
        rows = Rows::default();
        let named = |why: String| if many { format!("statement {}: {why}", n + 1) } else { why };
        last = session.carry_out(statement, &mut rows).await.map_err(named)?;
        let which = if many { format!("statement {}: ", n + 1) } else { String::new() };
        say(&format!("{which}{} in {}", count(last), format_duration(start.elapsed())));
    }
    if let Err(why) = request.expect.judge(last, rows.first(), &|text| hidden.hide(text)) {
        return Err(format!("{why}: rolled back, nothing was changed"));
    }
    Ok(rows.outputs(last, hidden))
}

/// What cannot be told must not be committed: nobody would know of it.
fn can_be_told(outputs: &Outputs) -> Result<(), String> {
    outputs::check(outputs).map_err(|error| error.to_string())?;
    let answer = serde_json::to_vec(&Answer::Outputs(outputs.clone())).map_err(|error| error.to_string())?;
    match answer.len() > limits::OUTPUTS_BYTES_MAX {
        true => Err(format!("its outputs have {} bytes: ask for fewer rows", answer.len())),
        false => Ok(()),
    }
}

/// Whoever dies meanwhile leaves the word that nobody knows.
async fn commit<S: Session>(session: &mut S, outputs: Outputs) -> Answer {
    let unknown = "it died while it committed: whether it is committed is not known, look into the database".to_owned();
    if let Err(why) = leave(&Answer::Unknown(unknown)) {
        return Answer::Failed(format!("{why}; nothing was changed"));
    }
    match session.commit().await {
        Ok(()) => {
            say("committed");
            Answer::Outputs(outputs)
        }
        Err(NotCommitted::Failed(why)) => Answer::Failed(format!("{why}; nothing was changed")),
        Err(NotCommitted::Unknown(why)) => {
            Answer::Unknown(format!("{why}; whether it is committed is not known, look into the database"))
        }
    }
}
