//! What cron makes of `%` in a command: the first one begins the input of the command, each further one is a new line there,
//! and `\%` is a percent sign.

/// What the shell gets, and what its standard input is. As cron does it, to the byte.
pub fn split(text: &str) -> (String, Option<String>) {
    let mut command = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '%' if escaped => {
                command.pop();
                command.push('%');
            }
            '%' => return (command, Some(input(&text[at + 1..]))),
            _ => command.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    (command, None)
}

/// It ends with a new line, unless it is empty.
fn input(text: &str) -> String {
    let mut input = String::new();
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '%' if escaped => input.push('%'),
            '%' => input.push('\n'),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ if escaped => input.extend(['\\', c]),
            _ => input.push(c),
        }
        escaped = false;
    }
    if escaped {
        input.push('\\');
    }
    if !input.is_empty() && !input.ends_with('\n') {
        input.push('\n');
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_begins_the_input_unless_it_is_escaped() {
        for (text, command, input) in [
            ("date +\\%F", "date +%F", None),
            ("cat", "cat", None),
            ("cat%", "cat", Some("")),
            ("mail -s hi ops%Dear all,%%bye", "mail -s hi ops", Some("Dear all,\n\nbye\n")),
            ("cat%100\\% sure%", "cat", Some("100% sure\n")),
            ("echo a\\nb \\\\%x", "echo a\\nb \\\\", Some("x\n")),
            ("cat%a\\b\\\\c\\", "cat", Some("a\\b\\\\c\\\n")),
        ] {
            assert_eq!(split(text), (command.to_owned(), input.map(str::to_owned)), "{text}");
        }
    }
}
