//! Where the server is: a URL, read with care, because it may hold a password.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use super::trouble::{ServerError, Trouble};

/// The server gives up on a statement, on a lock, and on a transaction whose client is silent, after so long.
pub(super) const STATEMENT: Duration = Duration::from_secs(5);
const LOCK: Duration = Duration::from_secs(2);
const SILENT_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// What a URL may say after its `?`. sqlx passes over what it does not know.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

pub(super) struct Address {
    pub options: PgConnectOptions,
    /// For people: `user@host:port/database`, never the password.
    pub place: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database`.
    pub(super) fn parse(url: &str) -> Result<Address, ServerError> {
        let wrong =
            |message: String| ServerError { place: "the database URL".to_owned(), trouble: Trouble::Address, message };
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(wrong("it does not begin with `postgres://`".to_owned()));
        }
        let said =
            url.split_once('?').map_or("", |(_, parameters)| parameters).split('&').filter(|one| !one.is_empty());
        let mut names = said.map(|one| one.split('=').next().unwrap_or_default());
        if let Some(unknown) = names.find(|name| !PARAMETERS.contains(name) && !name.starts_with("options[")) {
            return Err(wrong(format!("it has a parameter `{unknown}`, which means nothing here")));
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| wrong(in_words(error)))?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("runward"),
        };
        let place = place(&options);
        let milliseconds = |limit: Duration| limit.as_millis().to_string();
        let options = options.options([
            ("statement_timeout", milliseconds(STATEMENT)),
            ("lock_timeout", milliseconds(LOCK)),
            ("idle_in_transaction_session_timeout", milliseconds(SILENT_IN_TRANSACTION)),
            // A plan of ours takes as long to make as to carry out, and no value makes another one better.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
        ]);
        Ok(Address { options, place })
    }
}

fn in_words(error: sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn place(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    format!("{user}@{host}/{}", options.get_database().unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Address::parse(url).err().expect("it is refused").to_string()
    }

    #[test]
    fn people_see_where_it_is_and_never_the_password() {
        let address = Address::parse("postgres://ops:s3cret%21@db.example:5433/runward?sslmode=require").unwrap();
        assert_eq!(address.place, "ops@db.example:5433/runward");
        let address = Address::parse("postgresql:///runward?host=/run/postgresql&user=ops&password=s3cret").unwrap();
        assert_eq!(address.place, "ops@/run/postgresql/runward");
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for url in
            ["mysql://u:s3cret@h/d", "s3cret", "postgres://u:s3cret@h:70000/d", "postgres://u@h/d?pasword=s3cret"]
        {
            let said = refused(url);
            assert!(!said.contains("s3cret") && said.contains("database URL"), "{said}");
        }
        assert!(refused("postgres://u@h/d?pasword=x").contains("`pasword`"));
    }
}
