//! The sealed file on disk: read, changed under a lock, and replaced in one piece.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::keys::{Key, Keys};
use super::{Document, Entry, SealedError, VERSION};
use crate::secrets::Value;

/// The sealed file of a machine, and where its key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub file: PathBuf,
    /// `None`: the key comes from the environment, or nowhere.
    pub key_file: Option<PathBuf>,
}

impl Store {
    pub fn get(&self, name: &str) -> Result<Value, SealedError> {
        let unknown =
            |names: Vec<String>| SealedError::Unknown { path: self.file.clone(), name: name.to_owned(), names };
        let Some(document) = self.read()? else { return Err(unknown(Vec::new())) };
        let keys = self.keys()?;
        let key = self.verified(&document, &keys)?;
        if !document.secrets.contains_key(name) {
            return Err(unknown(document.secrets.keys().cloned().collect()));
        }
        document.open(key, name).ok_or_else(|| self.tampered(format!("the secret {name} does not open")))
    }

    /// Names, and who set them when. Needs no key, and without one nothing proves that it is true: then the second is false.
    pub fn list(&self) -> Result<(Vec<(String, Entry)>, bool), SealedError> {
        let Some(document) = self.read()? else { return Ok((Vec::new(), true)) };
        let proven = match self.keys() {
            Ok(keys) => self.verified(&document, &keys).map(|_| true)?,
            Err(SealedError::NoKey(_)) => false,
            Err(error) => return Err(error),
        };
        Ok((document.secrets.into_iter().collect(), proven))
    }

    /// Seals a value under a name. Makes a key where there is none yet: then says where.
    pub fn set(&self, name: &str, value: &Value, at: i64, by: &str) -> Result<Set, SealedError> {
        let _lock = self.lock()?;
        let found = self.read()?;
        let (keys, created) = match (Keys::find(self.key_file.as_deref())?, &self.key_file) {
            (Some(keys), _) => (keys, None),
            (None, Some(file)) if found.is_none() => (Keys::create(file)?, Some(file.clone())),
            (None, _) => return Err(self.no_key()),
        };
        let mut document = match found {
            Some(document) => self.resealed(document, &keys)?,
            None => Document::new(keys.first()),
        };
        let replaced = document.secrets.contains_key(name);
        document.set(keys.first(), name, value, at, by);
        self.write(&document)?;
        Ok(Set { replaced, created })
    }

    pub fn remove(&self, name: &str) -> Result<(), SealedError> {
        let _lock = self.lock()?;
        let unknown =
            |names: Vec<String>| SealedError::Unknown { path: self.file.clone(), name: name.to_owned(), names };
        let Some(document) = self.read()? else { return Err(unknown(Vec::new())) };
        let keys = self.keys()?;
        let mut document = self.resealed(document, &keys)?;
        if document.secrets.remove(name).is_none() {
            return Err(unknown(document.secrets.into_keys().collect()));
        }
        document.prove(keys.first());
        self.write(&document)
    }

    /// Seals everything under a new key; returns how many secrets that were. The new key is on disk, beside the old one,
    /// before anything is sealed with it, and the old one is there until nothing is sealed with it any more.
    pub fn rotate(&self) -> Result<usize, SealedError> {
        let _lock = self.lock()?;
        let keys = self.keys()?;
        let Some(file) = keys.file.clone() else {
            let how = "it comes from the environment, where nobody can exchange it: put it into a file, see `secrets.key-file`";
            return Err(SealedError::NoKey(how.to_owned()));
        };
        let document = self.read()?;
        if let Some(document) = &document {
            self.verified(document, &keys)?;
        }
        let keys = keys.renewed(&file)?;
        let count = document.as_ref().map_or(0, |document| document.secrets.len());
        if let Some(document) = document {
            self.write(&self.resealed(document, &keys)?)?;
        }
        keys.alone(&file)?;
        Ok(count)
    }

    /// The document under the first key, whichever it was under.
    fn resealed(&self, document: Document, keys: &Keys) -> Result<Document, SealedError> {
        let key = self.verified(&document, keys)?;
        if key.id() == keys.first().id() {
            return Ok(document);
        }
        let mut renewed = Document::new(keys.first());
        for (name, entry) in &document.secrets {
            let value = document.open(key, name);
            let value = value.ok_or_else(|| self.tampered(format!("the secret {name} does not open")))?;
            renewed.set(keys.first(), name, &value, entry.at, &entry.by);
        }
        Ok(renewed)
    }

