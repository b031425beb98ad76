//! A notice as a mail. Its Message-ID is made of the id of the notice, so that one that comes twice can be told.

use std::io;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as From, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use runward_store::outbox::Taken;

use super::directory::{Mail, Tls};
use super::message::Words;
use super::send::{ANSWER_MAX, Failed, Secrets, Sent};

/// Whom a mail is from when it is not from this machine's name.
const DOMAIN: &str = "runward.invalid";
const GOODBYE: Duration = Duration::from_secs(1);
/// What a server may take to accept a mail. (RFC 5321 asks for more, and a dead server is to be noticed.)
const ACCEPTED_MAX: Duration = Duration::from_secs(240);
/// For so many tries all wait for one who is refused for now; then those who are accepted are told without.
const TRIES_FOR_ALL: u32 = 4;

pub(super) fn send(mail: &Mail, taken: &Taken, words: &Words, secrets: &mut Secrets<'_>) -> Result<Sent, Failed> {
    let message = message(mail, taken, words).map_err(Failed::Never)?;
    hand_over(mail, &message, taken.tries, secrets)
}

/// What of an address is wrong, if anything.
pub fn is_address(text: &str) -> Result<(), String> {
    text.parse::<Mailbox>().map(drop).map_err(|error| format!("`{text}` is no mail address ({error})"))
}

fn message(mail: &Mail, taken: &Taken, words: &Words) -> Result<Message, String> {
    let address =
        |text: &str| text.parse::<Mailbox>().map_err(|error| format!("`{text}` is no mail address ({error})"));
    let from = address(&mail.from)?;
    let domain = if from.email.domain().is_empty() { DOMAIN } else { from.email.domain() };
    let id = format!("<{}.{}@{domain}>", taken.notice.id, taken.channel);
    let mut message = Message::builder()
        .from(from.clone())
        .subject(&words.subject)
        .message_id(Some(id))
        .date_now()
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(address(to)?);
    }
    for (name, value) in [
        // No out-of-office answer to a machine (RFC 3834).
        ("Auto-Submitted", "auto-generated"),
        ("X-Runward-Id", taken.notice.id.as_str()),
        ("X-Runward-Event", taken.notice.kind.as_str()),
        ("X-Runward-Severity", taken.notice.severity.as_str()),
    ] {
        let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|error| error.to_string())?;
        message = message.raw_header(HeaderValue::new(name, value.to_owned()));
    }
    message.body(words.text.clone()).map_err(|error| error.to_string())
}

fn hand_over(mail: &Mail, message: &Message, tries: u32, secrets: &mut Secrets<'_>) -> Result<Sent, Failed> {
    let tls = match mail.tls {
        Tls::None => None,
        _ => Some(TlsParameters::new(mail.server.clone()).map_err(|error| Failed::Away(error.to_string()))?),
    };
    let login = match &mail.login {
        Some(login) => {
            let user = secrets.given("user", &login.user)?;
            Some(Credentials::new(user, secrets.get("password", &login.password)?))
        }
        None => None,
    };
    converse(mail, message, tries, tls.as_ref(), login.as_ref(), ANSWER_MAX)
}

fn converse(
    mail: &Mail,
    message: &Message,
    tries: u32,
    tls: Option<&TlsParameters>,
    login: Option<&Credentials>,
    answer_max: Duration,
) -> Result<Sent, Failed> {
    let failed = |error| explain(mail, &error);
    let (server, me) = ((mail.server.as_str(), mail.port.unwrap_or(mail.tls.port())), me());
    let wrapper = tls.filter(|_| mail.tls == Tls::Implicit);
    let mut connection = SmtpConnection::connect(server, Some(answer_max), &me, wrapper, None).map_err(failed)?;
    if let Some(tls) = tls.filter(|_| mail.tls == Tls::Starttls) {
        connection.starttls(tls, &me).map_err(failed)?;
    }
    if let Some(login) = login {
        connection.auth(DEFAULT_MECHANISMS, login).map_err(|error| match failed(error) {
            // It says nothing of the mail, and the password may be right tomorrow.
            Failed::Never(why) | Failed::Later(why) => Failed::Later(format!("the login was refused: {why}")),
            Failed::Away(why) => Failed::Away(why),
        })?;
    }
    // A server that scans a mail before it accepts it takes its time, and whoever hangs up before that sends it again.
    let _ = connection.set_timeout(Some(ACCEPTED_MAX));
    let missed = address(mail, message, tries, &mut connection)?;
    connection.command(Data).map_err(failed)?;
    let answer = connection.message(&message.formatted()).map_err(failed)?;
    // It is accepted: whether the server says goodbye does not matter any more.
    let _ = connection.set_timeout(Some(GOODBYE));
    let _ = connection.quit();
    let line = answer.message().next();
    let answer = line.map_or_else(|| answer.code().to_string(), |line| format!("{} {line}", answer.code()));
    Ok(Sent { answer, missed })
}

