//! A notice as JSON, to a URL. Whoever has the secret can tell that it is ours, and that it is new: the signature is over the
//! time and the body (docs/how-to/notifications.md).

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use runward_store::outbox::Taken;
use serde_json::{Value, json};
use sha2::Sha256;

use super::directory::{Given, Webhook};
use super::message::{Words, plain};
use super::send::{ANSWER_MAX, Failed, Secrets, Sender, Sent};
use crate::step::http::post;

/// Of an answer that refuses, in characters.
const ANSWER_CHARS_MAX: usize = 200;

pub(super) fn send(
    hook: &Webhook,
    taken: &Taken,
    words: &Words,
    sender: &Sender,
    secrets: &mut Secrets<'_>,
) -> Result<Sent, Failed> {
    let url = secrets.given("url", &hook.url)?;
    secrets.hide_parts(&url, matches!(hook.url, Given::Secret(_)));
    let body = body(taken, words, &sender.host);
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("idempotency-key".to_owned(), taken.notice.id.clone()),
    ];
    if let Some(secret) = &hook.secret {
        let secret = secrets.get("secret", secret)?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        headers.push(("x-runward-timestamp".to_owned(), at.to_string()));
        headers.push(("x-runward-signature".to_owned(), signature(secret.as_bytes(), at, &body)));
    }
    match post(&url, headers, body, sender.http.clone(), ANSWER_MAX) {
        Err(why) => Err(Failed::Away(why)),
        Ok((status @ 200..=299, _)) => Ok(Sent { answer: format!("HTTP {status}"), missed: None }),
        Ok((status, answer)) => {
            // First hidden, then cut: what is left of a secret would not be known any more.
            let answer: String = secrets.mask(&answer).chars().take(ANSWER_CHARS_MAX).collect();
            let said = if answer.trim().is_empty() { String::new() } else { format!(": {}", answer.trim()) };
            let why = format!("the receiver answered HTTP {status}{said}");
            match status {
                // A receiver that is being set up, or whose key is being changed, says so too.
                401 | 403 | 404 | 408 | 425 | 429 => Err(Failed::Later(why)),
                400..=499 => Err(Failed::Never(why)),
                // What stands before a receiver says so while that is not there.
                502..=504 => Err(Failed::Away(why)),
                _ => Err(Failed::Later(why)),
            }
        }
    }
}

/// The fields of the notice, and what they say to people.
fn body(taken: &Taken, words: &Words, host: &str) -> String {
    let mut body = serde_json::to_value(&taken.notice).unwrap_or(Value::Null);
    for field in body.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        if let Value::String(text) = field {
            *text = plain(text);
        }
    }
    body["host"] = json!(host);
    body["subject"] = json!(words.subject);
    body["text"] = json!(format!("{}\n{}", words.subject, words.text));
    body.to_string()
}

/// HMAC-SHA256 over `TIMESTAMP.BODY`.
fn signature(secret: &[u8], at: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length is one");
    mac.update(format!("{at}.").as_bytes());
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_hmac_of_the_time_and_the_body() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac opensesame
        assert_eq!(
            signature(b"opensesame", 1_700_000_000, "{\"a\":1}"),
            "sha256=5abe8159e02f1ff302a9105edc276ec3508794db021514bfdc95836d646fe459"
        );
    }
}
