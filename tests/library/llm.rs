//! A language model that does not answer, and why: asked of a real one, small enough for this.

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::Command;

use runward_services::{Guard, Signal, until_up};

use crate::dumps::keep_secret;
use crate::harness::{finish, repository};
use crate::operator::{Operator, Run};

const KEY: &str = "sk-2f6a0c-of-nobody";

fn ask(operator: &Operator, code: i32, url: &str, model: &str) -> Run {
    operator.expect(code, "llm_triage", &[("url", url), ("model", model)])
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn why_a_language_model_does_not_answer() {
    let operator = Operator::new();
    let made = finish(Command::new("bash").arg(repository().join("tests/stack/llm/venv.sh")));
    assert_eq!(made.code, 0, "{}", made.stderr);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    keep_secret(&operator, "llm_key", &format!("{KEY}\n"));

    // Nobody is there: it is asked three times.
    let gone = ask(&operator, 1, &url, "smollm2");
    assert!(gone.text.contains("cannot be reached"), "{}", gone.text);
    let tries = gone.show["attempts"].as_array().unwrap().iter().filter(|it| it["unit"] == "models").count();
    assert_eq!(tries, 3, "{:#}", gone.show["attempts"]);
    operator.saw("S0-14", &gone, "models");

    let folder = tempfile::tempdir().unwrap();
    let python = format!("{}/bin/python", made.stdout.trim());
    let serve = repository().join("tests/stack/llm/serve.py");
    let command: [OsString; 4] = [python.into(), serve.into(), port.to_string().into(), KEY.into()];
    let command: Vec<_> = command.iter().map(OsString::as_os_str).collect();
    let guard = Guard::start(folder.path(), Signal::Terminate, &command);
    let health = format!("{url}/health");
    until_up(
        &guard,
        || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default(),
        || {
            let said = finish(Command::new("curl").args(["-sf", &health]));
            if said.code == 0 { Ok(()) } else { Err(said.stderr) }
        },
    );

    let well = ask(&operator, 0, &url, "smollm2");
    assert_eq!(well.output("models", "models"), "smollm2");
    assert!(well.output("quota", "tokens").parse::<u32>().unwrap() > 1, "{}", well.text);
    assert!(!well.text.contains(KEY));
    operator.saw("S0-14", &well, "models");
    operator.saw("S0-14", &well, "quota");

    let other = ask(&operator, 1, &url, "gpt-9");
    assert!(other.text.contains("has no gpt-9 for this key; it has: smollm2"), "{}", other.text);
    keep_secret(&operator, "llm_key", "sk-another-one\n");
    let refused = ask(&operator, 1, &url, "smollm2");
    assert!(refused.text.contains("does not accept the key (401)"), "{}", refused.text);
    let tries = refused.show["attempts"].as_array().unwrap().iter().filter(|it| it["unit"] == "models").count();
    assert_eq!(tries, 1, "what is refused is not tried again");
    drop(guard);
}
