//! Rows of cells as lines. Columns are as wide as what stands in them; on a terminal no line wraps: what does not fit is cut
//! off at the end, so what matters most stands first.

use unicode_width::UnicodeWidthStr;

use crate::text;

/// The header is the first row. `terminal`: how wide it is, where there is one.
pub fn lines<const N: usize>(rows: &[[String; N]], terminal: Option<usize>) -> Vec<String> {
    let widths: [usize; N] = std::array::from_fn(|at| rows.iter().map(|row| row[at].width()).max().unwrap_or(0));
    rows.iter().map(|row| line(row, &widths, terminal)).collect()
}

fn line<const N: usize>(row: &[String; N], widths: &[usize; N], terminal: Option<usize>) -> String {
    let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
    let whole = padded.collect::<Vec<_>>().join("  ");
    let whole = whole.trim_end();
    terminal.map_or_else(|| whole.to_owned(), |width| text::cut(whole, width))
}

/// Of standard output, if it is a terminal.
pub fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into())
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn columns_are_aligned_and_never_wider_than_the_terminal() {
        let rows = [["A", "B", "C"], ["备份", "x", "the rest"]].map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows, None), ["A     B  C", "备份  x  the rest"]);
        assert_eq!(lines(&rows, Some(5)), ["A    ", "备份 "]);
    }
}
