//! One request over a connection of its own. Nothing is sent twice by itself, and nothing but the plainest headers is
//! sent to a server that the author did not name.

use std::cell::OnceCell;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use percent_encoding::percent_decode_str;
use runward_engine::limits;
use runward_engine::run::request::HttpRequest;
use serde_json::{Map, Value};
use ureq::Agent;
use ureq::http::{HeaderMap, Request};
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::DefaultConnector;
use url::{Host, Url};

use super::resolve::{Allowed, Refusal};
use super::{Hidden, say, trust, words};
use crate::reach::Http;

/// Headers of the author that follow a redirect to another server: they say what is wanted, and nothing of who asks.
const HARMLESS_HEADERS: [&str; 3] = ["accept", "accept-language", "user-agent"];
/// Tells a server that two requests are one: sent with what changes something, where the author sends none.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const USER_AGENT: &str = concat!("runward/", env!("CARGO_PKG_VERSION"));

pub(super) struct Client<'r> {
    url: Url,
    headers: Vec<(String, String)>,
    mask: &'r Hidden,
    /// What this machine says about requests.
    machine: Http,
    /// Read when it is first needed: it costs more than a whole plain request.
    tls: OnceCell<TlsConfig>,
    /// The same without who we are: for a server that the author did not name.
    tls_of_nobody: OnceCell<TlsConfig>,
    /// An answer counts by its status, whatever becomes of its body.
    by_status: bool,
}

pub(super) struct Response {
    pub status: u16,
    reason: &'static str,
    /// By their names in lower case; a list where one came several times.
    pub headers: Map<String, Value>,
    pub body: Body,
}

#[derive(Default)]
pub(super) struct Body {
    pub text: String,
    /// There was more.
    pub is_cut: bool,
}

impl Response {
    pub(super) fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason).trim_end().to_owned()
    }
}

impl<'r> Client<'r> {
    pub(super) fn new(request: &HttpRequest, machine: Http, mask: &'r Hidden) -> Result<Client<'r>, String> {
        let mut url = Url::parse(&request.url).map_err(|error| format!("this is no URL: {error}"))?;
        let mut headers = request.headers.clone();
        if let Some(credentials) = credentials(&url)
            && !headers.iter().any(|(name, _)| name == "authorization")
        {
            headers.push(("authorization".to_owned(), credentials));
        }
        // Neither is part of a request.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        if !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS")
            && !headers.iter().any(|(name, _)| name == IDEMPOTENCY_KEY)
        {
            headers.extend(idempotency_key().map(|key| (IDEMPOTENCY_KEY.to_owned(), key)));
        }
        let (tls, tls_of_nobody) = (OnceCell::new(), OnceCell::new());
        Ok(Client { url, headers, mask, machine, tls, tls_of_nobody, by_status: false })
    }

    pub(super) fn by_status(self) -> Client<'r> {
        Client { by_status: true, ..self }
    }

    /// Sends the request, follows where the answer points if it may, and reads the answer.
    pub(super) fn send(&self, request: &HttpRequest, cap: Option<Duration>) -> Result<Response, String> {
        let start = std::time::Instant::now();
        let (mut url, mut headers) = (self.url.clone(), self.headers.clone());
        let follows = matches!(request.method.as_str(), "GET" | "HEAD") && !request.expect.wants_redirect();
        for _ in 0..=limits::HTTP_REDIRECTS_MAX {
            let left = cap.map(|cap| cap.saturating_sub(start.elapsed()).max(Duration::from_millis(1)));
            let response = self.one(request, &url, &headers, left)?;
            let location = response.headers.get("location").and_then(Value::as_str).filter(|_| follows);
            let Some(location) = location.filter(|_| matches!(response.status, 301 | 302 | 303 | 307 | 308)) else {
                return Ok(response);
            };
            let next = redirect(&url, location, self.mask)?;
            if next.origin() != url.origin() {
                headers.retain(|(name, _)| HARMLESS_HEADERS.contains(&name.as_str()));
            }
            if request.until_ms.is_none() {
                let shown = words::line(&self.mask.hide(next.as_str()));
                say(&format!("{}: to {shown}", response.status_line()));
            }
            url = next;
        }
        Err(format!("more than {} redirects, one after the other", limits::HTTP_REDIRECTS_MAX))
    }

