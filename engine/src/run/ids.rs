//! Identities. They are made at the edges (the engine draws no random numbers) and only compared here.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

id!(
    /// A run: UUIDv7, so that ids sort by time.
    RunId
);
id!(
    /// One claim of one attempt: the fencing token of everything said about it.
    ClaimId
);
id!(
    /// One start of the process that owns running steps.
    SessionId
);

/// What can be claimed: a step, or one item of a `for-each` step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// Index into the steps of the runbook.
    pub step: u32,
    /// Position of the item; `None` for a step without `for-each`.
    pub item: Option<u32>,
}

impl Unit {
    pub fn step(step: u32) -> Unit {
        Unit { step, item: None }
    }

    pub fn item(step: u32, item: u32) -> Unit {
        Unit { step, item: Some(item) }
    }
}

/// Splits `upgrade[3]` into (`upgrade`, 3).
pub fn split_unit_name(name: &str) -> Option<(&str, Option<u32>)> {
    match name.split_once('[') {
        None => Some((name, None)),
        Some((step, rest)) => Some((step, Some(rest.strip_suffix(']')?.parse().ok()?))),
    }
}
