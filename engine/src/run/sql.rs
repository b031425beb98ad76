//! What an `sql` step asks of a database, with every value beside the text and not in it; and what makes its result the
//! expected one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prepare::PrepareError;
use crate::bind::{Context, EvalError, Expression};
use crate::limits;
use crate::runbook::model::{Sql, Step};
use crate::runbook::report::quoted;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SqlRequest {
    pub connection: String,
    /// In order, in one transaction.
    pub statements: Vec<Statement>,
    pub expect: Expected,
    /// Of each statement.
    pub timeout_ms: Option<u64>,
    /// The step is ended so long after its start.
    pub step_ms: u64,
    pub read_only: bool,
    /// Sensitive values: nothing that is printed may contain them.
    pub hidden: Vec<String>,
}

/// One text more than there are values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    pub texts: Vec<String>,
    pub values: Vec<Bound>,
}

/// A value, and the expression that it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    pub source: String,
    pub value: Value,
}

/// What the last statement has to bring.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    pub rows: Option<u64>,
    /// The first column of the first row.
    pub value: Option<Value>,
}

/// Binds the values. Those that no database takes are refused here, before anything has begun.
pub(super) fn request(
    spec: &Step,
    sql: &Sql,
    context: &Context,
    hidden: Vec<String>,
) -> Result<SqlRequest, PrepareError> {
    let at = |place: &'static str| move |source| PrepareError::Value { place: format!("`sql.{place}`"), source };
    let bound = |expression: &Expression| -> Result<Bound, EvalError> {
        Ok(Bound { source: expression.source.clone(), value: fit(expression, expression.evaluate(context)?)? })
    };
    let statements = sql.query.statements.iter().map(|statement| {
        let values = statement.values.iter().map(bound).collect::<Result<_, _>>()?;
        Ok(Statement { texts: statement.texts.clone(), values })
    });
    let value = sql.expect.value.as_ref().map(|value| value.bind(context)).transpose();
    Ok(SqlRequest {
        connection: sql.connection.clone(),
        statements: statements.collect::<Result<_, _>>().map_err(at("query"))?,
        expect: Expected { rows: sql.expect.rows, value: value.map_err(at("expect.value"))? },
        timeout_ms: sql.timeout.map(|timeout| timeout.as_millis() as u64),
        step_ms: spec.timeout.as_millis() as u64,
        read_only: sql.read_only,
        hidden,
    })
}

fn fit(expression: &Expression, value: Value) -> Result<Value, EvalError> {
    let refused = |message: String| Err(EvalError::Refused { expression: expression.source.clone(), message });
    if has_nul(&value) {
        return refused("has a NUL byte, which no database takes as text".to_owned());
    }
    let bytes = size(&value);
    if bytes > limits::VALUE_BYTES_MAX {
        let max = limits::VALUE_BYTES_MAX;
        return refused(format!("has {bytes} bytes; one value may have {max}: load it from a file with a `run` step"));
    }
    Ok(value)
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn size(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), str::len)
}

impl SqlRequest {
    /// Its texts and values together, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let values = self.statements.iter().flat_map(|statement| &statement.values).map(|bound| size(&bound.value));
        let texts = self.statements.iter().flat_map(|statement| &statement.texts).map(String::len);
        values.chain(texts).sum()
    }
}

impl Expected {
    /// `rows`: as many as were returned or changed. `value`: the first column of the first row, where there is a row.
    /// `hide` takes out what may not be shown. `Err` says what was expected and what came.
    pub fn judge(&self, rows: u64, value: Option<&Value>, hide: &dyn Fn(&str) -> String) -> Result<(), String> {
        if let Some(wanted) = self.rows.filter(|wanted| *wanted != rows) {
            return Err(format!("expected {}, got {}", count(wanted), count(rows)));
        }
        let Some(wanted) = &self.value else { return Ok(()) };
        let brief = |value: &Value| quoted(&hide(&value.to_string()));
        match value {
            Some(came) if same(came, wanted) => Ok(()),
            Some(came) => Err(format!("expected the value {}, got {}", brief(wanted), brief(came))),
            None => Err(format!("expected the value {}, got no row", brief(wanted))),
        }
    }
}

/// `1 row`, `2 rows`.
pub fn count(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// Numbers by what they are: some types of databases are texts here, so that no digit is lost.
fn same(came: &Value, wanted: &Value) -> bool {
    match (came, wanted) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64() && a.is_f64() != b.is_f64(),
        (Value::String(text), Value::Number(number)) | (Value::Number(number), Value::String(text)) => {
            super::decimal::same(text, &number.to_string())
        }
        _ => came == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_came_is_compared_by_what_it_is() {
        let hide = &|text: &str| text.replace("s3cret", "***");
        let value = |wanted: Value, came: Value| {
            Expected { value: Some(wanted), ..Expected::default() }.judge(1, Some(&came), hide)
        };
        for (wanted, came) in [
            (json!(1), json!(1)),
            (json!(1), json!(1.0)),
            (json!(12), json!("12")),
            (json!("a"), json!("a")),
            (json!(null), json!(null)),
            (json!([1]), json!([1])),
        ] {
            assert_eq!(value(wanted.clone(), came.clone()), Ok(()), "{wanted} {came}");
        }
        assert_eq!(value(json!("s3cret"), json!("x")).unwrap_err(), "expected the value \"***\", got \"x\"");
        assert!(value(json!(true), json!("true")).is_err() && value(json!(1), json!("01")).is_err());
        let none = Expected { rows: Some(1), value: Some(json!(1)) };
        assert_eq!(none.judge(0, None, hide).unwrap_err(), "expected 1 row, got 0 rows");
        assert_eq!(
            Expected { rows: None, ..none }.judge(0, None, hide).unwrap_err(),
            "expected the value 1, got no row"
        );
    }
}
