//! Random runbooks: graphs, conditions, for-each windows, retries, probes, approvals, waits, undo, runbooks that call
//! others, `finally`. Each seed allows a random part of what the format has.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::num::NonZeroU32;

use runward_engine::plan::{Definition, PinnedRunbook};
use runward_engine::run::group::Group;
use runward_engine::runbook::model::WhenBusy;

use crate::dice::Dice;

/// What runbooks of this seed may have.
#[derive(Debug, Clone)]
pub struct Features {
    pub retry: bool,
    pub on_lost: bool,
    pub conditions: bool,
    pub for_each: bool,
    pub allow_failure: bool,
    pub finally: bool,
    pub values: bool,
    pub waits: bool,
    pub run_timeout: bool,
    pub narrow: bool,
    pub undo: bool,
    pub probes: bool,
    pub approvals: bool,
    pub calls: bool,
    pub windows: bool,
    pub groups: bool,
}

/// A runbook that is run, and the group of its runs.
#[derive(Debug)]
pub struct Kind {
    pub definition: Definition,
    pub group: Option<Group>,
}

/// The runbooks of a seed.
#[derive(Debug)]
pub struct Library {
    pub kinds: Vec<Kind>,
    /// Those that are called.
    pub called: Vec<Definition>,
}

impl Features {
    pub fn draw(dice: &mut Dice) -> Features {
        let mut on = || dice.percent(60);
        Features {
            retry: on(),
            on_lost: on(),
            conditions: on(),
            for_each: on(),
            allow_failure: on(),
            finally: on(),
            values: on(),
            waits: on(),
            run_timeout: on(),
            narrow: on(),
            undo: on(),
            probes: on(),
            approvals: dice.percent(40),
            calls: dice.percent(40),
            windows: dice.percent(20),
            groups: dice.percent(40),
        }
    }
}

pub fn library(dice: &mut Dice) -> Library {
    let features = Features::draw(dice);
    let mut called: Vec<Definition> = Vec::new();
    if features.calls {
        let leaf = Features { calls: false, windows: false, run_timeout: false, ..features.clone() };
        called.push(definition("leaf", draw(dice, &leaf, &[], true), &[]));
        let part = Features { calls: true, ..leaf };
        called.push(definition("part", draw(dice, &part, &["leaf"], true), &called));
    }
    let names: &[&str] = if features.calls { &["leaf", "part"] } else { &[] };
    let kinds = (0..3).map(|n| Kind {
        definition: definition(&format!("random-{n}"), draw(dice, &features, names, false), &called),
        group: (features.groups && dice.percent(70)).then(|| group(dice)),
    });
    Library { kinds: kinds.collect(), called }
}

fn group(dice: &mut Dice) -> Group {
    use WhenBusy::{CancelRunning, Fail, Queue, Skip};
    Group {
        name: if dice.percent(80) { "g0" } else { "g1" }.to_owned(),
        limit: NonZeroU32::MIN.saturating_add(u32::from(dice.percent(40))),
        when_busy: *dice.pick(&[Queue, Queue, Queue, CancelRunning, CancelRunning, Skip, Fail]),
    }
}

fn definition(name: &str, source: String, called: &[Definition]) -> Definition {
    let calls = called.iter().filter(|it| source.contains(&format!("runbook: {}\n", it.name)));
    let runbooks = calls.map(|it| PinnedRunbook { runbook: it.name.clone(), definition: it.hash() }).collect();
    Definition {
        name: name.to_owned(),
        path: format!("{name}.yaml"),
        source,
        files: Vec::new(),
        runbooks,
        drill: false,
    }
}

/// The YAML of a runbook. `part`: of one that is called, and so hands something back.
fn draw(dice: &mut Dice, features: &Features, callees: &[&str], part: bool) -> String {
    let main = if part { dice.between(1, 4) } else { dice.between(1, 9) } as usize;
    let last = if features.finally { dice.below(3) as usize } else { 0 };
    let mut text = String::from("params: {yes: {type: bool, default: true}}\n");
    text += "defaults: {env: {YES: '${{ params.yes }}'}}\n";
    if features.narrow && dice.percent(50) {
        let _ = writeln!(text, "max-parallel: {}", dice.between(1, 3));
    }
    if features.run_timeout && dice.percent(30) {
        let _ = writeln!(text, "timeout: {}s", dice.between(1, 20));
    }
    if features.undo && dice.percent(20) {
        text += "on-failure: {rollback: never}\n";
    }
    if features.windows && dice.percent(70) {
        // The world begins at 17:46:40.
        let open = dice.pick(&["* 17:48-17:47 UTC", "* 17:47-17:45 UTC"]);
        let _ = writeln!(text, "windows: {{allow: ['{open}']}}");
    }
    if part {
        text += "outputs: {k: \"${{ steps.s0.outputs.k | default(value='-') }}\"}\n";
    }
    text += "steps:\n";
    let mut waits = BTreeSet::new();
    for n in 0..main + last {
        if n == main {
            text += "finally:\n";
        }
        let drawn = match part && n == 0 {
            true => "run",
            false => kind(dice, features, callees, n < main),
        };
        let place = Place { n, start: if n < main { 0 } else { main }, callees, plain: part && n == 0 };
        step(dice, features, &mut text, &mut waits, drawn, &place);
    }
    text
}

