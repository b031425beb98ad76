//! Every place of a file where an expression may stand: parses what is there, and remembers what it reads.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::locate::ScalarMap;
use super::model::{Items, Param, Span, ValueType};
use super::node::{Data, Node};
use super::report::Finding;
use super::shape::{Object, Shape};
use crate::bind::expression::ExpressionError;
use crate::bind::{Condition, Expression, Reference, ShellScript, Template, variables};
use crate::limits;

/// What an expression can see depends on where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Texts of one start of a step: with `item` where it has a for-each.
    Body,
    /// A value of `env:`.
    Env,
    /// `if:` and `for-each:`: decided once, before there are items.
    Before,
    /// `if:` of a step of `finally`.
    Outcome,
    /// The text of an undo: as `Body`, and what the step itself wrote.
    Undo,
    /// Outside of steps.
    Top,
    /// `outputs:` of the runbook: after everything.
    End,
}

#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Index of the step.
    pub step: Option<usize>,
    pub role: Role,
}

/// One name that is read, and where.
#[derive(Debug)]
pub struct Site<'n> {
    pub reference: Reference,
    pub place: Place,
    node: &'n Node,
    range: Range<usize>,
}

#[derive(Debug)]
pub struct Places<'n> {
    source: &'n str,
    /// Parameters whose values can only be harmless text.
    inert: BTreeSet<String>,
    pub sites: Vec<Site<'n>>,
    pub findings: Vec<Finding>,
    /// An expression could not be read, or reads what does not exist: nobody knows which names its author meant.
    pub unclear: bool,
    maps: HashMap<Span, ScalarMap>,
}

