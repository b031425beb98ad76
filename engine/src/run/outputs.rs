//! What a step writes to `$RUNWARD_OUTPUT`: `name=value` lines, and `name<<END` ... `END` for values of several lines.

use std::collections::BTreeMap;

use serde_json::Value;

use super::state::RunState;
use super::values;
use crate::limits;
use crate::runbook::model::Step;
use crate::runbook::report::quoted;
use crate::runbook::value;

/// Values by name, typed as declared; undeclared ones are strings.
pub type Outputs = BTreeMap<String, Value>;

/// What is wrong with the outputs of a step. It fails the step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    #[error("$RUNWARD_OUTPUT line {line}: `{text}` is neither `name=value` nor `name<<END`")]
    Syntax { line: usize, text: String },
    #[error("$RUNWARD_OUTPUT line {line}: `{name}` is no name: use small letters, digits and `_`, a letter first")]
    Name { line: usize, name: String },
    #[error("$RUNWARD_OUTPUT line {line}: `{name}<<{end}` is never closed by a line `{end}`")]
    Open { line: usize, name: String, end: String },
    #[error("$RUNWARD_OUTPUT is not UTF-8 (byte {offset}): pass binary data in a file")]
    NotUtf8 { offset: usize },
    #[error("output `{name}` is {bytes} bytes; at most {max} are possible: pass large data in a file")]
    ValueTooLarge { name: String, bytes: usize, max: usize },
    #[error("the outputs are {bytes} bytes together; at most {max} are possible: pass large data in a file")]
    TooLarge { bytes: usize, max: usize },
    #[error("output `{name}` is nested more than {max} deep: pass it in a file")]
    TooDeep { name: String, max: usize },
    #[error("output `{name}` is declared but was not written to $RUNWARD_OUTPUT")]
    Missing { name: String },
    #[error("output `{name}`: {message}")]
    Type { name: String, message: String },
}

/// Parses the file and types its values as `step` declares. A name written twice keeps the last value.
pub fn read(step: &Step, file: &[u8]) -> Result<Outputs, OutputError> {
    if file.len() > limits::OUTPUTS_BYTES_MAX {
        return Err(OutputError::TooLarge { bytes: file.len(), max: limits::OUTPUTS_BYTES_MAX });
    }
    let text = std::str::from_utf8(file).map_err(|error| OutputError::NotUtf8 { offset: error.valid_up_to() })?;
    let raw = parse(text)?;
    if let Some((name, _)) = step.outputs.iter().find(|(name, _)| !raw.contains_key(name)) {
        return Err(OutputError::Missing { name: name.clone() });
    }
    raw.into_iter().map(|(name, text)| typed(step, name, text)).collect()
}

/// Outputs that runward's own programs write, with their types. Their program knows the limits; here they are held.
pub fn check(outputs: &Outputs) -> Result<(), OutputError> {
    let mut total = 0;
    for (name, value) in outputs {
        let bytes = value.as_str().map_or_else(|| value.to_string().len(), str::len);
        if bytes > limits::OUTPUT_BYTES_MAX {
            return Err(OutputError::ValueTooLarge { name: name.clone(), bytes, max: limits::OUTPUT_BYTES_MAX });
        }
        if value::is_too_deep(value) {
            return Err(OutputError::TooDeep { name: name.clone(), max: limits::VALUE_DEPTH_MAX });
        }
        total += bytes;
    }
    if total > limits::OUTPUTS_BYTES_MAX {
        return Err(OutputError::TooLarge { bytes: total, max: limits::OUTPUTS_BYTES_MAX });
    }
    Ok(())
}

/// What a run hands back, with the types its values have. What is wrong names the output.
pub fn of_run(state: &RunState) -> Result<Outputs, String> {
    let mut outputs = Outputs::new();
    for output in &state.runbook.outputs {
        let expressions = output.value.expressions();
        let references = expressions.iter().flat_map(|expression| expression.references.iter().map(|(it, _)| it));
        let context = values::at_end(state, references);
        let value = output.value.bind(&context).map_err(|error| format!("output `{}`: {error}", output.name.value))?;
        outputs.insert(output.name.value.clone(), value);
    }
    check(&outputs).map_err(|error| error.to_string())?;
    Ok(outputs)
}

