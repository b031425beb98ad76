//! Names become addresses once, here, and the connection goes to one of those that were looked at: no second answer of a
//! name server can lead elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::reach::addresses::Addresses;

/// What the error of a refusal says inside of the client's own.
const REFUSED: &str = "refused by the configuration of this machine";

#[derive(Debug)]
pub(super) struct Allowed {
    addresses: Addresses,
    system: System,
    /// Why the last name led nowhere.
    refusal: std::sync::Arc<Refusal>,
}

struct System(DefaultResolver);

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("System")
    }
}

/// Left behind for whoever explains the error.
#[derive(Debug, Default)]
pub(super) struct Refusal(Mutex<Option<String>>);

impl Refusal {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().ok()?.take()
    }
}

impl Allowed {
    pub(super) fn new(addresses: Addresses) -> (Allowed, std::sync::Arc<Refusal>) {
        let refusal = std::sync::Arc::new(Refusal::default());
        (Allowed { addresses, system: System(DefaultResolver::default()), refusal: refusal.clone() }, refusal)
    }

    /// Those that are open; `Err`: why none is.
    fn open(&self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let (mut open, mut why) = (Vec::new(), String::new());
        for address in found {
            match self.addresses.refusal(address.ip()) {
                None => open.push(address),
                Some(refusal) => why = refusal,
            }
        }
        if open.is_empty() { Err(why) } else { Ok(open) }
    }
}

impl Resolver for Allowed {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.0.resolve(uri, config, timeout)?;
        match self.open(found.iter().copied()) {
            Ok(open) => {
                let mut result = self.empty();
                open.into_iter().for_each(|address| result.push(address));
                Ok(result)
            }
            Err(why) => {
                if let Ok(mut refusal) = self.refusal.0.lock() {
                    *refusal = Some(why);
                }
                Err(ureq::Error::Other(REFUSED.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_addresses_only_those_that_are_open_are_used() {
        let (allowed, _) = Allowed::new(Addresses::default());
        let found = |texts: &[&str]| allowed.open(texts.iter().map(|text| text.parse().unwrap()));
        assert_eq!(found(&["169.254.169.254:80", "127.0.0.1:80"]), Ok(vec!["127.0.0.1:80".parse().unwrap()]));
        assert!(found(&["169.254.169.254:80", "[fe80::1]:80"]).unwrap_err().contains("`http.allow`"));
    }
}
