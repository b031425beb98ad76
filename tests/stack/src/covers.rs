//! Which rows the steps of a runbook say they cover.
//!
//! `annotations: {covers: "S3-15 S3-16"}` are proved by a step that succeeded, `covers-failed` by one that failed as it should,
//! `covers-undone` by one that was taken back: behind the dash stands the status the step has to have in the ledger.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use crate::repository;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    finally: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    id: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// For each step, for each row, the statuses that prove it.
pub struct Covers(BTreeMap<String, BTreeMap<String, Vec<String>>>);

impl Covers {
    /// Of the runbook of this name in `runbooks/`.
    pub fn of(runbook: &str) -> Result<Covers, String> {
        let path = repository().join("runbooks").join(format!("{runbook}.yaml"));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Covers::read(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn read(text: &str) -> Result<Covers, String> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut steps: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for step in file.steps.into_iter().chain(file.finally) {
            let Some(id) = step.id else { continue };
            let rows = steps.entry(id).or_default();
            for (key, list) in step.annotations {
                let status = match key.strip_prefix("covers") {
                    Some("") => "succeeded",
                    Some(rest) => rest.trim_start_matches('-'),
                    None => continue,
                };
                for row in list.split_whitespace() {
                    rows.entry(row.to_owned()).or_default().push(status.to_owned());
                }
            }
        }
        Ok(Covers(steps))
    }

    /// Why this step, having come to this, does not prove this row.
    pub fn check(&self, row: &str, step: &str, status: &str) -> Result<(), String> {
        let rows = self.0.get(step).ok_or_else(|| format!("there is no step `{step}`"))?;
        let statuses = rows.get(row).ok_or_else(|| format!("`{step}` does not cover {row}"))?;
        match statuses.iter().any(|wanted| wanted == status) {
            true => Ok(()),
            false => Err(format!("{row} takes a `{step}` that is {}, not {status}", statuses.join(" or "))),
        }
    }

    /// All rows that any step names.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(|rows| rows.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_proved_by_the_status_its_annotation_names() {
        let text = "steps:\n- id: switch\n  run: x\n  annotations: {covers: 'A-1 A-2', covers-undone: A-3}\n";
        let covers = Covers::read(text).unwrap();
        assert_eq!(covers.check("A-2", "switch", "succeeded"), Ok(()));
        assert_eq!(covers.check("A-3", "switch", "undone"), Ok(()));
        assert!(covers.check("A-3", "switch", "succeeded").unwrap_err().contains("undone, not succeeded"));
        assert!(covers.check("A-1", "switch", "undone").is_err());
        assert!(covers.check("A-9", "switch", "succeeded").is_err());
        assert!(covers.check("A-1", "stitch", "succeeded").unwrap_err().contains("no step"));
    }
}
