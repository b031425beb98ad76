//! The text of a configuration file: every key and every value held against the table, all problems in one report.

use std::ops::Range;

use runward_engine::runbook::report::{did_you_mean, quoted};
use runward_engine::runbook::{Finding, Report};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::connections::{self, Written};
use super::table::{SETTINGS, Setting, Settings, Takes};
use super::{named, notify};
use runward_workers::outbox::Directory;

/// A setting that the file gives, as texts for [`Setting::read`].
pub struct Entry {
    pub setting: &'static Setting,
    pub texts: Vec<String>,
    /// Byte of the file where its value begins.
    pub at: usize,
}

/// Everything that a file says.
#[derive(Default)]
pub struct Parsed {
    pub entries: Vec<Entry>,
    pub connections: Vec<Written>,
    pub notify: Directory,
}

pub fn parse(source: &str) -> Result<Parsed, Report> {
    let (table, errors) = DeTable::parse_recoverable(source);
    let mut found = Found { parsed: Parsed::default(), findings: Vec::new() };
    found.findings.extend(errors.iter().map(|error| {
        let span = error.span().unwrap_or(0..0);
        Finding::new(&span, "not TOML", sentence(error.message()))
    }));
    // What is left of a text that is no TOML may lie about its keys.
    if errors.is_empty() {
        found.table("", table.get_ref());
    }
    if found.findings.is_empty() { Ok(found.parsed) } else { Err(Report::new(found.findings)) }
}

fn sentence(message: &str) -> String {
    message.trim().trim_end_matches('.').replace('\n', ", ")
}

struct Found {
    parsed: Parsed,
    findings: Vec<Finding>,
}

impl Found {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let full = format!("{prefix}{}", key.get_ref());
            if full == connections::SECTION {
                let read = connections::read(value.get_ref(), value.span(), &mut self.findings);
                self.parsed.connections.extend(read);
                continue;
            }
            let section = format!("{full}.");
            let setting = SETTINGS.iter().find(|setting| setting.key == full);
            let is_section = SETTINGS.iter().any(|setting| setting.key.starts_with(&section));
            match (setting, value.get_ref()) {
                (None, DeValue::Table(inner)) if full == "notify" => {
                    let mut named = named::Table::new(full, inner, value.span());
                    self.parsed.notify = notify::read(&mut named);
                    self.findings.extend(named.end());
                }
                (Some(setting), value_here) => self.value(setting, value_here, value.span()),
                (None, DeValue::Table(inner)) if is_section => self.table(&section, inner),
                (None, _) if is_section => {
                    let finding =
                        Finding::new(&value.span(), "not a table", format!("`{full}` is a table of settings"));
                    self.findings.push(finding.help(format!("write `[{full}]` and below it {}", children(&section))));
                }
                (None, _) => self.unknown(prefix, key.get_ref(), key.span()),
            }
        }
    }

    fn unknown(&mut self, prefix: &str, key: &str, span: Range<usize>) {
        let full = format!("{prefix}{key}");
        let names = SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(prefix));
        let tables = prefix.is_empty().then_some(connections::SECTION);
        let siblings: Vec<&str> = names.map(|name| name.split('.').next().unwrap_or(name)).chain(tables).collect();
        let elsewhere = SETTINGS.iter().find(|setting| setting.key.rsplit('.').next() == Some(key));
        let help = did_you_mean(key, siblings.iter().copied())
            .or_else(|| elsewhere.map(|setting| format!("did you mean `{}`?", setting.key)))
            .unwrap_or_else(|| format!("there are {}", children(prefix)));
        let message = format!("there is no setting `{}`", quoted(&full));
        self.findings.push(Finding::new(&span, "unknown", message).help(help));
    }

    fn value(&mut self, setting: &'static Setting, value: &DeValue<'_>, span: Range<usize>) {
        let read = texts(setting.takes, value)
            .ok_or_else(|| format!("`{}` takes {}, not {}", setting.key, wanted(setting.takes), kind(value)));
        let checked = read.and_then(|texts| match (setting.read)(&mut Settings::default(), &texts) {
            Ok(()) => Ok(texts),
            Err(message) => Err(format!("`{}`: {message}", setting.key)),
        });
        match checked {
            Ok(texts) => self.parsed.entries.push(Entry { setting, texts, at: span.start }),
            Err(message) => {
                let finding = Finding::new(&span, "this value", message);
                self.findings.push(finding.help(format!(
                    "takes {}; default {}",
                    setting.takes.words(),
                    setting.default
                )));
            }
        }
    }
}

