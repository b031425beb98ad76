//! Reads the tokens of one expression and finds what it refers to.
//!
//! Tera keeps its syntax tree to itself, so this scan is what guarantees that the source is one expression (no tags,
//! no closing braces, balanced parentheses) and that every free name is one that runward knows.

use std::ops::Range;

use super::{ExpressionError, Path, Reference};

pub(super) struct Scanned {
    pub found: Vec<Found>,
    pub plain: bool,
}

pub(super) struct Found {
    pub reference: Reference,
    pub range: Range<usize>,
    pub path: Path,
}

const KEYWORDS: &[&str] =
    &["and", "or", "not", "in", "is", "if", "else", "for", "true", "True", "false", "False", "none", "None", "null"];
pub(in crate::bind) const ROOTS: &[&str] = &["params", "steps", "run", "item", "index", "env"];
const RUN_FIELDS: &[&str] = &["id", "name", "status", "rollback", "trigger", "actor", "started_at", "generation"];
pub(super) const OUTCOMES: &[&str] = &["success", "failure", "cancelled", "always"];
/// What Tera 2.4 has built in, without those that only make sense in HTML, and ours.
pub(in crate::bind) const FILTERS: &[&str] = &[
    "abs",
    "capitalize",
    "default",
    "first",
    "float",
    "get",
    "group_by",
    "indent",
    "int",
    "join",
    "json",
    "keys",
    "last",
    "length",
    "lower",
    "nth",
    "pairs",
    "pluralize",
    "replace",
    "reverse",
    "round",
    "sort",
    "split",
    "str",
    "title",
    "trim",
    "trim_end",
    "trim_start",
    "truncate",
    "unique",
    "upper",
    "values",
    "wordcount",
];
pub(in crate::bind) const TESTS: &[&str] = &[
    "array",
    "bool",
    "containing",
    "defined",
    "divisible_by",
    "ending_with",
    "even",
    "float",
    "integer",
    "iterable",
    "map",
    "none",
    "number",
    "odd",
    "starting_with",
    "string",
    "undefined",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bind) enum Token<'a> {
    Ident(&'a str),
    Text,
    Number,
    /// One character of punctuation, or one of `==` `!=` `<=` `>=` `?.`.
    Sign(&'a str),
}

pub(in crate::bind) type Spanned<'a> = (Token<'a>, Range<usize>);

pub(super) fn scan(source: &str) -> Result<Scanned, ExpressionError> {
    let tokens = tokenize(source)?;
    check_balance(&tokens)?;
    let locals = comprehension_names(&tokens);
    let mut scan = Scan { tokens: &tokens, locals, found: Vec::new() };
    let mut at = 0;
    let mut longest = 0;
    while at < tokens.len() {
        let next = scan.token(at)?;
        longest = longest.max(next - at);
        at = next;
    }
    let mut found = scan.found;
    // `x if x is defined else y`: asking once covers every use of the same path.
    let guarded: Vec<Vec<String>> = found.iter().filter(|f| f.path.guarded).map(|f| f.path.parts.clone()).collect();
    for one in &mut found {
        one.path.guarded |= guarded.contains(&one.path.parts);
    }
    let plain = found.len() == 1 && longest == tokens.len() && !matches!(found[0].reference, Reference::Outcome(_));
    Ok(Scanned { found, plain })
}

struct Scan<'a> {
    tokens: &'a [Spanned<'a>],
    locals: Vec<&'a str>,
    found: Vec<Found>,
}