/// Says whom it is from and for. Returns who is not to get it, and why: one address that is gone must not keep an alarm from
/// all others.
fn address(
    mail: &Mail,
    message: &Message,
    tries: u32,
    connection: &mut SmtpConnection,
) -> Result<Option<String>, Failed> {
    let failed = |error| explain(mail, &error);
    let envelope = message.envelope();
    let addresses = envelope.from().into_iter().chain(envelope.to());
    let mut international = addresses.filter(|address| !address.to_string().is_ascii());
    let parameters = match international.next() {
        Some(address) if !connection.server_info().supports_feature(Extension::SmtpUtfEight) => {
            return Err(Failed::Never(format!("{}: it knows no addresses like {address} (SMTPUTF8)", mail.server)));
        }
        Some(_) => vec![MailParameter::SmtpUtfEight],
        None => Vec::new(),
    };
    connection.command(From::new(envelope.from().cloned(), parameters)).map_err(failed)?;
    let (mut refused, mut for_now) = (Vec::new(), false);
    for to in envelope.to() {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).map_err(failed) {
            Ok(_) => {}
            Err(Failed::Away(why)) => return Err(Failed::Away(why)),
            Err(Failed::Later(why)) => {
                for_now = true;
                refused.push(format!("{to}: {why}"));
            }
            Err(Failed::Never(why)) => refused.push(format!("{to}: {why}")),
        }
    }
    let nobody = refused.len() == envelope.to().len();
    match (refused.is_empty(), refused.join("; ")) {
        (true, _) => Ok(None),
        (_, why) if for_now && (nobody || tries < TRIES_FOR_ALL) => Err(Failed::Later(why)),
        (_, why) if nobody => Err(Failed::Never(why)),
        (_, why) => Ok(Some(why)),
    }
}

/// The name of this machine, as it introduces itself.
fn me() -> ClientId {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| name.is_ascii() && !name.is_empty()).map_or_else(ClientId::default, ClientId::Domain)
}

/// A refusal with a code from 500 on is for good, one with another code for now; without a code nobody has answered.
fn explain(mail: &Mail, error: &Error) -> Failed {
    let server = format!("{}:{}", mail.server, mail.port.unwrap_or(mail.tls.port()));
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let text = match inner.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => "it did not answer in time".to_owned(),
            _ => inner.to_string(),
        };
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        source = inner.source();
    }
    let why = format!("{server}: {said}{}", advice(&said));
    match error.status() {
        _ if error.is_permanent() => Failed::Never(why),
        Some(_) => Failed::Later(why),
        None => Failed::Away(why),
    }
}

/// What to do about a server that is set up in another way.
fn advice(said: &str) -> &'static str {
    match said {
        _ if said.contains("InvalidContentType") => {
            ": it does not begin with TLS; `tls` is `implicit` for port 465 and `starttls` for 587"
        }
        _ if said.contains("STARTTLS is not supported") => {
            ": `tls = \"implicit\"` (port 465) may be what it has; with `none` nothing is encrypted"
        }
        _ if said.contains("No compatible authentication") => {
            ": it takes no login there: take the port where it does, or leave `user` and `password` out"
        }
        _ if said.contains("UnknownIssuer") => {
            ": put the certificate of its authority into this machine's store, or name its file in SSL_CERT_FILE"
        }
        _ if said.contains("incomplete response") => ": it hung up in the middle of it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_says_nothing_did_not_answer_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mail = Mail {
            server: "127.0.0.1".to_owned(),
            port: Some(silent.local_addr().unwrap().port()),
            from: "a@example.com".to_owned(),
            to: vec!["b@example.com".to_owned()],
            tls: Tls::None,
            login: None,
        };
        let message = Message::builder()
            .from(mail.from.parse().unwrap())
            .to(mail.to[0].parse().unwrap())
            .body(String::new())
            .unwrap();
        match converse(&mail, &message, 1, None, None, Duration::from_millis(50)) {
            Err(Failed::Away(why)) => assert!(why.ends_with("it did not answer in time"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
