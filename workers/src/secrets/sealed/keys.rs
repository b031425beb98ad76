//! The key of the sealed file: 32 random bytes, as 64 hexadecimal digits in a file that only its owner reads.
//!
//! While a key is being exchanged the file holds two: the first seals, both open. So whenever that is interrupted, what is
//! sealed can be opened.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::Generate;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::SealedError;
use super::store::{replace, sync_folder};
use crate::secrets::find::{Wrong, read_private};

const KEY_BYTES: usize = 32;
/// The key itself, where no file can be had.
const VARIABLE: &str = "RUNWARD_SECRETS_KEY";
/// A file with a key or two, and comments.
const FILE_BYTES_MAX: usize = 4 * 1024;

pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

/// All keys that may open, the one that seals first.
pub struct Keys {
    keys: Vec<Key>,
    /// `None`: they come from the environment.
    pub file: Option<PathBuf>,
}

impl Key {
    pub fn generate() -> Key {
        let mut bytes = <[u8; KEY_BYTES]>::generate();
        let key = Key(Zeroizing::new(bytes));
        bytes.zeroize();
        key
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Tells keys apart, and says nothing of them.
    pub fn id(&self) -> String {
        let digest = Sha256::digest([&b"runward secrets key "[..], &self.0[..]].concat());
        hex(&digest[..4]).to_string()
    }

    fn read(text: &str) -> Option<Key> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
            return None;
        }
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(Key(bytes))
    }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}")); // writing to a String cannot fail
    text
}

impl Keys {
    /// The keys in force: of `file`, or of the environment. `Ok(None)`: there are none yet, and they would be in the file.
    pub fn find(file: Option<&Path>) -> Result<Option<Keys>, SealedError> {
        if let Ok(text) = std::env::var(VARIABLE).map(Zeroizing::new) {
            let key = Key::read(text.trim()).ok_or_else(|| SealedError::BadKey {
                path: VARIABLE.into(),
                problem: format!("a key is {} hexadecimal digits", 2 * KEY_BYTES),
            })?;
            return Ok(Some(Keys { keys: vec![key], file: None }));
        }
        let Some(file) = file else {
            let how = format!("set `secrets.key-file` in runward.toml, or RUNWARD_SECRETS_KEY_FILE or {VARIABLE}");
            return Err(SealedError::NoKey(how));
        };
        match read_private(file, FILE_BYTES_MAX) {
            Ok(bytes) => Keys::parse(&bytes, file).map(Some),
            Err(Wrong::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(wrong) => Err(SealedError::BadKey { path: file.to_owned(), problem: wrong.to_string() }),
        }
    }

    fn parse(bytes: &[u8], file: &Path) -> Result<Keys, SealedError> {
        let bad = |problem: String| SealedError::BadKey { path: file.to_owned(), problem };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is no text".to_owned()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Option<Vec<Key>> = lines.map(Key::read).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Keys { keys, file: Some(file.to_owned()) }),
            _ => Err(bad(format!("it holds no key: a line of {} hexadecimal digits", 2 * KEY_BYTES))),
        }
    }

    /// Makes a key, in a new file.
    pub fn create(file: &Path) -> Result<Keys, SealedError> {
        Keys { keys: vec![Key::generate()], file: Some(file.to_owned()) }.saved(file)
    }

    /// The one that seals.
    pub fn first(&self) -> &Key {
        &self.keys[0]
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id() == id)
    }

    /// A new one that seals from now on; the old ones still open.
    pub(super) fn renewed(mut self, file: &Path) -> Result<Keys, SealedError> {
        self.keys.insert(0, Key::generate());
        self.saved(file)
    }

    /// Only the one that seals.
    pub(super) fn alone(mut self, file: &Path) -> Result<Keys, SealedError> {
        self.keys.truncate(1);
        self.saved(file)
    }

    fn saved(self, file: &Path) -> Result<Keys, SealedError> {
        let mut text =
            Zeroizing::new("# The key of the sealed secrets of runward. Whoever has it can read them.\n".to_owned());
        for key in &self.keys {
            text.push_str(&hex(key.bytes()));
            text.push('\n');
        }
        replace(file, text.as_bytes(), 0o400)?;
        sync_folder(file);
        Ok(self)
    }
}
