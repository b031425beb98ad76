//! The forms in which a secret may come back: as it is, and as the usual tools write it.
//!
//! What a step makes of it in any other way (reversed, encrypted, cut in two) is not known here, and docs/how-to/secrets.md says so.
//! Each form stands for itself: it is looked for in the bytes, whatever surrounds it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A shorter secret cannot be told from other text, in bytes.
pub const WHOLE_BYTES_MIN: usize = 4;
/// A shorter line of a secret with several lines is not looked for by itself, in bytes.
pub const LINE_BYTES_MIN: usize = 6;
/// Where tools break long lines of base64: `openssl` and `base64`.
const BASE64_LINES: [usize; 2] = [64, 76];

/// A longer form is looked for in pieces, in bytes: little is held back, and what is cut out of a long secret is found.
const PIECE_BYTES_MAX: usize = 128;

/// Everything to look for; may hold doubles.
pub fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let whole = trimmed(secret);
    let mut all = Vec::new();
    of_text(whole, WHOLE_BYTES_MIN, &mut all);
    if whole.len() < secret.len() {
        base64(secret, &mut all); // in which its last newline cannot be told from the rest
        all.retain(|form| form.len() >= WHOLE_BYTES_MIN);
    }
    if whole.contains(&b'\n') {
        for line in whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
            of_text(line, LINE_BYTES_MIN, &mut all);
        }
    }
    all.into_iter().flat_map(pieces).collect()
}

/// Of about the same length each.
fn pieces(form: Vec<u8>) -> Vec<Vec<u8>> {
    let count = form.len().div_ceil(PIECE_BYTES_MAX);
    let ends = (1..=count).map(|n| form.len() * n / count);
    let begins = (0..count).map(|n| form.len() * n / count);
    begins.zip(ends).map(|(begin, end)| form[begin..end].to_vec()).collect()
}

/// Without its last newline, which most tools add and take away as they like.
fn trimmed(secret: &[u8]) -> &[u8] {
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    secret.strip_suffix(b"\r").unwrap_or(secret)
}

fn of_text(text: &[u8], bytes_min: usize, all: &mut Vec<Vec<u8>>) {
    if text.len() < bytes_min {
        return;
    }
    let mut forms = vec![text.to_vec()];
    base64(text, &mut forms);
    hex(text, &mut forms);
    url(text, &mut forms);
    shell(text, &mut forms);
    markup(text, &mut forms);
    if let Ok(text) = std::str::from_utf8(text) {
        json(text, &mut forms);
    }
    forms.retain(|form| form.len() >= bytes_min);
    all.append(&mut forms);
}

/// As it stands in the base64 of a longer text, too: then only the characters that depend on nothing else are known, and
/// which they are depends on where it begins in a group of three bytes.
fn base64(text: &[u8], forms: &mut Vec<Vec<u8>>) {
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        let alone = engine.encode(text).into_bytes();
        for width in BASE64_LINES.into_iter().filter(|width| alone.len() > *width) {
            forms.extend(alone.chunks(width).map(<[u8]>::to_vec));
        }
        forms.push(alone);
        for before in 0..3 {
            let encoded = engine.encode([&[0; 2][..before], text].concat());
            let (first, end) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
            forms.extend(encoded.as_bytes().get(first..end).map(<[u8]>::to_vec));
        }
    }
}

fn hex(text: &[u8], forms: &mut Vec<Vec<u8>>) {
    forms.push(each(text, |byte, out| _ = write!(out, "{byte:02x}")));
    forms.push(each(text, |byte, out| _ = write!(out, "{byte:02X}")));
}

/// Tools differ in what they leave as it is, and in the letters of `%2F`.
fn url(text: &[u8], forms: &mut Vec<Vec<u8>>) {
    // RFC 3986; paths; JavaScript; forms of browsers; and what URL parsers leave in a path or a query.
    let plain: [&[u8]; 5] = [b"-._~", b"-._~/", b"-._~!'()*", b"-._*", b"-._~!$&'()*+,;=:@/?[]|^\\{}`%"];
    for plain in plain {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || plain.contains(&byte);
        for (upper, space) in [(true, "%20"), (false, "%20"), (true, "+"), (false, "+")] {
            forms.push(each(text, |byte, out| match byte {
                b' ' => out.push_str(space),
                byte if is_plain(byte) => out.push(char::from(byte)),
                byte if upper => _ = write!(out, "%{byte:02X}"),
                byte => _ = write!(out, "%{byte:02x}"),
            }));
        }
    }
}

