//! `runward completions SHELL`: what a shell has to load.

use super::print;
use crate::args::{CompletionsArgs, ShellName};
use crate::complete::script;
use crate::failure::Failure;

pub fn run(args: &CompletionsArgs) -> Result<i32, Failure> {
    let name = match args.shell {
        ShellName::Bash => "bash",
        ShellName::Zsh => "zsh",
        ShellName::Fish => "fish",
        ShellName::Elvish => "elvish",
    };
    let script = script(name).ok_or_else(|| Failure::usage(format!("no script for {name} can be written")))?;
    print(script.trim_end());
    Ok(0)
}