/// Where a step stands.
struct Place<'a> {
    n: usize,
    /// The first step of its part of the runbook.
    start: usize,
    callees: &'a [&'a str],
    /// Its outputs are those of the runbook.
    plain: bool,
}

fn kind(dice: &mut Dice, features: &Features, callees: &[&str], main: bool) -> &'static str {
    match dice.below(100) {
        0..12 if features.waits => "wait",
        12..24 if features.approvals && main => "approve",
        24..44 if !callees.is_empty() => "runbook",
        _ => "run",
    }
}

/// `waits`: the steps without outputs.
fn step(
    dice: &mut Dice,
    features: &Features,
    text: &mut String,
    waits: &mut BTreeSet<usize>,
    kind: &str,
    place: &Place<'_>,
) {
    let (n, start) = (place.n, place.start);
    let _ = writeln!(text, "  - id: s{n}");
    match kind {
        "wait" => {
            let times = ["10ms", "1s", "20s", "{window: '* 17:48-17:45 UTC'}"];
            let _ = writeln!(text, "    wait: {}", dice.pick(&times));
        }
        "approve" => approve(dice, text),
        "runbook" => {
            let _ = writeln!(text, "    runbook: {}", dice.pick(place.callees));
        }
        _ => text.push_str("    run: \"true\"\n    outputs: {k: string}\n"),
    }
    let executes = !matches!(kind, "wait" | "approve");
    if !executes {
        waits.insert(n);
    }
    let needs: BTreeSet<usize> = match dice.below(10) {
        0..=3 => (n > start).then(|| n - 1).into_iter().collect(),
        4 => BTreeSet::new(),
        _ if n > start => (0..dice.between(1, 3)).map(|_| start + dice.below((n - start) as u64) as usize).collect(),
        _ => BTreeSet::new(),
    };
    let names: Vec<String> = needs.iter().map(|need| format!("s{need}")).collect();
    let _ = writeln!(text, "    needs: [{}]", names.join(", "));
    if features.conditions {
        match dice.below(8) {
            0 => text.push_str("    if: params.yes\n"),
            1 => text.push_str("    if: not params.yes\n"),
            2 if start > 0 => text.push_str("    if: failure()\n"),
            _ => {}
        }
    }
    if executes {
        let told: Vec<&usize> = needs.iter().filter(|need| !waits.contains(need)).collect();
        if features.values && kind == "run" && !told.is_empty() && dice.percent(40) {
            text.push_str("    env:\n");
            for need in told {
                let value = format!("${{{{ steps.s{need}.outputs.k | default(value='-') | json }}}}");
                let _ = writeln!(text, "      IN_{need}: \"{value}\"");
            }
        }
        execution(dice, features, text, kind, place);
    }
}

fn approve(dice: &mut Dice, text: &mut String) {
    let (by, most) = *dice.pick(&[("", 2), ("by: [ops], ", 2), ("by: [ann], ", 1), ("by: [bob, cat], ", 2)]);
    let requester = if dice.percent(50) { "not: requester, " } else { "" };
    let expires = *dice.pick(&["", ", expires: 2s", ", expires: 20s", ", expires: 10m"]);
    let _ = writeln!(text, "    approve: {{{by}{requester}count: {}{expires}}}", dice.between(1, most));
}

/// What a step has that starts something.
fn execution(dice: &mut Dice, features: &Features, text: &mut String, kind: &str, place: &Place<'_>) {
    let retries = features.retry && dice.percent(40);
    if retries {
        let jitter = dice.pick(&["full", "none", "equal"]);
        let delay = dice.pick(&["0ms", "10ms", "300ms", "2s"]);
        let _ = writeln!(
            text,
            "    retry: {{attempts: {}, delay: {delay}, jitter: {jitter}, max-delay: 5s}}",
            dice.between(2, 4)
        );
    }
    let probed = features.probes && kind == "run" && dice.percent(30);
    if probed {
        text.push_str("    check: \"true\"\n");
    }
    if features.on_lost && dice.percent(40) {
        let word = match (retries, probed) {
            (true, true) => *dice.pick(&["hold", "hold", "fail", "retry", "check", "check"]),
            (true, false) => *dice.pick(&["hold", "hold", "hold", "fail", "retry"]),
            (false, _) => *dice.pick(&["hold", "fail"]),
        };
        let _ = writeln!(text, "    on-lost: {word}");
    }
    if features.allow_failure && dice.percent(25) {
        text.push_str("    allow-failure: true\n");
    }
    if features.undo && place.start == 0 && dice.percent(60) {
        text.push_str(match dice.below(3) {
            0 => "    undo: {run: \"true\", retry: {attempts: 2, delay: 10ms}}\n",
            _ => "    undo: \"true\"\n",
        });
    }
    if kind == "run" {
        let _ = writeln!(text, "    timeout: {}", dice.pick(&["300ms", "2s", "10s"]));
        let _ = writeln!(text, "    grace: {}", dice.pick(&["0ms", "50ms", "1s"]));
    } else if dice.percent(20) {
        let _ = writeln!(text, "    timeout: {}", dice.pick(&["2s", "30s"]));
    }
    if features.for_each && !place.plain && dice.percent(25) {
        let items: Vec<String> = (0..dice.below(7)).map(|n| format!("i{n}")).collect();
        let _ = writeln!(text, "    for-each: [{}]\n    max-parallel: {}", items.join(", "), dice.between(1, 4));
        let _ = writeln!(text, "    stop-after-failures: {}", dice.between(1, 3));
    }
}
