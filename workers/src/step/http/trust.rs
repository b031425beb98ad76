//! Which servers are trusted: the certificates of this machine, as every other program of it sees them.

use std::sync::Arc;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// TLS with the system's store; `SSL_CERT_FILE` and `SSL_CERT_DIR` in the step's `env` say otherwise.
pub(super) fn config() -> Result<TlsConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "no trusted certificates were found{why}: install the package ca-certificates, or name a file in the step: \
             `env: {{SSL_CERT_FILE: /path/ca.pem}}`"
        ));
    }
    let certificates: Vec<Certificate<'static>> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}
