//! What is kept of the rows of a statement: the first ones, as many as an output can hold.

use runward_engine::limits;
use runward_engine::run::outputs::Outputs;
use serde_json::{Map, Value, json};

use super::{Hidden, say};

#[derive(Default)]
pub(super) struct Rows {
    kept: Vec<Value>,
    bytes: usize,
    first: Option<Value>,
    /// There were more.
    truncated: bool,
}

impl Rows {
    /// Whether another row would be looked at. It has to be pushed all the same.
    pub(super) fn is_full(&self) -> bool {
        self.truncated
    }

    /// `row`: its columns, in order. Asked only while there is room.
    pub(super) fn push(&mut self, row: impl FnOnce() -> Result<Vec<(String, Value)>, String>) -> Result<(), String> {
        if self.is_full() {
            return Ok(());
        }
        let columns = row()?;
        if self.first.is_none() {
            self.first = Some(columns.first().map_or(Value::Null, |(_, value)| value.clone()));
        }
        let row = Value::Object(columns.into_iter().collect::<Map<_, _>>());
        let bytes = self.bytes + row.to_string().len() + 1;
        if self.kept.len() == limits::SQL_ROWS_MAX || bytes + 2 > limits::OUTPUT_BYTES_MAX {
            self.truncated = true;
            return Ok(());
        }
        self.bytes = bytes;
        self.kept.push(row);
        Ok(())
    }

    /// The first column of the first row.
    pub(super) fn first(&self) -> Option<&Value> {
        self.first.as_ref()
    }

    /// `row_count`: as many as were returned or changed.
    pub(super) fn outputs(self, row_count: u64, hidden: &Hidden) -> Outputs {
        let mut outputs = Outputs::new();
        if self.truncated {
            say(&format!("the output `rows` has the first {} of {row_count} rows", self.kept.len()));
        }
        let first = self.first.unwrap_or(Value::Null);
        let values = [
            ("rows", Value::Array(self.kept)),
            ("row_count", json!(row_count)),
            ("truncated", json!(self.truncated)),
            ("value", first),
        ];
        for (name, value) in values {
            let value = hidden.hide_value(value);
            let bytes = value.as_str().map_or_else(|| value.to_string().len(), str::len);
            if bytes > limits::OUTPUT_BYTES_MAX {
                say(&format!("the output `{name}` would have {bytes} bytes and is left out"));
                continue;
            }
            outputs.insert(name.to_owned(), value);
        }
        outputs
    }
}

/// Two columns of one name cannot both be an output.
pub(super) fn distinct<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("two columns are called `{name}`: give one of them another name with `as`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rows: usize, text: &str) -> Rows {
        let mut kept = Rows::default();
        for n in 0..rows {
            kept.push(|| Ok(vec![("n".to_owned(), json!(n)), ("t".to_owned(), json!(text))])).unwrap();
        }
        kept
    }

    #[test]
    fn as_many_rows_are_kept_as_an_output_can_hold_and_the_rest_is_counted() {
        let same = &Hidden::new(&[]);
        let all = filled(limits::SQL_ROWS_MAX, "").outputs(1_000, same);
        assert_eq!((all["rows"].as_array().unwrap().len(), &all["truncated"]), (limits::SQL_ROWS_MAX, &json!(false)));
        let more = filled(limits::SQL_ROWS_MAX + 1, "").outputs(1_001, same);
        assert_eq!((more["rows"].as_array().unwrap().len(), &more["truncated"]), (limits::SQL_ROWS_MAX, &json!(true)));
        assert_eq!((&more["row_count"], &more["value"]), (&json!(1_001), &json!(0)));
        let wide = filled(100, &"x".repeat(1_000)).outputs(100, same);
        assert!(wide["rows"].to_string().len() <= limits::OUTPUT_BYTES_MAX && wide["truncated"] == true);
        let masked = filled(1, "a s3cret").outputs(1, &Hidden::new(&["s3cret".to_owned()]));
        assert_eq!(masked["rows"], json!([{"n": 0, "t": "a ***"}]));
    }
}
