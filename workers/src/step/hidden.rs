//! What a program of ours may neither print nor leave: sensitive values.

use serde_json::Value;

use crate::mask::Mask;

/// Takes sensitive values out of what is printed and kept.
pub(super) struct Hidden(Option<Mask>);

impl Hidden {
    pub(super) fn new(values: &[String]) -> Hidden {
        Hidden(Mask::of(values.iter().map(String::as_bytes)))
    }

    pub(super) fn hide(&self, text: &str) -> String {
        self.0.as_ref().map_or_else(|| text.to_owned(), |mask| mask.hide(text))
    }

    /// The same of a text that goes on, but not here.
    pub(super) fn hide_beginning(&self, text: &str) -> String {
        self.0.as_ref().map_or_else(|| text.to_owned(), |mask| mask.hide_beginning(text))
    }

    /// The same of every text and number in a value, and of its keys.
    pub(super) fn hide_value(&self, value: Value) -> Value {
        if self.0.is_none() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.hide(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.hide_value(item)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, item)| (self.hide(&key), self.hide_value(item))).collect(),
            Value::Number(number) => {
                let (text, hidden) = (number.to_string(), self.hide(&number.to_string()));
                if hidden == text { Value::Number(number) } else { Value::String(hidden) }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_sensitive_is_hidden_wherever_it_comes_back() {
        let hidden = Hidden::new(&["pass word/\"".into(), "123456".into(), "abc".into()]);
        assert_eq!(hidden.hide("pass word/\" pass%20word%2F%22 pass word/\\\" abc"), "*** *** *** abc");
        assert_eq!(
            hidden.hide_value(json!({"pass word/\"": ["x pass word/\"", 123_456, 7, true]})),
            json!({"***": ["x ***", "***", 7, true]})
        );
        assert_eq!(hidden.hide_beginning("it is pass wo"), "it is ");
    }
}
