//! Which servers are trusted: the certificates of this machine, as every other program of it sees them, and those that its
//! configuration adds; and who we are, where it says so.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::reach::Http;
use crate::secrets::find::read_key;

/// TLS with the system's store; `SSL_CERT_FILE` and `SSL_CERT_DIR` in the step's `env` say otherwise. `named`: the server is
/// the one that the author names, and may know who we are.
pub(super) fn config(machine: &Http, named: bool) -> Result<TlsConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut trusted: Vec<Certificate<'static>> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    if let Some(file) = &machine.ca_file {
        trusted.extend(certificates(file, "http.ca-file")?);
    }
    if trusted.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "no trusted certificates were found{why}: install the package ca-certificates, or name a file in the step: \
             `env: {{SSL_CERT_FILE: /path/ca.pem}}`"
        ));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&trusted))
        .client_cert(if named { identity(machine)? } else { None })
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

fn identity(machine: &Http) -> Result<Option<ClientCert>, String> {
    let (certificate, key) = match (&machine.certificate, &machine.key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        _ => {
            return Err(
                "`http.certificate` and `http.key` of this machine belong together: set both, or neither".to_owned()
            );
        }
    };
    let chain = certificates(certificate, "http.certificate")?;
    let wrong = |why: String| format!("`http.key` of this machine, the file {}: {why}", key.display());
    let pem = read_key(key).map_err(wrong)?;
    let key = PrivateKey::from_pem(pem.bytes()).map_err(|_| wrong("it holds no key in PEM".to_owned()))?;
    Ok(Some(ClientCert::new_with_certs(&chain, key)))
}

fn certificates(file: &Path, setting: &str) -> Result<Vec<Certificate<'static>>, String> {
    let wrong = |why: String| format!("`{setting}` of this machine, the file {}: {why}", file.display());
    let pem = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let found = parse_pem(&pem).filter_map(Result::ok).filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() { Err(wrong("it holds no certificate in PEM".to_owned())) } else { Ok(found) }
}
