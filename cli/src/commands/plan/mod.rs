//! `runward plan`: what a run would do. Nothing is recorded and nothing is executed, no probe and no condition of a step.

mod around;
mod changes;
mod outlook;
pub mod past;
pub mod saved;
pub mod steps;
mod told;
mod unpinned;
mod wanted;

use std::collections::BTreeMap;
use std::path::Path;

use runward_engine::plan::params::shown;
use runward_engine::plan::{Definition, plan_hash};
use runward_engine::run::group::Group;
use runward_engine::runbook::model::Param;
use runward_engine::units::format_duration;
use runward_workers::outbox::Directory;
use serde_json::{Map, Value, json};

use super::params;
use super::preview::{self, Preview};
use super::{print_json, print_line};
use crate::args::{Format, PlanArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::open;
use crate::runbook_file::{As, RunbookFile, locate, pin, refuse_one_database, refuse_unbuilt};
use crate::text;
use around::Around;
use changes::Changes;
use outlook::Outlook;
use past::{Known, Past};

/// What would run, and what is known of it.
pub struct Plan<'a> {
    file: &'a RunbookFile,
    definition: &'a Definition,
    /// As they may be shown.
    params: Map<String, Value>,
    /// Where those that were given come from.
    from: BTreeMap<String, String>,
    ignored: Vec<String>,
    previews: Vec<Preview>,
    past: Past,
    /// `None`: a sensitive value would enter it, and the ledger it depends on is not there.
    hash: Option<String>,
    outlook: Option<Outlook>,
    changes: Option<Changes>,
    around: Around,
    /// Where notifications would go from here.
    directory: &'a Directory,
}

pub async fn run(config: &Config, args: &PlanArgs) -> Result<i32, Failure> {
    let folders = &config.settings.runbooks;
    let file = As::drill(args.drill).load(&locate(&args.runbook, folders)?, folders)?;
    refuse_unbuilt(&file)?;
    if args.drill {
        refuse_one_database(&file, &config.settings.connections)?;
    }
    if let Some(out) = &args.out {
        saved::refuse_place(out)?;
    }
    let resolved = match params::resolve(&file.runbook, &args.params, false) {
        Ok(resolved) => resolved,
        Err(failure) => {
            if args.format == Format::Text {
                file.runbook.params.iter().for_each(|param| print_line(&param_line(param)));
            }
            return Err(failure);
        }
    };
    let definition = pin(&file)?.definition;
    let group = runward_engine::plan::group(&file.runbook, &resolved.params).map_err(Failure::usage)?;
    let past = match &args.out {
        // What is saved is held against the ledger later: it has to be there.
        Some(_) => Past::Known(Box::new(Known::read(open(config).await?.ledger(), &file, group.as_ref()).await?)),
        None => Past::look(config, &file, group.as_ref()).await,
    };
    let plan = Plan::of(&file, &definition, resolved, past, group, &config.settings.notify);
    match args.format {
        Format::Json => print_json(&plan.json()),
        Format::Text => plan.print(),
    }
    if let Some(out) = &args.out {
        plan.save(out, args.valid_for)?;
        if args.format == Format::Text {
            let until = text::time(text::now().saturating_add(args.valid_for.as_millis() as i64));
            let out = out.display();
            print_line(&format!("saved to {out}: `runward run --plan {out}` runs exactly this, until {until}"));
        }
    }
    Ok(0)
}