impl<'a> Scan<'a> {
    fn sign(&self, at: usize) -> &'a str {
        match self.tokens.get(at) {
            Some((Token::Sign(sign), _)) => sign,
            _ => "",
        }
    }

    fn ident(&self, at: usize) -> &'a str {
        match self.tokens.get(at) {
            Some((Token::Ident(name), _)) => name,
            _ => "",
        }
    }

    /// Reads what begins at `at` and says where the next thing begins.
    fn token(&mut self, at: usize) -> Result<usize, ExpressionError> {
        let (Token::Ident(name), range) = self.tokens[at].clone() else { return Ok(at + 1) };
        let before = at.checked_sub(1).map_or("", |previous| self.sign(previous));
        if matches!(before, "." | "?.") {
            return Ok(at + 1);
        }
        if before == "|" {
            known("filter", name, FILTERS, &range)?;
            return Ok(at + 1);
        }
        let word_before = at.checked_sub(1).map_or("", |previous| self.ident(previous));
        if name != "not" && (word_before == "is" || (word_before == "not" && at >= 2 && self.ident(at - 2) == "is")) {
            known("test", name, TESTS, &range)?;
            return Ok(at + 1);
        }
        let is_argument = self.sign(at + 1) == "=" && matches!(before, "(" | ",");
        if is_argument || KEYWORDS.contains(&name) {
            return Ok(at + 1);
        }
        if self.sign(at + 1) == "(" {
            return self.call(name, at, range);
        }
        if self.locals.contains(&name) && !ROOTS.contains(&name) {
            return Ok(at + 1);
        }
        self.reference(name, at, range)
    }

    fn call(&mut self, name: &str, at: usize, range: Range<usize>) -> Result<usize, ExpressionError> {
        if name == "range" {
            return Ok(at + 1);
        }
        if !OUTCOMES.contains(&name) {
            let candidates: Vec<&str> = OUTCOMES.iter().copied().chain(["range"]).collect();
            let help = if FILTERS.contains(&name) {
                Some(format!("`{name}` is a filter: write `value | {name}`"))
            } else {
                suggest(name, &candidates).map(|near| format!("did you mean `{near}()`?"))
            };
            let message = format!("there is no function `{name}()`");
            return Err(ExpressionError { message, help, range });
        }
        if self.sign(at + 2) != ")" {
            let message = format!("`{name}()` takes no arguments");
            return Err(ExpressionError { message, help: None, range });
        }
        let path = Path { parts: Vec::new(), guarded: true };
        let range = range.start..self.tokens[at + 2].1.end;
        self.found.push(Found { reference: Reference::Outcome(name.to_owned()), range, path });
        Ok(at + 3)
    }

    fn reference(&mut self, root: &str, at: usize, range: Range<usize>) -> Result<usize, ExpressionError> {
        let mut parts = vec![root.to_owned()];
        let (mut next, mut end, mut optional) = (at + 1, range.end, false);
        while matches!(self.sign(next), "." | "?.") && !self.ident(next + 1).is_empty() {
            optional |= self.sign(next) == "?.";
            parts.push(self.ident(next + 1).to_owned());
            end = self.tokens[next + 1].1.end;
            next += 2;
        }
        let range = range.start..end;
        let mut reference = name_of(&parts, &range);
        if let Err(error) = &mut reference
            && self.sign(next) == "["
        {
            error.help.get_or_insert_with(|| format!("write the name after a dot: `{root}.name`"));
        }
        let path = Path { parts, guarded: optional || self.is_guard(next) };
        self.found.push(Found { reference: reference?, range, path });
        Ok(next)
    }

    /// Whether `| default(` or `is [not] defined|undefined` stands at `at`.
    fn is_guard(&self, at: usize) -> bool {
        if self.sign(at) == "|" {
            return self.ident(at + 1) == "default";
        }
        let test = if self.ident(at + 1) == "not" { at + 2 } else { at + 1 };
        self.ident(at) == "is" && matches!(self.ident(test), "defined" | "undefined")
    }
}

pub(in crate::bind) fn name_of(parts: &[String], range: &Range<usize>) -> Result<Reference, ExpressionError> {
    let error = |message: String, help: Option<String>| ExpressionError { message, help, range: range.clone() };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["params", name, ..] => Ok(Reference::Param((*name).to_owned())),
        ["params"] => {
            Err(error("which parameter? `params` alone has no value".into(), Some("write `params.<name>`".into())))
        }
        ["env", name] => Ok(Reference::Env((*name).to_owned())),
        ["env", ..] => Err(error("a variable reads `env.<NAME>`".into(), None)),
        ["item", ..] => Ok(Reference::Item),
        ["index"] => Ok(Reference::Index),
        ["index", ..] => Err(error("`index` is a number and has no fields".into(), None)),
        ["run", field] if RUN_FIELDS.contains(field) => Ok(Reference::Run((*field).to_owned())),
        ["run", field, ..] if !RUN_FIELDS.contains(field) => {
            Err(error(format!("`run` has no field `{field}`"), Some(did_you_mean(field, RUN_FIELDS, "it has"))))
        }
        ["run", ..] => Err(error(
            "a field of the run reads `run.<field>`".into(),
            Some(format!("one of {}", RUN_FIELDS.join(", "))),
        )),
        ["steps", step, "outputs", key, ..] => {
            Ok(Reference::Output { step: (*step).to_owned(), key: (*key).to_owned() })
        }
        ["steps", step, "status"] => Ok(Reference::Status { step: (*step).to_owned() }),
        ["steps", ..] => {
            let step = parts.get(1).copied().unwrap_or("<id>");
            let help = match parts.get(2) {
                Some(key) if !matches!(*key, "outputs" | "status") => {
                    let near = suggest(key, &["outputs", "status"]);
                    near.map_or_else(
                        || format!("write `steps.{step}.outputs.{key}`"),
                        |near| format!("did you mean `steps.{step}.{near}`?"),
                    )
                }
                _ => format!("write `steps.{step}.outputs.<key>` or `steps.{step}.status`"),
            };
            Err(error("a step is read as `steps.<id>.outputs.<key>` or `steps.<id>.status`".into(), Some(help)))
        }
        [root, ..] => {
            Err(error(format!("`{root}` is not a name that expressions know"), Some(unknown_root_help(root))))
        }
        [] => Err(error("a name is missing".into(), None)),
    }
}

pub(in crate::bind) fn unknown_root_help(root: &str) -> String {
    if matches!(root, "inputs" | "input" | "param" | "parameters" | "vars") {
        return "parameters are read as `params.<name>`".into();
    }
    if matches!(root, "secrets" | "secret") {
        return "secrets never pass through `${{ }}`: name them in `secrets:` and read the environment variable".into();
    }
    match suggest(root, ROOTS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "a parameter reads `params.{root}`, a text is quoted: `\"{root}\"`; the names are {}",
            ROOTS.join(", ")
        ),
    }
}

