//! Random runbooks: graphs, conditions, for-each windows, retries, `finally`. Each seed allows a random part of what the
//! format has.

use std::collections::BTreeSet;
use std::fmt::Write;

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
        }
    }
}

/// The YAML of a runbook.
pub fn draw(dice: &mut Dice, features: &Features) -> String {
    let main = dice.between(1, 9) as usize;
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
    text += "steps:\n";
    let mut waits = BTreeSet::new();
    for n in 0..main + last {
        if n == main {
            text += "finally:\n";
        }
        step(dice, features, &mut text, &mut waits, n, if n < main { 0 } else { main });
    }
    text
}

/// `waits`: the steps without outputs.
fn step(dice: &mut Dice, features: &Features, text: &mut String, waits: &mut BTreeSet<usize>, n: usize, start: usize) {
    let is_wait = features.waits && dice.percent(12);
    match is_wait {
        true => {
            waits.insert(n);
            let _ = writeln!(text, "  - id: s{n}\n    wait: {}", dice.pick(&["10ms", "1s", "20s"]));
        }
        false => {
            let _ = write!(text, "  - id: s{n}\n    run: \"true\"\n    outputs: {{k: string}}\n");
        }
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
    if is_wait {
        return;
    }
    let told: Vec<&usize> = needs.iter().filter(|need| !waits.contains(need)).collect();
    if features.values && !told.is_empty() && dice.percent(40) {
        text.push_str("    env:\n");
        for need in told {
            let _ =
                writeln!(text, "      IN_{need}: \"${{{{ steps.s{need}.outputs.k | default(value='-') | json }}}}\"");
        }
    }
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
    if features.on_lost && dice.percent(40) {
        let word = if retries { *dice.pick(&["hold", "fail", "retry"]) } else { *dice.pick(&["hold", "fail"]) };
        let _ = writeln!(text, "    on-lost: {word}");
    }
    if features.allow_failure && dice.percent(25) {
        text.push_str("    allow-failure: true\n");
    }
    if features.undo && start == 0 && dice.percent(60) {
        text.push_str(match dice.below(3) {
            0 => "    undo: {run: \"true\", retry: {attempts: 2, delay: 10ms}}\n",
            _ => "    undo: \"true\"\n",
        });
    }
    let _ = writeln!(text, "    timeout: {}", dice.pick(&["300ms", "2s", "10s"]));
    let _ = writeln!(text, "    grace: {}", dice.pick(&["0ms", "50ms", "1s"]));
    if features.for_each && dice.percent(25) {
        let items: Vec<String> = (0..dice.below(7)).map(|n| format!("i{n}")).collect();
        let _ = writeln!(text, "    for-each: [{}]\n    max-parallel: {}", items.join(", "), dice.between(1, 4));
        let _ = writeln!(text, "    stop-after-failures: {}", dice.between(1, 3));
    }
}
