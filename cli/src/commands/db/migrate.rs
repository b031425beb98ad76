//! `runward db migrate`: makes the database ready for this version.

use runward_store::{PostgresLedger, SqliteLedger};
use serde_json::json;

use super::super::{print_json, print_line};
use crate::args::Format;
use crate::config::Config;
use crate::failure::Failure;
use crate::open::home;

pub async fn run(config: &Config, format: Format) -> Result<i32, Failure> {
    let (place, schema) = match &config.settings.database {
        Some(database) => {
            let status = PostgresLedger::migrate(database.whole()).await?;
            (status.place, status.schema)
        }
        None => {
            let home = home(&config.settings)?;
            let ledger = SqliteLedger::open(&home.ledger()).await?;
            (home.ledger().display().to_string(), ledger.stats().await?.schema)
        }
    };
    match format {
        Format::Json => print_json(&json!({"ledger": place, "schema": schema})),
        Format::Text => print_line(&format!("{place} is ready: schema {schema}")),
    }
    Ok(0)
}
