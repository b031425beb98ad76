//! Executes a page of the documentation as a reader would: from top to bottom, in one shell, in a folder of his own, with
//! nothing but the binary on his PATH.
//!
//! - ```` ```sh ```` blocks are executed; every command in them has to succeed.
//! - ```` ```console ```` blocks are sessions: `$ command` lines (`> ` goes on), each followed by what it prints. A line
//!   `[exit code 1]` says how it ends. `...` stands for any lines, or within a line for anything; ids, times, sizes and
//!   names of people and machines may differ.
//! - Any block whose first or second line is `# file: PATH` is written to that file.
//! - HTML comments before a block: `<!-- in a terminal -->` gives it a real one, `<!-- in a terminal, typing: KEYS -->` one
//!   at which somebody types these again and again, `<!-- not executed: REASON -->` passes
//!   it over, `<!-- in a clone -->` makes the folder one of this repository, and `<!-- before: ... -->` is a script for
//!   what the page takes for granted.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use regex::Regex;

use crate::harness::{Done, Scene, finish, repository};

/// How long a page may take, in seconds.
const PAGE_SECONDS_MAX: u32 = 540;
/// Stands before and after what a command printed; no program prints it.
const MARK: &str = "\u{1e}";

/// Something to be done, with its line on the page.
#[derive(Debug)]
pub struct Piece {
    pub line: usize,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// A file to write.
    File {
        path: String,
        text: String,
    },
    /// A script of which every command has to succeed.
    Script {
        text: String,
        terminal: Option<Terminal>,
    },
    /// A command and what it prints.
    Command {
        text: String,
        prints: Vec<String>,
        code: i32,
        terminal: Option<Terminal>,
    },
    /// The folder is a clone of this repository.
    Clone,
    NotExecuted {
        reason: String,
    },
}

/// A real one, and what is typed at it.
#[derive(Debug, Clone)]
pub struct Terminal {
    keys: String,
}

/// A fenced block or an HTML comment.
enum Raw {
    Block { language: String, body: Vec<String> },
    Comment(String),
}

/// The pieces of a page, in order.
pub fn read(page: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut terminal, mut passed_over) = (None, None);
    for (line, raw) in raw(page) {
        let mut push = |line, what| pieces.push(Piece { line, what });
        match raw {
            Raw::Comment(text) => match text.split_once(':') {
                Some(("not executed", reason)) => passed_over = Some(reason.trim().to_owned()),
                Some(("before", script)) => push(line, What::Script { text: script.to_owned(), terminal: None }),
                Some(("in a terminal, typing", keys)) => terminal = Some(Terminal { keys: keys.trim().to_owned() }),
                _ if text == "in a terminal" => terminal = Some(Terminal { keys: String::new() }),
                _ if text == "in a clone" => push(line, What::Clone),
                _ => {}
            },
            Raw::Block { language, body } => {
                let executable = ["sh", "console"].contains(&language.as_str());
                let file = body.iter().take(2).find_map(|line| line.strip_prefix("# file: "));
                let text = body.iter().fold(String::new(), |text, line| text + line + "\n");
                match (passed_over.take(), file, language.as_str()) {
                    (Some(reason), ..) => push(line, What::NotExecuted { reason }),
                    (None, Some(path), _) => push(line, What::File { path: path.trim().to_owned(), text }),
                    (None, None, "sh") => push(line, What::Script { text, terminal: terminal.take() }),
                    (None, None, "console") => session(line, &body, &terminal, &mut push),
                    _ => assert!(!executable),
                }
                terminal = None;
            }
        }
    }
    pieces
}

fn raw(page: &str) -> Vec<(usize, Raw)> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        let line = line.trim_start();
        if let Some(language) = line.strip_prefix("```") {
            let body = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim_start() != "```");
            let body = body.map(str::to_owned).collect();
            let language = language.split([' ', ',']).next().unwrap_or("").to_owned();
            found.push((n + 1, Raw::Block { language, body }));
        } else if let Some(first) = line.strip_prefix("<!--") {
            let mut text = first.to_owned();
            while !text.contains("-->") {
                let Some((_, more)) = lines.next() else { break };
                text = text + "\n" + more;
            }
            let text = text.split("-->").next().unwrap_or("").trim().to_owned();
            found.push((n + 1, Raw::Comment(text)));
        }
    }
    found
}

