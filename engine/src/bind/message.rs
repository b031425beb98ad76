//! A message to people, as a Tera template over the fields of a notice. Nothing is escaped; what must not be in a header is
//! taken out by whoever makes one.

use serde_json::{Map, Value};
use tera::Tera;

use super::expression::evaluate::{language, message_of};

/// Without an ending for which Tera would escape anything.
const NAME: &str = "message";

/// A template that Tera can read.
#[derive(Debug, Clone)]
pub struct Message(Tera, String);

impl Message {
    pub fn parse(text: &str) -> Result<Message, String> {
        let mut tera = language();
        tera.autoescape_on(Vec::<&str>::new());
        tera.add_raw_template(NAME, text).map_err(|error| message_of(&error))?;
        Ok(Message(tera, text.to_owned()))
    }

    pub fn render(&self, fields: &Map<String, Value>) -> Result<String, String> {
        let mut values = tera::Context::new();
        for (name, value) in fields {
            values.insert(name.clone(), value);
        }
        self.0.render(NAME, &values).map_err(|error| message_of(&error))
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self.1 == other.1
    }
}
