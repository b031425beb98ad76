//! Programs that steps call by name: they are not pinned, and can be others when the run comes to them.

use std::collections::BTreeSet;

use runward_engine::bind::programs_called;
use runward_engine::plan::Definition;
use runward_engine::runbook::model::{Action, Runbook, Script, Shell};

/// Names shown in one line.
const SHOWN_MAX: usize = 20;

/// As far as the text of the steps tells: a file of the same name that is pinned is what is meant.
pub fn programs(runbook: &Runbook, definition: &Definition) -> BTreeSet<String> {
    let pinned: BTreeSet<&str> =
        definition.files.iter().map(|file| file.path.rsplit('/').next().unwrap_or(&file.path)).collect();
    let mut found = BTreeSet::new();
    for step in &runbook.steps {
        match &step.action {
            Action::Shell { shell: Shell::Other(name), .. } => _ = found.insert(name.clone()),
            Action::Shell { script: Script::Bound(script), .. } => found.extend(programs_called(&script.text)),
            Action::Shell { script: Script::Verbatim(text), .. } => found.extend(programs_called(text)),
            Action::Cmd(argv) => {
                let program = argv.first().filter(|word| word.expressions().next().is_none());
                found.extend(program.map(|word| word.source()));
            }
            _ => {}
        }
    }
    found.retain(|program| !pinned.contains(program.rsplit('/').next().unwrap_or(program)));
    found
}

pub fn sentence(programs: &BTreeSet<String>) -> Option<String> {
    let rest = programs.len().saturating_sub(SHOWN_MAX);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let shown: Vec<&str> = programs.iter().take(SHOWN_MAX).map(String::as_str).collect();
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}
