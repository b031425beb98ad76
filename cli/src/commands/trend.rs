//! `runward runs RUNBOOK --objectives`: how its last runs stand against what it wants, and where that goes.

use runward_engine::run::objectives::{Measured, Objective, Standing};
use runward_engine::run::rows::RunRow;
use runward_store::Ledger;
use serde_json::{Value, json};

use super::{print_json, print_line};
use crate::args::Format;
use crate::failure::Failure;
use crate::text;
use crate::view::objectives::{cell, duration};

/// A run, and how it stands.
struct Line {
    row: RunRow,
    standings: Vec<Measured>,
}

impl Line {
    fn of(&self, objective: Objective) -> Option<&Measured> {
        self.standings.iter().find(|one| one.objective == objective)
    }
}

/// `rows`: newest first. Each run is read from its events: what is shown is what is on the record.
pub async fn show(ledger: &dyn Ledger, rows: Vec<RunRow>, format: Format) -> Result<i32, Failure> {
    let mut lines = Vec::with_capacity(rows.len());
    for row in rows {
        let standings = ledger.load(&row.id).await?.state.standings();
        lines.push(Line { row, standings });
    }
    match format {
        Format::Json => print_json(&lines.iter().map(as_json).collect::<Vec<_>>()),
        Format::Text => text_of(&lines).iter().for_each(|line| print_line(line)),
    }
    Ok(0)
}

fn as_json(line: &Line) -> Value {
    let row = &line.row;
    json!({"run": row.id, "name": row.name, "status": row.status, "created_at": row.created_at,
           "finished_at": row.finished_at, "objectives": line.standings})
}

fn text_of(lines: &[Line]) -> Vec<String> {
    if lines.iter().all(|line| line.standings.is_empty()) {
        return vec!["none of these runs has `objectives`".to_owned()];
    }
    let shown = |line: &Line, objective| line.of(objective).map(cell).unwrap_or_default();
    let row = |line: &Line| {
        let (rto, rpo) = (shown(line, Objective::Rto), shown(line, Objective::Rpo));
        let row = &line.row;
        format!("{}  {:<12} {}  {rto:<22} {rpo}", row.id, row.status, text::time(row.created_at)).trim_end().to_owned()
    };
    let head = format!("{:<36}  {:<12} {:<19}  {:<22} {}", "RUN", "STATUS", "CREATED", "RTO", "RPO");
    let sums = Objective::ALL.into_iter().filter_map(|objective| sum(lines, objective));
    std::iter::once(head).chain(lines.iter().map(row)).chain(sums).collect()
}

/// `rto: met by 3 of 4 that ended; newest 23m 10s, longest 4h 5m`. An objective that has changed meanwhile is that of each run.
fn sum(lines: &[Line], objective: Objective) -> Option<String> {
    let ended: Vec<&Measured> =
        lines.iter().filter(|line| line.row.finished_at.is_some()).filter_map(|line| line.of(objective)).collect();
    let met = ended.iter().filter(|one| one.standing == Standing::Met).count();
    if ended.is_empty() {
        return None;
    }
    let measured: Vec<i64> = ended.iter().filter_map(|one| one.measured_ms).collect();
    let range = match (measured.first(), measured.iter().max()) {
        (Some(newest), Some(longest)) => format!("; newest {}, longest {}", duration(*newest), duration(*longest)),
        _ => String::new(),
    };
    Some(format!("{}: met by {met} of {} that ended{range}", objective.as_str(), ended.len()))
}
