//! The URL of a Redis: it may hold a password. Nothing here prints it whole.

use std::fmt;

use runward_workers::queue::redis::{Address, BadAddress};

#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Whether it is one is found out by whoever uses it: an error that shows the place in the file would show the password.
    pub fn new(url: &str) -> RedisUrl {
        RedisUrl(url.to_owned())
    }

    pub fn address(&self) -> Result<Address, BadAddress> {
        Address::parse(&self.0)
    }

    /// For people.
    pub fn place(&self) -> String {
        self.address().map_or_else(|error| format!("({error})"), |address| address.to_string())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_neither_shown_nor_printed() {
        let url = RedisUrl::new("redis://ops:s3cret@cache:6379");
        assert_eq!((url.place().as_str(), format!("{url:?}").as_str()), ("redis://cache:6379", "redis://cache:6379"));
        let wrong = RedisUrl::new("rediss//ops:s3cret@cache");
        assert!(!wrong.place().contains("s3cret"), "{}", wrong.place());
    }
}
