//! What would change in a file, for people.

use similar::TextDiff;

/// Lines around a change.
const CONTEXT_LINES: usize = 3;
/// Lines of a diff that are shown.
const LINES_MAX: usize = 400;
/// A longer line is cut, in characters.
const LINE_CHARS_MAX: usize = 1_000;
/// How long the smallest diff is looked for; then any will do.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);

/// A unified diff, line by line, of what is at `path` now (`None`: nothing) to `new`.
pub fn unified(path: &str, old: Option<&[u8]>, new: &str) -> Vec<String> {
    let before = match old.map(std::str::from_utf8) {
        None => "",
        Some(Ok(text)) => text,
        Some(Err(_)) => return vec![format!("{path} is not UTF-8 text now: no difference can be shown")],
    };
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, new);
    let from = if old.is_some() { path } else { "/dev/null" };
    let text = diff.unified_diff().context_radius(CONTEXT_LINES).header(from, path).to_string();
    let mut lines: Vec<String> = text.lines().take(LINES_MAX).map(cut).collect();
    let rest = text.lines().count() - lines.len();
    if rest > 0 {
        lines.push(format!("[{rest} more lines are not shown]"));
    }
    lines
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((at, _)) => format!("{}[cut]", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_reads_like_that_of_diff_u() {
        let lines = unified("/etc/x", Some(b"a\nb\nc\n"), "a\nB\nc\nd");
        assert_eq!(
            lines,
            [
                "--- /etc/x",
                "+++ /etc/x",
                "@@ -1,3 +1,4 @@",
                " a",
                "-b",
                "+B",
                " c",
                "+d",
                "\\ No newline at end of file"
            ]
        );
        assert_eq!(unified("/etc/x", None, "a\n"), ["--- /dev/null", "+++ /etc/x", "@@ -0,0 +1 @@", "+a"]);
    }

    #[test]
    fn a_diff_without_end_is_cut_and_says_so() {
        let new: String = (0..5_000).map(|n| format!("{n}\n")).collect();
        let lines = unified("/etc/x", None, &new);
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert_eq!(lines[LINES_MAX], "[4603 more lines are not shown]");
        assert!(unified("/etc/x", Some(&[0xff]), "").concat().contains("not UTF-8"));
    }
}
