//! Values of a statement as the server wants them: as texts, and each place says what the text is to become.
//!
//! The server is asked for the type of each place before. It alone turns a text into that type, as it does for what `psql`
//! sends, so that every type that it has is known here, and its refusal is that of the server.

use std::collections::HashMap;

use runward_engine::run::sql::{Bound, Statement};
use serde_json::Value;
use sqlx::PgConnection;

/// The types with a meaning of their own here.
const BYTEA: u32 = 17;
const CHAR: u32 = 18;
const NAME: u32 = 19;
const JSON: [u32; 2] = [114, 3802];
const WHOLE: [u32; 4] = [20, 21, 23, 26];
/// The server cuts off what is longer.
const NAME_BYTES_MAX: usize = 63;

pub(super) struct Param {
    /// `None`: NULL.
    pub text: Option<String>,
    /// As it is written in a statement.
    kind: String,
}

/// The type of a place.
#[derive(Debug, Clone)]
struct Kind {
    oid: u32,
    name: String,
    /// Of an array: the type of its elements.
    element: Option<u32>,
}

impl Param {
    /// Parenthesised: something may follow, such as `[1]`.
    pub(super) fn place(&self, n: usize) -> String {
        format!("(cast(cast(${n} as text) as {}))", self.kind)
    }
}

/// `kinds`: of the places, as the server has found them.
pub(super) async fn values(
    connection: &mut PgConnection,
    kinds: &[u32],
    statement: &Statement,
) -> Result<Vec<Param>, sqlx::Error> {
    if kinds.len() != statement.values.len() {
        let (has, seen) = (statement.values.len(), kinds.len());
        return Err(sqlx::Error::Protocol(format!(
            "the statement has {has} values, and the server sees {seen}: write each where a value stands, outside of quotes and \
             comments"
        )));
    }
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let known = known(connection, kinds).await?;
    let params = kinds.iter().zip(&statement.values).map(|(oid, bound)| {
        let kind = known.get(oid).ok_or_else(|| format!("`{}`: the server does not name its type", bound.source))?;
        let text = text(kind, &bound.value).map_err(|why| told(bound, kind, &why))?;
        Ok(Param { text, kind: kind.name.clone() })
    });
    let params: Vec<Param> = params.collect::<Result<_, String>>().map_err(sqlx::Error::Protocol)?;
    check(connection, &params, statement).await?;
    Ok(params)
}

async fn known(connection: &mut PgConnection, kinds: &[u32]) -> Result<HashMap<u32, Kind>, sqlx::Error> {
    let sql = "select oid::bigint, format_type(oid, -1), case when typlen = -1 then typelem::bigint else 0 end from pg_catalog.pg_type where oid = any($1::bigint[])";
    let oids: Vec<i64> = kinds.iter().map(|oid| i64::from(*oid)).collect();
    let found = sqlx::query_as::<_, (i64, String, i64)>(sql).persistent(false).bind(oids).fetch_all(connection).await?;
    let kind = |(oid, name, element): (i64, String, i64)| {
        let oid = u32::try_from(oid).unwrap_or_default();
        (oid, Kind { oid, name, element: u32::try_from(element).ok().filter(|element| *element != 0) })
    };
    Ok(found.into_iter().map(kind).collect())
}

/// Each value by itself, before any of them is used: so that it is known which one does not fit.
async fn check(connection: &mut PgConnection, params: &[Param], statement: &Statement) -> Result<(), sqlx::Error> {
    for (param, bound) in params.iter().zip(&statement.values) {
        if param.text.is_none() || ["text", "character varying"].contains(&param.kind.as_str()) {
            continue;
        }
        let sql = format!("select {} is null", param.place(1));
        let tried = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).bind(param.text.as_deref());
        if let Err(error) = tried.execute(&mut *connection).await {
            let Some(database) = error.as_database_error() else { return Err(error) };
            return Err(sqlx::Error::Protocol(format!(
                "the value of `{}` does not fit its place, which takes {}: {}",
                bound.source,
                param.kind,
                database.message()
            )));
        }
    }
    Ok(())
}

fn told(bound: &Bound, kind: &Kind, why: &str) -> String {
    format!("the value of `{}` does not fit its place, which takes {}: {why}", bound.source, kind.name)
}

