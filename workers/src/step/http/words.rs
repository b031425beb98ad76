//! What goes wrong with a request, in words that say what to do; and what of it may be printed.

use std::error::Error as _;
use std::io;

use runward_engine::bind::url::{HIDDEN, encoded};

/// A shorter sensitive value cannot be told from other text, in bytes.
const HIDDEN_BYTES_MIN: usize = 4;

/// Sensitive values, which nothing that is printed may contain.
pub(super) struct Mask {
    /// Longest first, so that none leaves a tail of another.
    values: Vec<String>,
}

impl Mask {
    pub(super) fn new(hidden: &[String]) -> Mask {
        let json = |value: &String| serde_json::to_string(value).map(|text| text[1..text.len() - 1].to_owned());
        let forms = |value: &String| [value.clone(), encoded(value), json(value).unwrap_or_default()];
        let mut values: Vec<String> = hidden.iter().flat_map(forms).filter(|it| it.len() >= HIDDEN_BYTES_MIN).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Mask { values }
    }

    pub(super) fn hide(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, value| text.replace(value, HIDDEN))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sensitive_is_hidden_in_every_form_it_may_come_back_in() {
        let mask = Mask::new(&["pass".into(), "pass word/\"".into(), "abc".into()]);
        assert_eq!(
            mask.hide("pass word/\" pass%20word%2F%22 pass word/\\\" password abc"),
            "(sensitive) (sensitive) (sensitive) (sensitive)word abc"
        );
    }
}
