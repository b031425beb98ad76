//! Compiling, running and making up values for the tests of binding.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use runward_engine::bind::expression::ExpressionError;
use runward_engine::bind::{Expression, ShellScript, Template};

/// `inert` lists the parameters that are ints or enums.
pub fn compile(source: &str, inert: &[&str]) -> Result<ShellScript, Vec<ExpressionError>> {
    let template = Template::parse(source).unwrap();
    ShellScript::compile(&template, &|expression: &Expression| {
        inert.iter().any(|name| expression.source == format!("params.{name}"))
    })
}

/// Runs a script the way a step runs: from a file, its values in the environment.
pub fn run(shell: &str, folder: &Path, script: &ShellScript, value: impl Fn(&Expression) -> String) -> Output {
    let file = folder.join("script.sh");
    std::fs::write(&file, &script.text).unwrap();
    let mut command = Command::new(shell);
    command.arg(&file).current_dir(folder).stdin(Stdio::null()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("LC_ALL", "C.UTF-8").env("HOME", folder);
    for (index, expression) in script.values.iter().enumerate() {
        command.env(ShellScript::variable(index), value(expression));
    }
    command.output().unwrap()
}

/// Small, fixed, good enough: the same strings on every machine.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

const FRAGMENTS: &[&str] = &[
    "'",
    "\"",
    "`",
    "$",
    "\\",
    "\n",
    "\nEOF\n",
    "EOF",
    "EOF\u{e9}b",
    "\t",
    " ",
    "  ",
    "\r",
    "\u{1}",
    "\u{7f}",
    "\u{1b}[31m",
    "\u{85}",
    "日本語",
    "漢字",
    "🦀",
    "👩‍👩‍👧",
    "é",
    "\u{feff}",
    "\u{e000}",
    "$(touch CANARY)",
    "`touch CANARY`",
    "${IFS}",
    "$((1+1))",
    "a[$(touch CANARY)]",
    "x[`touch CANARY`]",
    "; touch CANARY;",
    "| touch CANARY",
    "&& touch CANARY",
    "\ntouch CANARY\n",
    "'; touch CANARY; '",
    "\"; touch CANARY; \"",
    "-n",
    "-e",
    "--",
    "-v",
    "*",
    "?",
    "[a-z]",
    "~",
    "{a,b}",
    "!",
    "!!",
    "!(",
    "%s",
    "%n",
    "%d",
    "\\n",
    "\\0",
    "\\c",
    "#",
    "# x",
    "(",
    ")",
    "<",
    ">",
    "&",
    ";",
    ";;",
    "esac",
    "done",
    "}",
    "fi",
    "=",
    "a=b",
    "''",
    "$'",
    "$\"",
    "${",
    "}}",
    "${{",
    "$(",
    "`",
    "\\'",
    "\\\\",
    "x",
    "y",
    "0",
    "1",
    "a",
    "\n\n",
    "\\\n",
    "RUNWARD_V0",
    "${RUNWARD_V1}",
];

pub fn adversarial(rng: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.below(9) {
        text.push_str(FRAGMENTS[rng.below(FRAGMENTS.len())]);
    }
    if rng.below(6) == 0 {
        text.push_str(&"\n".repeat(1 + rng.below(3)));
    }
    text
}

pub fn payloads() -> impl Iterator<Item = &'static str> {
    [
        "a[$(touch CANARY)]",
        "$(touch CANARY)",
        "`touch CANARY`",
        "'; touch CANARY; '",
        "\"; touch CANARY; \"",
        "touch CANARY",
        "\ntouch CANARY\n",
        "-va[$(touch CANARY)]",
        "-pa[$(touch CANARY)]",
        "-v",
        "-c",
        "-ctouch CANARY",
        "-e1e touch CANARY",
        "-c\\! touch CANARY",
        "-oProxyCommand=touch CANARY",
        "BEGIN{system(\"touch CANARY\")}",
        "'\"$(touch CANARY)\"'",
        "}; touch CANARY; {",
        "EOF\ntouch CANARY\n",
        "$(touch${IFS}CANARY)",
    ]
    .into_iter()
}
