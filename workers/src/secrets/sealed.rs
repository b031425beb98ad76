//! The sealed file: secrets of this machine, encrypted under one key that lies somewhere else.
//!
//! Each value is sealed with XChaCha20-Poly1305 under a fresh nonce, together with its name, when it was set and by whom;
//! the list as a whole carries a proof under the same key. So nothing in it can be changed, exchanged or taken out by
//! somebody without the key; only an older copy of the whole file cannot be told from the file. It is replaced in one
//! piece, under a lock.

mod keys;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Generate, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use super::Value;
pub use keys::{Key, Keys};
pub use store::Store;

const NONCE_BYTES: usize = 24;
const VERSION: u32 = 1;
const ABOUT: &str = "secrets sealed by `runward secret`; not to be edited";

/// Why the sealed file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    #[error("{what} {}: {source}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("there is no key for the sealed secrets: {0}")]
    NoKey(String),
    #[error("{}: {problem}", .path.display())]
    BadKey { path: PathBuf, problem: String },
    #[error("{} was sealed with another key ({sealed}; this one is {given})", .path.display())]
    OtherKey { path: PathBuf, sealed: String, given: String },
    #[error("{} was changed by somebody without the key: {what}", .path.display())]
    Tampered { path: PathBuf, what: String },
    #[error("{} is no file of sealed secrets: {problem}", .path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("there is no sealed secret {name} in {}{}", .path.display(), also(.names))]
    Unknown { path: PathBuf, name: String, names: Vec<String> },
}

fn also(names: &[String]) -> String {
    if names.is_empty() { ": it is empty".to_owned() } else { format!(" (there are: {})", names.join(", ")) }
}

/// The file as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    about: String,
    version: u32,
    /// Which key, without saying anything of it.
    key: String,
    secrets: BTreeMap<String, Entry>,
    /// Nothing, sealed together with all of the above.
    proof: String,
}

/// One secret, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Nonce and ciphertext.
    sealed: String,
    /// When it was set, in milliseconds since the epoch.
    pub at: i64,
    /// By whom.
    pub by: String,
}

impl Document {
    fn new(key: &Key) -> Document {
        let mut document = Document {
            about: ABOUT.to_owned(),
            version: VERSION,
            key: key.id(),
            secrets: BTreeMap::new(),
            proof: String::new(),
        };
        document.prove(key);
        document
    }

    fn set(&mut self, key: &Key, name: &str, value: &Value, at: i64, by: &str) {
        let sealed = seal(key, &about(name, at, by), value.bytes());
        self.secrets.insert(name.to_owned(), Entry { sealed, at, by: by.to_owned() });
        self.prove(key);
    }

    fn open(&self, key: &Key, name: &str) -> Option<Value> {
        let entry = self.secrets.get(name)?;
        open(key, &about(name, entry.at, &entry.by), &entry.sealed)
    }

    fn prove(&mut self, key: &Key) {
        self.proof = seal(key, &self.all(), b"");
    }

    fn is_proven(&self, key: &Key) -> bool {
        open(key, &self.all(), &self.proof).is_some()
    }

    /// What the proof is about.
    fn all(&self) -> Vec<u8> {
        plain(&("runward secrets 1", self.version, &self.key, &self.secrets))
    }
}

/// What is sealed together with a value.
fn about(name: &str, at: i64, by: &str) -> Vec<u8> {
    plain(&("runward secret 1", name, at, by))
}

fn plain<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers: their JSON cannot fail")
}

fn seal(key: &Key, about: &[u8], value: &[u8]) -> String {
    let nonce = XNonce::generate();
    let sealed = XChaCha20Poly1305::new(key.bytes().into()).encrypt(&nonce, Payload { msg: value, aad: about });
    let sealed = sealed.expect("a secret is far shorter than what can be encrypted");
    STANDARD.encode([nonce.as_slice(), &sealed].concat())
}

fn open(key: &Key, about: &[u8], sealed: &str) -> Option<Value> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    let opened = XChaCha20Poly1305::new(key.bytes().into()).decrypt(nonce.into(), Payload { msg: sealed, aad: about });
    opened.ok().map(Value::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (Key, Document) {
        let key = Key::generate();
        let mut document = Document::new(&key);
        document.set(&key, "A", &Value::new(b"opensesame".to_vec()), 1, "alice");
        document.set(&key, "B", &Value::new(b"opensesame".to_vec()), 2, "alice");
        (key, document)
    }

    #[test]
    fn what_was_sealed_is_opened_with_its_key_alone() {
        let (key, document) = sealed();
        assert!(document.is_proven(&key));
        assert_eq!(document.open(&key, "A").unwrap().bytes(), b"opensesame");
        assert!(document.open(&Key::generate(), "A").is_none() && !document.is_proven(&Key::generate()));
        assert_ne!(document.secrets["A"].sealed, document.secrets["B"].sealed, "each under its own nonce");
        assert!(!serde_json::to_string(&document).unwrap().contains("opensesame"));
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let (key, document) = sealed();
        let changes: [fn(&mut Document); 6] = [
            |it| _ = it.secrets.remove("A"),
            |it| it.secrets.get_mut("A").unwrap().by = "mallory".into(),
            |it| it.secrets.get_mut("A").unwrap().at = 3,
            |it| {
                let b = it.secrets["B"].sealed.clone();
                it.secrets.get_mut("A").unwrap().sealed = b;
            },
            |it| {
                let a = it.secrets.remove("A").unwrap();
                it.secrets.insert("C".into(), a);
            },
            |it| it.version = 2,
        ];
        for change in changes {
            let mut changed = document.clone();
            change(&mut changed);
            assert!(!changed.is_proven(&key));
        }
        let mut exchanged = document;
        let b = exchanged.secrets["B"].clone();
        exchanged.secrets.insert("A".into(), b);
        assert!(exchanged.open(&key, "A").is_none(), "a value is sealed under its name");
    }
}