/// Inside quotes of every kind, and after backslashes.
fn shell(text: &[u8], forms: &mut Vec<Vec<u8>>) {
    forms.push(replaced(text, |byte| (byte == b'\'').then_some(&b"'\\''"[..]))); // set -x, ${x@Q}
    forms.push(replaced(text, |byte| (byte == b'\'').then_some(&b"'\"'\"'"[..]))); // Python's shlex
    let escaped = |special: &[u8], first: &[u8]| {
        let mut form = Vec::with_capacity(text.len());
        for (n, byte) in text.iter().enumerate() {
            if special.contains(byte) || n == 0 && first.contains(byte) {
                form.push(b'\\');
            }
            form.push(*byte);
        }
        form
    };
    forms.push(escaped(b"\"\\$`", b"")); // in double quotes
    forms.push(escaped(b"'\\", b"")); // in strings of most languages
    const SPECIAL: &[u8] = b" \t'\"\\|&;()<>!{}*[]?^$`,"; // printf %q
    forms.push(escaped(SPECIAL, b"#~"));
    forms.push(escaped(&SPECIAL[..SPECIAL.len() - 1], b"#~"));
    if text.iter().any(|byte| byte.is_ascii_control() || !byte.is_ascii()) {
        forms.push(ansi_c(text, false));
        forms.push(ansi_c(text, true));
    }
}

/// Inside `$'...'`; `octal`: bytes that are no ASCII as well.
fn ansi_c(text: &[u8], octal: bool) -> Vec<u8> {
    let mut form = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'\n' => form.extend_from_slice(b"\\n"),
            b'\t' => form.extend_from_slice(b"\\t"),
            b'\r' => form.extend_from_slice(b"\\r"),
            0x1b => form.extend_from_slice(b"\\E"),
            b'\'' | b'\\' => form.extend_from_slice(&[b'\\', *byte]),
            byte if byte.is_ascii_control() || octal && !byte.is_ascii() => {
                form.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            byte => form.push(*byte),
        }
    }
    form
}

/// HTML and XML.
fn markup(text: &[u8], forms: &mut Vec<Vec<u8>>) {
    for apostrophe in [&b"&#39;"[..], b"&#x27;", b"&apos;", b"'"] {
        for quote in [&b"&quot;"[..], b"&#34;", b"\""] {
            forms.push(replaced(text, |byte| match byte {
                b'&' => Some(b"&amp;"),
                b'<' => Some(b"&lt;"),
                b'>' => Some(b"&gt;"),
                b'"' => Some(quote),
                b'\'' => Some(apostrophe),
                _ => None,
            }));
        }
    }
}

/// As little escaped as allowed, or all that is not ASCII (Python), or what HTML knows (Go), or slashes (PHP).
fn json(text: &str, forms: &mut Vec<Vec<u8>>) {
    for (ascii, html, slash) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (false, false, true),
        (true, false, true),
    ] {
        let mut form = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '"' => form.push_str("\\\""),
                '\\' => form.push_str("\\\\"),
                '\n' => form.push_str("\\n"),
                '\r' => form.push_str("\\r"),
                '\t' => form.push_str("\\t"),
                '\u{8}' => form.push_str("\\b"),
                '\u{c}' => form.push_str("\\f"),
                '/' if slash => form.push_str("\\/"),
                '<' | '>' | '&' if html => _ = write!(form, "\\u{:04x}", c as u32),
                c if c < ' ' => _ = write!(form, "\\u{:04x}", c as u32),
                c if ascii && !c.is_ascii() => {
                    c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(form, "\\u{unit:04x}"));
                }
                c => form.push(c),
            }
        }
        forms.push(form.into_bytes());
    }
}

fn each(text: &[u8], mut write: impl FnMut(u8, &mut String)) -> Vec<u8> {
    let mut out = String::with_capacity(text.len() * 3);
    text.iter().for_each(|byte| write(*byte, &mut out));
    out.into_bytes()
}

fn replaced<'r>(text: &[u8], with: impl Fn(u8) -> Option<&'r [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match with(*byte) {
            Some(with) => out.extend_from_slice(with),
            None => out.push(*byte),
        }
    }
    out
}
