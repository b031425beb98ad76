//! The lines between here and `far.sh`, as values: no process and no network.
//!
//! There go lines of ASCII in which every byte that means anything to anybody is `\0ooo`; back come lines, and behind some of
//! them so many bytes of output. What a login shell prints before the first line of ours is skipped.

use runward_engine::runbook::model::Orphans;
use runward_engine::runbook::secrets::Form;

use super::Order;
use crate::secrets::Value;
use crate::supervisor::journal::Orphan;

/// The far side, and the same for every step.
pub const FAR: &str = include_str!("far.sh");
const HELLO: &[u8] = b"runward far 1\n";
/// What may come before it: a greeting of the login shell.
const NOISE_BYTES_MAX: usize = 64 * 1024;
const LINE_BYTES_MAX: usize = 16 * 1024;

/// What is wanted of the far side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// An attempt, of which it is told more.
    Step,
    /// Only whether it is fit.
    Look,
}

/// What ssh runs there. Every login shell reads it the same way: no backslash, no quote in a quote, one line.
pub fn command(errand: Errand) -> String {
    let what = match errand {
        Errand::Step => "",
        Errand::Look => " sh look",
    };
    format!("exec sh -c 'text=$(dd bs=1 count={} 2>/dev/null); eval \"$text\"'{what}", FAR.len())
}

/// Bytes as a word that `printf %b` makes bytes of again.
pub fn encode(bytes: &[u8]) -> String {
    let mut word = String::with_capacity(bytes.len() + bytes.len() / 4);
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => word.push(char::from(*byte)),
            b'_' | b'.' | b'/' | b':' | b'=' | b',' | b'@' | b'+' | b'-' => word.push(char::from(*byte)),
            _ => word.push_str(&format!("\\0{byte:03o}")),
        }
    }
    word
}

/// Everything that the runner of an attempt reads, for a step that has `timeout_ms` left.
pub(super) fn start(order: &Order, secrets: &[(String, Form, Value)], timeout_ms: u64) -> Vec<u8> {
    let mut text = format!("start {} {}\n", order.attempt, encode(order.unit.as_bytes()));
    let mut line = |key: &str, value: &str| {
        text.push_str(key);
        text.push(' ');
        text.push_str(value);
        text.push('\n');
    };
    line("workspace", &encode(order.run.as_bytes()));
    line("timeout", &timeout_ms.div_ceil(1000).max(1).to_string());
    line("grace", &order.grace_ms.div_ceil(1000).to_string());
    line("orphans", if order.orphans == Orphans::Leave { "leave" } else { "kill" });
    if let Some(cwd) = &order.cwd {
        line("cwd", &encode(cwd.as_bytes()));
    }
    // The shell of the far side takes its own locale from these: last, when nothing is decoded any more.
    let is_locale = |name: &str| name == "LANG" || name.starts_with("LC_");
    let (late, early): (Vec<_>, Vec<_>) = order.env.iter().partition(|(name, _)| is_locale(name));
    for (name, value) in early.into_iter().chain(late) {
        line("env", &format!("{name} {}", encode(value.as_bytes())));
    }
    for (name, form, value) in secrets {
        match form {
            Form::Variable => line("env", &format!("{name} {}", encode(value.bytes()))),
            Form::File => {
                line("secret", &format!("{name} {}", encode(value.bytes())));
                line("file", name);
            }
        }
    }
    order.argv.iter().for_each(|word| line("arg", &encode(word.as_bytes())));
    if let Some(script) = &order.script {
        line("script", &encode(script.bytes()));
    }
    text.push_str("go\n");
    text.into_bytes()
}

/// An attempt that was started before, or may have been.
pub(super) fn follow(order: &Order) -> Vec<u8> {
    format!("follow {}\n", order.attempt).into_bytes()
}

/// From which bytes of its output on, and its errors.
pub(super) fn from(seen: [u64; 2]) -> Vec<u8> {
    format!("from {} {}\n", seen[0], seen[1]).into_bytes()
}

/// Whose far side it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// A name that it gave itself once, in its folder.
    pub id: String,
    pub boot: String,
    /// Its folder.
    pub state: String,
}