/// The settings below a section, for help.
fn children(prefix: &str) -> String {
    let names: Vec<String> = SETTINGS
        .iter()
        .filter_map(|setting| setting.key.strip_prefix(prefix))
        .map(|name| format!("`{name}`"))
        .collect();
    names.join(", ")
}

fn texts(takes: Takes, value: &DeValue<'_>) -> Option<Vec<String>> {
    match (takes, value) {
        (Takes::Paths | Takes::Labels | Takes::Networks, DeValue::Array(items)) => items.iter().map(text_of).collect(),
        (Takes::Count | Takes::Size, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| vec![number.to_string()])
        }
        (Takes::Count, _) => None,
        (_, DeValue::String(text)) => Some(vec![text.to_string()]),
        _ => None,
    }
}

fn text_of(item: &Spanned<DeValue<'_>>) -> Option<String> {
    item.get_ref().as_str().map(str::to_owned)
}

fn wanted(takes: Takes) -> &'static str {
    match takes {
        Takes::Paths | Takes::Labels | Takes::Networks => "a text or a list of texts",
        Takes::Count => "a whole number",
        Takes::Size => "a size such as \"64MiB\"",
        Takes::Duration => "a duration such as \"90d\"",
        Takes::Path | Takes::Url | Takes::Address | Takes::Choice(_) => "a text in quotes",
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(items) if all_tables(items) => "a list of tables",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn all_tables(items: &DeArray<'_>) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get_ref().is_table())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(source: &str) -> Vec<String> {
        let report = parse(source).err().map(|report| report.findings).unwrap_or_default();
        report.iter().map(|f| format!("{} | {}", f.message, f.help.as_deref().unwrap_or(""))).collect()
    }

    #[test]
    fn what_is_right_is_read_with_its_place() {
        let source = "# 备份\nstate = \"/srv/状态\"\nrunbooks = [\"a\", \"b\"]\nlog.level = \"info\"\n[retention]\nkeep = 0x10\n";
        let entries = parse(source).ok().unwrap().entries;
        let read: Vec<_> = entries.iter().map(|entry| (entry.setting.key, entry.texts.join("+"), entry.at)).collect();
        let at = |text: &str| source.find(text).unwrap();
        assert_eq!(
            read,
            [
                ("log.level", "info".to_owned(), at("\"info\"")),
                ("retention.keep", "16".to_owned(), at("0x10")),
                ("runbooks", "a+b".to_owned(), at("[\"a\"")),
                ("state", "/srv/状态".to_owned(), at("\"/srv")),
            ]
        );
        assert!(parse("").is_ok_and(|parsed| parsed.entries.is_empty()));
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let found = messages(
            "stat = \"x\"\nlevel = \"info\"\nlog = 3\n[retention]\nkeep = \"20\"\nolder-then = \"1d\"\n[[limits]]\n",
        );
        let words = [
            "there is no setting `stat` | did you mean `state`?",
            "there is no setting `level` | did you mean `log.level`?",
            "`log` is a table of settings | write `[log]`",
            "`retention.keep` takes a whole number, not a text",
            "there is no setting `retention.older-then` | did you mean `older-than`?",
            "`limits` is a table of settings",
        ];
        assert_eq!(found.len(), words.len(), "{found:#?}");
        found.iter().zip(words).for_each(|(found, word)| assert!(found.starts_with(word), "{found}"));
    }

    #[test]
    fn a_value_that_means_nothing_says_what_would() {
        for (source, words) in [
            ("log.level = \"debgu\"", "did you mean `debug`?"),
            ("retention.older-than = \"90\"", "has no unit"),
            ("retention.keep = -1", "is not a number"),
            ("limits.log-bytes = 10", "at least 64.0 KiB"),
            ("state = \"~/x\"", "only a shell knows"),
            ("state = \"\"", "it is empty"),
            ("runbooks = []", "names no folder"),
            ("runbooks = [1]", "a list of texts, not a list"),
            ("log.file = true", "not true or false"),
            ("worker.labels = [\"db\", \"a b\"]", "`a b` must be letters"),
            ("worker.concurrency = 0", "not a number from 1 to 1000"),
            ("worker.listen = \"localhost\"", "write 127.0.0.1:9180"),
        ] {
            let found = messages(source);
            assert!(found.len() == 1 && found[0].contains(words), "{source}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_toml_is_shown_where_it_is() {
        let report = parse("state = \"x\nlog.level = 'info'\n").err().unwrap();
        assert!(report.findings[0].span.start >= 8, "{report:?}");
        assert!(parse("a = 1\na = 2\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(source in "[a-z\\[\\]=\"'. \n#{},0-9~备\\\\]{0,60}") {
            let _ = parse(&source);
        }
    }
}
