//! Is a tree of the form the tables say? Every deviation is a finding; every unbuilt key is noted.

use super::model::{Span, Unbuilt};
use super::node::{Data, Key as NodeKey, Node};
use super::report::{Finding, GUESSES_MAX, did_you_mean, quoted};
use super::shape::{Key, Object, Shape, Word};
use super::syntax::{Syntax, is_duration};
use crate::limits;
use crate::units::{UnitError, parse_duration};

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    pub findings: Vec<Finding>,
    /// In file order.
    pub unbuilt: Vec<Unbuilt>,
    /// Whether the tree has the form that the JSON Schema describes. Findings can remain: a cron expression is text to
    /// the schema.
    pub fits_schema: bool,
}

/// Checks a tree against an object of the tables.
pub fn check(root: &Node, object: &'static Object) -> Checked {
    let mut checker = Checker::default();
    checker.object(root, object);
    let mut unbuilt = checker.unbuilt;
    unbuilt.sort_by_key(|item| item.span.start);
    Checked { findings: checker.findings, unbuilt, fits_schema: checker.misfits == 0 }
}

#[derive(Default)]
struct Checker {
    findings: Vec<Finding>,
    unbuilt: Vec<Unbuilt>,
    misfits: usize,
    path: Vec<Segment>,
    /// How many unbuilt keys stand above this place.
    unbuilt_above: usize,
}

enum Segment {
    Key(String, Span),
    Item(usize),
}

impl Checker {
    /// A deviation that the schema sees too.
    fn misfit(&mut self, finding: Finding) {
        self.misfits += 1;
        if self.findings.len() <= limits::FINDINGS_KEPT_MAX {
            self.findings.push(finding);
        }
    }

    fn shape(&mut self, node: &Node, shape: &'static Shape) {
        if !admits(shape, node) {
            return self.wrong_type(node, shape);
        }
        match shape {
            Shape::Any
            | Shape::Prose
            | Shape::Template
            | Shape::Scalar
            | Shape::Script
            | Shape::Condition
            | Shape::Flag => {}
            Shape::Text(syntax) => self.text(node, *syntax),
            Shape::Count { min, max } => self.count(node, *min, *max),
            Shape::Number { min } => {
                if node.number().is_some_and(|number| number < *min) {
                    self.misfit(Finding::new(&node.span, "too small", format!("this must be at least {min}")));
                }
            }
            Shape::Duration { zero } => self.duration(node, *zero),
            Shape::Word(words) => self.word(node, words),
            Shape::List { of, min } => self.list(node, of, *min),
            Shape::Dict { names, of } => self.dict(node, *names, of),
            Shape::Object(object) => self.object(node, object),
            Shape::OneOf(shapes) => {
                if let Some(fitting) = shapes.iter().find(|shape| admits(shape, node)) {
                    self.shape(node, fitting);
                }
            }
        }
    }

    fn wrong_type(&mut self, node: &Node, shape: &Shape) {
        if self.findings.len() > limits::FINDINGS_KEPT_MAX {
            self.misfits += 1;
            return;
        }
        let help = match (shape, &node.data) {
            (Shape::Duration { .. }, Data::Int(n)) => {
                Some(format!("a bare number has no unit: write `{n}s` or `{n}m`"))
            }
            (Shape::Text(_) | Shape::Template | Shape::Prose, Data::Int(_) | Data::Float(_) | Data::Flag(_)) => {
                Some("write it in quotes".into())
            }
            (Shape::Flag, Data::Text(text)) => {
                did_you_mean(&text.replace("yes", "true").replace("no", "false"), ["true", "false"])
            }
            (_, Data::Null) => Some("write a value, or remove the key".into()),
            (_, Data::Map(entries)) if self.place() == "`steps`" => {
                let id = entries.first().map_or("backup", |(key, _)| key.text.as_str());
                Some(format!("write a list, in which each step says its name: `- id: {}`", quoted(id)))
            }
            (_, Data::Int(n)) if self.place() == "`retry`" => Some(format!("write `retry: {{attempts: {n}}}`")),
            (_, Data::Text(text)) if self.place() == "`cmd`" => {
                let words: Vec<&str> = text.split_whitespace().collect();
                Some(format!("write one word each: `cmd: [{}]`, or use `run:` for a shell", words.join(", ")))
            }
            _ => None,
        };
        let message = format!("{} must be {}, not {}", self.place(), wanted(shape), node.kind());
        self.misfit(Finding::new(&visible(node), format!("this is {}", node.kind()), message).maybe_help(help));
    }

