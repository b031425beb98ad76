//! The sealed file of this machine, and whether its key opens it.

use runward_workers::secrets::sealed::Store;

use super::check::Check;
use crate::text;

const NAME: &str = "secrets";

/// `None`: nothing is sealed here.
pub fn secrets(store: &Store) -> Option<Check> {
    if matches!(store.file.try_exists(), Ok(false)) {
        return None;
    }
    Some(match store.list() {
        Ok((sealed, true)) => Check::ok(NAME, format!("{} sealed, and the key opens the file", count(sealed.len()))),
        Ok((sealed, false)) => Check::fail(
            NAME,
            format!("{} sealed in {}, and their key is not here", count(sealed.len()), store.file.display()),
            "set `secrets.key-file` in runward.toml, or RUNWARD_SECRETS_KEY_FILE, to the file with the key: steps that need them fail",
        ),
        Err(error) => Check::fail(NAME, error.to_string(), "steps that need a sealed secret fail until this is mended"),
    })
}

fn count(secrets: usize) -> String {
    text::count(secrets as u64, "secret")
}
