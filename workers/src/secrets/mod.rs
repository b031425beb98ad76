//! Secrets on the machine that runs the step: where they are found, and what carries them to it.
//!
//! A [`Value`] shows itself to nobody: it has no text for people, leaves no copy in memory when it is dropped, and crosses
//! one socket, from the driver to the supervisor. To know before changing anything: it is found when a step is about to start
//! and never before, so that what is written down anywhere names the secret and not its value.
//!
//! - [`find`], `exec`: asks the providers; [`sealed`]: the file of the machine that keeps secrets encrypted

mod exec;
pub mod find;
pub mod sealed;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runward_engine::runbook::secrets::Form;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The value of a secret, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

/// A secret on its way to the step that receives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub name: String,
    pub form: Form,
    pub value: Value,
}

impl Value {
    pub fn new(bytes: Vec<u8>) -> Value {
        Value(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the value of an environment variable: without its last newline.
    pub fn variable(&self) -> OsString {
        OsString::from_vec(self.line().to_vec())
    }

    /// Without its last newline.
    pub fn line(&self) -> &[u8] {
        let bytes = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        bytes.strip_suffix(b"\r").unwrap_or(bytes)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::mask::MASKED)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(text.as_bytes()).map(Value::new).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_shows_itself_to_nobody_and_survives_the_socket() {
        let given = Given { name: "KEY".into(), form: Form::File, value: Value::new(b"open\xffsesame\r\n".to_vec()) };
        assert!(!format!("{given:?}").contains("sesame"));
        let sent = serde_json::to_string(&given).unwrap();
        assert_eq!(serde_json::from_str::<Given>(&sent).unwrap(), given);
        assert_eq!(given.value.line(), b"open\xffsesame");
    }
}