    fn one(
        &self,
        request: &HttpRequest,
        url: &Url,
        headers: &[(String, String)],
        cap: Option<Duration>,
    ) -> Result<Response, String> {
        let server = server(url);
        // Behind a proxy nobody here resolves anything: what is written out is known all the same.
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        if let Some(why) = address.and_then(|address| self.machine.addresses.refusal(address)) {
            return Err(format!("{server}: {why}"));
        }
        let explain = |error: &ureq::Error| self.mask.hide(&words::explain(error, &server));
        let (agent, refusal) = self.agent(url, cap)?;
        let mut builder = Request::builder().method(request.method.as_str()).uri(url.as_str());
        for (name, value) in headers {
            builder = builder.header(name, value.as_bytes());
        }
        let broken = |error: ureq::http::Error| format!("this request cannot be made: {error}");
        let answer = match &request.body {
            Some(body) => agent.run(builder.body(body.as_str()).map_err(broken)?),
            None if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") => {
                agent.run(builder.body("").map_err(broken)?)
            }
            None => agent.run(builder.body(()).map_err(broken)?),
        };
        let refused =
            |error: &ureq::Error| refusal.take().map_or_else(|| explain(error), |why| format!("{server}: {why}"));
        let answer = answer.map_err(|error| refused(&error))?;
        let (parts, mut body) = answer.into_parts();
        let whole = request.expect.reads_body();
        let is_enough = self.by_status && parts.status.is_success();
        let body = if is_enough { Ok(Body::default()) } else { read(body.as_reader(), whole) };
        let body = body.or_else(|problem| if self.by_status { Ok(Body::default()) } else { Err(problem) });
        let body = body.map_err(|problem| match problem {
            Unread::TooLarge => {
                let max = runward_engine::units::format_size(limits::HTTP_BODY_BYTES_MAX as u64);
                format!("the answer is larger than {max}, so it cannot be looked into")
            }
            Unread::Broken(error, bytes) => {
                format!("{} (after {bytes} bytes of its answer)", explain(&ureq::Error::from(error)))
            }
        })?;
        let reason = parts.status.canonical_reason().unwrap_or_default();
        Ok(Response { status: parts.status.as_u16(), reason, headers: map(&parts.headers), body })
    }

    /// A new one for each request: a connection that is used again may be dead, and then nobody knows what arrived.
    fn agent(&self, url: &Url, cap: Option<Duration>) -> Result<(Agent, Arc<Refusal>), String> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .allow_non_standard_methods(true)
            .user_agent(USER_AGENT)
            .timeout_connect(Some(Duration::from_millis(limits::HTTP_CONNECT_MS_MAX)))
            .timeout_global(cap);
        if url.scheme() == "https" {
            let ours = url.origin() == self.url.origin();
            let tls = if ours { &self.tls } else { &self.tls_of_nobody };
            if tls.get().is_none() {
                let _ = tls.set(trust::config(&self.machine, ours)?);
            }
            config = config.tls_config(tls.get().cloned().unwrap_or_default());
        }
        let (allowed, refusal) = Allowed::new(self.machine.addresses.clone());
        Ok((Agent::with_parts(config.build(), DefaultConnector::default(), allowed), refusal))
    }
}

/// One for each attempt, the same however often it is sent: run, step, attempt.
fn idempotency_key() -> Option<String> {
    let of = |name: &str| std::env::var(name).ok();
    Some(format!("{}.{}.{}", of("RUNWARD_RUN_ID")?, of("RUNWARD_STEP")?, of("RUNWARD_FENCE")?))
}

/// `user:password@` of a URL as the header it stands for.
fn credentials(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut both = decoded(url.username());
    both.push(b':');
    both.extend(decoded(url.password().unwrap_or_default()));
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both)))
}

/// `host:port`, for people.
fn server(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// Where an answer points: another page of the web, and never from https down to http.
fn redirect(from: &Url, location: &str, mask: &Hidden) -> Result<Url, String> {
    let shown = mask.hide(location);
    let refused = |why: &str| format!("the answer points to {}, {why}", words::line(words::head(&shown, 200)));
    let mut next = from.join(location).map_err(|_| refused("which is no URL"))?;
    match (from.scheme(), next.scheme()) {
        ("https", "http") => return Err(refused("which is not encrypted: it is not followed")),
        (_, "http" | "https") => {}
        _ => return Err(refused("which is not followed: only http and https are")),
    }
    next.set_fragment(None);
    let _ = next.set_username(""); // a server does not choose who we are
    let _ = next.set_password(None);
    Ok(next)
}

fn map(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let text =
            |value: &ureq::http::HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut values: Vec<Value> = headers.get_all(name).iter().map(text).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        map.insert(name.as_str().to_owned(), value);
    }
    map
}

enum Unread {
    TooLarge,
    /// And how many bytes had come.
    Broken(std::io::Error, usize),
}

/// Reads as much of a body as is needed: all of it where it is to be looked into, else what an output can hold.
fn read(mut from: impl Read, whole: bool) -> Result<Body, Unread> {
    let max = if whole { limits::HTTP_BODY_BYTES_MAX } else { limits::OUTPUT_BYTES_MAX };
    let mut bytes = Vec::new();
    let read = from.by_ref().take(max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Unread::Broken(error, bytes.len()))?;
    let is_cut = bytes.len() > max;
    if is_cut && whole {
        return Err(Unread::TooLarge);
    }
    Ok(Body { text: String::from_utf8_lossy(&bytes).into_owned(), is_cut })
}
