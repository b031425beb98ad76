//! Takes secrets out of what is printed, written and answered, before anybody keeps it.
//!
//! A [`Mask`] knows every form in which its secrets may come back ([`forms`]); a [`Stream`] applies it to bytes that come
//! in pieces. The result is the same however they are cut: the leftmost, and of those the longest form is replaced by
//! [`MASKED`], and what adjoins it is part of the same. To know before changing anything: what may still become a form is held
//! back, and nothing else is, so that a prompt without a newline is seen at once.

pub mod forms;
mod needles;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use runward_engine::mutated;
use zeroize::Zeroize;

use needles::Needles;

/// What stands where a secret was.
pub const MASKED: &str = "***";

/// The forms of some secrets, shared by all streams of an attempt.
#[derive(Clone)]
pub struct Mask {
    needles: Rc<Needles>,
}

impl Mask {
    /// `None`: there is nothing to hide, or nothing long enough to be told from other text ([`forms::WHOLE_BYTES_MIN`]).
    pub fn of<'s>(secrets: impl IntoIterator<Item = &'s [u8]>) -> Option<Mask> {
        let needles = Needles::new(secrets.into_iter().flat_map(forms::forms).collect())?;
        Some(Mask { needles: Rc::new(needles) })
    }

    /// A text as it may be seen.
    pub fn hide(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.hide_bytes(text.as_bytes())).into_owned()
    }

    /// The same for bytes of any kind.
    pub fn hide_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut hidden = stream.push(bytes).to_vec();
        hidden.extend_from_slice(stream.finish());
        hidden
    }

    /// Of a text that goes on, but not here: what may be the beginning of a form at its end is left out.
    pub fn hide_beginning(&self, text: &str) -> String {
        String::from_utf8_lossy(self.stream().push(text.as_bytes())).into_owned()
    }

    pub fn stream(&self) -> Stream {
        Stream { needles: Rc::clone(&self.needles), held: Vec::new(), out: Vec::new(), masked: false }
    }
}

/// One stream of output.
pub struct Stream {
    needles: Rc<Needles>,
    /// The end of what came, which may be the beginning of a form.
    held: Vec<u8>,
    out: Vec<u8>,
    /// The last that came out was a mask.
    masked: bool,
}

impl Stream {
    /// Takes the next piece, and returns what is certain by now.
    pub fn push(&mut self, piece: &[u8]) -> &[u8] {
        self.out.clear();
        if mutated!(MaskNothing) {
            self.out.extend_from_slice(piece);
            return &self.out;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let end = self.mask(&text, false);
        if !mutated!(MaskForgetsTheTail) {
            self.held.extend_from_slice(&text[end..]);
        }
        text.zeroize();
        &self.out
    }

    /// Nothing more comes: what is left.
    pub fn finish(&mut self) -> &[u8] {
        self.out.clear();
        let mut text = std::mem::take(&mut self.held);
        self.mask(&text, true);
        text.zeroize();
        &self.out
    }

    /// Puts out what is certain of `text`; returns where the rest begins. `is_end`: nothing follows.
    fn mask(&mut self, text: &[u8], is_end: bool) -> usize {
        let needles = Rc::clone(&self.needles);
        let hold = |from| if is_end { text.len() } else { needles.open_from(text, from) };
        let (mut at, mut open) = (0, hold(0));
        // A form that begins where another may still grow is not certain: that one may come first, or be longer.
        while let Some(found) = needles.find(text, at).filter(|found| found.start < open) {
            self.put(&text[at..found.start]);
            if !self.masked {
                self.out.extend_from_slice(MASKED.as_bytes());
            }
            self.masked = true;
            at = found.end;
            if open < at {
                open = hold(at);
            }
        }
        self.put(&text[at..open]);
        open
    }

    fn put(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.masked &= text.is_empty();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}
