//! Bytes -> a tree of YAML nodes, each with its place in the file.
//!
//! Scalars are those of YAML 1.2: `NO`, `on`, `012` and `1_000` are text. Everything that could make reading slow is
//! bounded before or while reading: size, depth, nodes, aliases and what they expand to. YAML itself stops at its first
//! syntax error; doubled keys do not stop it and are all found.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Spanned, Tagged};

use super::model::Span;
use super::report::{Finding, Report, quoted};
use crate::limits;

/// A YAML value and where it is written (for an alias: where it is used).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub data: Data,
    pub span: Span,
    /// Where its text stands: differs from `span` for an alias.
    pub defined: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Null,
    Flag(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In file order, keys unique.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    pub span: Span,
}

/// A readable document: its text, its tree, and what is wrong without keeping it from being read: tags, and keys that were
/// written twice (the tree keeps the first of each).
#[derive(Debug)]
pub struct Document<'s> {
    pub source: &'s str,
    pub root: Node,
    pub findings: Vec<Finding>,
}

/// Reads one YAML document within the limits of the contract.
pub fn read(source: &[u8]) -> Result<Document<'_>, Report> {
    let source = text_of(source).map_err(Report::one)?;
    let raw: Tree = serde_saphyr::from_str_with_options(source, options())
        .map_err(|error| Report::one(syntax_finding(source, &error)))?;
    let mut findings = Vec::new();
    let root = node_of(raw, source.len(), &mut findings);
    Ok(Document { source, root, findings })
}

fn text_of(source: &[u8]) -> Result<&str, Finding> {
    if source.len() > limits::RUNBOOK_BYTES_MAX {
        let message = format!(
            "this file has {}; a runbook has at most {}",
            crate::units::format_size(source.len() as u64),
            crate::units::format_size(limits::RUNBOOK_BYTES_MAX as u64)
        );
        return Err(Finding::new(&(0..0), "too large", message)
            .help("move long scripts to files of their own and name them in `script:`"));
    }
    let text = std::str::from_utf8(source).map_err(|error| {
        let at = error.valid_up_to();
        Finding::new(&(at..at), "not UTF-8", format!("byte {at} of this file is not UTF-8")).help("save it as UTF-8")
    })?;
    match text.find('\0') {
        Some(at) => Err(Finding::new(&(at..at + 1), "NUL", "a NUL byte cannot stand in a runbook")),
        None => Ok(text),
    }
}

/// What aliases may add to a file: enough for any hand-written one, little enough to be read at once.
const ALIAS_EVENTS_MAX: usize = 20_000;

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: limits::YAML_NODES_MAX,
            max_events: 2 * limits::YAML_NODES_MAX,
            max_depth: limits::YAML_DEPTH_MAX,
            flow_nesting_limit: limits::YAML_DEPTH_MAX,
            max_aliases: limits::YAML_ALIASES_MAX,
            max_anchors: limits::YAML_ALIASES_MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
        },
    }
}

fn syntax_finding(source: &str, error: &serde_saphyr::Error) -> Finding {
    use serde_saphyr::Error;
    let error = match error.without_snippet() {
        Error::AliasError { error, .. } => error,
        other => other,
    };
    let start = floor(source, error.location().map_or(source.len(), |location| offset_of(source, &location)));
    let end = source[start..].chars().next().map_or(start, |c| start + c.len_utf8());
    let span = start..end;
    match error {
        Error::MultipleDocuments { .. } => Finding::new(&span, "a second document", "a file holds one runbook")
            .help("put the second one into a file of its own"),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            Finding::new(&span, "too much", "this YAML is nested too deeply or expands to too much").help(format!(
                "at most {} levels, {} aliases and {} values",
                limits::YAML_DEPTH_MAX,
                limits::YAML_ALIASES_MAX,
                limits::YAML_NODES_MAX
            ))
        }
        Error::UnknownAnchor { .. } => Finding::new(&span, "unknown", "no anchor of this name stands above this alias"),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            Finding::new(&span, "inside itself", "this alias stands inside its own anchor")
        }
        Error::Eof { .. } => Finding::new(&span, "ends here", "this file holds no runbook")
            .help("a runbook needs at least `steps:`; `runward init` writes one"),
        _ => syntax_message(&span, error),
    }
}

/// The scanner knows lines and columns where it knows no bytes.
fn offset_of(source: &str, location: &serde_saphyr::Location) -> usize {
    if let Some(offset) = location.span().byte_offset() {
        return (offset as usize).min(source.len());
    }
    let line = (location.line() as usize).saturating_sub(1);
    let column = (location.column() as usize).saturating_sub(1);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let text = source[start..].split('\n').next().unwrap_or_default();
    start + text.char_indices().nth(column).map_or(text.len(), |(at, _)| at)
}

fn syntax_message(span: &Span, error: &serde_saphyr::Error) -> Finding {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let message = line.split(" at line ").next().unwrap_or(line).trim_end_matches([':', ' ', '.']);
    if message.contains("nest") || message.contains("recursion") || message.contains("depth") {
        return Finding::new(span, "too deep", "this YAML is nested too deeply")
            .help(format!("at most {} levels", limits::YAML_DEPTH_MAX));
    }
    Finding::new(span, "here", format!("this is not YAML: {message}")).help(syntax_help(message))
}

