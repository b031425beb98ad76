//! The values an expression can see.

use serde_json::{Map, Value};

/// `params`, `steps`, `run`, `env`, `item`, `index`, as JSON. A name that is absent is undefined, never empty.
#[derive(Debug, Clone, Default)]
pub struct Context {
    root: Map<String, Value>,
}

impl Context {
    /// `name` is one of `params`, `steps`, `run`, `env`, `item`, `index`.
    pub fn set(&mut self, name: &str, value: Value) {
        self.root.insert(name.to_owned(), value);
    }

    pub fn has(&self, name: &str) -> bool {
        self.root.contains_key(name)
    }

    pub fn root(&self) -> &Map<String, Value> {
        &self.root
    }
}
