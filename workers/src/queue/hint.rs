//! What a hint says, and how it is written in Redis.
//!
//! Pure: no queue is named here. The form is versioned because hints of an older runward may still lie in Redis when a
//! newer one reads them; a reader that does not know a form acknowledges the hint and counts it, and the sweeper of the
//! ledger finds the step without it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use runward_engine::run::RunId;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
const BODY_BYTES_MAX: usize = 4096;

/// What may stand unescaped in ids and in the names of keys: neither `:` nor a glob of Redis nor anything of Lua's.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// "Something of this run is ready for workers with this label." Only the ledger says what, and whether it is still so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hint {
    pub run: RunId,
    pub label: String,
    /// Counts the hints of a run: a number that was sent before may be taken for a repetition and swallowed, a higher
    /// one never is.
    pub dispatch: u64,
}

/// Why a body says nothing to this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// Written by a version of runward that this one does not know.
    Unknown,
    Junk,
}

#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    run: RunId,
    label: String,
    dispatch: u64,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl Hint {
    pub(super) fn body(&self) -> String {
        let body = Body { v: VERSION, run: self.run.clone(), label: self.label.clone(), dispatch: self.dispatch };
        serde_json::to_string(&body).expect("numbers and texts are JSON")
    }

    pub(super) fn read(body: &[u8]) -> Result<Hint, Unread> {
        if body.len() > BODY_BYTES_MAX {
            return Err(Unread::Junk);
        }
        let Versioned { v } = serde_json::from_slice(body).map_err(|_| Unread::Junk)?;
        if v != VERSION {
            return Err(Unread::Unknown);
        }
        let Body { run, label, dispatch, .. } = serde_json::from_slice(body).map_err(|_| Unread::Junk)?;
        Ok(Hint { run, label, dispatch })
    }

    /// The same for the same hint, so that a repetition is known. The dot keeps apalis from reading it as a number or a
    /// ULID, which it would write back differently.
    pub(super) fn id(&self) -> String {
        format!("{}.{}", plain(&self.run.0), self.dispatch)
    }
}

/// A text as part of an id or of the name of a key.
pub(super) fn plain(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint() -> Hint {
        Hint { run: "0199-ab".into(), label: "db".to_owned(), dispatch: 3 }
    }

    #[test]
    fn a_hint_is_written_in_one_form() {
        assert_eq!(hint().body(), r#"{"v":1,"run":"0199-ab","label":"db","dispatch":3}"#);
        assert_eq!(hint().id(), "0199-ab.3");
    }

    #[test]
    fn a_hint_survives_the_way() {
        assert_eq!(Hint::read(hint().body().as_bytes()), Ok(hint()));
    }

    #[test]
    fn a_field_of_a_later_release_does_not_hurt() {
        let body = br#"{"v":1,"run":"0199-ab","label":"db","dispatch":3,"since":17}"#;
        assert_eq!(Hint::read(body), Ok(hint()));
    }

    #[test]
    fn what_a_newer_runward_wrote_is_told_from_junk() {
        assert_eq!(Hint::read(br#"{"v":2,"runs":["a","b"]}"#), Err(Unread::Unknown));
        for junk in [&b""[..], b"\xff\xfe", b"[]", b"{}", b"{\"v\":1}", b"null", b"{\"v\":\"1\"}", b"x"] {
            assert_eq!(Hint::read(junk), Err(Unread::Junk), "{junk:?}");
        }
        assert_eq!(Hint::read(&vec![b' '; BODY_BYTES_MAX + 1]), Err(Unread::Junk));
    }

    #[test]
    fn no_run_can_break_out_of_its_id() {
        let odd = Hint { run: "a:b.7~*\n".into(), ..hint() };
        assert_eq!(odd.id(), "a%3Ab%2E7%7E%2A%0A.3");
    }
}
