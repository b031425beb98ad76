//! `runward resolve`: an operator says what became of a held step.

use runward_engine::run::command::Resolution;
use runward_engine::run::{Command, Part, Reject, RunStatus};
use serde_json::json;

use super::give::{self, give};
use super::{print_json, print_line};
use crate::args::{Format, ResolveArgs, ResolveAs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::refusal::{refused, resolved};
use crate::view::words;

pub async fn run(config: &Config, args: ResolveArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    let mut view = opened.ledger().load(&id).await?;
    let unit = view.state.unit_named(&args.step).ok_or_else(|| {
        let undo = view.state.undo_failed().map(|unit| unit.part(Part::Undo));
        let held = view.state.held().iter().copied().chain(undo);
        let held: Vec<String> = held.map(|unit| view.state.unit_name(unit)).collect();
        Failure::usage(format!("this run has no step `{}`", args.step)).help(match held.is_empty() {
            true => "none of its steps is held".to_owned(),
            false => format!("held: {}", held.join(", ")),
        })
    })?;
    let resolution = match args.resolution {
        ResolveAs::Succeeded => Resolution::Succeeded,
        ResolveAs::Failed => Resolution::Failed,
        ResolveAs::Retry => Resolution::Retry,
    };
    let resolve = Command::Resolve { unit, resolution, reason: args.reason };
    let mut already = false;
    match give(&opened, &mut view, resolve, &args.id).await? {
        Ok(()) if give::changed(&view, &args.id) => {}
        Ok(()) | Err(Reject::AlreadyResolved { .. }) => already = true,
        Err(Reject::Repeated { was }) => return Ok(give::repeated(&id, &was, args.format)),
        Err(reject) => return Err(refused(reject, &id)),
    }
    let short = words::short(&id.0);
    match args.format {
        Format::Json => print_json(&json!({
            "run": id, "step": args.step, "resolved": resolution, "changed": !already, "word": view.state.resolved(unit),
        })),
        Format::Text => {
            let next = match view.state.status {
                RunStatus::Succeeded => "the run succeeded".to_owned(),
                status if status.is_terminal() => format!("the run {status}; `runward resume {short}` tries again"),
                _ if opened.cluster().is_some() => "the run goes on".to_owned(),
                _ => format!("`runward resume {short}` carries the run on"),
            };
            let what = match view.state.resolved(unit).filter(|_| already) {
                Some(was) => resolved(was),
                None => "recorded".to_owned(),
            };
            print_line(&format!("{what}; {next}"));
        }
    }
    Ok(0)
}