fn known(kind: &str, name: &str, names: &[&str], range: &Range<usize>) -> Result<(), ExpressionError> {
    if names.contains(&name) {
        return Ok(());
    }
    let help = match (kind, name) {
        ("filter", "to_json" | "tojson" | "json_encode") => "write `| json`".to_owned(),
        ("filter", "safe" | "escape" | "escape_html" | "escape_xml" | "quote" | "shell") => {
            "values are bound, never spliced: nothing needs escaping".to_owned()
        }
        _ => did_you_mean(name, names, "there are"),
    };
    Err(ExpressionError { message: format!("there is no {kind} `{name}`"), help: Some(help), range: range.clone() })
}

pub(in crate::bind) fn suggest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let near = candidates.iter().map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate)).min()?;
    (near.0 <= 1 + near.1.len() / 4 && near.0 < name.len()).then_some(near.1)
}

fn did_you_mean(name: &str, candidates: &[&str], otherwise: &str) -> String {
    suggest(name, candidates)
        .map_or_else(|| format!("{otherwise}: {}", candidates.join(", ")), |near| format!("did you mean `{near}`?"))
}

/// The names that `[x for x in list]` binds.
fn comprehension_names<'a>(tokens: &[Spanned<'a>]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.0 == Token::Ident("for") {
            for (inner, _) in tokens[at + 1..].iter().take_while(|t| t.0 != Token::Ident("in")) {
                if let Token::Ident(name) = inner {
                    names.push(*name);
                }
            }
        }
    }
    names
}

fn check_balance(tokens: &[Spanned]) -> Result<(), ExpressionError> {
    let mut open: Vec<(&str, Range<usize>)> = Vec::new();
    let error = |message: String, range: Range<usize>| ExpressionError { message, help: None, range };
    for (token, range) in tokens {
        let Token::Sign(sign) = token else { continue };
        let wanted = match *sign {
            "(" | "[" | "{" => {
                open.push((sign, range.clone()));
                continue;
            }
            ")" => "(",
            "]" => "[",
            "}" => "{",
            _ => continue,
        };
        if open.pop().map(|(opener, _)| opener) != Some(wanted) {
            return Err(error(format!("`{sign}` closes nothing"), range.clone()));
        }
    }
    match open.pop() {
        Some((sign, range)) => Err(error(format!("`{sign}` is never closed"), range)),
        None => Ok(()),
    }
}

pub(in crate::bind) fn tokenize(source: &str) -> Result<Vec<Spanned<'_>>, ExpressionError> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let token = match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => {
                at += 1;
                continue;
            }
            quote @ (b'"' | b'\'' | b'`') => {
                at = string_end(bytes, at, quote).ok_or_else(|| ExpressionError {
                    message: format!("the text that starts with {} has no end", quote as char),
                    help: None,
                    range: start..source.len(),
                })?;
                Token::Text
            }
            b'0'..=b'9' => {
                at = run_of(bytes, at, |b| b.is_ascii_digit() || b == b'.');
                Token::Number
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                at = run_of(bytes, at, |b| b.is_ascii_alphanumeric() || b == b'_');
                Token::Ident(&source[start..at])
            }
            _ => {
                at = start + sign_len(source, start)?;
                Token::Sign(&source[start..at])
            }
        };
        tokens.push((token, start..at));
    }
    Ok(tokens)
}

fn sign_len(source: &str, at: usize) -> Result<usize, ExpressionError> {
    let rest = &source[at..];
    if ["{{", "{%", "{#", "}}", "%}", "#}"].iter().any(|tag| rest.starts_with(tag)) {
        let range = at..at + 2;
        let help = "inside `${{ }}` stands one expression; between the braces of nested maps write a space".to_owned();
        return Err(ExpressionError {
            message: format!("`{}` cannot stand here", &rest[..2]),
            help: Some(help),
            range,
        });
    }
    if ["==", "!=", "<=", ">=", "?."].iter().any(|sign| rest.starts_with(sign)) {
        return Ok(2);
    }
    let first = rest.chars().next().unwrap_or(' ');
    if "+-*/%!.,:~|=<>()[]{}?".contains(first) {
        return Ok(1);
    }
    let help = match first {
        '&' => Some("write `and`".to_owned()),
        '$' => Some("inside an expression names stand without `$`".to_owned()),
        _ => None,
    };
    Err(ExpressionError {
        message: format!("`{first}` means nothing in an expression"),
        help,
        range: at..at + first.len_utf8(),
    })
}

fn run_of(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|&b| !wanted(b)).map_or(bytes.len(), |length| from + length)
}

/// Where the quoted text that opens at `at` ends; escapes are Tera's.
pub(super) fn string_end(bytes: &[u8], at: usize, quote: u8) -> Option<usize> {
    let mut next = at + 1;
    while next < bytes.len() {
        match bytes[next] {
            b'\\' => next += 2,
            b if b == quote => return Some(next + 1),
            _ => next += 1,
        }
    }
    None
}
