//! The URL of a database: the one setting that may hold a password. Nothing here prints it whole.

use std::fmt;

use runward_store::PostgresLedger;

#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Whether it is one is found out by whoever uses it: an error that shows the place in the file would show the password.
    pub fn new(url: &str) -> DatabaseUrl {
        DatabaseUrl(url.to_owned())
    }

    /// With the password: for connecting.
    pub fn whole(&self) -> &str {
        &self.0
    }

    /// For people.
    pub fn place(&self) -> String {
        PostgresLedger::place_of(&self.0).unwrap_or_else(|error| format!("({})", error.message))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.place())
    }
}

/// The text of a configuration with every password of a URL in it made unreadable, byte for byte: for showing a place in it.
pub fn concealed(source: &str) -> String {
    let mut shown = Vec::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        match line.contains("://") {
            true => shown
                .extend(line.bytes().map(|byte| if byte.is_ascii_whitespace() || byte == b'=' { byte } else { b'*' })),
            false => shown.extend(line.bytes()),
        }
    }
    String::from_utf8(shown).expect("whole lines are replaced by ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_neither_shown_nor_printed() {
        let url = DatabaseUrl::new("postgres://ops:s3cret@db:5432/runward");
        assert_eq!((url.place().as_str(), format!("{url:?}").as_str()), ("ops@db:5432/runward", "ops@db:5432/runward"));
        let wrong = DatabaseUrl::new("postgre://ops:s3cret@db/runward");
        assert!(!wrong.place().contains("s3cret"), "{}", wrong.place());
        let source = "state = \"备份\"\n[database]\nurl = \"postgres://ops:s3cret 密@db/x\"\nulr = 1\n";
        let shown = concealed(source);
        assert_eq!(shown.len(), source.len());
        assert!(!shown.contains("s3cret") && shown.contains("备份") && shown.ends_with("ulr = 1\n"), "{shown}");
    }
}
