//! What goes wrong with a request, in words that say what to do.

use std::error::Error as _;
use std::io;

/// A line that moves no cursor.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// At most this many bytes from the beginning.
pub(super) fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Why there is no answer. `server`: whom was asked, as `host:port`.
pub(super) fn explain(error: &ureq::Error, server: &str) -> String {
    match error {
        ureq::Error::HostNotFound => unknown_name(server),
        ureq::Error::Timeout(timeout) => {
            let what = match timeout {
                ureq::Timeout::Resolve => "its name was not found in time",
                ureq::Timeout::Connect => "it could not be reached in time (a firewall, or the machine is down?)",
                ureq::Timeout::RecvBody => "the answer did not end in time",
                _ => "it did not answer in time",
            };
            format!("{server}: {what}")
        }
        ureq::Error::Io(error) => explain_io(error, server),
        ureq::Error::Rustls(error) => explain_tls(&error.to_string(), server),
        ureq::Error::ConnectionFailed => format!("{server} could not be reached"),
        other => format!("{server}: {}", line(&other.to_string())),
    }
}

fn unknown_name(server: &str) -> String {
    format!("{server}: this name is not known. Check it, and the name servers of this machine")
}

fn explain_io(error: &io::Error, server: &str) -> String {
    let text = error.to_string();
    let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
        || error.source().is_some_and(|s| s.is::<rustls::Error>());
    match error.kind() {
        _ if tls => explain_tls(&text, server),
        _ if text.contains("lookup address") => unknown_name(server),
        io::ErrorKind::ConnectionRefused => format!("nothing listens at {server} (connection refused)"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => format!("{server} hung up on the request"),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => {
            format!("{server} hung up before its answer was complete")
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("{server} did not answer in time"),
        _ => format!("{server}: {}", line(&text)),
    }
}

fn explain_tls(text: &str, server: &str) -> String {
    if text.contains("InvalidContentType") {
        return format!("{server} does not speak TLS: is it `http://` there, or another port?");
    }
    if !text.contains("certificate") {
        return format!("{server}: no TLS could be agreed upon: {}", line(text));
    }
    let what_to_do = if text.contains("UnknownIssuer") {
        ". Put the certificate of its authority into this machine's store, or name the file in the step: `env: \
         {SSL_CERT_FILE: /path/ca.pem}`"
    } else if text.contains("not valid for name") {
        ". The certificate is for another name: ask by that name"
    } else if text.contains("expired") {
        ". Renew the certificate of the server"
    } else {
        ""
    };
    format!("{server} is not trusted: {}{what_to_do}", line(text.trim_end_matches('.')))
}