fn syntax_help(message: &str) -> &'static str {
    if message.contains("tab") {
        "indent with spaces: YAML takes no tabs there"
    } else if message.contains("mapping values") {
        "a text with `: ` in it needs quotes, or `|` and the text on the lines below: `run: |`"
    } else {
        "look at the indentation here and above (what belongs together starts in the same column), and at quotes and brackets that are not closed"
    }
}

/// The nearest character boundary at or below `offset`.
pub fn floor(source: &str, offset: usize) -> usize {
    (0..=offset.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

fn span_of(location: &serde_saphyr::Location, len: usize) -> Span {
    let span = location.span();
    let start = span.byte_offset().map_or(0, |offset| offset as usize).min(len);
    let end = start.saturating_add(span.byte_len().map_or(0, |n| n as usize)).min(len);
    start..end
}

/// A value as the reader hands it over, with its tag (`!!binary`) where one is written.
type Tree = Spanned<Tagged<Raw>>;

enum Raw {
    Leaf(Data),
    List(Vec<Tree>),
    Map(Vec<(Spanned<Tagged<String>>, Tree)>),
}

fn node_of(raw: Tree, len: usize, findings: &mut Vec<Finding>) -> Node {
    let span = span_of(&raw.referenced, len);
    let defined = span_of(&raw.defined, len);
    let Tagged(value, tag) = raw.value;
    refuse_tag(tag, &defined, findings);
    let data = match value {
        Raw::Leaf(data) => data,
        Raw::List(items) => Data::List(items.into_iter().map(|item| node_of(item, len, findings)).collect()),
        Raw::Map(entries) => Data::Map(unique(entries, len, findings)),
    };
    Node { data, span, defined }
}

/// A tag would change what a value is, and there is nothing here that could honour it: so none is ignored.
fn refuse_tag(tag: Option<String>, at: &Span, findings: &mut Vec<Finding>) {
    let Some(tag) = tag else { return };
    let written = match tag.strip_prefix("tag:yaml.org,2002:") {
        Some(core) => format!("!!{core}"),
        None => tag,
    };
    let message = format!("the tag `{}` has no meaning in a runbook", quoted(&written));
    let help = "remove it; a text that begins with `!` stands in quotes: `\"!x\"`";
    findings.push(Finding::new(at, "tagged", message).help(help));
}

fn unique(entries: Vec<(Spanned<Tagged<String>>, Tree)>, len: usize, findings: &mut Vec<Finding>) -> Vec<(Key, Node)> {
    let mut seen: HashMap<String, ()> = HashMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let Tagged(text, tag) = key.value;
        let key = Key { span: span_of(&key.referenced, len), text };
        refuse_tag(tag, &key.span, findings);
        let node = node_of(value, len, findings);
        match seen.insert(key.text.clone(), ()) {
            None => kept.push((key, node)),
            Some(()) => findings.push(
                Finding::new(&key.span, "written twice", format!("`{}` stands twice in the same map", key.text))
                    .help("keep one of them"),
            ),
        }
    }
    kept
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Flag(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Leaf(i64::try_from(value).map_or(Data::Float(value as f64), Data::Int)))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Float(value as f64)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Float(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Leaf(Data::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

impl Node {
    /// The value of `key`, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        self.entries().iter().find(|(k, _)| k.text == key).map(|(k, node)| (k, node))
    }

    /// The entries of a map; nothing for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; anything else is a list of itself.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self) -> Option<bool> {
        match self.data {
            Data::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub fn int(&self) -> Option<i64> {
        match self.data {
            Data::Int(int) => Some(int),
            // `1.0` is the integer 1, as JSON Schema has it.
            Data::Float(float) if float.fract() == 0.0 && float.abs() < 9e15 => Some(float as i64),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self.data {
            Data::Int(int) => Some(int as f64),
            Data::Float(float) => Some(float),
            _ => None,
        }
    }

    /// A scalar as its author wrote it: `1.10` is `1.10`, not `1.1`.
    pub fn scalar_text(&self, source: &str) -> Option<String> {
        let canonical = match &self.data {
            Data::Text(text) => return Some(text.clone()),
            Data::Flag(flag) => return Some(flag.to_string()),
            Data::Int(int) => int.to_string(),
            Data::Float(float) => float.to_string(),
            Data::Null | Data::List(_) | Data::Map(_) => return None,
        };
        let written = source.get(self.defined.clone()).map(str::trim).filter(|text| {
            text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        Some(written.map_or(canonical, str::to_owned))
    }

    /// The same value as JSON.
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::Null => Value::Null,
            Data::Flag(flag) => Value::Bool(*flag),
            Data::Int(int) => Value::from(*int),
            Data::Float(float) => Value::from(*float),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => items.iter().map(Node::json).collect(),
            Data::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), node.json())).collect(),
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Flag(_) => "true or false",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}
