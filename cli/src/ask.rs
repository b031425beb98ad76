//! Asking a person at a terminal for parameters. Everything is said on standard error, so that output stays output.
//!
//! Ctrl-C ends the program as it does anywhere: nothing has been recorded yet. While a sensitive value is typed the
//! terminal shows nothing, and it is given back as it was however the answer ends.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use runward_engine::plan::params::{self, Given};
use runward_engine::runbook::model::Param;
use runward_workers::secrets::Value;

use crate::failure::Failure;
use crate::text;

/// A job of CI may have a terminal, but nobody sits at it.
pub fn somebody_is_there() -> bool {
    let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !ci
}

/// Names and answers; each answer fits its parameter.
pub fn for_params(missing: &[&Param]) -> Result<Vec<(String, String)>, Failure> {
    eprintln!("This run needs more. Ctrl-C leaves; nothing has been recorded.");
    missing.iter().map(|param| Ok((param.name.clone(), one(param)?))).collect()
}

fn one(param: &Param) -> Result<String, Failure> {
    if let Some(description) = &param.description {
        eprintln!("\n{}", description.trim().lines().map(text::safe).collect::<Vec<_>>().join("\n"));
    }
    let hidden = if param.sensitive { ", not shown" } else { "" };
    loop {
        eprint!("{} ({}{hidden}): ", param.name, text::safe(&params::takes(param)));
        let _ = std::io::stderr().flush();
        let answer = if param.sensitive { read_hidden() } else { read_line() };
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(nobody_answered(param)),
            Err(error) => return Err(Failure::usage(format!("the terminal cannot be read: {error}"))),
        };
        match params::check(param, &Given::Text(answer.clone())) {
            Ok(()) if !answer.is_empty() => return Ok(answer),
            Ok(()) => eprintln!("  it is required; an empty text is given with -p {}=", param.name),
            Err(problem) => eprintln!("  {}", text::safe(&problem.to_string())),
        }
    }
}

/// A value for a sealed secret, typed twice.
pub fn for_secret(name: &str) -> Result<Value, Failure> {
    let typed = |again: &str| {
        eprint!("{name} (not shown{again}): ");
        let _ = std::io::stderr().flush();
        match read_hidden() {
            Ok(answer) => Ok(Value::new(answer.unwrap_or_default().into_bytes())),
            Err(error) => Err(Failure::usage(format!("the terminal cannot be read: {error}"))),
        }
    };
    let value = typed("")?;
    if !value.bytes().is_empty() && typed(", once more")? != value {
        return Err(Failure::usage("these were two different values").help("nothing was changed: try again"));
    }
    Ok(value)
}

fn nobody_answered(param: &Param) -> Failure {
    eprintln!();
    Failure::usage(format!("the parameter `{}` is required, and nobody answered", param.name))
        .help("nothing was recorded; `runward plan` shows the parameters of a runbook")
}

/// A line without its end; None at the end of the input.
fn read_line() -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_until(b'\n', &mut bytes)?;
    while bytes.pop_if(|byte| matches!(byte, b'\n' | b'\r')).is_some() {}
    Ok((read > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;

/// The same without showing it. Keys come one by one, so that Ctrl-C gives the terminal back before it ends the program.
fn read_hidden() -> std::io::Result<Option<String>> {
    let silent = Silent::new()?;
    let (mut typed, mut byte) = (Vec::new(), [0]);
    let ended = loop {
        let read = std::io::stdin().lock().read(&mut byte)?;
        match (read, byte[0]) {
            (0, _) => break None,
            (_, b'\r' | b'\n') => break Some(()),
            (_, CTRL_C) => {
                drop(silent);
                eprintln!();
                let _ = raise(Signal::SIGINT); // nobody listens for it yet: it ends the program
                return Ok(None);
            }
            (_, CTRL_D) if typed.is_empty() => break None,
            (_, CTRL_U) => typed.clear(),
            (_, 8 | 127) => erase(&mut typed),
            (_, other) if other >= b' ' => typed.push(other),
            _ => {}
        }
    };
    drop(silent);
    eprintln!();
    Ok(ended.map(|()| String::from_utf8_lossy(&typed).into_owned()))
}

/// Takes the last character away, which may be several bytes.
fn erase(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// A terminal that shows nothing and gives single keys, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn new() -> std::io::Result<Silent> {
        let before = tcgetattr(std::io::stdin().as_fd())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &silent)?;
        Ok(Silent(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::erase;

    #[test]
    fn a_character_is_erased_as_a_whole() {
        let mut typed = "a备".as_bytes().to_vec();
        erase(&mut typed);
        assert_eq!(typed, b"a");
        erase(&mut typed);
        erase(&mut typed);
        assert!(typed.is_empty());
    }
}