/// What the far side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It waits for an order.
    Ready(Machine),
    /// It cannot carry out anything.
    Unfit(String),
    /// An earlier attempt of the step still runs there: its process, and the command that ends it.
    Busy(String, String),
    /// The attempt was never started and never will be; and why, if it was asked to start.
    Void(String),
    /// It was started.
    There,
    /// Bytes of its output (0) or errors (1) from this one on.
    Printed(usize, u64, Vec<u8>),
    /// What it wrote to `$RUNWARD_OUTPUT`; `None`: not a file any more.
    Outputs(Option<Vec<u8>>),
    Orphan(Orphan),
    Stuck(Orphan),
    Exited(i32),
    TimedOut,
    Killed,
    /// What time it is there, in seconds of the epoch.
    Clock(i64),
    /// Its program could not be started.
    Refused(String),
    /// Whoever watched it there is dead; `true`: since the machine was started anew.
    Lost(bool),
    /// Nothing more comes.
    Over,
    Beat,
}

/// It is not `far.sh` that speaks there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbled(pub Vec<u8>);

/// Takes words out of bytes as they come.
#[derive(Default)]
pub struct Parser {
    buffer: Vec<u8>,
    greeted: bool,
    /// Bytes of output that are still to come.
    open: Option<(usize, u64, u64)>,
}

impl Parser {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What came before it was greeted.
    pub fn noise(&self) -> &[u8] {
        if self.greeted { &[] } else { &self.buffer }
    }