/// The commands of a `console` block.
fn session(line: usize, body: &[String], terminal: &Option<Terminal>, push: &mut impl FnMut(usize, What)) {
    let mut at = 0;
    while at < body.len() {
        let first = line + 1 + at;
        let Some(command) = body[at].strip_prefix("$ ") else {
            panic!("line {first}: a console block begins with a command, `$ ...`: {}", body[at]);
        };
        let mut text = command.to_owned();
        at += 1;
        while let Some(more) = body.get(at).and_then(|line| line.strip_prefix("> ")) {
            text = text + "\n" + more;
            at += 1;
        }
        let rest = body[at..].iter().take_while(|line| !line.starts_with("$ "));
        let mut prints: Vec<String> = rest.cloned().collect();
        at += prints.len();
        let code = |line: &String| line.strip_prefix("[exit code ")?.strip_suffix(']')?.parse().ok();
        let said = prints.last().and_then(code);
        prints.truncate(prints.len() - usize::from(said.is_some()));
        push(first, What::Command { text, prints, code: said.unwrap_or(0), terminal: terminal.clone() });
    }
}

/// Executes a page, and says everything that is not as it says.
pub fn execute(name: &str) {
    execute_with(name, &[]);
}

/// With these variables, for what the page cannot know.
pub fn execute_with(name: &str, variables: &[(&str, &str)]) {
    let page = fs::read_to_string(repository().join(name)).expect("the page");
    let pieces = read(&page);
    let scene = Scene::new();
    let you = scene.path("you");
    fs::create_dir(&you).expect("a folder");
    let program = script(&scene, &pieces);
    let done = run(&scene, &program, variables);
    // How fast the disk is today is no part of the page.
    let slow = |line: &&str| line.contains("runward_store::sqlite::pace:");
    let told: String = done.stdout.split_inclusive('\n').filter(|line| !slow(line)).collect();
    let told = told.replace(&you.display().to_string(), "/home/you");
    let problems: Vec<String> =
        pieces.iter().enumerate().filter_map(|(n, piece)| problem(name, n, piece, &told)).collect();
    assert!(problems.is_empty(), "{}\n{}", problems.join("\n\n"), done.stderr);
}

/// One shell script of all pieces: variables and folders last from one to the next, as for the reader.
fn script(scene: &Scene, pieces: &[Piece]) -> String {
    let mut all = String::from("exec 2>&1\nset -o pipefail -E\ntrap 'kill $(jobs -p) 2>&-' EXIT\n");
    for (n, piece) in pieces.iter().enumerate() {
        let write = |text: &str| scene.file(&format!("pieces/{n}"), text).display().to_string();
        let one = match &piece.what {
            What::NotExecuted { .. } => continue,
            What::Clone => {
                let from = repository().display();
                format!("cp -r {from}/docs {from}/runbooks {from}/README.md .")
            }
            What::File { path, text } => {
                let from = write(text);
                format!(
                    "mkdir -p \"$(dirname {path})\" && cp {from} {path}\ncase {path} in *.sh) chmod +x {path};; esac"
                )
            }
            What::Script { text, terminal: Some(Terminal { keys }) }
            | What::Command { text, terminal: Some(Terminal { keys }), .. } => {
                let runner = repository().join("tests/files/terminal.py");
                format!("python3 {} '{keys}' {}", runner.display(), write(text))
            }
            What::Script { text, .. } => {
                let from = write(text);
                format!("trap '__bad=\"$BASH_COMMAND\"' ERR; . {from}; __code=$?; trap - ERR; (exit $__code)")
            }
            What::Command { text, .. } => format!(". {}", write(text)),
        };
        let _ = writeln!(all, "__bad=; printf '{MARK}{n}{MARK}'\n{one}\nprintf '{MARK}%d %s{MARK}' $? \"$__bad\"");
    }
    all
}

fn run(scene: &Scene, program: &str, variables: &[(&str, &str)]) -> Done {
    let bin = scene.path("bin");
    fs::create_dir(&bin).expect("a folder");
    symlink(env!("CARGO_BIN_EXE_runward"), bin.join("runward")).expect("the binary");
    let file = scene.file("page.sh", program);
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &PAGE_SECONDS_MAX.to_string(), "bash"]).arg(file);
    command.current_dir(scene.path("you")).env_clear().stdin(std::process::Stdio::null());
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()));
    command.env("HOME", scene.path("you")).env("LANG", "C.UTF-8").env("TZ", "UTC").env("TERM", "xterm");
    command.env("USER", "you").env("SHELL", "/bin/bash").envs(variables.iter().copied());
    finish(&mut command)
}

fn problem(page: &str, n: usize, piece: &Piece, told: &str) -> Option<String> {
    if matches!(piece.what, What::NotExecuted { .. }) {
        return None;
    }
    let at = format!("{page}:{}", piece.line);
    let Some((_, rest)) = told.split_once(&format!("{MARK}{n}{MARK}")) else {
        return Some(format!("{at}: the page ended before this"));
    };
    let mut parts = rest.splitn(3, MARK);
    let (printed, end) = (parts.next().unwrap_or(""), parts.next().unwrap_or("no end"));
    let (code, bad) = end.split_once(' ').unwrap_or((end, ""));
    match &piece.what {
        What::Command { text, prints, code: wanted, terminal } => {
            if code != wanted.to_string() {
                return Some(format!("{at}: exit code {code}, not {wanted}: $ {text}\n{printed}"));
            }
            let printed = if terminal.is_some() { plain(printed) } else { printed.to_owned() };
            let (wanted, seen) = (usual(&prints.join("\n")), usual(&printed));
            let fits = matches(&wanted, &seen, terminal.is_some());
            (!fits).then(|| {
                format!("{at}: $ {text}\n--- the page says\n{wanted}\n--- it prints\n{seen}\n--- that is\n{printed}")
            })
        }
        _ if code != "0" || !bad.is_empty() => Some(format!("{at}: exit code {code} {bad}\n{printed}")),
        _ => None,
    }
}

