//! The rows: `runbooks/rows.txt`, one procedure a line.

use std::fs;

use crate::repository;

/// `id|title|label`. The title may have a `|` in it; the label is empty where a runbook is expected to execute the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    pub title: String,
    pub label: Option<String>,
}

/// What a label begins with.
const LABELS: [&str; 3] = ["advice only", "program: ", "not executed here: "];

pub fn all() -> Vec<Row> {
    let text = fs::read_to_string(repository().join("runbooks/rows.txt")).expect("runbooks/rows.txt");
    text.lines().map(|line| row(line).unwrap_or_else(|why| panic!("runbooks/rows.txt: {why}: {line}"))).collect()
}

fn row(line: &str) -> Result<Row, &'static str> {
    let (id, rest) = line.split_once('|').ok_or("no `|`")?;
    let (title, label) = rest.rsplit_once('|').ok_or("only one `|`")?;
    let known =
        label.is_empty() || LABELS.iter().any(|known| label.starts_with(known) && label.len() > known.len() - 1);
    if !known {
        return Err("no label of that name");
    }
    let label = (!label.is_empty()).then(|| label.to_owned());
    Ok(Row { id: id.to_owned(), title: title.to_owned(), label })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_procedure_is_there_once() {
        let rows = all();
        assert_eq!(rows.len(), 234);
        let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 234);
    }

    #[test]
    fn a_title_may_have_a_pipe_in_it() {
        let row = row("S0-20|gunzip -c F | psql|").unwrap();
        assert_eq!((row.title.as_str(), row.label), ("gunzip -c F | psql", None));
    }

    #[test]
    fn a_label_is_one_of_three() {
        assert!(row("S0-20|restore|done, I think").is_err());
        assert!(row("S0-20|restore|not executed here: there is no cluster").is_ok());
    }
}
