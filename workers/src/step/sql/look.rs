//! A look at a database as a step would find it, for those who look after this machine.

use crate::reach::connections::{Address, Target};

use super::{Hidden, postgres, sqlite, words};

/// What a database says of itself, and of us.
pub struct Seen {
    pub version: String,
    pub superuser: bool,
    /// Over a network, and not encrypted.
    pub in_the_clear: bool,
}

/// Changes nothing. The error says what to do.
pub async fn look(target: &Target, password: Option<&str>) -> Result<Seen, String> {
    let seen = match &target.address {
        Address::Postgres { url, .. } => postgres::look(url, password).await,
        Address::Sqlite { path, create: true } if matches!(path.try_exists(), Ok(false)) => {
            let version = "not there yet, the first step makes it".to_owned();
            Ok(Seen { version, superuser: false, in_the_clear: false })
        }
        Address::Sqlite { path, .. } => sqlite::look(path, target.read_only).await,
    };
    let hidden = Hidden::new(&password.map(str::to_owned).into_iter().collect::<Vec<_>>());
    seen.map_err(|why| words::line(&hidden.hide(&why)))
}
