//! `http`: asks, judges the answer, and where the step says `until`, asks again.
//!
//! - `client`: one request over a connection of its own, never repeated by itself; redirects
//! - `resolve`: which addresses it may go to; `trust`: the certificates of this machine
//! - `words`: what goes wrong, in words with what to do
//!
//! A request that failed is never sent again by itself: only `until` does that, because the author wrote it.

mod client;
mod resolve;
mod trust;
mod words;

use std::time::{Duration, Instant};

use runward_engine::limits;
use runward_engine::run::outputs::Outputs;
use runward_engine::run::request::{Expected, HttpRequest};
use runward_engine::runbook::value::is_too_deep;
use runward_engine::units::format_duration;
use serde_json::{Value, json};

use super::hidden::Hidden;
use super::own::{outputs, say};
use crate::reach::Http;
use client::{Client, Response};

/// How often a poll says that nothing has changed.
const STILL_EVERY: Duration = Duration::from_secs(60);
/// Between two lines about what has changed: an answer with a clock in it changes every time.
const CHANGED_EVERY: Duration = Duration::from_secs(1);
/// The last request of an `until` begins at least so long before its end, or a tenth of it where that is shorter.
const LAST_TRY: Duration = Duration::from_secs(1);
/// The beginning of an answer that was not as expected, in bytes.
const SHOWN_BYTES_MAX: usize = 2_000;

/// Asks until the answer is as expected. The error says what was expected and what came.
pub(super) fn ask(request: &HttpRequest, machine: Http) -> Result<Outputs, String> {
    let mask = Hidden::new(&request.hidden);
    let asked = format!("{} {}", request.method, request.shown);
    let client = Client::new(request, machine, &mask).map_err(|why| format!("{asked}: {why}"))?;
    match request.until_ms {
        None => {
            say(&asked);
            let response = once(request, &client, &mask, None).map_err(|why| format!("{asked}: {why}"))?;
            Ok(taken(response, &mask))
        }
        Some(until_ms) => {
            let until = Duration::from_millis(until_ms);
            say(&format!("{asked}, until it answers as expected, for at most {}", format_duration(until)));
            poll(request, &client, &mask, until).map_err(|why| format!("{asked}: {why}"))
        }
    }
}

/// One POST that tells somebody something: the status of the answer, and how it begins. The error names the server and not the
/// rest of the URL, which may be a secret.
pub(crate) fn post(
    url: &str,
    headers: Vec<(String, String)>,
    body: String,
    machine: Http,
    cap: Duration,
) -> Result<(u16, String), String> {
    let request = HttpRequest {
        method: "POST".to_owned(),
        url: url.to_owned(),
        shown: String::new(),
        headers,
        body: Some(body),
        expect: Expected::default(),
        until_ms: None,
        every_ms: 0,
        hidden: Vec::new(),
    };
    let mask = Hidden::new(&[]);
    let response = Client::new(&request, machine, &mask)?.by_status().send(&request, Some(cap))?;
    Ok((response.status, response.body.text))
}

fn poll(request: &HttpRequest, client: &Client, mask: &Hidden, until: Duration) -> Result<Outputs, String> {
    let (start, every) = (Instant::now(), Duration::from_millis(request.every_ms));
    let last_try = LAST_TRY.min(until / 10);
    let (mut tries, mut told, mut told_at) = (0u64, String::new(), None::<Instant>);
    let mut before = None::<String>;
    loop {
        let left = until.saturating_sub(start.elapsed());
        tries += 1;
        let cap = left.min(Duration::from_millis(limits::HTTP_TRY_MS_MAX)).max(Duration::from_millis(1));
        let why = match once(request, client, mask, Some(cap)) {
            Ok(response) => {
                say(&format!("as expected after {}", count(tries, start.elapsed())));
                return Ok(taken(response, mask));
            }
            Err(why) => why,
        };
        let due = |every| told_at.is_none_or(|at| at.elapsed() >= every);
        if why != told && due(CHANGED_EVERY) {
            say(&format!("not yet: {why}"));
            (told, told_at) = (why.clone(), Some(Instant::now()));
        } else if why == told && due(STILL_EVERY) {
            say(&format!("still the same after {}", count(tries, start.elapsed())));
            told_at = Some(Instant::now());
        }
        let pause = every.min(until.saturating_sub(start.elapsed()).saturating_sub(last_try));
        if pause.is_zero() {
            let tried = count(tries, start.elapsed());
            // The last try has what time is left: what came before it may say more.
            let before =
                before.filter(|it| *it != why).map(|it| format!(" (the try before: {it})")).unwrap_or_default();
            return Err(format!("not as expected after {tried}: {why}{before}"));
        }
        before = Some(why);
        std::thread::sleep(pause);
    }
}

