//! A database that is away for a while, for those who only look on: what they look at goes on without them.

use std::time::{Duration, Instant};

use runward_store::LedgerError;

/// How long somebody goes on looking. A restart takes seconds, a failover perhaps a minute.
const AWAY_MAX: Duration = Duration::from_secs(300);

#[derive(Default)]
pub struct Away {
    since: Option<Instant>,
}

impl Away {
    /// What is to be said about this error, once for each time the database is away. It comes back where there is no
    /// sense in looking any longer.
    pub fn trouble(&mut self, error: LedgerError) -> Result<Option<String>, LedgerError> {
        match self.since {
            _ if !error.passes() => Err(error),
            Some(since) if since.elapsed() > AWAY_MAX => Err(error),
            Some(_) => Ok(None),
            None => {
                self.since = Some(Instant::now());
                Ok(Some(format!("{error}; what runs goes on, and this goes on looking")))
            }
        }
    }

    /// It was asked, and has answered.
    pub fn back(&mut self) -> Option<String> {
        let since = self.since.take()?;
        Some(format!("the database is back after {} s", since.elapsed().as_secs()))
    }

    pub fn is_away(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runward_store::{ServerError, Trouble};

    fn unreachable() -> LedgerError {
        let (place, message) = ("ops@db/runward".to_owned(), "connection refused".to_owned());
        LedgerError::Server(ServerError { place, trouble: Trouble::Unreachable, message })
    }

    #[test]
    fn an_outage_is_told_once_and_so_is_its_end() {
        let mut away = Away::default();
        assert!(away.back().is_none());
        assert!(away.trouble(unreachable()).unwrap().unwrap().contains("goes on"));
        assert!(away.trouble(unreachable()).unwrap().is_none());
        assert!(away.back().unwrap().contains("is back"));
        assert!(away.trouble(unreachable()).unwrap().is_some());
        assert!(away.trouble(LedgerError::Other("no".into())).is_err());
    }
}
