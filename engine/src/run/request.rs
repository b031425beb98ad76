//! What a step asks runward itself to do: `http`, `sql` and `render`, with every value bound.
//!
//! It is carried out by a program of its own, started like that of any other step, and handed over as a file. Here are
//! the words, and what makes an answer the expected one; how it is asked and written is with the workers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sql::SqlRequest;
use crate::runbook::report::quoted;

/// The whole of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Http(HttpRequest),
    Sql(SqlRequest),
    Render(RenderRequest),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    /// The URL as it may be shown.
    pub shown: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub expect: Expected,
    /// Asks again until the answer is as expected, for at most this long.
    pub until_ms: Option<u64>,
    pub every_ms: u64,
    /// Sensitive values: nothing that is printed may contain them.
    pub hidden: Vec<String>,
}

/// What the answer has to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Empty: any 2xx.
    pub status: Vec<u16>,
    pub json: Option<Value>,
    pub contains: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenderRequest {
    /// As written; relative to the folder the step runs in.
    pub to: String,
    pub content: String,
    pub mode: Option<u32>,
    pub owner: Option<String>,
    pub backup: bool,
    /// A sensitive value is in it: no line of it may be shown.
    pub secret: bool,
}

/// What such a step leaves: its outputs, why it failed, or why nobody knows what became of it. The last one also stands
/// there while that is so: whoever dies then cannot say it any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Outputs(super::outputs::Outputs),
    Failed(String),
    Unknown(String),
}

impl Expected {
    /// Whether the body has to be known to judge an answer.
    pub fn reads_body(&self) -> bool {
        self.json.is_some() || self.contains.is_some()
    }

    /// Whether an answer that sends elsewhere is itself what is asked for.
    pub fn wants_redirect(&self) -> bool {
        self.status.iter().any(|status| (300..400).contains(status))
    }

    /// `Err` says what was expected and what came. `hide` takes out what may not be shown, before anything is cut: what is
    /// left of a sensitive value would not be known any more.
    pub fn judge(&self, status: u16, body: &str, hide: &dyn Fn(&str) -> String) -> Result<(), String> {
        if !self.fits(status) {
            return Err(format!("expected status {}, got {status}", self.statuses()));
        }
        if let Some(wanted) = &self.json {
            let came: Value =
                serde_json::from_str(body).map_err(|error| format!("expected JSON, got none: {error}"))?;
            contains(&came, wanted, "json", hide)?;
        }
        match &self.contains {
            Some(text) if !body.contains(text.as_str()) => {
                Err(format!("expected an answer that contains \"{}\"", quoted(&hide(text))))
            }
            _ => Ok(()),
        }
    }

    fn fits(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&status) }
    }

    fn statuses(&self) -> String {
        let all: Vec<String> = self.status.iter().map(u16::to_string).collect();
        if all.is_empty() { "2xx".to_owned() } else { all.join(" or ") }
    }
}

/// Whether `came` has everything of `wanted`: maps may have more keys, lists have the same length, numbers the same value.
fn contains(came: &Value, wanted: &Value, path: &str, hide: &dyn Fn(&str) -> String) -> Result<(), String> {
    let brief = |value: &Value| quoted(&hide(&value.to_string()));
    let differs = || Err(format!("expected {path} to be {}, got {}", brief(wanted), brief(came)));
    match (came, wanted) {
        (Value::Object(came), Value::Object(wanted)) => {
            for (key, wanted) in wanted {
                let path = format!("{path}.{}", quoted(key));
                let Some(came) = came.get(key) else {
                    return Err(format!("expected {path} to be {}, which is missing", brief(wanted)));
                };
                contains(came, wanted, &path, hide)?;
            }
            Ok(())
        }
        (Value::Array(came), Value::Array(wanted)) if came.len() == wanted.len() => {
            let mut pairs = came.iter().zip(wanted).enumerate();
            pairs.try_for_each(|(n, (came, wanted))| contains(came, wanted, &format!("{path}[{n}]"), hide))
        }
        (Value::Number(a), Value::Number(b)) if a == b || a.as_f64() == b.as_f64() && a.is_f64() != b.is_f64() => {
            Ok(())
        }
        _ if came == wanted => Ok(()),
        _ => differs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expected(value: Value) -> Expected {
        Expected { json: Some(value), ..Expected::default() }
    }

    #[test]
    fn the_answer_may_have_more_than_is_expected_but_not_less_or_else() {
        let body = r#"{"status":"ready","nodes":[{"id":1,"up":true},{"id":2.0,"up":true}],"n":9007199254740993}"#;
        for (wanted, verdict) in [
            (json!({"status": "ready"}), None),
            (json!({"nodes": [{"id": 1}, {"id": 2}]}), None),
            (json!({"status": "up"}), Some(r#"expected json.status to be "up", got "ready""#)),
            (json!({"nodes": [{"up": false}, {}]}), Some("expected json.nodes[0].up to be false, got true")),
            (json!({"nodes": [{}]}), Some("expected json.nodes to be [{}], got [")),
            (json!({"stauts": 1}), Some("expected json.stauts to be 1, which is missing")),
            (json!({"n": 9_007_199_254_740_992_u64}), Some("expected json.n to be")),
            (json!({"status": null}), Some("expected json.status to be null")),
        ] {
            let judged = expected(wanted.clone()).judge(200, body, &str::to_owned);
            match verdict {
                None => assert_eq!(judged, Ok(()), "{wanted}"),
                Some(why) => assert!(judged.clone().unwrap_err().starts_with(why), "{wanted}: {judged:?}"),
            }
        }
        assert!(
            expected(json!({}))
                .judge(200, "<html>", &str::to_owned)
                .unwrap_err()
                .starts_with("expected JSON, got none")
        );
    }

    #[test]
    fn without_a_word_any_2xx_is_expected() {
        let any = Expected::default();
        assert_eq!(any.judge(204, "", &str::to_owned), Ok(()));
        assert_eq!(any.judge(302, "", &str::to_owned), Err("expected status 2xx, got 302".into()));
        let some = Expected { status: vec![200, 404], ..Expected::default() };
        assert_eq!(some.judge(404, "", &str::to_owned), Ok(()));
        assert_eq!(some.judge(500, "", &str::to_owned), Err("expected status 200 or 404, got 500".into()));
    }
}