    fn text(&mut self, node: &Node, syntax: Syntax) {
        let Some(text) = node.text() else { return };
        if text.contains("${{") {
            if !syntax.fits(text) {
                self.misfits += 1;
            }
            let message = format!("{} is fixed text: `${{{{ }}}}` is not evaluated here", self.place());
            return self.findings.push(Finding::new(&node.span, "not evaluated", message));
        }
        self.spelled(&node.span, text, syntax);
    }

    fn spelled(&mut self, span: &Span, text: &str, syntax: Syntax) {
        if !syntax.fits(text) {
            self.misfits += 1;
        }
        // What a complaint costs is paid for those that are shown; a finding is there already.
        let dear = syntax == Syntax::Zone && self.findings.len() > GUESSES_MAX * 4;
        if dear || self.findings.len() > limits::FINDINGS_KEPT_MAX {
            return;
        }
        if let Err((message, help)) = syntax.check(text) {
            self.findings.push(Finding::new(span, "not right", message).maybe_help(help));
        }
    }

    fn count(&mut self, node: &Node, min: i64, max: i64) {
        if node.int().is_some_and(|int| !(min..=max).contains(&int)) {
            let range = if max >= i64::from(u32::MAX) { format!("at least {min}") } else { format!("{min} to {max}") };
            let message = format!("{} must be {range}", self.place());
            self.misfit(Finding::new(&node.span, "out of range", message));
        }
    }

    fn duration(&mut self, node: &Node, zero: bool) {
        let text = node.text().unwrap_or_default();
        if !is_duration(text) {
            self.misfits += 1;
        }
        let message = match parse_duration(text) {
            Ok(duration) if duration.is_zero() && !zero => format!("{} cannot be zero", self.place()),
            Ok(_) => return,
            Err(UnitError::BareDuration(n)) => {
                let message = format!("`{n}` has no unit");
                return self
                    .findings
                    .push(Finding::new(&node.span, "no unit", message).help(format!("write `{n}s` or `{n}m`")));
            }
            Err(error) => error.to_string(),
        };
        self.findings.push(Finding::new(&node.span, "not right", message));
    }

    fn word(&mut self, node: &Node, words: &'static [Word]) {
        let text = node.text().unwrap_or_default();
        match words.iter().find(|word| word.word == text) {
            Some(word) if word.built || self.unbuilt_above > 0 => {}
            Some(word) => {
                let span = self.key_span().unwrap_or_else(|| node.span.clone());
                self.unbuilt.push(Unbuilt { path: format!("{}: {}", self.path(), word.word), span });
            }
            None => {
                let all: Vec<&str> = words.iter().map(|word| word.word).collect();
                let help =
                    did_you_mean(text, all.iter().copied()).unwrap_or_else(|| format!("one of: {}", all.join(", ")));
                let message = format!("{} cannot be `{text}`", self.place());
                self.misfit(Finding::new(&node.span, "unknown word", message).help(help));
            }
        }
    }

    fn list(&mut self, node: &Node, of: &'static Shape, min: usize) {
        let Data::List(items) = &node.data else { return };
        if items.len() < min {
            let message = format!("{} must not be empty", self.place());
            self.misfit(Finding::new(&visible(node), "empty", message));
        }
        for (n, item) in items.iter().enumerate() {
            self.path.push(Segment::Item(n));
            self.shape(item, of);
            self.path.pop();
        }
    }

