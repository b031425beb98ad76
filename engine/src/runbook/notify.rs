//! `severity`, and a `notify` step of the tree -> their models.

use serde::{Deserialize, Serialize};

use super::check::visible;
use super::node::Node;
use super::places::{Place, Places};
use super::report::Finding;
use crate::bind::Template;

/// How bad it is when a run of this runbook goes wrong. Of one that says nothing: [`Severity::P2`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    P0,
    P1,
    #[default]
    P2,
    P3,
}

impl Severity {
    pub const ALL: [Severity; 4] = [Severity::P0, Severity::P1, Severity::P2, Severity::P3];

    pub fn as_str(self) -> &'static str {
        match self {
            Severity::P0 => "P0",
            Severity::P1 => "P1",
            Severity::P2 => "P2",
            Severity::P3 => "P3",
        }
    }

    pub fn named(word: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

/// A text for people, by a channel of the configuration of whoever delivers it.
#[derive(Debug)]
pub struct Notify {
    pub channel: String,
    /// Reads nothing sensitive.
    pub text: Template,
}

/// `None` where it is wrong, which has been reported.
pub fn read<'n>(places: &mut Places<'n>, node: &'n Node, place: Place) -> Option<Notify> {
    let (channel, text) = (node.get("channel")?.text()?.to_owned(), node.get("text")?);
    if text.text().is_some_and(|text| text.trim().is_empty()) {
        let finding = Finding::new(&visible(text), "empty", "this says nothing");
        places.findings.push(finding.help("write what people have to know"));
    }
    Some(Notify { channel, text: places.template(text, place)? })
}
