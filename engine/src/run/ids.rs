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
id!(
    /// A state folder of a worker, for as long as it lives: workers come and go in it.
    HomeId
);

/// What can be claimed: a step or one item of a `for-each` step, or the probe or the undo that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// Index into the steps of the runbook.
    pub step: u32,
    /// Position of the item; `None` for a step without `for-each`.
    pub item: Option<u32>,
    pub part: Part,
}

/// What of a step (or of an item) is meant. Each part has attempts of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// What the step does.
    #[default]
    Step,
    /// The probe that says whether its effect is in place.
    Check,
    /// What takes its effect back.
    Undo,
}

impl Part {
    /// What a unit's name ends with.
    fn suffix(self) -> &'static str {
        match self {
            Part::Step => "",
            Part::Check => ".check",
            Part::Undo => ".undo",
        }
    }
}

impl Unit {
    pub fn step(step: u32) -> Unit {
        Unit { step, item: None, part: Part::Step }
    }

    pub fn item(step: u32, item: u32) -> Unit {
        Unit { step, item: Some(item), part: Part::Step }
    }

    /// Another part of the same step or item.
    pub fn part(self, part: Part) -> Unit {
        Unit { part, ..self }
    }

    /// The step or item that this is a part of; itself, if it is one.
    pub fn owner(self) -> Unit {
        self.part(Part::Step)
    }

    /// Whether this is a whole step, with its items if it has any.
    pub fn is_whole(self) -> bool {
        self.item.is_none() && self.part == Part::Step
    }

    /// `upgrade`, `upgrade[3]`, `upgrade[3].undo`, with the step's id.
    pub fn name(self, id: &str) -> String {
        let suffix = self.part.suffix();
        self.item.map_or_else(|| format!("{id}{suffix}"), |item| format!("{id}[{item}]{suffix}"))
    }
}

/// Splits `upgrade[3].undo` into (`upgrade`, 3, undo). The parts order the names of one step as its units are ordered.
pub fn split_unit_name(name: &str) -> Option<(&str, Option<u32>, Part)> {
    let ending = |part: Part| Some((name.strip_suffix(part.suffix())?, part));
    let (name, part) = ending(Part::Undo).or_else(|| ending(Part::Check)).unwrap_or((name, Part::Step));
    match name.split_once('[') {
        None => Some((name, None, part)),
        Some((step, rest)) => Some((step, Some(rest.strip_suffix(']')?.parse().ok()?), part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units_say_step_item_and_part() {
        for unit in [Unit::step(4), Unit::item(4, 0), Unit::item(4, 9_999)] {
            for part in [Part::Step, Part::Check, Part::Undo] {
                let unit = unit.part(part);
                assert_eq!(split_unit_name(&unit.name("upgrade")), Some(("upgrade", unit.item, part)));
            }
        }
        assert_eq!(Unit::item(4, 3).part(Part::Undo).name("upgrade"), "upgrade[3].undo");
        assert_eq!(split_unit_name("upgrade[x].undo"), None);
    }
}