    fn verified<'k>(&self, document: &Document, keys: &'k Keys) -> Result<&'k Key, SealedError> {
        let key = keys.by_id(&document.key).ok_or_else(|| SealedError::OtherKey {
            path: self.file.clone(),
            sealed: document.key.clone(),
            given: keys.first().id(),
        })?;
        if !document.is_proven(key) {
            return Err(self.tampered("its proof does not fit what is in it".to_owned()));
        }
        Ok(key)
    }

    fn keys(&self) -> Result<Keys, SealedError> {
        Keys::find(self.key_file.as_deref())?.ok_or_else(|| self.no_key())
    }

    fn no_key(&self) -> SealedError {
        let file = self.key_file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        SealedError::NoKey(format!("{file} does not exist; put the key of {} there", self.file.display()))
    }

    fn tampered(&self, what: String) -> SealedError {
        SealedError::Tampered { path: self.file.clone(), what }
    }

    fn read(&self) -> Result<Option<Document>, SealedError> {
        let bytes = match fs::read(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(at("cannot read", &self.file))?,
        };
        let damaged = |problem: String| SealedError::Damaged { path: self.file.clone(), problem };
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if document.version != VERSION {
            return Err(damaged(format!("it is of version {}, and this runward knows {VERSION}", document.version)));
        }
        Ok(Some(document))
    }

    fn write(&self, document: &Document) -> Result<(), SealedError> {
        let mut bytes = serde_json::to_vec_pretty(document).expect("texts and numbers: their JSON cannot fail");
        bytes.push(b'\n');
        replace(&self.file, &bytes, 0o600)?;
        sync_folder(&self.file);
        Ok(())
    }

    /// Held until it is dropped: one changes it at a time.
    fn lock(&self) -> Result<File, SealedError> {
        make_folder(&self.file)?;
        let path = self.file.with_extension("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(at("cannot open", &path))?;
        file.lock().map_err(at("cannot lock", &path))?;
        Ok(file)
    }
}

/// What `Store::set` did besides.
#[derive(Debug)]
pub struct Set {
    pub replaced: bool,
    /// The file of a new key.
    pub created: Option<PathBuf>,
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SealedError {
    move |source| SealedError::Io { what, path: path.to_owned(), source }
}

fn make_folder(path: &Path) -> Result<(), SealedError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at("cannot create", folder))
}

/// Whoever reads it sees the old file or the new one, even after a power cut.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SealedError> {
    make_folder(path)?;
    let draft = path.with_extension("draft");
    let _ = fs::remove_file(&draft); // of somebody who died just here: the lock is ours
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(at("cannot write", path))
}

/// Makes a rename last. Where a file system cannot, it lasts when it lasts.
pub(super) fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &Path) -> Store {
        Store { file: dir.join("secrets.sealed"), key_file: Some(dir.join("config/secrets.key")) }
    }

    fn value(text: &str) -> Value {
        Value::new(text.as_bytes().to_vec())
    }

    #[test]
    fn secrets_are_set_listed_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert!(store.list().unwrap().0.is_empty());
        assert!(store.set("A", &value("opensesame"), 1, "alice").unwrap().created.is_some());
        let again = store.set("A", &value("closesesame"), 2, "bob").unwrap();
        assert!(again.replaced && again.created.is_none());
        assert_eq!(store.get("A").unwrap().bytes(), b"closesesame");
        let (names, proven) = store.list().unwrap();
        assert_eq!((names[0].0.as_str(), names[0].1.by.as_str(), proven), ("A", "bob", true));
        let unknown = store.get("B").unwrap_err().to_string();
        assert!(unknown.contains("there are: A"), "{unknown}");
        store.remove("A").unwrap();
        assert!(matches!(store.remove("A"), Err(SealedError::Unknown { .. })));
    }

    #[test]
    fn a_rotation_seals_everything_under_another_key_and_may_be_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.set("A", &value("opensesame"), 1, "alice").unwrap();
        let (file, before) = (store.key_file.clone().unwrap(), store.read().unwrap().unwrap());
        // It dies after the new key is on disk, beside the old one.
        let keys = store.keys().unwrap().renewed(&file).unwrap();
        assert_eq!(store.get("A").unwrap().bytes(), b"opensesame");
        // It dies after everything is sealed with it.
        store.write(&store.resealed(before.clone(), &keys).unwrap()).unwrap();
        assert_eq!(store.get("A").unwrap().bytes(), b"opensesame");
        assert_eq!(store.rotate().unwrap(), 1);
        assert_eq!(store.get("A").unwrap().bytes(), b"opensesame");
        let (after, keys) = (store.read().unwrap().unwrap(), store.keys().unwrap());
        assert!(after.key != before.key && keys.by_id(&before.key).is_none());
        assert_eq!(after.secrets["A"].by, "alice");
    }

    #[test]
    fn another_key_and_a_change_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.set("A", &value("opensesame"), 1, "alice").unwrap();
        let text = fs::read_to_string(&store.file).unwrap();
        fs::write(&store.file, text.replace("alice", "mallory")).unwrap();
        assert!(matches!(store.get("A"), Err(SealedError::Tampered { .. })));
        assert!(matches!(store.set("B", &value("xyzw"), 1, "bob"), Err(SealedError::Tampered { .. })));
        fs::write(&store.file, text).unwrap();
        fs::remove_file(store.key_file.as_ref().unwrap()).unwrap();
        assert!(
            matches!(store.set("B", &value("xyzw"), 1, "bob"), Err(SealedError::NoKey(_))),
            "no second key is made"
        );
        Keys::create(store.key_file.as_ref().unwrap()).unwrap();
        assert!(matches!(store.get("A"), Err(SealedError::OtherKey { .. })));
    }
}