    pub fn word(&mut self) -> Result<Option<Word>, Garbled> {
        if !self.greeted && !self.greet()? {
            return Ok(None);
        }
        if let Some(piece) = self.piece() {
            return Ok(Some(piece));
        }
        loop {
            if self.open.is_some() {
                return Ok(None);
            }
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                return if self.buffer.len() > LINE_BYTES_MAX { Err(self.garbled()) } else { Ok(None) };
            };
            let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            if let Some(bytes) = line.strip_prefix("outputs ").and_then(|count| count.parse::<usize>().ok()) {
                let Some(written) = self.buffer.get(end + 1..end + 1 + bytes) else { return Ok(None) };
                let written = written.to_vec();
                self.buffer.drain(..end + 1 + bytes);
                return Ok(Some(Word::Outputs(Some(written))));
            }
            let Some(word) = read(&line) else { return Err(self.garbled()) };
            self.buffer.drain(..=end);
            match word {
                Read::Word(word) => return Ok(Some(word)),
                Read::Open(stream, at, bytes) => {
                    self.open = Some((stream, at, bytes)).filter(|_| bytes > 0);
                    if let Some(piece) = self.piece() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    /// As much as has come of the output that was announced.
    fn piece(&mut self) -> Option<Word> {
        let (stream, at, left) = self.open?;
        let len = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 {
            return None;
        }
        let rest = self.buffer.split_off(len);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        self.open = Some((stream, at + len as u64, left - len as u64)).filter(|(.., left)| *left > 0);
        Some(Word::Printed(stream, at, bytes))
    }

    fn greet(&mut self) -> Result<bool, Garbled> {
        let begins = |at: &usize| *at == 0 || self.buffer[at - 1] == b'\n';
        let found = self.buffer.windows(HELLO.len()).enumerate().filter(|(_, window)| *window == HELLO);
        match found.map(|(at, _)| at).find(begins) {
            Some(at) => {
                self.buffer.drain(..at + HELLO.len());
                self.greeted = true;
                Ok(true)
            }
            None if self.buffer.len() > NOISE_BYTES_MAX => Err(self.garbled()),
            None => Ok(false),
        }
    }

    fn garbled(&mut self) -> Garbled {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.truncate(1024);
        Garbled(bytes)
    }
}

enum Read {
    Word(Word),
    Open(usize, u64, u64),
}

fn machine(text: &str) -> Option<Machine> {
    let mut words = text.splitn(3, ' ').map(str::to_owned);
    Some(Machine { id: words.next()?, boot: words.next()?, state: words.next()? })
}

fn read(line: &str) -> Option<Read> {
    let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
    let process = || {
        let (pid, command) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Orphan { pid: pid.parse().ok()?, command: command.trim_end().to_owned() })
    };
    let output = |stream| {
        let (at, bytes) = rest.split_once(' ')?;
        Some(Read::Open(stream, at.parse().ok()?, bytes.parse().ok()?))
    };
    Some(Read::Word(match key {
        "ready" => Word::Ready(machine(rest)?),
        "unfit" => Word::Unfit(rest.to_owned()),
        "busy" => {
            let (pid, ending) = rest.split_once(' ')?;
            Word::Busy(pid.to_owned(), ending.to_owned())
        }
        "void" => Word::Void(rest.trim().to_owned()),
        "there" => Word::There,
        "out" => return output(0),
        "err" => return output(1),
        "outputs" => Word::Outputs(None),
        "orphan" => Word::Orphan(process()?),
        "stuck" => Word::Stuck(process()?),
        "exited" => Word::Exited(rest.parse().ok()?),
        "timed-out" => Word::TimedOut,
        "killed" => Word::Killed,
        "clock" => Word::Clock(rest.parse().ok()?),
        "refused" => Word::Refused(rest.to_owned()),
        "lost" => Word::Lost(rest == "rebooted"),
        "." => Word::Over,
        "beat" => Word::Beat,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn words(bytes: &[u8], cut: usize) -> Vec<Word> {
        let (mut parser, mut words) = (Parser::default(), Vec::new());
        for piece in bytes.chunks(cut) {
            parser.push(piece);
            while let Some(word) = parser.word().unwrap() {
                match (words.last_mut(), word) {
                    (Some(Word::Printed(a, _, seen)), Word::Printed(b, _, more)) if *a == b => seen.extend(more),
                    (_, word) => words.push(word),
                }
            }
        }
        words
    }

    #[test]
    fn words_survive_any_split_and_a_greeting_of_the_login_shell() {
        let said =
            b"Welcome to runward far 1\nnews\n\nrunward far 1\nready h b /s t\nthere\nout 3 5\na\n.\nberr 0 1\nx\
                     outputs 4\nk=v\norphan 7 sleep 9 \nexited 3\n.\n";
        let expected = [
            Word::Ready(Machine { id: "h".into(), boot: "b".into(), state: "/s t".into() }),
            Word::There,
            Word::Printed(0, 3, b"a\n.\nb".to_vec()),
            Word::Printed(1, 0, b"x".to_vec()),
            Word::Outputs(Some(b"k=v\n".to_vec())),
            Word::Orphan(Orphan { pid: 7, command: "sleep 9".into() }),
            Word::Exited(3),
            Word::Over,
        ];
        for cut in 1..said.len() {
            assert_eq!(words(said, cut), expected, "in pieces of {cut}");
        }
    }

    #[test]
    fn what_is_not_the_far_side_is_told_from_it() {
        let mut parser = Parser::default();
        parser.push(&vec![b'x'; NOISE_BYTES_MAX + 1]);
        assert!(parser.word().is_err());
        let mut parser = Parser::default();
        parser.push(b"runward far 1\nhello\n");
        assert_eq!(parser.word(), Err(Garbled(b"hello\n".to_vec())));
    }

    #[test]
    fn the_command_is_read_alike_by_every_login_shell() {
        for command in [Errand::Step, Errand::Look].map(command) {
            let inner = command.split('\'').nth(1).unwrap();
            assert_eq!(command.matches('\'').count(), 2);
            assert!(!command.contains(['\\', '!', '\n', '`']) && !inner.is_empty());
        }
        assert!(FAR.is_ascii());
    }

    #[test]
    fn every_byte_crosses_printf_of_both_shells() {
        let bytes: Vec<u8> = (1..=255).chain(*b"\n\n").collect();
        let word = encode(&bytes);
        assert!(word.bytes().all(|byte| byte.is_ascii_graphic()));
        for shell in ["dash", "bash"] {
            let mut there = Command::new(shell)
                .args(["-c", "IFS= read -r w; v=\"$(printf '%b.' \"$w\")\"; v=${v%.}; printf %s \"$v\""])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            there.stdin.take().unwrap().write_all(format!("{word}\n").as_bytes()).unwrap();
            assert_eq!(there.wait_with_output().unwrap().stdout, bytes, "{shell}");
        }
    }

    /// However it was written, a piece is full before the next one is begun, and a byte is there as soon as it was written.
    #[test]
    fn many_short_lines_fill_pieces_and_none_of_them_waits_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let functions = FAR.split("\ncase ${1-} in\nrun)").next().unwrap();
        let mut there = Command::new("sh")
            .args(["-c", &format!("{functions}\nfolder=$1 piece=9000\ncapture out 2>/dev/null"), "sh"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = there.stdin.take().unwrap();
        let kept = || {
            let pieces = (0..).map_while(|n| std::fs::read(dir.path().join(format!("out.{n}"))).ok());
            pieces.collect::<Vec<_>>()
        };
        let mut written = String::new();
        for n in 0..2000 {
            let line = format!("line {n}\n");
            stdin.write_all(line.as_bytes()).unwrap();
            written += &line;
            while kept().concat().len() < written.len() {
                std::thread::yield_now();
            }
        }
        drop(stdin);
        assert!(there.wait().unwrap().success());
        let pieces = kept();
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), written);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [9000, 9000, written.len() - 18_000]);
    }
}
