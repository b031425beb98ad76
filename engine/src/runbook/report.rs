//! What is wrong with a runbook, all of it at once.

use std::fmt;

use super::model::Span;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// What to write instead, where that is known.
    pub help: Option<String>,
    /// Bytes of the file.
    pub span: Span,
    /// A few words to stand right at the place.
    pub label: String,
}

impl Finding {
    pub fn new(span: &Span, label: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding { message: message.into(), help: None, span: span.clone(), label: label.into() }
    }

    pub fn help(mut self, help: impl Into<String>) -> Finding {
        self.help = Some(help.into());
        self
    }

    pub fn maybe_help(mut self, help: Option<String>) -> Finding {
        self.help = help.or(self.help);
        self
    }
}

/// Every finding of a file, in the order of the file, each once; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub findings: Vec<Finding>,
}

/// A file that is wrong in more places than this is wrong as a whole.
const FINDINGS_MAX: usize = 1_000;

impl Report {
    /// Sorts, removes doubles (a default merged into many steps is wrong once), and cuts very long reports with a last
    /// finding that says so.
    pub fn new(mut findings: Vec<Finding>) -> Report {
        findings.sort_by(|a, b| (a.span.start, a.span.end, &a.message).cmp(&(b.span.start, b.span.end, &b.message)));
        findings.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        if findings.len() > FINDINGS_MAX {
            let hidden = findings.len() - FINDINGS_MAX;
            findings.truncate(FINDINGS_MAX);
            let span = findings[FINDINGS_MAX - 1].span.clone();
            findings.push(Finding::new(
                &span,
                "the last one shown",
                format!("at least {hidden} more findings are not shown"),
            ));
        }
        Report { findings }
    }

    pub fn one(finding: Finding) -> Report {
        Report { findings: vec![finding] }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.findings.first().map_or("", |finding| &finding.message);
        match self.findings.len() {
            0 | 1 => f.write_str(first),
            n => write!(f, "{first} (and {} more)", n - 1),
        }
    }
}

impl std::error::Error for Report {}

/// Of very many candidates only the first are compared.
const CANDIDATES_MAX: usize = 2_000;

/// The candidate that is most like `word`, where one is like enough to be meant.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase().replace('_', "-");
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .map(|candidate| (likeness(&folded, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn likeness(folded: &str, candidate: &str) -> f64 {
    let other = candidate.to_lowercase().replace('_', "-");
    if folded.len() >= 3 && strsim::osa_distance(folded, &other) == 1 {
        return 2.0; // one slip of the fingers: nothing is more alike
    }
    strsim::jaro_winkler(folded, &other).max(strsim::normalized_damerau_levenshtein(folded, &other))
}

/// After so many findings nothing is guessed any more: each guess compares with every candidate.
pub const GUESSES_MAX: usize = 50;

/// `did you mean ...?` for [`closest`].
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Comparing costs the product of the lengths: nothing long is a slip of the fingers.
    (word.len() <= 64).then(|| closest(word, candidates)).flatten().map(|found| format!("did you mean `{found}`?"))
}

/// Characters a reader cannot see: control characters, marks of direction, spaces without width.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// A text of unknown length and content for a message: at most 80 characters, control characters made visible.
pub fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_MAX) {
        if is_invisible(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}