fn count(tries: u64, time: Duration) -> String {
    let noun = if tries == 1 { "try" } else { "tries" };
    format!("{tries} {noun} in {}", format_duration(time))
}

/// One request and its judgement. `cap`: how long it may take, where not the step's own timeout says so.
fn once(request: &HttpRequest, client: &Client, mask: &Hidden, cap: Option<Duration>) -> Result<Response, String> {
    let start = Instant::now();
    let response = client.send(request, cap)?;
    let verdict = request.expect.judge(response.status, &response.body.text, &|text| mask.hide(text));
    let Err(why) = verdict else {
        say(&format!("{} in {}", response.status_line(), format_duration(start.elapsed())));
        return Ok(response);
    };
    let mut why = mask.hide(&why);
    if (300..400).contains(&response.status)
        && let Some(location) = response.headers.get("location").and_then(Value::as_str)
    {
        why += &format!(" (to {}, which was not followed)", words::line(&mask.hide(location)));
    }
    if request.until_ms.is_none() {
        say(&format!("{} in {}", response.status_line(), format_duration(start.elapsed())));
        tell_body(&response.body.text, mask);
    }
    Err(why)
}

/// The first bytes of an answer that nobody expected: the reason often stands there.
fn tell_body(text: &str, mask: &Hidden) {
    let hidden = mask.hide(text);
    let shown = words::head(&hidden, SHOWN_BYTES_MAX);
    shown.lines().for_each(|line| say(&format!("  | {}", words::line(line))));
    if shown.len() < hidden.len() {
        say("  | ...");
    }
}

/// The outputs, each within its limit.
fn taken(response: Response, mask: &Hidden) -> Outputs {
    let headers = mask.hide_value(Value::Object(response.headers));
    let json = serde_json::from_str::<Value>(&response.body.text).ok().filter(|_| !response.body.is_cut);
    let json = json.map(|json| mask.hide_value(json));
    let mut taken = outputs([("status", json!(response.status)), ("body", json!(cut(response.body, mask)))]);
    for (name, value) in [("headers", Some(headers)), ("json", json)] {
        let Some(value) = value else { continue };
        if value.to_string().len() <= limits::OUTPUT_BYTES_MAX && !is_too_deep(&value) {
            taken.insert(name.to_owned(), value);
        } else {
            say(&mask.hide(&format!("the output `{name}` would be too large, or nested too deep, and is left out")));
        }
    }
    taken
}

/// The body as an output: whole, or its beginning with a mark that says so.
fn cut(mut body: client::Body, mask: &Hidden) -> String {
    const MARK: &str = "\n[runward: the answer is longer; it was cut here]";
    // First hidden, then cut: what is left of a sensitive value would not be known any more.
    body.text = if body.is_cut { mask.hide_beginning(&body.text) } else { mask.hide(&body.text) };
    if !body.is_cut && body.text.len() <= limits::OUTPUT_BYTES_MAX {
        return body.text;
    }
    let mut text = words::head(&body.text, limits::OUTPUT_BYTES_MAX - MARK.len()).to_owned();
    text.push_str(MARK);
    text
}
