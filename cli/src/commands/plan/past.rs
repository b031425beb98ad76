//! What the ledger knows of a runbook before it runs: what it took so far, and the run before this one.

use runward_engine::plan::history::History;
use runward_engine::plan::params::HIDDEN;
use runward_engine::plan::{Definition, Seal};
use runward_engine::run::group::{Group, Member};
use runward_engine::run::rows::RunRow;
use runward_store::{Ledger, RunQuery};
use serde_json::{Map, Value};

use crate::config::Config;
use crate::failure::Failure;
use crate::open::{default_root, open};
use crate::runbook_file::RunbookFile;
use crate::view::eta::RUNS;

/// A plan is worth something without a ledger, too.
pub enum Past {
    /// There is no ledger yet: nothing ever ran.
    None,
    /// Why it cannot be read.
    Unreadable(String),
    Known(Box<Known>),
}

pub struct Known {
    pub seal: Seal,
    pub history: Option<History>,
    pub last: Option<Last>,
    /// The runs of its group that hold a permit, and those that wait.
    pub members: Vec<Member>,
}

/// The newest run of the runbook.
pub struct Last {
    pub row: RunRow,
    /// `None`: it cannot be read.
    pub definition: Option<Definition>,
    /// With the values of sensitive ones, to be compared and never shown.
    pub params: Map<String, Value>,
}

impl Past {
    /// Without making a ledger where there is none.
    pub async fn look(config: &Config, file: &RunbookFile, group: Option<&Group>) -> Past {
        let root = config.settings.state.clone().or_else(default_root);
        let in_folder = config.settings.database.is_none();
        if in_folder && !root.is_some_and(|root| root.join("ledger.db").exists()) {
            return Past::None;
        }
        let known = async { Known::read(open(config).await?.ledger(), file, group).await };
        match known.await {
            Ok(known) => Past::Known(Box::new(known)),
            Err(failure) => Past::Unreadable(failure.summary().to_owned()),
        }
    }

    pub fn known(&self) -> Option<&Known> {
        match self {
            Past::Known(known) => Some(known),
            Past::None | Past::Unreadable(_) => None,
        }
    }
}

impl Known {
    pub async fn read(ledger: &dyn Ledger, file: &RunbookFile, group: Option<&Group>) -> Result<Known, Failure> {
        let history = History::of(&ledger.past(&file.name, RUNS).await?);
        let query = RunQuery { name: Some(file.name.clone()), limit: Some(1), ..RunQuery::default() };
        let last = match ledger.runs(&query).await?.pop() {
            Some(row) => Some(Last::read(ledger, row, file).await?),
            None => None,
        };
        let members = match group {
            Some(group) => ledger.group(&group.name).await?,
            None => Vec::new(),
        };
        Ok(Known { seal: ledger.seal().await?, history, last, members })
    }
}

impl Last {
    async fn read(ledger: &dyn Ledger, row: RunRow, file: &RunbookFile) -> Result<Last, Failure> {
        // The whole record is only read where a value that is not shown has to be compared.
        let hidden = row.params.values().any(|value| value == HIDDEN);
        let params = match hidden || file.runbook.params.iter().any(|param| param.sensitive) {
            true => ledger.load(&row.id).await.map(|view| view.state.params).unwrap_or_else(|_| row.params.clone()),
            false => row.params.clone(),
        };
        let definition = ledger.definition(&row.definition).await.ok();
        Ok(Last { row, definition, params })
    }
}
