//! `runward graph`: the graph of a runbook or of a run, as text or as a picture.

use std::io::IsTerminal;

use super::{print, print_line};
use crate::args::{GraphArgs, GraphFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::graph::{self, Picture};
use crate::open::{find_run, open};
use crate::runbook_file::{load, locate};
use crate::text;
use crate::view::words::Marks;

pub async fn run(config: &Config, args: &GraphArgs) -> Result<i32, Failure> {
    let picture = picture(config, &args.of).await?;
    let now = text::now();
    match args.format {
        GraphFormat::Text => {
            // A file or a pipe is read later, by who knows what; a terminal says what it can show.
            let marks = if std::io::stdout().is_terminal() { Marks::of_environment() } else { Marks::Unicode };
            graph::text(&picture, marks, now).iter().for_each(|line| print_line(&marks.text(line)));
        }
        GraphFormat::Mermaid => print(graph::mermaid(&picture, now).trim_end()),
        GraphFormat::Dot => print(graph::dot(&picture, now).trim_end()),
        GraphFormat::Svg if picture.nodes.len() > graph::SVG_STEPS_MAX => {
            let (steps, max) = (picture.nodes.len(), graph::SVG_STEPS_MAX);
            return Err(Failure::usage(format!("{steps} steps are too many for one picture: at most {max} are drawn"))
                .help("`--format text` shows all of them; `--format dot` lets Graphviz try"));
        }
        GraphFormat::Svg => print(graph::svg(&picture, now).trim_end()),
    }
    Ok(0)
}

/// A runbook, where the text names one; else a run.
async fn picture(config: &Config, of: &str) -> Result<Picture, Failure> {
    let folders = &config.settings.runbooks;
    let no_runbook = match locate(of, folders) {
        Ok(path) => {
            let file = load(&path, folders)?;
            return Ok(Picture::of_runbook(&file.name, &file.runbook));
        }
        Err(failure) => failure,
    };
    if of != "last" && !is_part_of_an_id(of) {
        return Err(no_runbook);
    }
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), of).await?;
    Ok(Picture::of_run(&opened.ledger().load(&id).await?.state))
}

fn is_part_of_an_id(text: &str) -> bool {
    text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
