//! Any text in columns that cannot hold every text: Postgres has no NUL in a TEXT.
//!
//! A NUL is stored as a mark and `0`, the mark itself, which nobody writes, as the mark and `1`. What programs print ends up
//! in errors; a run must not be stuck because one of them printed a NUL.

use std::borrow::Cow;

/// From a plane for private use.
const MARK: char = '\u{F_0000}';

pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\0' => stored.extend([MARK, '0']),
            MARK => stored.extend([MARK, '1']),
            letter => stored.push(letter),
        }
    }
    Cow::Owned(stored)
}

pub(super) fn shown(text: String) -> String {
    if !text.contains(MARK) {
        return text;
    }
    text.replace(&format!("{MARK}0"), "\0").replace(&format!("{MARK}1"), &MARK.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back() {
        for text in
            ["", "备份 'x'", "\0", "a\0\0b", "\u{F0000}", "\u{F0000}0", "\0\u{F0000}1\u{F0000}\0", "0\u{F0000}\x0001"]
        {
            let stored = stored(text);
            assert!(!stored.contains('\0'), "{stored:?}");
            assert_eq!(shown(stored.into_owned()), text);
        }
    }
}
