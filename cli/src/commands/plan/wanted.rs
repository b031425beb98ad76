//! What a run will be measured against.

use runward_engine::run::objectives::RPO_OUTPUT;
use runward_engine::runbook::model::Runbook;
use runward_engine::units::format_duration;
use serde_json::{Value, json};

pub fn lines(runbook: &Runbook) -> Vec<String> {
    let objectives = runbook.objectives;
    let rto = objectives.rto.map(|rto| format!("rto         {} from the trigger to its success", format_duration(rto)));
    let rpo = objectives.rpo.map(|rpo| {
        let how = match says_what_was_lost(runbook) {
            true => format!("as its output `{RPO_OUTPUT}` says"),
            false => format!("and nothing measures it: hand back what was lost, `outputs: {{{RPO_OUTPUT}: ...}}`"),
        };
        format!("rpo         {}, {how}", format_duration(rpo))
    });
    rto.into_iter().chain(rpo).collect()
}

pub fn json(runbook: &Runbook) -> Value {
    let objectives = runbook.objectives;
    let ms = |limit: Option<std::time::Duration>| limit.map(|limit| limit.as_millis() as u64);
    json!({"rto_ms": ms(objectives.rto), "rpo_ms": ms(objectives.rpo), "rpo_is_measured": says_what_was_lost(runbook)})
}

fn says_what_was_lost(runbook: &Runbook) -> bool {
    runbook.outputs.iter().any(|output| output.name.value == RPO_OUTPUT)
}