    fn dict(&mut self, node: &Node, names: Syntax, of: &'static Shape) {
        for (key, value) in node.entries() {
            self.spelled(&key.span, &key.text, names);
            self.path.push(Segment::Key(key.text.clone(), key.span.clone()));
            self.shape(value, of);
            self.path.pop();
        }
    }

    fn object(&mut self, node: &Node, object: &'static Object) {
        let Data::Map(entries) = &node.data else {
            let message = format!("{} must be a map, not {}", object.what, node.kind());
            let finding = Finding::new(&visible(node), "not a map", message);
            return self.misfit(
                match help_for_a_map(object, self.path.is_empty() && matches!(node.data, Data::List(_))) {
                    Some(help) => finding.help(help),
                    None => finding,
                },
            );
        };
        let mut strangers = false;
        for (key, value) in entries {
            match object.key(&key.text) {
                Some(known) => self.entry(key, value, known),
                None => {
                    strangers = true;
                    self.stranger(key, object);
                }
            }
        }
        for key in object.keys().filter(|key| key.required && node.get(key.name).is_none()) {
            let finding = Finding::new(
                &visible(node),
                format!("no `{}`", key.name),
                format!("{} needs `{}`", object.what, key.name),
            );
            // The unknown key is most likely the missing one, misspelt: that has been said.
            if strangers { self.misfits += 1 } else { self.misfit(finding) }
        }
        self.one_of(node, object, strangers);
        for (key, wanted) in object.beside {
            if let (Some((key, _)), true) = (node.entry(key), wanted.iter().all(|key| node.get(key).is_none())) {
                let wanted = wanted.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ");
                let message = format!("`{}` means nothing without {wanted}", key.text);
                self.misfit(Finding::new(&key.span, "alone", message));
            }
        }
    }

    fn entry(&mut self, key: &NodeKey, value: &Node, known: &'static Key) {
        self.path.push(Segment::Key(key.text.clone(), key.span.clone()));
        if !known.built {
            if self.unbuilt_above == 0 {
                self.unbuilt.push(Unbuilt { path: self.path(), span: key.span.clone() });
            }
            self.unbuilt_above += 1;
        }
        self.shape(value, &known.shape);
        self.unbuilt_above -= usize::from(!known.built);
        self.path.pop();
    }

    fn stranger(&mut self, key: &NodeKey, object: &'static Object) {
        if self.findings.len() > limits::FINDINGS_KEPT_MAX {
            self.misfits += 1;
            return;
        }
        let help = match key.text.as_str() {
            "<<" => Some("merge keys are not part of YAML 1.2: use `defaults:`".to_owned()),
            text if let Some(keys) = object.called_elsewhere(text) => Some(format!(
                "did you mean {}?",
                keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ")
            )),
            text => did_you_mean(text, object.keys().map(|key| key.name)).or_else(|| {
                let names: Vec<&str> = object.keys().map(|key| key.name).collect();
                (names.len() <= 12).then(|| format!("one of: {}", names.join(", ")))
            }),
        };
        let shown: String = key.text.chars().take(60).collect();
        let message = format!("`{shown}` is not a key of {}", object.what);
        self.misfit(Finding::new(&key.span, "unknown key", message).maybe_help(help));
    }

    fn one_of(&mut self, node: &Node, object: &Object, strangers: bool) {
        if object.one_of.is_empty() {
            return;
        }
        let present: Vec<&NodeKey> = node
            .entries()
            .iter()
            .map(|(key, _)| key)
            .filter(|key| object.one_of.contains(&key.text.as_str()))
            .collect();
        match present[..] {
            [_] => {}
            [] if strangers => self.misfits += 1,
            [] => {
                let message = format!("{} needs one of: {}", object.what, object.one_of.join(", "));
                self.misfit(Finding::new(&visible(node), "nothing to do", message));
            }
            [first, second, ..] => {
                let message =
                    format!("{} has `{}` and `{}`; only one is possible", object.what, first.text, second.text);
                self.misfit(Finding::new(&second.span, "one too many", message));
            }
        }
    }

