//! Tables of the configuration whose names the user chooses, such as `[notify.channels.NAME]`: read key by key. What nobody
//! has asked for when the table is done with is unknown; everything that is wrong is found at once, at its place.

use std::ops::Range;

use runward_engine::runbook::report::{did_you_mean, quoted};
use runward_engine::runbook::secrets::Provider;
use runward_engine::runbook::{Finding, syntax::Syntax};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A text, or where a secret is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    Text(String),
    Secret(Provider),
}

/// One table, while it is read.
pub struct Table<'t> {
    /// As it stands in the file: `notify.channels.ops`.
    pub path: String,
    table: &'t DeTable<'t>,
    span: Range<usize>,
    asked: Vec<&'static str>,
    pub findings: Vec<Finding>,
}

impl<'t> Table<'t> {
    pub fn new(path: String, table: &'t DeTable<'t>, span: Range<usize>) -> Table<'t> {
        Table { path, table, span, asked: Vec::new(), findings: Vec::new() }
    }

    /// The tables below this one, each with the name that somebody chose for it.
    pub fn below(&mut self) -> Vec<(String, Table<'t>)> {
        let mut below = Vec::new();
        for (key, value) in self.table {
            let (name, path) = (key.get_ref().to_string(), format!("{}.{}", self.path, key.get_ref()));
            match (Syntax::Label.check(&name), value.get_ref()) {
                (Err((message, _)), _) => self.findings.push(Finding::new(&key.span(), "this name", message)),
                (Ok(()), DeValue::Table(inner)) => below.push((name, Table::new(path, inner, key.span()))),
                (Ok(()), _) => {
                    let message = format!("`{path}` is a table");
                    self.findings
                        .push(Finding::new(&value.span(), "not a table", message).help(format!("write `[{path}]`")));
                }
            }
        }
        below
    }

    fn find(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Says what is wrong with the value of a key, or with the table where it has none.
    pub fn wrong(&mut self, key: &str, message: String, help: &str) {
        let span = self.table.get(key).map_or(self.span.clone(), Spanned::span);
        self.findings.push(Finding::new(&span, "here", message).help(help));
    }

    pub fn table(&mut self, key: &'static str) -> Option<Table<'t>> {
        let (path, value) = (format!("{}.{key}", self.path), self.find(key)?);
        if let DeValue::Table(inner) = value.get_ref() {
            return Some(Table::new(path, inner, value.span()));
        }
        self.wrong(key, format!("`{path}` is a table"), &format!("write `[{path}]`"));
        None
    }

    /// `[[path.key]]`
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'t>> {
        let path = format!("{}.{key}", self.path);
        let Some(value) = self.find(key) else { return Vec::new() };
        let mut tables = Vec::new();
        if let DeValue::Array(items) = value.get_ref() {
            for item in items.iter() {
                match item.get_ref() {
                    DeValue::Table(inner) => tables.push(Table::new(path.clone(), inner, item.span())),
                    _ => self.wrong(key, format!("`{path}` is a list of tables"), &format!("write `[[{path}]]`")),
                }
            }
        } else {
            self.wrong(key, format!("`{path}` is a list of tables"), &format!("write `[[{path}]]`"));
        }
        tables
    }

    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.find(key)?;
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => return Some(text.to_string()),
            DeValue::String(_) => self.wrong(key, format!("`{}.{key}` is empty", self.path), "write it out"),
            _ => self.wrong(key, format!("`{}.{key}` takes a text", self.path), "write it in quotes"),
        }
        None
    }

    /// Of a key that has to be there.
    pub fn needed<T>(&mut self, key: &'static str, value: Option<T>, example: &str) -> Option<T> {
        if value.is_none() && !self.table.contains_key(key) {
            self.wrong(key, format!("`[{}]` lacks `{key}`", self.path), &format!("write `{key} = {example}`"));
        }
        value
    }

    /// A text or a list of texts.
    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let texts: Option<Vec<String>> = match value.get_ref() {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(items) => items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        match texts {
            Some(texts) if texts.iter().all(|text| !text.trim().is_empty()) => texts,
            _ => {
                self.wrong(
                    key,
                    format!("`{}.{key}` takes a text or a list of texts", self.path),
                    "write `[\"a\", \"b\"]`",
                );
                Vec::new()
            }
        }
    }

    pub fn count(&mut self, key: &'static str, max: u32) -> Option<u32> {
        let value = self.find(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| (1..=max).contains(number));
        if number.is_none() {
            self.wrong(
                key,
                format!("`{}.{key}` takes a whole number from 1 to {max}", self.path),
                "write it without quotes",
            );
        }
        number
    }

    pub fn flag(&mut self, key: &'static str) -> bool {
        let Some(value) = self.find(key) else { return false };
        if let DeValue::Boolean(flag) = value.get_ref() {
            return *flag;
        }
        self.wrong(key, format!("`{}.{key}` takes true or false", self.path), "write it without quotes");
        false
    }

    /// One of these words.
    pub fn word(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.text(key)?;
        let known = words.iter().copied().find(|word| *word == text);
        if known.is_none() {
            self.unknown_word(key, &text, words);
        }
        known
    }

    pub fn unknown_word(&mut self, key: &'static str, text: &str, words: &[&'static str]) {
        let help = did_you_mean(text, words.iter().copied()).unwrap_or_else(|| format!("one of: {}", words.join(", ")));
        self.wrong(key, format!("`{}.{key}` cannot be `{}`", self.path, quoted(text)), &help);
    }

    /// A text, or `{env = ...}`, `{file = ...}`, `{exec = [...]}`, `{sealed = ...}`.
    pub fn given(&mut self, key: &'static str) -> Option<Given> {
        let value = self.find(key)?;
        match value.get_ref() {
            DeValue::Table(_) => self.secret(key).map(Given::Secret),
            _ => self.text(key).map(Given::Text),
        }
    }

    /// Where a secret is found. The secret itself has no place in this file.
    pub fn secret(&mut self, key: &'static str) -> Option<Provider> {
        const HELP: &str = "write `{file = \"/path\"}`, `{env = \"NAME\"}`, `{exec = [\"program\", \"argument\"]}` or \
                            `{sealed = \"name\"}`";
        let (path, value) = (format!("{}.{key}", self.path), self.find(key)?);
        let DeValue::Table(inner) = value.get_ref() else {
            self.wrong(key, format!("`{path}` is a secret: it does not stand here, but where it is found"), HELP);
            return None;
        };
        let mut below = Table::new(path.clone(), inner, value.span());
        let env = below.text("env").map(Provider::Env);
        let file = below.text("file");
        if file.as_ref().is_some_and(|path| !path.starts_with('/')) {
            below.wrong("file", format!("`{path}.file` is not the whole path of a file"), "begin it with `/`");
        }
        let exec = Some(below.texts("exec")).filter(|argv| !argv.is_empty()).map(Provider::Exec);
        let sealed = below.text("sealed").map(Provider::Sealed);
        let mut given: Vec<Provider> = [env, file.map(Provider::File), exec, sealed].into_iter().flatten().collect();
        if given.len() != 1 && below.findings.is_empty() {
            below.findings.push(Finding::new(&value.span(), "here", format!("`{path}` names one place")).help(HELP));
        }
        self.findings.extend(below.end());
        given.pop().filter(|_| given.is_empty())
    }

    /// What is left is unknown.
    pub fn end(mut self) -> Vec<Finding> {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let help = did_you_mean(name, self.asked.iter().copied())
                    .unwrap_or_else(|| format!("there are {}", self.asked.join(", ")));
                let message = format!("there is no setting `{}`", quoted(&format!("{}.{name}", self.path)));
                self.findings.push(Finding::new(&key.span(), "unknown", message).help(help));
            }
        }
        self.findings
    }
}