fn text(kind: &Kind, value: &Value) -> Result<Option<String>, String> {
    let is_json = JSON.contains(&kind.oid);
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => plain(kind.oid, text)?,
        Value::Array(items) if kind.element.is_some() => array(kind.element.unwrap_or_default(), items)?,
        Value::Array(_) | Value::Object(_) if is_json => value.to_string(),
        Value::Array(_) => {
            return Err(
                "it is a list: write `= any(${{ ... }})`, or `${{ ... | json }}` where it is to be a text".to_owned()
            );
        }
        Value::Object(_) => return Err("it is a map: write `${{ ... | json }}`".to_owned()),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64() && WHOLE.contains(&kind.oid)) {
            // `6 / 2` is a fraction for the expression, and the number 3 for everybody else.
            Some(fraction) if fraction.fract() == 0.0 && fraction.abs() < 1e15 => format!("{fraction:.0}"),
            _ => number.to_string(),
        },
        Value::Bool(flag) => flag.to_string(),
    };
    Ok(Some(text))
}

fn plain(oid: u32, text: &str) -> Result<String, String> {
    let cut = match oid {
        NAME => text.len() > NAME_BYTES_MAX,
        CHAR => text.len() > 1,
        _ => false,
    };
    if cut {
        return Err(format!("it has {} bytes, and the server would cut it", text.len()));
    }
    if oid == BYTEA {
        return Ok(text.bytes().fold("\\x".to_owned(), |hex, byte| hex + &format!("{byte:02x}")));
    }
    Ok(text.to_owned())
}

/// As the server reads an array: every element in quotes, so that none of them is anything but itself.
fn array(of: u32, items: &[Value]) -> Result<String, String> {
    let element = |item: &Value| {
        Ok(match item {
            Value::Null => "NULL".to_owned(),
            Value::Array(items) => array(of, items)?,
            Value::String(text) => quoted(&plain(of, text)?),
            other => quoted(&other.to_string()),
        })
    };
    let elements: Vec<String> = items.iter().map(element).collect::<Result<_, String>>()?;
    Ok(format!("{{{}}}", elements.join(",")))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(oid: u32, element: Option<u32>) -> Kind {
        Kind { oid, name: "k".to_owned(), element }
    }

    #[test]
    fn a_value_is_written_as_the_server_reads_it() {
        let text = |kind: &Kind, value: Value| text(kind, &value).unwrap();
        assert_eq!(text(&kind(23, None), json!(3.0)), Some("3".into()));
        assert_eq!(text(&kind(23, None), json!(3.5)), Some("3.5".into()), "and the server refuses it");
        assert_eq!(text(&kind(701, None), json!(1e300)), Some("1e+300".into()));
        assert_eq!(text(&kind(3802, None), json!({"a": [1]})), Some("{\"a\":[1]}".into()));
        assert_eq!(text(&kind(17, None), json!("a\\é")), Some("\\x615cc3a9".into()));
        assert_eq!(
            text(&kind(1009, Some(25)), json!(["a\"b\\", null, "NULL", ""])),
            Some("{\"a\\\"b\\\\\",NULL,\"NULL\",\"\"}".into())
        );
        assert_eq!(text(&kind(1007, Some(23)), json!([[1, 2], [3, 4]])), Some("{{\"1\",\"2\"},{\"3\",\"4\"}}".into()));
        assert_eq!(
            text(&kind(1001, Some(BYTEA)), json!(["a\\"])),
            Some("{\"\\\\x615c\"}".into()),
            "bytes, not escapes"
        );
        assert_eq!(text(&kind(23, None), json!(null)), None);
        assert_eq!(text(&kind(16, None), json!(true)), Some("true".into()));
    }

    #[test]
    fn what_the_server_would_change_silently_is_refused() {
        for (kind, value, why) in [
            (kind(NAME, None), json!("x".repeat(64)), "would cut it"),
            (kind(CHAR, None), json!("ab"), "would cut it"),
            (kind(1003, Some(NAME)), json!(["x".repeat(64)]), "would cut it"),
            (kind(23, None), json!([1]), "= any("),
            (kind(25, None), json!({"a": 1}), "| json"),
        ] {
            assert!(text(&kind, &value).unwrap_err().contains(why), "{value}");
        }
        assert!(text(&kind(NAME, None), &json!("x".repeat(63))).is_ok());
    }
}
