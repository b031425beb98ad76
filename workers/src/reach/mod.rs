//! What steps of this machine may reach beyond it, as its configuration says.
//!
//! - [`connections`]: databases, by their names; [`addresses`]: where requests may go; [`Http`]: who they are from and whom
//!   they trust

pub mod addresses;
pub mod connections;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use addresses::Addresses;
use connections::Connections;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reach {
    pub connections: Connections,
    pub http: Http,
}

/// What this machine says about the requests of its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    pub addresses: Addresses,
    /// Certificates of authorities that are trusted, too.
    pub ca_file: Option<PathBuf>,
    /// What it shows to servers that ask who it is, as PEM.
    pub certificate: Option<PathBuf>,
    /// Of the certificate; nobody else may read it.
    pub key: Option<PathBuf>,
}