impl<'n> Places<'n> {
    pub fn new(source: &'n str, params: &[Param]) -> Places<'n> {
        let inert = |param: &&Param| param.kind == ValueType::Int || param.choices.is_some();
        Places {
            source,
            inert: params.iter().filter(inert).map(|param| param.name.clone()).collect(),
            sites: Vec::new(),
            findings: Vec::new(),
            unclear: false,
            maps: HashMap::new(),
        }
    }

    /// A scalar with `${{ }}` in it. `None` where it is wrong, which has then been reported.
    pub fn template(&mut self, node: &'n Node, place: Place) -> Option<Template> {
        let text = node.scalar_text(self.source)?;
        let template = match Template::parse(&text) {
            Ok(template) => template,
            Err(errors) => {
                self.reject(node, errors);
                return None;
            }
        };
        self.remember(node, &text, &template, place);
        Some(template)
    }

    /// Shell text with `${{ }}` in it.
    pub fn script(&mut self, node: &'n Node, place: Place) -> Option<ShellScript> {
        let template = self.template(node, place)?;
        match ShellScript::compile(&template, &|expression| self.is_inert(expression)) {
            Ok(script) => Some(script),
            Err(errors) => {
                self.reject(node, errors);
                None
            }
        }
    }

    /// The value of the environment variable `name`.
    pub fn variable(&mut self, name: &str, node: &'n Node, place: Place) -> Option<Template> {
        let template = self.template(node, place)?;
        let Some(why) = variables::evaluated_in_env(name) else { return Some(template) };
        let values = template.expressions().filter(|(expression, _)| !self.is_inert(expression));
        let ranges: Vec<Range<usize>> = values.map(|(_, range)| range.clone()).collect();
        for range in ranges {
            let span = self.locate(node, &range);
            let message = format!("a value in `{name}` could become code: {why}");
            let help = "write fixed text, or declare the parameter with `enum:`";
            self.findings.push(Finding::new(&span, "not only data", message).help(help));
        }
        Some(template)
    }

    /// An `int` or `enum` parameter and nothing beside it.
    fn is_inert(&self, expression: &Expression) -> bool {
        match &expression.references[..] {
            [(Reference::Param(name), range)] => *range == (0..expression.source.len()) && self.inert.contains(name),
            _ => false,
        }
    }

    /// Text for an interpreter whose quoting is not known: no `${{ }}`.
    pub fn verbatim(&mut self, node: &'n Node, shell: &str, place: Place) -> Option<String> {
        let template = self.template(node, place)?;
        let ranges: Vec<Range<usize>> = template.expressions().map(|(_, range)| range.clone()).collect();
        for range in ranges {
            let span = self.locate(node, &range);
            let message = format!("`${{{{ }}}}` cannot stand in the text of a {shell} script");
            let help = "give the value a name in `env:` and read that variable in the script";
            self.findings.push(Finding::new(&span, "a value in code", message).help(help));
        }
        node.text().map(str::to_owned)
    }

    /// A bare expression.
    pub fn condition(&mut self, node: &'n Node, place: Place) -> Option<Condition> {
        let text = node.scalar_text(self.source)?;
        let trimmed = text.trim();
        if let Some(inner) = trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"))
            && !inner.contains("${{")
        {
            let message = "`if` holds a bare expression, without `${{ }}`";
            self.findings
                .push(Finding::new(&node.span, "too much", message).help(format!("write `if: {}`", inner.trim())));
            return None;
        }
        if let Some(at) = text.find("${{") {
            let span = self.locate(node, &(at..at + 3));
            let message = "`if` holds a bare expression, without `${{ }}`";
            self.findings.push(Finding::new(&span, "too much", message).help("remove the `${{` and `}}`"));
            return None;
        }
        match Condition::parse(&text) {
            Ok(condition) => {
                let lead = text.len() - text.trim_start().len();
                self.references(node, &condition.expression, lead, place);
                Some(condition)
            }
            Err(error) => {
                self.reject(node, vec![error]);
                None
            }
        }
    }

    /// `for-each:`
    pub fn items(&mut self, node: &'n Node, place: Place) -> Option<Items> {
        if let Data::List(items) = &node.data {
            let parsed: Vec<Option<Template>> = items.iter().map(|item| self.template(item, place)).collect();
            return parsed.into_iter().collect::<Option<Vec<_>>>().map(Items::List);
        }
        let text = node.text()?;
        let template = self.template(node, place)?;
        let mut expressions = template.expressions();
        match (expressions.next(), expressions.next()) {
            (Some((expression, range)), None) if text.trim() == &text[range.clone()] => {
                Some(Items::Expression(expression.clone()))
            }
            _ => {
                let message = "`for-each` is a list, or one `${{ expression }}` and nothing beside it";
                let help = "write `for-each: ${{ params.nodes }}` or `for-each: [a, b]`";
                self.findings.push(Finding::new(&node.span, "not a list", message).help(help));
                None
            }
        }
    }

    /// Everything evaluated below a key that is not built yet, by its shape.
    pub fn scan(&mut self, node: &'n Node, shape: &'static Shape, place: Place) {
        if !super::check::admits(shape, node) {
            return;
        }
        match shape {
            Shape::Template | Shape::Scalar => drop(self.template(node, place)),
            Shape::Script => drop(self.script(node, place)),
            Shape::Condition => drop(self.condition(node, place)),
            Shape::Any => self.scan_any(node, place),
            Shape::List { of, .. } => node.items().iter().for_each(|item| self.scan(item, of, place)),
            Shape::Dict { of, .. } => node.entries().iter().for_each(|(_, value)| self.scan(value, of, place)),
            Shape::Object(object) => self.scan_object(node, object, place),
            Shape::OneOf(shapes) => {
                if let Some(fitting) = shapes.iter().find(|shape| super::check::admits(shape, node)) {
                    self.scan(node, fitting, place);
                }
            }
            Shape::Prose | Shape::Text(_) | Shape::Flag | Shape::Count { .. } | Shape::Number { .. } => {}
            Shape::Duration { .. } | Shape::Word(_) => {}
        }
    }

    fn scan_object(&mut self, node: &'n Node, object: &'static Object, place: Place) {
        for (key, value) in node.entries() {
            if let Some(known) = object.key(&key.text) {
                self.scan(value, &known.shape, place);
            }
        }
    }

    fn scan_any(&mut self, node: &'n Node, place: Place) {
        match &node.data {
            Data::Text(_) => drop(self.template(node, place)),
            Data::List(items) => items.iter().for_each(|item| self.scan_any(item, place)),
            Data::Map(entries) => entries.iter().for_each(|(_, value)| self.scan_any(value, place)),
            _ => {}
        }
    }

    fn remember(&mut self, node: &'n Node, text: &str, template: &Template, place: Place) {
        for (expression, range) in template.expressions() {
            let inner = text.get(range.start + 3..range.end).unwrap_or_default();
            let lead = range.start + 3 + inner.len() - inner.trim_start().len();
            self.references(node, expression, lead, place);
        }
    }

    fn references(&mut self, node: &'n Node, expression: &Expression, lead: usize, place: Place) {
        for (reference, range) in &expression.references {
            let range = lead + range.start..lead + range.end;
            self.sites.push(Site { reference: reference.clone(), place, node, range });
        }
    }

    pub fn reject(&mut self, node: &Node, errors: Vec<ExpressionError>) {
        self.unclear = true;
        for error in errors.into_iter().take(limits::FINDINGS_KEPT_MAX) {
            let span = self.locate(node, &error.range);
            self.findings.push(Finding::new(&span, "here", error.message).maybe_help(error.help));
        }
    }

    /// The bytes of the file behind a range of a scalar's text.
    fn locate(&mut self, node: &Node, range: &Range<usize>) -> Span {
        let source = self.source;
        let map = self.maps.entry(node.defined.clone()).or_insert_with(|| {
            let text = node.scalar_text(source).unwrap_or_default();
            ScalarMap::new(source, &node.defined, &text)
        });
        map.place(range)
    }

    pub fn span(&mut self, site: &Site<'_>) -> Span {
        self.locate(site.node, &site.range)
    }
}
