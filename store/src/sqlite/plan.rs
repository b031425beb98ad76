//! What SQLite does for a statement whose cost must not grow.

use super::open;
use super::past::{ATTEMPTS, RUNS};
use sqlx::Row;

#[tokio::test]
async fn nothing_is_sorted_and_no_table_is_read_whole() {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    let mut connection = open::open(&dir.path().join("ledger.db")).await.expect("a new ledger");
    for (statement, wanted) in [(RUNS, "runs_that_succeeded"), (ATTEMPTS, "PRIMARY KEY (run_id=?)")] {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explained).bind("x").bind(1).fetch_all(&mut connection).await.expect("it is SQL");
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(plan.len() == 1 && plan[0].starts_with("SEARCH") && plan[0].contains(wanted), "{plan:?}");
    }
}
