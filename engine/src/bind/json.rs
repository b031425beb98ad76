//! JSON with `${{ }}` in it: values keep their types.

use serde_json::{Map, Number, Value};

use super::expression::{EvalError, Expression};
use super::template::Part;
use super::{Context, Template};

/// A JSON document of the author. A text that is one expression and nothing else becomes that expression's value, with
/// its type; an expression beside other text becomes part of the text.
#[derive(Debug, Clone)]
pub enum JsonTemplate {
    Null,
    Flag(bool),
    Number(Number),
    Text(Template),
    List(Vec<JsonTemplate>),
    Map(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    pub fn bind(&self, context: &Context) -> Result<Value, EvalError> {
        self.fill(&mut |template| match &template.parts[..] {
            [Part::Value { expression, .. }] => expression.evaluate(context),
            _ => template.render(context).map(Value::String),
        })
    }

    /// As [`JsonTemplate::bind`]; a text whose values are not known yet stays as it is written.
    pub fn show(&self, context: &Context) -> Value {
        let shown = self.fill::<EvalError>(&mut |template| {
            Ok(match &template.parts[..] {
                [Part::Value { expression, .. }] => expression.evaluate(context).ok(),
                _ => template.render(context).ok().map(Value::String),
            }
            .unwrap_or_else(|| Value::String(template.source())))
        });
        shown.unwrap_or(Value::Null)
    }

    fn fill<E>(&self, text: &mut dyn FnMut(&Template) -> Result<Value, E>) -> Result<Value, E> {
        Ok(match self {
            JsonTemplate::Null => Value::Null,
            JsonTemplate::Flag(flag) => Value::Bool(*flag),
            JsonTemplate::Number(number) => Value::Number(number.clone()),
            JsonTemplate::Text(template) => text(template)?,
            JsonTemplate::List(items) => items.iter().map(|item| item.fill(text)).collect::<Result<_, E>>()?,
            JsonTemplate::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    map.insert(key.clone(), value.fill(text)?);
                }
                Value::Object(map)
            }
        })
    }

    pub fn expressions(&self) -> Vec<&Expression> {
        match self {
            JsonTemplate::Null | JsonTemplate::Flag(_) | JsonTemplate::Number(_) => Vec::new(),
            JsonTemplate::Text(template) => template.expressions().map(|(expression, _)| expression).collect(),
            JsonTemplate::List(items) => items.iter().flat_map(JsonTemplate::expressions).collect(),
            JsonTemplate::Map(entries) => entries.iter().flat_map(|(_, value)| value.expressions()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_keep_their_types_and_stay_inside_their_place() {
        let text = |text: &str| JsonTemplate::Text(Template::parse(text).unwrap());
        let json = JsonTemplate::Map(vec![
            ("count".into(), text("${{ params.n }}")),
            ("label".into(), text("n-${{ params.n }}")),
            ("list".into(), JsonTemplate::List(vec![text("${{ params.l }}"), JsonTemplate::Null])),
            ("text".into(), text("${{ params.t }}")),
        ]);
        let mut context = Context::default();
        context.set("params", json!({"n": 3, "l": [1, "a"], "t": "\"}, \"admin\": true, {\""}));
        let bound = json.bind(&context).unwrap();
        let wanted = json!({"count": 3, "label": "n-3", "list": [[1, "a"], null], "text": "\"}, \"admin\": true, {\""});
        assert_eq!(bound, wanted);
        assert_eq!(serde_json::from_str::<Value>(&bound.to_string()).unwrap(), wanted);
    }
}
