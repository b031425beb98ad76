//! The pinned files of a run, laid out where its steps run.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use runward_engine::plan::Definition;
use runward_engine::plan::definition::sha256;
use runward_engine::run::{RunId, RunState};
use runward_engine::runbook::templates::{Templates, read, renders};
use runward_store::{Ledger, LedgerError};

use crate::home::{Home, HomeError, make_dir};

/// Why the files of a run cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Makes the folders of a run and fills `files/` from the ledger. Complete or absent: it appears under its name by a
/// rename after it was synced, so a second driver finds it whole, even after a power cut, and leaves it alone.
pub async fn materialise(
    home: &Home,
    ledger: &dyn Ledger,
    run: &RunId,
    definition_hash: &str,
) -> Result<(), FilesError> {
    make_dir(&home.workspace(run))?;
    make_dir(&home.attempts(run))?;
    let target = home.files(run);
    if target.is_dir() {
        return Ok(());
    }
    let definition: Definition = ledger.definition(definition_hash).await?;
    if definition.files.is_empty() {
        return Ok(make_dir(&target)?);
    }
    let scratch = home.run(run).join("files.tmp");
    if scratch.is_dir() {
        fs::remove_dir_all(&scratch).map_err(|error| HomeError::new("cannot clear the folder", &scratch, error))?;
    }
    make_dir(&scratch)?;
    for file in &definition.files {
        let path = scratch.join(&file.path);
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        let mode = if file.executable { 0o700 } else { 0o600 };
        write(&path, &ledger.blob(&file.sha256).await?, mode)?;
        sync(&path)?;
    }
    fs::rename(&scratch, &target).map_err(|error| HomeError::new("cannot create the folder", &target, error))?;
    Ok(())
}

/// The text of a script as a file. Its name is its content, so that retries and items share one. What lies there already
/// is compared: a power cut may have left it empty, and an empty script would succeed; a step may have changed it.
pub(super) fn materialise_script(home: &Home, run: &RunId, text: &str) -> Result<PathBuf, HomeError> {
    let path = home.script(run, &sha256(text.as_bytes())[..16]);
    if !fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
        let draft = path.with_extension("draft");
        if let Err(error) = write(&draft, text.as_bytes(), 0o400) {
            if error.source.kind() != ErrorKind::AlreadyExists {
                return Err(error);
            }
            let _ = fs::remove_file(&draft); // of a driver that died just here: there is one driver at a time
            write(&draft, text.as_bytes(), 0o400)?;
        }
        fs::rename(&draft, &path).map_err(|error| HomeError::new("cannot write the file", &path, error))?;
    }
    Ok(path)
}

/// The templates of the run's `render` steps, from its definition: the copies on disk are within reach of its steps. One
/// that cannot be read is left out; the step that wants it says so.
pub async fn templates(ledger: &dyn Ledger, state: &RunState) -> Result<Templates, FilesError> {
    let mut templates = Templates::new();
    if renders(&state.runbook).next().is_none() {
        return Ok(templates);
    }
    let definition: Definition = ledger.definition(&state.definition).await?;
    for (_, _, render) in renders(&state.runbook) {
        let path = &render.template.value;
        let pinned = definition.files.iter().find(|file| file.path == *path);
        if let Some(file) = pinned.filter(|_| !templates.contains_key(path))
            && let Ok(document) = read(&ledger.blob(&file.sha256).await?)
        {
            templates.insert(path.clone(), document);
        }
    }
    Ok(templates)
}

fn sync(path: &Path) -> Result<(), HomeError> {
    let synced = fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| HomeError::new("cannot sync the file", path, error))
}

/// Writes a new file with this mode.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), HomeError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(|error| HomeError::new("cannot write the file", path, error))
}