fn typed(step: &Step, name: String, text: String) -> Result<(String, Value), OutputError> {
    if text.len() > limits::OUTPUT_BYTES_MAX {
        return Err(OutputError::ValueTooLarge {
            name: quoted(&name),
            bytes: text.len(),
            max: limits::OUTPUT_BYTES_MAX,
        });
    }
    let Some((_, kind)) = step.outputs.iter().find(|(declared, _)| *declared == name) else {
        return Ok((name, Value::String(text)));
    };
    match value::from_text(*kind, &text) {
        Ok(value) => Ok((name, value)),
        Err(message) => Err(OutputError::Type { name, message: quoted(&message) }),
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, OutputError> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.split('\n').enumerate();
    while let Some((n, line)) = lines.next() {
        let line_no = n + 1;
        if line.trim().is_empty() {
            continue;
        }
        let equals = line.find('=').unwrap_or(usize::MAX);
        let arrows = line.find("<<").unwrap_or(usize::MAX);
        if equals == usize::MAX && arrows == usize::MAX {
            return Err(OutputError::Syntax { line: line_no, text: quoted(line) });
        }
        if equals < arrows {
            let name = output_name(line_no, &line[..equals])?;
            let value = &line[equals + 1..];
            outputs.insert(name, value.strip_suffix('\r').unwrap_or(value).to_owned());
            continue;
        }
        let name = output_name(line_no, &line[..arrows])?;
        let end = line[arrows + 2..].trim();
        let mut value: Vec<&str> = Vec::new();
        loop {
            match lines.next() {
                Some((_, line)) if line.strip_suffix('\r').unwrap_or(line) == end => break,
                Some((_, line)) => value.push(line),
                None => return Err(OutputError::Open { line: line_no, name: quoted(&name), end: quoted(end) }),
            }
        }
        outputs.insert(name, value.join("\n"));
    }
    Ok(outputs)
}

fn output_name(line: usize, name: &str) -> Result<String, OutputError> {
    let name = name.trim();
    let mut chars = name.chars();
    let valid = chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if valid { Ok(name.to_owned()) } else { Err(OutputError::Name { line, name: quoted(name) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_blocks_are_read() {
        let outputs = parse("file=a=b\n\nnotes<<EOF\none\n\ntwo\nEOF\nempty=\n").unwrap();
        assert_eq!(outputs["file"], "a=b");
        assert_eq!(outputs["notes"], "one\n\ntwo");
        assert_eq!(outputs["empty"], "");
    }

    #[test]
    fn lines_that_end_like_those_of_windows_lose_their_return() {
        let outputs = parse("file=a\r\nempty=\r\ninner=a\rb\r\nnotes<<EOF\r\none\r\ntwo\r\nEOF\r\nlast=x").unwrap();
        assert_eq!(outputs["file"], "a");
        assert_eq!(outputs["empty"], "");
        assert_eq!(outputs["inner"], "a\rb");
        assert_eq!(outputs["notes"], "one\r\ntwo\r");
        assert_eq!(outputs["last"], "x");
    }

    #[test]
    fn errors_quote_little_and_nothing_that_a_terminal_obeys() {
        let long = "y".repeat(100_000);
        for file in [format!("\u{1b}[31m{long}"), format!("\u{1b}[31m{long}=1"), format!("{long}<<\u{1b}]0;{long}")] {
            let message = parse(&file).unwrap_err().to_string();
            assert!(message.contains("\\u{1b}") && !message.contains('\u{1b}'), "{message}");
            assert!(message.chars().count() < 320, "{message}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert!(matches!(parse("ok=1\nnonsense"), Err(OutputError::Syntax { line: 2, .. })));
        assert!(matches!(parse("Bad Name=1"), Err(OutputError::Name { line: 1, .. })));
        assert!(matches!(parse("a<<EOF\nx"), Err(OutputError::Open { line: 1, .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
