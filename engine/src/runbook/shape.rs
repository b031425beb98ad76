//! The vocabulary in which the format is said (see [`super::tables`]).
//!
//! A shape says which YAML values may stand at a place, what the text there means, and whether the behaviour behind it is
//! built. It is data: the checker, the JSON Schema and the list of unbuilt keys all read the same tables.

use super::syntax::Syntax;
use super::tables;

/// Which values may stand at a place.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything at all.
    Any,
    /// Text for people: never evaluated.
    Prose,
    /// Text of a given form, without `${{ }}`.
    Text(Syntax),
    /// Text with `${{ }}` in it.
    Template,
    /// Text, a number or a boolean, taken as written; `${{ }}` in text.
    Scalar,
    /// Shell text with `${{ }}` in it.
    Script,
    /// A bare expression.
    Condition,
    Flag,
    Count {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
    },
    Duration {
        zero: bool,
    },
    /// One of these words.
    Word(&'static [Word]),
    List {
        of: &'static Shape,
        min: usize,
    },
    /// Names chosen by the author.
    Dict {
        names: Syntax,
        of: &'static Shape,
    },
    Object(&'static Object),
    /// The first whose YAML type is the value's.
    OneOf(&'static [Shape]),
}

/// A word of an enumeration.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    pub word: &'static str,
    pub built: bool,
}

/// A map with known keys.
#[derive(Debug)]
pub struct Object {
    /// For messages: `a step`.
    pub what: &'static str,
    pub keys: &'static [&'static [Key]],
    /// Of these keys exactly one.
    pub one_of: &'static [&'static str],
    /// A key, and the keys of which at least one must stand beside it.
    pub beside: &'static [(&'static str, &'static [&'static str])],
}

#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub doc: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// Whether the behaviour behind the key is built. What stands below an unbuilt key counts as unbuilt with it.
    pub built: bool,
}

impl Key {
    pub const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Key {
        Key { name, doc, shape, required: false, built: true }
    }

    pub const fn required(self) -> Key {
        Key { required: true, ..self }
    }

    pub const fn unbuilt(self) -> Key {
        Key { built: false, ..self }
    }
}

impl Object {
    pub const fn new(what: &'static str, keys: &'static [&'static [Key]]) -> Object {
        Object { what, keys, one_of: &[], beside: &[] }
    }

    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|group| group.iter())
    }

    /// The keys that mean what another tool calls so.
    pub fn called_elsewhere(&self, name: &str) -> Option<&'static [&'static str]> {
        let (_, keys) = tables::ELSEWHERE.iter().find(|(names, _)| names.contains(&name))?;
        keys.iter().all(|key| self.key(key).is_some()).then_some(*keys)
    }

    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// Words that are all built.
#[macro_export]
#[doc(hidden)]
macro_rules! words {
    ($($word:literal),* $(; unbuilt $($later:literal),*)?) => {
        $crate::runbook::shape::Shape::Word(&[
            $($crate::runbook::shape::Word { word: $word, built: true },)*
            $($($crate::runbook::shape::Word { word: $later, built: false },)*)?
        ])
    };
}
