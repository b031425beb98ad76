//! `runward secret`.

use clap::{Args as ClapArgs, Subcommand};
use runward_engine::runbook::syntax::Syntax;

use super::Format;

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Seal a secret of this machine under a name
    ///
    /// The value comes from standard input, byte for byte, or is asked for on a terminal; never from the command line, which
    /// `ps` and the history of the shell show. Runbooks receive it with `secrets: {NAME: {sealed: NAME}}`. The first one
    /// makes a key.
    Set(NameArgs),
    /// The names of the sealed secrets, and who set them when
    List {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Remove a sealed secret
    Rm(NameArgs),
    /// Make a new key, and seal everything under it
    ///
    /// It can be interrupted at any moment: until nothing is sealed with the old key any more, both keys are kept.
    Rotate,
}

#[derive(Debug, ClapArgs)]
pub struct NameArgs {
    /// The name of the secret
    #[arg(value_parser = name)]
    pub name: String,
}

fn name(text: &str) -> Result<String, String> {
    if let Some((name, _)) = text.split_once('=') {
        return Err(format!(
            "a value does not belong on the command line: `runward secret set {name}` reads it from standard input"
        ));
    }
    Syntax::Name.check(text).map(|()| text.to_owned()).map_err(|(message, help)| match help {
        Some(help) => format!("{message}: {help}"),
        None => message,
    })
}