    /// `steps[2].retry.attempts`
    fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.path {
            match segment {
                Segment::Item(n) => path.push_str(&format!("[{n}]")),
                Segment::Key(key, _) if path.is_empty() => path.push_str(key),
                Segment::Key(key, _) => path.push_str(&format!(".{key}")),
            }
        }
        path
    }

    fn key_span(&self) -> Option<Span> {
        self.path.iter().rev().find_map(|segment| match segment {
            Segment::Key(_, span) => Some(span.clone()),
            Segment::Item(_) => None,
        })
    }

    /// The innermost key, for messages.
    fn place(&self) -> String {
        match self.path.last() {
            Some(Segment::Key(key, _)) => format!("`{key}`"),
            Some(Segment::Item(_)) => {
                let key = self.path.iter().rev().find_map(|segment| match segment {
                    Segment::Key(key, _) => Some(key.as_str()),
                    Segment::Item(_) => None,
                });
                format!("an item of `{}`", key.unwrap_or_default())
            }
            None => "a runbook".to_owned(),
        }
    }
}

/// Whether the YAML type of the node is one the shape can take.
pub fn admits(shape: &Shape, node: &Node) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Prose | Shape::Text(_) | Shape::Template | Shape::Script | Shape::Condition => node.text().is_some(),
        Shape::Duration { .. } | Shape::Word(_) => node.text().is_some(),
        Shape::Scalar => !matches!(node.data, Data::Null | Data::List(_) | Data::Map(_)),
        Shape::Flag => node.flag().is_some(),
        Shape::Count { .. } => node.int().is_some(),
        Shape::Number { .. } => node.number().is_some(),
        Shape::List { .. } => matches!(node.data, Data::List(_)),
        Shape::Dict { .. } | Shape::Object(_) => matches!(node.data, Data::Map(_)),
        Shape::OneOf(shapes) => shapes.iter().any(|shape| admits(shape, node)),
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Any => "anything".into(),
        Shape::Prose | Shape::Text(_) | Shape::Template | Shape::Script => "text".into(),
        Shape::Condition => "an expression".into(),
        Shape::Duration { .. } => "a duration such as `10s` or `10m`".into(),
        Shape::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.word)).collect();
            words.join(" or ")
        }
        Shape::Scalar => "text, a number, true or false".into(),
        Shape::Flag => "true or false".into(),
        Shape::Count { .. } => "a whole number".into(),
        Shape::Number { .. } => "a number".into(),
        Shape::List { .. } => "a list".into(),
        Shape::Dict { .. } | Shape::Object(_) => "a map".into(),
        Shape::OneOf(shapes) => shapes.iter().map(wanted).collect::<Vec<_>>().join(" or "),
    }
}

/// A span to point at: of a map or list in block style only the beginning is known, so its first key or item stands for it.
pub fn visible(node: &Node) -> Span {
    match &node.data {
        Data::Map(entries) if node.span.is_empty() => {
            entries.first().map_or(node.span.clone(), |(key, _)| key.span.clone())
        }
        Data::List(items) if node.span.is_empty() => items.first().map_or(node.span.clone(), visible),
        _ => node.span.clone(),
    }
}

/// Keys of a map that can be told in a line.
const KEYS_TOLD_MAX: usize = 8;

/// What a map would look like here. `steps`: the whole file is a list.
fn help_for_a_map(object: &Object, steps: bool) -> Option<String> {
    if steps {
        return Some("its steps are a list under the key `steps:`, beside `name:` and `params:`".to_owned());
    }
    let keys: Vec<String> = object.keys().map(|key| format!("`{}:`", key.name)).collect();
    (keys.len() <= KEYS_TOLD_MAX).then(|| format!("its keys: {}", keys.join(", ")))
}
