//! An `sql` step of the tree -> its model, and what cannot be right about it.

use std::time::Duration;

use super::model::{Sql, SqlExpect};
use super::node::Node;
use super::places::{Place, Places};
use super::report::Finding;
use super::steps::time;
use crate::bind::SqlTemplate;
use crate::units::format_duration;

/// `timeout`: of the step, which has to leave room for a statement. `None` where the query is wrong, which has been reported.
pub fn read<'n>(places: &mut Places<'n>, node: &'n Node, timeout: Duration, place: Place) -> Option<Sql> {
    let query = node.get("query").and_then(|node| query(places, node, place));
    let expect = node.get("expect");
    let value = expect.and_then(|node| node.get("value"));
    let sql = Sql {
        connection: node.get("connection").and_then(Node::text).unwrap_or_default().to_owned(),
        query: query?,
        expect: SqlExpect {
            rows: expect.and_then(|node| node.get("rows")).and_then(Node::int).and_then(|rows| rows.try_into().ok()),
            value: value.and_then(|node| super::http::json(places, node, place)),
        },
        timeout: time(node.get("timeout")),
        read_only: node.get("read-only").and_then(Node::flag).unwrap_or(false),
    };
    room(places, node, sql.timeout, timeout);
    Some(sql)
}

fn query<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Option<SqlTemplate> {
    let template = places.template(node, place)?;
    SqlTemplate::compile(&template).map_err(|errors| places.reject(node, errors)).ok()
}

/// The database itself ends a statement that takes too long, and says so: only before the step is ended.
fn room(places: &mut Places<'_>, node: &Node, statement: Option<Duration>, step: Duration) {
    if let (Some(statement), Some((key, _))) = (statement, node.entry("timeout"))
        && statement > step
    {
        let (statement, step) = (format_duration(statement), format_duration(step));
        let message = format!("a statement may take {statement}, but the step times out after {step}");
        let help = "give the step a longer `timeout` (the default is 10m)";
        places.findings.push(Finding::new(&key.span, "too long", message).help(help));
    }
}
