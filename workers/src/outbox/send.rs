//! One delivery: the secrets of its channel, the message, and what came back.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use runward_engine::runbook::secrets::{Form, Provider};
use runward_engine::units::format_duration;
use runward_store::outbox::Taken;
use tokio::sync::oneshot;
use url::{Position, Url};

use super::directory::{Channel, Given, Way};
use super::message::words_at_any_rate;
use super::{mail, webhook};
use crate::mask::Mask;
use crate::reach::Http;
use crate::secrets::find::{Place, Wanted, find};

/// What a receiver may take, from the first byte to the last.
pub const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What a request may take, secrets and all, before nobody waits for it any more: less than its lease.
const TRY_MAX: Duration = Duration::from_secs(60);
/// Of what went wrong, in characters.
const ERROR_CHARS_MAX: usize = 500;
/// A shorter part of a secret URL is a word like `hooks`, and no secret.
const PART_BYTES_MIN: usize = 8;

/// It arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What the receiver said.
    pub answer: String,
    /// Of several receivers those that did not take it, and why.
    pub missed: Option<String>,
}

/// Why it did not arrive, as far as anybody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// It reached nobody, for a reason that holds for every message of this channel.
    Away(String),
    /// Its receiver does not take it now.
    Later(String),
    /// The receiver does not want it, or nobody can send it.
    Never(String),
}

/// From where it is sent.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The name of this machine, for people.
    pub host: String,
    pub secrets: Place,
    /// Where requests may go, and whom they trust: as for `http` steps.
    pub http: Http,
}

/// Sends it, and waits for no longer than anything may take. `taken.channel` is the name of `channel`.
pub async fn send(taken: Taken, channel: Channel, sender: Sender) -> Result<Sent, Failed> {
    let patience = TRY_MAX * channel.way.slowness();
    let (tell, told) = oneshot::channel();
    // Not a thread of the runtime, which would keep this process from ending.
    let thread = std::thread::Builder::new().name("notify".to_owned());
    let spawned = thread.spawn(move || tell.send(converse(&taken, &channel, &sender)));
    if let Err(error) = spawned {
        return Err(Failed::Away(format!("no thread can be started: {error}")));
    }
    match tokio::time::timeout(patience, told).await {
        Ok(Ok(sent)) => sent,
        Ok(Err(_)) => Err(Failed::Away("sending it ended without an answer".to_owned())),
        Err(_) => {
            Err(Failed::Away(format!("its receiver did not come to an end within {}", format_duration(patience))))
        }
    }
}

fn converse(taken: &Taken, channel: &Channel, sender: &Sender) -> Result<Sent, Failed> {
    let mut secrets = Secrets { place: &sender.secrets, channel: &taken.channel, values: Vec::new() };
    let words = words_at_any_rate(&taken.notice, channel, &sender.host);
    let sent = match &channel.way {
        Way::Webhook(hook) => webhook::send(hook, taken, &words, sender, &mut secrets),
        Way::Mail(mail) => mail::send(mail, taken, &words, &mut secrets),
    };
    let shown = |text: String| secrets.hide(&text);
    match sent {
        Ok(Sent { answer, missed }) => Ok(Sent { answer: shown(answer), missed: missed.map(shown) }),
        Err(Failed::Away(why)) => Err(Failed::Away(shown(why))),
        Err(Failed::Later(why)) => Err(Failed::Later(shown(why))),
        Err(Failed::Never(why)) => Err(Failed::Never(shown(why))),
    }
}

/// The secrets of a channel, each found when it is needed; nothing that is said of the delivery contains one.
pub(super) struct Secrets<'a> {
    place: &'a Place,
    channel: &'a str,
    values: Vec<String>,
}

impl Secrets<'_> {
    /// `what`: `password`. Where it cannot be had now, it may be another time.
    pub(super) fn get(&mut self, what: &str, provider: &Provider) -> Result<String, Failed> {
        let name = format!("`{what}` of the channel {}", self.channel);
        let wanted = Wanted { name: name.clone(), form: Form::Variable, provider: provider.clone() };
        let given = find(&[wanted], self.place).map_err(Failed::Away)?;
        let value = given.first().map(|given| given.value.line().to_vec()).unwrap_or_default();
        let value = String::from_utf8(value).map_err(|_| Failed::Away(format!("the secret {name} is not UTF-8")))?;
        self.values.push(value.clone());
        Ok(value)
    }

    pub(super) fn given(&mut self, what: &str, given: &Given) -> Result<String, Failed> {
        match given {
            Given::Text(text) => Ok(text.clone()),
            Given::Secret(provider) => self.get(what, provider),
        }
    }

    /// Of a URL what a receiver may say again: the login, and of a secret one everything behind the host.
    pub(super) fn hide_parts(&mut self, url: &str, is_secret: bool) {
        let Ok(url) = Url::parse(url) else { return };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        if let Some(password) = url.password() {
            let login = format!("{}:{}", decoded(url.username()), decoded(password));
            self.values.extend([password.to_owned(), decoded(password), login]);
        }
        if is_secret {
            let segments = url.path_segments().into_iter().flatten();
            let segments = segments.flat_map(|segment| [segment.to_owned(), decoded(segment)]);
            let queried = url.query_pairs().flat_map(|(key, value)| [key.into_owned(), value.into_owned()]);
            let user = [url.username().to_owned(), decoded(url.username()), decoded(url.path())];
            let known = segments.chain(queried).chain(user).filter(|part| part.len() >= PART_BYTES_MIN);
            let parts = [&url[Position::BeforePath..], url.path(), url.query().unwrap_or_default()].map(str::to_owned);
            self.values.extend(parts.into_iter().filter(|part| part.len() > 1).chain(known));
        }
    }

    /// Nothing may be cut off before.
    pub(super) fn mask(&self, text: &str) -> String {
        match Mask::of(self.values.iter().map(String::as_bytes)) {
            Some(mask) => mask.hide(text),
            None => text.to_owned(),
        }
    }

    fn hide(&self, text: &str) -> String {
        super::message::one_line(&self.mask(text)).chars().take(ERROR_CHARS_MAX).collect()
    }
}