/// What may differ from one time to the next is made the same.
fn usual(text: &str) -> String {
    const DIFFERS: [(&str, &str); 14] = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
        (r"\b[0-9a-f]{64}\b", "HASH"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (r"\d{8}T\d{6}Z", "STAMP"),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", "TIME"),
        (r"\d{4}-\d\d-\d\d", "DATE"),
        (r"\b\d\d:\d\d:\d\d\b", "CLOCK"),
        (r"\b(\d+ ms|\d+\.\d s|\d+m \d\ds|\d+h \d\dm)", "TOOK"),
        (r"\b\d+(\.\d+)? ?([KMGT]i)?B\b", "SIZE"),
        (r"[\w.-]+@[\w.-]+ \([^)]*\)", "WHO"),
        (r"\b[Pp]rocess \d+", "process PID"),
        (r"\b\d+ events\b", "N events"),
        (r"[ \t]+", " "),
        (r" (\n|$)", "$1"),
    ];
    let text = text.trim_matches('\n').replace('\r', "");
    DIFFERS.iter().fold(text, |text, (pattern, name)| {
        Regex::new(pattern).expect("a pattern").replace_all(&text, *name).into_owned()
    })
}

/// Without what moves the cursor or colours.
fn plain(text: &str) -> String {
    Regex::new(r"\x1b(\[[0-9;?]*[A-Za-z]|[78=>]|\][^\x07]*\x07)")
        .expect("a pattern")
        .replace_all(text, "\n")
        .into_owned()
}

/// In a terminal a picture is drawn again and again: there the lines have to appear, in order.
fn matches(wanted: &str, seen: &str, anywhere: bool) -> bool {
    let line = |line: &str| line.split("...").map(regex::escape).collect::<Vec<_>>().join(".*");
    let lines: Vec<String> = wanted
        .lines()
        .map(|text| match text.trim() {
            "..." => "(?:.*\n)*?".to_owned(),
            _ if anywhere => format!("(?:.*\n)*?.*{}.*\n", line(text.trim())),
            _ => format!("{}\n", line(text)),
        })
        .collect();
    let end = if anywhere { "(?:.*\n)*" } else { "" };
    let pattern = format!("\\A{}{end}\\z", lines.join(""));
    let seen = if seen.is_empty() { String::new() } else { format!("{seen}\n") };
    Regex::new(&pattern).expect("a pattern").is_match(&seen)
}

#[test]
fn a_page_is_read_as_it_is_meant() {
    let page = "```sh\na\n```\n<!-- not executed: it is loud -->\n```sh\nb\n```\n```yaml\n# file: x/y.yaml\nname: x\n```\n\
                <!-- in a terminal -->\n```console\n$ c \\\n> d\nout\n$ e\n[exit code 3]\n```\n```text\nf\n```\n";
    let pieces = read(page);
    let seen: Vec<String> = pieces.iter().map(|piece| format!("{} {:?}", piece.line, piece.what)).collect();
    assert_eq!(
        seen,
        [
            r#"1 Script { text: "a\n", terminal: None }"#,
            r#"5 NotExecuted { reason: "it is loud" }"#,
            r##"8 File { path: "x/y.yaml", text: "# file: x/y.yaml\nname: x\n" }"##,
            r#"14 Command { text: "c \\\nd", prints: ["out"], code: 0, terminal: Some(Terminal { keys: "" }) }"#,
            r#"17 Command { text: "e", prints: [], code: 3, terminal: Some(Terminal { keys: "" }) }"#,
        ]
    );
}

#[test]
fn what_a_page_says_is_compared_and_what_may_differ_is_not() {
    let same = |a: &str, b: &str| matches(&usual(a), &usual(b), false);
    assert!(same(
        "run 01a20152-c438-75e6-b63e-6f12d529e2d5\n...\nend after 3 ms",
        "run 01a20152-aaaa-75e6-b63e-6f12d529e2d5\nx\ny\nend after 1.2 s\n"
    ));
    assert!(same("a ... c", "a b  c\n") && same("", ""));
    assert!(!same("a", "b") && !same("a", "a\nb") && !same("a\nb", "a") && !same("", "x"));
    assert!(matches("b\nd", "a\nxbx\nc\nd", true) && !matches("d\nb", "b\nd", true));
}