impl<'a> Plan<'a> {
    fn of(
        file: &'a RunbookFile,
        definition: &'a Definition,
        resolved: params::Resolved,
        past: Past,
        group: Option<Group>,
        directory: &'a Directory,
    ) -> Plan<'a> {
        let params::Resolved { params, from, ignored } = resolved;
        let runbook = &file.runbook;
        let known = past.known();
        let seal = known.map(|known| &known.seal);
        let sensitive = runbook.params.iter().any(|param| param.sensitive && params.contains_key(&param.name));
        let hash = || plan_hash(&file.name, &definition.hash(), runbook, &params, seal);
        let hash = (seal.is_some() || !sensitive).then(hash);
        let items = |step: usize| preview::items_known(runbook, step, &params).map(|items| items.len());
        let history = known.and_then(|known| known.history.as_ref());
        let outlook = history.map(|history| Outlook::of(history, runbook, &items));
        let last = known.and_then(|known| known.last.as_ref());
        let changes = last.map(|last| Changes::since(last, definition, runbook, &params));
        let around = Around::of(runbook, group, known.map(|known| known.members.clone()).unwrap_or_default());
        let previews = preview::of(file, &params);
        let params = shown(runbook, &params);
        Plan { file, definition, params, from, ignored, previews, past, hash, outlook, changes, around, directory }
    }

    fn json(&self) -> Value {
        let (runbook, known) = (&self.file.runbook, steps::known_values(&self.params));
        let step = |step| steps::step_json(runbook, step, &known, &self.previews, self.outlook.as_ref());
        let last = self.past.known().and_then(|known| known.last.as_ref());
        json!({
            "runward": "plan",
            "version": saved::VERSION,
            "plan": self.hash,
            "runbook": self.file.name,
            "drill": self.file.runbook.is_drill,
            "definition": self.definition.hash(),
            "params": self.params,
            "params_from": self.from,
            "params_ignored": self.ignored,
            "files": self.definition.files,
            "runbooks": self.definition.runbooks,
            "unknown_channels": told::unknown(runbook, self.directory),
            "unpinned": unpinned::programs(runbook, self.definition),
            "steps": runbook.steps.iter().map(step).collect::<Vec<_>>(),
            "objectives": wanted::json(&self.file.runbook),
            "expected": self.outlook.as_ref().map(|outlook| outlook.json(runbook)),
            "group": self.around.group_json(),
            "window": self.around.window_json(),
            "last_run": last.map(|last| &last.row),
            "changes": self.changes,
        })
    }

    fn print(&self) {
        self.print_head();
        self.print_steps();
        print_line("");
        self.around.lines().iter().for_each(|line| print_line(line));
        wanted::lines(&self.file.runbook).iter().for_each(|line| print_line(line));
        match &self.outlook {
            Some(outlook) => outlook.lines(&self.file.runbook).iter().for_each(|line| print_line(line)),
            None => print_line(&outlook::none(&self.past)),
        }
        self.print_changes();
        print_line(&self.unpinned());
        for channel in told::unknown(&self.file.runbook, self.directory) {
            print_line(&told::sentence(&channel, self.directory));
        }
        match &self.hash {
            Some(hash) => print_line(&format!("plan        {hash}")),
            None => print_line("plan        no hash yet: it depends on the ledger, because a value is sensitive"),
        }
        print_line("\nNothing was executed, not even a `check`, and nothing is recorded.");
    }

    fn print_head(&self) {
        let runbook = &self.file.runbook;
        print_line(&format!("{}  definition {}", self.file.name, &self.definition.hash()[..12]));
        if let Some(description) = &runbook.description {
            print_line(&format!("  {}", text::safe(description.trim())));
        }
        if runbook.is_drill {
            print_line("  a drill: with scratch values, secrets and connections in place of the real ones");
        }
        for (name, value) in &self.params {
            let from = self.from.get(name).map(|from| format!("  ({})", text::safe(from))).unwrap_or_default();
            print_line(&format!("  {name} = {}{from}", text::safe(&value.to_string())));
        }
        for variable in &self.ignored {
            print_line(&format!("  {} names no parameter of this runbook, and is ignored", text::safe(variable)));
        }
        if !self.definition.files.is_empty() {
            print_line(&format!("  {}", text::count(self.definition.files.len() as u64, "pinned file")));
        }
        if let Some(timeout) = runbook.timeout {
            print_line(&format!("  at most {} in all", format_duration(timeout)));
        }
    }

    fn print_steps(&self) {
        let (runbook, known) = (&self.file.runbook, steps::known_values(&self.params));
        for (n, step) in runbook.steps.iter().enumerate() {
            if n == runbook.main_len {
                print_line("\nfinally, whatever happened");
            }
            print_line(&format!("\n{}. {}{}", n + 1, step.id, steps::after(runbook, n, step)));
            let mut lines = steps::notes(step);
            lines.extend(self.outlook.as_ref().and_then(|outlook| outlook.of_step(step)));
            lines.extend(steps::command_lines(runbook, step, &known));
            lines.extend(steps::called_lines(self.file, step, 1));
            let own = self.previews.iter().filter(|preview| preview.step == step.id);
            lines.extend(own.flat_map(Preview::lines));
            lines.iter().for_each(|line| print_line(&format!("     {}", text::safe(line))));
        }
    }

    fn print_changes(&self) {
        let (Some(Known { last: Some(last), .. }), Some(changes)) = (self.past.known(), &self.changes) else {
            if matches!(self.past, Past::None | Past::Known(_)) {
                print_line("last run    none: it never ran here");
            }
            return;
        };
        print_line(&format!("last run    {}", text::safe(&changes::last_run(last))));
        if changes.is_empty() {
            print_line("            with the same runbook, files and parameters");
        }
        changes.lines().iter().for_each(|line| print_line(&format!("            {line}")));
    }

    fn unpinned(&self) -> String {
        let programs = unpinned::programs(&self.file.runbook, self.definition);
        match unpinned::sentence(&programs) {
            Some(names) => format!("not pinned  {names}: called by name, so each is what it is when the step starts"),
            None => "not pinned  nothing that is known to be called".to_owned(),
        }
    }

    fn save(&self, out: &Path, valid_for: std::time::Duration) -> Result<(), Failure> {
        let known = self.past.known().ok_or_else(|| Failure::usage("a plan is saved with what the ledger knows"))?;
        let mut document = self.json();
        document["saved"] = json!(saved::Saved::of(self, known, valid_for));
        saved::write(out, &document)
    }
}

fn param_line(param: &Param) -> String {
    let kind = format!("{:?}", param.kind).to_lowercase();
    let mut line = format!("  {} ({kind}", param.name);
    match (&param.default, param.required) {
        (_, true) => line += ", required",
        (Some(default), _) => line += &format!(", default {default}"),
        (None, false) => {}
    }
    line += ")";
    if let Some(description) = &param.description {
        line += &format!("  {description}");
    }
    text::safe(&line)
}
